# One entry point for people and for continuous integration. `make` alone lists what there is.

PORT ?= 7071
# Whatever is set on make's command line reaches the app as an environment variable; MODEL is short for PERDURE_MODEL.
ifeq ($(origin MODEL),command line)
export PERDURE_MODEL := $(MODEL)
endif
HOST_ARGS ?=
VENV := .venv
VENV_INFRA := .venv-infra
BIN := $(VENV)/bin

# Python 3.13: on the path, from pyenv, or wherever uv knows one.
PYTHON ?= $(shell for python in python3.13 $$HOME/.pyenv/versions/3.13*/bin/python; do \
	$$python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null && echo $$python && exit; \
	done; uv python find 3.13 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help setup run stop key trace test check fmt bench lock clean

help: ## List the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: $(VENV)/installed ## Make the environment in .venv, as the lock files say

$(VENV)/installed: requirements.txt requirements-dev.txt
	@test -n "$(PYTHON)" || { echo "Python 3.13 is needed and was not found. Install it (python.org, your package \
	manager, 'pyenv install 3.13' or 'uv python install 3.13'), or say where it is: make PYTHON=/path/to/python3.13"; exit 1; }
	@echo "Setting up $(VENV) with $(PYTHON) ..."
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		-r requirements.txt -r requirements-dev.txt
	@touch $@

$(VENV_INFRA)/installed: requirements-infra.txt $(VENV)/installed
	@echo "Setting up $(VENV_INFRA) ..."
	@rm -rf $(VENV_INFRA)
	@$(PYTHON) -m venv $(VENV_INFRA)
	@$(BIN)/python -m uv pip install --quiet --python $(VENV_INFRA) --require-hashes -r requirements-infra.txt
	@touch $@

# STATE=cosmos: in the account that COSMOS_ENDPOINT names, or in the endpoint that the tests use, which then stays up.
ifeq ($(STATE),cosmos)
SETTINGS := $(if $(COSMOS_ENDPOINT),export PERDURE_STATE=cosmos;,up="$$($(BIN)/python -m tests.cosmos.local up)" || exit 1; eval "$$up";)
endif

run: setup ## Run the app on http://127.0.0.1:7071 (PORT=...), with no cloud and no key (STATE=cosmos: in Cosmos DB)
	@$(SETTINGS) $(BIN)/python -m perdure check > /dev/null && $(BIN)/python -m devhost --port $(PORT) --on-ready "$(BIN)/python -m perdure welcome {url}" $(HOST_ARGS)

stop: setup ## End the Cosmos endpoint that 'make run STATE=cosmos' left running, and its data with it
	@$(BIN)/python -m tests.cosmos.local down

key: setup ## Make another API key and print it
	@$(BIN)/python -m perdure key

trace: setup ## Draw what a task did, when, and what it cost (TASK=<id>, TENANT=default)
	@$(BIN)/python -m perdure trace $(TASK) --tenant $(or $(TENANT),default)

test: setup ## Run every test that can run here
	@$(BIN)/python -m pytest -n auto --dist loadfile

check: setup $(VENV_INFRA)/installed ## Lint, types, import contracts, lock files, infrastructure
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/basedpyright
	@$(BIN)/lint-imports
	@$(BIN)/python .ci/locks.py check
	@$(BIN)/python .ci/infra.py

fmt: setup ## Format the code
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

bench: setup ## Measure speed and memory (bench/README.md explains the figures)
	@$(BIN)/python -m bench

lock: ## Resolve the requirements*.txt anew from pyproject.toml (UPGRADE=--upgrade)
	@$(BIN)/python .ci/locks.py write $(UPGRADE)

clean: ## Remove the environment, the caches and the local state
	@rm -rf $(VENV) $(VENV_INFRA) dist .perdure .devhost .pytest_cache .ruff_cache .hypothesis .import_linter_cache
