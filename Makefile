# Everything a newcomer or a CI types. Each target makes the environment it needs; Python 3.11 or newer is all it asks for.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
DEMO   := build/demo
# No more than there are processors: each process imports and collects everything anew, which takes six seconds.
JOBS   := $(shell getconf _NPROCESSORS_ONLN)

# Tests start hundreds of processes: each would compile every module anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test thorough future torture pythons fuzz mutants coverage check format lint types imports docs docs-check site dist bench floors clean

help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "connrunner needs Python 3.11 or newer; name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv --upgrade-deps $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: ## install connrunner as a user would and run its main job from end to end
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "connrunner needs Python 3.11 or newer; name one: make PYTHON=python3.12 demo" >&2; exit 1; }
	@test -x $(DEMO)/bin/python || $(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/python -m pip install --quiet --disable-pip-version-check .
	$(DEMO)/bin/connrunner demo

test: $(READY) ## run the tests, in three to five minutes
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile -m 'not long and not thorough'

thorough: $(READY) ## run the tests of a finer sieve
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile -m 'thorough and not long'

# libfaketime shifts what a program is told of the date, and neither the monotonic clock nor the time stamps of files.
future: $(READY) ## run the tests that need no server as if today were in 200 days, and in three years
	@preload=$$(faketime -f +0d printenv LD_PRELOAD 2>/dev/null) || \
	  { echo "make future: skipped, for faketime is missing (Debian: apt-get install faketime)"; exit 0; }; \
	for shift in +200d +3y; do \
	  echo "make future: $$shift"; \
	  env LD_PRELOAD=$$preload FAKETIME=$$shift FAKETIME_DONT_FAKE_MONOTONIC=1 NO_FAKE_STAT=1 PYTHONPATH=$(CURDIR)/tests/future \
	    $(BIN)/python -m pytest --numprocesses $(JOBS) --ignore-glob 'tests/test_connectors_*' \
	    -m 'not long and not thorough and not real_clock' || exit; \
	done

torture: $(READY) ## run every test, the long ones too: crashes at every point, hostile input, third-party programs; an hour
	CONNRUNNER_LONG_TESTS=1 $(BIN)/python -m pytest --numprocesses auto

pythons: ## run the tests on each supported Python, 3.11 to 3.14, that is on PATH or known to pyenv or uv, and say which is not
	JOBS=$(JOBS) $(PYTHON) -m tests.pythons

fuzz: $(READY) ## feed every reader of files with 1,700 damaged ones, of branches with 170 hostile ones, and two readers of rows with 85 invented files, in two minutes or so; more: --inputs, see docs/reliability.md
	$(BIN)/python -m tests.fuzz --inputs 1700

mutants: $(READY) ## break the rules of alerts and planning line by line: does a test notice? ten minutes at most
	$(BIN)/python -m tests.mutants

coverage: $(READY) ## run every test and say which lines and branches none of them reached
	$(BIN)/python -m coverage erase
	COVERAGE_PROCESS_START=$(CURDIR)/pyproject.toml $(BIN)/python -m coverage run -m pytest -p no:xdist
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report --skip-covered --show-missing

check: lint types imports docs-check ## everything that reads the code without running it

format: $(READY) ## bring the code into its form
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format --quiet .

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

imports: $(READY)
	$(BIN)/lint-imports

docs: $(READY) ## write the references of the YAML and of mail from the schemas and the code
	$(BIN)/python docs/reference.py

docs-check: $(READY)
	$(BIN)/python docs/reference.py --check
	$(BIN)/python docs/links.py

site: $(READY) ## build the pages as a site with search, build/site/index.html; a warning or a dead link fails
	rm -rf build/pages build/site && mkdir -p build/pages
	cp --parents *.md LICENSE docs/*.md docs/json/*.json docs/assets/*/* docs/pictures/*.png examples/README.md build/pages
	$(BIN)/zensical build --clean --strict
	$(BIN)/python docs/links.py build/site

dist: $(READY) ## build the source archive, and the wheel from it, into dist/
	rm -rf dist
	$(BIN)/python -m hatchling build --target sdist --directory dist
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist dist/connrunner-*.tar.gz

bench: $(READY) ## measure: what ticks, commands and imports cost beside peers and limits, into docs/performance.md; with LONG=--long all of it
	$(BIN)/python -m benchmarks $(LONG)
	$(BIN)/python -m benchmarks.schedules
	$(BIN)/python -m benchmarks.import_rows
	$(BIN)/python -m benchmarks.sources
	$(BIN)/python -m benchmarks.salesforce
	$(BIN)/python -m benchmarks.mask_secrets
	$(BIN)/python -m benchmarks.meta

floors: ## run every test on the oldest release of each dependency that pyproject.toml allows
	$(PYTHON) -m venv build/floors
	build/floors/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	build/floors/bin/python -c 'import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	  print(*(line.replace(">=", "==").split(",")[0].split(";")[0] for line in project["dependencies"]), sep="\n")' \
	  | xargs build/floors/bin/python -m pip install --quiet --disable-pip-version-check
	build/floors/bin/python -m pytest --numprocesses auto

clean: ## remove everything that these targets made
	rm -rf $(VENV) build dist mutants connrunner-demo .coverage* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .cache
