#!/usr/bin/env bash
# Runs every test of the workspace: with nextest where it is installed, else with cargo's own runner.
set -euo pipefail
cd "$(dirname "$0")/.."

if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --workspace --no-fail-fast
    # nextest does not run documentation examples.
    cargo test --workspace --doc --quiet
else
    cargo test --workspace --no-fail-fast
fi
