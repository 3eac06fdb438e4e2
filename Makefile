# Two commands do all set-up: `make demo` runs the main job, `make test` passes the tests.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet
PEERS := dcmtk orthanc dicom3tools
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
COMPILE := $(BIN)/uv pip compile --universal --generate-hashes --quiet --python-version 3.11 --no-header --no-annotate

.PHONY: demo test lint types unit slow peers lock clean

demo: .venv/serve
	$(BIN)/csvd-node demo tests/data/demo_study --output demo-out

test: .venv/dev peers lint types unit slow

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/dev
	$(BIN)/mypy

unit: .venv/dev
	$(BIN)/pytest -m "not slow and not gpu"

slow: .venv/dev
	$(BIN)/pytest -m "slow and not gpu"

# The real peers that the tests talk to; nothing is installed where all are there.
peers:
	@command -v storescu dciodvfy Orthanc >/dev/null || { \
	  $(SUDO) apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq --no-install-recommends $(PEERS); }

.venv/bin/pip:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "csvd-node needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv

.venv/serve: pyproject.toml requirements/serve.lock | .venv/bin/pip
	$(PIP) install --require-hashes -r requirements/serve.lock
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

.venv/dev: .venv/serve requirements/dev.lock
	$(PIP) install --require-hashes -r requirements/dev.lock
	$(PIP) install --no-deps torch==2.13.0
	@touch $@

lock: | .venv/bin/pip
	$(PIP) install uv
	$(COMPILE) pyproject.toml requirements/build.in -o requirements/serve.lock
	$(COMPILE) pyproject.toml requirements/build.in requirements/dev.in -c requirements/serve.lock -o requirements/dev.lock

clean:
	rm -rf .venv demo-out build dist
