"""What Sphinx reads: chapters as students get them with the figures of the reference, instructor pages, the API.

python -m docs.pages site [--profile quick] [--instructor]    build/site-source; `make site` then runs Sphinx on it
python -m docs.pages gallery [--profile class]                docs/gallery, one figure of every chapter

Executed solutions and the verdicts on wrong answers are kept in build/executed under a hash of what they came from.
"""

from __future__ import annotations

import argparse
import base64
import copy
import hashlib
import importlib.util
import io
import json
import os
import pkgutil
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import yaml
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image

import helpers
from grading.release import ROOT, chapters, notebook_path
from tests.gates import MARK_SCHEME, leaks

DOCS, BUILD = ROOT / "docs", ROOT / "build"
SOURCE, EXECUTED = BUILD / "site-source", BUILD / "executed"
FONTS = "output/chtml/fonts/woff-v2"
GALLERY_WIDTH = 720  # pixels; with 128 colours every picture stays below 120 kB
DISCLOSURE = re.compile(r"<details><summary>(.*?)</summary>(.*?)</details>", re.DOTALL)
WIDGET = "application/vnd.jupyter.widget-view+json"
BADGE = re.compile(r"\[!\[Open in Colab\]\([^)]*\)\]\(([^)]*)\)")

LAUNCH = """:::{{container}} launch
[Open in Colab](COLAB) {{download}}`Download the notebook <../../released/{word}.ipynb>` \
[Teach it](../../teaching/{chapter}.md)
:::

*Everything below was run with the course's own answers in the `{profile}` profile; yours are still to be written.*"""
PRIVATE = "The rubric of the free-text questions is a solution, so it is not on this site: `make site INSTRUCTOR=1`."


class SolutionLeak(RuntimeError):
    """A line of an answer or of a mark scheme was about to enter a page for students."""


# ------------------------------------------------------------------------------------------------ what takes time


def kept(kind: str, sources: list[str], make: Callable[[], str]) -> str:
    """The text that `make` returns, made again only when one of the texts in `sources` has changed."""
    digest = hashlib.sha256("\0".join(sources).encode()).hexdigest()[:16]
    place = EXECUTED / f"{kind}_{digest}"
    if not place.exists():
        EXECUTED.mkdir(parents=True, exist_ok=True)
        text = make()
        for stale in EXECUTED.glob(f"{kind}_*"):
            stale.unlink()
        draft = place.with_suffix(".draft")
        draft.write_text(text, encoding="utf-8")
        draft.replace(place)
    return place.read_text(encoding="utf-8")


def library() -> list[str]:
    """What every result depends on: the sources of helpers, and the versions of the packages."""
    paths = [*sorted((ROOT / "helpers").rglob("*.py")), ROOT / "constraints.txt"]
    return [path.read_text(encoding="utf-8") for path in paths]


def executed(chapter: str, profile: str) -> dict[str, NotebookNode]:
    """The code cells of the chapter's solution by id, run on the CPU in `profile`; an error stops the build."""
    solution = nbformat.read(notebook_path("solutions", chapter), as_version=4)

    def run() -> str:
        print(f"running {chapter} in profile {profile}", flush=True)
        before = dict(os.environ)
        os.environ.update(COURSE_PROFILE=profile, COURSE_DEVICE="cpu", PYTHONPATH=str(ROOT))
        try:
            place, quiet = {"metadata": {"path": str(EXECUTED)}}, ["--log-level=ERROR"]
            NotebookClient(solution, timeout=3600, resources=place, extra_arguments=quiet).execute()
        finally:
            os.environ.clear()
            os.environ.update(before)
        return nbformat.writes(solution)

    code = [cell.source for cell in solution.cells if cell.cell_type == "code"]
    done = nbformat.reads(kept(f"{chapter}_{profile}", code + library(), run), as_version=4)
    return {cell.id: cell for cell in done.cells if cell.cell_type == "code"}


# ------------------------------------------------------------------------------------------------ chapters


def merge(released: NotebookNode, run: dict[str, NotebookNode], solution: NotebookNode) -> NotebookNode:
    """The released cells with the outputs that the solution's run gave under the same id; never any of its text."""
    page = copy.deepcopy(released)
    for cell in page.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = presentable(run[cell.id].outputs), run[cell.id].execution_count
    if found := leaks(solution, "\n".join(lines(page))):
        raise SolutionLeak("; ".join(found))
    return page


def lines(page: NotebookNode) -> Iterator[str]:
    """All text of a page: sources, and what its outputs print."""
    for cell in page.cells:
        yield cell.source
        for output in cell.get("outputs", []):
            yield output.get("text", "")
            yield from (text for text in output.get("data", {}).values() if isinstance(text, str))


