# `make demo` and `make test` do all their own set-up. Everything lives in .venv and leaves with `make clean`.

PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONPYCACHEPREFIX := $(CURDIR)/.venv/compiled
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install demo test test-slow check bench fuzz format lock clean

help:            ## what there is
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## */\t/' | expand -t 14

install: .venv/installed  ## Quire in .venv, the command `.venv/bin/quire`

demo: install    ## a real export imported, read, searched and verified, one new process a step
	@$(BIN)/python scripts/demo.py

test: .venv/dev  ## the fast tests
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-slow: .venv/dev  ## kills, soaks and whole corpora: half an hour
	$(BIN)/python -m pytest -m slow

check: .venv/dev  ## what CI runs: lint, types, tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(MAKE) test

bench: .venv/bench  ## benchmarks beside a bare SQLite floor; writes docs/benchmarks.md
	$(BIN)/python -m bench

fuzz: .venv/fuzz ## every decoder and importer against random bytes, a minute each
	$(BIN)/python fuzz/run.py --seconds 60

format: .venv/dev  ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: .venv/dev .venv/bench .venv/fuzz  ## write requirements/*.lock anew from what is installed
	$(BIN)/python scripts/lock.py

.venv/fuzz: .venv/dev requirements/fuzz.lock
	@$(BIN)/pip install --quiet -r requirements/fuzz.lock
	@touch $@

clean:           ## remove what make made
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/installed: pyproject.toml requirements/runtime.lock
	@scripts/make_venv.sh "$(PYTHON)"
	@$(BIN)/pip install --quiet -r requirements/runtime.lock
	@$(BIN)/pip install --quiet --no-deps --editable .
	@touch $@

.venv/dev: .venv/installed requirements/dev.lock
	@$(BIN)/pip install --quiet -r requirements/dev.lock
	@touch $@

.venv/bench: .venv/installed requirements/bench.lock
	@$(BIN)/pip install --quiet -r requirements/bench.lock
	@touch $@
