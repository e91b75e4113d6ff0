# `make demo` and `make test` create the environment if needed, then run.
VENV   ?= .venv
BIN    := $(VENV)/bin
PYTHON ?= python3
STAMP  := $(VENV)/.installed
TESTS  := $(VENV)/.installed-dev
LOCK   ?= requirements.lock

.DEFAULT_GOAL := help
.PHONY: help demo test lint quick slow faults bench lock dist clean

help:
	@echo "make demo    the whole path on the embedded digits, and the next commands"
	@echo "make test    lint and the test suite (minutes)"
	@echo "make lint    ruff, mypy, import-linter"
	@echo "make slow    cluster, browser and long export tests"
	@echo "make faults  more than 60 faults in real sweeps (half an hour); SEED=7 repeats a run"
	@echo "make bench   the measurements behind bench/*.md"
	@echo "make lock    refresh requirements.lock (needs uv)"
	@echo "make dist    the wheel and the source distribution, in dist/"

# $(call install,EXTRAS). With uv, the machine decides on torch's build: without a GPU, the one without CUDA, several GB
# smaller. Where torch's own index cannot be used, and with pip, it is the build of the package index.
define install
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --allow-existing --python '>=3.11,<3.13' $(VENV) && \
	  set -- pip install --quiet --python $(BIN)/python --constraints $(LOCK) --editable '.$(1)' && \
	  { uv "$$@" --torch-backend="$${UV_TORCH_BACKEND:-auto}" || \
	    { echo "torch's own index cannot be used; installing from the package index" >&2; uv "$$@"; }; }; \
	else \
	  $(PYTHON) -m venv $(VENV) && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(LOCK) --editable '.$(1)'; \
	fi
endef

# What running needs.
$(STAMP): pyproject.toml $(LOCK)
	$(call install)
	@touch $@

# What the tests need, which is also all that running needs.
$(TESTS): pyproject.toml $(LOCK)
	$(call install,[dev])
	@touch $(STAMP) $@

demo: $(STAMP)
	$(BIN)/hybrid-search demo

lint: $(TESTS)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint quick

# Two processes, each on one core and file by file, so that the tests of a file share their fixtures.
quick: $(TESTS)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not gpu and not browser" \
	  --numprocesses 2 --dist loadfile --no-loadscope-reorder

slow: $(TESTS)
	HYPOTHESIS_PROFILE=new $(BIN)/python -m pytest -m "slow or browser or hypothesis"

faults: $(TESTS)
	$(BIN)/python tests/faults/run.py $(if $(SEED),--seed $(SEED))

bench: $(TESTS)
	$(BIN)/python -m bench

lock:
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --no-annotate --no-header --output-file requirements.lock

dist: $(TESTS)
	rm -rf dist
	$(BIN)/python -m build --no-isolation

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
