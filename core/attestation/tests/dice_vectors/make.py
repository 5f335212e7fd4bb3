#!/usr/bin/env python3
"""Makes the DICE vectors beside it, with tools that are none of alcub3's:

    python3 -m venv venv && venv/bin/pip install spsdk==3.12.0 cbor2==6.3.0 && venv/bin/python make.py

tcg/   certificates by NXP's SPSDK (its ASN.1 types of the TCG's extensions, its certificates), statement and state by cbor2 and
       the package cryptography. root -> device -> layer1 -> leaf is the good chain; every other file replaces one of them.
open/  certificates of the Open Profile by the openssl command line (3.x): uds -> cdi1 -> cdi2 -> leaf. The mode of cdi1 is an
       ENUMERATED as the profile's reference code writes it, that of cdi2 an INTEGER as its text has it.

All keys are made anew at each run. leaf.p8 are the attestation keys, for statements that tests vary.
"""

import datetime
import hashlib
import os
import subprocess
import tempfile

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from spsdk.crypto.keys import EccCurve, PrivateKeyEcc
from spsdk.dice import cust_exts, tcg_asn

HERE = os.path.dirname(os.path.abspath(__file__))
NONCE = bytes(range(32))
ROBOT = "rover-7"
NOW_MS = 1_790_000_000_000
UTC = datetime.timezone.utc
NOT_BEFORE = datetime.datetime(2018, 3, 22, 23, 59, 59, tzinfo=UTC)

LAYER1 = hashlib.sha384(b"layer 1").digest()
CUSTOMER = hashlib.sha384(b"customer's part").digest()
ALIAS = hashlib.sha384(b"application").digest()


def write(name, data):
    path = os.path.join(HERE, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)


def canonical(value):
    return cbor2.dumps(value, canonical=True)


def digest(data):
    return [0x000B, hashlib.sha256(data).digest()]


def state():
    some = digest(b"x")
    return canonical({
        0: "alcub3/robot-state/v1", 1: 1, 2: ROBOT, 3: bytes([1] * 16), 4: NOW_MS, 5: [3], 6: 0, 7: 0, 8: False, 9: 0,
        10: [], 11: "alcub3 0.1.0", 12: [["legs", "2.1.0"]], 13: [["lidar", some]], 14: some, 15: [], 16: 0, 17: [],
        18: 0, 19: 900,
    })


def sign(folder, key):
    """State, statement and its signature, and the whole evidence, for the attestation key."""
    statement = canonical({
        0: "alcub3/dice-statement/v1", 1: 1, 2: NONCE, 3: ROBOT, 4: digest(state()), 5: 10,
    })
    r, s = decode_dss_signature(key.sign(statement, ec.ECDSA(hashes.SHA256())))
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    chain = {"tcg": ["root", "device", "layer1", "leaf"], "open": ["uds", "cdi1", "cdi2", "leaf"]}[folder]
    certificates = [open(os.path.join(HERE, folder, name + ".der"), "rb").read() for name in chain]
    write(folder + "/evidence.cbor", canonical({
        0: "alcub3/dice-evidence/v1", 1: 1, 2: certificates, 3: statement, 4: signature, 5: state(),
    }))
    write(folder + "/leaf.p8", key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))


# --- TCG, by SPSDK ---------------------------------------------------------------------------------------------------


def name(text):
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def usage(cert_sign):
    return x509.KeyUsage(
        key_cert_sign=cert_sign, digital_signature=not cert_sign, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, crl_sign=False, encipher_only=False, decipher_only=False)


def purpose(*oids):
    return x509.ExtendedKeyUsage([x509.ObjectIdentifier(oid) for oid in oids])


AUTHORITY = [x509.BasicConstraints(ca=True, path_length=None), usage(True)]
ATTEST = [usage(False), purpose("2.23.133.5.4.100.9")]


def raw(oid, value):
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value)


