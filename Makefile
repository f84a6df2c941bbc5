# make lab       open the quickstart in JupyterLab (BROWSER=none PORT=8899 for headless use)
# make test      what CI runs: lint, types, doctests, tests, notebooks and browser tests
# make quick     lint, spelling, types and the quick tests
# make test-all  what CI has no time for as well; takes about an hour
# make bench     list the benchmarks; NAME=gap runs one, ARGS="--quick" is passed on to it, and
#                NAME=report renews every table that is out of date (ARGS=--list only lists them)
# make docs      searchable API pages in build/docs
# make course    the student versions of the course, from the instructor's
# make links     addresses and badges that open this repository in Binder and Colab; WRITE=yes lets
#                the notebooks install from this address where the package is missing
# make previews  draw the figures that the index shows; make pages: all notebooks, executed, as HTML
# make film      film the dashboard for the README
# make format    let ruff rewrite what it can
# make clean     remove the virtual environment, caches and build/
#
# TORCH=... chooses a torch other than the CPU build, for example
#   make lab TORCH="torch --index-url https://download.pytorch.org/whl/cu128"

PYTHON ?= python3
PORT ?= 8888
NOTEBOOK ?= 01-quickstart.ipynb
PYTEST_ARGS ?=
JOBS ?= 2
NAME ?=
ARGS ?=
WRITE ?=

BIN := .venv/bin
export TORCH

.PHONY: help lab test test-all quick lint compiled bench docs course links previews pages film format clean again

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

# Local only. Root needs Jupyter's consent; BROWSER=none just prints the address. Below WARN Jupyter
# prints the address too, between thirty lines about its extensions.
lab: .venv/installed-lab
	$(BIN)/jupyter lab --ServerApp.root_dir=notebooks --LabApp.default_url=/lab/tree/$(NOTEBOOK) \
	    --ServerApp.ip=127.0.0.1 --ServerApp.port=$(PORT) --ServerApp.log_level=WARN \
	    $(if $(filter 0,$(shell id -u)),--allow-root) $(if $(filter none,$(BROWSER)),--no-browser)

# Two processes of two threads on two cores: a thread that waits for another gives its core away
# instead of spinning, which changes no bits and saves a fifth of the processor's time. What uses
# one core runs beside something else, and the notebooks, which take longest, come first.
test: export OMP_WAIT_POLICY = PASSIVE
test:
	@$(MAKE) --no-print-directory -j2 system .venv/installed-test
	@$(MAKE) --no-print-directory -j2 lint compiled
	UNLEARNKIT_REQUIRE_BROWSER= $(BIN)/python -m pytest -m "not browser and not weekly" -n $(JOBS) --dist worksteal --nbmake \
	    notebooks unlearnkit tests --ignore=notebooks/course $(PYTEST_ARGS)
	$(BIN)/python -m pytest -m browser tests/browser $(PYTEST_ARGS)

# The processor's vector instructions and the number of threads may change no result that a test
# states; benchmarks run in their short form.
test-all: test
	for capability in default avx2; do \
	    ATEN_CPU_CAPABILITY=$$capability OMP_NUM_THREADS=1 $(BIN)/python -m pytest \
	        -m "not browser and not weekly" -n $(JOBS) --dist worksteal $(PYTEST_ARGS) || exit 1; \
	done
	$(BIN)/python -m pytest -m weekly --timeout 3600 $(PYTEST_ARGS)

quick: lint
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: .venv/installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell
	$(BIN)/mypy --strict unlearnkit

# pip leaves this to the first import, which two processes would do at once. Packages bring a few
# files that Python cannot compile.
compiled: .venv/installed-test
	@$(BIN)/python -m compileall -qq -x '/tests?/' .venv/lib 2>/dev/null || true

# Without a name nothing needs to be installed.
bench: $(if $(NAME),.venv/installed-test)
	@$(if $(NAME),$(BIN)/python,$(PYTHON)) tests/benchmarks/run.py $(NAME) $(ARGS)

docs: .venv/installed-docs
	$(BIN)/python .ci/docs.py build/docs

# nbgrader calls alembic by name.
course: .venv/installed-test
	cd notebooks/course && for name in workload retraining influence audit; do \
	    PATH="$(CURDIR)/$(BIN):$$PATH" nbgrader generate_assignment $$name --force --log-level=WARN || exit 1; \
	done

# Without an installation, so that it works in a fresh clone.
links:
	@$(PYTHON) .ci/links.py $(if $(filter yes,$(WRITE)),--write)

# NAME=05 draws those of one notebook.
previews: .venv/installed-test
	$(BIN)/python .ci/previews.py $(NAME)

pages: .venv/installed-test
	$(BIN)/python .ci/previews.py --pages build/docs/notebooks

film: .venv/installed-test
	PYTHONPATH=tests/browser $(BIN)/python .ci/film.py

format: .venv/installed-test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Not while Python's venv may be being installed, for which apt is locked.
.PHONY: system
system: | $(BIN)/python
	@bash .ci/system.sh

clean:
	rm -rf .venv build .mypy_cache .pytest_cache .ruff_cache .hypothesis

# One stamp an extra. With TORCH=... the installer always looks, and does nothing if it has it.
STAMP_NEEDS := pyproject.toml binder/constraints.txt .ci/install.py $(if $(strip $(TORCH)),again)

# The settings switch off Lab's question about news and its look for updates: nothing leaves the
# machine unasked.
LAB_SETTINGS := .venv/share/jupyter/lab/settings

.venv/installed-lab: $(STAMP_NEEDS) binder/overrides.json | $(BIN)/python
	@$(BIN)/python .ci/install.py lab
	@mkdir -p $(LAB_SETTINGS)
	@cp binder/overrides.json $(LAB_SETTINGS)/overrides.json
	@touch $@

.venv/installed-test: $(STAMP_NEEDS) | $(BIN)/python
	@$(BIN)/python .ci/install.py lab test
	@mkdir -p .venv/etc/jupyter/labconfig
	@echo '$(LAB_WITHOUT_COURSE)' > .venv/etc/jupyter/labconfig/page_config.json
	@echo '$(SERVER_WITHOUT_COURSE)' > .venv/etc/jupyter/jupyter_server_config.json
	@touch $@

.venv/installed-docs: $(STAMP_NEEDS) | $(BIN)/python
	@$(BIN)/python .ci/install.py docs
	@touch $@

# The tests grade the course with nbgrader. It and the Notebook that it brings along would add menus
# to the Lab of this environment.
define LAB_WITHOUT_COURSE
{"disabledExtensions": {"@jupyter/nbgrader": true, "@jupyter-notebook/lab-extension": true}}
endef
define SERVER_WITHOUT_COURSE
{"ServerApp": {"jpserver_extensions": {"nbgrader.server_extensions.formgrader": false, "nbgrader.server_extensions.validate_assignment": false, "nbgrader.server_extensions.assignment_list": false, "nbgrader.server_extensions.course_list": false, "notebook": false}}}
endef

again:

# Debian ships venv's pip apart from Python.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "unlearnkit needs Python 3.11 or newer; PYTHON=/path/to/python chooses one."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { [ "$$(id -u)" = 0 ] && \
	    apt-get update -qq && apt-get install -qq -y --no-install-recommends python3-venv; } || \
	    { echo "Python's venv is missing; on Debian: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv .venv
