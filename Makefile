# Everything a person does in this repository. Each target does all its own set-up.
.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench dashboards docs install update rollback uninstall clean

BIN := .venv/bin
INPUTS := pyproject.toml constraints.txt scripts/setup scripts/system-packages.txt \
  tests/flux/package-lock.json
# Tests wait for processes and deadlines more than they compute.
WORKERS ?= 4
# The slow tests run where everything is required: in CI.
ifeq ($(filter-out 0,$(HELIOBUS_REQUIRE_ALL)),)
  SELECT := -m "not slow"
endif

help:  ## print this list
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1	\2/p' $(MAKEFILE_LIST) | expand -t 18

setup: .venv/ready-all  ## make .venv with heliobus and every tool in it
	@:

demo: .venv/ready-demo  ## a whole simulated off-grid house; Ctrl-C ends it
	@$(BIN)/heliobus demo $(ARGS)

test: check  ## everything that must hold: check, then the tests (ARGS="-k topics" for some)
	@$(BIN)/pytest $(SELECT) -n $(WORKERS) --dist worksteal $(ARGS)

check: setup  ## the rules of style and types
	@$(BIN)/ruff check --quiet --output-format concise
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy --no-error-summary

bench: setup  ## measure time and memory against bench/limits.toml
	@$(BIN)/python -m bench $(ARGS)

dashboards: setup  ## write the Grafana dashboards anew from the contract
	@$(BIN)/python -m scripts.dashboards $(ARGS)

docs: setup  ## write the reference pages anew from schemas/
	@$(BIN)/python -m heliobus.docs topics $(ARGS)
	@$(BIN)/python -m heliobus.config_docs $(ARGS)
	@$(BIN)/python -m scripts.network_table $(ARGS)
	@$(BIN)/python -m scripts.device_table $(ARGS)

install:  ## install the service (systemd); with sudo, see docs/systemd.md
	@scripts/install install

update:  ## update the service, and go back if the new version does not start
	@scripts/install update

rollback:  ## change to the version before the last update
	@scripts/install rollback

uninstall:  ## remove the service; PURGE=1 removes configuration and data, too
	@scripts/install uninstall

clean:  ## remove .venv and everything else that was made here
	@rm -rf .venv build dist demo-data .mypy_cache .ruff_cache .pytest_cache .hypothesis tests/flux/node_modules
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/ready-all: $(INPUTS)
	@scripts/setup all
	@touch .venv/ready-demo $@

.venv/ready-demo: $(INPUTS)
	@scripts/setup demo
	@touch $@
