#!/usr/bin/env bash
# The checks that need no TPM: formatting, clippy with warnings as errors, layers, specification.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo fmt --all --check
cargo fmt --manifest-path fuzz/Cargo.toml --check
cargo clippy --workspace --all-targets -- -D warnings
cargo xtask check-layers
cargo xtask check-spec
