# On a new machine, start with `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
TOOLS := .tools
CHECKOV := .checkov
AWSCLI := .awscli
# Python keeps its byte code, whatever the shell says: the tests start many processes with the same code.
RUN := env PYTHONDONTWRITEBYTECODE= PYTHONPATH=layers/refresh:cli $(VENV)/bin/python

.DEFAULT_GOAL := help
.PHONY: help demo local receiver awscli test bench faults worlds worlds-all chaos check screenshots format build clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.ready ## run three pipelines on this machine: by a webhook, by a schedule, by hand
	@$(RUN) -m local.demo

local: $(VENV)/.ready ## run the stack on this machine until Ctrl-C; WEEK=1 fills it with a week of runs (1: the seed); SCHEDULES=clock fires schedules at their times
	@$(RUN) -m local.serve $(if $(SCHEDULES),--schedules $(SCHEDULES)) $(if $(WEEK),--week $(WEEK))

receiver: $(VENV)/.ready ## print the notifications and callbacks of make local; PORT=8766, ANSWER=500 (429, slow, close, ...), SECRET=whsec_... checks signatures
	@$(RUN) -m local.receiver $(if $(PORT),--port $(PORT)) $(if $(ANSWER),--answer '$(ANSWER)') $(if $(SECRET),--secret '$(SECRET)')

awscli: $(AWSCLI)/.ready ## unpack the AWS CLI into .awscli/bin (Linux on x86-64 only)

test: $(VENV)/.tests $(AWSCLI)/.ready ## run all tests
	@$(RUN) -m pytest -n 3 --dist loadgroup --no-loadscope-reorder

bench: $(VENV)/.tests $(if $(filter cold,$(or $(ONLY),cold)),$(TOOLS)/.ready) ## measure every figure and compare it with its goal; ONLY=cold measures a part
	@$(RUN) -m local.bench $(if $(ONLY),--only $(ONLY))

faults: $(VENV)/.tests ## run every fault against the local stack; ONLY=pattern runs some of them
	@$(RUN) -m local.faults $(if $(ONLY),--only '$(ONLY)')

worlds: $(VENV)/.tests ## simulate neighbours of known histories in Celonis, and random ones; N=100000 sets how many, SEED=7 the seed, FAMILY=inner only random ones of this family
	@$(RUN) -m tests.worlds $(or $(N),10000) --processes 2 $(if $(SEED),--seed $(SEED)) $(if $(FAMILY),--family $(FAMILY))

worlds-all: $(VENV)/.tests ## simulate all small histories in Celonis, half an hour; PART=starts runs a part, EVERY=211 a sample
	@$(RUN) -m tests.worlds.enumeration --processes 2 $(if $(PART),--part $(PART)) $(if $(EVERY),--every $(EVERY))

chaos: $(VENV)/.tests ## simulate all functions in virtual time, paused and killed at any call; N=1000 SEED=7
	@$(RUN) -m tests.chaos $(or $(N),1000) --processes 2 $(if $(SEED),--seed $(SEED))

check: $(VENV)/.tests $(TOOLS)/.ready $(CHECKOV)/.ready ## check lint, types, template, state machine and security
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy layers functions local tests cli
	@$(VENV)/bin/cfn-lint template.yaml
	@AWS_DEFAULT_REGION=eu-central-1 $(TOOLS)/bin/sam validate --lint --template template.yaml
	@$(CHECKOV)/bin/checkov --config-file .checkov.yaml
	@$(RUN) -m pytest tests/template

screenshots: $(VENV)/.tests ## write the screenshots of the page to docs/images; needs Chromium
	@$(RUN) -m local.screenshots

format: $(VENV)/.tests ## format the code, update the layer digest and docs/openapi.json
	@$(VENV)/bin/ruff check --fix . && $(VENV)/bin/ruff format . && $(RUN) -m local.stamp && $(RUN) -m local.openapi

build: $(VENV)/.tests $(TOOLS)/.ready ## run sam build (with python3.13) and check the result
	@$(RUN) -m local.build

clean: ## remove everything that the commands above created
	rm -rf $(VENV) $(TOOLS) $(CHECKOV) $(AWSCLI) build *.egg-info .local .aws-sam .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Packages of the local stack and the command line tool: enough for make demo, make local and .venv/bin/refresh.
$(VENV)/.ready: requirements/local.txt requirements/cli.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or later is needed; name it with: make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "Setting up $(VENV) (once) …"
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check \
	  --requirement requirements/local.txt --requirement requirements/cli.txt
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

# All other packages: tests, linters, types.
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
