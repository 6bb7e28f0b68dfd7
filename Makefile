# Everything a person or CI does with this repository. `make` alone lists it.
# Wanted on the machine: Python ≥ 3.11 (with its venv module) and make. Each target does its own set-up.

PYTHON     ?= python3
UV_VERSION := 0.13.9
VENV       := .venv
BIN        := $(VENV)/bin
READY      := $(VENV)/.ready
KERNELS    := $(VENV)/.kernels
WORKERS    ?= 2

# Whatever the shell says: what Python compiled is kept, and each of the many processes starts a quarter sooner.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all check docs bench mutants clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(READY) $(KERNELS) ## Make .venv with exactly the locked packages, and compile the rules as tests run them

# Runs again when the lock or the project file changes, else costs nothing.
$(READY): uv.lock pyproject.toml Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "Tallystick needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3.12 setup" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { echo "could not make $(VENV); on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@test "$$($(BIN)/uv --version 2>/dev/null | cut -d' ' -f2)" = "$(UV_VERSION)" || \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check "uv==$(UV_VERSION)"
	UV_PROJECT_ENVIRONMENT=$(VENV) $(BIN)/uv sync --quiet --frozen --inexact --compile-bytecode --python $(BIN)/python
	@touch $@

# On other engines: make demo DEMO="--journal postgresql://… --intake kafka://…"
# Half a minute. What changes later the tests compile by themselves. What pytest makes of the tests is kept, too.
$(KERNELS): | $(READY)
	$(BIN)/python -m tests.kernels
	-@$(BIN)/pytest --collect-only -qq >/dev/null
	@touch $@

demo: $(READY) ## A bank's day, 10,000 payments at once, everything killed on cue; nothing is lost
	$(BIN)/tally demo $(DEMO)

test: $(READY) $(KERNELS) ## Tests that need no servers; two minutes at most on two cores
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m 'not service'

# An error that says that a server or process was not there in time is asked once more, and told (RERUN): on a busy
# machine it says little. What a test asserts is never asked again.
NOT_THERE_IN_TIME := --reruns 1 --reruns-delay 5 --rerun-except AssertionError \
  --only-rerun '(Unavailable|OutcomeUnknown|TimeoutError|TimeoutExpired|OperationalError):'
test-all: test services-if-possible mutants wrk chromium site deploy-tools asyncapi-schema ## All tests, those that need services or time too
	$(BIN)/pytest -n $(WORKERS) --dist loadfile -m service -rsR --durations=30 --durations-min=20 $(NOT_THERE_IN_TIME); status=$$?; $(BIN)/python -m services stop; exit $$status

# On loopback, on free ports, below one folder: $TALLYSTICK_SERVICES, else one in the temp directory. What cannot be
# had here is named, and the tests that need it are SKIPPED.
.PHONY: services services-if-possible services-stop
services: $(READY) ## Install what is missing and start real PostgreSQL, RabbitMQ and Kafka here
	@$(BIN)/python -m services start

services-if-possible: $(READY)
	-@$(BIN)/python -m services start postgresql rabbitmq rabbitmq4 kafka

services-stop: $(READY) ## Stop those servers, and no others
	@$(BIN)/python -m services stop

check: $(READY) ## Style, types, imports, and that generated pages are up to date
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python docs/generate.py --check

docs: $(READY) ## Write the generated pages (configuration.md, records.md, statuses.md, pages/asyncapi.json)
	$(BIN)/python docs/generate.py

# What makes the site is a group of its own in the lock. Nothing is fetched once it is there.
.PHONY: site
site: $(READY) ## Make the documentation site in build/site, warnings as errors
	UV_PROJECT_ENVIRONMENT=$(VENV) $(BIN)/uv sync --quiet --frozen --inexact --group docs --python $(BIN)/python
	$(BIN)/sphinx-build --quiet --fresh-env --fail-on-warning --keep-going -c docs -d build/doctrees -b html . build/site
	@echo "the site is at build/site/index.html"

bench: $(READY) ## Measure the ledger in process and over HTTP
	$(BIN)/tally bench ledger
	$(BIN)/tally bench http

mutants: $(READY) ## Break each promise on purpose and see its tests fail
	$(BIN)/python tests/mutants/run.py

# The load generator is a Debian package. Without it, what needs it is skipped, and pytest says so.
.PHONY: wrk
wrk:
	@command -v wrk >/dev/null || { test "$$(id -u)" = 0 && apt-get install -qq -y wrk; } || \
	  echo "wrk is missing and cannot be installed here: tests that need it are SKIPPED" >&2

# Linters of what is in deploy/. Helm is compiled once, for two minutes, where there is Go and no helm.
.PHONY: deploy-tools
deploy-tools: $(READY)
	UV_PROJECT_ENVIRONMENT=$(VENV) $(BIN)/uv sync --quiet --frozen --inexact --group deploy --python $(BIN)/python
	@command -v helm >/dev/null || test -x build/tools/helm || \
	  { command -v go >/dev/null && GOBIN=$(CURDIR)/build/tools go install helm.sh/helm/v3/cmd/helm@v3.22.0; } || \
	  echo "helm is missing and cannot be made here: tests that need it are SKIPPED" >&2

# The schema that AsyncAPI documents are held against, by its authors.
.PHONY: asyncapi-schema
asyncapi-schema:
	@test -d build/tools/node_modules/@asyncapi/specs || \
	  { command -v npm >/dev/null && npm install --silent --no-audit --no-fund --prefix build/tools @asyncapi/specs@6.11.1; } || \
	  echo "AsyncAPI's schema cannot be had here: the test that needs it is SKIPPED" >&2

# The page that verifies receipts is tried in a real browser, which is a Debian package; what drives it is a group of its
# own in the lock. Without them its tests are skipped, and pytest says so.
.PHONY: chromium
chromium: $(READY)
	UV_PROJECT_ENVIRONMENT=$(VENV) $(BIN)/uv sync --quiet --frozen --inexact --group browser --python $(BIN)/python
	@command -v chromium >/dev/null || \
	  { test "$$(id -u)" = 0 && apt-get install -qq -y --no-install-recommends chromium >/dev/null; } || \
	  echo "chromium is missing and cannot be installed here: tests that need it are SKIPPED" >&2

clean: ## Remove what make made
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist
