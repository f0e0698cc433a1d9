# Everything is installed in .venv and nothing outside it is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# More arguments for pytest, e.g. PYTEST_ARGS="-k units -x".
PYTEST_ARGS ?=
PYTEST := $(BIN)/pytest -n 2
# Laws that draw cheap examples: the slow tier draws ten times as many.
LAWS_IN_BULK := tests/dataset tests/metrics $(wildcard tests/test_protocol*.py)

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow lint format clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

demo: $(VENV)/installed  ## install ckin and run all of it on the bundled synthetic cohort
	$(BIN)/ckin demo

test: lint  ## lint, types and the fast tests (minutes)
	$(PYTEST) $(PYTEST_ARGS)

test-slow: $(VENV)/installed-dev  ## calibration and the laws in bulk
	$(PYTEST) -m slow $(PYTEST_ARGS)
	$(PYTEST) --hypothesis-profile bulk $(LAWS_IN_BULK) $(PYTEST_ARGS)

lint: $(VENV)/installed-dev  ## ruff, import layers, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/installed-dev  ## let ruff rewrite the files
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove .venv and every cache
	rm -rf $(VENV) dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps are touched last, so an installation that broke off is done again.
$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

# Dependency groups came with pip 25.1, later than what ships with Python 3.11.
$(VENV)/installed-dev: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable . --group dev
	touch $(VENV)/installed $@
