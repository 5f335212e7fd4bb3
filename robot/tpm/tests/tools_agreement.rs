//! Agreement with `tpm2-tools`, an independent implementation, on one swtpm: Names, PCRs, quotes, signatures, sealed
//! objects and credentials, in both directions.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_crypto::tpm::{Public, PublicTemplate};
use alcub3_crypto::{Curve, HashAlg};
use alcub3_testkit::Tools;
use alcub3_tpm::Auth;
use alcub3_tpm::ops::{Hierarchy, Key, nv_attribute};
use std::fs;
use support::{attributes, fixture, nothing};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn write(tools: &Tools, name: &str, bytes: &[u8]) {
    fs::write(tools.folder().join(name), bytes).unwrap();
}

fn read(tools: &Tools, name: &str) -> Vec<u8> {
    fs::read(tools.folder().join(name)).unwrap()
}

fn tpm2b(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

#[test]
fn names_are_the_same() {
    let mut f = fixture();
    let (_served, tools) = f.tools();
    for (handle, key) in [
        ("0x81010001", f.ek.clone()),
        ("0x81010010", f.ak.clone()),
        ("0x81010020", f.srk.clone()),
    ] {
        tools
            .run("readpublic", &["-c", handle, "-n", "name", "-o", "pub"])
            .unwrap();
        assert_eq!(read(&tools, "name"), key.name().as_bytes());
        assert_eq!(read(&tools, "pub"), key.public().to_tpm2b());
        assert_eq!(Public::from_tpm2b(&read(&tools, "pub")).unwrap(), *key.public());
    }
    let public = f.define(0x0181_0000, nv_attribute::COUNTER, 8);
    let shown = || tools.run("nvreadpublic", &["0x1810000"]).unwrap().text();
    let name = hex(public.name().as_bytes());
    assert!(shown().contains(&name), "{name}: {}", shown());
    f.chip.nv_increment(public.index).unwrap();
    let name = hex(f.chip.nv_read_public(public.index).unwrap().name().as_bytes());
    assert!(shown().contains(&name), "{name}: {}", shown());
}

#[test]
fn pcrs_and_quotes_are_accepted() {
    let mut f = fixture();
    let (_served, tools) = f.tools();
    let ak = f.ak.clone();
    f.chip.pcr_extend(16, &[HashAlg::Sha256.digest(&[b"x"])]).unwrap();
    tools
        .run("pcrread", &["sha256:0,16+sha384:16", "-o", "pcrs"])
        .unwrap();
    let select = [(HashAlg::Sha256, 0x0001_0001), (HashAlg::Sha384, 0x0001_0000)];
    let values = f.chip.pcr_read(&select).unwrap();
    let ours: Vec<u8> = values
        .iter()
        .flat_map(|(_, value)| value.as_bytes().to_vec())
        .collect();
    assert_eq!(read(&tools, "pcrs"), ours);
    let quote = f.chip.quote(&ak, b"nonce of the verifier", &select).unwrap();
    write(&tools, "msg", &quote.message);
    write(&tools, "sig", &quote.signature);
    tools
        .run("readpublic", &["-c", "0x81010010", "-f", "pem", "-o", "ak.pem"])
        .unwrap();
    let nonce = hex(b"nonce of the verifier");
    tools
        .run(
            "checkquote",
            &[
                "-u", "ak.pem", "-m", "msg", "-s", "sig", "-g", "sha256", "-q", &nonce,
            ],
        )
        .unwrap();
    let other = hex(b"nonce of another");
    assert!(
        tools
            .run(
                "checkquote",
                &[
                    "-u", "ak.pem", "-m", "msg", "-s", "sig", "-g", "sha256", "-q", &other
                ]
            )
            .is_err()
    );
}

#[test]
fn signatures_verify() {
    let mut f = fixture();
    let (_served, tools) = f.tools();
    let template = PublicTemplate::signing_key(Curve::P384, attributes::SIGN_WITH_AUTH, None);
    let key = f.child(template.as_tpmt_bytes(), &nothing());
    let signature = f
        .chip
        .sign(&key, Auth::Empty, &HashAlg::Sha384.digest(&[b"message"]))
        .unwrap();
    write(&tools, "key.pub", &key.public().to_tpm2b());
    write(&tools, "message", b"message");
    write(&tools, "sig", &signature.to_tpmt());
    tools
        .run("loadexternal", &["-C", "n", "-u", "key.pub", "-c", "key.ctx"])
        .unwrap();
    tools
        .run(
            "verifysignature",
            &["-c", "key.ctx", "-g", "sha384", "-m", "message", "-s", "sig"],
        )
        .unwrap();
    write(&tools, "message", b"massage");
    assert!(
        tools
            .run(
                "verifysignature",
                &["-c", "key.ctx", "-g", "sha384", "-m", "message", "-s", "sig"]
            )
            .is_err()
    );
}

#[test]
fn sealed_objects_open_on_both_sides() {
    let mut f = fixture();
    let (_served, tools) = f.tools();
    let srk = f.srk.clone();
    let sealed = f.chip.seal(&srk, Auth::Empty, None, b"sealed here").unwrap();
    write(&tools, "our.pub", &sealed.public().to_tpm2b());
    write(&tools, "our.priv", &tpm2b(sealed.private()));
    tools
        .run(
            "load",
            &[
                "-C",
                "0x81010020",
                "-u",
                "our.pub",
                "-r",
                "our.priv",
                "-c",
                "our.ctx",
            ],
        )
        .unwrap();
    assert_eq!(
        tools.run("unseal", &["-c", "our.ctx"]).unwrap().stdout,
        b"sealed here"
    );
    tools.run("flushcontext", &["-t"]).unwrap();
    write(&tools, "data", b"sealed there");
    let create = [
        "-C",
        "0x81010020",
        "-i",
        "data",
        "-u",
        "their.pub",
        "-r",
        "their.priv",
        "-g",
        "sha256",
    ];
    tools.run("create", &create).unwrap();
    tools.run("flushcontext", &["-t"]).unwrap();
    let public = Public::from_tpm2b(&read(&tools, "their.pub")).unwrap();
    let private = read(&tools, "their.priv");
    let object: Key = f
        .chip
        .load(&srk, Auth::Empty, &private[2..], &public)
        .unwrap()
        .into();
    assert_eq!(
        f.chip.unseal_object(&object, Auth::Empty).unwrap().expose(),
        b"sealed there"
    );
    drop(object);
    f.assert_no_leak();
}

#[test]
fn a_credential_of_tpm2_makecredential_is_activated() {
    let mut f = fixture();
    let (_served, tools) = f.tools();
    let (ek, ak) = (f.ek.clone(), f.ak.clone());
    write(&tools, "ek.pub", &ek.public().to_tpm2b());
    write(&tools, "secret", b"a challenge");
    let name = hex(ak.name().as_bytes());
    tools
        .run(
            "makecredential",
            &[
                "-T", "none", "-u", "ek.pub", "-s", "secret", "-n", &name, "-o", "cred",
            ],
        )
        .unwrap();
    let credential = read(&tools, "cred");
    // Magic and version, then two TPM2Bs.
    let id_len = usize::from(u16::from_be_bytes([credential[8], credential[9]]));
    let (id, secret) = (&credential[10..10 + id_len], &credential[12 + id_len..]);
    let session = f
        .chip
        .policy_session(&support::ek_policy(), &support::ek_inputs())
        .unwrap();
    let recovered = f
        .chip
        .activate_credential(&ak, Auth::Empty, &ek, Auth::Policy(&session), id, secret)
        .unwrap();
    assert_eq!(recovered.expose(), b"a challenge");
}

#[test]
fn what_the_tools_made_persistent_is_found() {
    let mut f = fixture();
    let (_served, tools) = f.tools();
    tools
        .run("createprimary", &["-C", "o", "-G", "ecc", "-c", "p.ctx"])
        .unwrap();
    tools
        .run("evictcontrol", &["-C", "o", "-c", "p.ctx", "0x81010077"])
        .unwrap();
    tools.run("flushcontext", &["-t"]).unwrap();
    let key = f.chip.persistent_key(0x8101_0077).unwrap().unwrap();
    let object = f
        .chip
        .load_external(key.public().as_tpmt_bytes(), Hierarchy::Null)
        .unwrap();
    assert_eq!(object.name(), key.name());
    f.chip.evict_control_remove(&nothing(), &key).unwrap();
    assert!(tools.run("readpublic", &["-c", "0x81010077"]).is_err());
    drop(object);
    f.assert_no_leak();
}
