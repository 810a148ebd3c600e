"""A student's day in a real browser: `make lab`, run the notebook, write a right and a wrong answer, press Validate.

Screenshots of every stage land in build/screenshots, the whole notebook in parts.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import socket

import nbformat
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from grading.release import ROOT, chapters, notebook_path
from helpers.checks.laws import NOT_WRITTEN
from tests import gates

HOME = {  # where Jupyter looks for what its user has: nothing yet
    "JUPYTER_CONFIG_DIR": "config",
    "JUPYTER_DATA_DIR": "data",
    "JUPYTER_RUNTIME_DIR": "runtime",
    "JUPYTERLAB_SETTINGS_DIR": "settings",
    "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    "IPYTHONDIR": "ipython",
}
SCREENSHOTS = ROOT / "build" / "screenshots"
PATIENCE = 240_000  # milliseconds; every wait is for a state, and ends as soon as it is reached

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(shutil.which("make") is None, reason="no make to start JupyterLab with"),
]

# Markdown that the browser shows as it was typed: a formula that stayed source, or a tag that became text.
RAW_MARKDOWN = r"""() => {
    const raw = [];
    for (const cell of document.querySelectorAll('.jp-Notebook .jp-RenderedMarkdown')) {
        const walk = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
        for (let node = walk.nextNode(); node; node = walk.nextNode())
            if (/\$|\\[a-z]|<\/?[a-z]+>|\*\*/i.test(node.data))
                if (!node.parentElement.closest('mjx-container, code, pre')) raw.push(node.data);
        for (const bad of cell.querySelectorAll('mjx-merror')) raw.push(bad.textContent);
    }
    return raw;
}"""
FINISHED = r"""() => {
    const prompts = [...document.querySelectorAll('.jp-Notebook .jp-CodeCell .jp-InputPrompt')];
    return prompts.every(prompt => /\[\d+\]/.test(prompt.textContent));
}"""
TROUBLE = ", ".join(f".jp-Notebook [data-mime-type='application/vnd.jupyter.{kind}']" for kind in ("error", "stderr"))
DRAWS = re.compile(r"\b(draw|figures)\.(?!use_style)[a-z_]+\(")
PAINTED = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


# --- the machine ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A copy of what a student works in, and the address of the JupyterLab that `make lab` serves there."""
    course, home = tmp_path_factory.mktemp("course"), tmp_path_factory.mktemp("home")
    for name in ("Makefile", "nbgrader_config.py"):
        shutil.copy(ROOT / name, course)
    shutil.copytree(ROOT / "notebooks", course / "notebooks")
    no_news = home / HOME["JUPYTERLAB_SETTINGS_DIR"] / "@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    no_news.parent.mkdir(parents=True)
    no_news.write_text(json.dumps({"fetchNews": "false", "checkForUpdates": False}))  # the pop-up is answered with No
    with serving(course, home) as address:
        yield course, address


@contextmanager
def serving(course: Path, home: Path) -> Iterator[str]:
    """`make lab` in the course, with the settings of somebody who has never used Jupyter; gone at the end."""
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = f"LAB_ARGS=--no-browser --port={port} --IdentityProvider.token=course"
    command = ["make", "lab", "PYTHON=true", f"BIN={Path(sys.executable).parent}", options]  # set up already
    environment = gates.QUICK | {"MAKEFLAGS": ""} | {name: str(home / folder) for name, folder in HOME.items()}
    log = home / "log"
    with log.open("w") as out:
        server = subprocess.Popen(command, cwd=course, env=environment, stdout=out, stderr=out, start_new_session=True)
    try:
        yield address_in(log, server) + "course"
    finally:
        stop(server)


def address_in(log: Path, server: subprocess.Popen[bytes]) -> str:
    """The address that JupyterLab prints when it is ready, up to the token."""
    deadline = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < deadline and server.poll() is None:
        if found := re.search(r"http://127\.0\.0\.1:\d+/lab/tree/\S+\?token=", log.read_text()):
            return found[0]
        time.sleep(0.1)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()}")


