# `make demo` and `make test` create the environment if needed, then run.
VENV   ?= .venv
BIN    := $(VENV)/bin
PYTHON ?= python3
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test lint slow faults bench docs docs-test lock clean

help:
	@echo "make demo    the whole path on the embedded digits, and the next commands"
	@echo "make test    lint and the test suite (minutes)"
	@echo "make lint    ruff, mypy, import-linter"
	@echo "make slow    cluster, browser and long export tests"
	@echo "make faults  more than 60 faults in real sweeps (half an hour); SEED=7 repeats a run"
	@echo "make bench   the measurements behind bench/*.md"
	@echo "make docs    the documentation site in site/, strict"
	@echo "make docs-test  every command and Python block of the documentation; PAGE=study.md runs one page"
	@echo "make lock    refresh requirements.lock (needs uv)"

$(STAMP): pyproject.toml requirements.lock
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --allow-existing --python '>=3.11,<3.13' $(VENV) && \
	  uv pip install --quiet --python $(BIN)/python --constraints requirements.lock --editable '.[dev]'; \
	else \
	  $(PYTHON) -m venv $(VENV) && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[dev]'; \
	fi
	@touch $@

demo: $(STAMP)
	$(BIN)/hybrid-search demo

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Two processes, each on one core and file by file, so that the tests of a file share their fixtures.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not gpu and not browser" \
	  --numprocesses 2 --dist loadfile --no-loadscope-reorder

slow: $(STAMP)
	HYPOTHESIS_PROFILE=new $(BIN)/python -m pytest -m "slow or browser or hypothesis"

faults: $(STAMP)
	$(BIN)/python tests/faults/run.py $(if $(SEED),--seed $(SEED))

bench: $(STAMP)
	$(BIN)/python -m bench

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

docs-test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python tests/documentation/run_examples.py $(PAGE)

lock:
	uv pip compile pyproject.toml --extra dev --extra cluster --universal --python-version 3.11 --no-annotate --no-header --output-file requirements.lock

clean:
	rm -rf $(VENV) site .mypy_cache .ruff_cache .pytest_cache .hypothesis
