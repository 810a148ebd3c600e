"""Every number that README shows was recorded by the command beside it, and every record says where it comes from."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest

from benchmarks import __main__ as runner
from benchmarks import record, solution
from grading.release import ROOT, chapters
from tests import gates

FILES = sorted(record.RESULTS.glob("*.json"))
NUMBER = r"[-+]?\d[\d.]*(?:e[-+]?\d+)?"


def about(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def test_results_are_assembled_from_the_records() -> None:
    assert (ROOT / "benchmarks/RESULTS.md").read_text(encoding="utf-8") == record.collect()


def test_readme_shows_what_was_recorded() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Results")[2].partition("\n## ")[0]
    shown = [
        tuple(cell.strip() for cell in line.strip("|").split("|")) for line in text.splitlines() if line[:1] == "|"
    ]
    recorded = {(chapter, what, ours, theirs, command) for chapter, what, ours, theirs, *_, command in record.lines()}
    assert {row[0] for row in shown[2:]} == {chapter[:2] for chapter in chapters()}
    assert [row for row in shown[2:] if row not in recorded] == []


def test_readme_shows_the_machine_seconds_that_were_recorded() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Chapters")[2].partition("## As a student")[0]
    shown = dict(re.findall(r"^\| \[(\d\d) .*?\| (\d+) \| \[!", text, re.MULTILINE))
    seconds = {
        chapter: ours for chapter, what, ours, *_ in record.lines() if what == "the notebook in `class`, CPU seconds"
    }
    assert shown == seconds
    assert len(seconds) == len(chapters())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_recorded_number_stands_in_the_table_of_its_run(path: Path) -> None:
    text = path.with_suffix(".md").read_text(encoding="utf-8")
    for row in about(path)["rows"]:
        for number in re.findall(NUMBER, row["ours"]):
            assert number in text, f"{row['what']}: {number} is not in {path.stem}.md"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_record_names_a_command_that_exists(path: Path) -> None:
    command = about(path)["command"].split()
    if command[0] == "make":
        assert command[1] in ("run", "paper")
        assert command[2].removeprefix("CHAPTER=") in chapters()
    else:
        assert (ROOT / command[1]).is_file()


@pytest.mark.parametrize("path", [path for path in FILES if "_notebook_" in path.stem], ids=lambda path: path.stem)
def test_notebook_rows_are_what_its_tables_print(path: Path) -> None:
    text = path.with_suffix(".md").read_text(encoding="utf-8")
    printed = dict(re.findall(r"^`(\w+)`\n```\n(.*?)\n```$", text, re.MULTILINE | re.DOTALL))
    (name,) = (name for name in chapters() if name[:2] == path.stem[:2])
    marks = tomllib.loads((ROOT / f"benchmarks/{name}.toml").read_text(encoding="utf-8"))
    rows = [solution.row(printed[cell], mark) for cell in marks for mark in marks[cell]]
    assert [record.Row(**row) for row in about(path)["rows"]][: len(rows)] == rows


@pytest.mark.parametrize("chapter", chapters())
def test_marked_cells_are_cells_of_the_notebook(chapter: str) -> None:
    marks = tomllib.loads((ROOT / f"benchmarks/{chapter}.toml").read_text(encoding="utf-8"))
    assert set(marks) <= {cell.id for cell in gates.read("solutions", chapter).cells}


@pytest.mark.parametrize(
    ("row", "ratio", "met"),
    [
        (record.Row("", "0.59", "zuko", "1.18", "<= 0.5"), 0.5, "yes"),
        (record.Row("", "0.60", "zuko", "1.18", "<= 0.5"), 0.6 / 1.18, "no"),
        (record.Row("", "0.60", "zuko", "", "<= 0.5"), None, "not measured"),
        (record.Row("", "0.60", "zuko", "nan", "<= 0.5"), None, "not measured"),
        (record.Row("", "1,306.8 ± 0.6", "published", "1323.2", "< 1"), 1306.8 / 1323.2, "yes"),
        (record.Row("", "−88.7 ± 0.5", "", "", "ours >= -86.3"), None, "no"),
        (record.Row("", "2.0e-05", "", "", "ours <= 1e-3"), None, "yes"),
        (record.Row("", "7", "", "", ""), None, ""),
    ],
)
def test_a_target_is_met_or_not_by_the_numbers_shown(row: record.Row, ratio: float | None, met: str) -> None:
    assert row.ratio == (ratio and pytest.approx(ratio))
    assert row.met == met


def test_a_missing_peer_is_one_sentence_and_an_empty_cell(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    assert record.present("numpy==2.0", "peer-of-nowhere==1.6.0") == ["numpy"]
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "peer-of-nowhere is not installed here" in said
    assert "pip install peer-of-nowhere==1.6.0" in said
    record.save("02_race", ["a table"], [record.Row("a step", "1.0", "peer-of-nowhere", "", "<= 0.65")])
    line = next(line for line in record.collect(tmp_path).splitlines() if "a step" in line)
    assert "| not measured (peer-of-nowhere) |  | <= 0.65 | not measured |" in line


@pytest.mark.parametrize("script", ["02_normalizing_flows", "05_monge_ampere_flow", "06_born_machine"])
def test_benchmarks_compare_with_the_peers_that_are_there(script: str) -> None:
    spec = importlib.util.spec_from_file_location(script, ROOT / f"benchmarks/{script}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    rows = {
        "02_normalizing_flows": lambda: module.compare(
            [("2-D", "helpers.flows", "9", "7.0"), ("784-D", "helpers.flows", "9", "70.0")],
            [("helpers.flows", "3.05", "0.01", "0.02")],
        ),
        "05_monge_ampere_flow": lambda: module.compare(
            "d = 784, 50 steps", dict.fromkeys(list(module.CONTESTANTS)[:-1], ("1.0", "10"))
        ),
        "06_born_machine": lambda: module.compare(9, {"ours": 4.0, "MMD bits": 1.0, "MMD integers": 1.0}),
    }[script]()
    assert {row.met for row in rows if not row.theirs} <= {"", "not measured"}
    assert [row for row in rows if not row.theirs]


def test_a_chapters_runs_are_its_own_and_new_scripts_are_found() -> None:
    assert runner.commands(["02"]) == [
        ["02_normalizing_flows.py"], ["flow_results.py", "digits"], ["flow_results.py", "plane"]
    ]  # fmt: skip
    scripts = {command[0] for command in runner.commands([])}
    own = {path.name for path in (ROOT / "benchmarks").glob("*.py")}
    assert own - scripts == {"__init__.py", "__main__.py", "record.py", "solution.py"}


@pytest.mark.parametrize(("goal", "asked"), [("run", "04 class auto"), ("paper", "04 paper cuda")])
def test_make_runs_a_chapter_in_the_profile_of_its_name(goal: str, asked: str) -> None:
    device = ["DEVICE=cuda"] if goal == "paper" else []
    command = ["make", "--no-print-directory", "-n", goal, "CHAPTER=04", "PYTHON=true", *device]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith(f"python -m benchmarks.solution {asked}")


def test_an_unknown_chapter_is_one_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "77"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.endswith("no benchmark of 77\n")


def test_a_table_that_changed_its_form_stops_the_recording() -> None:
    mark = {"what": "accuracy", "line": r"softmax +(?P<ours>\S+)", "target": "ours >= 0.9"}
    assert solution.row("softmax   0.93", mark) == record.Row("accuracy", "0.93", target="ours >= 0.9")
    with pytest.raises(SystemExit, match="no line for 'accuracy'"):
        solution.row("logistic   0.93", mark)
    with pytest.raises(SystemExit, match="no cell results"):
        solution.said(nbformat.v4.new_notebook(), "results")
    with pytest.raises(SystemExit, match="No single chapter begins with '0'"):
        solution.main("0")
