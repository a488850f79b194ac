# `make` alone lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export SAM_CLI_TELEMETRY := 0
# The AWS CLI prefers AWS_REGION. boto3 and SAM read only AWS_DEFAULT_REGION.
export AWS_DEFAULT_REGION := $(or $(AWS_REGION),$(AWS_DEFAULT_REGION),us-east-1)

PYTHON ?= python3.13
ENVIRONMENT := .venv/.installed
# Python imports from these folders. In Lambda, only the layer and one function are there.
SOURCES := layers/common functions/api functions/fanout functions/generate functions/finalize .

.PHONY: help demo up sam-local docker-ready down token package deploy smoke test test-unit test-crash bench bench-full findings check fix migrate identity-key reseal schema openapi lock clean

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

demo: $(ENVIRONMENT) ## Paint the example prompts on this machine (PROMPTS=file, TIER=economy, STAY=1)
	@python -m local demo

up: $(ENVIRONMENT) ## Start the stack on this machine and leave it running (PORT=, LOCAL_DIR=)
	@python -m local up

sam-local: docker-ready package ## Run the built functions in Lambda's containers (Docker; docs/sam-local.md)
	@LOCAL_DIR=$(or $(LOCAL_DIR),.local/sam) python -m local sam

# Before the build, which takes longer.
docker-ready: $(ENVIRONMENT)
	@python -m local sam --check

down: $(ENVIRONMENT) ## Stop the stack and keep its data
	@python -m local down

token: $(ENVIRONMENT) ## Print a bearer token (USER=client_a, client_b, admin, an email or a user id)
	@python -m local token $(if $(filter command,$(firstword $(origin USER))),--user '$(USER)')

# The default is the architecture of this machine, so that the built functions run here.
ARCHITECTURE ?= $(if $(filter aarch64 arm64,$(shell uname -m)),arm64,x86_64)
package: export ARCHITECTURE := $(ARCHITECTURE)
package: $(ENVIRONMENT) ## Build the layer and the functions into .aws-sam/build (ARCHITECTURE=arm64, x86_64)
	@mkdir -p .build
	@# The last build stays usable until the next one is complete.
	@new=.aws-sam/build-$$$$; trap 'rm -rf $$new' EXIT; \
	sam build --build-dir $$new --parameter-overrides Architecture=$(ARCHITECTURE) > .build/package.log 2>&1 \
	  || { cat .build/package.log >&2; exit 1; }; \
	python -m deploy.artifacts $$new $(ARCHITECTURE) --move-to .aws-sam/build

deploy: $(ENVIRONMENT) ## Deploy the built functions (STAGE=dev, staging, prod; ARGS="options of sam deploy")
	@python -m deploy.release $(or $(STAGE),dev) $(ARGS)

smoke: $(ENVIRONMENT) ## Check a deployed stack (API=, TOKEN=, WORKFLOW=, API_KEY=, CLIENT=; docs/deploy.md)
	@python -m deploy.smoke

# Three at a time, because most tests wait. The tests of one file share a stack, so they stay together.
test: $(ENVIRONMENT) ## Run all tests except test-crash (ARGS="-k …" selects tests)
	@python -m pytest -n 3 --dist loadfile $(ARGS)

# Too slow for test-unit: they need the stand-in model, a build, Postgres or the template's stack.
SLOW_TESTS := $(addprefix tests/,unit/test_gemini.py $(addprefix contract/,test_deploy.py \
  test_package.py test_schema.py test_seed_schema.py test_template.py))

test-unit: $(ENVIRONMENT) ## Run the fast tests in less than 30 seconds (ARGS="-k …" selects tests)
	@python -m pytest -q tests/unit tests/contract $(addprefix --ignore=,$(SLOW_TESTS)) $(ARGS)

test-crash: $(ENVIRONMENT) ## Kill each function at each step, and run the slow tests, about 23 minutes
	@python -m pytest tests/crash $(ARGS)
	@$(if $(ARGS),,python -m pytest -m slow tests/contract tests/integration tests/local tests/e2e)

bench: package ## Compare speed with other systems, less than an hour (NAME=row; docs/performance.md)
	@python -m bench $(NAME)

bench-full: package ## Compare at the full sizes, an hour or more (NAME=row)
	@python -m bench --full $(NAME)

# Each script brings the software that it needs, so that the environment plays no part.
findings: ## Show that findings/ still holds of other software, about ten minutes (NAME=script)
	@mkdir -p .build/findings; failed=0; printf '%-32s %7s  %s\n' name seconds result; \
	for script in findings/$(or $(NAME),*).sh; do \
	  name=$$(basename $$script .sh); started=$$SECONDS; result=holds; \
	  $$script > .build/findings/$$name.log 2>&1 || { result="changed (.build/findings/$$name.log)"; failed=1; }; \
	  printf '%-32s %7d  %s\n' $$name $$((SECONDS - started)) "$$result"; \
	done; exit $$failed

check: $(ENVIRONMENT) ## Check style, types, templates, import directions and lock files
	ruff check .
	ruff format --check .
	pyright --warnings
	python -m tools.console
	cfn-lint template.yaml
	sam validate --lint
	python -m pytest -q tests/contract/test_architecture.py tests/contract/test_locks.py

fix: $(ENVIRONMENT) ## Format the code and apply the linter's automatic corrections
	ruff check --fix .
	ruff format .

migrate: $(ENVIRONMENT) ## Apply the migrations (DATABASE_URL=…, DRY_RUN=1, BASELINE=1 for existing tables)
	@python -m sql.tools.migrate $(if $(DRY_RUN),--dry-run) $(if $(BASELINE),--baseline)

identity-key: $(ENVIRONMENT) ## Install the api's identity key in the database (DATABASE_URL=, IDENTITY_SECRET_ID=, ROTATE=1, ONLY=1)
	@python -m sql.tools.identity_key $(if $(ROTATE),--rotate) $(if $(ONLY),--only)

reseal: $(ENVIRONMENT) ## Seal stored API keys with the newest sealing key (DATABASE_URL=, SEALING_SECRET_ID=, ADD_KEY=1)
	@$(if $(SEALING_SECRET_ID),python -m sql.tools.reseal,python -m local reseal) $(if $(ADD_KEY),--add-key)

schema: $(ENVIRONMENT) ## Write sql/schema.sql from the migrations
	@python -m tools.schema > sql/schema.sql

openapi: $(ENVIRONMENT) ## Write docs/openapi.json from the routes and the models
	@python -m tools.openapi

LAYER := layers/common/requirements
COMPILE = uv pip compile --quiet --universal --python-version 3.13 --generate-hashes --no-header

lock: $(ENVIRONMENT) ## Write the lock files from the requirements (UPGRADE=1 for newer versions)
	@$(COMPILE) $(if $(UPGRADE),--upgrade) requirements-dev.in --output-file requirements-dev.txt
	@# The deployed versions are the tested versions.
	@$(COMPILE) --constraints requirements-dev.txt $(LAYER).in --output-file $(LAYER).txt
	@# Each package ships once: generate contains only packages that the layer does not have.
	@$(COMPILE) --constraints requirements-dev.txt functions/generate/requirements.in \
	  --output-file functions/generate/requirements.txt \
	  $$(sed -n 's/^\([a-z0-9-]*\)==.*/--no-emit-package \1/p' $(LAYER).txt)
	@$(COMPILE) $(if $(UPGRADE),--upgrade) bench/requirements.in --output-file bench/requirements.txt

clean: ## Stop the stack and delete its data, caches and builds
	@test ! -x .venv/bin/python || python -m local clean
	@rm -rf .aws-sam .build .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
