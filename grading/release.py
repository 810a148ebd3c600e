"""Make `notebooks/` from `solutions/`: tidy each source, then let nbgrader cut the answers out; stamp README's badges.

python -m grading.release                       all chapters
python -m grading.release 01_computation_graph  one chapter
python -m grading.release --outputs             first run the solutions and renew the outputs of marked cells
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbconvert.exporters.exporter import ResourcesDict
from nbformat import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor

ROOT = Path(__file__).resolve().parent.parent
MARK = "# NBVAL_CHECK_OUTPUT"  # nbval compares the output of a cell that holds this line
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def chapters(root: Path = ROOT) -> list[str]:
    """Names of the chapters, such as 01_computation_graph, in order."""
    return sorted(path.name for path in (root / "solutions").iterdir() if path.is_dir())


def notebook_path(folder: str, chapter: str, root: Path = ROOT) -> Path:
    """The notebook of `chapter` under "solutions" or "notebooks": named after the chapter without its number."""
    return root / folder / chapter / f"{chapter.partition('_')[2]}.ipynb"


def marked(cell: NotebookNode) -> bool:
    """Whether this cell's output is kept in git and compared by nbval."""
    return cell.cell_type == "code" and MARK in cell.source


class StampAddress(NbGraderPreprocessor):
    """Replace {{repository}}, {{slug}} and {{tag}} by the course's address from course.toml."""

    def preprocess(self, nb: NotebookNode, resources: ResourcesDict) -> tuple[NotebookNode, ResourcesDict]:
        """Every cell's source with the address filled in."""
        for cell in nb.cells:
            for name, value in address().items():
                cell.source = cell.source.replace("{{" + name + "}}", value)
        return nb, resources


def address() -> dict[str, str]:
    """The course's repository, its slug on GitHub and the tag of its release, from course.toml."""
    course = tomllib.loads((ROOT / "course.toml").read_text())["course"]
    slug = course["repository"].removeprefix("https://github.com/")
    return {"repository": course["repository"], "slug": slug, "tag": course["tag"]}


def stamp_badges(text: str) -> str:
    """The same text, its Colab badges pointing at the course's address."""
    return re.sub(
        r"(colab\.research\.google\.com/github/).*?/blob/.*?/", r"\1{slug}/blob/{tag}/".format(**address()), text
    )


def tidy(nb: NotebookNode) -> NotebookNode:
    """The form in git: no outputs or counts but in marked cells, ids equal to grade_ids, plain metadata."""
    nb.metadata = nbformat.from_dict(METADATA)
    nb.nbformat_minor = 5
    for cell in nb.cells:
        cell.id = cell.metadata.get("nbgrader", {}).get("grade_id", cell.id)
        kept = {key: cell.metadata[key] for key in ("nbgrader", "tags") if cell.metadata.get(key)}
        cell.metadata = nbformat.from_dict(kept)
        if cell.cell_type == "code" and not marked(cell):
            cell.outputs, cell.execution_count = [], None
    return nb


def renew_outputs(nb: NotebookNode, folder: Path) -> NotebookNode:
    """Run the solution in the quick profile so that its marked cells hold fresh outputs."""
    os.environ["COURSE_PROFILE"], os.environ["COURSE_DEVICE"] = "quick", "cpu"
    NotebookClient(nb, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    return nb


def release(chapter: str, outputs: bool = False) -> None:
    """Tidy the solution of `chapter` in place and generate its release with nbgrader."""
    source = notebook_path("solutions", chapter)
    nb = nbformat.read(source, as_version=4)
    if outputs:
        renew_outputs(nb, source.parent)
    nbformat.write(tidy(nb), source)
    generate(chapter)


def generate(chapter: str, *options: str) -> None:
    """Run nbgrader generate_assignment on `chapter`; extra options go to nbgrader."""
    command = [sys.executable, "-m", "nbgrader", "generate_assignment", chapter, "--create", "--force", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"nbgrader could not release {chapter}:\n{done.stderr.strip()}")


def main(arguments: list[str] | None = None) -> None:
    """The command line described at the top of this file."""
    parser = argparse.ArgumentParser(prog="python -m grading.release", description="Release the course's notebooks.")
    parser.add_argument("chapters", nargs="*", metavar="CHAPTER", help="such as 01_computation_graph (default: all)")
    parser.add_argument("--outputs", action="store_true", help="renew the outputs of marked cells first")
    options = parser.parse_args(arguments)
    unknown = set(options.chapters) - set(chapters())
    if unknown:
        parser.error(f"no chapter {', '.join(sorted(unknown))}; there are {', '.join(chapters())}")
    for chapter in options.chapters or chapters():
        release(chapter, options.outputs)
        print(f"released {notebook_path('notebooks', chapter).relative_to(ROOT)}")
    readme = ROOT / "README.md"
    readme.write_text(stamp_badges(readme.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
