# What one can do here; `make` alone lists it. Recipes are a line or a script: the work itself is in Rust, in tests/.
# A fresh machine needs make, Rust and Go. Whatever else is missing is built or installed, and says so.
FIRST := First run on 2 cores: about 10 minutes and 8 GB of disk; then a minute. Needs Rust, Go 1.26 (not with CONTEXT=), and \
  PostgreSQL and Redis, which root has installed by apt-get.

.DEFAULT_GOAL := help
CRATES := connect-crds connect-frames connect-hub connect-hubd connect-operator kubectl-connect connect-tests connect-bench connect-release connect-tools
LAB := cargo run --bin lab --
IMAGE ?= private-connect:latest
BENCH := cargo run --release --package connect-bench --

# A failure says in words where it comes from; stack traces would bury that. Set it to 1 to see them.
export RUST_LIB_BACKTRACE ?= 0

.PHONY: help
help: ## list what one can do
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## see it work on real parts: share, join, bytes, the end (KEEP=1 leaves it up, CONTEXT=name uses that cluster)
	@echo "$(FIRST)"
	@cargo run --quiet --bin begin -- demo $(if $(KEEP),--keep) $(if $(CONTEXT),--context $(CONTEXT))

.PHONY: up
up: ## start a control plane, a hub and the operator, and say how to use them
	@echo "$(FIRST)"
	@cargo run --quiet --bin begin -- up

.PHONY: down
down: ## end what `make up` or `make demo KEEP=1` left running
	@$(LAB) down

.PHONY: test
test: tools ## run every test
	cargo test --workspace --no-fail-fast
	@$(LAB) rights

.PHONY: e2e
e2e: tools ## run the tests of the whole product against a real control plane
	cargo test -p connect-tests --test it

.PHONY: soak
soak: tools ## users and faults at random for MINUTES=30, then rest, then everything must be right; SEED=n replays
	@$(LAB) soak $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED))

.PHONY: chart
chart: tools ## run the charts' tests: lint, render, schema, install and uninstall with real helm
	cargo test -p connect-tests --test it chart::

.PHONY: bench
bench: ## measure speed, cost and exactness of ends beside peers (ONLY=D4,E1 some rows, PAIRS=3 fewer rounds, PEERS=1 bore and rathole too)
	@$(BENCH) $(if $(ONLY),--only $(ONLY)) $(if $(PAIRS),--pairs $(PAIRS)) $(if $(PEERS),--peers)

.PHONY: lint
lint: ## formatting, clippy, documentation, each crate alone, licences and sources of dependencies, workflows and scripts
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items
	@set -e; for crate in $(CRATES); do echo "cargo check -p $$crate"; cargo check --quiet -p $$crate --all-targets; done
	@cargo deny --version >/dev/null 2>&1 || cargo install --locked cargo-deny@0.20.2
	cargo deny check bans licenses sources
	@.ci/workflows

.PHONY: lint-workflows
lint-workflows: ## actionlint, zizmor and shellcheck on workflows, actions and scripts
	@.ci/workflows

.PHONY: fmt
fmt: ## format all sources
	cargo fmt --all

.PHONY: generate
generate: ## write what is made of the sources: crds/*.yaml, the charts' copies, schemas and tables, help, man pages, completions, the README's terminal, the picture of modules
	CONNECT_GENERATE=1 cargo test --quiet -p connect-crds --test generated
	CONNECT_GENERATE=1 cargo test --quiet -p connect-tests --test it chart::written
	CONNECT_GENERATE=1 SNAPSHOTS=overwrite cargo test --quiet -p kubectl-connect --test command_line as_committed
	CONNECT_GENERATE=1 SNAPSHOTS=overwrite cargo test --quiet -p connect-tests --test it command_line::session
	CONNECT_GENERATE=1 cargo test --quiet -p connect-tools --test repository modules

.PHONY: tools
tools: ## build or install what tests need: the control plane, PostgreSQL, Redis, proxies and gateways, faketime
	@$(LAB) tools

.PHONY: dist
dist: ## make release archives of the plugin for the platforms that can be built here, with sums, bills of materials and a Krew manifest
	cargo run --bin dist -- --folder dist

.PHONY: image
image: ## build the operator's image with docker (and its plugin buildx) or podman (IMAGE=name:tag; PUSH=1 for amd64 and arm64, pushed)
	@.ci/image $(IMAGE) $(if $(PUSH),push)

.PHONY: ci
ci: ## what continuous integration runs
	@.ci/run
