# `make demo` and `make test` each do their own set-up; `make` alone lists the targets.
SHELL := /bin/sh
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help setup demo test lint lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' Makefile

setup: $(READY) ## make .venv with the pinned packages and chromaflow itself

# The lock decides every version and checks every hash; uv alone comes unpinned.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "chromaflow needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Use: make PYTHON=python3.11 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

demo: $(READY) ## run the main job on the sample photographs and print what came out
	@$(BIN)/chromaflow retrain --preset sample

test: $(READY) ## lint, types, import contract, unit tests, one run from end to end
	@$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder

lint: $(READY) ## ruff, mypy and the import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lock: $(READY) ## resolve requirements.lock anew: names, versions and hashes only
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --upgrade \
		--generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
		--quiet --output-file requirements.lock

clean: ## remove what the steps made here; the caches of DVC and the registry stay
	@# What git keeps of the reports stays.
	git clean -fdqX -- data/lab data/validated reports .pytest_cache .mypy_cache .ruff_cache .hypothesis
