# `make` alone lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export SAM_CLI_TELEMETRY := 0
# Of the two names the AWS CLI prefers the first; boto3 and SAM read the second alone.
export AWS_DEFAULT_REGION := $(or $(AWS_REGION),$(AWS_DEFAULT_REGION),us-east-1)

PYTHON ?= python3.13
ENVIRONMENT := .venv/.installed
# The folders that Python imports from: Lambda's own are the layer's and one function's.
SOURCES := layers/common functions/api functions/fanout functions/generate functions/finalize .

.PHONY: help demo up sam-local down token package deploy test test-crash bench bench-full check fix migrate identity-key reseal schema openapi lock clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

$(ENVIRONMENT): requirements-dev.txt
	@command -v $(PYTHON) >/dev/null || { echo "MasStock needs Python 3.13 ($(PYTHON) was not found; set PYTHON=…)" >&2; exit 1; }
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@echo "installing the environment into .venv …" >&2
	@mkdir -p .build && sed -n '/^uv==/,/# via/p' requirements-dev.txt > .build/uv.txt
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .build/uv.txt
	@.venv/bin/uv pip sync --quiet --require-hashes --python .venv/bin/python requirements-dev.txt
	@# Relative to site-packages, so that a copy of the checkout imports its own code.
	@printf '../../../../%s\n' $(SOURCES) > .venv/lib/$(notdir $(PYTHON))/site-packages/masstock.pth
	@touch $@

demo: $(ENVIRONMENT) ## Run the main job: prompts in, images out (PROMPTS=file, STAY=1)
	@python -m local demo

up: $(ENVIRONMENT) ## Start the stack on this machine and leave it running (PORT=, LOCAL_DIR=)
	@python -m local up

sam-local: package ## Serve what was built in Lambda's own containers (Docker; docs/sam-local.md)
	@LOCAL_DIR=$(or $(LOCAL_DIR),.local/sam) python -m local sam

down: $(ENVIRONMENT) ## Stop the stack; its data stays
	@python -m local down

token: $(ENVIRONMENT) ## Print a bearer token (USER=client_a, client_b, admin, an email or a user id)
	@python -m local token $(if $(filter command,$(firstword $(origin USER))),--user '$(USER)')

# The architecture of this machine, so that what was built can be tried here.
ARCHITECTURE ?= $(if $(filter aarch64 arm64,$(shell uname -m)),arm64,x86_64)
package: export ARCHITECTURE := $(ARCHITECTURE)
package: $(ENVIRONMENT) ## Build what is deployed into .aws-sam/build (ARCHITECTURE=arm64, x86_64)
	@mkdir -p .build
	@sam build --parameter-overrides Architecture=$(ARCHITECTURE) > .build/package.log 2>&1 \
	  || { cat .build/package.log >&2; exit 1; }
	@python -m deploy.artifacts .aws-sam/build $(ARCHITECTURE)

deploy: $(ENVIRONMENT) ## Deploy what was built (STAGE=dev, staging, prod; ARGS="option of sam deploy")
	@python -m deploy.release $(or $(STAGE),dev) $(ARGS)

test: $(ENVIRONMENT) ## Run every test (ARGS="-k …" for some)
	@python -m pytest $(ARGS)

test-crash: $(ENVIRONMENT) ## Kill every function at every step (some ten minutes, mostly waiting)
	@python -m pytest tests/crash $(ARGS)

bench: package ## Measure beside the peers, some ten minutes (NAME=row for one; docs/performance.md)
	@python -m bench $(NAME)

bench-full: package ## The same at the stated sizes, an hour or more
	@python -m bench --full $(NAME)

check: $(ENVIRONMENT) ## Lint, types, templates, import direction, lock files
	ruff check .
	ruff format --check .
	pyright --warnings
	cfn-lint template.yaml
	sam validate --lint
	python -m pytest -q tests/contract/test_architecture.py tests/contract/test_locks.py

fix: $(ENVIRONMENT) ## Let the formatter and linter repair what they can
	ruff check --fix .
	ruff format .

migrate: $(ENVIRONMENT) ## Apply the migrations (DATABASE_URL=…, DRY_RUN=1, BASELINE=1 for tables that are there)
	@python -m sql.tools.migrate $(if $(DRY_RUN),--dry-run) $(if $(BASELINE),--baseline)

identity-key: $(ENVIRONMENT) ## Make the database trust the api (DATABASE_URL=, IDENTITY_SECRET_ID=, ROTATE=1, ONLY=1)
	@python -m sql.tools.identity_key $(if $(ROTATE),--rotate) $(if $(ONLY),--only)

reseal: $(ENVIRONMENT) ## Seal API keys with the newest sealing key (ADD_KEY=1; DATABASE_URL= SEALING_SECRET_ID=)
	@$(if $(SEALING_SECRET_ID),python -m sql.tools.reseal,python -m local reseal) $(if $(ADD_KEY),--add-key)

schema: $(ENVIRONMENT) ## Write sql/schema.sql from the migrations
	@python -m tools.schema > sql/schema.sql

openapi: $(ENVIRONMENT) ## Write docs/openapi.json from the routes and models
	@python -m tools.openapi

LAYER := layers/common/requirements
COMPILE = uv pip compile --quiet --universal --python-version 3.13 --generate-hashes --no-header

lock: $(ENVIRONMENT) ## Pin the dependencies again (UPGRADE=1 for newer versions)
	@$(COMPILE) $(if $(UPGRADE),--upgrade) requirements-dev.in --output-file requirements-dev.txt
	@# What is deployed is what is tested: the same versions.
	@$(COMPILE) --constraints requirements-dev.txt $(LAYER).in --output-file $(LAYER).txt
	@# Each package ships once: generate runs with the layer and adds only what that lacks.
	@$(COMPILE) --constraints requirements-dev.txt functions/generate/requirements.in \
	  --output-file functions/generate/requirements.txt \
	  $$(sed -n 's/^\([a-z0-9-]*\)==.*/--no-emit-package \1/p' $(LAYER).txt)
	@$(COMPILE) $(if $(UPGRADE),--upgrade) bench/requirements.in --output-file bench/requirements.txt

clean: ## Stop the stack and delete its data, caches and builds
	@test ! -x .venv/bin/python || python -m local clean
	@rm -rf .aws-sam .build .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
