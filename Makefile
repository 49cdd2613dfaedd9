# make demo and make test each work on a fresh machine with Python 3.11, make and git.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help install install-dev demo test test-ray soak bench lint clean

help:
	@echo "make demo     install, train two models on synthetic images, and show the table"
	@echo "make test     install, and run the tests"
	@echo "make test-ray the tests that need the heavy extra ray"
	@echo "make install  install alone; the command is then .venv/bin/medimg"
	@echo "make lint     ruff and mypy"
	@echo "make soak     the long tests: a run killed a hundred times"
	@echo "make bench    medimg beside a plain training loop, in ratios: takes an hour or two"

install: $(VENV)/.installed

install-dev: $(VENV)/.installed-dev

$(VENV)/.installed: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "medimg needs Python 3.11 or later: make PYTHON=python3.12 ..."; exit 2; }
	@echo "Installing into $(VENV): torch is large, so this takes a few minutes."
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) -e '.[dev]'
	@touch $@

demo: install
	$(BIN)/medimg train -m name=demo model=small_cnn,quickstart_cnn scheduler=one_cycle optimizer.lr=4e-3 \
		trainer.max_epochs=12
	@echo "To see the curves: $(BIN)/tensorboard --logdir runs"

test: install-dev
	$(BIN)/python -m pytest

soak: install-dev
	$(BIN)/python -m pytest -m soak

test-ray: install-dev
	$(PIP) -e '.[ray]'
	$(BIN)/python -m pytest -m ray

# BENCH=--quick, or BENCH='--case start --repeats 5'
bench: install-dev
	$(BIN)/python -m benchmarks.bench --out bench.json $(BENCH)

lint: install-dev
	$(BIN)/ruff check medimg hydra_plugins benchmarks tests
	$(BIN)/ruff format --check medimg hydra_plugins benchmarks tests
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
