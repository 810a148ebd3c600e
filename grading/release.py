"""Make `notebooks/` from `solutions/`: tidy each source, then let nbgrader cut the answers out; stamp README's badges.

python -m grading.release                       all chapters
python -m grading.release 01_computation_graph  one chapter
python -m grading.release --outputs             first run the solutions and renew the outputs of marked cells
python -m grading.release --missing             only chapters whose notebook is not there

A notebook that somebody has worked in is first copied to build/kept/.
"""

from __future__ import annotations

import argparse
import datetime
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbconvert.exporters.exporter import ResourcesDict
from nbformat import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor
from nbgrader.utils import compute_checksum

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
    """The same text, its Colab badges and its clone line pointing at the course's address."""
    where = address()
    text = re.sub(r"(git clone )https?://\S+( course\n)", r"\1{repository}\2".format(**where), text)
    return re.sub(r"(colab\.research\.google\.com/github/).*?/blob/.*?/", r"\1{slug}/blob/{tag}/".format(**where), text)


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


def release(chapter: str, outputs: bool = False, root: Path = ROOT) -> list[Path]:
    """Tidy the solution of `chapter` in place and generate its release with nbgrader; the copies of work made first."""
    source = notebook_path("solutions", chapter, root)
    nb = nbformat.read(source, as_version=4)
    if outputs:
        renew_outputs(nb, source.parent)
    nbformat.write(tidy(nb), source)
    return generate(chapter, root)


def generate(chapter: str, root: Path = ROOT) -> list[Path]:
    """Run nbgrader generate_assignment on `chapter`; the copies of the work that it would have overwritten."""
    place = notebook_path("notebooks", chapter, root)
    command = [sys.executable, "-m", "nbgrader", "generate_assignment", chapter, "--create", "--force"]
    with tempfile.TemporaryDirectory() as scratch:
        command.append(f"--CourseDirectory.release_directory={scratch}")
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"nbgrader could not release {chapter}:\n{done.stderr.strip()}")
        made = Path(scratch, chapter, place.name)
        kept = keep(place, made, root)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(made, place)
    return kept


def keep(place: Path, made: Path, root: Path = ROOT) -> list[Path]:
    """Copies, in build/kept/CHAPTER/TIME, of what would be lost if the notebook at `place` became `made`.

    Other notebooks beside `place` are moved there: graders take any notebook in that folder for the release.
    """
    folder = root / "build" / "kept" / place.parent.name / f"{datetime.datetime.now():%Y-%m-%d-%H-%M-%S}"
    strays = sorted(path for path in place.parent.glob("*.ipynb") if path.name != place.name)
    changed = place.exists() and place.read_bytes() != made.read_bytes() and worked(place, made)
    if strays or changed:
        folder.mkdir(parents=True, exist_ok=True)
    if changed:
        shutil.copy2(place, folder)
    for path in strays:
        shutil.move(path, folder / path.name)
    return [folder / path.name for path in ([place] if changed else []) + strays]


def worked(path: Path, made: Path) -> bool:
    """Whether somebody has worked in the release at `path`: ran a cell, changed a graded or locked one, or added one.

    What was released says so itself, by nbgrader's checksums; cells without one are known by the ids in `made`.
    """
    ids = {cell.id for cell in nbformat.read(made, as_version=4).cells}
    try:
        return any(_touched(cell, ids) for cell in nbformat.read(path, as_version=4).cells)
    except Exception:  # noqa: BLE001 - whatever cannot be read as a release is somebody's
        return True


def _touched(cell: NotebookNode, ids: set[str]) -> bool:
    if cell.get("outputs") or cell.get("execution_count"):
        return True
    if "nbgrader" in cell.metadata:
        return cell.metadata.nbgrader.get("checksum") != compute_checksum(cell)
    return bool(cell.source.strip()) and cell.get("id") not in ids


def main(arguments: list[str] | None = None) -> None:
    """The command line described at the top of this file."""
    parser = argparse.ArgumentParser(prog="python -m grading.release", description="Release the course's notebooks.")
    parser.add_argument("chapters", nargs="*", metavar="CHAPTER", help="such as 01_computation_graph (default: all)")
    parser.add_argument("--outputs", action="store_true", help="renew the outputs of marked cells first")
    parser.add_argument("--missing", action="store_true", help="only chapters whose notebook is not there")
    options = parser.parse_args(arguments)
    unknown = set(options.chapters) - set(chapters())
    if unknown:
        parser.error(f"no chapter {', '.join(sorted(unknown))}; there are {', '.join(chapters())}")
    places = {chapter: notebook_path("notebooks", chapter) for chapter in options.chapters or chapters()}
    wanted = [chapter for chapter, place in places.items() if not (options.missing and place.exists())]
    for chapter in wanted:
        kept = release(chapter, options.outputs)
        print(f"released {os.path.relpath(places[chapter], ROOT)}{', which was missing' if options.missing else ''}")
        if kept:
            names = " and ".join(path.name for path in kept)
            print(f"kept {names}, as somebody had left it there, in {os.path.relpath(kept[0].parent, ROOT)}")
    if options.missing:
        return
    readme = ROOT / "README.md"
    readme.write_text(stamp_badges(readme.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
