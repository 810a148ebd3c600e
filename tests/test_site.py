"""The course's site: no answer on a page for students, every chapter taught, every link and formula alive offline."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image
from playwright.sync_api import Browser, Page

from docs import pages
from grading import release
from grading.release import ROOT, chapters
from tests import gates
from tests.test_browser import PATIENCE

each_chapter = pytest.mark.parametrize("chapter", chapters())
ANSWER, SCHEME = "return the_answer_of_the_course", "one point for saying that energy is conserved"


# --- what a page may show ---------------------------------------------------------------------------------------------


@pytest.fixture
def solution() -> nbformat.NotebookNode:
    """A chapter with one answer and one question in words."""
    answer = f"def f():\n    ### BEGIN SOLUTION\n    {ANSWER}\n    ### END SOLUTION"
    scheme = f"=== BEGIN MARK SCHEME ===\n{SCHEME}\n=== END MARK SCHEME ==="
    cells = [new_code_cell(answer, id="answer"), new_code_cell("f()", id="check")]
    return new_notebook(cells=[*cells, new_markdown_cell(scheme, id="question", metadata={"nbgrader": {"points": 1}})])


@pytest.fixture
def released() -> nbformat.NotebookNode:
    """The same as students get it."""
    cells = [new_code_cell("def f():\n    raise NotImplementedError", id="answer"), new_code_cell("f()", id="check")]
    return new_notebook(cells=[*cells, new_markdown_cell("*Your answer here.*", id="question")])


def run_of(solution: nbformat.NotebookNode, *outputs: nbformat.NotebookNode) -> dict[str, nbformat.NotebookNode]:
    """The solution's code cells after a run in which the check put these outputs out."""
    solution.cells[1].outputs = list(outputs)
    return {cell.id: cell for cell in solution.cells[:2]}


def test_a_page_holds_the_stub_and_the_verdict(solution, released):
    page = pages.merge(released, run_of(solution, new_output("stream", text="ok\n")), solution)
    assert [cell.source for cell in page.cells] == [cell.source for cell in released.cells]
    assert page.cells[1].outputs[0].text == "ok\n"


@pytest.mark.parametrize("secret", [ANSWER, SCHEME])
@pytest.mark.parametrize(
    "plant",
    [
        lambda line: new_output("stream", text=f"line 3\n    {line}\n"),
        lambda line: new_output("execute_result", data={"text/plain": line}),
        lambda line: new_output("display_data", data={"text/html": f"<pre>\n{line}\n</pre>"}),
    ],
    ids=["printed", "result", "html"],
)
def test_a_planted_line_of_a_solution_in_an_output_stops_the_page(solution, released, plant, secret):
    with pytest.raises(pages.SolutionLeak, match=secret):
        pages.merge(released, run_of(solution, plant(secret)), solution)


@pytest.mark.parametrize("secret", [ANSWER, SCHEME])
def test_a_planted_line_of_a_solution_in_a_cell_stops_the_page(solution, released, secret):
    released.cells[2].source += f"\n{secret}"
    with pytest.raises(pages.SolutionLeak, match=secret):
        pages.merge(released, run_of(solution), solution)


def test_prints_in_a_row_are_one_text_and_progress_bars_are_gone():
    bar = new_output("display_data", data={pages.WIDGET: {}, "text/plain": "  0%"})
    film = new_output("display_data", data={"text/html": '<link rel="stylesheet" href="https://far"><b>film</b>'})
    printed = [new_output("stream", text=text) for text in ("a", "\n", "b\n")]
    noise = new_output("stream", name="stderr", text="100%")
    shown = pages.presentable([bar, printed[0], noise, printed[1], printed[2], film])
    assert [output.get("text") or output.data["text/html"] for output in shown] == ["a\nb\n", "<b>film</b>"]
    assert pages.presentable([printed[1], bar]) == []


def test_a_hint_may_hold_markdown():
    hint = pages.legible("<details><summary>Hint 1</summary>Use `x` and $y$.</details>", "")
    assert "<summary>Hint 1</summary>\n\nUse `x` and $y$.\n\n</details>" in hint


# --- for those who teach ----------------------------------------------------------------------------------------------


@each_chapter
def test_every_chapter_has_its_instructor_page(chapter):
    fields, text = pages.front(chapter)
    assert set(fields) == {"title", "figure", "alt", "caption"}
    assert fields["figure"] in {cell.id for cell in gates.code(gates.read("notebooks", chapter))}
    for heading in ("## Aims", "## 90 minutes", "## 45 minutes", "## Where it gets stuck"):
        assert heading in text


@each_chapter
def test_the_rubric_is_for_instructors_only(chapter, monkeypatch):
    monkeypatch.setattr(pages, "verdicts", lambda chapter: {})
    solution = gates.read("solutions", chapter)
    assert gates.leaks(solution, pages.teaching_page(chapter, instructor=False)) == []
    with_rubric = pages.teaching_page(chapter, instructor=True).replace("\\", "")
    found = gates.leaks(solution, with_rubric)
    schemes = sum(len(gates.MARK_SCHEME.findall(cell.source)) for cell in solution.cells)
    assert len(found) >= schemes > 0


def test_a_message_of_a_check_fits_in_a_table(monkeypatch):
    monkeypatch.setattr(pages, "verdicts", lambda chapter: {"f": [("sign", "0 of 2", "log|det| *is* `x`\n$2$")]})
    assert r"| sign | 0 of 2 | log\|det\| \*is\* \`x\` \$2\$ |" in pages.mistakes("04_rbm_vmc")


def test_a_mistake_is_named_without_its_exercise():
    assert pages.mistake("parity_xor_only", "parity_network") == "xor only"
    assert pages.mistake("free_energy", "free_energy") == "energy"


