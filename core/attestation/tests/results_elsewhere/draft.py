"""What draft-ietf-rats-ear-04 and AR4SI ask of a result, whether it came as JWT or as CWT."""

import re
import sys

TIERS = {"none": (-1, 1), "affirming": (2, 31), "warning": (32, 95), "contraindicated": (96, 127)}
PARTS = {"instance-identity", "configuration", "executables", "file-system"}
PARTS |= {"hardware", "runtime-opaque", "storage-opaque", "sourced-data"}
TOP = {"eat_profile", "iat", "exp", "ear_status", "ear_verifier_id", "ear_raw_evidence", "submods", "eat_nonce"}
APPRAISAL = {"eat_profile", "ear_status", "ear_trustworthiness_vector", "ear_appraisal_policy_ids", "eat_nonce"}


def ask(holds, what):
    if not holds:
        sys.stderr.write(f"{what}\n")
        sys.exit(2)


def whole(value):
    return isinstance(value, int) and not isinstance(value, bool)


def tier(value):
    return next(index for index, (_, top) in enumerate(TIERS.values()) if value <= top)


def appraisal(one):
    ask(one.get("ear_status") in TIERS, "ear_status is a tier")
    ask(re.match(r"[a-z][a-z0-9+.-]*:.", one["eat_profile"]), "the profile of an extended appraisal is a URI")
    vector = one["ear_trustworthiness_vector"]
    ask(vector and set(vector) <= PARTS, "the vector has parts of AR4SI alone, and at least one")
    ask(all(whole(part) and -128 <= part <= 127 for part in vector.values()), "a part is from -128 to 127")
    worst = max(tier(part) for part in vector.values())
    ask(list(TIERS).index(one["ear_status"]) >= worst, "the status is not better than the worst part")
    policies = one["ear_appraisal_policy_ids"]
    ask(policies and all(isinstance(policy, str) for policy in policies), "there is a policy, as text")
    private = set(one) - APPRAISAL
    ask(all(name.startswith("alcub3.") for name in private), "private claims are under our name")


def check(claims):
    ask(claims.get("eat_profile") == "tag:ietf.org,2026:rats/ear#04", "eat_profile is the draft's")
    ask(set(claims) <= TOP, "there is no other claim")
    ask(whole(claims.get("iat")) and whole(claims.get("exp")), "iat and exp are whole seconds")
    ask(claims["iat"] < claims["exp"], "it is valid for a time")
    verifier = claims.get("ear_verifier_id", {})
    ask(set(verifier) == {"developer", "build"}, "the verifier has developer and build")
    ask(all(isinstance(word, str) for word in verifier.values()), "which are texts")
    ask(claims.get("submods"), "there is at least one submodule")
    for one in claims["submods"].values():
        appraisal(one)
