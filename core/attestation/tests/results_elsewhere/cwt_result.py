"""Reads {"token", "x", "y" (hexadecimal), "alg"} on stdin, verifies the CWT with cwt, checks it against draft-ietf-rats-ear-04,
RFC 8392 and RFC 9711 and prints its claims under their names in JWTs. Exits with 1 where the signature does not hold, with 2
where the claims are not what the draft asks."""

import json
import sys

import cbor2
import cwt
from draft import ask, check

ALGORITHMS, CURVES = {"ES256": -7, "ES384": -35}, {"ES256": 1, "ES384": 2}
TIERS = {0: "none", 2: "affirming", 32: "warning", 96: "contraindicated"}
PARTS = dict(enumerate(["instance-identity", "configuration", "executables", "file-system", "hardware"]))
PARTS |= {5: "runtime-opaque", 6: "storage-opaque", 7: "sourced-data"}
TOP = {4: "exp", 6: "iat", 10: "eat_nonce", 265: "eat_profile", 266: "submods", 1004: "ear_verifier_id"}
APPRAISAL = {265: "eat_profile", 1000: "ear_status", 1001: "ear_trustworthiness_vector"}
APPRAISAL |= {1003: "ear_appraisal_policy_ids"}
PRIVATE = {-76001: "alcub3.reasons", -76002: "alcub3.sequence", -76003: "alcub3.hardware-tier"}
PRIVATE |= {-76004: "alcub3.attestation"}


def named(claims, names):
    ask(set(claims) <= set(names), f"there are none but the claims {sorted(names)}")
    return {names[key]: value for key, value in claims.items()}


def appraisal(one):
    ask(all(key < -65536 for key in PRIVATE), "private claims are in the private space")
    found = named(one, APPRAISAL | PRIVATE)
    ask(found.get("ear_status") in TIERS, "ear_status is a tier")
    vector = named(found["ear_trustworthiness_vector"], PARTS)
    return found | {"ear_status": TIERS[found["ear_status"]], "ear_trustworthiness_vector": vector}


request = json.load(sys.stdin)
token, alg = bytes.fromhex(request["token"]), request["alg"]
point = {-1: CURVES[alg], -2: bytes.fromhex(request["x"]), -3: bytes.fromhex(request["y"])}
try:
    key = cwt.COSEKey.new({1: 2, 3: ALGORITHMS[alg], 4: [2]} | point)
    message = cwt.COSEMessage.loads(token)
    payload = cwt.COSE.new().decode(token, key)
except (cwt.VerifyError, cwt.DecodeError, ValueError, TypeError) as error:
    sys.stderr.write(f"{error!r}\n")
    sys.exit(1)
ask(token[0] == 0xD2, "it is a tagged COSE_Sign1")
ask(message.protected == {1: ALGORITHMS[alg], 16: "application/eat+cwt"}, "the header has algorithm and type alone")
ask(message.unprotected == {}, "nothing is unprotected")
claims = cbor2.loads(payload)
ask(cbor2.dumps(claims, canonical=True) == payload, "the claims are in deterministic form")
result = named(claims, TOP)
result["ear_verifier_id"] = named(result["ear_verifier_id"], {0: "developer", 1: "build"})
result["submods"] = {name: appraisal(one) for name, one in result["submods"].items()}
ask(isinstance(result["eat_nonce"], bytes) and 8 <= len(result["eat_nonce"]) <= 64, "the nonce is 8 to 64 bytes")
result["eat_nonce"] = result["eat_nonce"].hex()
check(result)
print(json.dumps(result))
