"""A class is graded: once each, the same on every run, on one machine or several, whatever interrupts it."""

from __future__ import annotations

import ast
import contextlib
import csv
import html
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from nbconvert.filters import markdown2html_mistune
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output
from tqdm.auto import tqdm

import grading
from grading import clean, doctor, masks, release, report, run, sandbox, work
from grading.__main__ import main
from grading.collect import collect
from grading.course import Course
from grading.evaluate import Grader, Verdict
from grading.release import ROOT, chapters
from tests import gates, test_instructor
from tests.attacks import toy

walled = pytest.mark.skipif(bool(sandbox.walls_missing()), reason=f"no sandbox here: {sandbox.walls_missing()}")
CHAPTER = toy.CHAPTER


def stub(jobs: Iterator) -> Iterator:
    """Verdicts without boxes: what a submission says it deserves, after a moment; each evaluation leaves a line."""
    for one, job in jobs:
        time.sleep(0.01)
        with open(os.environ.get("EVALUATED", os.devnull), "a") as log:
            log.write(f"{one.student}\n")
        points = float(toy.find(nbformat.reads(job[1].decode(), as_version=4), "square").source.partition("#")[2] or 0)
        verdicts = [Verdict("square_check", 2.0, points, laws=[]), Verdict("total_check", 3.0, 3.0)]
        yield one, [verdict.plain() for verdict in verdicts]


