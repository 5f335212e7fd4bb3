//! How many TPM commands each operation costs, in the steady state: the table of SPECIFICATION.md (NUM-5).
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_crypto::tpm::{PublicTemplate, make_credential};
use alcub3_crypto::{Curve, HashAlg, Secret};
use alcub3_tpm::ops::{Hierarchy, Key, nv_attribute};
use alcub3_tpm::{Auth, OsEntropy};
use std::collections::BTreeMap;
use std::path::Path;
use support::{Fixture, attributes, fixture, nothing};

/// Operation and its commands, in the order they are sent.
const TABLE: &[(&str, &[&str])] = &[
    ("random, 32 bytes", &["GetRandom"]),
    ("stir_random, 32 bytes", &["StirRandom"]),
    ("pcr_read, 8 values", &["PCR_Read"]),
    ("pcr_extend, all banks", &["PCR_Extend"]),
    ("pcr_event", &["PCR_Event"]),
    ("pcr_reset", &["PCR_Reset"]),
    ("nv_define", &["NV_DefineSpace"]),
    ("nv_read_public, known", &[]),
    ("nv_increment", &["NV_Increment"]),
    ("nv_counter", &["NV_Read"]),
    ("nv_extend", &["NV_Extend"]),
    ("nv_read, 512 bytes", &["NV_Read"]),
    ("nv_write, 512 bytes", &["NV_Write"]),
    ("nv_certify", &["NV_Certify"]),
    ("nv_undefine", &["NV_UndefineSpace"]),
    ("create_primary", &["CreatePrimary"]),
    ("create", &["Create"]),
    ("load", &["Load"]),
    ("load_external", &["LoadExternal"]),
    ("read_public, known", &[]),
    ("evict_control_make", &["EvictControl"]),
    ("evict_control_remove", &["EvictControl"]),
    ("sign", &["Sign"]),
    ("verify_signature", &["VerifySignature"]),
    ("hmac", &["HMAC"]),
    ("seal, any size", &["Create"]),
    ("unseal, any size", &["Load", "Unseal", "FlushContext"]),
    ("quote", &["Quote"]),
    ("certify", &["Certify"]),
    ("certify_creation", &["CertifyCreation"]),
    ("get_time", &["GetTime"]),
    ("read_clock", &["ReadClock"]),
    (
        "activate_credential, with the EK's policy",
        &[
            "StartAuthSession",
            "PolicySecret",
            "ActivateCredential",
            "FlushContext",
        ],
    ),
    ("lockout_state", &["GetCapability"]),
    ("chip_info, known", &[]),
    ("emergency_stop_commands", &["NV_Increment", "PCR_Extend"]),
];

const EPOCH: u32 = 0x0181_0000;
const REGISTER: u32 = 0x0181_0040;
const DATA: u32 = 0x0181_0050;

/// What was measured so far.
struct Meter {
    f: Fixture,
    measured: BTreeMap<&'static str, Vec<String>>,
}

impl Meter {
    /// Measures an operation, the flushing of what it dropped included.
    fn of<T>(&mut self, name: &'static str, operation: impl FnOnce(&mut Fixture) -> T) -> T {
        self.f.settle();
        let (result, mut sent) = self.f.sent(|f| operation(f));
        let ((), flushes) = self.f.sent(Fixture::settle);
        sent.extend(flushes.into_iter().filter(|name| name == "FlushContext"));
        self.measured.insert(name, sent);
        result
    }
}

fn nv_rows(m: &mut Meter) {
    let ak = m.f.ak.clone();
    m.of("nv_define", |f| f.define(EPOCH, nv_attribute::COUNTER, 8));
    m.f.chip.nv_increment(EPOCH).unwrap();
    m.f.define(REGISTER, nv_attribute::EXTEND, 32);
    m.f.define(DATA, 0, 512);
    m.of("nv_read_public, known", |f| f.chip.nv_read_public(EPOCH).unwrap());
    m.of("nv_increment", |f| f.chip.nv_increment(EPOCH).unwrap());
    m.of("nv_counter", |f| f.chip.nv_counter(EPOCH).unwrap());
    m.of("nv_extend", |f| f.chip.nv_extend(REGISTER, b"x").unwrap());
    m.of("nv_write, 512 bytes", |f| {
        f.chip.nv_write(DATA, Auth::Empty, &[1; 512]).unwrap();
    });
    m.of("nv_read, 512 bytes", |f| f.chip.nv_read(DATA).unwrap());
    m.of("nv_certify", |f| f.chip.nv_certify(&ak, EPOCH, b"q").unwrap());
    m.of("nv_undefine", |f| f.chip.nv_undefine(&nothing(), DATA).unwrap());
}