# --- README -----------------------------------------------------------------------------------------------------------


@each_chapter
def test_the_gallery_is_there_and_small(chapter):
    path = ROOT / "docs" / "gallery" / f"{chapter}.png"
    assert path.stat().st_size < 120_000
    assert Image.open(path).width >= 400
    assert f"(docs/gallery/{chapter}.png)" in (ROOT / "README.md").read_text()


def test_readme_has_one_badge_a_chapter_at_the_courses_address(monkeypatch):
    text = (ROOT / "README.md").read_text()
    assert release.stamp_badges(text) == text
    for chapter in chapters():
        path = release.notebook_path("notebooks", chapter).relative_to(ROOT).as_posix()
        assert f"/github/{release.address()['slug']}/blob/{release.address()['tag']}/{path})" in text
    monkeypatch.setattr(
        release, "address", lambda: {"slug": "fork/course", "tag": "v9", "repository": "https://github.com/fork/course"}
    )
    assert release.stamp_badges(text).count("/github/fork/course/blob/v9/notebooks/") == len(chapters())
    assert "git clone https://github.com/fork/course course\n" in release.stamp_badges(text)


# --- the site itself --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site() -> Path:
    """build/site as `make site` leaves it on a machine without a network: a warning would have been an error."""
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    environment = os.environ | nowhere | {"NO_PROXY": "127.0.0.1,localhost", "MAKEFLAGS": "", "PYTHONPATH": str(ROOT)}
    command = ["make", "site", "PYTHON=true", f"BIN={Path(sys.executable).parent}"]  # set up already
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "WARNING" not in done.stderr
    return ROOT / "build" / "site"


def targets(page: Path) -> Iterator[tuple[Path, str]]:
    """Where a page's own links, scripts and pictures point: a file, and the name of a place in it."""
    for tag in BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser").select("[href], [src]"):
        url = urlsplit(tag.get("href") or tag.get("src"))
        if not url.scheme and not url.netloc:
            yield (page.parent / unquote(url.path) if url.path else page).resolve(), unquote(url.fragment)


@functools.cache
def names(page: Path) -> frozenset[str]:
    """The places in a page that a link may name."""
    return frozenset(tag["id"] for tag in BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser").select("[id]"))


@pytest.mark.slow
def test_no_link_within_the_site_is_broken(site: Path) -> None:
    broken = []
    for page in site.rglob("*.html"):
        for file, place in targets(page):
            if not file.exists() or (place and file.suffix == ".html" and place not in names(file)):
                broken.append(f"{page.relative_to(site)}: {file.name}#{place}")
    assert broken == []


@pytest.mark.slow
def test_no_answer_is_on_the_site(site: Path) -> None:
    solutions = [gates.read("solutions", chapter) for chapter in chapters()]
    given = "\n".join(gates.sources(gates.read("notebooks", chapter)) for chapter in chapters())
    public = {leak for solution in solutions for leak in gates.leaks(solution, given)}  # in the stub of another chapter
    for page in site.rglob("*.html"):
        text = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser").get_text()
        assert {leak for solution in solutions for leak in gates.leaks(solution, text)} <= public, page


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """The site on a port of this machine."""
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


MARKUP = r"\$[^$]+\$|\\[a-z]+\{|<\/?(b|i|em|code|details|summary|br|sub|sup|div)>|\*\*"
TYPESET = "() => !document.querySelector('.math') || window.MathJax?.startup?.promise?.then(() => true)"
FAULTS = r"""markup => {
    const faults = [], exempt = 'mjx-container, code, pre, script, noscript, style, .sig, table';
    if (document.documentElement.scrollWidth > innerWidth) faults.push('wider than the window');
    for (const math of document.querySelectorAll('.math'))
        if (!math.querySelector('mjx-container')) faults.push('not typeset: ' + math.textContent);
    for (const bad of document.querySelectorAll('mjx-merror')) faults.push('refused: ' + bad.textContent);
    const walk = document.createTreeWalker(document.querySelector('article'), NodeFilter.SHOW_TEXT);
    for (let node = walk.nextNode(); node; node = walk.nextNode())
        if (new RegExp(markup).test(node.data) && !node.parentElement.closest(exempt)) faults.push(node.data);
    for (const image of document.querySelectorAll('article img'))
        if (image.complete && !image.naturalWidth) faults.push('no picture: ' + image.src);
    return faults;
}"""


def watched(page: Page, address: str) -> list[str]:
    """A list that fills with whatever the page complains about, or asks of another server."""
    heard: list[str] = []
    page.on("console", lambda message: heard.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on(
        "request", lambda request: None if request.url.startswith((address, "data:")) else heard.append(request.url)
    )
    return heard


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_fits_and_is_typeset_without_a_network(width: int, site: Path, address: str, browser: Browser):
    shots = ROOT / "build" / "screenshots" / "site" / str(width)
    shutil.rmtree(shots, ignore_errors=True)
    faults = {}
    for path in sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html")):
        page = browser.new_page(viewport={"width": width, "height": 900})
        heard = watched(page, address)
        page.goto(f"{address}/{path}", timeout=PATIENCE)
        page.wait_for_function(TYPESET, timeout=PATIENCE)
        faults[path] = page.evaluate(FAULTS, MARKUP) + heard
        if path.startswith("notebooks/"):
            page.screenshot(path=shots / f"{Path(path).stem}.png", full_page=True)
        for between in (600, 1024, 1100, 1320):
            page.set_viewport_size({"width": between, "height": 900})
            if page.evaluate("document.documentElement.scrollWidth") > between + 1:  # rem are rounded
                faults[path].append(f"wider than a window of {between}")
        page.close()
    assert {path: found for path, found in faults.items() if found} == {}
