"""What a department hands out: the released notebooks, the wheel of helpers and one page to start from, in one zip.

python -m grading.bundle            dist/NAME-VERSION.zip
python -m grading.bundle FOLDER     the same, in FOLDER
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
LAB = ("jupyterlab", "ipywidgets")  # what START.md tells a student to install beside the wheel
PAGE = Path(__file__).with_name("START.md")


def project() -> dict:
    """The [project] table of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def wheel(folder: Path) -> Path:
    """The wheel of helpers alone, built in an empty place, so that nothing else of this folder can slip in."""
    with tempfile.TemporaryDirectory() as empty:
        ignored = shutil.ignore_patterns("__pycache__", ".*")
        shutil.copytree(ROOT / "helpers", Path(empty, "helpers"), ignore=ignored)
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, empty)
        # torch needs the setuptools that the build does: it is here, and no index has to be asked
        pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
        done = subprocess.run([*pip, "--wheel-dir", folder, empty], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"The wheel of helpers could not be built:\n{done.stderr.strip()}")
    return next(Path(folder).glob("*.whl"))


def closure(wishes: list[str]) -> list[metadata.Distribution]:
    """The installed distributions that these requirements bring, themselves included."""
    found, waiting = {}, [Requirement(line) for line in wishes]
    while waiting:
        one = metadata.distribution(waiting.pop().name)
        if one.name not in found:
            found[one.name] = one
            brought = map(Requirement, one.requires or [])
            waiting += [wish for wish in brought if not wish.marker or wish.marker.evaluate({"extra": ""})]
    return list(found.values())


def footprint(wishes: list[str]) -> int:
    """Bytes on disk, here, of these requirements and all that they bring."""
    files = (Path(one.locate_file(file)) for one in closure(wishes) for file in one.files or ())
    return sum(file.stat().st_size for file in files if file.is_file())


def start(built: Path) -> str:
    """The page START.md with the sizes of this bundle and of this environment."""
    about, course = project(), tomllib.loads((ROOT / "course.toml").read_text(encoding="utf-8"))["course"]
    notebooks = sum(path.stat().st_size for path in (ROOT / "notebooks").glob("*/*.ipynb"))
    words = {
        "title": course["title"],
        "version": about["version"],
        "wheel": built.name,
        "wheel_mb": f"{built.stat().st_size / 1e6:.0f}",
        "notebooks_mb": f"{notebooks / 1e6:.1f}",
        "disk_gb": f"{(footprint([*about['dependencies'], *LAB]) + built.stat().st_size) / 1e9:.1f}",
        "system": f"{sys.platform}, torch {metadata.version('torch')}",
    }
    return PAGE.read_text(encoding="utf-8").format(**words)


def build(folder: Path) -> Path:
    """Write the zip into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{project()['name']}-{project()['version']}"
    with tempfile.TemporaryDirectory() as place, zipfile.ZipFile(folder / f"{name}.zip", "w", 8) as zipped:
        built = wheel(Path(place))
        zipped.write(built, f"{name}/{built.name}")
        zipped.writestr(f"{name}/START.md", start(built))
        zipped.write(ROOT / "LICENSE", f"{name}/LICENSE")
        for path in sorted((ROOT / "notebooks").glob("*/*.ipynb")):
            zipped.write(path, f"{name}/{path.relative_to(ROOT).as_posix()}")
    return folder / f"{name}.zip"


if __name__ == "__main__":
    made = build(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "dist")
    print(f"{os.path.relpath(made)}: {made.stat().st_size / 1e6:.1f} MB")
