# SPDX-License-Identifier: GPL-3.0-or-later
# "make help" lists what there is. Two commands matter: "make deploy" and "make test".

PYTHON ?= python3
INVENTORY ?= inventory/local
# More arguments for ansible-playbook, as in: make deploy ARGS="--check --diff"
ARGS ?=
# The gates of "make test", all when empty, as in: make test GATES="ruff unit"
GATES ?=

play = scripts/venv && scripts/collection-path && \
	ANSIBLE_COLLECTIONS_PATH="$(CURDIR)/.cache/collections" ANSIBLE_CONFIG="$(CURDIR)/ansible.cfg" \
	.venv/bin/ansible-playbook --inventory $(INVENTORY) $(ARGS)
run = $(PYTHON) tests/run

.DEFAULT_GOAL := help
.PHONY: help deploy status remove test lint unit sanity integration molecule docs build bench chaos clean

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS='	' read -r name text; do printf '%-12s %s\n' "$$name" "$$text"; done

deploy: ## Make the services of inventory/local run on this machine (again: changes nothing)
	@$(play) playbooks/site.yml

status: ## Show the services of inventory/local
	@$(play) playbooks/status.yml

remove: ## Undo all that "make deploy" did
	@$(play) playbooks/remove.yml

test: ## Run everything that CI runs; GATES="ruff unit" runs a part, GATES=list names them
	@$(run) $(GATES)

lint: ## ruff, mypy, ansible-lint, argument specs, licence headers
	@$(run) ruff mypy lint specs licences

unit: ## Unit tests
	@$(run) unit

sanity: ## ansible-test sanity, on every Python of this machine
	@$(run) sanity

integration: ## Tests with real processes
	@$(run) integration

molecule: ## Tests with whole hosts (root only)
	@$(run) molecule

docs: ## Check the documentation
	@$(run) docs

build: ## Build the collection from the last commit into dist/
	@$(run) --build dist

bench: ## Benchmarks against other supervisors
	@$(run) --exec tests/benchmarks

chaos: ## Leases under random faults, for an hour or HOLDFAST_CHAOS_SECONDS (root only)
	@$(run) --exec tests/chaos

clean: ## Remove what the targets above left in this folder (deployed services stay)
	rm -rf .ansible .mypy_cache .pytest_cache .ruff_cache collections dist tests/output
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
