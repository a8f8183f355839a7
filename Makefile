# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
TOOLS := .tools
CHECKOV := .checkov
AWSCLI := .awscli
RUN := env PYTHONPATH=layers/refresh $(VENV)/bin/python

.DEFAULT_GOAL := help
.PHONY: help demo local awscli test bench faults worlds worlds-all chaos check format build clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.ready ## three runs on this machine: a webhook, a schedule, by hand
	@$(RUN) -m local.demo

local: $(VENV)/.ready ## the whole stack on this machine until Ctrl-C; SCHEDULES=clock fires schedules by the clock
	@$(RUN) -m local.serve $(if $(SCHEDULES),--schedules $(SCHEDULES))

awscli: $(AWSCLI)/.ready ## the AWS CLI in .awscli/bin, on Linux on x86-64

test: $(VENV)/.tests $(AWSCLI)/.ready ## all tests
	@$(RUN) -m pytest -n 3 --dist loadgroup

bench: $(VENV)/.tests $(if $(filter cold,$(or $(ONLY),cold)),$(TOOLS)/.ready) ## every figure, beside its goal and its peers; ONLY=cold measures a part
	@$(RUN) -m local.bench $(if $(ONLY),--only $(ONLY))

faults: $(VENV)/.tests ## every fault against the real template; ONLY=pattern plays some of them
	@$(RUN) -m local.faults $(if $(ONLY),--only '$(ONLY)')

worlds: $(VENV)/.tests ## random worlds of Celonis; N=100000 plays so many, SEED=7 others, FAMILY=inner one family
	@$(RUN) -m tests.worlds $(or $(N),10000) --processes 2 $(if $(SEED),--seed $(SEED)) $(if $(FAMILY),--family $(FAMILY))

worlds-all: $(VENV)/.tests ## all small worlds of Celonis, half an hour; PART=starts plays a part, EVERY=211 a sample
	@$(RUN) -m tests.worlds.enumeration --processes 2 $(if $(PART),--part $(PART)) $(if $(EVERY),--every $(EVERY))

chaos: $(VENV)/.tests ## all functions, paused and killed at any call, days of virtual time; N=1000 SEED=7
	@$(RUN) -m tests.chaos $(or $(N),1000) --processes 2 $(if $(SEED),--seed $(SEED))

check: $(VENV)/.tests $(TOOLS)/.ready $(CHECKOV)/.ready ## lint, types, template, state machine, security
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy layers functions local tests
	@$(VENV)/bin/cfn-lint template.yaml
	@AWS_DEFAULT_REGION=eu-central-1 $(TOOLS)/bin/sam validate --lint --template template.yaml
	@$(CHECKOV)/bin/checkov --config-file .checkov.yaml
	@$(RUN) -m pytest tests/template

format: $(VENV)/.tests ## the layout of the code, and the layer's digest in the template
	@$(VENV)/bin/ruff check --fix . && $(VENV)/bin/ruff format . && $(RUN) -m local.stamp && $(RUN) -m local.openapi

build: $(VENV)/.tests $(TOOLS)/.ready ## sam build (with python3.13), and a check of what it made
	@$(RUN) -m local.build

clean: ## everything that the commands above made
	rm -rf $(VENV) $(TOOLS) $(CHECKOV) $(AWSCLI) .local .aws-sam .pytest_cache .mypy_cache .ruff_cache .hypothesis

# What the local stack needs: enough for make demo and make local.
$(VENV)/.ready: requirements/local.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or later is needed; name it with: make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "Setting up $(VENV) (once) …"
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --requirement requirements/local.txt
	@touch $@

# Everything else: tests, linters, types.
$(VENV)/.tests: requirements/dev.txt $(VENV)/.ready
	@echo "Adding the tools of the tests to $(VENV) (once) …"
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check \
	  --requirement requirements/local.txt --requirement requirements/dev.txt
	@touch $@

$(AWSCLI)/.ready: requirements/aws-cli.txt local/aws_cli.py $(VENV)/.ready
	@echo "Setting up $(AWSCLI) with the AWS CLI (once) …"
	@$(VENV)/bin/python -m local.aws_cli requirements/aws-cli.txt
	@touch $@

$(TOOLS)/.ready: requirements/sam.txt
	@echo "Setting up $(TOOLS) with the AWS SAM CLI (once) …"
	@$(PYTHON) -m venv $(TOOLS)
	@$(TOOLS)/bin/pip install --quiet --disable-pip-version-check --requirement requirements/sam.txt
	@touch $@

$(CHECKOV)/.ready: requirements/checkov.txt
	@echo "Setting up $(CHECKOV) with checkov (once) …"
	@$(PYTHON) -m venv $(CHECKOV)
	@$(CHECKOV)/bin/pip install --quiet --disable-pip-version-check --requirement requirements/checkov.txt
	@touch $@
