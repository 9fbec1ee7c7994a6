# make demo    the main job on images with planted noise
# make test    format, lint, types, import rules, tests
# make oldest  the tests of the flows with the oldest Prefect
# make mutations  whether the tests of training catch what they must
# make         the environment only
PYTHON ?= python3
BIN := .venv/bin

# uv reads none of pip's settings; where pip is told to look for wheels, uv looks too.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)

.PHONY: install demo test oldest mutations check bench clean

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	@echo "installing into .venv: a minute or two the first time"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check uv
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: install
	$(BIN)/cleaner demo

test: check
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder

# The tests of what stands on Prefect, with the oldest that pyproject allows; `make test` has the newest.
oldest: install
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --target build/oldest prefect==3.7.8
	PYTHONPATH=$(CURDIR)/build/oldest $(BIN)/pytest -n 2 --dist loadfile tests/flows

mutations: install
	$(BIN)/python tests/mutate.py

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install
	$(BIN)/python -m benchmarks.features
	$(BIN)/python -m benchmarks.rounds_speed
	$(BIN)/python -m benchmarks.runners
	$(BIN)/python -m benchmarks.label_noise
	$(BIN)/python -m benchmarks.estimates
	$(BIN)/python -m benchmarks.training

clean:
	rm -rf .venv cleaner-demo build dist *.egg-info
