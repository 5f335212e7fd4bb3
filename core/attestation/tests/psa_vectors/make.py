#!/usr/bin/env python3
"""Makes vectors.json: PSA attestation tokens, good and bad, each with the reason codes that its appraisal must give.

None of it is made by this project: claims are encoded by cbor2, and signed by pycose, by cwt, or, where a token is to be
wrong in a way that these libraries refuse to write, by cbor2 and cryptography. To make them again:

    python3 -m venv venv && venv/bin/pip install cbor2==5.9.0 pycose==1.1.0 cwt==3.3.0
    venv/bin/python core/attestation/tests/psa_vectors/make.py

The keys are made anew each time and thrown away. "rfc9783-sign1" is the example of RFC 9783, appendix A.1, with its key.
"""

import hashlib
import json
import pathlib
import struct

import cbor2
import cwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pycose.algorithms import Es256, Es384, HMAC256
from pycose.headers import Algorithm, KID
from pycose.keys import EC2Key, SymmetricKey
from pycose.messages import Mac0Message, Sign1Message

PROFILE = "tag:psacertified.org,2023:psa#tfm"
NONCE, ROBOT, TIME_MS = bytes([0x42] * 32), "r1", 1_790_000_000_000
IMPLEMENTATION = bytes(range(32))
BOOT_SIGNER, ROT_SIGNER, APP_SIGNER = bytes([0xA0] * 32), bytes([0xA1] * 48), bytes([0xA2] * 64)
BOOT, ROT, CONFIG = bytes([0xB0] * 32), bytes([0xB1] * 48), bytes([0xB2] * 32)
CERTIFICATE = "0716053824013-10010"

P256, P384 = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())
OTHER = ec.generate_private_key(ec.SECP256R1())
HASHES = {32: "sha256", 48: "sha384", 64: "sha512"}


def state(robot=ROBOT, stopped=False, time_ms=TIME_MS):
    digest = [0x000B, bytes([7] * 32)]
    fields = ["alcub3/robot-state/v1", 1, robot, bytes([1] * 16), time_ms, [3], 0, 3 if stopped else 0, stopped, 0, []]
    fields += ["alcub3 0.1.0", [["legs", "2.1.0"]], [["lidar", digest]], digest, [], 0, [], 0, 900]
    return cbor2.dumps(dict(enumerate(fields)))


def challenge(size=32, nonce=NONCE, robot=ROBOT, of=state()):
    def digest(data):
        return hashlib.new(HASHES[size], data).digest()

    return digest(b"alcub3/psa-challenge/v1" + nonce + robot.encode() + digest(of))


def point(key):
    numbers, size = key.public_key().public_numbers(), (key.curve.key_size + 7) // 8
    return numbers.x.to_bytes(size, "big"), numbers.y.to_bytes(size, "big")


def instance(key):
    return b"\x01" + hashlib.sha256(b"\x04" + b"".join(point(key))).digest()


def components():
    return [
        {1: "BL", 2: BOOT, 4: "1.9.2", 5: BOOT_SIGNER, 6: "sha-256"},
        {1: "PRoT", 2: ROT, 4: "2.1.0", 5: ROT_SIGNER},
        {1: "PRoT_CONFIG", 2: CONFIG, 5: ROT_SIGNER},
        {1: "App", 2: bytes([0xCC] * 32), 4: "4.0.1+7", 5: APP_SIGNER},
    ]


def claims(key=P256, size=32, **changed):
    found = {10: challenge(size), 256: instance(key), 265: PROFILE, 2394: -1, 2395: 0x3000, 2396: IMPLEMENTATION}
    found |= {2399: components()}
    found |= {int(name[1:]): value for name, value in changed.items()}
    return {name: value for name, value in found.items() if value is not None}


def with_component(at, **changed):
    found = components()
    found[at] |= {int(name[1:]): value for name, value in changed.items()}
    found[at] = {name: value for name, value in found[at].items() if value is not None}
    return claims(c2399=found)


def by_pycose(payload, key=P256, **headers):
    x, y = point(key)
    d = key.private_numbers().private_value.to_bytes(len(x), "big")
    alg, curve = (Es256, "P_256") if key.curve.key_size == 256 else (Es384, "P_384")
    protected = {Algorithm: alg} | headers.get("protected", {})
    message = Sign1Message(phdr=protected, uhdr=headers.get("unprotected", {}), payload=payload)
    message.key = EC2Key(crv=curve, x=x, y=y, d=d)
    return message.encode()


