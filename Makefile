# Two commands for a fresh clone: `make demo` and `make test`. `make help` shows the rest.

PYTHON ?= python3
VENV ?= .venv
# Which torch: its build (CPU, or one of several CUDA versions) depends on the machine and on pip's index.
TORCH ?= $(shell grep '^torch==' constraints.txt)
TORCH_ARGS ?=
PIP_ARGS ?=
CUDA ?= 0
JOBS ?= 2
PYTEST_ARGS ?=
DEMO ?= demo

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet $(PIP_ARGS)
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

# The real recordings that some tests want lie beside the clone on the developers' machines.
ifneq ($(wildcard ../shared/media/.),)
export FIFTH_MEDIA ?= $(abspath ../shared/media)
endif

# Several processes run tests at once: a thread per core in each of them would only make them wait.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: help demo test quick lint check format clean

help:  ## show this
	@echo "make TARGET [VARIABLE=VALUE ...]"
	@echo
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|' 2>/dev/null \
	  || sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1: \2/p' $(MAKEFILE_LIST)
	@echo
	@echo "  PYTHON=$(PYTHON)      Python 3.11 to 3.13, with which $(VENV) is made"
	@echo "  TORCH=$(TORCH)  another version of torch"
	@echo "  TORCH_ARGS=         options of pip for torch alone, for example --index-url ADDRESS for one of its builds"
	@echo "  CUDA=1              take a CUDA build of torch; without it, such a build is refused before it is downloaded"
	@echo "  PIP_ARGS=           options of pip for everything"
	@echo "  JOBS=$(JOBS)              processes that run tests"
	@echo "  PYTEST_ARGS=        more options of pytest, for example -k verify"

demo: $(VENV)/installed  ## make example recordings, shard them, read them back, reconstruct a clip: all into demo/
	@$(BIN)/python examples/demo.py $(DEMO)

test: $(VENV)/installed-for-tests  ## run all tests
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(PYTEST_ARGS)

quick: $(VENV)/installed-for-tests  ## run the tests that take no more than a few seconds
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not slow" $(PYTEST_ARGS)

lint: $(VENV)/installed-for-tests  ## linter, formatter, types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

check: lint test  ## what the CI runs

format: $(VENV)/installed-for-tests  ## mend what the linter can mend, and format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:  ## remove the environment, the demo, and what tools left behind
	rm -rf $(VENV) $(DEMO) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find ingest encoders shards tests examples -name __pycache__ -type d -prune -exec rm -rf {} +

define CUDA_REFUSED
The torch that pip would install here is a CUDA build of several GB. Say which one you want:
  CUDA=1                              this one
  TORCH_ARGS="--index-url ADDRESS"    the CPU build: its ADDRESS stands on PyTorch's page "Get started", under CPU
  TORCH=torch==VERSION                another version
for example:  make demo CUDA=1
endef
export CUDA_REFUSED

# torch goes first, so that nothing else can decide about it; everything else is held to constraints.txt.
$(VENV)/installed: constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo "$(PYTHON) is not Python 3.11, 3.12 or 3.13: name one, as in  make demo PYTHON=python3.11"; exit 1; }
	@echo "Making the environment in $(VENV) (once; a few minutes) ..."
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@if [ "$(CUDA)" != 1 ] && $(PIP) --dry-run --report - $(TORCH_ARGS) "$(TORCH)" 2>/dev/null \
	    | grep -E '"name": "(nvidia|cuda)' >/dev/null; then echo "$$CUDA_REFUSED"; exit 1; fi
	@$(PIP) $(TORCH_ARGS) "$(TORCH)"
	@grep -v '^torch==' constraints.txt >$(VENV)/constraints.txt
	@$(PIP) -c $(VENV)/constraints.txt -e .
	@if [ "$(CUDA)" != 1 ] && $(BIN)/python -m pip list 2>/dev/null | grep -iE '^(nvidia|cuda)'; then \
	  echo "These CUDA packages came in unasked. Remove $(VENV), and see make help: CUDA, TORCH_ARGS."; exit 1; fi
	@touch $@

$(VENV)/installed-for-tests: $(VENV)/installed
	@echo "Adding what the tests need ..."
	@$(PIP) -c $(VENV)/constraints.txt -e '.[test,check]'
	@touch $@
