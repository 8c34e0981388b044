# Every target sets itself up: Python 3.11 or newer, make and git are all it needs.

PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3 python3.14; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
PEERS := .cache/bench-peers
CODE := src tests alembic devprovider prove bench

# Every process starts much faster from compiled modules.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo run run-simulated migrate seed audit test lint fmt openapi lock clean prove prove-litellm bench bench-granulation

help: ## show the targets
	@grep -E '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 16

demo: $(VENV)/.runtime ## a real document becomes a priced course: make demo [FILE=your.md] [TOPIC="…"] [TYPE=course|quiz|flashcards|document|learning_path|knowledge_map|workflow|novel]
	@$(BIN)/aifactory demo $(if $(FILE),"$(FILE)") $(if $(TOPIC),--topic "$(TOPIC)") --type "$(or $(TYPE),course)"

run: $(VENV)/.runtime ## serve the API and run the scheduler
	@exec $(BIN)/aifactory serve

run-simulated: $(VENV)/.runtime ## serve with the simulated provider beside it: no key, answers by rules
	@AIFACTORY_PROVIDERS_FILE=devprovider/providers.toml \
		exec $(BIN)/python -m devprovider --port 8500 -- $(BIN)/aifactory serve

migrate: $(VENV)/.runtime ## bring the database to this version's schema
	@$(BIN)/aifactory migrate

seed: $(VENV)/.runtime ## make the admin and the demo client, and print their secrets once
	@$(BIN)/aifactory seed

audit: $(VENV)/.runtime ## rebuild every balance from the ledger and print the differences
	@$(BIN)/aifactory audit

test: $(VENV)/.dev ## run all tests
	$(BIN)/pytest -n auto --dist worksteal $(ARGS)

prove: $(VENV)/.dev ## every proof at full size, the shortest first: 2.5 to 5 hours, 20 GB; or PROOFS="speed fleet"
	@$(BIN)/python -m prove $(PROOFS) $(ARGS)

prove-litellm: $(VENV)/.dev ## a second server between us and the provider: 5 minutes, 750 MB for LiteLLM in .cache
	@$(BIN)/python -m prove litellm $(ARGS)

bench: $(VENV)/.dev ## beside PgQueuer and Procrastinate: an hour; QUICK=1: under 5 minutes; or BENCH="drain idle"
	@$(MAKE) --no-print-directory $(PEERS)/.ready || echo "The peers can't be installed."
	@$(BIN)/python -m bench $(BENCH) $(if $(QUICK),--quick) $(ARGS)

bench-granulation: $(VENV)/.dev ## what granulation promises, on documents of this machine; QUICK=1: under a minute; or BENCH="speed items"
	@$(BIN)/python -m bench.granulation $(BENCH) $(if $(QUICK),--quick) $(ARGS)

lint: $(VENV)/.dev ## ruff, mypy strict, import-linter, the committed OpenAPI document
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/aifactory openapi | diff -u docs/openapi.json - || (echo "run: make openapi" && exit 1)

fmt: $(VENV)/.dev ## format the code
	$(BIN)/ruff check --fix-only $(CODE)
	$(BIN)/ruff format $(CODE)

openapi: $(VENV)/.runtime ## write docs/openapi.json
	$(BIN)/aifactory openapi > docs/openapi.json.new && mv docs/openapi.json.new docs/openapi.json

lock: $(VENV)/.dev ## pin what pyproject.toml asks for, with hashes
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
		--no-header --no-emit-index-url pyproject.toml -o requirements.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
		--no-header --no-emit-index-url pyproject.toml --group dev -o requirements-dev.txt

clean: ## remove the environment; the data in .aifactory stays
	rm -rf $(VENV)

# uv installs in seconds what takes pip half a minute; where it can't be had or fails, pip does it.
UV := UV_SYSTEM_CERTS=1 $(BIN)/python -m uv pip install --quiet --python $(BIN)/python
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

define install
	@$(BIN)/python -m uv --version >/dev/null 2>&1 || $(PIP) uv || echo "no uv here; pip does the work"
	@($(UV) --require-hashes -r $(1) && $(UV) --no-deps -e .) \
		|| ($(PIP) --require-hashes -r $(1) && $(PIP) --no-deps -e .)
	@touch $@
endef

$(BIN)/python:
	@test -n "$(PYTHON)" || (echo "Python 3.11 or newer is needed and was not found; set PYTHON=..." && exit 1)
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.txt pyproject.toml | $(BIN)/python
	$(call install,requirements.txt)

$(VENV)/.dev: requirements-dev.txt pyproject.toml | $(BIN)/python
	$(call install,requirements-dev.txt)
	@touch $(VENV)/.runtime

# What the product is measured beside never gets into its own environment.
$(PEERS)/.ready: bench/requirements-peers.txt | $(VENV)/.dev
	@rm -rf $(PEERS) && $(PYTHON) -m venv $(PEERS)
	@UV_SYSTEM_CERTS=1 $(BIN)/python -m uv pip install --quiet --python $(PEERS)/bin/python --require-hashes -r $< \
		|| $(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@