def stop(server: subprocess.Popen[bytes]) -> None:
    """End the server's process group; its kernels follow."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, how)
            server.wait(timeout=30)
            return
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


# --- the student ------------------------------------------------------------------------------------------------------


class Notebook:
    """An open notebook, used by eye, mouse and keyboard."""

    def __init__(self, page: Page, path: Path, stage: str) -> None:
        self.page, self.stage, self.shots = page, stage, 0
        self.ids = [cell.id for cell in nbformat.read(path, as_version=4).cells]
        self.cells = page.locator(".jp-Notebook .jp-Cell")
        expect(self.cells).to_have_count(len(self.ids), timeout=PATIENCE)
        expect(page.get_by_text(re.compile(r"^Python 3.* \| Idle$"))).to_be_visible(timeout=PATIENCE)

    def cell(self, name: str) -> Locator:
        """The cell with this id."""
        return self.cells.nth(self.ids.index(name))

    def output(self, name: str) -> Locator:
        """What a cell printed."""
        return self.cell(name).locator(".jp-Cell-outputArea")

    def run_all(self) -> None:
        """Run > Run All Cells, and wait for the last one."""
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_text("Run All Cells", exact=True).click()
        self.page.wait_for_function(FINISHED, timeout=PATIENCE)

    def write(self, name: str, *lines: str) -> None:
        """Replace an answer's `raise NotImplementedError` by these lines, then run it and the check below it."""
        self.cell(name).locator(".cm-line", has_text="raise NotImplementedError").click()
        for key in ("End", "Shift+Home"):
            self.page.keyboard.press(key)
        for number, line in enumerate(lines):
            self.page.keyboard.type(("\n" if number else "") + line)
        for _ in range(2):
            self.page.keyboard.press("Shift+Enter")

    def validate(self) -> Locator:
        """Press nbgrader's button and wait for its verdict."""
        self.page.get_by_role("button", name="Validate").click()
        dialog = self.page.locator(".jp-Dialog", has_text="Validation Results")
        dialog.wait_for(timeout=PATIENCE)
        return dialog

    def shoot(self, what: str) -> None:
        """One screenshot of what is on the screen."""
        self.page.evaluate(PAINTED)
        self.shots += 1
        self.page.screenshot(path=SCREENSHOTS / self.stage / f"{self.shots:02}_{what}.png")

    def shoot_all(self, what: str) -> None:
        """The whole notebook, a screenful at a time."""
        panel = self.page.locator(".jp-Notebook .jp-WindowedPanel-outer").first
        height = panel.bounding_box()["height"]
        panel.evaluate("panel => panel.scrollTo(0, 0)")
        self.shoot(what)
        while (
            self.cells.last.bounding_box()["y"] + self.cells.last.bounding_box()["height"]
            > self.page.viewport_size["height"]
        ):
            panel.evaluate("(panel, step) => panel.scrollBy(0, step)", 0.9 * height)
            self.shoot(what)


@contextmanager
def opened(browser: Browser, lab: tuple[Path, str], chapter: str) -> Iterator[Notebook]:
    """A chapter's released notebook in a browser window of a laptop's size."""
    course, address = lab
    path = course / notebook_path("notebooks", chapter).relative_to(ROOT)
    shutil.rmtree(SCREENSHOTS / chapter, ignore_errors=True)
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(PATIENCE)
    address = re.sub(r"(?<=/lab/tree/).*(?=\?)", path.relative_to(course).as_posix(), address)
    page.goto(f"{address}&reset")  # or JupyterLab opens the chapter before once more, in a tab behind this one
    try:
        yield Notebook(page, path, chapter)
    finally:
        page.close()


def unsolved_run(notebook: Notebook, released: nbformat.NotebookNode) -> None:
    """Run All on the untouched notebook: no error, no raw markdown, a picture wherever one is drawn, checks unmet."""
    notebook.run_all()
    notebook.shoot_all("unsolved")
    assert notebook.page.evaluate(RAW_MARKDOWN) == []
    expect(notebook.page.locator(TROUBLE)).to_have_count(0)
    for cell in gates.code(released):
        if gates.kind(cell) == "check":
            expect(notebook.output(cell.id)).to_contain_text(NOT_WRITTEN)
        elif DRAWS.search(cell.source):
            expect(notebook.output(cell.id).locator("img, .jp-RenderedHTML").first, cell.id).to_be_visible()


def test_a_students_day(browser: Browser, lab: tuple[Path, str]) -> None:
    released = gates.read("notebooks", "01_computation_graph")
    with opened(browser, lab, "01_computation_graph") as notebook:
        notebook.shoot("opened")
        unsolved_run(notebook, released)

        notebook.write("linear_backward", "return delta @ W.T, x.T @ delta, delta.sum(axis=0)")
        expect(notebook.output("linear_backward_check")).to_contain_text(re.compile(r"ok .*3 of 3 points", re.DOTALL))
        notebook.shoot("right_answer")

        uphill = ("velocity = alpha * velocity + learning_rate * gradient", "return theta + velocity, velocity")
        notebook.write("momentum_step", *uphill)
        expect(notebook.output("momentum_step_check")).to_contain_text(re.compile(r"no .*uphill", re.DOTALL))
        notebook.shoot("wrong_answer")

        verdict = notebook.validate()
        notebook.shoot("validate")
        for cell in filter(lambda cell: gates.kind(cell) == "check", released.cells):
            listed = expect(verdict.get_by_text(cell.source, exact=True))
            listed.to_have_count(0 if cell.id == "linear_backward_check" else 1)
        expect(verdict).to_contain_text("You did not provide a response")  # the question in words


@pytest.mark.slow
@pytest.mark.parametrize("chapter", chapters()[1:])
def test_every_other_notebook_runs_unsolved(chapter: str, browser: Browser, lab: tuple[Path, str]) -> None:
    with opened(browser, lab, chapter) as notebook:
        unsolved_run(notebook, gates.read("notebooks", chapter))
