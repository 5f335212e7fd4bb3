#!/usr/bin/env bash
# Python environments with implementations by other hands, from PyPI. Safe to run again: nothing is done for one that is there with
# the versions asked for. Where one cannot be made, as without a network, what needs it says that it skips.
#
# scripts/validators.sh            target/validators: JOSE and COSE libraries, by which tests have our results validated
# scripts/validators.sh --keylime  target/keylime: Keylime's quote check, which `cargo xtask bench keylime_checkquote_per_s` runs
#                                  beside ours. Only what that check imports is installed, not what Keylime needs as a service.
# scripts/validators.sh --tlog     target/tlog: the crates signed_note and tlog_tiles from crates.io, by which tests have our audit
#                                  logs and proofs judged; built in a workspace of their own
set -euo pipefail
cd "$(dirname "$0")/.."

case ${1:-} in
'')
    readonly WANTED=core/attestation/tests/results_elsewhere/requirements.txt FOLDER=target/validators
    ;;
--keylime)
    readonly WANTED=robot/agent/benches/design_numbers/keylime/requirements.txt FOLDER=target/keylime
    ;;
--tlog)
    CARGO_TARGET_DIR=$PWD/target/tlog cargo build --quiet --locked --manifest-path core/audit-log/tests/elsewhere/Cargo.toml && exit 0
    echo "validators: target/tlog could not be built; what needs it will say that it skips" >&2
    exit 0
    ;;
*)
    echo "usage: scripts/validators.sh [--keylime | --tlog]" >&2
    exit 2
    ;;
esac
readonly INSTALLED=$FOLDER/requirements.txt

cmp -s "$WANTED" "$INSTALLED" && exit 0

# make_with PYTHON: the environment, whole; what an earlier try left goes first. The lists name all that is needed, so nothing
# else is taken. The list is put beside it last.
make_with() {
    rm -rf "$FOLDER"
    "$1" -m venv "$FOLDER" &&
        "$FOLDER/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --requirement "$WANTED" &&
        cp "$WANTED" "$INSTALLED"
}

for python in python3 /usr/bin/python3; do
    "$python" -c 'import ensurepip, venv' 2>/dev/null || continue
    echo "validators: installing from PyPI into $FOLDER: $(grep -v '^#' "$WANTED" | tr '\n' ' ')"
    make_with "$python" && exit 0
done
rm -rf "$FOLDER"
echo "validators: $FOLDER could not be made; what needs it will say that it skips" >&2
