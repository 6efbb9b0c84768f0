# Every target sets up what it needs; nothing has to be installed beforehand but
# Linux, Python >= 3.11 (with venv) and git.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup-stamp
# llama.cpp for any x86-64 of the last ten years, so that pip's cached wheel can be moved.
LLAMA_CMAKE ?= -DGGML_NATIVE=OFF -DLLAVA_BUILD=OFF -DLLAMA_CURL=OFF

.PHONY: setup demo test check bench forge-tiny lock audit sbom sdk-js clean help

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

setup: $(STAMP) ## Create .venv with pinned, tested versions

$(STAMP): pyproject.toml constraints.txt requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed: make setup PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@command -v c++ >/dev/null || { echo "A C++ compiler is needed to build llama.cpp (Debian: apt-get install g++)"; exit 1; }
	CMAKE_ARGS="$(LLAMA_CMAKE)" $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	CMAKE_ARGS="$(LLAMA_CMAKE)" $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: setup ## From this repository to a fine-tuned model, in a few minutes
	$(BIN)/aiforge demo

test: setup ## Run the tests
	$(BIN)/python -m pytest

check: setup ## Lint, types, layers, configuration files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/configs

bench: setup ## Run every benchmark beside its peer and write benchmarks/results/*.json
	@mkdir -p benchmarks/results
	@for name in $(sort $(filter-out common raft_scale raft_commits,$(basename $(notdir $(wildcard benchmarks/*.py))))); do \
	  echo "== $$name"; \
	  $(BIN)/python benchmarks/$$name.py --json benchmarks/results/$$name.json $(BENCH_ARGS) || exit 1; \
	done

lock: setup ## Write requirements.lock: the pins of constraints.txt with their hashes
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@{ sed -n '/^#/p;/^#/!q' requirements.lock; \
	  grep -v '^torch==' constraints.txt | $(BIN)/uv pip compile - --quiet --no-deps --generate-hashes \
	    --no-header --no-annotate --python-version 3.11; } > requirements.lock.new
	@mv requirements.lock.new requirements.lock

audit: setup ## Ask the vulnerability service about every pin; .ci/audit-exceptions.txt lists exceptions
	$(BIN)/python .ci/audit.py

sbom: setup ## Write the bill of materials of the environment, sbom.cdx.json (CycloneDX)
	$(BIN)/cyclonedx-py environment $(BIN)/python --pyproject pyproject.toml \
	  --output-reproducible --of JSON -o sbom.cdx.json

sdk-js: setup ## Generate, build and test the JavaScript client (needs Node 18 or newer)
	cd sdks/javascript && npm ci --no-audit --no-fund && npm run types && npm run build
	$(BIN)/python -m pytest tests/sdks

forge-tiny: setup ## Train the shipped base model again (about an hour on two cores)
	$(BIN)/python -m aiforge.training.pretrain

clean: ## Remove the environment and all caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