def tcb(**fields):
    """A DiceTcbInfo; without arguments the application's."""
    values = dict(
        vendor="Rover Works", model="RW-7", version="2.4.1", svn=5, layer=2, index=0, fwids=[ALIAS],
        flags=0x0000_0000, vendorInfo=b"lot 3", type=b"APP")
    values.update(fields)
    info = tcg_asn.DiceTcbInfo()
    for field, value in values.items():
        if value is None:
            continue
        if field == "fwids" and isinstance(value, list):
            value = tcg_asn.FWIDLIST.create(value)
        elif field == "flags":
            value = tcg_asn.OperationalFlags.create(value)
        elif field == "flagsMask":
            value = tcg_asn.OperationalFlagsMask.create(value)
        info.setComponentByName(field, value)
    return info


def tcb_ext(**fields):
    return raw("2.23.133.5.4.1", tcb(**fields).encode())


def layer1_ext(svn=7):
    return cust_exts.TCGDiceMultiTcbInfo([
        cust_exts.FMC_TCB(svn=svn, fwid_hashes=[LAYER1]),
        cust_exts.CUST_TCB(svn=3, fwid_hashes=[CUSTOMER], flags=0x0000_0000, mask=0xF000_0000),
    ])


def certificate(subject, public, issuer, key, critical=(), extensions=(), not_before=NOT_BEFORE, not_after=None, edit=None,
                outer=None):
    tbs = tcg_asn.TBSCertificate.create(
        subject=name(subject), public_key=public, serial=0x11223344, issuer=name(issuer), not_before=not_before,
        not_after=not_after, critical_extensions=list(critical), extensions=list(extensions))
    if edit:
        edit(tbs)
    whole = tcg_asn.Certificate.create(tbs, key)
    if outer:
        outer(whole["signatureAlgorithm"])
    return whole.encode()


def one_more(info, element):
    """The extension's value with one more element, which SPSDK's types do not have."""
    der = info.encode()
    body = der[2:] + element
    assert der[0] == 0x30 and der[1] + 2 == len(der) and len(body) < 0x80
    return bytes([0x30, len(body)]) + body


def explicit_default(der, key):
    """The certificate with the last extension's `critical` written although it is the default, signed again."""
    tbs = x509.load_der_x509_certificate(der).tbs_certificate_bytes
    oid = bytes.fromhex("060667810505040 1".replace(" ", ""))
    at = tbs.index(oid)
    tbs = bytearray(tbs[:at + len(oid)] + b"\x01\x01\x00" + tbs[at + len(oid):])

    def longer(tag, before):
        """Adds to the length of the last element with this tag before a place."""
        place = tbs.rindex(tag, 0, before)
        (at, width) = (place + len(tag), 1)
        if tbs[at] >= 0x80:
            (at, width) = (at + 1, tbs[at] - 0x80)
        length = int.from_bytes(tbs[at:at + width], "big") + 3
        tbs[at:at + width] = length.to_bytes(width, "big")
        return place

    extension = longer(b"\x30", at)
    extensions = longer(b"\xa3", extension)
    longer(b"\x30", extensions + 4)
    longer(b"\x30", 1)
    signature = key.key.sign(bytes(tbs), ec.ECDSA(hashes.SHA384()))
    algorithm = bytes.fromhex("300a06082a8648ce3d040303")
    body = bytes(tbs) + algorithm + bytes([0x03, len(signature) + 1, 0]) + signature
    return b"\x30\x82" + len(body).to_bytes(2, "big") + body


