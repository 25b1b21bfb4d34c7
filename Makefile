# The commands of a checkout: `make help` lists them. Nothing is needed but make and Python 3.11 or newer.
.DEFAULT_GOAL := help
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules --no-print-directory

BIN := .venv/bin
# Processes that the tests are spread over: one more than CI has cores, since a quarter of their time they wait for servers.
WORKERS ?= 3
# More for pytest: make test-fast ARGS="-k rollback"
ARGS ?=
PYTEST = $(BIN)/pytest -n $(WORKERS) --dist worksteal
UV_COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --custom-compile-command "make lock"

.PHONY: help
help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## make .venv from the locks (a second call costs nothing)
	@scripts/setup

.PHONY: run
run: setup ## a day of the platform, on local servers and the sandbox
	@$(BIN)/ledgerlake run --sandbox

.PHONY: up
up: setup ## the local servers, Dagster's UI and its daemon, until Ctrl-C
	@$(BIN)/ledgerlake up

.PHONY: down
down: setup ## stop what `ledgerlake up --detach` started
	@$(BIN)/ledgerlake down

.PHONY: test
test: setup ## all tests, as CI runs them
	$(PYTEST) $(ARGS)

.PHONY: test-fast
test-fast: setup ## the tests for the inner loop
	$(PYTEST) -m "not slow" $(ARGS)

.PHONY: test-slow
test-slow: setup ## the tests that need minutes: crashes, sizes, whole days
	$(PYTEST) -m slow $(ARGS)

.PHONY: screenshots
screenshots: setup ## the console's pictures in docs/images, made by its tests in a browser
	LEDGERLAKE_TEST_PICTURES=docs/images LEDGERLAKE_TEST_BROWSER=required $(BIN)/pytest tests/console/browser $(ARGS)

.PHONY: check
check: lint types imports docs-check ## lint, types, imports and docs

.PHONY: lint
lint: setup ## ruff: rules and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

.PHONY: format
format: setup ## ruff: mend what can be mended
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: types
types: setup ## mypy, strict
	$(BIN)/mypy

.PHONY: imports
imports: setup ## import-linter: which room may import which
	$(BIN)/lint-imports --no-logo

.PHONY: docs
docs: setup ## write docs/reference/ from the code
	$(BIN)/python scripts/reference.py

.PHONY: docs-check
docs-check: setup ## docs/reference/ is up to date, every link leads somewhere
	$(BIN)/python scripts/reference.py --check
	$(BIN)/python scripts/links.py

.PHONY: bench
bench: setup ## the benchmarks; results in benchmarks/README.md
	$(BIN)/python -m benchmarks $(ARGS)

.PHONY: integrity-report
integrity-report: setup ## plant 1,000 faults by a seed, verify, and write what was found into docs/integrity.md
	$(BIN)/python -m benchmarks.faults $(ARGS)

.PHONY: lock
lock: setup ## resolve the locks anew from pyproject.toml and .ci/*.in
	$(UV_COMPILE) $(ARGS) .ci/tools.in --output-file .ci/tools.lock
	$(UV_COMPILE) $(ARGS) .ci/build.in --output-file .ci/build.lock
	$(UV_COMPILE) $(ARGS) pyproject.toml --group dev --output-file requirements.lock
	$(UV_COMPILE) $(ARGS) benchmarks/dlt.in --output-file benchmarks/dlt.lock
	$(UV_COMPILE) $(ARGS) benchmarks/reladiff.in --output-file benchmarks/reladiff.lock

.PHONY: clean
clean: ## remove caches and build output; local state and .venv stay
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis dist build dbt_project/target dbt_project/logs
	find . -name .venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
