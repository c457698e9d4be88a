# `make` alone lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
SCENARIO ?= kind upgrade
DEBIAN ?= trixie
VENV := .venv
BIN := $(VENV)/bin
COLLECTION := build/collections/ansible_collections/taskflow/operator
PLAYBOOK := $(BIN)/ansible-playbook
PYTEST := $(BIN)/python -m pytest
ALONE := $(addprefix tests/e2e/test_,demo.py away.py images.py install.py operator.py nodes.py)
CODE := taskflow_controller plugins roles/taskflow_agent/files/agent
# The parts of the fault suite: one without a cluster, those whose cases run side by side, and the one that disturbs all.
comma := ,
FAULTS := random crash stale containers
FAULTS_CHOSEN = $(if $(ONLY),$(subst $(comma), ,$(ONLY)),simulated $(FAULTS) nodes)
SIMULATIONS := $(addprefix tests/unit/plugins/,task/test_lives.py builds/test_build_simulation.py)
FAULTS_SIMULATED = $(if $(filter simulated,$(FAULTS_CHOSEN)),$(SIMULATIONS))
FAULTS_TOGETHER = $(patsubst %,tests/faults/test_%.py,$(filter $(FAULTS),$(FAULTS_CHOSEN)))
FAULTS_ALONE = $(patsubst %,tests/faults/test_%.py,$(filter nodes,$(FAULTS_CHOSEN)))
KUBECONFIG_FILE = $(shell scripts/kubeconfig.sh)

