# Everything runs in .venv; `make` alone lists what there is.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
LOCAL := $(BIN)/python -m deploy.local
OLD := Pointmill needs Python 3.11 or later: make PYTHON=/path/to/python3.11
PREPARE := $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "$(OLD)")' && \
	$(PYTHON) -m deploy.local.prepare
EXTRAS := gateway processor notifier client bench
CODE := services shared sql deploy tests
MINUTES ?= 10
PREVIOUS ?= HEAD~1
# What has to do with the broker itself.
BUS_TESTS := tests/integration/shared tests/chaos/test_broker_gives_way.py tests/chaos/test_messages_go_wrong.py \
	tests/chaos/test_servers_go_away.py
# How many mutated files `fuzz-engine` makes, and from which seed.
COUNT ?= 1000
SEED ?= 1
# How many cases of each operation `test-api` makes up.
CASES ?= 30
# Real point clouds, where that folder stands beside the checkout.
CORPUS := $(abspath ../shared/data/las)
ifneq ($(wildcard $(CORPUS)/MANIFEST.csv),)
export POINTMILL_CORPUS ?= $(CORPUS)
endif

.PHONY: help venv demo up down logs status check test chaos soak test-versions test-rabbitmq4 test-api fuzz-engine bench-engine bench-engine-large bench-jobs bench-live contracts lock clean

help: ## List the targets
	@sed -nE 's/^([a-z0-9-]+):[^#]*## (.*)/  \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 22

venv: ## Make .venv from the locks, if it is not up to date
	@$(PREPARE)

demo: ## Start everything, send a small town through it, show what came out
	@$(PREPARE) --servers
	@$(LOCAL) demo

up: ## Start whatever is not running: PostgreSQL, RabbitMQ, sinks, the three services
	@$(PREPARE) --servers
	@$(LOCAL) up

down: ## Stop everything; the data stay
	@if [ -x $(BIN)/python ]; then $(LOCAL) down; else echo "Nothing was running."; fi

logs: ## Follow the logs (make logs PART=gateway for one)
	@$(LOCAL) logs $(PART)

status: ## Say how each part is and where it listens
	@$(LOCAL) status || [ $$? -eq 3 ]

check: venv ## Format, lint, types, import contracts, unit tests: under a minute
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/pytest -q tests/unit

test: ## Everything: the checks, then all tests against the real parts
	@$(PREPARE) --servers --npm tests/browser
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/pytest -n 3 --dist loadfile -m "not chaos"

chaos: ## Break everything in every way of the plan, hold the ten invariants against it, print the table (20 min)
	@$(PREPARE) --servers
	@$(BIN)/pytest -q -n 4 --timeout 400 tests/chaos

soak: ## Thousands of jobs under random faults, after three planted bugs were found (MINUTES=10 SEED=7)
	@$(PREPARE) --servers
	@$(BIN)/python -m tests.chaos.soak --minutes $(MINUTES) $(if $(filter file,$(origin SEED)),,--seed $(SEED))

test-versions: ## The previous commit's services and today's in every combination (PREVIOUS=v0.1.0; 3 min)
	@$(PREPARE) --servers
	@POINTMILL_PREVIOUS=$(PREVIOUS) $(BIN)/pytest -q -n 3 --timeout 400 tests/chaos/test_two_versions.py

test-rabbitmq4: ## The tests of the bus against RabbitMQ 4.0, from Debian 13 unpacked beside (as root; 5 min)
	@$(PREPARE) --servers
	@programs=$$($(BIN)/python -m tests.rabbitmq4 .local/debian13) && export PATH="$$programs:$$PATH" && \
		rabbitmqctl version && $(BIN)/pytest -q --timeout 300 $(BUS_TESTS)

test-api: ## schemathesis over the running gateway: more cases, chains of requests, another seed (CASES=50 SEED=7)
	@$(PREPARE) --servers
	@POINTMILL_SCHEMATHESIS_CASES=$(CASES) POINTMILL_SCHEMATHESIS_SEED=$(SEED) \
		POINTMILL_SCHEMATHESIS_PHASES=examples,coverage,fuzzing,stateful \
		$(BIN)/pytest -q tests/integration/gateway/test_conformance.py

fuzz-engine: venv ## Send 1,000 mutated files through the engine (COUNT=50 SEED=7 for others; 10 min)
	@$(BIN)/python -m tests.fuzz --count $(COUNT) --seed $(SEED)

bench-engine: venv ## Measure the engine on made-up clouds: speed, floor, memory, products, evenness (10 min)
	@$(BIN)/python -m tests.bench.engine

bench-engine-large: venv ## Mill 100 M points: as much memory as for 10 M, and less than the cloud takes
	@$(BIN)/python -m tests.bench.engine --large

bench-jobs: ## Measure the job core beside FastAPI with Celery and with FastStream (10 min)
	@$(PREPARE) --servers
	@$(BIN)/uv venv -q --allow-existing --python $(BIN)/python .local/bench/venv
	@$(BIN)/uv pip sync -q --python .local/bench/venv --require-hashes requirements/bench.txt
	@$(BIN)/python -m tests.bench.jobs

bench-live: up ## Measure 1,000 WebSockets and 200 requests a second at one gateway on one core (1 min)
	@source .local/env && $(BIN)/python -m tests.bench.live

contracts: up ## Write the generated contracts anew: schema.sql, schemas of messages and certificate, broker definitions
	@$(BIN)/python -m shared.messages.publish
	@$(BIN)/python -m services.processor.pointcloud.proof.certificate_form
	@$(BIN)/python -m shared.topology definitions > deploy/rabbitmq/definitions.json
	@source .local/env && $(BIN)/python -m sql.schema

lock: venv ## Write the locks anew from pyproject.toml
	@for extra in $(EXTRAS) development; do \
		$(BIN)/uv pip compile -q pyproject.toml --extra $$extra --generate-hashes --no-emit-index-url \
			--python-version 3.11 -o requirements/$$extra.txt || exit 1; \
	done

clean: ## Stop everything and delete .local and .venv
	@if [ -x $(BIN)/python ]; then $(LOCAL) clean; fi
	@rm -rf .local .venv
