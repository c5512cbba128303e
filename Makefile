# The commands of a development tree. Bare `make` prints them.

PYTHON ?= python3
VENV ?= .venv
RUN_DIR ?= run
BIN := $(VENV)/bin
# What an operator calls is one command; `make` makes the venv first. The paths go through the environment, where a
# blank or a quote in them harms nothing.
COMMAND := $(BIN)/belabox-metrics
export RUN_DIR CONFIG FILE
# Hundreds of processes are started: they compile once.
unexport PYTHONDONTWRITEBYTECODE
# Most tests wait for processes, so a few at once share a core well. One is given out at a time, the long ones first:
# nobody is left with a queue of them at the end. Unit tests and fuzz are thousands of short ones: a process for each
# core, and one more, takes its share of their files.
JOBS ?= 8
SHARES ?= $(shell expr $$(nproc) + 1)
# RESULTS=folder keeps what `python -m tests.summary folder` prints.
PYTEST = pytest -n $(JOBS) --maxschedchunk 1 --durations 10 $(if $(RESULTS),--junitxml $(RESULTS)/$@.xml)
SHORT = -m $(if $(COVERAGE),coverage run -m )tests.shares $(SHARES) $(1) -q --durations 5 \
	$(if $(RESULTS),--junitxml $(RESULTS)/$@-{share}.xml)

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev run demo stop status top logs reload backup doctor check-config test unit integration chaos fuzz mutants soak bench fleet \
	test-long test-short wheelhouse deb release deploy test-install lint types format fixtures docs lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo "  Variables: RUN_DIR=run CONFIG=file FILE=file PYTHON=python3 SERVER=victoria-metrics|bundled|json|none"

$(BIN)/.run: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "$(PYTHON) is too old: Python 3.10 or newer is needed (PYTHON=…)" >&2; exit 69; }
	@$(PYTHON) -m venv $(VENV) || { echo "no venv module (Debian: apt-get install python3-venv)" >&2; exit 69; }
	@echo "installing the packages of requirements.lock into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

$(BIN)/.dev: $(BIN)/.run requirements-dev.lock
	@echo "installing the packages of requirements-dev.lock into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

tests/browser/node_modules: tests/browser/package-lock.json
	@if command -v npm >/dev/null; then npm ci --prefix tests/browser --no-audit --no-fund --loglevel=error >/dev/null; \
		else echo "npm is not installed: the page's accessibility will not be tested" >&2; fi

setup: $(BIN)/.run ## the venv with what runs on a device
	@ln -sfn "$$PWD/deploy/belabox-metrics" $(COMMAND)

setup-dev: $(BIN)/.dev ## the same with what tests and linters need

run: setup ## the whole pipeline in RUN_DIR, foreground; Ctrl-C ends it
	@PYTHON="$$(cd $(BIN) && pwd)/python" exec deploy/run.sh

demo: setup ## the same on a recorded Orange Pi 5+ on which a stream plays; SEED=1 EPISODE=rtt|link|heat|hdmi|stop
	@PYTHON="$$(cd $(BIN) && pwd)/python" DEMO="--seed $(or $(SEED),1)$(if $(EPISODE), --episode $(EPISODE))" \
		exec deploy/run.sh

stop: setup ## end a pipeline that runs in RUN_DIR
	@$(COMMAND) stop

status: setup ## state of each process
	@$(COMMAND) status

top: setup ## verdict, stream, links, device and delivery in this terminal; Ctrl-C ends it
	@$(COMMAND) top

logs: setup ## follow all logs
	@$(COMMAND) logs -f

reload: setup ## check the configuration, then have every process read it again
	@$(COMMAND) reload

backup: setup ## a consistent copy of the database into FILE, while everything runs
	@$(COMMAND) backup "$${FILE:?make backup FILE=where to}"

doctor: setup ## what is missing on this machine, and the command that gives it
	@$(COMMAND) doctor

check-config: setup ## check FILE and say everything that is wrong with it
	@$(COMMAND) check "$${FILE:-deploy/config.yaml}"

test: setup-dev tests/browser/node_modules ## unit, integration, fuzz and a short chaos run
	@$(MAKE) --no-print-directory --keep-going --jobs 2 test-long test-short

test-long:
	@$(BIN)/python -m $(PYTEST) tests/chaos tests/integration

# Beside the long ones, which wait more than they compute; what it prints comes in one piece.
test-short:
	@printed=$$(nice -n 5 $(BIN)/python $(call SHORT,tests/unit tests/fuzz) 2>&1); status=$$?; \
		echo "$$printed"; exit $$status

unit: setup-dev ## unit tests alone; COVERAGE=1 measures the five packages, and runs each as a process too
	@rm -f .coverage .coverage.*
	@$(BIN)/python $(call SHORT,tests/unit)
	@$(if $(COVERAGE),$(BIN)/python -m coverage run -m $(PYTEST) tests/integration/processes tests/integration/shipper)
	@$(if $(COVERAGE),$(BIN)/coverage combine -q && $(BIN)/coverage report --fail-under=85)
	@$(if $(and $(COVERAGE),$(RESULTS)),$(BIN)/coverage json -q -o $(RESULTS)/coverage.json)