def by_cwt(payload, key=P256):
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    signer = cwt.COSEKey.from_pem(pem.decode())
    return cwt.COSE.new().encode_and_sign(payload, signer, protected={1: -7}, unprotected={})


def by_hand(payload, protected=b"\xa1\x01\x26", unprotected=b"\xa0", key=P256, attached=True, head=b"\xd2\x84"):
    covered = cbor2.dumps(["Signature1", protected, b"", payload])
    r, s = decode_dss_signature(key.sign(covered, ec.ECDSA(hashes.SHA256())))
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    content = cbor2.dumps(payload) if attached else b"\xf6"
    return head + cbor2.dumps(protected) + unprotected + content + cbor2.dumps(signature)


def long_heads(value):
    """The same value with heads of eight bytes: what a constrained encoder might write."""

    def head(major, number):
        return bytes([major << 5 | 27]) + struct.pack(">Q", number)

    match value:
        case int():
            return head(0, value) if value >= 0 else head(1, -1 - value)
        case bytes():
            return head(2, len(value)) + value
        case str():
            return head(3, len(value.encode())) + value.encode()
        case list():
            return head(4, len(value)) + b"".join(long_heads(one) for one in value)
        case dict():
            pairs = (long_heads(name) + long_heads(one) for name, one in value.items())
            return head(5, len(value)) + b"".join(pairs)


def reordered(value):
    return dict(reversed(list(value.items())))


def signed(value, **how):
    return by_pycose(cbor2.dumps(value), **how)


def good():
    full = claims(c268=bytes(range(8)), c2398=CERTIFICATE, c2400="https://verify.example/psa")
    return {
        "pycose-es256": (signed(claims()), []),
        "cwt-es256": (by_cwt(cbor2.dumps(claims())), []),
        "es384-nonce48": (signed(claims(key=P384, size=48), key=P384), []),
        "nonce64": (signed(claims(size=64)), []),
        "every-claim": (signed(full), []),
        "boot-seed-32": (signed(claims(c268=bytes(32))), []),
        "other-order": (signed(reordered(claims())), []),
        "long-heads": (by_hand(long_heads(claims())), []),
        "lifecycle-minor": (signed(claims(c2395=0x30FF)), []),
        "key-identifier": (by_pycose(cbor2.dumps(claims()), protected={KID: b"k"}), ["psa-header-ignored"]),
        "unknown-claim": (signed(claims(c70000=[{"x": [1.5, None]}])), ["psa-claim-unknown"]),
        "text-claim": (signed(claims() | {"robot": "r2"}), ["psa-claim-unknown"]),
    }


def envelopes():
    payload, malformed = cbor2.dumps(claims()), ["psa-token-malformed"]
    whole = by_pycose(payload)
    mac = Mac0Message(phdr={Algorithm: HMAC256}, uhdr={}, payload=payload)
    mac.key = SymmetricKey(k=bytes(32))
    critical = cbor2.dumps({1: -7, 2: [-70001], -70001: 1})
    return {
        "mac0": (mac.encode(), ["psa-token-mac"]),
        "untagged": (whole[1:], malformed),
        "cwt-tag": (b"\xd8\x3d" + whole, malformed),
        "sign-tag": (b"\xd8\x62" + whole[1:], malformed),
        "trailing": (whole + b"\x00", malformed),
        "cut": (whole[:-1], malformed),
        "empty": (b"", malformed),
        "detached": (by_hand(payload, attached=False), malformed),
        "indefinite-array": (by_hand(payload, head=b"\xd2\x9f") + b"\xff", malformed),
        "indefinite-payload": (by_hand(b"\xbf" + payload[1:] + b"\xff"), malformed),
        "indefinite-claim": (by_hand(b"\xa8" + payload[1:] + cbor2.dumps(70000) + b"\x9f\xff"), malformed),
        "indefinite-header": (by_hand(payload, protected=b"\xbf\x01\x26\xff"), malformed),
        "trailing-claims": (by_hand(payload + b"\x00"), malformed),
        "trailing-header": (by_hand(payload, protected=b"\xa1\x01\x26\x00"), malformed),
        "claims-array": (signed([1, 2]), malformed),
        "claims-key-bytes": (by_hand(cbor2.dumps(claims() | {b"k": 1})), malformed),
        "many-claims": (signed(claims() | {70000 + n: n for n in range(70)}), malformed),
        "text-not-utf8": (by_hand(b"\xa8" + payload[1:] + cbor2.dumps(70000) + b"\x61\xff"), malformed),
        "header-twice": (by_hand(payload, protected=b"\xa2\x01\x26\x01\x26"), malformed),
        "iv": (by_hand(payload, protected=cbor2.dumps({1: -7, 5: b"iv"})), malformed),
        "partial-iv": (by_hand(payload, protected=cbor2.dumps({1: -7, 6: b"iv"})), malformed),
        "critical": (by_hand(payload, protected=critical), ["psa-critical-header"]),
        "critical-unprotected": (by_hand(payload, unprotected=cbor2.dumps({2: [-70001]})), ["psa-critical-header"]),
        "unprotected": (by_pycose(payload, unprotected={KID: b"k"}), ["psa-unprotected-header"]),
        "unprotected-alg": (by_hand(payload, b"", cbor2.dumps({1: -7})), ["psa-unprotected-header"]),
        "no-alg": (by_hand(payload, protected=b"\xa0"), ["psa-algorithm"]),
        "empty-header": (by_hand(payload, protected=b""), ["psa-algorithm"]),
        "es512": (by_hand(payload, protected=cbor2.dumps({1: -36})), ["psa-algorithm"]),
        "es384-with-p256": (by_hand(payload, protected=cbor2.dumps({1: -35})), ["psa-algorithm"]),
        "other-key": (by_pycose(payload, key=OTHER), ["psa-signature"]),
    }


