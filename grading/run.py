"""Grade a class: evaluate submissions on many cores or machines, enter verdicts from one process, resume at will.

Workers get a release and a submission as bytes and return verdicts; they see no gradebook. What is in the gradebook
in full is never graded again; what was evaluated but not entered is entered.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tqdm.auto import tqdm

from grading import clean
from grading.course import Course, CourseError, Work, contents
from grading.evaluate import Verdict
from grading.work import evaluate

AHEAD = 3  # tasks per worker that may wait, so that memory does not grow with the class


@dataclass
class Tally:
    """What a run came to."""

    graded: list[Work] = field(default_factory=list)  # all that were entered
    unreadable: dict[Work, str] = field(default_factory=dict)  # those of them that were no notebook, and why
    before: list[Work] = field(default_factory=list)  # graded by an earlier run
    elsewhere: list[Work] = field(default_factory=list)  # claimed by another grader
    refused: dict[Work, str] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = [f"{len(self.graded) - len(self.unreadable)} graded"]
        parts += [f"{len(self.unreadable)} unreadable"] if self.unreadable else []
        parts += [f"{len(self.before)} already graded"] if self.before else []
        parts += [f"{len(self.elsewhere)} with another grader"] if self.elsewhere else []
        parts += [f"{len(self.refused)} without a grade"] if self.refused else []
        return ", ".join(parts)


def run(course: Course, chapters: list[str], compute: Compute, *, walls: bool = True) -> Tally:
    """Grade all that these chapters' submissions lack; verdicts are entered as they come in."""
    tally = Tally()
    with contextlib.ExitStack() as claims:
        todo = list(_todo(course, chapters, tally, claims))
        jobs = (
            (work, (course.release(work.chapter).read_bytes(), contents(work), work.path.name, walls))
            for work in todo
            if not _enter_kept(course, work, tally)
        )
        before = len(tally.refused)
        with tqdm(total=len(todo), desc="warming the sandboxes" if todo else "grading", unit="notebook") as bar:
            for work, verdicts in compute(jobs):
                bar.set_description("grading", refresh=False)
                if isinstance(verdicts, str):
                    tally.refused[work] = verdicts
                else:
                    _enter(course, work, [Verdict(**verdict) for verdict in verdicts], tally)
                bar.set_postfix_str(str(work), refresh=False)
                bar.update(len(tally.graded) + len(tally.refused) - before - bar.n)
            bar.set_description("grading", refresh=False)
            bar.update(len(tally.graded) + len(tally.refused) - before - bar.n)
    return tally


# takes work and its job, gives work and its verdicts, or the reason why there are none
Compute = Callable[[Iterator[tuple[Work, tuple]]], Iterator[tuple[Work, list[dict] | str]]]


def _todo(course: Course, chapters: list[str], tally: Tally, claims: contextlib.ExitStack) -> Iterator[Work]:
    """Submissions that need grading, claimed for this grader; those that cannot be graded lose old points."""
    for name in course.strangers():
        tally.refused[Work(clean.text(name, 80), "", "", course.root)] = "a name holds letters, digits and ._@+- only"
    for chapter in chapters:
        course.prepare(chapter)
        scores = course.scores(chapter)
        for work in course.submitted([chapter]):
            if not claims.enter_context(course.claim(work)):
                tally.elsewhere.append(work)
            elif trouble := course.trouble(work):
                course.zero(work)
                course.forget(work)
                tally.refused[work] = trouble
            elif course.done(work, scores):
                course.forget(work)  # a grader may have been killed before it could
                tally.before.append(work)
            else:
                yield work


def _enter_kept(course: Course, work: Work, tally: Tally) -> bool:
    kept = course.kept(work)
    if kept is not None:
        _enter(course, work, kept, tally)
    return kept is not None


def _enter(course: Course, work: Work, verdicts: list[Verdict], tally: Tally) -> None:
    course.keep(work, verdicts)
    try:
        course.write(work, verdicts)
    except CourseError as error:
        tally.refused[work] = str(error)
        return
    course.forget(work)
    tally.graded.append(work)
    if reason := course.record(work).get("reason"):
        tally.unreadable[work] = reason


# ------------------------------------------------------------------------------------------------ where it runs


def here(jobs: Iterator[tuple[Work, tuple]]) -> Iterator[tuple[Work, list[dict]]]:
    """One after another in this process."""
    return ((work, evaluate(*job)) for work, job in jobs)


def cluster(workers: int) -> Compute:
    """On `workers` processes of this machine."""
    return here if workers == 1 else functools.partial(_dask, workers=workers)


def scheduler(address: str, security: Any = None) -> Compute:
    """On a Dask scheduler that runs already, with however many workers it has."""
    return functools.partial(_dask, address=address, security=security)


def _dask(
    jobs: Iterator[tuple[Work, tuple]], *, workers: int = 0, address: str = "", security: Any = None
) -> Iterator[tuple[Work, list[dict]]]:
    from distributed import Client, KilledWorker, LocalCluster, as_completed

    with contextlib.ExitStack() as stack:
        try:
            place = address or stack.enter_context(
                LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None, memory_limit=0)
            )
            client = stack.enter_context(Client(place, security=security, timeout="20s"))
        except (OSError, TimeoutError, ValueError) as error:
            raise CourseError(f"no Dask scheduler answers at {address or 'this machine'}: {error}") from None
        ahead = AHEAD * max(workers, len(client.scheduler_info()["workers"]), 1)
        waiting = {_submit(client, job): work for work, job in itertools.islice(jobs, ahead)}
        done = as_completed(waiting)
        for future in done:
            try:
                result = future.result()
            except KilledWorker:
                result = "every worker that took it was lost"
            yield waiting.pop(future), result
            for work, job in itertools.islice(jobs, 1):
                fresh = _submit(client, job)
                waiting[fresh] = work
                done.add(fresh)


def _submit(client: Any, job: tuple) -> Any:
    return client.submit(evaluate, *job, pure=False, retries=3)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