def make_tcg():
    root, device, layer1, other = (PrivateKeyEcc.generate_key(EccCurve.SECP384R1) for _ in range(4))
    leaf = PrivateKeyEcc.generate_key(EccCurve.SECP256R1)
    public = lambda key: key.get_public_key()
    ueid = cust_exts.TCGDiceUeid(b"device 0001 ueid")

    def as_root(**more):
        return certificate("Rover Works root", public(root), "Rover Works root", root, AUTHORITY, **more)

    def as_device(critical=AUTHORITY, extensions=(ueid,), **more):
        return certificate("RW-7 0001", public(device), "Rover Works root", root, critical, extensions, **more)

    def as_layer1(critical=(*AUTHORITY, purpose("2.23.133.5.4.100.12")), extensions=(layer1_ext(),), **more):
        return certificate("RW-7 0001 layer 1", public(layer1), "RW-7 0001", device, critical, extensions, **more)

    def as_leaf(critical=ATTEST, extensions=(tcb_ext(),), key=layer1, issuer="RW-7 0001 layer 1", of=None, **more):
        return certificate("RW-7 0001 alias", of or public(leaf), issuer, key, critical, extensions, **more)

    def out(name, data):
        write(f"tcg/{name}.der", data)

    out("root", as_root())
    out("device", as_device())
    out("layer1", as_layer1())
    out("leaf", as_leaf())
    sign("tcg", leaf.key)

    # Modes and numbers.
    out("leaf_not_configured", as_leaf(extensions=[tcb_ext(flags=0x8000_0000)]))
    out("leaf_not_secure", as_leaf(extensions=[tcb_ext(flags=0x4000_0000)]))
    out("leaf_recovery", as_leaf(extensions=[tcb_ext(flags=0x2000_0000)]))
    out("leaf_debug", as_leaf(extensions=[tcb_ext(flags=0x1000_0000)]))
    out("leaf_debug_masked", as_leaf(extensions=[tcb_ext(flags=0x1000_0000, flagsMask=0xE000_0000)]))
    out("leaf_mask_lacks_debug", as_leaf(extensions=[tcb_ext(flagsMask=0xE000_0000)]))
    out("leaf_no_flags", as_leaf(extensions=[tcb_ext(flags=None)]))
    out("leaf_no_svn", as_leaf(extensions=[tcb_ext(svn=None)]))
    # Measurements that are none.
    out("leaf_mask_only", as_leaf(extensions=[tcb_ext(flags=None, flagsMask=0xF000_0000)]))
    out("leaf_unknown_flag", as_leaf(extensions=[tcb_ext(flags=0x0010_0000)]))
    out("leaf_no_fwid", as_leaf(extensions=[tcb_ext(fwids=None)]))
    short = tcg_asn.FWIDLIST.create([ALIAS[:32]])
    out("leaf_short_fwid", as_leaf(extensions=[tcb_ext(fwids=short)]))
    sha1 = tcg_asn.FWIDLIST.create([ALIAS[:20]])
    sha1[0].setComponentByName("hashAlg", "1.3.14.3.2.26")
    out("leaf_sha1_fwid", as_leaf(extensions=[tcb_ext(fwids=sha1)]))
    registers = one_more(tcb(vendorInfo=None), bytes.fromhex("ab0530038101 00"))
    out("leaf_integrity_registers", as_leaf(extensions=[raw("2.23.133.5.4.1", registers)]))
    out("leaf_trailing", as_leaf(extensions=[raw("2.23.133.5.4.1", tcb().encode() + b"\x05\x00")]))
    out("leaf_two_kinds", as_leaf(extensions=[tcb_ext(), layer1_ext()]))
    # Extensions.
    out("leaf_twice", as_leaf(extensions=[tcb_ext(), tcb_ext()]))
    unknown = raw("1.3.6.1.4.1.57264.99.1", b"\x05\x00")
    out("leaf_unknown_critical", as_leaf(critical=[*ATTEST, unknown]))
    out("leaf_unknown_other", as_leaf(extensions=[tcb_ext(), unknown]))
    out("leaf_two_devices", as_leaf(extensions=[tcb_ext(), cust_exts.TCGDiceUeid(b"device 0002 ueid")]))
    # Rights.
    out("leaf_authority", as_leaf(critical=AUTHORITY))
    out("leaf_may_not_sign", as_leaf(critical=[purpose("2.23.133.5.4.100.9")]))
    out("leaf_other_purpose", as_leaf(critical=[usage(False), purpose("1.3.6.1.5.5.7.3.1")]))
    out("below_leaf", as_leaf(key=leaf, issuer="RW-7 0001 alias"))
    out("device_no_depth", as_device(critical=[x509.BasicConstraints(ca=True, path_length=0), usage(True)]))
    out("layer1_may_not_issue", as_layer1(critical=[x509.BasicConstraints(ca=True, path_length=None), usage(False)]))
    no_authority = x509.BasicConstraints(ca=False, path_length=None)
    out("layer1_no_authority", as_layer1(critical=[no_authority, usage(True)]))
    out("layer1_other_purpose", as_layer1(critical=[*AUTHORITY, purpose("2.23.133.5.4.100.9")]))
    # Links.
    out("leaf_forged", as_leaf(key=other))
    out("leaf_other_issuer", as_leaf(issuer="RW-7 0002 layer 1"))
    out("leaf_expired", as_leaf(not_after=datetime.datetime(2050, 1, 1, tzinfo=UTC)))
    # Form.
    out("leaf_version2", as_leaf(edit=lambda tbs: tbs.setComponentByName("version", 1)))
    out("leaf_explicit_default", explicit_default(as_leaf(), layer1))
    out("leaf_constraints_default", as_leaf(critical=[*ATTEST, raw("2.5.29.19", bytes.fromhex("3003010100"))]))

    def null(algorithm):
        algorithm.setComponentByName("parameters", b"\x05\x00")

    out("leaf_null_parameters", as_leaf(edit=lambda tbs: null(tbs["signature"]), outer=null))
    out("leaf_two_algorithms", as_leaf(edit=lambda tbs: null(tbs["signature"])))
    other_oid = lambda algorithm: algorithm.setComponentByName("algorithm", "1.2.840.10045.4.1")
    out("leaf_sha1_signature", as_leaf(edit=lambda tbs: other_oid(tbs["signature"]), outer=other_oid))

    class Edwards:
        """An Ed25519 key where SPSDK takes one of its own."""

        def export(self, _):
            spki = ed25519.Ed25519PrivateKey.generate().public_key()
            return spki.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)

    out("leaf_ed25519", as_leaf(of=Edwards(), edit=lambda tbs: tbs["signature"].setComponentByName(
        "algorithm", tcg_asn.sig_ecdsa_with_sha384)))
    # A manufacturer whose root is RSA; by the package cryptography.
    manufacturer = rsa.generate_private_key(65537, 2048)

    def by_rsa(subject, key, extensions):
        builder = x509.CertificateBuilder(
            issuer_name=name("Rover Works RSA"), subject_name=name(subject), public_key=key, serial_number=5,
            not_valid_before=NOT_BEFORE, not_valid_after=datetime.datetime(9999, 12, 31, 23, 59, 59))
        for critical, extension in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(manufacturer, hashes.SHA384()).public_bytes(serialization.Encoding.DER)

    authority = [(True, extension) for extension in AUTHORITY]
    out("rsa_root", by_rsa("Rover Works RSA", manufacturer.public_key(), authority))
    out("rsa_device", by_rsa("RW-7 0001", device.key.public_key(), [*authority, (False, ueid)]))

    # Layers: measured device, unmeasured layer, swapped layers.
    out("device_measured", as_device(extensions=[ueid, tcb_ext(layer=0)]))
    out("layer1_unmeasured", as_layer1(extensions=[]))
    out("layer1_swapped", as_layer1(extensions=[tcb_ext()]))
    out("leaf_swapped", as_leaf(extensions=[layer1_ext()]))