def malformed_claims():
    wrong = {
        "nonce-31": claims(c10=bytes(31)),
        "nonce-8": claims(c10=bytes(8)),
        "nonce-array": claims(c10=[challenge()]),
        "nonce-text": claims(c10="42" * 16),
        "client-zero": claims(c2394=0),
        "client-wide": claims(c2394=1 << 31),
        "client-text": claims(c2394="-1"),
        "instance-32": claims(c256=instance(P256)[:32]),
        "instance-empty": claims(c256=b""),
        "instance-type": claims(c256=b"\x02" + instance(P256)[1:]),
        "implementation-31": claims(c2396=bytes(31)),
        "lifecycle-reserved": claims(c2395=0x7000),
        "lifecycle-between": claims(c2395=0x3100),
        "lifecycle-negative": claims(c2395=-1),
        "profile-bytes": claims(c265=PROFILE.encode()),
        "boot-seed-7": claims(c268=bytes(7)),
        "boot-seed-33": claims(c268=bytes(33)),
        "certification-ean13": claims(c2398="0716053824013"),
        "certification-letters": claims(c2398="071605382401x-10010"),
        "service-number": claims(c2400=1),
        "service-empty": claims(c2400=""),
        "service-long": claims(c2400="x" * 513),
        "components-none": claims(c2399=[]),
        "components-map": claims(c2399=components()[0]),
        "component-array": claims(c2399=[[1, 2]]),
        "component-no-measurement": with_component(0, a2=None),
        "component-no-signer": with_component(0, a5=None),
        "component-sha1": with_component(0, a2=bytes(20)),
        "component-signer-text": with_component(0, a5="somebody"),
        "component-version-number": with_component(0, a4=1),
        "component-attribute": with_component(0, a3=bytes(32)),
    }
    found = {name: (signed(value), ["psa-claim-malformed"]) for name, value in wrong.items()}
    twice = cbor2.dumps([{1: "BL"}])[:1] + b"\xa3" + cbor2.dumps(2) + cbor2.dumps(BOOT) + cbor2.dumps(2)
    twice += cbor2.dumps(BOOT) + cbor2.dumps(5) + cbor2.dumps(BOOT_SIGNER)
    without = cbor2.dumps(claims(c2399=None))
    payload = bytes([without[0] + 1]) + without[1:] + cbor2.dumps(2399) + twice
    found["attribute-twice"] = (by_hand(payload), ["psa-claim-malformed"])
    return found


def claim_sets():
    found = {}
    for key in (10, 256, 265, 2394, 2395, 2396, 2399):
        found[f"without-{key}"] = (signed(claims(**{f"c{key}": None})), ["psa-claim-missing"])
    payload = cbor2.dumps(claims())
    again = {"twice": cbor2.dumps(2394), "twice-long": long_heads(2394)}
    for name, key in again.items():
        more = bytes([payload[0] + 1]) + payload[1:] + key + cbor2.dumps(-2)
        found[name] = (by_hand(more), ["psa-claim-duplicate"])
    old = {-75000: "PSA_IOT_PROFILE_1", -75001: -1, -75008: challenge()}
    found["profile-of-drafts"] = (
        signed(old),
        ["psa-claim-missing"] * 1 + ["psa-profile"] + ["psa-claim-missing"] * 6 + ["psa-claim-unknown"] * 2,
    )
    found["profile-http"] = (signed(claims(c265="http://arm.com/psa/2.0.0")), ["psa-profile"])
    found["profile-other"] = (signed(claims(c265=PROFILE.replace("#tfm", "#aes-mac"))), ["psa-profile"])
    return found


