# The course in one word each. Needs Python 3.11 or newer and make; everything else lands in .venv.
PYTHON ?= python3
BIN := .venv/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
FIRST := notebooks/01_computation_graph/computation_graph.ipynb
WORKERS ?= 2
PROFILE ?= class
DEVICE ?= auto
AS_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

.PHONY: help set-up lab test stress run paper release grade bench bundle site gallery lint format pins

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

set-up:  ## make .venv from constraints.txt; nothing to do when it stands
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON) here: install Python 3.11 or newer, or name yours, as in make lab PYTHON=python3.12." >&2; exit 1; }
	@$(PYTHON) setup_course.py

lab: set-up  ## the course in JupyterLab; LAB_ARGS=--no-browser and the like are passed on
	@$(BIN)/jupyter lab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/$(FIRST) $(AS_ROOT) $(LAB_ARGS)

test: set-up  ## all tests; TEST_ARGS="tests/test_vmc.py -x" narrows them
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(TEST_ARGS)

stress: set-up  ## the long tests too: papermill in class, 50 seeds for every check
	@COURSE_SEEDS=50 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "slow or not slow" $(TEST_ARGS)

run: set-up  ## CHAPTER=01 PROFILE=class DEVICE=auto: its solution, executed into build/, its numbers into benchmarks/
	@$(BIN)/python -m benchmarks.solution $(CHAPTER) $(PROFILE) $(DEVICE)

paper: PROFILE = paper
paper: run  ## CHAPTER=01 DEVICE=cuda: the same in the profile that reproduces the published number

release: set-up  ## notebooks/ from solutions/; what somebody had worked in is kept in build/kept
	@$(BIN)/python -m grading.release $(CHAPTER)

grade: set-up  ## all that lies in downloaded/ to grades.csv, report.html and feedback/; CHAPTER=01_computation_graph narrows it
	@$(BIN)/python -m grading.release --missing $(CHAPTER)
	@$(BIN)/python -m grading collect && $(BIN)/python -m grading run $(CHAPTER) && $(BIN)/python -m grading report $(CHAPTER)
	@for chapter in $(or $(CHAPTER),$$(ls -d submitted/*/*/ | xargs -n 1 basename | sort -u)); do $(BIN)/nbgrader generate_feedback --force $$chapter; done
	@$(BIN)/nbgrader export

bench: set-up  ## the side-by-side measurements, all or BENCH="02 04", into benchmarks/RESULTS.md
	@$(BIN)/python -m benchmarks $(BENCH)

bundle: set-up  ## dist/NAME-VERSION.zip: what a department hands out to its students
	@$(BIN)/python -m grading.bundle

site: PROFILE = quick
site: set-up  ## the course as a website in build/site; INSTRUCTOR=1: with rubrics, in build/site-instructor; PROFILE=class
	@$(BIN)/python -m docs.pages site --profile $(PROFILE) $(if $(INSTRUCTOR),--instructor)
	@$(BIN)/python -m sphinx -qEW --keep-going -c docs build/site-source build/site$(if $(INSTRUCTOR),-instructor)

gallery: set-up  ## docs/gallery, one figure of every chapter, from the solutions in PROFILE
	@$(BIN)/python -m docs.pages gallery --profile $(PROFILE)

lint: set-up  ## what ruff finds
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

format: set-up  ## ruff's repairs, and its layout
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

pins:  ## environment.yml again from constraints.txt
	@sed '/--editable/q' environment.yml > environment.new && sed -n 's/^[a-zA-Z]/      - &/p' constraints.txt >> environment.new && mv environment.new environment.yml
