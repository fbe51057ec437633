# Needs make, git and Python 3.11 or newer; everything else comes from the lock files into .venv.
SHELL := /bin/sh
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
# pip speaks up only when something fails, and does not look for a newer pip.
PIP := $(BIN)/python -m pip --quiet --quiet --disable-pip-version-check

# make demo: how long, at which tape, how fast it is replayed
SECONDS ?= 30
TAPE ?=
SPEED ?=
# make chaos SECONDS=300 SEED=7 CHAOS_ARGS='--mixed --keep results'
SEED ?=
CHAOS_ARGS ?=
DRILL_ARGS ?=
CHAOS_SECONDS = $(if $(filter file,$(origin SECONDS)),300,$(SECONDS))
# make soak: how much of the market each run sees, how many fills the ledger gets, and which market
SOAK_EVENTS ?= 10000
SOAK_FILLS ?= 20000
SOAK_SEED ?= 1
# make fuzz: spoiled inputs for each test; a tenth where one is slow (about 8 minutes on 2 cores)
FUZZ_EXAMPLES ?= 1000
# make model QUICK=1, or VARIANT=nofence TRAIL=1 for one way in which it goes wrong, step by step; JSON=1
VARIANT ?=
MODEL_ARGS = $(if $(VARIANT),--variant "$(VARIANT)") $(if $(TRAIL),--trail) $(if $(QUICK),--quick) $(if $(JSON),--json)
# make bench QUICK=1: every bench quickly; BENCH_ARGS for one of them: make bench BENCHES=fleet BENCH_ARGS='--help'
BENCHES ?= stop_latency stop_all hedge_reaction feed_load rolling_restart decide metrics_overhead iteration_cost \
	fleet recovery sweep_at_scale cli_start quote_reaction side_by_side profit_at_scale
BENCH_ARGS ?= $(if $(QUICK),--quick)
# make bench-smoke KEEP=1: keep the figures in bench/history.jsonl, and draw them
KEEP ?=
# make mutants: which files (hours for all of them), and options (--lines 10-25, --list)
FILES ?= $(wildcard state/lua/*.lua state/lua/parts/*.lua state/*.py) runner/cleanup.py
MUTANTS_ARGS ?=
# make test PYTEST_ARGS="-k stop -x"; TEST_PROCESSES=0 for one process, as --pdb and -s need
PYTEST_ARGS ?=
# Most tests wait for processes, so that more of them than cores run at a time. A file stays together: its
# tests share servers and workers. In the order of the folders: those that take longest begin first.
TEST_PROCESSES ?= 4
PARALLEL = -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

.PHONY: help env env-dev demo test test-drill test-slow test-chaos test-web test-deploy screenshots browser bench bench-smoke chaos drill fuzz mutants model soak lint types imports docs check audit lock clean

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: $(VENV)/.stamp-run ## set up .venv with what Cleanbook runs on

env-dev: $(VENV)/.stamp-dev ## the same, with what tests and checks need

demo: $(VENV)/.stamp-run ## run a market maker on a simulated exchange and stop it clean (SECONDS, TAPE, SPEED)
	@$(BIN)/python manage.py demo --seconds "$(SECONDS)" $(if $(TAPE),--tape "$(TAPE)") $(if $(SPEED),--speed "$(SPEED)")

test: $(VENV)/.stamp-dev ## run the tests (PYTEST_ARGS), without those marked slow
	@$(BIN)/python -m pytest $(PARALLEL) $(PYTEST_ARGS)

test-slow: $(VENV)/.stamp-dev ## run the tests marked slow: each rule of the protocol broken once, PostgreSQL crashed
	@$(BIN)/python -m pytest -m slow $(PARALLEL) $(PYTEST_ARGS)

drill: $(VENV)/.stamp-dev ## lose the leading of three servers again and again while instances trade (SECONDS, SEED, DRILL_ARGS=--hosts)
	@$(BIN)/python -m tests.chaos --sentinels --instances 10 --seconds "$(CHAOS_SECONDS)" $(if $(SEED),--seed "$(SEED)") $(DRILL_ARGS)

test-drill: $(VENV)/.stamp-dev ## three hosts, one of which is cut off (root), as a test with the machine to itself
	@$(BIN)/python -m pytest -m drill tests/chaos -s $(PYTEST_ARGS)

chaos: $(VENV)/.stamp-dev ## kill everything in every way and judge what happened to the orders (SECONDS, SEED, CHAOS_ARGS)
	@$(BIN)/python -m tests.chaos --seconds "$(CHAOS_SECONDS)" $(if $(SEED),--seed "$(SEED)") $(CHAOS_ARGS)

test-chaos: $(VENV)/.stamp-dev ## 60 s of it as a test, with the auditor tried on what it leaves
	@$(BIN)/python -m pytest -m chaos tests/chaos -s $(PYTEST_ARGS)

test-web: $(VENV)/.stamp-dev browser ## the page in a real browser (Debian's Chromium, installed where root runs this)
	@$(BIN)/python -m pytest -m web tests/web $(PYTEST_ARGS)

screenshots: $(VENV)/.stamp-dev browser ## take the pictures in docs/img anew, from a stack that trades
	@$(BIN)/python -m tests.web.screenshots

browser:
	@if ! { command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null 2>&1; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			echo "Installing Chromium, and a font for Chinese"; \
			apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium fonts-noto-cjk >/dev/null; \
		else \
			echo "The tests of the page need Chromium. On Debian or Ubuntu: sudo apt install chromium" >&2; exit 1; \
		fi; \
	fi

fuzz: $(VENV)/.stamp-dev ## feed every reader with thousands of spoiled messages, files and arguments (FUZZ_EXAMPLES)
	@FUZZ_EXAMPLES="$(FUZZ_EXAMPLES)" $(BIN)/python -m pytest tests/fuzz --timeout=0 $(PYTEST_ARGS)

model: $(VENV)/.stamp-dev ## check the model of the protocol with spin, and each rule left out (VARIANT, TRAIL, QUICK, JSON)
	@$(BIN)/python -m tests.model.check $(MODEL_ARGS)

mutants: $(VENV)/.stamp-dev ## change one thing of the code at a time, list what no test notices (FILES, MUTANTS_ARGS)
	@$(BIN)/python -m tests.mutation $(MUTANTS_ARGS) $(FILES)

test-deploy: $(VENV)/.stamp-dev ## check what is in deploy/ with the programs that read it (promtool, systemd-analyze, hadolint)
	@$(BIN)/python -m pytest -m deploy tests/deploy $(PYTEST_ARGS)

bench: $(VENV)/.stamp-dev ## run every bench, one after the other: an hour; QUICK=1 for a look (BENCHES, BENCH_ARGS)
	@for name in $(BENCHES); do echo "== $$name" >&2; $(BIN)/python bench/$$name.py $(BENCH_ARGS) || exit 1; done

bench-smoke: $(VENV)/.stamp-dev ## what must not double, as ratios within one run, in three minutes (KEEP=1 keeps them)
	@$(BIN)/python bench/smoke.py $(if $(KEEP),--keep)
	$(if $(KEEP),@$(BIN)/python bench/plots.py)

soak: $(VENV)/.stamp-dev ## long runs: failing requests, streams, databases; killed workers (SOAK_EVENTS, SOAK_FILLS, SOAK_SEED)
	@SOAK_EVENTS="$(SOAK_EVENTS)" SOAK_FILLS="$(SOAK_FILLS)" SOAK_SEED="$(SOAK_SEED)" $(BIN)/python -m pytest -m soak tests/soak -s $(PYTEST_ARGS)

lint: $(VENV)/.stamp-dev ## ruff: rules and format
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m ruff format --check .

types: $(VENV)/.stamp-dev ## mypy --strict
	@$(BIN)/python -m mypy --strict .

imports: $(VENV)/.stamp-dev ## the import rules between the folders
	@$(BIN)/lint-imports

docs: $(VENV)/.stamp-dev ## build the documentation site, strictly, into build/site
	@$(BIN)/python -m website.assemble build/site-pages
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

check: lint types imports test ## everything that CI runs

audit: $(VENV)/.stamp-audit ## look the locked packages up among known vulnerabilities (AUDIT_ARGS=--strict)
	@$(VENV)/audit/bin/python .ci/audit.py $(AUDIT_ARGS)

lock: ## write requirements*.lock anew from requirements*.in (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes requirements.in -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes requirements-dev.in -o requirements-dev.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes requirements-audit.in -o requirements-audit.lock

clean: ## remove .venv, caches and .run, but for the ledger in it
	if [ -d .run ]; then find .run -mindepth 1 -maxdepth 1 ! -name 'ledger.sqlite*' -exec rm -rf {} +; fi
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build *.egg-info .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A Python that runs (a version manager's stub may be found and yet fail) and is new enough.
$(VENV)/pyvenv.cfg:
	@for candidate in python3.14 python3.13 python3.12 python3.11 python3 python; do \
		if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
			python=$$candidate; \
			"$$candidate" -c 'import ensurepip, venv' >/dev/null 2>&1 && { ready=1; break; }; \
		fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo "Cleanbook needs Python 3.11 or newer, and none was found on PATH." >&2; exit 1; \
	fi; \
	if [ -z "$$ready" ]; then \
		version=$$("$$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
		echo "$$python cannot make virtual environments (venv or ensurepip is missing)." >&2; \
		echo "On Debian or Ubuntu: sudo apt install python$$version-venv" >&2; exit 1; \
	fi; \
	echo "Setting up $(VENV) with $$("$$candidate" --version)"; \
	"$$candidate" -m venv --clear $(VENV)

$(VENV)/.stamp-run: requirements.lock | $(VENV)/pyvenv.cfg
	@echo "Installing from $< (under a minute)"
	@$(PIP) install --require-hashes --no-deps -r $<
	@touch $@

# The development lock holds the run lock's packages, at the same versions.
$(VENV)/.stamp-dev: requirements-dev.lock | $(VENV)/pyvenv.cfg
	@echo "Installing from $< (about a minute)"
	@$(PIP) install --require-hashes --no-deps -r $<
	@touch $@ $(VENV)/.stamp-run

# Of its own: the auditor brings its own pip, and nothing of it is needed elsewhere.
$(VENV)/.stamp-audit: requirements-audit.lock | $(VENV)/pyvenv.cfg
	@$(BIN)/python -m venv --clear $(VENV)/audit
	@$(VENV)/audit/bin/python -m pip --quiet --quiet --disable-pip-version-check install --require-hashes --no-deps -r $<
	@touch $@
