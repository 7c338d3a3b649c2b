# Everything runs in .venv, which the first target that needs it makes.
# Needs Python 3.11 or newer, git and make; nothing else by hand.
SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help run test quick soak mutants lint bench clean

# The first interpreter that is new enough; PYTHON=/path/to/python overrides it.
PYTHON ?= $(shell for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do \
    if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
    then echo $$candidate; break; fi; done)

BIN := .venv/bin
INSTALLED := .venv/.installed
BENCH_INSTALLED := .venv/.bench-installed
PROMPT ?= The capital of France is
TOKENS ?= 16
CASES ?= 10000
FAILURES ?= 3

help:
	@echo "make run     a real language model (SmolLM2-135M) on a simulated CPU"
	@echo "make test    all tests"
	@echo "make quick   the tests without the slow ones and those that need weights"
	@echo "make soak    10,000 random cases on both engines (CASES=n: another number; FAILURES=n:"
	@echo "             end after so many disagreements, which are shrunk and kept)"
	@echo "make mutants breaks rules of docs/timing.md one by one: does a test notice?"
	@echo "make lint    ruff, mypy, import-linter"
	@echo "make bench   the speed of the simulator against PyTorch (installs torch)"
	@echo "make clean   remove the environment and caches of this folder"

run: $(INSTALLED)
	@.ci/run-model "$(PROMPT)" "$(TOKENS)"

test: $(INSTALLED)
	@$(BIN)/tickformer fetch smollm2 || echo "make: the tests that need weights will be skipped" >&2
	$(BIN)/python -m pytest

quick: $(INSTALLED)
	$(BIN)/python -m pytest -m "not slow and not weights"

soak: $(INSTALLED)
	$(BIN)/python -m tests.differential.soak $(CASES) --failures $(FAILURES)

mutants: $(INSTALLED)
	$(BIN)/python -m tests.mutants

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(BENCH_INSTALLED)
	$(BIN)/python -m tests.bench

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	rm -rf build *.egg-info
	find isa workloads sim tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml constraints.txt
	@.ci/install "$(PYTHON)" dev
	@touch $@

$(BENCH_INSTALLED): $(INSTALLED)
	@.ci/install "$(PYTHON)" dev,bench
	@touch $@
