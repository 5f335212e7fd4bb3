"""Keylime's own check of one quote, again and again.

Takes a folder with ak.pem, nonce, quote.sig, quote.msg and quote.pcrs. Says `ready` once Keylime accepts the quote and
refuses it with any one part changed, or why not. Then it answers each line, a number, with `done` after so many checks.
"""

import logging
import pathlib
import sys

# Without its configuration files, which a quote check does not need, Keylime warns at every import.
logging.disable(logging.CRITICAL)
from keylime.tpm.tpm_util import checkquote  # noqa: E402

HASH = "sha256"
PARTS = ("nonce", "quote.sig", "quote.msg", "quote.pcrs")


def check(key, parts):
    """Raises where Keylime does not accept the quote."""
    return checkquote(key, parts["nonce"], parts["quote.sig"], parts["quote.msg"], parts["quote.pcrs"], HASH)


def flipped(parts, name):
    """The parts, with a bit of one of them changed that means something in it."""
    # Behind the headers: of the nonce, of r, of the clock, of the first PCR's value.
    at = {"nonce": 0, "quote.sig": 20, "quote.msg": 60, "quote.pcrs": 150}[name]
    changed = bytearray(parts[name])
    changed[at] ^= 1
    return {**parts, name: bytes(changed)}


def accepts(key, parts):
    try:
        check(key, parts)
    except Exception:  # whatever Keylime raises is its no
        return False
    return True


def main(folder):
    folder = pathlib.Path(folder)
    key = (folder / "ak.pem").read_bytes()
    parts = {name: (folder / name).read_bytes() for name in PARTS}
    quoted = check(key, parts)
    if not quoted:
        sys.exit("Keylime found no PCR in the quote")
    for name in PARTS:
        if accepts(key, flipped(parts, name)):
            sys.exit(f"Keylime accepts the quote with a changed {name}")
    print("ready", flush=True)
    for line in sys.stdin:
        for _ in range(int(line)):
            check(key, parts)
        print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
