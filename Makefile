# Slipway's commands. Only relative paths, so that the folder may have any name.
# `make run` and `make test` need Python 3.11 or newer and nothing else; they install into .venv.

PYTHON ?= python3
VENV := .venv/bin/python
STARTED_AT := $(shell date +%s)
# The stamp's name changes with the pinned requirements, so a change of theirs installs again.
RUN_STAMP := .venv/slipway-run-$(shell cksum < requirements.txt | tr -dc 0-9)
DEV_STAMP := .venv/slipway-dev-$(shell cksum < requirements-dev.txt | tr -dc 0-9)

.PHONY: run test lint format bench screenshots demo clean

run: $(RUN_STAMP)
	@SLIPWAY_STARTED_AT=$(STARTED_AT) $(VENV) manage.py up

test: lint
	$(VENV) -m pytest

lint: $(DEV_STAMP)
	$(VENV) -m ruff check .
	$(VENV) -m ruff format --check .
	$(VENV) -c "from importlinter.cli import lint_imports_command; lint_imports_command()"

format: $(DEV_STAMP)
	$(VENV) -m ruff check --fix .
	$(VENV) -m ruff format .

# Against a running stack: import, deploy, predict, scale, stop, with the seconds of each step.
demo: $(RUN_STAMP)
	@$(VENV) manage.py demo

# requests/s, latency, import rate and start times beside minimal programs that do the same.
bench: $(DEV_STAMP)
	$(VENV) -m bench

# Every page, both languages, both colour schemes -> var/screenshots.
screenshots: $(DEV_STAMP)
	$(VENV) -m tests.browser.screenshots

# Keeps var: that is people's work.
clean:
	rm -rf .venv .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './var/*' -prune -exec rm -rf {} +

.venv/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Slipway needs Python 3.11 or newer, and $(PYTHON) is not; name one: make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

# Exactly the files that were pinned, and wheels only: nothing is built, no foreign code runs at install. The pins are
# the whole closure, so nothing needs resolving; Python compiles what it imports, which is a small part.
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --only-binary :all: --require-hashes

.venv/slipway-run-%: | .venv/made
	@echo "Installing the pinned packages into .venv, once ..."
	@$(VENV) $(PIP_INSTALL) -r requirements.txt
	@rm -f .venv/slipway-run-*
	@touch $@

.venv/slipway-dev-%: | .venv/made
	@echo "Installing the pinned packages for development into .venv, once ..."
	@$(VENV) $(PIP_INSTALL) -r requirements-dev.txt
	@rm -f .venv/slipway-*
	@touch $@ $(RUN_STAMP)