export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
# The cluster and its registry are never behind a proxy. kind hands this on to the nodes.
export no_proxy := $(no_proxy),127.0.0.1,localhost,taskflow-registry
export NO_PROXY := $(no_proxy)
export PATH := $(CURDIR)/$(BIN):$(PATH)
# A build in the background ends with this make.
export TASKFLOW_OWNER := $(shell echo $$PPID)
# Without it molecule warns that it would have its scenarios below extensions/.
export MOLECULE_GLOB := molecule/*/molecule.yml

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: up ## Bring everything up and show a Task run, step by step (15 to 25 minutes the first time, then half a minute)
	@scripts/demo.sh examples/task_example.yaml

.PHONY: up
up: prepare ## Bring up cluster, registry and operator, without the example (15 to 25 minutes the first time, then half a minute)
	@echo "==> Bringing up cluster, images and operator. The first time Kubernetes is built: 10 to 20 minutes."
	@$(PLAYBOOK) dev/up.yml

.PHONY: down
down: prepare ## Stop everything; only the cache stays (half a minute)
	@echo "==> Stopping the cluster and the registry (half a minute)."
	@$(PLAYBOOK) dev/down.yml

.PHONY: status
status: prepare ## Say which parts of the cluster run (seconds)
	@echo "==> Looking at the cluster (seconds)."
	@$(PLAYBOOK) dev/status.yml

.PHONY: kubeconfig
kubeconfig: ## Print the path of the kubeconfig of that cluster
	@scripts/kubeconfig.sh

.PHONY: cluster-lock
cluster-lock: prepare ## Write go.mod and go.sum for KUBERNETES=1.38, a line of the cluster's table of versions; needs Go (a minute)
	@$(BIN)/python -B dev/roles/taskflow_cluster/files/programs/lock.py dev/roles/taskflow_cluster/vars/main/versions.yml "$(KUBERNETES)"

.PHONY: test
test: test-unit up ## Run all tests; brings the cluster up if it is not (45 minutes, and up to 25 more the first time)
	@echo "==> Running the tests that need programs, and Tasks on the cluster, three at a time (about 25 minutes)."
	@KUBECONFIG=$(KUBECONFIG_FILE) $(PYTEST) --numprocesses=2 --dist=loadfile tests/integration
	@KUBECONFIG=$(KUBECONFIG_FILE) $(PYTEST) --numprocesses=3 --dist=loadfile $(filter-out $(ALONE),$(wildcard tests/e2e/test_*.py))
	@echo "==> Running the tests that take the operator away, one at a time (about 14 minutes)."
	@KUBECONFIG=$(KUBECONFIG_FILE) $(PYTEST) $(ALONE)
	@echo "==> Running a sample of the fault suite, four cases at a time (3 minutes)."
	@KUBECONFIG=$(KUBECONFIG_FILE) TASKFLOW_FAULTS_SEED=$${TASKFLOW_FAULTS_SEED:-1} \
		$(PYTEST) --numprocesses=4 --dist=load -m sample tests/faults

.PHONY: faults
faults: $(if $(FAULTS_TOGETHER)$(FAULTS_ALONE),up,prepare) ## Lose, delay and refuse each write of the operator's; break containers and nodes. ONLY=simulated,random,crash,stale,containers,nodes: these parts (an hour)
	@echo "==> Running the fault suite: $(FAULTS_CHOSEN) (an hour for all of it)."
	@export KUBECONFIG=$(KUBECONFIG_FILE) code=0; \
	$(if $(FAULTS_SIMULATED),$(PYTEST) --hypothesis-profile=search -k whatever_happens $(FAULTS_SIMULATED) || code=1;) \
	$(if $(FAULTS_TOGETHER),$(PYTEST) --numprocesses=6 --dist=load $(FAULTS_TOGETHER) || code=1;) \
	$(if $(FAULTS_ALONE),$(PYTEST) $(FAULTS_ALONE) || code=1;) \
	exit $$code

# The agent's tests send signals, so they run alone.
.PHONY: test-unit
test-unit: prepare ## Run the tests that need no cluster (five minutes)
	@echo "==> Running the unit tests, two at a time (five minutes)."
	@$(PYTEST) -q --numprocesses=2 --dist=loadfile --ignore=tests/unit/agent tests/unit
	@$(PYTEST) -q tests/unit/agent

.PHONY: coverage
coverage: prepare ## Say which lines of the code the unit tests run (eight minutes)
	@echo "==> Running the unit tests in one process, and measuring what they run (eight minutes)."
	@$(PYTEST) -q $(addprefix --cov=,$(CODE)) --cov-report=term:skip-covered tests/unit

.PHONY: molecule
molecule: prepare ## Install the operator, run every example, upgrade and remove it; the cluster stays. SCENARIO=kind, upgrade, default: that alone (4 minutes)
	@echo "==> molecule: $(SCENARIO) (two minutes each, where the cluster is up)."
	@TASKFLOW_KEEP_CLUSTER=true $(BIN)/molecule test $(addprefix -s ,$(SCENARIO))

.PHONY: matrix
matrix: prepare ## Run molecule on each version of Kubernetes, a cluster each, and write docs/compatibility.md. ONLY=1.36: that alone (half an hour)
	@echo "==> molecule on a cluster of each version of Kubernetes (10 minutes each, more the first time)."
	@$(BIN)/python scripts/matrix.py --only "$(ONLY)"

.PHONY: fresh
fresh: ## Run `make demo` and `make test-unit` in a container of plain Debian where nothing is installed. DEBIAN=bookworm: another one, KEEP=true: leave it (half an hour)
	@scripts/fresh.sh "$(DEBIAN)"

.PHONY: bench
bench: prepare ## Measure, beside the targets; on the cluster, if it is up. ONLY=agent,warm: these parts (10 minutes)
	@echo "==> Measuring (10 minutes); it tells most on a machine that does nothing else."
	@KUBECONFIG=$(KUBECONFIG_FILE) $(BIN)/python tests/bench/bench.py --only "$(ONLY)"

.PHONY: lint
lint: prepare ## Check style, types, YAML, playbooks, shell scripts and the collection (four minutes)
	@echo "==> ruff, mypy, yamllint, shellcheck, ansible-lint, antsibull, ansible-test (four minutes)."
	@scripts/lint.sh

.PHONY: sanity
sanity: prepare ## Run ansible-test's sanity and unit tests on the collection (three minutes)
	@$(BIN)/python scripts/sanity.py

.PHONY: manifests
manifests: prepare ## Write build/install.yaml and build/kustomize, for an installation with kubectl (seconds)
	@$(PLAYBOOK) taskflow.operator.manifests -e taskflow_operator_manifests_dir=$(CURDIR)/build

.PHONY: docs-api
docs-api: prepare ## Write docs/api.md and docs/builds.md from crd/ and their templates (seconds)
	@$(BIN)/python scripts/api_docs.py

.PHONY: docs
docs: prepare ## Build the documentation as a site, build/site (seconds)
	@$(BIN)/python scripts/docs_site.py

.PHONY: prepare
prepare: $(VENV)/.done $(COLLECTION)

$(VENV)/.done: constraints.txt requirements.txt requirements-dev.txt
	@echo "==> Installing the Python packages into $(VENV) (two minutes)."
	@scripts/venv.sh "$(PYTHON)" "$(VENV)" $(if $(filter up demo test molecule,$(MAKECMDGOALS)),cluster)
	@touch $@

$(COLLECTION):
	@mkdir -p $(@D)
	@ln -sfn "$(CURDIR)" $@

.PHONY: clean
clean: ## Remove what the build made in this checkout (the cluster and the cache stay)
	@echo "==> Removing build/, $(VENV)/ and the tools' caches (seconds)."
	@rm -rf build $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .ansible