def judged():
    challenges = {
        "replay": challenge(nonce=bytes([0x43] * 32)),
        "of-another-robot": challenge(robot="r2"),
        "of-another-state": challenge(of=state(stopped=True)),
        "bare-nonce": NONCE,
    }
    found = {name: (signed(claims(c10=value)), ["psa-challenge"]) for name, value in challenges.items()}
    for name, major in {
        "unknown": 0x0000,
        "assembly": 0x1000,
        "provisioning": 0x2000,
        "debug": 0x4000,
        "rot-debug": 0x5000,
        "decommissioned": 0x6001,
    }.items():
        found[f"lifecycle-{name}"] = (signed(claims(c2395=major)), ["psa-lifecycle"])
    missing = "psa-component-missing"
    other = {
        "other-instance": (claims(c256=instance(OTHER)), ["psa-instance"]),
        "other-client": (claims(c2394=3), ["psa-client"]),
        "other-implementation": (claims(c2396=bytes(32)), ["psa-implementation", "psa-certification"]),
        "other-certificate": (claims(c2398="0716053824013-10009"), ["psa-certification"]),
        "component-type": (with_component(3, a1="TS"), ["psa-component-unknown"]),
        "component-no-type": (with_component(3, a1=None), ["psa-component-unknown"]),
        "component-signer": (with_component(0, a5=bytes(32)), ["psa-component-signer", missing]),
        "component-measurement": (with_component(1, a2=bytes(48)), ["psa-component-measurement", missing]),
        "component-config": (with_component(2, a2=bytes(32)), ["psa-component-measurement"]),
        "component-old": (with_component(1, a4="2.0.9"), ["psa-component-version", missing]),
        "component-app-old": (with_component(3, a4="3.10.0"), ["psa-component-version"]),
        "component-app-no-version": (with_component(3, a4=None), ["psa-component-version"]),
        "component-app-words": (with_component(3, a4="4.x"), ["psa-component-version"]),
        "component-missing": (claims(c2399=components()[1:]), [missing]),
    }
    return found | {name: (signed(value), codes) for name, (value, codes) in other.items()}


def key(of):
    return [part.hex() for part in point(of)]


RFC_TOKEN = (
    "d28443a10126a0590100a8190100582101020202020202020202020202020202020202020202020202020202020202020219095c5820"
    "00000000000000000000000000000000000000000000000000000000000000000a58200101010101010101010101010101010101010101"
    "01010101010101010101010119095a1a7fffffff19095b19300019010978217461673a7073616365727469666965642e6f72672c323032"
    "333a7073612374666d19010c48000000000000000019095f81a30558200404040404040404040404040404040404040404040404040404"
    "0404040404040258200303030303030303030303030303030303030303030303030303030303030303016450526f545840786e937a4c42"
    "667af3847399319ca95c7e7dbabdc9b50fdb8de3f6bff4ab82ff80c42140e2a488000219e3e10663193da69c75f52b798ea10b2f7041a9"
    "0e8e5a"
)
RFC_KEY = (
    "4e5e22099e3bceb45b446d1355fd1dc3b545947b6fd7c1c89d886798c3726e8f",
    "80d70b840b256aac34a62ede1043364f044095f003474b91e0182092afb13f2e",
)

vectors = good() | envelopes() | malformed_claims() | claim_sets() | judged()
document = {
    "made-by": "core/attestation/tests/psa_vectors/make.py",
    "keys": {"p256": key(P256), "p384": key(P384)},
    "state": state().hex(),
    "rfc9783-sign1": {"token": RFC_TOKEN, "key": RFC_KEY},
    "tokens": [{"name": name, "codes": codes, "token": token.hex()} for name, (token, codes) in vectors.items()],
}
path = pathlib.Path(__file__).with_name("vectors.json")
path.write_text(json.dumps(document, indent=0) + "\n")
print(f"{len(vectors)} tokens in {path.name}, {path.stat().st_size} bytes")
