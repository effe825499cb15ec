# make demo: set everything up and run the main job on a small dataset that it makes.
# make test: set everything up, check style and types, run all tests.
# make test-fast: the tests of daily work, in under a minute. make lint: style, types and imports alone.
# make coverage: all tests, and which lines they run in each module, least covered first.
# make docs: build the pages of docs into site/. make bench: print speeds, measured in one run.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
EXTRAS ?= dev

.PHONY: demo test test-fast coverage lint docs bench measure clean

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: \
		--constraint constraints.txt setuptools
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation \
		--prefer-binary --constraint constraints.txt --editable '.[$(EXTRAS)]'
# Tests use nnU-Net's readers and checks, torch-fidelity's formulas and timm's networks. All ask for a torchvision that
# fits no CPU build, and these parts of them do without it.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps \
		--constraint constraints.txt nnunetv2 batchgenerators acvl_utils torch_fidelity timm
	touch $@

demo: $(VENV)/installed
	$(BIN)/histods demo demo-out

# Folders whose tests need neither a training run nor a command: they take under a minute.
FAST := $(addprefix tests/histods/,checks colours labels masks) \
	$(addprefix tests/training/,config diffusion/test_process.py diffusion/test_noise.py diffusion/test_levels.py latents/test_latent_space.py trainer/test_ema.py) \
	tests/test_architecture.py tests/test_words.py

test: lint
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal --durations 15

test-fast: $(VENV)/installed
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal -m "not slow and not own_workers and not ray" $(FAST)

coverage: $(VENV)/installed
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal --cov $(TESTS)

docs: $(VENV)/installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

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
	$(BIN)/python -m tests.benchmarks.quality
	$(BIN)/python -m tests.benchmarks.storage
	$(BIN)/python -m tests.benchmarks.shards
	$(BIN)/python -m training.bench

clean:
	rm -rf $(VENV) .venv-bench demo-out build *.egg-info
