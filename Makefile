# make demo: set everything up and run the main job on a small dataset that it makes.
# make test: set everything up, check style and types, run all tests.
# make bench: print speeds, measured in one run. make lint: style and types alone.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
EXTRAS ?= dev

.PHONY: demo test lint bench measure clean

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: \
		--constraint constraints.txt setuptools
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation \
		--prefer-binary --constraint constraints.txt --editable '.[$(EXTRAS)]'
	touch $@

demo: $(VENV)/installed
	$(BIN)/histods demo demo-out

test: lint
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# The peers of the benchmarks stay out of the tests' environment: one of them brings a torchvision that fits no CPU build.
bench:
	$(MAKE) --no-print-directory VENV=.venv-bench EXTRAS=dev,bench measure

measure: $(VENV)/installed
	$(BIN)/python -m tests.benchmarks.audit
	$(BIN)/python -m tests.benchmarks.storage
	$(BIN)/python -m tests.benchmarks.shards
	$(BIN)/python -m training.bench

clean:
	rm -rf $(VENV) .venv-bench demo-out build *.egg-info