def deserving(points: float) -> nbformat.NotebookNode:
    """A submission that the stub gives these points for `square`."""
    return toy.submission(f"square = None  #{points}")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A released course, made once."""
    return toy.course(tmp_path_factory.mktemp("template"))


@pytest.fixture
def course(template: Path, tmp_path: Path) -> Course:
    return Course(shutil.copytree(template, tmp_path / "course"))


def squares(course: Course) -> dict[str, float | None]:
    """Points for `square` in the gradebook."""
    return {student: scores["square_check"] for student, scores in course.scores(CHAPTER).items()}


# ------------------------------------------------------------------------------------------------ one machine


def test_what_is_graded_is_not_graded_again_and_a_resubmission_replaces(course: Course) -> None:
    for student, points in (("ada", 2), ("bob", 1)):
        toy.hand_in(course.root, student, deserving(points))
    first = run.run(course, [CHAPTER], stub)
    again = run.run(course, [CHAPTER], stub)
    assert (len(first.graded), len(again.graded), len(again.before)) == (2, 0, 2)
    toy.hand_in(course.root, "ada", deserving(0.5))
    assert [one.student for one in run.run(course, [CHAPTER], stub).graded] == ["ada"]
    assert squares(course) == {"ada": 0.5, "bob": 1.0}


def test_a_run_says_what_it_waits_for_and_what_was_unreadable(course: Course, capsys: pytest.CaptureFixture) -> None:
    toy.hand_in(course.root, "ada", deserving(2))
    toy.hand_in(course.root, "bob", b"{")
    missing = Verdict("square_check", 2.0), Verdict("total_check", 3.0)
    tally = run.run(
        course, [CHAPTER], lambda jobs: ((one, [verdict.plain() for verdict in missing]) for one, _ in jobs)
    )
    assert str(tally) == "1 graded, 1 unreadable"
    assert {one.student: reason for one, reason in tally.unreadable.items()}["bob"].startswith("toy.ipynb cannot be")
    bar = capsys.readouterr().err
    assert 0 <= bar.index("warming the sandboxes:   0%") < bar.index("grading: 100%")
    run.run(course, [CHAPTER], stub)
    assert "warming" not in capsys.readouterr().err


@pytest.mark.parametrize("broken", ["not_json", "missing", "link", "pipe", "bad_time", "folder"])
def test_a_broken_resubmission_keeps_no_stale_score_and_costs_only_itself(course: Course, broken: str) -> None:
    path = toy.hand_in(course.root, "ada", deserving(2))
    toy.hand_in(course.root, "bob", deserving(2))
    run.run(course, [CHAPTER], stub)
    path.unlink()
    {
        "not_json": lambda: path.write_bytes(b"{"),
        "missing": lambda: path.with_name("other.ipynb").write_text("{}"),
        "link": lambda: path.symlink_to("/etc/passwd"),
        "pipe": lambda: os.mkfifo(path),
        "bad_time": lambda: path.with_name("timestamp.txt").write_text("never"),
        "folder": path.mkdir,
    }[broken]()
    tally = run.run(course, [CHAPTER], run.here)
    assert squares(course) == {"ada": 0.0, "bob": 2.0}
    assert str(tally).startswith("0 graded, ")
    line = next(line for line in report.lines(course, [CHAPTER]) if line.work.student == "ada")
    assert line.reason
    assert len(tally.graded) + len(tally.refused) == 1


def _grade(root: Path) -> None:
    tqdm.set_lock(threading.RLock())  # the lock that a fork shares would stay locked after a kill
    run.run(Course(root), [CHAPTER], stub)


def test_a_python_that_lies_in_tmp_is_not_covered_by_the_scratch_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "system_folders", lambda: iter(["/usr/lib", "/tmp/course/.venv/lib"]))
    assert sandbox.scratch() == "/scratch"
    assert "--tmpfs /tmp" not in " ".join(sandbox.bubblewrap(Path("/trees"), {}))
    monkeypatch.setattr(sandbox, "system_folders", lambda: iter(["/usr/lib", "/opt/course/.venv/lib"]))
    assert sandbox.scratch() == "/tmp"


@pytest.mark.parametrize("again", [False, True], ids=["resumed", "handed_in_again"])
@pytest.mark.parametrize("step", ["keep", "write", "forget"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_each_step_the_last_submission_counts_and_no_verdict_is_left_waiting(
    course: Course, monkeypatch: pytest.MonkeyPatch, step: str, moment: str, again: bool
) -> None:
    toy.hand_in(course.root, "ada", deserving(2))
    real = getattr(Course, step)

    def killed(*arguments: object) -> None:
        if moment == "after":
            real(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Course, step, killed)
        with pytest.raises(KeyboardInterrupt):
            run.run(course, [CHAPTER], stub)
    if again:
        toy.hand_in(course.root, "ada", deserving(0.5))
    run.run(course, [CHAPTER], stub)
    assert squares(course) == {"ada": 0.5 if again else 2.0}
    assert [path.name for path in (course.notes / "verdicts").iterdir()] == []


def test_killed_at_random_moments_and_resumed_nothing_is_lost_or_done_twice(
    course: Course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "evaluated"
    monkeypatch.setenv("EVALUATED", str(log))
    wanted = {f"s{k:02}": k % 5 / 2 for k in range(10)}
    for student, points in wanted.items():
        toy.hand_in(course.root, student, deserving(points))
    moment, kills, again = random.Random(), 0, 0
    deadline = time.monotonic() + 100
    while kills < 10:
        assert time.monotonic() < deadline
        process = multiprocessing.get_context("fork").Process(target=_grade, args=(course.root,))
        process.start()
        process.join(moment.uniform(0.1, 0.9))
        kills += process.is_alive()
        process.kill()
        process.join()
        if process.exitcode == 0 and kills < 10:  # done too soon: let one hand in again
            student = moment.choice(list(wanted))
            wanted[student] = 2.0 - wanted[student]
            toy.hand_in(course.root, student, deserving(wanted[student]))
            again += 1
    run.run(course, [CHAPTER], stub)
    assert squares(course) == wanted
    assert run.run(course, [CHAPTER], stub).graded == []
    evaluated = len(log.read_text().splitlines())
    assert evaluated <= len(wanted) + again + kills, "only what was in flight may be evaluated a second time"
    assert [path.name for path in (course.notes / "verdicts").iterdir()] == []


@walled
@pytest.mark.slow
def test_killed_at_random_moments_and_resumed_the_boxes_say_the_same(course: Course, tmp_path: Path) -> None:
    quick = {**os.environ, "COURSE_HELPERS": str(toy.helpers(tmp_path)), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "grading", "--course", str(course.root), "run", "--workers", "2"]
    quiet = {"cwd": ROOT, "env": quick, "stderr": subprocess.DEVNULL}
    answers = {0.0: toy.WRONG, 2.0: toy.SQUARE}
    wanted = {f"s{k:02}": 2.0 * (k % 2) for k in range(12)}
    for student, points in wanted.items():
        toy.hand_in(course.root, student, toy.submission(answers[points]))
    moment, kills = random.Random(), 0
    while kills < 10:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, **quiet)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(moment.uniform(0.5, 15))
        kills += process.poll() is None
        process.kill()
        if process.wait() == 0:  # done too soon: let one hand in again
            student = moment.choice(list(wanted))
            wanted[student] = 2.0 - wanted[student]
            toy.hand_in(course.root, student, toy.submission(answers[wanted[student]]))
    last = [subprocess.run(command, text=True, stdout=subprocess.PIPE, check=True, **quiet).stdout for _ in range(2)]
    assert squares(course) == wanted
    assert "0 graded, 12 already graded" in last[1]
    assert [path.name for path in (course.notes / "verdicts").iterdir()] == []


# ------------------------------------------------------------------------------------------------ several graders


def _server() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """A PostgreSQL server of our own, on a socket in a folder of our own."""
    programs = _server()
    pytest.importorskip("psycopg", reason="no psycopg here to speak to PostgreSQL with")
    if programs is None:
        pytest.skip("no PostgreSQL server is installed here")
    folder = Path(tempfile.mkdtemp())  # pytest's own names are too long for a socket in it
    folder.chmod(0o777)
    options: dict = {"user": "postgres"} if os.getuid() == 0 else {}
    data, quiet = folder / "data", {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([programs / "initdb", "-D", data, "-U", "grader", "-A", "trust"], check=True, **quiet, **options)
    settings = ["-c", "listen_addresses=", "-k", str(folder), "-c", "fsync=off"]
    server = subprocess.Popen([programs / "postgres", "-D", data, *settings], cwd=folder, **quiet, **options)
    while subprocess.run([programs / "pg_isready", "-h", folder], check=False, **quiet).returncode:
        assert server.poll() is None, "PostgreSQL did not start"
        time.sleep(0.1)
    yield f"postgresql+psycopg://grader@/{{}}?host={folder}"
    server.terminate()
    server.wait()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def database(postgres: str) -> str:
    """The URL of a new database."""
    from sqlalchemy import create_engine, text

    name = f"grades{time.time_ns()}"
    engine = create_engine(postgres.format("postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return postgres.format(name)


def _grade_on(root: Path, url: str) -> None:
    run.run(Course(root, url), [CHAPTER], stub)


def test_two_graders_on_one_postgresql_gradebook_lose_nothing(
    course: Course, tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, log = course.root, tmp_path / "evaluated"
    monkeypatch.setenv("EVALUATED", str(log))
    wanted = {f"s{k:02}": k % 5 / 2 for k in range(16)}
    for student, points in wanted.items():
        toy.hand_in(root, student, deserving(points))
    course = Course(root, database)
    course.prepare(CHAPTER)
    fork = multiprocessing.get_context("fork")
    graders = [fork.Process(target=_grade_on, args=(root, database)) for _ in range(2)]
    for grader in graders:
        grader.start()
    for grader in graders:
        grader.join()
    run.run(course, [CHAPTER], stub)
    assert squares(course) == wanted
    assert sorted(log.read_text().split()) == sorted(wanted), "each is evaluated once"


def _certificate(folder: Path) -> list[str]:
    """A self-signed certificate and its key, as Dask's options (and, with other ends, ours) name them."""
    key, cert = folder / "key.pem", folder / "cert.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    subprocess.run([*make, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return ["--tls-ca-file", str(cert), "--tls-cert", str(cert), "--tls-key", str(key)]


