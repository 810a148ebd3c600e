"""Submissions graded per minute on two cores: `python -m grading run` against stock `nbgrader autograde`.

    python benchmarks/grading.py [SUBMISSIONS_PER_CHAPTER]
    python benchmarks/grading.py term [STUDENTS]

The first: both grade the same honest notebooks without their demo cells, in one run, with two processes each. Times are
wall seconds from the start of the command, imports and the warming of the sandboxes included; the CPU seconds of all
processes are beside them, since a busy machine changes the former. The second: one run over all chapters for a class in
which every other student leaves one exercise of each chapter unwritten, and its report.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import nbformat

from benchmarks.record import Row, save, table
from grading.release import chapters
from tests import gates

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = ("01_computation_graph", "04_rbm_vmc")
TARGET = 4
STOCK = """
import os, sys
from pathlib import Path
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
c = get_config()
c.CourseDirectory.root = str(Path(__file__).resolve().parent)
c.CourseDirectory.source_directory, c.CourseDirectory.release_directory = "solutions", "notebooks"
c.Execute.timeout = 300
"""
ENVIRONMENT = {
    **os.environ,
    "COURSE_PROFILE": "quick",
    "COURSE_DEVICE": "cpu",
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    "PYTHONWARNINGS": "ignore",
}


class Watch(threading.Thread):
    """CPU seconds and resident memory of all processes below this one, sampled, until `stop`."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.spent: dict[tuple[int, str], float] = {}
        self.memory: list[tuple[float, float]] = []
        self.running, self.start_time = True, time.monotonic()

    def run(self) -> None:
        while self.running:
            self.look()
            time.sleep(0.5)

    def look(self) -> None:
        """One sample; the sessions of a box are too short for it, and are read off their server's children."""
        found = dict(filter(None, map(_process, Path("/proc").glob("[0-9]*/stat"))))
        below, grown = {os.getpid()}, True
        while grown:
            new = {pid for pid, process in found.items() if process["parent"] in below} - below
            below, grown = below | new, bool(new)
        servers = {pid for pid in below if found[pid]["name"] != "bwrap" and _parent(found, pid)["name"] == "bwrap"}
        pages = 0
        for pid in below - {os.getpid()}:
            process = found[pid]
            pages += process["pages"]
            if process["parent"] not in servers and _parent(found, process["parent"])["parent"] not in servers:
                self.spent[pid, process["born"]] = process["own"] + (process["children"] if pid in servers else 0.0)
        self.memory.append((time.monotonic() - self.start_time, pages * os.sysconf("SC_PAGE_SIZE") / 2**20))

    @property
    def cpu(self) -> float:
        """CPU seconds seen."""
        return sum(self.spent.values())


def _process(path: Path) -> tuple[int, dict] | None:
    """What the kernel says of a process."""
    try:
        head, _, tail = path.read_text().rpartition(")")
    except OSError:
        return None
    fields = tail.split()
    own, children = sum(map(int, fields[11:13])) / 100, sum(map(int, fields[13:15])) / 100
    about = {"name": head.partition("(")[2], "parent": int(fields[1]), "own": own, "children": children}
    return int(path.parent.name), about | {"pages": int(fields[21]), "born": fields[19]}


def _parent(found: dict[int, dict], pid: int) -> dict:
    """The process that started `pid`, or an empty one."""
    nobody = {"name": "", "parent": 0}
    return found.get(found.get(pid, nobody)["parent"], nobody)


def course(root: Path, names: list[str], count: int, config: str, gaps: bool = False) -> Path:
    """A course with `count` right submissions of each chapter; with gaps, every other one lacks an exercise."""
    root.mkdir()
    (root / "nbgrader_config.py").write_text(config)
    shutil.copy(ROOT / "course.toml", root)
    for chapter in names:
        for kind in ("solutions", "notebooks"):
            shutil.copytree(ROOT / kind / chapter, root / kind / chapter)
        _hand_in(root, chapter, count, gaps)
        make = [sys.executable, "-m", "nbgrader", "generate_assignment", chapter, "--create", "--force"]
        subprocess.run(make, cwd=root, env=ENVIRONMENT, check=True, capture_output=True)
    return root


def _hand_in(root: Path, chapter: str, count: int, gaps: bool) -> None:
    word = chapter.partition("_")[2]
    right = {cell.id: cell.source for cell in gates.read("solutions", chapter).cells if gates.kind(cell) == "answer"}
    nb = gates.without_demos(gates.read("notebooks", chapter))
    empty = {cell.id: cell.source for cell in nb.cells}
    for k in range(count):
        path = root / "submitted" / f"{'ab'[k % 2]}{k:03}" / chapter / f"{word}.ipynb"
        path.parent.mkdir(parents=True)
        gap = gap_of(chapter, k) if gaps else ""
        for cell in nb.cells:
            cell.source = empty[cell.id] if cell.id == gap else right.get(cell.id, empty[cell.id])
        nb.cells[0].source += " " * (k + 1)  # no two files are alike
        nbformat.write(nb, path)


