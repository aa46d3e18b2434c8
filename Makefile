# make demo     fit the sample pictures and print a table of errors
# make test     the quick tests
# make test-slow, lint, types, format, clean
PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
READY  := $(VENV)/.ready

.PHONY: demo test test-slow lint types format check clean

demo: $(READY)
	$(PY) demo/fit_samples.py

test: $(READY)
	$(PY) -m pytest

test-slow: $(READY)
	$(PY) -m pytest -m slow

lint: $(READY)
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .

types: $(READY)
	$(PY) -m mypy

format: $(READY)
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

check: lint types test

# opencv-python needs libGL, which a server may lack; the headless build is the same library without windows.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "meshreg needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	$(PY) -c 'import cv2' 2>/dev/null || \
	  { $(PY) -m pip uninstall --quiet -y opencv-python && \
	    $(PY) -m pip install --quiet -c constraints.txt opencv-python-headless; }
	touch $(READY)

clean:
	rm -rf $(VENV) demo/out .pytest_cache .mypy_cache .ruff_cache