# --- Open Profile, by openssl ----------------------------------------------------------------------------------------

CONFIGURATION = """
[ca]
default_ca = own
[own]
database = {folder}/index
serial = {folder}/serial
new_certs_dir = {folder}
default_md = sha512
policy = any
unique_subject = no
[any]
serialNumber = supplied
[req]
distinguished_name = dn
prompt = no
[dn]
serialNumber = {subject}
[uds]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
subjectKeyIdentifier = hash
[cdi]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
1.3.6.1.4.1.11129.2.1.24 = critical,ASN1:SEQUENCE:inputs
[leaf]
keyUsage = critical,digitalSignature
[inputs]
{inputs}
"""


def inputs(code, configuration, authority, mode, hashed=False, profile=None, wrong=False, lacking=None):
    fields = {
        "code": f"EXPLICIT:0,FORMAT:HEX,OCTETSTRING:{code}",
        "hash": None,
        "configuration": f"EXPLICIT:3,FORMAT:HEX,OCTETSTRING:{configuration.hex()}",
        "authority": f"EXPLICIT:4,FORMAT:HEX,OCTETSTRING:{authority}",
        "mode": f"EXPLICIT:6,{mode}",
        "profile": f"EXPLICIT:7,UTF8:{profile}" if profile else None,
    }
    if hashed:
        value = hashlib.sha512(configuration + (b"!" if wrong else b"")).hexdigest()
        fields["hash"] = f"EXPLICIT:2,FORMAT:HEX,OCTETSTRING:{value}"
    lines = [f"{field} = {value}" for field, value in fields.items() if value and field != lacking]
    return "\n".join(lines)


