.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo up test test-slow lint format bench-venv bench-speed bench-ingest bench-published faults soak audit sbom \
	constraints clean
MAKEFLAGS += --no-print-directory
# Many processes start here, each of which would compile everything anew.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
# A requirement, or the path of a wheel. pip finds it wherever pip.conf and PIP_FIND_LINKS look.
TORCH ?= torch
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check
# uv does not read pip's settings; it keeps the torch that pip has installed.
UV := UV_FIND_LINKS="$(PIP_FIND_LINKS)" $(if $(PIP_INDEX_URL),UV_DEFAULT_INDEX="$(PIP_INDEX_URL)") VIRTUAL_ENV="$(VENV)" $(BIN)/uv

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/embedded ## start everything, train a classifier of handwritten digits, show and fetch its results, stop
	@$(BIN)/python -m client demo

up: $(VENV)/embedded ## the service on this machine, data in .data, until Ctrl-C
	@exec $(BIN)/python -m client up

test: $(VENV)/dev ## the tests that take seconds
	$(BIN)/python -m pytest -n 2 --dist loadgroup -q -m "not slow"

test-slow: $(VENV)/dev ## the tests that take minutes
	$(BIN)/python -m pytest -n 2 --dist loadgroup -q -m slow

lint: $(VENV)/dev ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/dev ## put the source into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench-venv: ## those whom bench-speed compares with, into .venv-bench
	@$(MAKE) VENV=.venv-bench .venv-bench/bench

bench-speed: $(VENV)/dev bench-venv ## the time of a training step, ours and others': about 20 minutes
	$(BIN)/python -m bench.speed --write docs/performance.md

bench-ingest: $(VENV)/dev ## what becomes of hostile files, beside pandas and pyarrow: about 3 minutes
	$(BIN)/python -m bench.ingest --write docs/ingest.md

bench-published: $(VENV)/dev ## scores beside published ones: about 30 minutes
	$(BIN)/python -m bench.published --write docs/published.md

faults: $(VENV)/dev ## every fault on both databases, and what was measured: about three hours
	$(BIN)/python -m tests.faults.matrix --write docs/reliability.md

soak: $(VENV)/dev ## half an hour of random faults, seeded, then whether every promise held
	$(BIN)/python -m tests.faults.soak

audit: $(VENV)/uv ## known vulnerabilities in what constraints.txt names
	$(UV) tool run --from pip-audit==2.10.1 pip-audit --requirement constraints.txt --no-deps --disable-pip

sbom: $(VENV)/uv ## what an installation is made of, as CycloneDX, into build/sbom.json
	@mkdir -p build
	$(UV) pip compile --quiet --no-annotate --no-header --python-version 3.11 --extra api --extra worker \
		--constraint constraints.txt --output-file build/installed.txt pyproject.toml
	$(UV) tool run --from cyclonedx-bom==7.5.0 cyclonedx-py requirements --pyproject pyproject.toml \
		--output-file build/sbom.json build/installed.txt

constraints: $(VENV)/uv ## renew the versions that everything is tested with
	$(UV) pip compile --quiet --upgrade --python-version 3.11 --extra dev --no-annotate \
		--custom-compile-command "make constraints" --output-file constraints.txt pyproject.toml
	sed -i.old 's/^\(torch==[^+ ]*\)+[^ ]*/\1/' constraints.txt && rm constraints.txt.old

clean: ## remove what was built; .data stays
	rm -rf $(VENV) .venv-bench build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What is installed, one stamp per step.

$(VENV)/uv:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python" >&2; exit 1; }
	@echo "making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) 2>/dev/null \
		|| { $(PYTHON) -m pip install --quiet --target build/virtualenv virtualenv \
		&& PYTHONPATH=build/virtualenv $(PYTHON) -m virtualenv --quiet --clear $(VENV); }
	@$(PIP) uv || echo "no uv here; pip does its work, more slowly"
	@touch $@

$(VENV)/torch: $(VENV)/uv
	@echo "installing torch"
	@$(PIP) --constraint constraints.txt "$(TORCH)"
	@$(BIN)/python -W ignore -c 'import torch; print("note: this torch is built for CUDA, but there is no GPU; the CPU build is far smaller") if torch.version.cuda and not torch.cuda.is_available() else None'
	@touch $@

$(VENV)/embedded $(VENV)/dev $(VENV)/bench: $(VENV)/torch pyproject.toml constraints.txt
	@echo "installing fitd[$(@F)]"
	@$(UV) pip install --quiet --constraint constraints.txt --editable '.[$(@F)]' 2>/dev/null \
		|| $(PIP) --constraint constraints.txt --editable '.[$(@F)]'
	@touch $@
