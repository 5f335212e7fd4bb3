#!/usr/bin/env python3
"""Makes vectors.json: CoRIMs, good and bad, each with what it says or why it is refused.

None of it is made by this project: cbor2 encodes what draft-ietf-rats-corim-11 describes, pycose signs it. To make them again:

    python3 -m venv venv && venv/bin/pip install cbor2==5.9.0 pycose==1.1.0
    venv/bin/python core/attestation/tests/corim_vectors/make.py

With `check FILE`, it takes a CoRIM apart that this project wrote, and prints what is in it as JSON. The keys are made anew each time
and thrown away.
"""

import hashlib
import json
import pathlib
import sys
import uuid

import cbor2
from cbor2 import CBORTag

SHA256, SHA384 = 1, 7
TIME_S = 1_790_000_000
MEDIA_TYPE = "application/rim+cbor"


def digest(what, alg=SHA256):
    hasher = {SHA256: hashlib.sha256, SHA384: hashlib.sha384}[alg]
    return [alg, hasher(what.encode()).digest()]


def registers(values, alg=SHA256):
    return {1: {14: {pcr: [digest(what, alg)] for pcr, what in values.items()}}}


def keyed(key, *digests):
    return {0: key, 1: {2: list(digests)}}


def environment(**changed):
    return {0: {1: "Rover Works", 2: "RW-7"} | {int(name[1:]): value for name, value in changed.items()}}


BOOT = {pcr: f"pcr {pcr}" for pcr in range(10)}
GOOD = [registers(BOOT), registers({0: "pcr 0, updated"}), keyed("/usr/bin/driver", digest("driver"), digest("driver", SHA384))]


def triples(measurements=GOOD, env=None):
    return [[env or environment(), measurements]]


def comid(reference=None, **changed):
    found = {1: {0: uuid.UUID(int=7).bytes, 1: 2}, 2: [{0: "Rover Works", 1: CBORTag(32, "https://rover.example"), 2: [0]}]}
    found |= {4: {0: triples() if reference is None else reference}}
    return found | {int(name[1:]): value for name, value in changed.items()}


def corim(tags=None, **changed):
    found = {0: "rw-7/2.4.0", 1: tags if tags is not None else [CBORTag(506, cbor2.dumps(comid()))]}
    found |= {int(name[1:]): value for name, value in changed.items()}
    return {key: value for key, value in found.items() if value is not None}


def of(measurements, env=None):
    return unsigned(corim([CBORTag(506, cbor2.dumps(comid(triples(measurements, env))))]))


def with_comid(**changed):
    return unsigned(corim([CBORTag(506, cbor2.dumps(comid(**changed)))]))


def unsigned(content):
    return cbor2.dumps(CBORTag(501, content))


def time(seconds):
    return CBORTag(1, seconds)


META = cbor2.dumps({0: {0: "Rover Works, signing"}, 1: {0: time(TIME_S - 10), 1: time(TIME_S + 10)}})


def signed(key, content=None, headers=None, open_headers=None, alg=None):
    from pycose.messages import Sign1Message

    protected = {1: alg or (-7 if key.crv.fullname == "P_256" else -35), 3: MEDIA_TYPE, 8: META}
    protected |= headers or {}
    protected = {label: value for label, value in protected.items() if value is not None}
    payload = unsigned(corim()) if content is None else content
    body = cbor2.dumps(protected)
    structure = cbor2.dumps(["Signature1", body, b"", payload])
    from pycose.algorithms import Es256, Es384

    signature = (Es256 if key.crv.fullname == "P_256" else Es384).sign(key=key, data=structure)
    encoded = cbor2.dumps(CBORTag(18, [body, open_headers or {}, payload, signature]))
    # Read back by pycose, which is to find it good as well.
    message = Sign1Message.decode(encoded)
    message.key = key
    assert message.verify_signature()
    return encoded