class Authority:
    def __init__(self, folder):
        self.folder = folder

    def run(self, *arguments):
        subprocess.run(["openssl", *arguments], check=True, cwd=self.folder, capture_output=True)

    def key(self, name):
        self.run("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.pem")

    def issue(self, out, subject, issuer, section, values=""):
        """Certificate `out` of the key `subject` by the key `issuer`, valid as the profile says."""
        with open(f"{self.folder}/index", "w"):
            pass
        with open(f"{self.folder}/serial", "w") as file:
            file.write("1D")
        with open(f"{self.folder}/config", "w") as file:
            identifier = hashlib.sha512(subject.encode()).hexdigest()[:40]
            file.write(CONFIGURATION.format(folder=self.folder, subject=identifier, inputs=values))
        self.run("req", "-new", "-key", f"{subject}.pem", "-config", "config", "-out", "request")
        own = ["-selfsign"] if subject == issuer else ["-cert", f"{issuer}.crt"]
        self.run("ca", "-batch", "-notext", "-config", "config", "-extensions", section, "-in", "request", "-keyfile",
                 f"{issuer}.pem", *own, "-startdate", "180322235959Z", "-enddate", "99991231235959Z", "-out", f"{out}.crt")
        self.run("x509", "-in", f"{out}.crt", "-outform", "DER", "-out", f"{out}.der")
        with open(f"{self.folder}/{out}.der", "rb") as file:
            write(f"open/{out}.der", file.read())


def make_open():
    boot, system = (hashlib.sha512(text).hexdigest() for text in (b"boot loader", b"system"))
    vendor = hashlib.sha512(b"vendor's key").hexdigest()
    inline = bytes([0x80]) + bytes(63)
    described = canonical({-70002: "system", -70003: 12})
    first = inputs(boot, inline, vendor, "ENUM:1")
    second = dict(code=system, configuration=described, authority=vendor, mode="INTEGER:1", hashed=True, profile="rover.1")
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(folder)
        for key in ("uds", "cdi1", "cdi2", "leaf"):
            authority.key(key)
        authority.issue("uds", "uds", "uds", "uds")
        authority.issue("cdi1", "cdi1", "uds", "cdi", first)
        for number, name in ((0, "not_configured"), (2, "debug"), (3, "recovery"), (9, "unknown")):
            authority.issue(f"cdi2_{name}", "cdi2", "cdi1", "cdi", inputs(**{**second, "mode": f"INTEGER:{number}"}))
        authority.issue("cdi2_wrong_hash", "cdi2", "cdi1", "cdi", inputs(**second, wrong=True))
        for field in ("code", "configuration", "authority", "mode"):
            changed = {**second, "hashed": field != "configuration"}
            authority.issue(f"cdi2_no_{field}", "cdi2", "cdi1", "cdi", inputs(**changed, lacking=field))
        authority.issue("cdi2", "cdi2", "cdi1", "cdi", inputs(**second))
        authority.issue("leaf", "leaf", "cdi2", "leaf")
        with open(f"{folder}/leaf.pem", "rb") as file:
            sign("open", serialization.load_pem_private_key(file.read(), None))


make_tcg()
make_open()
