"""A newcomer's first two commands: what they install, what they serve, what they say when something is missing."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import urllib.request
from importlib import metadata
from pathlib import Path
from socket import socket

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from helpers import __version__
from setup_course import NEWEST, OLDEST

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def run(*command, **options):
    """A finished command with its output as text."""
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **options)


def pins():
    """The lines of constraints.txt that pin something."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def closure(requirements):
    """Names of everything that these requirements bring into this environment, as installed here."""
    found, waiting = set(), [Requirement(line) for line in requirements]
    while waiting:
        wish = waiting.pop()
        for extra in wish.extras | {""}:
            if (wish.name, extra) not in found:
                found.add((wish.name, extra))
                brought = map(Requirement, metadata.requires(wish.name) or [])
                waiting += [one for one in brought if not one.marker or one.marker.evaluate({"extra": extra})]
    return {canonicalize_name(name) for name, _ in found}


# --- what is installed ------------------------------------------------------------------------------------------------


def test_conda_and_pip_install_the_same_versions():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["dependencies"][:2] == ["python=3.11", "pip"]
    assert environment["dependencies"][2] == {"pip": ["--editable .", *pins()]}


def test_every_package_the_course_brings_is_pinned_at_the_version_installed_here():
    wishes = [*PROJECT["dependencies"], *(line for lines in EXTRAS.values() for line in lines)]
    pinned = {canonicalize_name(Requirement(line).name): line.split(";")[0].split("==")[1] for line in pins()}
    brought = {name for name in closure(wishes) if not name.startswith(("nvidia-", "cuda-", "triton"))}
    installed = {name: metadata.version(name).split("+")[0] for name in brought}
    assert installed == {name: pinned.get(name) for name in brought}


