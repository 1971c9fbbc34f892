# Nothing but Python is needed: every target first makes .venv and installs what it uses.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# The editable install links files one by one, so a new or renamed file needs it again (an edited one does not).
FILES := $(sort $(wildcard *.py commands/*.py export/*.py engines/*.py profiler/*.py profiler/*/*.py analysis/*.py report/*.py))

.PHONY: help demo test lint check bench schemas docs clean FORCE

help:
	@echo "make demo    checkpoint -> ONNX -> engine -> what a frame costs, at batch 1, 4 and 16"
	@echo "make test    the tests"
	@echo "make check   what CI runs: the tests, ruff and mypy"
	@echo "make docs    the documentation, into build/site"
	@echo "make bench   perframe beside a bare ONNX Runtime loop and Polygraphy"

demo: .venv/installed
	@mkdir -p demo
	$(BIN)/perframe new mobilenet-v1 --group-size 8 -o demo/e2gc-g8.pth.tar
	$(BIN)/perframe export demo/e2gc-g8.pth.tar -o demo/e2gc-g8.onnx
	$(BIN)/perframe build demo/e2gc-g8.onnx --engine onnxruntime -o demo/e2gc-g8.engine
	$(BIN)/perframe profile demo/e2gc-g8.engine -b 1 -b 4 -b 16 -o demo/profile.json

test: .venv/installed
	$(BIN)/python -m pytest -q

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: test lint

bench: .venv/installed
	$(PIP) install -c constraints.txt polygraphy
	$(BIN)/python benchmarks/timed_path.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/sensor_overhead.py
	$(BIN)/python benchmarks/estimators.py
	$(BIN)/python benchmarks/coverage.py
	$(BIN)/python benchmarks/tensorrt_build.py
	$(BIN)/python benchmarks/digits_accuracy.py
	$(BIN)/python benchmarks/layer_replay.py
	$(BIN)/python benchmarks/gate_errors.py
	$(BIN)/python benchmarks/finding_errors.py
	$(BIN)/python benchmarks/prediction.py
	$(BIN)/python benchmarks/many_results.py
	$(BIN)/python benchmarks/report_speed.py
	$(BIN)/python benchmarks/sweep_time.py
	$(BIN)/python benchmarks/beside_peers.py

docs: .venv/installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

schemas: .venv/installed
	for name in profile engine calibration trace sweep gate doctor; do $(BIN)/perframe schema $$name > schemas/$$name-1.json; done

clean:
	rm -rf .venv demo build *.egg-info

.venv/installed: pyproject.toml constraints.txt .venv/files
	$(PIP) install -c constraints.txt -e '.[cpu,torch,rtx,dev,docs]'
	@touch $@

.venv/files: FORCE | .venv/bin/python
	@echo '$(FILES)' | cmp -s - $@ || echo '$(FILES)' > $@

.venv/bin/python:
	$(PYTHON) -m venv .venv
FORCE:
