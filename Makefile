# Two commands do all the set-up: `make demo` and `make test`. The others say what they do below.

SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
# Compiled files are written on first use: half the size on disk, and fast from the second start on.
export PYTHONDONTWRITEBYTECODE :=
# Twice quiet: what pip warns of is its own configuration. `make QUIET= demo` shows what it does.
QUIET ?= -qq
PIP := $(BIN)/pip install $(QUIET) --no-compile --disable-pip-version-check --constraint constraints.txt
# Two files of tests at a time (tests/conftest.py says which stay together), the longest first.
TWO := --numprocesses 2 --dist loadscope --no-loadscope-reorder

WHEEL := $(CURDIR)/test-output/wheel

.PHONY: demo test check check-wheel lab lint docs wheel format bench bench-quick soak clean help

help:            ## list these commands
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 16

demo: .venv/.ready   ## the main job for one machine on embedded services: seed, train, generate, report, notebook
	$(BIN)/gan-lab fleet motor_siemens_001
	@echo 'Here, JupyterLab is: make lab'

test: .venv/.ready-test   ## lint and every test; installs Chromium where there is none
	@$(MAKE) --no-print-directory lint check-wheel
	@if $(BIN)/python -m tests.browser.chromium; then \
		$(BIN)/python -m pytest -m slow $(TWO); \
	else \
		$(BIN)/python -m pytest -m slow $(TWO) --ignore tests/browser; \
		echo "tests/browser did not run: no Chromium could be installed." >&2; exit 1; \
	fi

check: .venv/.ready-test  ## what one runs while coding: the quick tests, two at a time
	$(BIN)/python -m pytest -m "not slow" $(TWO)

check-wheel: .venv/.ready-test  ## the same, of what `make wheel` builds, in an environment that does not know this folder
	@rm -rf $(WHEEL) && mkdir -p $(WHEEL)/clone
	@$(BIN)/python -m build --no-isolation --outdir $(WHEEL) . > $(WHEEL)/build.log || { cat $(WHEEL)/build.log; exit 1; }
	@tar -xzf $(WHEEL)/*.tar.gz --strip-components 1 -C $(WHEEL)/clone && rm -r $(WHEEL)/clone/gan_lab
	@$(BIN)/python -m venv --without-pip $(WHEEL)/.venv
	@$(BIN)/python -m pip --python $(WHEEL)/.venv/bin/python install -qq --no-deps --no-index $(WHEEL)/*.whl
	@cd $(WHEEL)/.venv/lib/python3*/site-packages && ln -s $$PWD/gan_lab $(WHEEL)/clone/gan_lab \
		&& $(CURDIR)/$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > dependencies.pth
	cd $(WHEEL)/clone && GAN_LAB_TEST_DATA=$${GAN_LAB_TEST_DATA:-$(CURDIR)/../shared/data} \
		PATH=$(WHEEL)/.venv/bin:$(CURDIR)/$(BIN):$$PATH $(WHEEL)/.venv/bin/python -m pytest -m "not slow" $(TWO)

lab: .venv/.ready     ## JupyterLab on the notebooks
	$(BIN)/gan-lab lab

lint: .venv/.ready-test   ## ruff, mypy, import-linter, notebooks without outputs
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache >/dev/null || $(BIN)/lint-imports --no-cache
	$(BIN)/nbstripout --verify notebooks/*.ipynb

docs: .venv/.ready-test   ## the documentation as a site in docs/_build, its notebooks executed
	$(BIN)/sphinx-build -q -W --keep-going -t executed docs docs/_build
	@echo "Open docs/_build/index.html"

wheel: .venv/.ready       ## dist/gan_lab-*.whl, to be installed without a clone
	$(BIN)/pip wheel -qq --no-deps --wheel-dir dist .

format: .venv/.ready-test ## bring code and notebooks into shape
	$(BIN)/ruff check --quiet --fix .
	$(BIN)/ruff format --quiet .
	$(BIN)/nbstripout notebooks/*.ipynb

bench: .venv/.ready-test  ## every measured claim, side by side in one run (long)
	$(BIN)/python -m bench

bench-quick: .venv/.ready-test  ## the same, smaller
	$(BIN)/python -m bench --quick

soak: .venv/.ready-test   ## ten minutes of random faults
	$(BIN)/python -m bench.soak --minutes 10

clean:           ## remove what was made: environment, caches, runs, tables; never your machines
	-test ! -x $(BIN)/gan-lab || $(BIN)/gan-lab down
	rm -rf .venv .mypy_cache .ruff_cache test-output bench-output dist docs/_build data/seed data/synthetic
	find runs -mindepth 1 -not -name .gitkeep -delete

# torch first and alone: any other way fetches gigabytes of another build
.venv/.ready: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing what is pinned in constraints.txt into .venv (a few minutes the first time) ..."
	@$(PIP) "$$(grep -E '^torch==' constraints.txt)"
	@$(PIP) --editable .
	@touch $@

.venv/.ready-test: .venv/.ready
	@$(PIP) --editable '.[test,docs]'
	@touch $@
