"""Run the benchmarks and write RESULTS.md, one line per comparison.

python -m benchmarks              all: the races NN_*.py and the long results of *_results.py; hours
python -m benchmarks 02 04        those of these chapters
python -m benchmarks --collect    none: RESULTS.md again from what results/ holds
python -m benchmarks --list       the commands that would run
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from benchmarks.record import HERE, collect

RUNS = {  # script -> chapter and the arguments of each run; scripts that are not here run once, without
    "flow_results.py": ("02", [["plane"], ["digits"]]),
    "rbm_results.py": ("03", [["ais"], ["class"], ["contest"]]),
    "vmc_results.py": (
        "04",
        [["ring"], ["ring", "--profile", "paper"], ["marshall"], ["square4"], ["square6"], ["long"]],
    ),
    "monge_ampere_results.py": ("05", [["ising"]]),
    "grading.py": ("grading", [[], ["term"]]),
}


def commands(chapters: list[str]) -> list[list[str]]:
    """Script and arguments of every run of these chapters; of all if there are none."""
    found = []
    for path in sorted([*HERE.glob("[0-9]*.py"), *HERE.glob("*_results.py"), HERE / "grading.py"]):
        chapter, runs = RUNS.get(path.name, (path.stem.partition("_")[0], [[]]))
        found += [(chapter, [path.name, *arguments]) for arguments in runs]
    return [command for chapter, command in sorted(found) if not chapters or chapter in chapters]


def main(arguments: list[str] | None = None) -> int:
    """The command line described at the top of this file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("chapters", nargs="*", metavar="NN", help="such as 02, or grading (default: all)")
    parser.add_argument("--collect", action="store_true", help="run nothing, only assemble RESULTS.md")
    parser.add_argument("--list", action="store_true", help="only say what would run")
    options = parser.parse_args(arguments)
    chosen = [] if options.collect else commands(options.chapters)
    if not chosen and not options.collect:
        parser.error(f"no benchmark of {' '.join(options.chapters)}")
    if options.list:
        print(*(f"python benchmarks/{' '.join(command)}" for command in chosen), sep="\n")
        return 0
    failed = [command for command in chosen if subprocess.call([sys.executable, HERE / command[0], *command[1:]])]
    for command in failed:
        print(f"benchmarks: {' '.join(command)} failed; RESULTS.md keeps its last recorded run.", file=sys.stderr)
    (HERE / "RESULTS.md").write_text(collect(), encoding="utf-8")
    print("wrote benchmarks/RESULTS.md")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
