# Everything a contributor does, in one word each. Needs GNU make 3.81 or newer and Python 3.11 or newer, nothing else.

# The newest Python this was tested on, or any that is new enough: `make PYTHON=/opt/python/bin/python3` takes another.
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$python && break; done)

BIN := .venv/bin
RUNTIME := .venv/.installed-runtime
DEV := .venv/.installed-dev
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate
# Two workers: the tests wait for disks, databases and each other as much as they compute.
PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help serve test test-all coverage check lint format types contracts bench plot lock clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

serve: $(RUNTIME)  ## run the server on a SQLite file in this folder: make serve ARGS="--port 9000"
	@exec $(BIN)/denizen serve $(ARGS)

test: $(DEV)  ## the quick tests, on SQLite and PostgreSQL, in under four minutes: make test ARGS="-k etag"
	$(PYTEST) -m "not slow and not browser" $(ARGS)

test-all: $(DEV)  ## all tests, the slow promises too
	$(PYTEST) $(ARGS)

coverage: $(DEV)  ## the quick tests with branch coverage
	rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest -n 2 --dist worksteal -m "not slow and not browser" $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

check: lint test  ## what a pull request must pass: lint, types, contracts, tests

lint: $(DEV)  ## format and lint rules, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	cd examples/notes && ../../$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(DEV)  ## rewrite the code in the one format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(DEV)  ## measure against the tutorial's own application, side by side
	$(BIN)/python -m benchmarks $(ARGS)

plot: .venv/.installed-plot  ## draw the growth of the newest run of `make bench` into the docs
	$(BIN)/python -m benchmarks.plot docs/images/growth.png

lock: $(DEV)  ## write the lock files anew: make lock ARGS=--upgrade
	$(BIN)/$(LOCK) $(ARGS) pyproject.toml -o requirements/runtime.txt
	$(BIN)/$(LOCK) $(ARGS) pyproject.toml --group dev -c requirements/runtime.txt -o requirements/dev.txt
	$(BIN)/$(LOCK) $(ARGS) --group plot -c requirements/dev.txt -o requirements/plot.txt
	$(BIN)/$(LOCK) $(ARGS) --group build -c requirements/dev.txt -o requirements/build.txt

clean:  ## remove .venv and all caches; databases and keys stay
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage .coverage.* \
		htmlcov dist build
	rm -rf examples/*/.venv examples/*/.*_cache
	find src tests benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} +

# Written anew when a lock file changes. install.py waits for another make that is at it, and does nothing twice.
.venv/.installed-%: pyproject.toml requirements/%.txt requirements/build.txt requirements/install.py
	@if [ -z "$(PYTHON)" ]; then echo "Python 3.11 or newer is needed and was not found; say where: make PYTHON=..." >&2; exit 1; fi
	@$(PYTHON) requirements/install.py $*
$(DEV): requirements/runtime.txt
