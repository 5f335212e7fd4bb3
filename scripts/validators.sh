#!/usr/bin/env bash
# Makes target/validators: a Python environment with the JOSE and COSE libraries, by other hands, that tests have our results
# validated by. Safe to run again: it does nothing where the environment is there with the versions asked for. Where it cannot be
# made, as without a network, those tests say that they skip.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly WANTED=core/attestation/tests/results_elsewhere/requirements.txt
readonly FOLDER=target/validators
readonly INSTALLED=$FOLDER/requirements.txt

cmp -s "$WANTED" "$INSTALLED" && exit 0

# make_with PYTHON: the environment, whole; what an earlier try left goes first. The list is put beside it last.
make_with() {
    rm -rf "$FOLDER"
    "$1" -m venv "$FOLDER" &&
        "$FOLDER/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$WANTED" &&
        cp "$WANTED" "$INSTALLED"
}

for python in python3 /usr/bin/python3; do
    "$python" -c 'import ensurepip, venv' 2>/dev/null || continue
    echo "validators: installing from PyPI into $FOLDER: $(grep -v '^#' "$WANTED" | tr '\n' ' ')"
    make_with "$python" && exit 0
done
rm -rf "$FOLDER"
echo "validators: no Python environment could be made; tests that need it will say that they skip" >&2
