"""An instructor's day with nbgrader: release, collect, autograde, give feedback and export a class of six."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from grading.release import ROOT
from grading.strict import StrictResults, result
from tests import gates

CHAPTER = "01_computation_graph"
HALF = ("parity_network", "linear_backward", "softmax_cross_entropy", "momentum_step")
ALTERNATIVE = {  # right, and written differently
    "parity_network": """
def parity_network(n):
    k = np.arange(n)
    return np.ones((n, n)), -(k + 0.5), (-1.0) ** k, -0.5
""",
    "linear_backward": """
def linear_backward(x, W, delta):
    return np.einsum("bv,mv->bm", delta, W), np.einsum("bm,bv->mv", x, delta), np.einsum("bv->v", delta)
""",
    "softmax_cross_entropy": """
def softmax_cross_entropy_forward(logits, labels):
    return torch.nn.functional.cross_entropy(torch.tensor(logits), torch.tensor(labels))


def softmax_cross_entropy_backward(logits, labels):
    z = torch.tensor(logits, requires_grad=True)
    torch.nn.functional.cross_entropy(z, torch.tensor(labels)).backward()
    return z.grad
""",
    "momentum_step": """
def momentum_step(theta, velocity, gradient, learning_rate, alpha):
    return theta + alpha * velocity - learning_rate * gradient, alpha * velocity - learning_rate * gradient
""",
}
WRONG = {  # exercise -> the points that its unbroken laws still earn, and the answer
    "parity_network": (
        0.5,
        """
def parity_network(n):
    W1 = np.zeros((2, n))
    W1[:, :2] = 1
    return W1, np.array([-0.5, -1.5]), np.array([1.0, -1.0]), -0.5
""",
    ),
    "linear_backward": (
        1,
        """
def linear_backward(x, W, delta):
    return delta @ W.T, x.T @ delta / len(x), delta.mean(axis=0)
""",
    ),
    "softmax_cross_entropy": (
        3,
        """
def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def softmax_cross_entropy_forward(logits, labels):
    return -np.log(softmax(logits)[np.arange(len(labels)), labels]).mean()


def softmax_cross_entropy_backward(logits, labels):
    return (softmax(logits) - np.eye(logits.shape[1])[labels]) / len(labels)
""",
    ),
    "backward": (0, "\ndef backward(tape):\n    return [np.ones_like(value) for value in tape.values]\n"),
    "momentum_step": (
        0,
        """
def momentum_step(theta, velocity, gradient, learning_rate, alpha):
    velocity = alpha * velocity + learning_rate * gradient
    return theta + velocity, velocity
""",
    ),
    "input_gradient": (
        0,
        "\ndef input_gradient(images, labels, layers):\n    return images\n\n\ndef adversarial(*_):\n    return 1\n",
    ),
    "periodic_conv2d": (
        0,
        """
def periodic_conv2d(image, kernel):
    return torch.nn.functional.conv2d(torch.tensor(image), torch.tensor(kernel), padding="same")


def conv_output_size(size, kernel, stride=1, padding=0, dilation=1):
    return size
""",
    ),
}
LOUD = """
import sys
import warnings


def loudly(function):
    def louder(*args):
        warnings.warn("a harmless warning")
        print("progress: 100 %", file=sys.stderr)
        return function(*args)
    return louder


"""


def answers() -> dict[str, str]:
    """The reference answers, by exercise."""
    return {cell.id: cell.source for cell in gates.read("solutions", CHAPTER).cells if gates.kind(cell) == "answer"}


def submission(filled: dict[str, str], *, with_demos: bool = False) -> NotebookNode:
    """The released notebook with some answer cells written."""
    nb = gates.read("notebooks", CHAPTER)
    if not with_demos:
        nb = gates.without_demos(nb)
    for cell in nb.cells:
        cell.source = filled.get(cell.id, cell.source)
    return nb


def as_colab_saves(nb: NotebookNode) -> NotebookNode:
    """Without cell ids, in an older format, with Colab's own metadata and the outputs left in."""
    nb.nbformat_minor = 0
    nb.metadata["colab"] = {"provenance": [], "toc_visible": True}
    for position, cell in enumerate(nb.cells):
        cell.pop("id", None)
        cell.metadata["id"] = f"aBc{position}"
        if cell.cell_type == "code":
            cell.outputs = [nbformat.v4.new_output("stream", text="old")]
    return nb


