"""Execute a chapter's solution through papermill and record the numbers that its tables print.

python -m benchmarks.solution 01 [class | paper | quick] [auto | cpu | cuda | mps]

The executed notebook stays in build/; the rows go to results/NN_notebook_PROFILE.json.  `quick` is for looking only and
records nothing.  Which numbers, and how they are found in what a cell printed, stands in NN_name.toml: a table that
changed its form stops the recording.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib

import nbformat
from nbformat import NotebookNode

from benchmarks.record import HERE, Row, collect, save

ROOT = HERE.parent


def said(nb: NotebookNode, name: str) -> str:
    """What the cell of that id printed."""
    cell = next((cell for cell in nb.cells if cell.get("id") == name), None)
    if cell is None:
        raise SystemExit(f"The notebook has no cell {name}: mend the .toml file of its chapter.")
    return "".join(output.text for output in cell.outputs if output.output_type == "stream" and output.name == "stdout")


def row(printed: str, mark: dict[str, str]) -> Row:
    """One number that a cell printed, beside its mark."""
    mark = dict(mark)
    found = re.search(rf"^{mark.pop('line')}", printed, re.MULTILINE)
    if found is None:
        raise SystemExit(f"The notebook prints no line for {mark['what']!r}: mend the .toml file of its chapter.")
    shown = {name: re.sub(r" +", " ", text).replace("+-", "±") for name, text in found.groupdict().items()}
    if "error" in shown:
        shown["ours"] += f" ± {shown.pop('error')}"
    return Row(**mark, **shown)


def record(nb: NotebookNode, chapter: str, profile: str, options: str = "", seconds: float = 0) -> None:
    """Write the rows and the tables of an executed notebook, and its CPU seconds where they are known."""
    texts, rows = [], []
    for cell, marks in tomllib.loads((HERE / f"{chapter}.toml").read_text(encoding="utf-8")).items():
        texts += [f"`{cell}`", "```", said(nb, cell).rstrip(), "```", ""]
        rows += [row(said(nb, cell), mark) for mark in marks]
    if seconds:
        texts.append(f"{seconds:.0f} CPU seconds.")
        rows.append(Row(f"the notebook in `{profile}`, CPU seconds", f"{seconds:.0f}"))
    command = f"make {'paper' if profile == 'paper' else 'run'} CHAPTER={chapter}{options}"
    save(f"{chapter[:2]}_notebook_{profile}", texts, rows, command=command, on=said(nb, "setup").strip())


def execute(chapter: str, profile: str, device: str) -> tuple[NotebookNode, float]:
    """The solution after papermill ran it, which stays in build/, and the CPU seconds of its kernel."""
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    source, made = next((ROOT / "solutions" / chapter).glob("*.ipynb")), build / f"{chapter}_{profile}.ipynb"
    before = os.times()
    command = [sys.executable, "-m", "papermill", source, made, "--cwd", build, "-p", "profile", profile]
    if subprocess.call([*command, "-p", "device", device]):
        raise SystemExit(f"{chapter} did not run to its end in {profile}; see {made}.")
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return nbformat.read(made, as_version=4), spent


def main(wanted: str = "", profile: str = "class", device: str = "auto") -> None:
    """The command line described at the top of this file."""
    chapters = [path.name for path in sorted((ROOT / "solutions").iterdir()) if wanted and path.name.startswith(wanted)]
    if len(chapters) != 1:
        raise SystemExit(f"No single chapter begins with {wanted!r}: say CHAPTER=01, or 01_computation_graph.")
    nb, seconds = execute(chapters[0], profile, device)
    if profile != "quick":
        record(nb, chapters[0], profile, "" if device == "auto" else f" DEVICE={device}", seconds)
        (HERE / "RESULTS.md").write_text(collect(), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
