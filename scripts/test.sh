#!/usr/bin/env bash
# Runs every test of the workspace: with nextest where it is installed, else with cargo's own runner. Ends with
# one line that counts them all, documentation examples included.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/validators.sh
scripts/validators.sh --tlog

log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0

# run COMMAND...: shows the output and keeps it for the count; goes on after a failure, and remembers it.
run() {
    "$@" 2>&1 | tee -a "$log" || status=$?
}

if cargo nextest --version >/dev/null 2>&1; then
    run cargo nextest run --workspace --no-fail-fast --no-tests=fail
    # nextest does not run documentation examples.
    run cargo test --workspace --doc --quiet
else
    run cargo test --workspace --no-fail-fast
fi

# sum WORD: adds the numbers before WORD over the runners' closing lines.
sum() {
    grep -E '^ *Summary \[|^test result:' "$log" | grep -oE "[0-9]+ $1" | awk '{ n += $1 } END { print n + 0 }'
}

echo "$(sum passed) passed, $(sum failed) failed, $(($(sum skipped) + $(sum ignored))) skipped"
exit "$status"