def sample_class() -> dict[str, tuple[NotebookNode, float]]:
    """Six students: what they hand in and the points that nbgrader must give (the question is not graded yet)."""
    right = answers()
    alternative = right | ALTERNATIVE
    wrong = {exercise: source for exercise, (_, source) in WRONG.items()}
    loud = {
        exercise: LOUD + source.replace("def ", "@loudly\ndef ") if "    def visit" not in source else source
        for exercise, source in right.items()
    }
    return {
        "ada": (submission(right, with_demos=True), 23),
        "bob": (submission({}), 0),
        "carl": (submission({exercise: right[exercise] for exercise in HALF}), 12),
        "dora": (as_colab_saves(submission(alternative)), 23),
        "emil": (submission(wrong), sum(points for points, _ in WRONG.values())),
        "fay": (submission(loud), 23),
    }


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course folder in which the whole day has happened."""
    course = tmp_path_factory.mktemp("course")
    for name in ("nbgrader_config.py", "course.toml"):
        shutil.copy(ROOT / name, course)
    shutil.copytree(ROOT / "solutions" / CHAPTER, course / "solutions" / CHAPTER)
    archive = course / "downloaded" / CHAPTER / "archive"
    archive.mkdir(parents=True)
    with zipfile.ZipFile(archive / "class.zip", "w") as zipped:
        for student, (nb, _) in sample_class().items():
            text = nbformat.writes(nb, version=nbformat.NO_CONVERT)
            zipped.writestr(f"{student}_2026-11-21-10-00-00_computation_graph.ipynb", text)
    for step in ("generate_assignment", "zip_collect", "autograde", "generate_feedback", "export"):
        options = {"generate_assignment": ["--create"], "autograde": ["--create"]}.get(step, [])
        chapter = [] if step == "export" else [CHAPTER]
        command = [sys.executable, "-m", "nbgrader", step, *chapter, *options]
        quick = {**os.environ, "COURSE_PROFILE": "quick", "COURSE_DEVICE": "cpu"}
        done = subprocess.run(command, cwd=course, env=quick, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{step}: {done.stderr[-3000:]}"
        assert "TCP without encryption" not in done.stderr
    return course


def test_students_are_collected_under_their_names(graded: Path) -> None:
    assert sorted(p.name for p in (graded / "submitted").iterdir()) == ["ada", "bob", "carl", "dora", "emil", "fay"]


def test_scores_are_exactly_those_earned(graded: Path) -> None:
    with (graded / "grades.csv").open() as table:
        rows = {row["student_id"]: row for row in csv.DictReader(table)}
    assert {student: float(row["score"]) for student, row in rows.items()} == {
        student: points for student, (_, points) in sample_class().items()
    }
    assert {float(row["max_score"]) for row in rows.values()} == {24.0}


def test_feedback_tells_each_law_and_no_answer(graded: Path) -> None:
    page = (graded / "feedback" / "emil" / CHAPTER / "computation_graph.html").read_text()
    for sentence in ("the step goes uphill", "the border sees zeros", "mean over the batch", "rounded to 0"):
        assert sentence in page
    solution = gates.read("solutions", CHAPTER)
    assert gates.leaks(solution, (graded / "feedback" / "bob" / CHAPTER / "computation_graph.html").read_text()) == []


def test_release_in_the_course_folder_is_the_committed_one(graded: Path) -> None:
    made = graded / "notebooks" / CHAPTER / "computation_graph.ipynb"
    assert made.read_bytes() == (ROOT / "notebooks" / CHAPTER / "computation_graph.ipynb").read_bytes()


@pytest.mark.parametrize(
    ("shown", "points"),
    [("3.0", 3), ("1.5", 1.5), ("0.0", 0), ("nan", 0), ("-1.0", 0), ("4.0", 0), ("inf", 0), ("'3'", 0), (None, 0)],
)
def test_only_a_number_within_range_is_a_result(shown: str | None, points: float) -> None:
    role = {"grade": True, "solution": False, "locked": True, "points": 3, "grade_id": "g", "schema_version": 3}
    cell = nbformat.v4.new_code_cell("check.g(g)", metadata={"nbgrader": role})
    cell.outputs = [nbformat.v4.new_output("stream", name="stderr", text="a warning")]
    if shown is not None:
        cell.outputs.append(nbformat.v4.new_output("execute_result", data={"text/plain": shown}))
    cell, _ = StrictResults().preprocess_cell(cell, {}, 0)
    assert result(cell) == points
    assert not [o for o in cell.outputs if o.output_type == "stream" and o.name == "stderr"]
