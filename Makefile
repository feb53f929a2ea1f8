# `make help` lists what there is. All work is done by scripts/, which need nothing but Python's own library.
PYTHON ?= python3
BOOTSTRAP = $(PYTHON) scripts/bootstrap.py
VENV = .venv/bin
ARGS ?=

# Data that cannot be in the repository: a folder `shared` beside the checkout may hold it.
SHARED = $(abspath ../shared)
ifneq ($(wildcard $(SHARED)/emnist/emnist.zip),)
export EMNIST_ARCHIVE ?= $(SHARED)/emnist/emnist.zip
endif
ifneq ($(wildcard $(SHARED)/strokes/chars74k-dev.jsonl),)
export LETTERLOOP_STROKES ?= $(SHARED)/strokes/chars74k-dev.jsonl
endif

.DEFAULT_GOAL := help
.PHONY: help run test lint format bench train audit env lock clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run:  ## the whole site on this machine; PORT=8080 make run for another port, Ctrl-C ends it
	@exec $(BOOTSTRAP) run

test: env  ## all tests; ARGS='-k name' for some of them
	@exec $(VENV)/python -m scripts.run_tests $(ARGS)

lint: env  ## ruff and mypy
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/mypy

format: env  ## let ruff put the code in order
	$(VENV)/ruff check --fix .
	$(VENV)/ruff format .

bench: env  ## measure speed and memory; writes var/bench.json
	$(VENV)/python -m benchmarks.run $(ARGS)

train: env  ## train the model that ships, into var/model (ARGS for its options)
	$(VENV)/python -m ml.train --output var/model $(ARGS)

audit: env  ## dependencies, licences and secrets; ARGS=--write to list them anew
	$(VENV)/python -m scripts.audit $(ARGS)

env:  ## .venv with all that tests and checks need
	@$(BOOTSTRAP) dev

lock: env  ## pin again all that the requirements need in turn
	$(VENV)/uv pip compile --universal --python-version 3.11 --no-header --no-annotate --no-emit-index-url \
		--quiet --output-file requirements.lock requirements-dev.txt

clean:  ## remove .venv and caches; your data in var/ stays
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './var/*' -prune -exec rm -rf {} +
