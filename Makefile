# Every command of the project; `make` alone lists them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Tests mostly wait for the servers that they start, so more of them than cores run side by side.
PROCESSES ?= 3

.DEFAULT_GOAL := help
.PHONY: help install run test test-all fuzz faults soak check lint-deploy audit lock format bench scale-out clean tools tools-all up

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 …")'
	@echo "installing the gateway and its tools into $(VENV), which takes a minute or two"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

install: $(VENV)/.installed ## install the gateway and its tools into .venv, and nothing else
	@:

run: $(VENV)/.installed ## start a gateway on port 8000, without Redis
	@$(BIN)/gateway secrets --env-file .env
	@$(BIN)/gateway serve

test: $(VENV)/.installed tools ## run the tests, without those that take long
	@$(BIN)/pytest -n $(PROCESSES) --dist loadfile -m "not long" --ignore tests/faults
	@$(BIN)/pytest -m "not long and not faults and not soak" tests/faults

test-all: $(VENV)/.installed tools-all ## run every test that this machine can run
	@$(BIN)/pytest --ignore tests/faults
	@$(BIN)/pytest -m "not soak" tests/faults

fuzz: $(VENV)/.installed tools ## throw anything at every parser and every endpoint, for half an hour
	@FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-5000} $(BIN)/pytest -n $(PROCESSES) --timeout 1800 -m hypothesis tests/unit
	@$(BIN)/pytest -m long tests/integration/openapi

faults: $(VENV)/.installed tools ## break everything for half an hour, and note what came of it
	@FAULTS_FULL=1 $(BIN)/pytest -m "not soak" tests/faults
	@$(BIN)/python -m tests.faults.support.results

soak: $(VENV)/.installed tools ## load and faults for an hour, or for SOAK_SECONDS
	@FAULTS_FULL=1 $(BIN)/pytest -m soak tests/faults

check: $(VENV)/.installed ## lint, types and architecture
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

lint-deploy: $(VENV)/.installed tools-all ## ask haproxy, nginx, helm and systemd what they think of deploy/
	@$(BIN)/pytest -q tests/e2e/test_helm.py tests/e2e/test_deploy_docs.py tests/e2e/test_proxies.py \
		-k "nothing_wrong or kubernetes or unit or balancer_is_checked"

# ecdsa comes with python-jose, is never imported here, and will not be mended: docs/security.md, S59.
# The two names are of one advisory; an index may know either.
audit: $(VENV)/.installed ## ask PyPI for known vulnerabilities of the pinned versions
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt pip-audit==2.10.1
	@$(BIN)/pip-audit --strict --disable-pip --no-deps -r constraints.txt \
		--ignore-vuln GHSA-wj6h-64fc-37mp --ignore-vuln PYSEC-2026-1325

lock: $(VENV)/.installed ## write deploy/*.lock anew, after a change of versions
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt uv==0.13.9
	@./scripts/lock

format: $(VENV)/.installed ## format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(VENV)/.installed tools ## measure this machine's gateway, in about five minutes
	@$(BIN)/gateway bench

scale-out: $(VENV)/.installed tools ## measure several replicas in six minutes, and fill in docs/scaling.md
	@$(BIN)/gateway bench --only crowd --only channels --json bench/figures/bench.json
	@$(BIN)/python -m bench.scale_out --json bench/figures/scale_out.json
	@$(BIN)/python -m bench.scaling.page docs/scaling.md

tools: ## install the servers and tools that the tests start, where that is possible
	@./scripts/install-tools

tools-all: ## the same, and what only the long tests need
	@./scripts/install-tools all

up: ## start three replicas, Redis, MariaDB and HAProxy with Docker
	docker compose up --build

clean: ## remove everything that was made here, but .env and the accounts in gateway.db
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