def presentable(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Outputs as a page shows them: prints in a row as one text, no progress bars, no icons from elsewhere."""
    shown: list[NotebookNode] = []
    for output in map(copy.deepcopy, outputs):
        data = output.get("data", {})
        if output.get("name") == "stderr" or WIDGET in data:
            continue
        if "text/html" in data:
            data["text/html"] = re.sub(r"<link\b[^>]*>", "", data["text/html"])
        if shown and output.output_type == shown[-1].output_type == "stream":
            shown[-1].text += output.text
        else:
            shown.append(output)
    return [output for output in shown if output.get("text", "-").strip()]


def legible(source: str, launch: str) -> str:
    """Markdown as MyST reads it: the badge becomes a row of links, and a folded hint may hold markdown."""
    source = BADGE.sub(lambda match: launch.replace("COLAB", match[1]), source)
    return DISCLOSURE.sub(r"<details><summary>\1</summary>\n\n\2\n\n</details>", source)


def chapter_page(chapter: str, profile: str) -> NotebookNode:
    """A chapter's page for students."""
    released, solution = (nbformat.read(notebook_path(f, chapter), as_version=4) for f in ("notebooks", "solutions"))
    page = merge(released, executed(chapter, profile), solution)
    word = chapter.partition("_")[2]
    launch = LAUNCH.format(word=word, chapter=chapter, profile=profile)
    for cell in page.cells:
        if cell.cell_type == "markdown":
            cell.source = legible(cell.source, launch)
    return page


# ------------------------------------------------------------------------------------------------ for instructors


def front(chapter: str) -> tuple[dict[str, str], str]:
    """What docs/chapters/ says of a chapter: the fields at its top, and its text."""
    _, fields, text = (DOCS / "chapters" / f"{chapter}.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(fields), text.strip()


def verdicts(chapter: str) -> dict[str, list[tuple[str, str, str]]]:
    """Exercise -> (mistake, points kept, message), by running every wrong answer through its check."""
    word = chapter.partition("_")[2]

    def judge() -> str:
        from tests.suite import load

        suite, found = load(word), {}
        for case in suite.cases:
            if case.says and not case.degenerate:
                report = suite.checks[case.exercise].judge(*case.functions, seed=1)
                message = next(law.message for law in report.laws if law.earned < law.points)
                told = (mistake(case.name, case.exercise), f"{report.score:g} of {report.points:g}", message)
                found.setdefault(case.exercise, []).append(told)
        return json.dumps(found)

    answers = (ROOT / "tests" / "wrong_answers" / f"{word}.py").read_text(encoding="utf-8")
    return json.loads(kept(f"{chapter}_mistakes", [answers, *library()], judge))


def mistake(name: str, exercise: str) -> str:
    """A case's name in words, without the exercise that it repeats."""
    words, asked = name.strip("<>").split("_"), exercise.split("_")
    while len(words) > 1 and words[0] in asked:
        words = words[1:]
    return " ".join(words)


def mistakes(chapter: str) -> str:
    """The chapter's wrong answers as tables, one an exercise."""
    parts = [
        "## Typical mistakes, and what each triggers",
        f"Every wrong answer in `tests/wrong_answers/{chapter.partition('_')[2]}.py`, run through its check.",
    ]
    for exercise, rows in verdicts(chapter).items():
        table = ["| mistake | keeps | the student reads |", "|---|---|---|"]
        table += ["| " + " | ".join(map(as_it_is, row)) + " |" for row in rows]
        parts += [f"### {exercise}", "\n".join(table)]
    return "\n\n".join(parts)


def as_it_is(text: str) -> str:
    """One line of plain text that markdown shows as it is, in a table too."""
    return re.sub(r"([\\`*_$|<>\[\]{}~#^])", r"\\\1", " ".join(text.split()))


def rubric(solution: NotebookNode) -> str:
    """The mark schemes of the questions in words. They are solutions: only the instructors' build asks for them."""
    parts = ["## Rubric of the questions in words"]
    for cell in solution.cells:
        for scheme in MARK_SCHEME.findall(cell.source):
            text = "\n".join(map(as_it_is, scheme.splitlines()))
            parts += [f"### {cell.id} · {cell.metadata.nbgrader.points:g} points", text]
    return "\n\n".join(parts)


def teaching_page(chapter: str, instructor: bool) -> str:
    """Aims and plans by hand, mistakes and rubric by machine."""
    _, text = front(chapter)
    solution = nbformat.read(notebook_path("solutions", chapter), as_version=4)
    last = rubric(solution) if instructor else PRIVATE
    return "\n\n".join([text, last, mistakes(chapter)]) + "\n"


# ------------------------------------------------------------------------------------------------ the API


def modules() -> Iterator[str]:
    """The public modules of helpers, packages first; checks of single chapters are left to the notebooks."""
    for module in sorted(pkgutil.walk_packages(helpers.__path__, "helpers."), key=lambda module: module.name):
        if not re.fullmatch(r"helpers\.checks\.(?!laws|boundary).*", module.name):
            yield module.name


def api_page(package: str, members: list[str]) -> str:
    """One package, its modules one after the other, in reStructuredText for autodoc."""
    titles = [f"{package}\n{'=' * len(package)}", *(f"{name}\n{'-' * len(name)}" for name in members)]
    texts = [f"{title}\n\n.. automodule:: {name}\n   :members:\n" for title, name in zip(titles, [package, *members])]
    return "\n".join(texts)


def api() -> Iterator[tuple[str, str]]:
    """The API's pages by name."""
    names = list(modules())
    top = [name for name in names if name.count(".") == 1]
    for package in top:
        yield package, api_page(package, [name for name in names if name.startswith(f"{package}.")])
    rows = [f"| [{name}]({name}.rst) | {importlib.import_module(name).__doc__.splitlines()[0]} |" for name in top]
    tree = "\n".join(["```{toctree}", ":hidden:", *top, "```"])
    table = "\n".join(["| package | what it is |", "|---|---|", *rows])
    yield "index", f"# helpers, the reference package\n\n{table}\n\n{tree}\n"


# ------------------------------------------------------------------------------------------------ all of it


def card(chapter: str) -> str:
    """A chapter on the front page: its figure, its title, one line."""
    fields, _ = front(chapter)
    word = chapter.partition("_")[2]
    return (
        f"[![{fields['alt']}](gallery/{chapter}.png)](notebooks/{chapter}/{word}.ipynb)\n\n"
        f"[**{fields['title']}**](notebooks/{chapter}/{word}.ipynb) {fields['caption']}"
    )


def write(path: str, text: str) -> None:
    """One source page of the site."""
    place = SOURCE / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text, encoding="utf-8")


def bring_mathjax() -> None:
    """MathJax and its fonts, from the package that brings them, so that formulas need no network."""
    package = Path(importlib.util.find_spec("sphinx-mathjax-offline").origin).parent / "static" / "mathjax"
    for name in ("tex-chtml.js", *(f"{path.relative_to(package)}" for path in package.glob(f"{FONTS}/*.woff"))):
        (SOURCE / "static" / "mathjax" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(package / name, SOURCE / "static" / "mathjax" / name)


def stage(profile: str, instructor: bool) -> None:
    """Write build/site-source anew."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    shutil.copytree(DOCS / "gallery", SOURCE / "gallery")
    bring_mathjax()
    cards = [f":::{{container}} card\n{card(chapter)}\n:::" for chapter in chapters()]
    write("index.md", (DOCS / "index.md").read_text(encoding="utf-8").replace("<!-- gallery -->", "\n\n".join(cards)))
    write("grading.md", (DOCS / "grading.md").read_text(encoding="utf-8"))
    write("contributing.md", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    for chapter in chapters():
        path = notebook_path("notebooks", chapter)
        write(path.relative_to(ROOT).as_posix(), nbformat.writes(chapter_page(chapter, profile)))
        write(f"released/{path.name}", path.read_text(encoding="utf-8"))
        write(f"teaching/{chapter}.md", teaching_page(chapter, instructor))
    for name, text in api():
        write(f"api/{name}.{'md' if name == 'index' else 'rst'}", text)


def gallery(profile: str) -> None:
    """docs/gallery: of every chapter the figure that its instructor page names by cell id."""
    for chapter in chapters():
        outputs = executed(chapter, profile)[front(chapter)[0]["figure"]].outputs
        picture = next(output.data["image/png"] for output in outputs if "image/png" in output.get("data", {}))
        image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
        image.thumbnail((GALLERY_WIDTH, GALLERY_WIDTH))
        image.quantize(128).save(DOCS / "gallery" / f"{chapter}.png", optimize=True)
        print(f"docs/gallery/{chapter}.png")


def main(arguments: list[str] | None = None) -> None:
    """The command line described at the top of this file."""
    parser = argparse.ArgumentParser(prog="python -m docs.pages", description="Write the pages of the course's site.")
    parser.add_argument("what", choices=("site", "gallery"))
    parser.add_argument("--profile", default="quick", choices=("quick", "class", "paper"))
    parser.add_argument("--instructor", action="store_true", help="with the rubric of the questions in words")
    options = parser.parse_args(arguments)
    if options.what == "site":
        stage(options.profile, options.instructor)
    else:
        gallery(options.profile)


if __name__ == "__main__":
    main()
