"""No submission fools, breaks or stops the grader: nothing for what was not solved, and nothing outside is touched."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from nbformat import NotebookNode

from grading import submissions, work
from grading.evaluate import Grader, Verdict
from grading.release import ROOT
from grading.sandbox import Limits, walls_missing
from tests.attacks import hostile, toy

pytestmark = [
    pytest.mark.skipif(bool(walls_missing()), reason=f"no sandbox here: {walls_missing()}"),
]
SMALL = Limits(memory=512 << 20, disk=8 << 20, processes=24, cpu=20, cell=0.5, call=0.7, exercise=5.0, submission=20.0)
OUTSIDE = {"gradebook.db": "scores", "solutions.txt": toy.SECRET, "submitted/eve.txt": toy.SECRET, "home/.bashrc": "#"}


class Yard:
    """A grader, and a folder outside its boxes that nobody may touch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "outside"
        for name, text in OUTSIDE.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(text)
        self.helpers = toy.helpers(folder)
        self.servers = [socket.socket(family) for family in (socket.AF_INET, socket.AF_UNIX, socket.AF_UNIX)]
        for server, address in zip(
            self.servers, (("127.0.0.1", 0), f"{self.folder}/socket", f"\0grader-{os.getpid()}")
        ):
            server.bind(address)
            server.listen()
            server.setblocking(False)
        self.grader = Grader(self.helpers, limits=SMALL)
        for exercise in self.grader.trees.answers:
            self.grader.trees[exercise]  # made now, so that every later change of a tree shows
        self.before = self.prints()

    def fill(self, source: str) -> str:
        """Put in the addresses that an attack aims at."""
        port = self.servers[0].getsockname()[1]
        return (
            source.replace("{port}", str(port))
            .replace("{outside}", str(self.folder))
            .replace("{pid}", str(os.getpid()))
            .replace("{{}}", "{}")
        )

    def prints(self) -> dict[str, str]:
        """Fingerprints of everything that a submission must leave alone."""
        contents = {p: p.read_bytes() for p in self.folder.rglob("*") if p.is_file()}
        for folder in (self.helpers, self.grader.home):
            contents |= {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        found = {str(path): hashlib.sha256(data).hexdigest() for path, data in contents.items()}
        for folder in (ROOT / "helpers", ROOT / "grading", ROOT / "solutions"):
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            entries = [entry for entry in entries if entry.name != "__pycache__"]
            found[str(folder)] = str([(e.name, e.stat(follow_symlinks=False).st_size) for e in entries])
        return found

    def grade(self, nb: NotebookNode) -> tuple[dict[str, Verdict], NotebookNode]:
        """Through the file format and all that nbgrader's plug-ins do; nothing outside may have changed."""
        data = json.dumps(nb, default=str).encode()
        done = work.restored(toy.release(), submissions.parse(data, "toy.ipynb"))
        verdicts = {v.name: v for v in work.judged(toy.release(), done, self.grader)}
        assert self.prints() == self.before
        assert leftovers() == []
        for server in self.servers:
            with pytest.raises(BlockingIOError):
                server.accept()
        assert toy.SECRET not in json.dumps([verdict.plain() for verdict in verdicts.values()])
        return verdicts, done

    def stop(self) -> None:
        """Close everything."""
        self.grader.stop()
        for server in self.servers:
            server.close()


def leftovers() -> list[str]:
    """Processes that an attack named, wherever they run."""
    names = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            names += [f"{path}: {name}"] if (name := path.read_text().strip()) in ("leftover", "sleep 600") else []
        except OSError:
            continue
    return names


@pytest.fixture(scope="module")
def yard() -> Iterator[Yard]:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own names are too long for a socket in it
        made = Yard(Path(folder))
        yield made
        made.stop()


def scores(verdicts: dict[str, Verdict]) -> dict[str, float]:
    return {name: verdict.score for name, verdict in verdicts.items()}


HONEST = {
    "plain": toy.submission(),
    "warns": toy.submission("import warnings\n\n\ndef square(x):\n    warnings.warn('careful')\n    return x * x"),
    "prints": toy.submission("import sys\n\n\ndef square(x):\n    print(x, file=sys.stderr)\n    return x**2"),
    "with_magics": toy.submission(first="%matplotlib inline\n%time 1 + 1\n!echo hello"),
    "own_helper_cell": toy.submission("def square(x):\n    return power(x, two)", first="two = 2\npower = np.power"),
    "after_the_check": toy.submission(toy.STUB.format("square"), last=toy.SQUARE),
    "builds_on_helpers": toy.submission(total="def total(x):\n    return sum(toy.square(x))"),
    "builds_on_own": toy.submission(total="def total(x):\n    return square(x).sum()"),
    "uses_a_given_cell": toy.submission("def square(x):\n    return x ** (three - 1)"),
    "threads": toy.submission(first="import threading\nthreading.Thread(target=print).start()"),
    "other_dtype": toy.submission("def square(x):\n    import torch\n    return torch.tensor(x) ** 2"),
    "writes_scratch": toy.submission("def square(x):\n    np.save('x.npy', x)\n    return np.load('x.npy') ** 2"),
    "a_broken_cell_of_its_own": toy.submission(last="1 / 0"),
}


@pytest.mark.parametrize("name", HONEST)
def test_honest_work_keeps_full_marks(yard: Yard, name: str) -> None:
    verdicts, _ = yard.grade(HONEST[name])
    assert scores(verdicts) == {"square_check": 2.0, "total_check": 3.0}, [v.plain() for v in verdicts.values()]


def test_partial_work_gets_partial_credit_and_words(yard: Yard) -> None:
    verdicts, _ = yard.grade(toy.submission("def square(x):\n    return np.where(x == np.abs(x), x * x, x * x)[:]"))
    assert verdicts["square_check"].score == 2.0
    verdicts, _ = yard.grade(toy.submission("def square(x):\n    return 2 * x"))
    assert "you doubled" in verdicts["square_check"].text
    verdicts, _ = yard.grade(toy.submission(toy.STUB.format("square")))
    assert "not written yet" in verdicts["square_check"].text


@pytest.mark.parametrize("name", hostile.BODIES)
def test_a_hostile_function_gets_nothing_and_costs_only_itself(yard: Yard, name: str) -> None:
    body = yard.fill(hostile.BODIES[name])
    verdicts, _ = yard.grade(toy.submission(f"def square(x):\n    {body.strip()}\n"))
    assert scores(verdicts) == {"square_check": 0.0, "total_check": 3.0}, [v.plain() for v in verdicts.values()]
    assert verdicts["square_check"].text or verdicts["square_check"].reason


@pytest.mark.parametrize("name", hostile.CELLS)
def test_a_hostile_cell_wins_nothing(yard: Yard, name: str) -> None:
    nb = toy.submission(
        "def square(x):\n    return x + 1", first="import numpy as np\n" + yard.fill(hostile.CELLS[name])
    )
    verdicts, _ = yard.grade(nb)
    assert verdicts["square_check"].score == 0.0
    assert verdicts["total_check"].score == 3.0 or name in hostile.DEADLY, verdicts["total_check"].plain()


@pytest.mark.parametrize("name", hostile.FILES)
def test_a_forged_notebook_wins_nothing(yard: Yard, name: str) -> None:
    verdicts, done = yard.grade(hostile.FILES[name]())
    assert scores(verdicts) == {"square_check": 0.0, "total_check": 3.0}
    graded = {c.id: c.metadata.nbgrader for c in done.cells if c.metadata.get("nbgrader", {}).get("grade")}
    assert {name: role["points"] for name, role in graded.items()} == {"square_check": 2, "total_check": 3, "words": 1}


@pytest.mark.parametrize("name", hostile.BROKEN)
def test_a_broken_file_is_named_with_its_reason(name: str) -> None:
    with pytest.raises(submissions.Unreadable, match=r"^toy.ipynb "):
        submissions.parse(hostile.BROKEN[name], "toy.ipynb")


def test_links_pipes_folders_and_giants_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "link.ipynb").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe.ipynb")
    (tmp_path / "folder.ipynb").mkdir()
    with (tmp_path / "giant.ipynb").open("wb") as file:
        file.truncate(submissions.MOST_BYTES + 1)
    for name in ("link", "pipe", "folder", "giant", "missing"):
        with pytest.raises(submissions.Unreadable):
            submissions.read(tmp_path / f"{name}.ipynb")


def test_after_all_this_an_honest_submission_still_gets_its_points(yard: Yard) -> None:
    verdicts, _ = yard.grade(toy.submission())
    assert scores(verdicts) == {"square_check": 2.0, "total_check": 3.0}
