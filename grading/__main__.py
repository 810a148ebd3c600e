"""The instructors' command line: python -m grading collect | run | report | export | doctor."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grading.course import Course

ROOT = Path(__file__).resolve().parent.parent
# Workers import this file too: whatever takes long to import is imported by the command that needs it.


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(prog="python -m grading", description="Grade the course, strangers' code included.")
    top.add_argument(
        "--course", type=Path, default=ROOT, metavar="FOLDER", help="the course's folder (default: this one)"
    )
    top.add_argument("--db", default="", metavar="URL", help="gradebook, as postgresql+psycopg://user@host/name")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    take = commands.add_parser("collect", help="bring submissions in from zips, tars, folders or notebooks")
    take.add_argument("sources", nargs="*", type=Path, help="default: downloaded/")
    take.add_argument("--chapter", default="", help="where the names do not tell the chapter")
    take.add_argument("--exchange", action="store_true", help="collect from nbgrader's exchange (needs --chapter)")
    grade = commands.add_parser("run", help="grade what has not been graded; may be interrupted and run again")
    grade.add_argument("chapters", nargs="*", metavar="CHAPTER", help="such as 01_computation_graph (default: all)")
    grade.add_argument("--workers", type=int, default=0, metavar="N", help="processes (default: one per core)")
    grade.add_argument(
        "--scheduler", default="", metavar="ADDRESS", help="a running Dask scheduler, such as tls://host:8786"
    )
    for part, what in (("ca", "certificate authority"), ("cert", "certificate"), ("key", "private key")):
        grade.add_argument(f"--tls-{part}", default="", metavar="FILE", help=f"{what} for a tls:// scheduler")
    grade.add_argument("--no-sandbox", action="store_true", help="run student code with your rights: if you trust it")
    tell = commands.add_parser("report", help="write report.html and report.csv")
    tell.add_argument("chapters", nargs="*", metavar="CHAPTER")
    tell.add_argument("--output", type=Path, default=None, metavar="FOLDER", help="default: the course's folder")
    give = commands.add_parser("export", help="write the grades as CSV for a learning platform")
    give.add_argument("chapters", nargs="*", metavar="CHAPTER")
    give.add_argument("--form", choices=("moodle", "canvas"), required=True)
    give.add_argument("--out", type=Path, required=True, metavar="FILE")
    give.add_argument("--roster", type=Path, default=None, metavar="FILE", help="the platform's own list, as CSV")
    give.add_argument("--match", default="", metavar="COLUMN", help="its column that holds our student names")
    give.add_argument("--unfinished", action="store_true", help="also points that lack a question in words")
    commands.add_parser("doctor", help="say what this machine offers")
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run one command; errors are one sentence."""
    options = parser().parse_args(arguments)
    from grading.course import CourseError
    from grading.sandbox import SandboxError

    try:
        return globals()[options.command](options)
    except (CourseError, SandboxError) as error:
        print(f"grading: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("grading: interrupted; run it again to go on", file=sys.stderr)
        return 130


def _chapters(course: Course, wanted: list[str]) -> list[str]:
    from grading.course import CourseError

    known = list(course.chapters())
    if unknown := sorted(set(wanted) - set(known)):
        raise CourseError(f"no chapter {', '.join(unknown)}; there are {', '.join(known)}")
    return wanted or known


def collect(options: argparse.Namespace) -> int:
    """python -m grading collect"""
    from grading.collect import collect as gather
    from grading.course import Course, CourseError

    course = Course(options.course, options.db)
    if options.chapter:
        _chapters(course, [options.chapter])
    if options.exchange:
        return subprocess.run(
            [sys.executable, "-m", "nbgrader", "collect", options.chapter, "--update"], cwd=course.root, check=False
        ).returncode
    sources = options.sources or [course.root / "downloaded"]
    if missing := [str(source) for source in sources if not source.exists()]:
        raise CourseError(f"there is no {', '.join(missing)}")
    done = gather(course, sources, options.chapter)
    for sentence in done.sentences():
        print(sentence)
    return 0


def run(options: argparse.Namespace) -> int:
    """python -m grading run"""
    from grading import run as runner
    from grading import sandbox
    from grading.course import Course

    course = Course(options.course, options.db)
    chapters = _chapters(course, options.chapters)
    if not options.no_sandbox and not options.scheduler:
        sandbox.require_walls()
    if options.scheduler:
        compute = runner.scheduler(options.scheduler, _security(options))
    else:
        compute = runner.cluster(options.workers or runner.cores())
    tally = runner.run(course, chapters, compute, walls=not options.no_sandbox)
    for work, reason in tally.refused.items():
        print(f"no grade for {work}: {reason}")
    for work, reason in tally.unreadable.items():
        print(f"no points for {work}: {reason}")
    print(tally)
    return 0


def _security(options: argparse.Namespace) -> object:
    """Dask's TLS settings; a scheduler on another machine is only spoken to through TLS."""
    from distributed.security import Security

    from grading.course import CourseError

    if options.scheduler.startswith("tls://"):
        files = {"tls_ca_file": options.tls_ca, "tls_client_cert": options.tls_cert, "tls_client_key": options.tls_key}
        if not all(files.values()):
            raise CourseError("a tls:// scheduler needs --tls-ca, --tls-cert and --tls-key")
        return Security(require_encryption=True, **files)
    if not options.scheduler.startswith(("tcp://127.", "tcp://localhost", "tcp://[::1]", "127.", "localhost")):
        raise CourseError("a scheduler on another machine must be reached through TLS (tls://...)")
    return None


def report(options: argparse.Namespace) -> int:
    """python -m grading report"""
    from grading.course import Course
    from grading.report import write

    course = Course(options.course, options.db)
    page, table = write(course, _chapters(course, options.chapters), options.output or course.root)
    print(f"wrote {page} and {table}")
    return 0


def export(options: argparse.Namespace) -> int:
    """python -m grading export"""
    from grading.course import Course
    from grading.export import grades, write

    course = Course(options.course, options.db)
    found = grades(course, _chapters(course, options.chapters), options.unfinished)
    for sentence in write(options.form, options.out, found, options.match, options.roster):
        print(sentence)
    return 0


def doctor(options: argparse.Namespace) -> int:
    """python -m grading doctor"""
    from grading.doctor import report as examine

    return 0 if examine() else 1


if __name__ == "__main__":
    sys.exit(main())