fn pcr_and_random_rows(m: &mut Meter) {
    let digests = [HashAlg::Sha256.digest(&[b"x"]), HashAlg::Sha384.digest(&[b"x"])];
    m.f.chip.random(1).unwrap();
    m.of("random, 32 bytes", |f| f.chip.random(32).unwrap());
    m.of("stir_random, 32 bytes", |f| f.chip.stir_random(&[1; 32]).unwrap());
    m.of("pcr_read, 8 values", |f| {
        f.chip.pcr_read(&[(HashAlg::Sha256, 0xff)]).unwrap()
    });
    m.of("pcr_extend, all banks", |f| {
        f.chip.pcr_extend(16, &digests).unwrap();
    });
    m.of("pcr_event", |f| f.chip.pcr_event(16, b"event").unwrap());
    m.of("pcr_reset", |f| f.chip.pcr_reset(16).unwrap());
    m.of("read_clock", |f| f.chip.read_clock().unwrap());
    m.of("lockout_state", |f| f.chip.lockout_state().unwrap());
    m.f.chip.chip_info().unwrap();
    m.of("chip_info, known", |f| f.chip.chip_info().unwrap());
    m.of("emergency_stop_commands", |f| {
        f.chip.emergency_stop_commands(13, &digests, EPOCH)
    });
}

fn object_rows(m: &mut Meter) {
    let (srk, ak) = (m.f.srk.clone(), m.f.ak.clone());
    let template = PublicTemplate::signing_key(Curve::P256, attributes::SIGN_WITH_AUTH, None);
    let template = template.as_tpmt_bytes();
    let parent = PublicTemplate::storage_parent(Curve::P256);
    let primary = m.of("create_primary", |f| {
        support::primary(&mut f.chip, Hierarchy::Owner, &parent)
    });
    let kept = m.of("evict_control_make", |f| {
        f.chip
            .evict_control_make(&nothing(), &primary, 0x8101_0077)
            .unwrap()
    });
    drop(primary);
    m.of("read_public, known", |f| f.chip.read_public(0x8101_0077).unwrap());
    m.of("evict_control_remove", |f| {
        f.chip.evict_control_remove(&nothing(), &kept).unwrap();
    });
    let made = m.of("create", |f| {
        f.chip
            .create(&srk, Auth::Empty, template, &nothing(), None, &[])
            .unwrap()
    });
    let load = |f: &mut Fixture| {
        f.chip
            .load(&srk, Auth::Empty, &made.private, &made.public)
            .unwrap()
    };
    let key: Key = m.of("load", load).into();
    let external = m.of("load_external", |f| {
        f.chip
            .load_external(made.public.as_tpmt_bytes(), Hierarchy::Null)
            .unwrap()
    });
    drop(external);
    let digest = HashAlg::Sha256.digest(&[b"m"]);
    let signature = m.of("sign", |f| f.chip.sign(&key, Auth::Empty, &digest).unwrap());
    m.of("verify_signature", |f| {
        f.chip.verify_signature(&key, &digest, &signature).unwrap()
    });
    m.of("certify", |f| {
        f.chip.certify(&key, Auth::Empty, &ak, b"q").unwrap()
    });
    m.of("certify_creation", |f| {
        f.chip.certify_creation(&ak, &key, b"q", &made.creation).unwrap()
    });
    drop(key);
    let mac = PublicTemplate::hmac_key(HashAlg::Sha256, attributes::WITH_AUTH, None);
    let mac = m.f.child(mac.as_tpmt_bytes(), &nothing());
    m.of("hmac", |f| f.chip.hmac(&mac, Auth::Empty, b"data").unwrap());
}

fn attesting_and_sealing_rows(m: &mut Meter) {
    let (srk, ak, ek) = (m.f.srk.clone(), m.f.ak.clone(), m.f.ek.clone());
    m.of("quote", |f| {
        f.chip.quote(&ak, b"q", &[(HashAlg::Sha256, 0xff)]).unwrap()
    });
    m.of("get_time", |f| f.chip.get_time(Auth::Empty, &ak, b"q").unwrap());
    let sealed = m.of("seal, any size", |f| {
        f.chip.seal(&srk, Auth::Empty, None, &[1; 4096]).unwrap()
    });
    m.of("unseal, any size", |f| {
        f.chip.unseal(&srk, Auth::Empty, Auth::Empty, &sealed).unwrap()
    });
    let made = make_credential(ek.public(), ak.name(), b"challenge", &mut OsEntropy).unwrap();
    m.of("activate_credential, with the EK's policy", |f| {
        let session = f
            .chip
            .policy_session(&support::ek_policy(), &support::ek_inputs())
            .unwrap();
        let auth = Auth::Policy(&session);
        let (id, secret) = (&made.id_object, &made.encrypted_secret);
        let recovered: Secret = f
            .chip
            .activate_credential(&ak, Auth::Empty, &ek, auth, id, secret)
            .unwrap();
        assert_eq!(recovered.expose(), b"challenge");
    });
}

#[test]
fn each_operation_costs_the_commands_of_the_table() {
    let mut m = Meter {
        f: fixture(),
        measured: BTreeMap::new(),
    };
    nv_rows(&mut m);
    pcr_and_random_rows(&mut m);
    object_rows(&mut m);
    attesting_and_sealing_rows(&mut m);
    for (name, commands) in TABLE {
        let measured = m.measured.remove(name);
        assert_eq!(
            measured.as_deref(),
            Some(&commands.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>()[..]),
            "{name}"
        );
    }
    assert!(m.measured.is_empty(), "not in the table: {:?}", m.measured);
}

#[test]
fn the_specification_lists_the_same_counts() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../SPECIFICATION.md");
    let text = std::fs::read_to_string(path).unwrap();
    for (name, commands) in TABLE {
        let row = format!("| {name} | {} |", commands.len());
        assert!(text.contains(&row), "SPECIFICATION.md lacks the row: {row}");
    }
}
