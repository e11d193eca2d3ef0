# Everything from a fresh clone: `make demo` to see pictures, `make test` to check the project.

PYTHON  ?= $(shell command -v python3.11 || command -v python3)
VENV    ?= .venv
WORKERS ?= 2
POLARLIGHT = $(VENV)/bin/polarlight
NODE_CLIENTS = tests/clients/node

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench faults clean packages
.DELETE_ON_ERROR:

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-12s %s\n", $$1, $$2}'

demo: $(VENV)/.installed-eval ## draw three prompts into out/
	@$(POLARLIGHT) imagine "a cat and a dog under a sign that says 'OPEN'" --mode quality --seed 1 -o out
	@$(POLARLIGHT) imagine "a glass bottle on a wooden table with 'BROOKLYN CRAFT' on the label" --mode quality --seed 2 -o out
	@$(POLARLIGHT) imagine "a red car left of a yellow house at night" --mode quality --seed 3 -o out
	@echo "The pictures are in $(CURDIR)/out; draw your own: $(POLARLIGHT) imagine \"a prompt\""

test: $(VENV)/.installed-dev packages $(NODE_CLIENTS)/node_modules/.installed ## run every test
	@OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -q -n $(WORKERS) -rfEs --durations=5

lint: $(VENV)/.installed-dev ## check style and types
	@$(VENV)/bin/python -m ruff check
	@$(VENV)/bin/python -m ruff format --check
	@$(VENV)/bin/python -m mypy

faults: $(VENV)/.installed-dev packages ## kill the service 200 times and look for what was lost
	@POLARLIGHT_TEST_KILLS=50 OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -q -n 0 -rPs --show-capture=stdout tests/serve/test_faults.py

bench: $(VENV)/.installed-bench ## measure against the peers, one script after the other
	@set -e; for run in ceiling "decode --check" "decode --compile" "decode --pictures" "train --compile" cold serve_engine serve \
		"watermark --count 40 --nulls 100" "watermark_clips --count 8 --nulls 8" table; do \
		set -- $$run; script=bench/$$1.py; shift; echo "== $$script $$*"; $(VENV)/bin/python "$$script" "$$@"; \
	done

clean: ## remove what was installed and cached; out/ and runs/ stay
	rm -rf $(VENV) $(NODE_CLIENTS)/node_modules build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis polarlight.egg-info
	find polarlight tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

# one environment; every stamp is older than pyproject.toml when the dependencies have changed
$(VENV)/bin/python:
	@if [ -z "$(PYTHON)" ] || ! "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
		echo "Polarlight needs Python 3.11 or newer; name one with: make PYTHON=path/to/python3.11"; exit 1; \
	fi
	@"$(PYTHON)" -m venv $(VENV) || { \
		rm -rf $(VENV); echo "Cannot make a virtual environment. On Debian: apt-get install python3-venv"; exit 1; \
	}

$(VENV)/.installed-%: pyproject.toml | $(VENV)/bin/python
	@echo "Installing Polarlight with [$*] into $(VENV); torch is large, so the first time takes minutes."
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --root-user-action=ignore -e '.[$*]'
	@touch $@

# fonts and OCR that only tests and bakes need; without the right to install them, say which and go on
packages: $(VENV)/.installed-dev
	@missing=$$($(VENV)/bin/python -c 'from polarlight.base.machine import missing_packages as m; print(*m())'); \
	[ -n "$$missing" ] || exit 0; \
	if [ "$$(id -u)" = 0 ]; then as=env; elif sudo -n true 2>/dev/null; then as="sudo -n env"; else as=; fi; \
	if [ -n "$$as" ] && command -v apt-get >/dev/null; then \
		echo "Installing $$missing"; \
		$$as apt-get update -qq && \
		$$as DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null && \
		exit 0; \
	fi; \
	echo "Missing, so some tests will be skipped or fail: $$missing"

# clients for Node that tests run, in the versions of the lock file; where npm cannot be had, say so and go on
$(NODE_CLIENTS)/node_modules/.installed: $(NODE_CLIENTS)/package-lock.json | packages
	@if command -v npm >/dev/null && (cd $(NODE_CLIENTS) && npm ci --loglevel=error >/dev/null); then \
		touch $@; \
	else \
		echo "npm could not install the clients of $(NODE_CLIENTS), so their tests will be skipped"; \
	fi
