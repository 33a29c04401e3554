# Everything runs in a virtual environment of its own, .venv; PYTHON chooses what it is made from.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint types pytest docs clean help

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/'

demo: .venv/installed  ## install, then the whole way on a small corpus made on the spot
	$(BIN)/voxadapt demo

test: lint pytest  ## ruff, mypy and pytest

lint: .venv/installed-dev types  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The folders are imported as voxadapt.adapters and so on; a folder of links shows mypy that shape.
types: .venv/installed-dev
	@rm -rf build/types && mkdir -p build/types/voxadapt
	@ln -s $(CURDIR)/voxadapt/* build/types/voxadapt/
	@for folder in adapters backbones pooling recipes; do \
		ln -s $(CURDIR)/$$folder build/types/voxadapt/$$folder; done
	$(BIN)/mypy build/types/voxadapt

pytest: .venv/installed-dev
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -q $(ARGS)

docs: .venv/installed-dev  ## the site, into build/site; make test builds it too
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/installed-dev: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ .venv/installed

clean:  ## remove the environment, builds and runs
	rm -rf .venv build dist runs *.egg-info