def test_one_version_everywhere():
    course = tomllib.loads((ROOT / "course.toml").read_text())["course"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert course["tag"] == f"v{PROJECT['version']}" == f"v{citation['version']}" == f"v{__version__}"


def test_helpers_needs_only_what_colab_has():
    assert {Requirement(line).name for line in PROJECT["dependencies"]} == {
        "numpy", "torch", "scipy", "matplotlib", "tqdm"
    }  # fmt: skip


# --- forks ------------------------------------------------------------------------------------------------------------


WORKFLOWS = [path.relative_to(ROOT) for path in sorted((ROOT / ".github/workflows").glob("*"))]


@pytest.mark.parametrize(
    ("schema", "file"),
    [
        *(("vendor.github-workflows", path) for path in WORKFLOWS),
        *(("custom.github-workflows-require-timeout", path) for path in WORKFLOWS),
        ("vendor.citation-file-format", "CITATION.cff"),
    ],
    ids=str,
)
def test_file_follows_its_schema(schema, file):
    done = run(BIN / "check-jsonschema", "--builtin-schema", schema, ROOT / file)
    assert done.returncode == 0, done.stdout


def test_forks_try_the_oldest_and_the_newest_python_that_set_up_takes():
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    assert jobs["student"]["strategy"]["matrix"]["python"] == [".".join(map(str, v)) for v in (OLDEST, NEWEST)]
    assert f'python-version: "{".".join(map(str, NEWEST))}"' in (ROOT / ".github/workflows/weekly.yml").read_text()


def test_the_changelog_tells_of_this_version_first():
    heads = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert PROJECT["version"] == next(head for head in heads if head != "Unreleased")


def test_zizmor_finds_nothing_in_the_workflows():
    done = run(BIN / "zizmor", "--offline", "--persona=pedantic", ROOT / ".github/workflows")
    assert done.returncode == 0, done.stdout


def test_ruff_finds_nothing():
    done = run(BIN / "ruff", "check", "--output-format=concise", ".", cwd=ROOT)
    assert done.returncode == 0, done.stdout


# --- set-up -----------------------------------------------------------------------------------------------------------

# A build backend that needs nothing from any index: set-up of a miniature course is real, but quick and offline.
BACKEND = """
import zipfile
def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "mini-0-py3-none-any.whl"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        wheel.writestr("mini-0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: mini\\nVersion: 0\\n")
        wheel.writestr("mini-0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("mini-0.dist-info/RECORD", "")
    return name
"""
MINIATURE = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "mini"
version = "0"
"""


def quiet_environment(**changes):
    """This environment without what steers pip or Python, plus the changes; pip reaches no index."""
    kept = {k: v for k, v in os.environ.items() if not k.upper().startswith(("PIP_", "PYTHON", "MAKE", "MFLAGS"))}
    return kept | {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull} | changes


@pytest.fixture
def clone(tmp_path):
    """The course's set-up files in an empty folder."""
    for name in ("Makefile", "setup_course.py", "constraints.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


@pytest.fixture
def miniature(clone):
    """The same, for a course without dependencies."""
    (clone / "backend.py").write_text(BACKEND)
    (clone / "pyproject.toml").write_text(MINIATURE)
    (clone / "constraints.txt").write_text("")
    return clone


def pretender(folder, trick):
    """A stand-in for Python that plays one trick before it runs the script it is given."""
    script = folder / "pretender"
    code = f"{trick}; import runpy; runpy.run_path(sys.argv[1], run_name='__main__')"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -c "import sys; {code}" "$@"\n')
    script.chmod(0o755)
    return script


def sentence(done):
    """The one sentence on stderr of a `make` that failed."""
    assert done.returncode != 0
    (said,) = (line for line in done.stderr.splitlines() if not line.startswith("make"))
    assert said.endswith(".")
    assert "Traceback" not in done.stderr
    return said


@pytest.mark.parametrize(
    ("trick", "heard"),
    [
        ("sys.version_info = (3, 8, 10, 'final', 0)", r"is Python 3\.8\.10, and the course needs 3\.11 to 3\.\d+; "),
        ("sys.version_info = (3, 99, 0, 'final', 0)", r"is Python 3\.99\.0, and the course needs 3\.11 to 3\.\d+; "),
        ("sys.modules['ensurepip'] = None", r"lacks its venv module: .* sudo apt install python3\.\d+-venv"),
        (
            "import shutil; shutil.disk_usage = lambda path: shutil._ntuple_diskusage(9, 9, 3e8)",
            r"needs 2\.5 GB free.* there are 0\.3 GB",
        ),
    ],
    ids=["old Python", "Python too new for the pins", "no venv module", "no space"],
)
def test_missing_on_this_machine_is_said_in_one_sentence(clone, trick, heard):
    done = run("make", "set-up", f"PYTHON={pretender(clone, trick)}", cwd=clone, env=quiet_environment())
    assert re.search(heard, sentence(done))


def test_absent_python_is_said_in_one_sentence(clone):
    done = run("make", "test", "PYTHON=python-of-nowhere", cwd=clone, env=quiet_environment())
    assert "There is no python-of-nowhere here: install Python 3.11 or newer" in sentence(done)


def test_unreachable_index_is_said_in_one_sentence(clone):
    nowhere = {"PIP_NO_INDEX": "0", "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "1", "NO_PROXY": "*"}
    done = run("make", "set-up", f"PYTHON={sys.executable}", cwd=clone, env=quiet_environment(**nowhere))
    assert "the package index does not answer: check the network" in sentence(done)
    assert (clone / ".venv" / "set-up.log").stat().st_size > 0


@pytest.mark.parametrize(
    ("log", "heard"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "the disk is full"),
        (
            "ERROR: No matching distribution found for torch==2.13.0",
            "the package index has no torch==2.13.0 for",
        ),
        ("ERROR: Could not install packages: [Errno 13] Permission denied: 'x'", "may not be written by this user"),
        ("ERROR: subprocess exited with 7.", "could not be made (subprocess exited with 7)"),
    ],
)
def test_a_failure_of_pip_is_said_in_one_sentence(miniature, log, heard):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", miniature / ".venv"], check=True)
    site = next((miniature / ".venv").glob("[lL]ib*/python*/site-packages"))
    (site / "pip.py").write_text(f"if __name__ == '__main__': print({log!r}); raise SystemExit(1)")
    done = run("make", "set-up", f"PYTHON={sys.executable}", cwd=miniature, env=quiet_environment())
    assert heard in sentence(done)


def test_interrupted_set_up_is_built_anew_and_a_finished_one_left_alone(miniature):
    command = [sys.executable, "setup_course.py"]
    stamp = miniature / ".venv/course-stamp"
    with subprocess.Popen(command, cwd=miniature, env=quiet_environment(), start_new_session=True) as first:
        while not (miniature / ".venv/pyvenv.cfg").exists():
            time.sleep(0.01)
        os.killpg(first.pid, signal.SIGKILL)
    assert stamp.read_text() == ""
    (miniature / ".venv/left-over").touch()

    second = run(*command, cwd=miniature, env=quiet_environment())
    assert "Set-up finished" in second.stdout, second.stderr
    assert not (miniature / ".venv/left-over").exists()

    third = run("make", "set-up", f"PYTHON={sys.executable}", cwd=miniature, env=quiet_environment())
    assert (third.returncode, third.stdout, third.stderr) == (0, "", "")

    (miniature / "constraints.txt").write_text("# other pins\n")
    (miniature / ".venv/my-notes").touch()
    fourth = run(*command, cwd=miniature, env=quiet_environment())
    assert "Set-up finished" in fourth.stdout
    assert (miniature / ".venv/my-notes").exists()


def test_an_environment_of_somebody_else_is_never_removed(miniature):
    (miniature / ".venv").mkdir()
    (miniature / ".venv/thesis.tex").touch()
    done = run("make", "set-up", f"PYTHON={sys.executable}", cwd=miniature, env=quiet_environment())
    assert "was not made by this course" in sentence(done)
    assert (miniature / ".venv/thesis.tex").exists()


def test_make_grade_never_writes_a_release_that_is_there():
    done = run("make", "-n", "grade", "PYTHON=true", "CHAPTER=01_computation_graph", cwd=ROOT, env=quiet_environment())
    releases = [line for line in done.stdout.splitlines() if "grading.release" in line]
    assert [line.split("-m ")[1] for line in releases] == ["grading.release --missing 01_computation_graph"]


@pytest.mark.parametrize("name", ["grades.csv", "grades-moodle.csv", "build/kept/01/toy.ipynb", "gradebook.db"])
def test_marks_and_work_stay_out_of_git(name):
    assert run("git", "check-ignore", name, cwd=ROOT).returncode == 0


def test_make_lab_serves_the_released_notebook_with_nbgrader(tmp_path):
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = f"LAB_ARGS=--no-browser --port={port} --IdentityProvider.token=course"
    command = ["make", "lab", "PYTHON=true", f"BIN={BIN}", options]  # `true` for Python: this environment is set up
    environment = os.environ | {"JUPYTER_RUNTIME_DIR": str(tmp_path), "MAKEFLAGS": ""}
    log = tmp_path / "log"
    with log.open("w") as out:
        server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out, start_new_session=True)
    try:
        deadline = time.monotonic() + 90
        while "is running at" not in log.read_text() and server.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        opened = re.search(r"http://localhost:\d+/lab/tree/(\S+\.ipynb)\?token=", log.read_text())
        assert opened, log.read_text()
        for page in ("lab", "formgrader/api/assignments", f"api/contents/{opened[1]}"):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}?token=course", timeout=60) as reply:
                assert reply.status == 200
        assert "validate_assignment | extension was successfully loaded" in log.read_text()
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)
