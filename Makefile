# optimlab: `make` lists the targets.

override VENV := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

PYTHON     ?= python3
EXPERIMENT ?= digits
JOBS       ?=
RESULTS    ?= results
QUICK      ?=
BEFORE     ?=

# Values reach the commands through the environment, unchanged: make expands nothing in them, and the shell
# runs nothing.
override PYTHON     := $(value PYTHON)
override EXPERIMENT := $(value EXPERIMENT)
override JOBS       := $(value JOBS)
override RESULTS    := $(value RESULTS)
override QUICK      := $(value QUICK)
override BEFORE     := $(value BEFORE)
export PYTHON EXPERIMENT JOBS RESULTS QUICK BEFORE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# The environment is made anew when pyproject.toml or the pinned versions are newer than the environment.
# Where the system has flock, a second make waits for the first, and uses what it has set up.
$(READY): pyproject.toml constraints.txt
	@"$$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "optimlab needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ..."; exit 1; }
	@exec 9<pyproject.toml; ! command -v flock >/dev/null || flock 9; \
	if [ $@ -nt pyproject.toml ] && [ $@ -nt constraints.txt ]; then exit 0; fi; \
	echo "Setting up $(VENV) (once; a minute or two)" && \
	"$$PYTHON" -m venv --clear $(VENV) && \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --config-settings editable_mode=compat -e '.[test]' && \
	touch $@

.PHONY: sweep
sweep: $(READY)  ## Train the missing runs of an experiment [EXPERIMENT=digits JOBS=2]
	@$(BIN)/python -m optimlab sweep --results="$$RESULTS" $${JOBS:+--jobs="$$JOBS"} -- "$$EXPERIMENT"

.PHONY: plots
plots: $(READY)  ## Draw all figures and write results/report.html
	@$(BIN)/python -m optimlab plots --results="$$RESULTS"

.PHONY: verify
verify: $(READY)  ## Train some of the stored runs again and compare every bit
	@$(BIN)/python -m optimlab verify --results="$$RESULTS" $${JOBS:+--jobs="$$JOBS"} -- "$$EXPERIMENT"

.PHONY: list
list: $(READY)  ## Show experiments, optimizers and problems
	@$(BIN)/python -m optimlab list

.PHONY: test
test: export OMP_NUM_THREADS = 1
test: export PYTHONDONTWRITEBYTECODE =
test: $(READY)  ## Run the tests that are quick (two minutes on two cores)
	@$(BIN)/python -m pytest -q -n auto --dist worksteal -m 'not slow and not parity' --hypothesis-profile=quick

# The tests of the loops that numba compiles, which see each line and branch where it does not.
LOOPS := $(addprefix tests/test_, activations.py compiled.py layers.py losses.py optimizers.py)

.PHONY: coverage
coverage: export OMP_NUM_THREADS = 1
coverage: $(READY)  ## Run all tests, including slow ones, and list lines and branches not reached
	@NUMBA_DISABLE_JIT=1 $(BIN)/python -m pytest -q --cov --cov-report= $(LOOPS)
	@$(BIN)/python -m pytest -q -n auto --dist worksteal --cov --cov-append --cov-report=term-missing:skip-covered --cov-fail-under=95

# The libraries are large, so they are installed only for this target. One thread keeps sums in order.
$(VENV)/.parity: $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --config-settings editable_mode=compat -e '.[test,parity]'
	@touch $@

.PHONY: parity
parity: export OMP_NUM_THREADS = 1
parity: $(VENV)/.parity  ## Compare the rules and the network with PyTorch, optax and Keras, live
	@$(BIN)/python -m pytest -q -m parity tests/parity tests/test_benchmarks.py
	@$(BIN)/python tests/parity/report.py

.PHONY: lint
lint: $(READY)  ## Check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

# A library that cannot be installed is left out of the tables, with a message.
$(VENV)/.bench: $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --config-settings editable_mode=compat -e '.[test,bench]' \
		&& touch $@ || echo 'PyTorch and JAX could not be installed'

.PHONY: bench
bench: $(VENV)/.bench  ## Time optimlab beside PyTorch, JAX and scikit-learn (ten minutes) [QUICK=1] [BEFORE=another checkout]
	@$(BIN)/python -m benchmarks --results="$$RESULTS" $${QUICK:+--quick} $${BEFORE:+--before="$$BEFORE"}

# Only files that optimlab wrote are deleted; an environment is made first only if there is none to run this.
.PHONY: clean
clean: $(if $(wildcard $(BIN)/python),,$(READY))  ## Delete results and environment, after confirmation
	@$(BIN)/python -m optimlab clean --environment=$(VENV) --results="$$RESULTS"
