# Needs git, make and Python 3.11 or newer with venv; everything else is fetched into .venv.

PYTHON ?= python3
JOBS ?= 2
NAME ?= all
BROWSER ?= auto

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check -c requirements.lock
SAY := @printf '%s\n'

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test lint bench soak mutations peers lock clean browser

help: ## Show what there is.
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.run ## Start the demonstration: simulated people, a pretend telephone network.
	@exec $(BIN)/ansim demo

test: $(VENV)/.dev browser lint ## Check everything: imports, style, types, tests (BROWSER=no leaves Chromium out).
	$(SAY) "ansim: tests ($(JOBS) at a time)"
	@$(BIN)/python -m pytest -n $(JOBS) -m "not soak"

lint: $(VENV)/.dev ## Check imports, style and types.
	$(SAY) "ansim: who may import whom"
	@$(BIN)/lint-imports --no-cache
	$(SAY) "ansim: style"
	@$(BIN)/ruff check .
	$(SAY) "ansim: types"
	@$(BIN)/mypy

bench: $(VENV)/.dev ## Measure against bare yardsticks (NAME=... for one of them).
	@$(BIN)/ansim bench $(NAME)

soak: $(VENV)/.dev ## Run the long tests.
	@$(BIN)/python -m pytest -m soak --timeout 0

mutations: $(VENV)/.dev ## Break each gate in turn and see that a test notices.
	@$(BIN)/python tests/mutations/run.py --jobs $(JOBS)

peers: $(VENV)/.dev ## Install what `ansim evaluate --peers` measures itself against.
	@$(PIP) --no-build-isolation -e '.[evaluate]'

lock: ## Write requirements.lock anew from the newest versions that pyproject.toml allows.
	$(SAY) "ansim: resolving in a clean environment (a minute or two)"
	@set -e; scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT; \
	$(PYTHON) -m venv "$$scratch/venv"; \
	"$$scratch/venv/bin/python" -m pip install -qq hatchling editables; \
	"$$scratch/venv/bin/python" -m pip install -qq --no-build-isolation -e '.[dev,evaluate]'; \
	{ echo "# Every version that Ansim is tested with. Made by 'make lock'."; \
	  "$$scratch/venv/bin/python" -m pip freeze --exclude-editable; } > "$$scratch/lock"; \
	mv "$$scratch/lock" requirements.lock
	$(SAY) "ansim: wrote requirements.lock"

clean: ## Remove what was made here; your data folder stays.
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.made:
	@command -v "$(PYTHON)" > /dev/null || { \
	  echo "ansim: $(PYTHON) was not found: install Python 3.11 or newer, or say 'make PYTHON=/path/to/python3.11'" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "ansim: needs Python 3.11 or newer, $(PYTHON) is $$($(PYTHON) -V): say 'make PYTHON=/path/to/python3.11'" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || { \
	  echo "ansim: $(PYTHON) lacks venv: on Debian, 'apt-get install python3-venv'" >&2; exit 1; }
	$(SAY) "ansim: making $(VENV)"
	@rm -rf $(VENV) && $(PYTHON) -m venv $(VENV) && touch $@

# Built without isolation so that the build's own parts are pinned too.
$(VENV)/.build: requirements.lock | $(VENV)/.made
	@$(PIP) hatchling editables
	@touch $@

$(VENV)/.run: pyproject.toml requirements.lock $(VENV)/.build | $(VENV)/.made
	$(SAY) "ansim: installing what it needs to run (about a minute the first time)"
	@$(PIP) --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: pyproject.toml requirements.lock $(VENV)/.run | $(VENV)/.made
	$(SAY) "ansim: installing what the tests need"
	@$(PIP) --no-build-isolation -e '.[dev]'
	@touch $@

browser:
	@if [ "$(BROWSER)" = no ]; then echo "ansim: browser tests left out (BROWSER=no)"; \
	elif command -v chromium > /dev/null && command -v chromedriver > /dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
	  echo "ansim: installing Chromium for the browser tests (a minute or two)"; \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	    chromium chromium-driver fonts-noto-cjk; } > /dev/null 2>&1 || $(SKIPPED); \
	else $(SKIPPED); fi

SKIPPED = printf '\n%s\n%s\n\n' \
  "ansim: *** BROWSER TESTS WILL BE SKIPPED: no Chromium here, and it could not be installed. ***" \
  "ansim: *** On Debian, as root: apt-get install chromium chromium-driver fonts-noto-cjk        ***" >&2