@walled
@pytest.mark.parametrize("protocol", ["tcp", "tls"])
def test_a_running_scheduler_grades_the_class_and_survives_the_loss_of_a_worker(
    protocol: str, course: Course, tmp_path: Path
) -> None:
    root, address = course.root, tmp_path / "scheduler.json"
    slow = "import time\n\n\ndef square(x):\n    time.sleep(0.2)\n    return x * x"
    for k in range(8):
        toy.hand_in(root, f"s{k}", toy.submission(slow))
    quick = {**os.environ, "COURSE_HELPERS": str(toy.helpers(tmp_path)), "OMP_NUM_THREADS": "1"}
    dask = [sys.executable, "-m", "dask"]
    quiet = {"env": quick, "cwd": ROOT, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    secret = _certificate(tmp_path) if protocol == "tls" else []
    where = ["--scheduler-file", str(address), *secret]
    scheduler = [*dask, "scheduler", "--protocol", protocol, "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    started = [subprocess.Popen([*scheduler, *where], **quiet)]
    try:
        while not address.exists():
            assert started[0].poll() is None
            time.sleep(0.1)
        worker = [*dask, "worker", *where, "--nthreads", "1", "--no-nanny", "--no-dashboard"]
        started += [subprocess.Popen(worker, **quiet) for _ in range(2)]
        place = json.loads(address.read_text())["address"]
        assert place.startswith(protocol)
        command = [sys.executable, "-m", "grading", "--course", str(root), "run", "--scheduler", place]
        command += [option.replace("-ca-file", "-ca") for option in secret]
        grading = subprocess.Popen(
            command, env=quick, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        while len(Course(root).scores(CHAPTER)) < 2:
            assert grading.poll() is None, grading.stdout.read()
            time.sleep(0.1)
        started[1].kill()
        said, _ = grading.communicate(timeout=120)
        assert "8 graded" in said
        assert set(squares(Course(root)).values()) == {2.0}
    finally:
        for process in started:
            process.kill()
            process.wait()


# ------------------------------------------------------------------------------------------------ the real chapters


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader() as made:
        yield made


def answered(chapter: str, change: dict[str, str] | None = None) -> nbformat.NotebookNode:
    """The released notebook with the reference answers, or others for some exercises."""
    nb = gates.read("notebooks", chapter)
    right = {cell.id: cell.source for cell in gates.read("solutions", chapter).cells if gates.kind(cell) == "answer"}
    for cell in nb.cells:
        cell.source = (right | (change or {})).get(cell.id, cell.source)
    return work.restored(gates.read("notebooks", chapter), nb)


@walled
@pytest.mark.parametrize("chapter", chapters())
def test_the_reference_answers_keep_full_marks(grader: Grader, chapter: str) -> None:
    verdicts = work.judged(gates.read("notebooks", chapter), answered(chapter), grader)
    assert [(v.name, v.score) for v in verdicts] == [(v.name, v.points) for v in verdicts]


@walled
def test_three_runs_with_other_seeds_give_the_sample_class_the_same_points(grader: Grader) -> None:
    release = gates.read("notebooks", test_instructor.CHAPTER)
    for student, (nb, points) in test_instructor.sample_class().items():
        nb = work.restored(release, nb)
        runs = [[v.score for v in work.judged(release, nb, grader, seed)] for seed in (1, 2, 3)]
        assert runs[0] == runs[1] == runs[2], student
        assert sum(runs[0]) == points, student


IMPORT_ALL = """
import importlib, pkgutil, helpers
names = [m.name for m in pkgutil.walk_packages(helpers.__path__, "helpers.") if "checks" not in m.name]
modules = [importlib.import_module(name) for name in names]


def anywhere(name):
    return next((getattr(module, name) for module in modules if hasattr(module, name)), None)


"""


@walled
@pytest.mark.parametrize("chapter", chapters())
def test_no_answer_can_be_imported_from_helpers(grader: Grader, chapter: str) -> None:
    release = gates.read("notebooks", chapter)
    change = {}
    for cell in release.cells:
        if gates.kind(cell) == "answer":
            names = [node.name for node in ast.parse(cell.source).body if isinstance(node, ast.FunctionDef)]
            change[cell.id] = "\n".join([IMPORT_ALL, *(f"{name} = anywhere('{name}')" for name in names)])
    verdicts = work.judged(release, answered(chapter, change), grader)
    assert {v.name: v.score for v in verdicts} == {v.name: 0.0 for v in verdicts}
    assert any("write this one yourself" in v.text for v in verdicts)


def test_the_docstring_says_how_long_the_trusted_part_is() -> None:
    text = grading.__doc__
    named = re.search(r"read these modules and no\nothers: ([^.]+) and box/, about ([\d,]+) lines", text)
    files = [ROOT / "grading" / f"{name.strip()}.py" for name in named[1].split(",")]
    lines = sum(len(path.read_text().splitlines()) for path in [*files, *(ROOT / "grading" / "box").glob("*.py")])
    assert abs(lines - int(named[2].replace(",", ""))) < 0.05 * lines


def test_every_name_that_a_chapter_hides_is_defined_somewhere() -> None:
    import helpers.born_machine
    import helpers.flows
    import helpers.graph
    import helpers.monge_ampere
    import helpers.rbm
    import helpers.vmc

    for module in (helpers.born_machine, helpers.flows, helpers.graph, helpers.monge_ampere, helpers.rbm, helpers.vmc):
        for names in module.ANSWERS.values():
            for name in names:
                assert masks.locate(ROOT / "helpers", name)[0].exists()


@walled
def test_an_oracle_is_no_answer(grader: Grader) -> None:
    source = """
def linear_backward(x, W, delta):
    def total(x, W, b):
        return float((delta * (x @ W + b)).sum())
    b, slope = np.zeros(W.shape[1]), oracles.central_difference
    return slope(lambda t: total(t, W, b), x), slope(lambda t: total(x, t, b), W), slope(lambda t: total(x, W, t), b)
"""
    chapter = chapters()[0]
    nb = answered(chapter, {"linear_backward": source})
    verdicts = {v.name: v for v in work.judged(gates.read("notebooks", chapter), nb, grader)}
    assert verdicts["linear_backward_check"].score == 0.0
    assert "write this one yourself" in verdicts["linear_backward_check"].text


def imported(path: Path) -> set[str]:
    """Modules that a file imports."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    whole = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return whole | {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}


def test_grading_knows_no_physics_and_helpers_do_not_know_grading() -> None:
    for path in (ROOT / "grading").rglob("*.py"):
        found = {name for name in imported(path) if name.startswith("helpers")}
        assert found <= ({"helpers.checks.boundary", "helpers.checks"} if path.parent.name == "box" else set()), path
    for path in (ROOT / "helpers").rglob("*.py"):
        assert not [name for name in imported(path) if name.startswith("grading")], path


# ------------------------------------------------------------------------------------------------ what is shown

SCRIPT = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


def hostile_page() -> nbformat.NotebookNode:
    """A notebook with a script wherever a student can put one."""
    nb = toy.submission(f"def square(x):\n    raise ValueError({SCRIPT!r})", first=f"# {SCRIPT}")
    outputs = [
        new_output("display_data", data={"text/html": SCRIPT, "application/javascript": "document.title='owned'"}),
        new_output("display_data", data={"image/svg+xml": f"<svg>{SCRIPT}</svg>", "text/latex": SCRIPT}),
        new_output("display_data", data={"image/png": f'"{SCRIPT}'}, metadata={"image/png": {"width": SCRIPT}}),
        new_output("display_data", data={"text/markdown": SCRIPT, "text/plain": SCRIPT}),
        new_output("stream", name="stdout", text=SCRIPT),
        new_output("error", ename=SCRIPT, evalue=SCRIPT, traceback=[SCRIPT]),
    ]
    nb.cells.append(new_code_cell("1", outputs=outputs, metadata={"name": SCRIPT}))
    opening = "<details open ontoggle=\"document.title='owned'\">"
    links = "[a](java&#115;cript:alert(1)) ![b](attachment:x.svg) <javascript:alert(1)>"
    for source in (SCRIPT, "[a](javascript:document.title='owned')", opening, links):
        nb.cells.append(new_markdown_cell(source, attachments={"x.svg": {"image/svg+xml": SCRIPT}, '"><script>': {}}))
    nb.cells.append(nbformat.v4.new_raw_cell(SCRIPT, metadata={"raw_mimetype": "text/html"}))
    toy.find(nb, "words").source = SCRIPT
    nb.metadata["title"] = nb.metadata["authors"] = SCRIPT
    return nb


def test_nothing_active_of_a_submission_reaches_a_page() -> None:
    done = work.restored(toy.release(), hostile_page())
    kinds = {kind for cell in done.cells for output in cell.get("outputs", []) for kind in output.get("data", {})}
    assert kinds <= {"text/plain", "image/png", "image/jpeg"}
    for cell in done.cells:
        if cell.cell_type != "code":
            assert "<script" not in cell.source
            assert "<img" not in cell.source
            assert "javascript:" not in cell.source
            assert not cell.get("attachments")
    assert not [cell for cell in done.cells if cell.cell_type == "raw"]


LINKS = [
    "[a](java&#115;cript:go)", "[a](java&amp;#115;cript:go)", "[a](javascript\\:go)", "[a](javascript&colon;go)",
    "[a](\n java\tscript:go)", "[a](<javascript:go>)", "[a][x]\n\n[x]: java&#115;cript:go",
    "[x]\n\n[x]:\njavascript\\:go",
    "![a](javascript&colon;go)", "<javascript:go>", "[a](JAVASCRIPT&colon;go)", "[a](vbscript\\:go)",
    "[a](data\\:text/html,x)",
    "$\\href{java\tscript:go}{x}$", "[a](&#x6a;avascript:go)", "[a](\\j\\a\\v\\a\\s\\c\\r\\i\\p\\t\\:go)",
    "[[a](x)](javascript\\:go)",
]  # fmt: skip


@pytest.mark.parametrize("source", LINKS)
def test_no_link_of_a_student_runs(source: str) -> None:
    page = markdown2html_mistune(clean.markdown(source))
    targets = re.findall(r"(?:href|src)=\"([^\"]*)", page)
    assert not [target for target in targets if ":" in html.unescape(target)], page
    assert "\\href" not in page


def test_honest_links_and_formulas_stay() -> None:
    source = "[a](https://example.org/?a=1&b=2) and $a_1 < b$, see #3 and x[1] (two)"
    page = markdown2html_mistune(clean.markdown(source))
    assert 'href="https://example.org/?a=1&amp;b=2"' in page
    assert "$a_1" in page


def test_pictures_stay() -> None:
    png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    (kept,) = clean.outputs([new_output("display_data", data={"image/png": png, "text/plain": "a picture"})])
    assert kept.data == {"image/png": png}
    assert clean.attachments({"a.png": {"image/png": png}}) == {"a.png": {"image/png": png}}


@pytest.mark.parametrize("formula", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "|cmd", "%0"])
def test_no_cell_of_a_table_is_a_formula(formula: str) -> None:
    assert clean.cell(formula)[0] in "'01"
    assert clean.cell("plain") == "plain"
    assert clean.cell(-1.5) == -1.5


def test_the_report_names_scores_laws_and_what_is_suspicious(course: Course) -> None:
    law = {"title": "<b>law</b>", "points": 2.0, "earned": 0.0, "message": "=cmd|' /C calc'!A0", "defect": False}
    verdicts = [
        Verdict("square_check", 2.0, 0.0, laws=[law], caught=["a reply out of turn"]),
        Verdict("total_check", 3.0, 3.0),
    ]
    toy.hand_in(course.root, "ada", toy.submission("def square(x): return x"))
    run.run(course, [CHAPTER], lambda jobs: ((w, [v.plain() for v in verdicts]) for w, _ in jobs))
    page, table = report.write(course, [CHAPTER], course.root)
    text = page.read_text()
    for part in ("ada", "&lt;b&gt;law&lt;/b&gt;", "a reply out of turn", "Laws that failed most", "default-src 'none'"):
        assert part in text
    rows = list(csv.DictReader(table.open()))
    assert rows[0]["remark"].startswith("'=")
    scores = {row["check"]: float(row["score"]) for row in rows}
    assert scores == {"square_check": 0.0, "total_check": 3.0, "words": 0.0}


# ------------------------------------------------------------------------------------------------ collecting


def test_archives_give_their_notebooks_and_nothing_else(course: Course, tmp_path: Path) -> None:
    nb = nbformat.writes(toy.submission()).encode()
    inner = tmp_path / "inner.zip"
    with zipfile.ZipFile(inner, "w") as packed:
        packed.writestr("gina_2026-11-21-10-00-00_toy.ipynb", nb)
    source = tmp_path / "downloaded"
    source.mkdir()
    with zipfile.ZipFile(source / "class.zip", "w") as packed:
        packed.writestr("ada_2026-11-21-10-00-00_toy.ipynb", nb)
        packed.writestr("bob/07_toy/toy.ipynb", nb)
        packed.writestr("../evil_2026-11-21-10-00-00_toy.ipynb", nb)
        packed.writestr("/tmp/evil_2026-11-21-10-00-00_toy.ipynb", nb)
        packed.writestr("=cmd_2026-11-21-10-00-00_toy.ipynb", nb)
        packed.writestr("carl/notes.txt", "hello")
        link = zipfile.ZipInfo("dora_2026-11-21-10-00-00_toy.ipynb")
        link.external_attr = 0o120777 << 16
        packed.writestr(link, "/etc/passwd")
        packed.writestr("bomb_2026-11-21-10-00-00_toy.ipynb", bytes(65 << 20), zipfile.ZIP_DEFLATED)
        packed.write(inner, "inner.zip")
    with tarfile.open(source / "more.tar.gz", "w:gz") as packed:
        packed.add(inner, "harmless.txt")
        for kind, name in ((tarfile.SYMTYPE, "eve"), (tarfile.LNKTYPE, "fay"), (tarfile.FIFOTYPE, "gil")):
            info = tarfile.TarInfo(f"{name}_2026-11-21-10-00-00_toy.ipynb")
            info.type, info.linkname = kind, "/etc/passwd"
            packed.addfile(info)
    (source / "hal_2026-11-21-10-00-00_toy.ipynb").symlink_to("/etc/passwd")
    os.mkfifo(source / "ian_2026-11-21-10-00-00_toy.ipynb")
    (source / "broken.zip").write_bytes(b"PK\3\4 nonsense")
    done = collect(course, [source])
    assert sorted(path.name for path in (course.root / "submitted").iterdir()) == ["ada", "bob", "gina"]
    assert len(done.refused) >= 10
    assert done.ignored == ["downloaded/class.zip/carl/notes.txt", "downloaded/more.tar.gz/harmless.txt"]
    assert not list(tmp_path.rglob("evil*"))


def test_the_latest_submission_stays(course: Course, tmp_path: Path) -> None:
    for day, points in ((22, 2), (21, 1)):
        path = tmp_path / f"ada_2026-11-{day}-10-00-00_toy.ipynb"
        path.write_text(nbformat.writes(deserving(points)))
        done = collect(course, [path])
    assert done.older == ["ada, 07_toy"]
    run.run(course, [CHAPTER], stub)
    assert squares(course) == {"ada": 2.0}


def downloaded(course: Course, **files: float | str) -> Path:
    """The course's downloaded/ with these files: notebooks worth so many points for `square`, or any text."""
    for name, content in files.items():
        path = course.root / "downloaded" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else nbformat.writes(deserving(content)))
    return course.root / "downloaded"


def collected(course: Course) -> dict[str, str]:
    """What each student deserves for `square`, by what lies in submitted/."""
    paths = (course.root / "submitted").glob(f"*/{CHAPTER}/toy.ipynb")
    sources = {path.parts[-3]: toy.find(nbformat.read(path, as_version=4), "square").source for path in paths}
    return {student: source.partition("#")[2] for student, source in sources.items()}


STAMPED = "{}_2026-11-21-10-00-00_toy.ipynb"


@pytest.mark.parametrize("student", ["max_muster", "max_power", "a__b", "x_2", "ada@uni.edu"])
def test_a_name_is_all_that_stands_before_the_time(course: Course, student: str) -> None:
    source = downloaded(course, **{STAMPED.format(student): 1.0, STAMPED.format("max"): 2.0})
    assert collect(course, [source]).refused == {}
    assert collected(course) == {student: "1.0", "max": "2.0"}
    pattern = course.config.FileNameCollectorPlugin.named_regexp
    named = re.match(pattern, f"/course/downloaded/{CHAPTER}/extracted/class/{STAMPED.format(student)}")
    assert (named["student_id"], named["timestamp"]) == (student, "2026-11-21-10-00-00")


@pytest.mark.parametrize("name", ["toy.ipynb", "07_toy/toy.ipynb", "07_toy/archive/toy.ipynb"])
def test_the_folder_of_downloads_is_no_student(course: Course, name: str) -> None:
    done = collect(course, [downloaded(course, **{name: 1.0})])
    assert "tells no student" in done.refused[f"downloaded/{name}"]
    assert collected(course) == {}


@pytest.mark.parametrize(
    ("folder", "student"),
    [
        ("Ann Lee_12345_assignsubmission_file_", "Ann.Lee"),
        ("Ann Lee_12345_assignsubmission_file", "Ann.Lee"),
        ("Zoë  O'Neil-Süß_7_assignsubmission_file_", "Zoe.ONeil-Suu00df"),
        ("李 伟_8_assignsubmission_file_", "u674e.u4f1f"),
        ("=cmd|' calc'!A0_9_assignsubmission_file_", "cmd.calcA0"),
        ("-1+1_9_assignsubmission_file_", "1+1"),
        ("!!!_9_assignsubmission_file_", None),
    ],
)
def test_moodles_folders_name_their_students_harmlessly(course: Course, folder: str, student: str | None) -> None:
    """As folders, as the beginning of a file's name, and around a student's own archive that claims somebody else."""
    nb = nbformat.writes(deserving(1))
    inner = course.root / "inner.zip"
    with zipfile.ZipFile(inner, "w") as packed:
        packed.writestr("bob/07_toy/.ipynb_checkpoints/toy-checkpoint.ipynb", "{}")
        packed.writestr(f"bob/07_toy/{STAMPED.format('bob')}", nb)
    source = downloaded(course, **{f"{folder}/toy.ipynb": nb, f"{folder.rstrip('_')}_toy.ipynb": nb})
    with zipfile.ZipFile(source / "class.zip", "w") as packed:
        packed.write(inner, f"{folder}/mine.zip")
    done = collect(course, [source])
    assert collected(course) == ({student: "1"} if student else {})
    assert len(done.refused) == (0 if student else 3)
    mark = course.root / "submitted" / str(student) / CHAPTER / "timestamp.txt"
    assert not student or not mark.read_text().startswith("2026-11-21 10:00:00"), "a time of the student's own writing"


def test_two_persons_of_one_name_are_told_apart_by_a_person(course: Course) -> None:
    files = {f"Ann Lee_{number}_assignsubmission_file_/toy.ipynb": 1.0 for number in (1, 2)}
    done = collect(course, [downloaded(course, **files)])
    assert "is called Ann.Lee, too: rename one" in done.refused["downloaded/Ann Lee_2_assignsubmission_file_/toy.ipynb"]


def test_of_two_files_that_no_time_orders_the_second_is_refused(course: Course) -> None:
    files = {"ada/one_toy.ipynb": 1.0, "ada/two_toy.ipynb": 2.0, "bob/one_toy.ipynb": 1.0, "bob/same_toy.ipynb": 1.0}
    source = downloaded(course, **files, **{"eve_2026-11-21-10-00-00_toy.ipynb": 1.0, "eve/toy.ipynb": 2.0})
    for first in (True, False):
        done = collect(course, [source])
        assert list(done.refused) == ["downloaded/ada/two_toy.ipynb", "downloaded/eve_2026-11-21-10-00-00_toy.ipynb"]
        assert "'downloaded/ada/one_toy.ipynb' came first" in done.refused["downloaded/ada/two_toy.ipynb"]
        assert collected(course) == {"ada": "1.0", "bob": "1.0", "eve": "2.0"}
        assert (len(done.taken), len(done.before)) == ((3, 0) if first else (0, 3))


def test_a_broken_archive_within_another_costs_only_itself(course: Course) -> None:
    with zipfile.ZipFile(downloaded(course, **{"a.txt": ""}) / "class.zip", "w") as packed:
        packed.writestr("ada/mine.zip", b"PK\3\4 nonsense")
        packed.writestr("bob/toy.ipynb", nbformat.writes(deserving(1)))
    done = collect(course, [course.root / "downloaded"])
    assert (list(done.refused), done.taken) == (["downloaded/class.zip/ada/mine.zip"], [f"bob, {CHAPTER}"])


def test_a_collection_says_what_is_new_and_what_it_passed_over(course: Course, capsys: pytest.CaptureFixture) -> None:
    late = "ada_2026-11-22-10-00-00_toy.ipynb"
    downloaded(course, **{STAMPED.format("ada"): 1.0, late: 2.0, "bob/toy.ipynb": 1.0, "odd.ipynb": 1.0})
    downloaded(course, **{f"note{k}.txt": "" for k in range(7)})
    counts = []
    for _ in range(2):
        assert main(["--course", str(course.root), "collect"]) == 0
        *said, last = capsys.readouterr().out.splitlines()
        counts.append(last)
    assert counts == [
        "2 new, 0 as before, 1 older than what is there, 1 refused",
        "0 new, 2 as before, 1 older than what is there, 1 refused",
    ]
    assert said[0].startswith("refused 'downloaded/odd.ipynb': its name tells no student")
    assert said[1].startswith("ignored, as hidden or no notebook: 'downloaded/note0.txt', ")
    assert said[1].endswith(" and 2 more")


# ------------------------------------------------------------------------------------------------ releasing


def place(course: Course) -> Path:
    return course.root / "notebooks" / CHAPTER / "toy.ipynb"


def changed(course: Course, change: Callable[[nbformat.NotebookNode], object]) -> bytes:
    """Change the released notebook; what the file then holds."""
    nb = nbformat.read(place(course), as_version=4)
    change(nb)
    nbformat.write(nb, place(course))
    return place(course).read_bytes()


def ran(nb: nbformat.NotebookNode) -> None:
    toy.find(nb, "three").update(execution_count=1, outputs=[new_output("stream", text="3")])


WORK = {
    "an answer": lambda nb: toy.find(nb, "square").update(source=toy.SQUARE),
    "words": lambda nb: toy.find(nb, "words").update(source="Because."),
    "outputs": ran,
    "a cell of one's own": lambda nb: nb.cells.append(new_code_cell("my = 1")),
}


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course whose release nbgrader made, checksums included."""
    root = toy.course(tmp_path_factory.mktemp("released"))
    assert release.release(CHAPTER, root=root) != [], "toy's release was written by hand, without checksums"
    assert release.release(CHAPTER, root=root) == []
    return root


@pytest.mark.parametrize("work", WORK)
def test_a_release_keeps_what_somebody_worked_in(released: Path, tmp_path: Path, work: str) -> None:
    course = Course(shutil.copytree(released, tmp_path / "course", ignore=shutil.ignore_patterns("build")))
    fresh = place(course).read_bytes()
    mine = changed(course, WORK[work])
    (kept,) = release.keep(place(course), place(Course(released)), course.root)
    assert kept.parent.parent == course.root / "build" / "kept" / CHAPTER
    assert kept.read_bytes() == mine
    assert place(Course(released)).read_bytes() == fresh


def test_a_release_that_nobody_worked_in_is_replaced_without_a_copy(released: Path, tmp_path: Path) -> None:
    course = Course(shutil.copytree(released, tmp_path / "course", ignore=shutil.ignore_patterns("build")))
    fresh = place(course).read_bytes()
    changed(course, lambda nb: nb.metadata.update(language_info={"name": "python", "version": "3.11"}))
    copy = place(course).with_name("toy-Copy1.ipynb")
    copy.write_text("{}")
    source = release.notebook_path("solutions", CHAPTER, course.root)
    nb = nbformat.read(source, as_version=4)
    toy.find(nb, "square_check").source += "  # a new edition"
    nbformat.write(nb, source)
    (kept,) = release.release(CHAPTER, root=course.root)
    assert (kept.name, kept.read_text(), copy.exists()) == (copy.name, "{}", False)
    assert b"a new edition" in place(course).read_bytes() != fresh


def test_only_what_is_missing_is_released_before_grading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(release, "notebook_path", lambda folder, chapter: tmp_path / chapter)
    monkeypatch.setattr(release, "release", lambda chapter, outputs: [tmp_path / "kept" / "toy.ipynb"])
    monkeypatch.setattr(release.Path, "write_text", None)  # the README is not touched
    first, *others = chapters()
    for chapter in others:
        (tmp_path / chapter).touch()
    release.main(["--missing"])
    released, kept = capsys.readouterr().out.splitlines()
    assert released.endswith(f"{first}, which was missing")
    assert re.fullmatch(r"kept toy\.ipynb, .* in .*kept", kept)
    (tmp_path / first).touch()
    release.main(["--missing"])
    assert capsys.readouterr().out == ""


def test_a_gradebook_that_does_not_know_a_chapter_leaves_its_release_alone(course: Course) -> None:
    Path(course.root, "gradebook.db").unlink()
    mine = changed(course, WORK["an answer"])
    run.run(Course(course.root), [CHAPTER], stub)
    assert place(course).read_bytes() == mine
    assert course.scores(CHAPTER) == {}
    with course.open() as book:
        assert [assignment.name for assignment in book.assignments] == [CHAPTER]


# ------------------------------------------------------------------------------------------------ what a person reads


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["--course", "/nowhere", "run"], "holds no nbgrader_config.py"),
        (["run", "09_nothing"], "no chapter 09_nothing; there are 01_"),
        (["collect", "/nowhere"], "there is no /nowhere"),
        (["run", "--scheduler", "tcp://10.0.0.1:8786"], "must be reached through TLS"),
        (["run", "--scheduler", "tls://10.0.0.1:8786"], "needs --tls-ca"),
    ],
)
def test_errors_are_one_sentence(command: list[str], says: str, capsys: pytest.CaptureFixture) -> None:
    assert main(command) == 1
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


def test_without_bubblewrap_grading_refuses_and_the_doctor_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None)
    sandbox.walls_missing.cache_clear()
    try:
        with pytest.raises(sandbox.SandboxError, match="install the package"):
            Grader()
        assert not doctor.report()
        assert "cannot be graded safely" in capsys.readouterr().out
    finally:
        sandbox.walls_missing.cache_clear()


@pytest.mark.parametrize(("user", "mark"), [(0, "note"), (1000, "ok")])
def test_the_doctor_takes_no_offence_at_root(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, user: int, mark: str
) -> None:
    monkeypatch.setattr(doctor.os, "getuid", lambda: user)
    doctor.report()
    assert re.search(rf"^{mark} +user: ", capsys.readouterr().out, re.MULTILINE)


def test_without_sandbox_by_explicit_wish_checks_still_judge(tmp_path: Path) -> None:
    with Grader(toy.helpers(tmp_path), walls=False) as grader:
        for nb, points in ((toy.submission(), 2.0), (toy.submission("def square(x):\n    return x"), 0.0)):
            verdicts = work.judged(toy.release(), work.restored(toy.release(), nb), grader)
            assert [v.score for v in verdicts] == [points, 3.0]


def test_signals_to_a_grader_leave_no_box_behind(tmp_path: Path) -> None:
    if sandbox.walls_missing():
        pytest.skip(sandbox.walls_missing())
    helpers = toy.helpers(tmp_path)

    def hold() -> None:
        grader = Grader(helpers)
        (tmp_path / "up").write_text(str([box.process.pid for box in grader.boxes.values()]))
        time.sleep(60)

    process = multiprocessing.get_context("fork").Process(target=hold)
    process.start()
    while not (tmp_path / "up").exists():
        time.sleep(0.1)
    pids = json.loads((tmp_path / "up").read_text() or "[]")
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
