#!/usr/bin/env bash
# Installs what `make demo` and `make test` need on Debian or Ubuntu. Safe to run again: it installs only what is missing.
#
#   scripts/bootstrap.sh            say what is missing and why, then install it
#   scripts/bootstrap.sh --check    say what is missing and exit 1 if anything is; install nothing
#   scripts/bootstrap.sh --fuzz     as above, and what fuzzing needs (a C++ compiler, cargo-fuzz)
set -euo pipefail

readonly MIN_RUST_MINOR=95

check_only=false
with_fuzz=false
for argument in "$@"; do
    case "$argument" in
        --check) check_only=true ;;
        --fuzz) with_fuzz=true ;;
        -h | --help)
            sed -n '2,6s/^# \{0,1\}//p' "$0"
            exit 0
            ;;
        *)
            echo "bootstrap: unknown option '$argument' (known: --check, --fuzz)" >&2
            exit 2
            ;;
    esac
done

fail() {
    echo "bootstrap: $*" >&2
    exit 1
}

# The Rust toolchain is never installed from here: which one a machine trusts is its owner's decision.
check_rust() {
    command -v cargo >/dev/null ||
        fail "cargo is not on the PATH. Install Rust 1.$MIN_RUST_MINOR or later from https://rustup.rs, then run this again."
    local version minor
    version=$(cargo --version | cut -d' ' -f2)
    minor=$(echo "$version" | cut -d. -f2)
    if [ "${version%%.*}" -eq 1 ] && [ "$minor" -lt "$MIN_RUST_MINOR" ]; then
        fail "cargo $version is too old; 1.$MIN_RUST_MINOR or later is needed. Run 'rustup update stable', then this again."
    fi
}

missing=()
reasons=()

# need COMMAND PACKAGE WHY...
need() {
    local command=$1 package=$2
    shift 2
    # -P: a program on the PATH; a shell's builtin of that name does not count.
    type -P "$command" >/dev/null && return 0
    want "$package" "$*"
}

# want PACKAGE WHY: the package as it is, when dpkg does not know it as installed.
want() {
    missing+=("$1")
    reasons+=("$2")
}

# has_file NAME: whether a library of that name is among the system's.
has_file() {
    compgen -G "/usr/lib/*/$1*" >/dev/null || compgen -G "/usr/lib/$1*" >/dev/null
}

find_missing() {
    need swtpm swtpm "the software TPM 2.0 that the demo and the tests run against"
    need tpm2 tpm2-tools "independent implementation that the tests compare quotes, names and policies with"
    need openssl openssl "independent TLS client and certificate check that the tests compare with"
    has_file 'ossl-modules/tpm2.so' ||
        want tpm2-openssl "OpenSSL's provider for keys in a TPM: the tests load the robot's exported key file with it"
    has_file 'libtss2-tcti-swtpm.so.0' ||
        want libtss2-tcti-swtpm0 "how that provider and tpm2-tools reach a software TPM"
    python3 -c 'import ensurepip, venv' 2>/dev/null || /usr/bin/python3 -c 'import ensurepip, venv' 2>/dev/null ||
        want python3-venv "environment of the independent JOSE and COSE libraries that the tests have results validated by"
    need gcc gcc "compiles the C part of aws-lc, the cryptographic library"
    need make make "runs the Makefile"
    need kill procps "ends simulators in the tests of lost power"
    [ -e /usr/include/stdio.h ] || want libc6-dev "C headers for the same"
    if $with_fuzz; then
        need g++ g++ "compiles libFuzzer's runtime"
    fi
}

install_missing() {
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null ||
            fail "not root and there is no sudo. As root, run: apt-get install ${missing[*]}"
        as_root=(sudo)
    fi
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

install_cargo_fuzz() {
    cargo fuzz --version >/dev/null 2>&1 && return 0
    if $check_only; then
        echo "missing: cargo-fuzz — drives libFuzzer (cargo install cargo-fuzz --locked)"
        return 1
    fi
    echo "bootstrap: installing cargo-fuzz from crates.io with cargo — drives libFuzzer"
    cargo install cargo-fuzz --locked --quiet
}

check_rust
find_missing

if [ ${#missing[@]} -gt 0 ]; then
    for i in "${!missing[@]}"; do
        echo "missing: ${missing[$i]} — ${reasons[$i]}"
    done
    $check_only && fail "run scripts/bootstrap.sh to install the above"
    command -v apt-get >/dev/null ||
        fail "only Debian and Ubuntu are supported (no apt-get here). Install these yourself: ${missing[*]}"
    echo "bootstrap: installing with apt-get: ${missing[*]}"
    install_missing
    missing=()
    reasons=()
    find_missing
    [ ${#missing[@]} -eq 0 ] || fail "still missing after the installation: ${missing[*]}"
fi
if $with_fuzz; then
    install_cargo_fuzz
fi
if $check_only; then
    echo "bootstrap: nothing is missing"
fi
