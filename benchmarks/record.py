"""What every benchmark leaves behind: its own table for readers, results/NN_what.md, and beside it NN_what.json.

The JSON holds the rows that have a peer, an exact or published value, or a target; RESULTS.md is made of these alone.
"""

from __future__ import annotations

import json
import operator
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
SIGNS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


@dataclass(frozen=True)
class Row:
    """One comparison, numbers as they are shown; `target` is about the ratio, or "ours <= 0.02" about our number."""

    what: str
    ours: str
    beside: str = ""  # a peer, "exact" or "published"
    theirs: str = ""
    target: str = ""

    @property
    def ratio(self) -> float | None:
        """Ours over theirs; None where one of them is missing."""
        one, two = number(self.ours), number(self.theirs)
        return one / two if one is not None and two else None

    @property
    def met(self) -> str:
        """yes, no, or why neither."""
        if not self.target:
            return ""
        sign, _, bound = self.target.removeprefix("ours ").partition(" ")
        value = number(self.ours) if self.target.startswith("ours ") else self.ratio
        return "not measured" if value is None else ("yes" if SIGNS[sign](value, float(bound)) else "no")


def number(text: str) -> float | None:
    """The first number in a text."""
    found = NUMBER.search(text.replace("−", "-").replace(",", ""))
    return float(found[0]) if found else None


def table(head: str, rows: Iterable[Sequence[object]]) -> list[str]:
    """Lines of a Markdown table; `head` is its first line."""
    return [head, "|---" * (head.count("|") - 1) + "|", *(f"| {' | '.join(map(str, row))} |" for row in rows)]


def version(package: str) -> str:
    """Version of an installed package, or the empty string."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def present(*wishes: str) -> list[str]:
    """Which of these peers, given as "zuko==1.6.0", are installed; one sentence about each that is not."""
    names = {wish.partition("==")[0]: wish for wish in wishes}
    for name, wish in names.items():
        if not version(name):
            print(f"{name} is not installed here, so its rows stay empty; to measure them: pip install {wish}.")
    return [name for name in names if version(name)]


def save(
    stem: str, lines: Iterable[str], rows: Iterable[Row], packages: Iterable[str] = (), command: str = "", on: str = ""
) -> None:
    """Print and write one benchmark's table and rows; `packages` count beside torch and numpy, `on` is the machine."""
    text = "\n".join([f"# {stem}", "", *lines, ""])
    print(text)
    about = {
        "command": command or " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
        "versions": ", ".join(
            [*(f"{name} {version(name)}" for name in ("torch", "numpy", *packages)), *filter(None, [on])]
        ),
        "rows": [asdict(row) for row in rows],
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{stem}.md").write_text(text, encoding="utf-8")
    (RESULTS / f"{stem}.json").write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def lines(results: Path = RESULTS) -> list[tuple[str, ...]]:
    """Every recorded row as RESULTS.md shows it: chapter, what, ours, theirs, ratio, target, met, command."""
    found = []
    for path in sorted(results.glob("*.json")):
        about = json.loads(path.read_text(encoding="utf-8"))
        for row in (Row(**row) for row in about["rows"]):
            theirs = f"{row.theirs or 'not measured'} ({row.beside})" if row.beside else ""
            ratio = "" if row.ratio is None else f"{row.ratio:.4g}"
            chapter, command = path.stem.partition("_")[0], f"`{about['command']}`"
            found.append((chapter, row.what, row.ours, theirs, ratio, row.target, row.met, command))
    return found


def collect(results: Path = RESULTS) -> str:
    """RESULTS.md: a line per row of all JSON files, and what each file was measured with."""
    sources = []
    for path in sorted(results.glob("*.json")):
        about = json.loads(path.read_text(encoding="utf-8"))
        sources.append((f"[{path.stem}](results/{path.stem}.md)", f"`{about['command']}`", about["versions"]))
    head = "| chapter | what | ours | peer, exact or published | ours / it | target | met | command |"
    intro = "Written by `python -m benchmarks`, or from the recorded runs alone by `python -m benchmarks --collect`."
    said = ["# Results", "", intro, "A target is about the ratio, unless it says *ours*.", ""]
    measured = table("| measured | command | versions |", sources)
    return "\n".join([*said, *table(head, lines(results)), "", "## Measured with", "", *measured, ""])