integration: setup-dev tests/browser/node_modules ## tests with real processes
	@$(BIN)/python -m $(PYTEST) tests/integration

test-install: setup-dev ## install, upgrade, remove: in a folder and, as root, in a clean Debian with systemd; MINUTES=2
	@MINUTES=$(or $(MINUTES),2) $(BIN)/python -m pytest -s tests/install

chaos: setup-dev ## random kills and outages, every sample counted; damaged files; power cuts; MINUTES=10 SEED=
	@$(BIN)/python -m tests.chaos --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED))
	@$(BIN)/python -m tests.chaos.portal --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED))
	@$(BIN)/python -m tests.chaos.corruption --cases 500 --flips 500 $(if $(SEED),--seed $(SEED))
	@$(BIN)/python -m tests.chaos.power_cut --points 500 $(if $(SEED),--seed $(SEED))
	@WHOLE=1 $(BIN)/python -m $(PYTEST) tests/chaos/test_rescue.py tests/chaos/test_corruption.py tests/chaos/test_power_cut.py \
		tests/integration/test_srt_cuts.py
	@KILLS=100 $(if $(SEED),SEED=$(SEED)) $(BIN)/python -m pytest -q -s tests/integration/test_retention_kills.py

fuzz: setup-dev ## hostile bytes for everything that reads what others say, for MINUTES=10, or INPUTS=100000 for each; SEED= EXAMPLES=1000
	@FUZZ_MINUTES=$(or $(MINUTES),10) $(if $(INPUTS),FUZZ_INPUTS=$(INPUTS)) $(if $(SEED),FUZZ_SEED=$(SEED)) $(BIN)/python -m $(PYTEST) --timeout 0 tests/fuzz
	@EXAMPLES=$(or $(EXAMPLES),1000) $(BIN)/python -m $(PYTEST) --timeout 0 -m hypothesis tests/unit

mutants: setup-dev ## change what decides delivery, one place at a time: a test has to notice; ONLY="outbox audit"
	@$(BIN)/python -m tests.mutants $(ONLY)

soak: setup-dev ## the pipeline for HOURS=1; memory, descriptors and file sizes, with their slopes
	@$(BIN)/python -m tests.chaos.soak --hours $(or $(HOURS),1)

bench: setup-dev ## what it costs on this machine, beside its budget; SIZE=quick|usual|full JSON=file URL=server; 9 minutes, quick 1/2
	@$(BIN)/python -m tests.bench --size $(or $(SIZE),usual) $(if $(JSON),--json $(JSON)) $(if $(URL),--server $(URL))

fleet: setup-dev ## many devices and one server that goes away and comes back; DEVICES=500 MINUTES=6
	@$(BIN)/python -m tests.bench.fleet --devices $(or $(DEVICES),500) --minutes $(or $(MINUTES),6)

wheelhouse: setup ## the packages of requirements.lock in WHEELS=wheelhouse, for deploy/install.sh --wheels
	@$(BIN)/python -m pip download --quiet --disable-pip-version-check --require-hashes --dest $(or $(WHEELS),wheelhouse) \
		-r requirements.lock && echo "packages for this Python and machine are in $(or $(WHEELS),wheelhouse)"

deb: setup ## the Debian package for ARCH=amd64 or arm64, in DEB=.; its libraries are inside
	@PYTHON="$$(cd $(BIN) && pwd)/python" deploy/deb/build.sh $(or $(ARCH),$(shell dpkg --print-architecture)) "$(or $(DEB),.)"

release: setup ## both packages, sources, notes and sums of this commit, and its tag; DIST=dist/VERSION
	@PYTHON="$$(cd $(BIN) && pwd)/python" deploy/release.sh $(DIST)

deploy: setup ## this version onto HOST="user@box ...", over ssh; back to the one before where health does not come
	@PYTHON="$$(cd $(BIN) && pwd)/python" deploy/deploy.sh $(HOST)

lint: setup-dev ## ruff
	@$(BIN)/python -m ruff check . && $(BIN)/python -m ruff format --check .

types: setup-dev ## mypy --strict
	@$(BIN)/python -m mypy

format: setup-dev ## let ruff format
	@$(BIN)/python -m ruff format . && $(BIN)/python -m ruff check --fix .

fixtures: setup-dev ## write the expected samples of recorded hosts anew; review the diff
	@$(BIN)/python -m tests.unit.collectors.rewrite_expected

docs: setup ## write the generated pages anew: metric and configuration reference, deploy/config.yaml
	@$(BIN)/python -m docs.generate

lock: ## resolve requirements.in and requirements-dev.in anew (needs uv)
	@for name in requirements requirements-dev; do uv pip compile --universal --python-version 3.10 \
		--generate-hashes --no-emit-index-url --no-emit-find-links --no-header --quiet -o $$name.lock $$name.in; done

clean: ## remove the venv and caches; RUN_DIR stays
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.*