def make():
    from pycose.keys import EC2Key
    from pycose.keys.curves import P256, P384

    p256, p384 = EC2Key.generate_key(P256), EC2Key.generate_key(P384)
    vectors = []

    def good(name, document, key=None, bank="sha256", files=True, measured=BOOT, signer=None, updated=True, vendor="Rover Works"):
        alg = {"sha256": SHA256, "sha384": SHA384}[bank]
        values = {str(pcr): [digest(what, alg)[1].hex()] for pcr, what in measured.items()}
        if updated:
            values["0"].append(digest("pcr 0, updated", alg)[1].hex())
        said = {"bank": bank, "pcrs": values, "vendor": vendor, "signer": signer}
        if files:
            said["files"] = {"/usr/bin/driver": [f"sha256:{digest('driver')[1].hex()}", f"sha384:{digest('driver', SHA384)[1].hex()}"]}
        put(name, document, key, said)

    def bad(name, document, why, key=None):
        put(name, document, key, {"refused": why})

    def put(name, document, key, said):
        public = None if key is None else (b"\x04" + key.x + key.y).hex()
        vectors.append({"name": name, "document": document.hex(), "key": public, "says": said})

    plain = unsigned(corim())
    good("unsigned", plain)
    good("unsigned by an earlier draft", cbor2.dumps(CBORTag(500, CBORTag(501, corim()))))
    good("with an identifier that is a UUID", unsigned(corim(_0=uuid.UUID(int=5).bytes)))
    good("with makers and a validity", unsigned(corim(_4={0: time(TIME_S - 1), 1: time(TIME_S + 1)}, _5=[{0: "x", 2: [1]}])))
    good("pcrs by their numbers", of([keyed(pcr, digest(what)) for pcr, what in BOOT.items()]), files=False, updated=False)
    both = {1: {14: {pcr: [digest(what), digest(what, SHA384), ["my-alg", b"x"]] for pcr, what in BOOT.items()}}}
    good("algorithms that are not known", of([both | {1: {14: {p: d[:1] + d[2:] for p, d in both[1][14].items()}}}]), files=False, updated=False)
    good("with names of algorithms", of([{1: {14: {pcr: [["sha-256", digest(what)[1]]] for pcr, what in BOOT.items()}}}]), files=False, updated=False)
    good("in two comids", unsigned(corim([CBORTag(506, cbor2.dumps(comid(triples(GOOD[:1])))), CBORTag(506, cbor2.dumps(comid(triples(GOOD[1:]))))])))
    good("with endorsements", with_comid(_4={0: triples(), 1: triples([{1: {2: [digest("x")]}}])}))
    good("signed on P-256", signed(p256), key=p256, signer="Rover Works, signing")
    good("signed on P-384", signed(p384), key=p384, signer="Rover Works, signing")
    claims = {8: None, 15: {1: "https://rover.example", 4: TIME_S + 10, 5: TIME_S - 10}}
    good("signed with claims", signed(p256, headers=claims), key=p256, signer="https://rover.example")
    good("signed with a certificate beside", signed(p256, open_headers={33: b"x"}), key=p256, signer="Rover Works, signing")

    bad("signed and nobody named", signed(p256), "name the key")
    bad("unsigned and somebody named", plain, "not signed", p256)
    bad("signed by another", signed(p256), "not signed by the key", EC2Key.generate_key(P256))
    bad("signed on another curve", signed(p256), "algorithm", p384)
    changed = signed(p256)
    changed = changed.replace(b"Rover Works\x02", b"Rover Wurks\x02")
    bad("signed and changed", changed, "not signed by the key", p256)
    bad("with another content type", signed(p256, headers={3: "application/json"}), "content type", p256)
    bad("with a critical header", signed(p256, headers={2: [4]}), "critical", p256)
    bad("with an envelope of a hash", signed(p256, headers={258: -16}), "not known", p256)
    bad("with an open header", signed(p256, open_headers={99: 1}), "does not cover", p256)
    bad("with nobody's name", signed(p256, headers={8: None}), "signer", p256)
    old = cbor2.dumps({0: {0: "x"}, 1: {1: time(TIME_S)}})
    bad("with a signature that is over", signed(p256, headers={8: old}), "holds from", p256)
    bad("with claims that are over", signed(p256, headers={15: {1: "x", 4: TIME_S}}), "holds from", p256)
    bad("with claims that begin later", signed(p256, headers={15: {1: "x", 5: TIME_S + 1}}), "holds from", p256)
    bad("signed around another thing", signed(p256, content=cbor2.dumps(CBORTag(505, {}))), "tag 505", p256)
    bad("over", unsigned(corim(_4={1: time(TIME_S)})), "holds from")
    bad("not yet", unsigned(corim(_4={0: time(TIME_S + 1), 1: time(TIME_S + 2)})), "holds from")
    bad("without an end", unsigned(corim(_4={0: time(TIME_S)})), "end of its validity")
    bad("with a profile", unsigned(corim(_3=CBORTag(32, "http://example.com/profile"))), "profile")
    bad("with dependencies", unsigned(corim(_2=[{0: CBORTag(32, "https://x")}])), "dependent")
    bad("with an unknown part", unsigned(corim(_6=1)), "6 in the corim-map")
    bad("with a CoSWID", unsigned(corim([CBORTag(505, b"x")])), "CoSWID")
    bad("with a tag list", unsigned(corim([CBORTag(508, b"x")])), "kind 508")
    bad("without tags", unsigned(corim([])), "reference triples")
    bad("without an identifier", unsigned(corim(_0=None)), "identifier")
    bad("with linked tags", with_comid(_3=[{0: "x", 1: 1}]), "links")
    bad("with an unknown triple", with_comid(_4={0: triples(), 77: []}), "kind 77")
    bad("of two machines", with_comid(_4={0: triples() + triples(env=environment(_2="RW-8"))}), "several environments")
    bad("of one machine", of(GOOD, environment() | {1: CBORTag(550, b"x" * 33)}), "several environments")
    bad("with an authority", of([registers(BOOT) | {2: [CBORTag(554, "x")]}]), "only some keys")
    bad("with a version", of([{1: {0: {0: "1"}, 14: {0: [digest("x")]}}}]), "0 among")
    bad("with a minimal number", of([keyed(0, digest("x")), {1: {1: CBORTag(553, 1)}}]), "1 among")
    bad("with digests of nothing", of([{1: {2: [digest("x")]}}]), "that a measurement's digests are of")
    bad("with no digests", of([{0: 0, 1: {11: "name"}}]), "digests in a measurement")
    bad("with an identifier of a module", of([keyed(CBORTag(37, b"x" * 16), digest("x"))]), "neither a PCR")
    bad("with a named register", of([{1: {14: {"pcr0": [digest("x")]}}}]), "no number of a PCR")
    bad("with a register of another kind", of([registers({16: "x"})]), "PCR 16")
    bad("with a register of IMA", of([registers({10: "x"})]), "PCR 10")
    bad("with a register far away", of([registers({4_000_000: "x"})]), "PCR 4000000")
    bad("with a register below", of([registers({-1: "x"})]), "PCR -1")
    bad("with a short digest", of([keyed(0, [SHA256, b"x" * 31])]), "length")
    bad("with a digest for another", of([keyed(0, [SHA384, b"x" * 32])]), "length")
    bad("with two digests of one algorithm", of([keyed(0, digest("x"), digest("y"))]), "two digests of one algorithm")
    bad("with an unapproved digest", of([keyed(0, [2, b"x" * 15])]), "no digest of sha-256")
    bad("with alternatives that hold together", of([registers({0: "a", 4: "b"}), registers({0: "c", 4: "d"})]), "hold only together")
    bad("of two banks", of([both]), "name the bank")
    bad("with files alone", of([keyed("/x", digest("x"))]), "values of PCRs")
    bad("of another tag", cbor2.dumps(CBORTag(502, corim())), "tag 502")
    bad("without a tag", cbor2.dumps(corim()), "tag")
    bad("with a byte to spare", plain + b"\x00", "1 bytes follow")
    bad("without its last byte", plain[:-1], "encoding")
    bad("of indefinite length", b"\xd9\x01\xf5\xbf\x00\x61x\xff", "indefinite")
    twice = cbor2.dumps(comid()).replace(b"\xa3\x01", b"\xa4\x01\xa1\x00\x61x\x01", 1)
    bad("with a key twice", unsigned(corim([CBORTag(506, twice)])), "twice")

    path = pathlib.Path(__file__).with_name("vectors.json")
    path.write_text(json.dumps({"now_s": TIME_S, "vectors": vectors}, indent=1) + "\n")
    print(f"{len(vectors)} vectors")


def check(path):
    data = pathlib.Path(path).read_bytes()
    outer = cbor2.loads(data)
    assert cbor2.dumps(outer, canonical=True) == data, "it is not deterministic"
    assert outer.tag == 501 and set(outer.value) == {0, 1}
    (tag,) = outer.value[1]
    assert tag.tag == 506
    inner = cbor2.loads(tag.value)
    assert cbor2.dumps(inner, canonical=True) == tag.value, "its CoMID is not deterministic"
    assert set(inner) == {1, 4} and set(inner[4]) == {0}
    ((env, measurements),) = inner[4][0]
    pcrs, files = {}, {}
    for measurement in measurements:
        value = measurement[1]
        if 0 in measurement:
            files.setdefault(measurement[0], []).extend([alg, value.hex()] for alg, value in value[2])
        else:
            for pcr, digests in value[14].items():
                pcrs.setdefault(str(pcr), []).extend([alg, value.hex()] for alg, value in digests)
    print(json.dumps({"id": outer.value[0], "tag": inner[1][0], "class": [env[0][1], env[0][2]], "pcrs": pcrs, "files": files}))


if __name__ == "__main__":
    check(sys.argv[2]) if sys.argv[1:2] == ["check"] else make()
