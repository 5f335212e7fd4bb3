# The two commands of the README are `make demo` and `make test`. Both work from a fresh clone.
.DEFAULT_GOAL := help
.PHONY: help bootstrap demo test bench fuzz mutate simulate model lint

DEMO_ARGS ?=
BENCH_ARGS ?=
FUZZ_SECONDS ?= 60
MUTATE_ARGS ?=
DAYS ?= 1000
SEED ?= 1
STEPS ?= 3000000

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "make %-10s %s\n", $$1, $$2 }'

bootstrap: ## install what is missing on Debian or Ubuntu (says what and why)
	@scripts/bootstrap.sh

demo: bootstrap ## one robot's life on a throwaway software TPM (DEMO_ARGS="--eventlog FILE")
	@cargo build --release --package alcub3-cli
	@$${CARGO_TARGET_DIR:-target}/release/alcub3 demo $(DEMO_ARGS)

test: bootstrap ## every test, documentation examples included
	@scripts/test.sh

bench: bootstrap ## the ratios of the design, each against its bare limit (BENCH_ARGS="NAME… --json")
	@cargo xtask bench $(BENCH_ARGS)

fuzz: ## every fuzz target for FUZZ_SECONDS (60) each
	@scripts/bootstrap.sh --fuzz
	@cargo xtask fuzz --seconds $(FUZZ_SECONDS)

mutate: bootstrap ## each genuine evidence changed 100,000 times (MUTATE_ARGS="NAME… --count N --seed S --json")
	@cargo xtask mutate $(MUTATE_ARGS)

simulate: bootstrap ## DAYS (1000) of a small fleet in virtual time, by SEED (1)
	@ALCUB3_DAYS=$(DAYS) ALCUB3_SEED=$(SEED) cargo test --release --package alcub3-server --test thousand_days -- --nocapture

model: ## STEPS (3000000) of missions, commands, stops and restarts against a reference model, by SEED (1)
	@ALCUB3_MODEL_STEPS=$(STEPS) ALCUB3_MODEL_SEED=$(SEED) cargo test --release --package alcub3-security-hal --test command_model -- --nocapture

lint: ## formatting, clippy, layers, specification
	@scripts/lint.sh
