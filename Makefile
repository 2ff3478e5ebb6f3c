# Every command of the project. `make help` lists them.

export PATH := $(PATH):/usr/sbin:/sbin
BIN := .venv/bin
READY := .venv/.ready
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup services demo test check bench soak lock clean

help: ## Lists these commands
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

setup: $(READY) ## Makes .venv and installs the locked dependencies into it

$(READY): pyproject.toml requirements/dev.lock scripts/setup
	@scripts/setup
	@touch $@

services: ## Installs the Debian packages that the tests and the benchmark need (starts nothing)
	@scripts/services

demo: setup ## A mailing to 2,000 recipients, sandbox and panel included; ARGS="--recipients 500 --exit"
	@$(BIN)/angarium demo $(ARGS)

check: setup ## Fast: lint, types, contracts, unit tests
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/pytest -q tests/unit

test: setup services ## Everything: lint, types, contracts, unit, integration, services, panel; two files at a time
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/pytest -m "not soak" -n 2 --dist loadfile $(ARGS) tests/unit tests/integration tests/panel tests/services

soak: setup services ## The long runs: 200 rounds of kill -9 under load
	$(BIN)/pytest -m soak $(ARGS) tests

bench: setup services ## Relay rate against Postfix, launch rate; ARGS="--messages 5000 --json -"
	$(BIN)/python -m bench relay $(ARGS)

lock: setup ## Locks the dependencies anew
	@command -v uv >/dev/null || [ -x $(BIN)/uv ] || $(BIN)/python -m pip install --quiet uv
	PATH="$$PATH:$(BIN)" uv pip compile --quiet --upgrade --no-emit-index-url --no-header --universal \
	  --python-version 3.11 --group dev --output-file requirements/dev.lock pyproject.toml

clean: ## Removes .venv, caches and the demo's data
	rm -rf .venv var .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
