# Every command of the project; `make` alone lists them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help run test test-all check format bench clean tools up

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(VENV)/.installed: pyproject.toml constraints.txt
	@echo "installing the gateway and its tools into $(VENV)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

run: $(VENV)/.installed ## start a gateway on port 8000, without Redis
	@$(BIN)/gateway secrets --env-file .env
	@$(BIN)/gateway serve

test: $(VENV)/.installed tools ## run the tests, without those that take long
	@$(BIN)/pytest -m "not long"

test-all: $(VENV)/.installed tools ## run every test that this machine can run
	@$(BIN)/pytest

check: $(VENV)/.installed ## lint, types and architecture
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.installed ## format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(VENV)/.installed tools ## measure this machine's gateway, in about five minutes
	@$(BIN)/gateway bench

tools: ## install Redis, HAProxy, MariaDB and PostgreSQL for the tests, where that is possible
	@./scripts/install-tools

up: ## start three replicas, Redis, MariaDB and HAProxy with Docker
	docker compose up --build

clean: ## remove everything that was made here, but .env and the accounts in gateway.db
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