def gap_of(chapter: str, student: int) -> str:
    """The exercise that a student leaves unwritten, or an empty name."""
    answers = [cell.id for cell in gates.read("solutions", chapter).cells if gates.kind(cell) == "answer"]
    return answers[student // 2 % len(answers)] if student % 2 else ""


def timed(commands: list[list[str]], root: Path) -> tuple[float, float, list[tuple[float, float]]]:
    """Wall and CPU seconds until all commands have ended, and memory on the way."""
    watch, start = Watch(), time.monotonic()
    watch.start()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    running = [subprocess.Popen(command, cwd=root, env=ENVIRONMENT, **quiet) for command in commands]
    assert not any(process.wait() for process in running), "a grader failed"
    wall, watch.running = time.monotonic() - start, False
    return wall, watch.cpu, watch.memory


def check(root: Path, chapter: str, count: int) -> None:
    """Every submission has all its automatic points."""
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{root}/gradebook.db", "") as book:
        grades = [g for s in book.assignment_submissions(chapter) for n in s.notebooks for g in n.grades]
        lost = [g.name for g in grades if g.cell.cell_type == "code" and g.auto_score != g.max_score]
        assert len({g.notebook_id for g in grades}) == count
        assert not lost, lost


def row(folder: Path, chapter: str, count: int) -> tuple:
    """One line of the table."""
    ours = course(folder / f"ours{chapter}", [chapter], count, (ROOT / "nbgrader_config.py").read_text())
    stock = course(folder / f"stock{chapter}", [chapter], count, STOCK)
    run = [sys.executable, "-m", "grading", "--course", str(ours), "run", "--workers", "2"]
    wall, cpu, memory = timed([run], ours)
    halves = [[sys.executable, "-m", "nbgrader", "autograde", chapter, f"--student={letter}*"] for letter in "ab"]
    stock_wall, stock_cpu, _ = timed(halves, stock)
    for root in (ours, stock):
        check(root, chapter, count)
    middle = [value for seconds, value in memory if 0.4 * wall < seconds < 0.6 * wall]
    end = [value for seconds, value in memory if 0.75 * wall < seconds < 0.95 * wall]
    flat = f"{max(middle, default=0):.0f} -> {max(end, default=0):.0f}"
    line = (chapter, count, f"{60 * count / wall:.1f}", f"{60 * count / stock_wall:.1f}", f"{stock_wall / wall:.1f}")
    return *line, f">= {TARGET}", f"{cpu / count:.1f}", f"{stock_cpu / count:.1f}", flat


def term(students: int) -> None:
    """One run over every chapter of a class, and its report: minutes, and whether every grade is there and right."""
    from nbgrader.api import Gradebook

    with tempfile.TemporaryDirectory() as folder:
        root = course(Path(folder) / "course", chapters(), students, (ROOT / "nbgrader_config.py").read_text(), True)
        grade = [sys.executable, "-m", "grading", "--course", str(root)]
        wall, cpu, memory = timed([[*grade, "run", "--workers", "2"]], root)
        told, *_ = timed([[*grade, "report"]], root)
        with Gradebook(f"sqlite:///{root}/gradebook.db", "") as book:
            for chapter in chapters():
                graded = {s.student_id: s.notebooks[0].grades for s in book.assignment_submissions(chapter)}
                assert len(graded) == students, f"{chapter}: {len(graded)} graded"
                for student, grades in graded.items():
                    auto = [g for g in grades if g.cell.cell_type == "code"]
                    full, gap = all(g.auto_score == g.max_score for g in auto), gap_of(chapter, int(student[1:]))
                    assert all(g.auto_score is not None for g in auto), f"{chapter}, {student}: no grade"
                    assert full == (not gap), f"{chapter}, {student}, without {gap!r}: {[g.auto_score for g in auto]}"
        assert (root / "report.html").stat().st_size > 10_000
    minutes = f"{(wall + told) / 60:.1f}"
    head = "| submissions | both, minutes | grading, minutes | report, seconds | CPU s each | most memory (MiB) |"
    line = (
        students * len(chapters()),
        minutes,
        f"{wall / 60:.1f}",
        f"{told:.0f}",
        f"{cpu / students / len(chapters()):.1f}",
    )
    lines = ["Every grade there and right.", "", *table(head, [(*line, f"{max(m for _, m in memory):.0f}")])]
    what = f"{students} students, {len(chapters())} chapters, two workers: minutes to grades and report"
    save("grading_term", lines, [Row(what, minutes, target="ours <= 60")], ["nbgrader"])


def main() -> None:
    """Measure and write the table."""
    if sys.argv[1:2] == ["term"]:
        term(int(sys.argv[2]) if len(sys.argv) > 2 else 100)
        return
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    head = "| chapter | submissions | ours per minute | stock per minute | ratio | target | our CPU s each "
    head += "| stock CPU s each | our memory, middle -> end (MiB) |"
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for chapter in CHAPTERS:
            found.append(row(Path(folder), chapter, count))
            print(found[-1], flush=True)
    what = "{}, submissions graded a minute, {} of them"
    rows = [Row(what.format(*f[:2]), f[2], "nbgrader autograde", f[3], f[5]) for f in found]
    save("grading", [__doc__.splitlines()[0], "", *table(head, found)], rows, ["nbgrader"])


if __name__ == "__main__":
    main()
