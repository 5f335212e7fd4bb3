//! Every operation once on a real TPM: what it returns, what it costs in commands, that it leaves nothing behind.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_crypto::tpm::policy::Policy;
use alcub3_crypto::tpm::{PublicTemplate, Signature, attribute, make_credential};
use alcub3_crypto::{Curve, HashAlg, Secret, SignatureScheme, hmac};
use alcub3_tpm::ops::{Hierarchy, Key, PolicyInputs, nv_attribute};
use alcub3_tpm::{Auth, OsEntropy, ResponseCode, TpmError};
use support::{attributes, fixture, nothing};

const BOTH: [(HashAlg, u32); 2] = [(HashAlg::Sha256, 0x0081_00ff), (HashAlg::Sha384, 1 << 16)];

#[test]
fn random_is_tested_once_then_costs_one_command() {
    let mut f = fixture();
    let (first, sent) = f.sent(|f| f.chip.random(32).unwrap());
    assert!(
        sent.len() >= 17 && sent.iter().all(|name| name == "GetRandom"),
        "{sent:?}"
    );
    let (second, sent) = f.sent(|f| f.chip.random(32).unwrap());
    assert_eq!(sent, ["GetRandom"]);
    assert_eq!(second.len(), 32);
    assert_ne!(first.expose(), second.expose());
    assert_eq!(f.chip.random(0).unwrap().len(), 0);
    assert_eq!(f.chip.random(1000).unwrap().len(), 1000);
    let ((), sent) = f.sent(|f| f.chip.stir_random(&[7; 200]).unwrap());
    assert_eq!(sent, ["StirRandom", "StirRandom"]);
    f.assert_no_leak();
}

#[test]
fn pcrs_are_read_extended_and_reset_in_all_banks() {
    let mut f = fixture();
    let (before, sent) = f.sent(|f| f.chip.pcr_read(&BOTH).unwrap());
    assert_eq!(before.iter().count(), 11);
    assert_eq!(sent, ["PCR_Read", "PCR_Read"]);
    let data = [HashAlg::Sha256.digest(&[b"a"]), HashAlg::Sha384.digest(&[b"a"])];
    let ((), sent) = f.sent(|f| f.chip.pcr_extend(16, &data).unwrap());
    assert_eq!(sent, ["PCR_Extend"]);
    let after = f.chip.pcr_read(&BOTH).unwrap();
    for digest in data {
        let old = before.get(digest.alg(), 16).unwrap();
        assert_eq!(after.get(digest.alg(), 16), Some(&old.extend(digest.as_bytes())));
    }
    assert_eq!(after.get(HashAlg::Sha256, 0), before.get(HashAlg::Sha256, 0));
    let (events, sent) = f.sent(|f| f.chip.pcr_event(16, b"event").unwrap());
    assert_eq!(sent, ["PCR_Event"]);
    assert!(events.contains(&HashAlg::Sha256.digest(&[b"event"])));
    let ((), sent) = f.sent(|f| f.chip.pcr_reset(16).unwrap());
    assert_eq!(sent, ["PCR_Reset"]);
    assert_eq!(
        f.chip.pcr_read(&BOTH).unwrap().get(HashAlg::Sha256, 16),
        before.get(HashAlg::Sha256, 16)
    );
    let (digest, sent) = f.sent(|f| f.chip.pcr_digest(HashAlg::Sha256, &BOTH[1..]).unwrap());
    assert_eq!(sent, ["PCR_Read"]);
    assert_eq!(digest, HashAlg::Sha256.digest(&[&[0; 48]]));
    assert!(f.chip.pcr_read(&[(HashAlg::Sha256, 1 << 24)]).is_err());
    assert!(f.chip.pcr_reset(0).is_err());
}

#[test]
fn a_counter_counts_and_its_name_is_followed_without_asking() {
    let mut f = fixture();
    let public = f.define(0x0181_0000, nv_attribute::COUNTER, 8);
    assert!(
        f.chip
            .nv_counter(public.index)
            .unwrap_err()
            .is_refusal(ResponseCode::NV_UNINITIALIZED)
    );
    let ((), sent) = f.sent(|f| f.chip.nv_increment(public.index).unwrap());
    assert_eq!(sent, ["NV_Increment"]);
    let (value, sent) = f.sent(|f| f.chip.nv_counter(public.index).unwrap());
    assert_eq!(sent, ["NV_Read"]);
    let ((), sent) = f.sent(|f| f.chip.nv_increment(public.index).unwrap());
    assert_eq!(sent, ["NV_Increment"]);
    assert_eq!(f.chip.nv_counter(public.index).unwrap(), value + 1);
    assert!(f.chip.nv_read_public(public.index).unwrap().is_written());
    f.chip.forget_nv(public.index);
    let (read, sent) = f.sent(|f| f.chip.nv_read_public(public.index).unwrap());
    assert_eq!(sent, ["NV_ReadPublic", "NV_ReadPublic"]);
    assert_eq!(read.attributes, public.attributes | nv_attribute::WRITTEN);
    let other = alcub3_tpm::ops::NvPublic {
        size: 9,
        ..public.clone()
    };
    for known in [true, false] {
        if !known {
            f.chip.forget_nv(public.index);
        }
        let (found, sent) = f.sent(|f| f.chip.nv_expect(&public).unwrap());
        assert!(found.is_written());
        assert_eq!(sent.len(), usize::from(!known));
        f.chip.forget_nv(public.index);
        let error = f.chip.nv_expect(&other).unwrap_err();
        assert!(matches!(error, TpmError::Malformed { .. }), "{error}");
    }
    let fresh = f.define(0x0181_0009, nv_attribute::COUNTER, 8);
    f.chip.forget_nv(fresh.index);
    let (found, sent) = f.sent(|f| f.chip.nv_expect(&fresh).unwrap());
    assert_eq!((found.is_written(), sent.len()), (false, 2));
    f.chip.nv_read_public(public.index).unwrap();
    let ((), sent) = f.sent(|f| f.chip.nv_undefine(&nothing(), public.index).unwrap());
    assert_eq!(sent, ["NV_UndefineSpace"]);
    assert!(
        f.chip
            .nv_read_public(public.index)
            .unwrap_err()
            .is_refusal(ResponseCode::HANDLE)
    );
}

#[test]
fn a_name_that_another_program_changed_is_learnt_again() {
    let mut f = fixture();
    let public = f.define(0x0181_0001, nv_attribute::COUNTER, 8);
    let (_served, tools) = f.tools();
    tools.run("nvincrement", &["0x1810001"]).unwrap();
    // Our cache still has the Name of the unwritten index.
    let (value, sent) = f.sent(|f| f.chip.nv_counter(public.index).unwrap());
    assert!(value > 0);
    assert_eq!(sent, ["NV_Read", "NV_ReadPublic", "NV_ReadPublic", "NV_Read"]);
}

#[test]
fn ordinary_and_extending_indices_hold_what_was_put_in() {
    let mut f = fixture();
    let public = f.define(0x0181_0002, 0, 1200);
    let data: Vec<u8> = (0..1200u32).map(|i| u8::try_from(i % 251).unwrap()).collect();
    let ((), sent) = f.sent(|f| f.chip.nv_write(public.index, Auth::Empty, &data).unwrap());
    assert_eq!(sent, ["NV_Write"; 3]);
    let (read, sent) = f.sent(|f| f.chip.nv_read(public.index).unwrap());
    assert_eq!(sent, ["NV_Read"; 3]);
    assert_eq!(read, data);
    let (_served, tools) = f.tools();
    assert_eq!(tools.run("nvread", &["0x1810002"]).unwrap().stdout, data);
    let register = f.define(0x0181_0003, nv_attribute::EXTEND, 32);
    let ((), sent) = f.sent(|f| f.chip.nv_extend(register.index, b"firmware").unwrap());
    assert_eq!(sent, ["NV_Extend"]);
    let expected = HashAlg::Sha256.digest(&[&[0; 32], b"firmware"]);
    assert_eq!(f.chip.nv_read(register.index).unwrap(), expected.as_bytes());
    let full = f
        .chip
        .nv_write(public.index, Auth::Empty, &[0; 1300])
        .unwrap_err();
    assert!(full.is_refusal(ResponseCode::NV_RANGE), "{full}");
    f.assert_no_leak();
}

#[test]
fn quotes_and_certifications_answer_what_was_asked() {
    let mut f = fixture();
    let (ak, srk) = (f.ak.clone(), f.srk.clone());
    let key = ak.public().verifying_key().unwrap();
    let check = |attestation: &alcub3_tpm::ops::Attestation| {
        let signature = Signature::from_tpmt_signature(&attestation.signature).unwrap();
        signature.verify(&key, &attestation.message).unwrap();
    };
    let (quote, sent) = f.sent(|f| f.chip.quote(&ak, b"nonce", &BOTH).unwrap());
    assert_eq!(sent, ["Quote"]);
    check(&quote);
    let (certified, sent) = f.sent(|f| f.chip.certify(&srk, Auth::Empty, &ak, b"c").unwrap());
    assert_eq!(sent, ["Certify"]);
    check(&certified);
    let (time, sent) = f.sent(|f| f.chip.get_time(Auth::Empty, &ak, b"t").unwrap());
    assert_eq!(sent, ["GetTime"]);
    check(&time);
    let counter = f.define(0x0181_0000, nv_attribute::COUNTER, 8);
    f.chip.nv_increment(counter.index).unwrap();
    let (nv, sent) = f.sent(|f| f.chip.nv_certify(&ak, counter.index, b"n").unwrap());
    assert_eq!(sent, ["NV_Certify"]);
    check(&nv);
    let template = PublicTemplate::signing_key(Curve::P256, attributes::SIGN_WITH_AUTH, None);
    let made = f
        .chip
        .create(
            &srk,
            Auth::Empty,
            template.as_tpmt_bytes(),
            &nothing(),
            None,
            b"outside",
        )
        .unwrap();
    let object: Key = f
        .chip
        .load(&srk, Auth::Empty, &made.private, &made.public)
        .unwrap()
        .into();
    let certify = |f: &mut support::Fixture| {
        f.chip
            .certify_creation(&ak, &object, b"k", &made.creation)
            .unwrap()
    };
    let (creation, sent) = f.sent(certify);
    assert_eq!(sent, ["CertifyCreation"]);
    check(&creation);
    let mut forged = made.creation.clone();
    forged.hash = HashAlg::Sha256.digest(&[b"other"]);
    let refused = f.chip.certify_creation(&ak, &object, b"k", &forged).unwrap_err();
    assert!(refused.is_refusal(ResponseCode::TICKET), "{refused}");
    drop(object);
    f.assert_no_leak();
}

#[test]
fn a_bank_that_is_not_allocated_is_an_error_not_an_empty_quote() {
    let mut f = fixture();
    let ak = f.ak.clone();
    let (_served, tools) = f.tools();
    tools
        .run("pcrallocate", &["sha1:none+sha256:all+sha384:all+sha512:none"])
        .unwrap();
    f.chip.shutdown(true).unwrap();
    f.swtpm.power_cycle(alcub3_testkit::PowerUp::Nothing).unwrap();
    f.chip.startup(true).unwrap();
    let info = f.chip.chip_info().unwrap();
    assert!(info.has_bank(HashAlg::Sha256) && !info.has_bank(HashAlg::Sha512));
    let error = f.chip.quote(&ak, b"", &[(HashAlg::Sha512, 1)]).unwrap_err();
    assert!(matches!(error, TpmError::Unsupported { .. }), "{error}");
    let error = f
        .chip
        .pcr_read(&[(HashAlg::Sha256, 1), (HashAlg::Sha512, 1)])
        .unwrap_err();
    assert!(matches!(error, TpmError::Unsupported { .. }), "{error}");
}

#[test]
fn keys_sign_agree_and_authenticate() {
    let mut f = fixture();
    let secret = Secret::from_slice(b"key auth");
    let key = f.child(
        PublicTemplate::signing_key(Curve::P256, attributes::SIGN_WITH_AUTH, None).as_tpmt_bytes(),
        &secret,
    );
    let digest = HashAlg::Sha256.digest(&[b"message"]);
    let (signature, sent) = f.sent(|f| f.chip.sign(&key, Auth::Value(&secret), &digest).unwrap());
    assert_eq!(sent, ["Sign"]);
    assert_eq!(signature.scheme, SignatureScheme::Ecdsa(HashAlg::Sha256));
    signature
        .verify(&key.public().verifying_key().unwrap(), b"message")
        .unwrap();
    let wrong = f
        .chip
        .sign(&key, Auth::Value(&Secret::from_slice(b"guess")), &digest)
        .unwrap_err();
    assert!(wrong.is_refusal(ResponseCode::BAD_AUTH), "{wrong}");
    let (ticket, sent) = f.sent(|f| f.chip.verify_signature(&key, &digest, &signature).unwrap());
    assert_eq!(sent, ["VerifySignature"]);
    assert_eq!(ticket.0[..2], [0x80, 0x22]);
    let other = HashAlg::Sha256.digest(&[b"other"]);
    assert!(
        f.chip
            .verify_signature(&key, &other, &signature)
            .unwrap_err()
            .is_refusal(ResponseCode::SIGNATURE)
    );
    drop(key);
    let mac = f.child(
        PublicTemplate::hmac_key(HashAlg::Sha256, attributes::WITH_AUTH, None).as_tpmt_bytes(),
        &nothing(),
    );
    let (tag, sent) = f.sent(|f| f.chip.hmac(&mac, Auth::Empty, b"data").unwrap());
    assert_eq!(sent, ["HMAC"]);
    assert_eq!(tag.len(), 32);
    assert_eq!(
        f.chip.hmac(&mac, Auth::Empty, b"data").unwrap().expose(),
        tag.expose()
    );
    assert!(f.chip.hmac(&mac, Auth::Empty, &[0; 1025]).is_err());
    drop(mac);
    f.assert_no_leak();
}

#[test]
fn an_hmac_key_with_known_data_gives_the_known_hmac() {
    let mut f = fixture();
    let srk = f.srk.clone();
    let bits = attribute::FIXED_TPM | attribute::FIXED_PARENT | attribute::USER_WITH_AUTH | attribute::NO_DA;
    let template = PublicTemplate::hmac_key(HashAlg::Sha256, bits, None);
    let data = Secret::from_slice(b"a known key of some length......");
    let made = f
        .chip
        .create(
            &srk,
            Auth::Empty,
            template.as_tpmt_bytes(),
            &nothing(),
            Some(&data),
            &[],
        )
        .unwrap();
    let key: Key = f
        .chip
        .load(&srk, Auth::Empty, &made.private, &made.public)
        .unwrap()
        .into();
    let tag = f.chip.hmac(&key, Auth::Empty, b"message").unwrap();
    assert_eq!(
        tag.expose(),
        hmac(HashAlg::Sha256, data.expose(), &[b"message"]).as_bytes()
    );
}

#[test]
fn two_keys_agree_on_one_secret() {
    let mut f = fixture();
    let bits = attributes::WITH_AUTH | attribute::DECRYPT;
    let template = ecdh_template(bits);
    let (a, b) = (f.child(&template, &nothing()), f.child(&template, &nothing()));
    let (_, ax, ay) = a.public().ec_point().unwrap();
    let (_, bx, by) = b.public().ec_point().unwrap();
    let (one, sent) = f.sent(|f| f.chip.ecdh_zgen(&a, Auth::Empty, &bx, &by).unwrap());
    assert_eq!(sent.last().unwrap(), "ECDH_ZGen");
    let other = f.chip.ecdh_zgen(&b, Auth::Empty, &ax, &ay).unwrap();
    assert_eq!(one.expose(), other.expose());
    assert_eq!(one.len(), 32);
}

/// An unrestricted ECDH key: the storage template's form without restriction.
fn ecdh_template(bits: u32) -> Vec<u8> {
    let mut bytes = PublicTemplate::signing_key(Curve::P256, bits, None).into_tpmt_bytes();
    // Attributes: decrypt instead of sign; scheme: ECDSA + hash becomes NULL without one.
    bytes[4..8].copy_from_slice(&bits.to_be_bytes());
    let at = bytes.windows(4).position(|w| w == [0x00, 0x18, 0x00, 0x0b]);
    if let Some(at) = at {
        bytes.splice(at..at + 4, [0x00, 0x10]);
    }
    bytes
}

#[test]
fn a_credential_is_activated_by_the_chip_that_has_both_keys() {
    let mut f = fixture();
    let (ek, ak) = (f.ek.clone(), f.ak.clone());
    let credential = make_credential(ek.public(), ak.name(), b"challenge", &mut OsEntropy).unwrap();
    let policy = support::ek_policy();
    let inputs = support::ek_inputs();
    let activate = |f: &mut support::Fixture| {
        let session = f.chip.policy_session(&policy, &inputs).unwrap();
        let (id, secret) = (&credential.id_object, &credential.encrypted_secret);
        f.chip
            .activate_credential(&ak, Auth::Empty, &ek, Auth::Policy(&session), id, secret)
    };
    let (secret, sent) = f.sent(activate);
    assert_eq!(secret.unwrap().expose(), b"challenge");
    assert_eq!(sent, ["StartAuthSession", "PolicySecret", "ActivateCredential"]);
    let other = make_credential(ek.public(), ek.name(), b"challenge", &mut OsEntropy).unwrap();
    let session = f.chip.policy_session(&policy, &inputs).unwrap();
    let auth = Auth::Policy(&session);
    let refused = f.chip.activate_credential(
        &ak,
        Auth::Empty,
        &ek,
        auth,
        &other.id_object,
        &other.encrypted_secret,
    );
    assert!(refused.is_err());
    drop(session);
    f.assert_no_leak();
}

#[test]
fn the_clock_goes_forward_only() {
    let mut f = fixture();
    let (reading, sent) = f.sent(|f| f.chip.read_clock().unwrap());
    assert_eq!(sent, ["ReadClock"]);
    let ahead = reading.clock_ms + 3_600_000;
    let ((), sent) = f.sent(|f| f.chip.clock_set(Auth::Empty, ahead).unwrap());
    assert_eq!(sent, ["ClockSet"]);
    assert!(f.chip.read_clock().unwrap().clock_ms >= ahead);
    assert!(
        f.chip
            .clock_set(Auth::Empty, 1)
            .unwrap_err()
            .is_refusal(ResponseCode::VALUE)
    );
}

#[test]
fn command_audit_covers_what_was_asked() {
    let mut f = fixture();
    let ak = f.ak.clone();
    let code = alcub3_tpm::CommandCode(0x17b);
    f.chip
        .set_command_audit_hash(Auth::Empty, HashAlg::Sha256)
        .unwrap();
    let ((), sent) = f.sent(|f| f.chip.set_command_audit(Auth::Empty, &[code], &[]).unwrap());
    assert_eq!(sent, ["SetCommandCodeAuditStatus"]);
    let audited = f
        .chip
        .capability(alcub3_tpm::ops::Capability::AuditCommands, 0, u32::MAX)
        .unwrap();
    assert!(audited.contains_key(&code.0), "{audited:x?}");
    f.chip.random(8).unwrap();
    let (digest, sent) = f.sent(|f| f.chip.command_audit_digest(Auth::Empty, &ak, b"q").unwrap());
    assert_eq!(sent, ["GetCommandAuditDigest"]);
    let signature = Signature::from_tpmt_signature(&digest.signature).unwrap();
    signature
        .verify(&ak.public().verifying_key().unwrap(), &digest.message)
        .unwrap();
    f.chip.set_command_audit(Auth::Empty, &[], &[code]).unwrap();
    let audited = f
        .chip
        .capability(alcub3_tpm::ops::Capability::AuditCommands, 0, u32::MAX)
        .unwrap();
    assert!(!audited.contains_key(&code.0));
}

#[test]
fn hierarchies_take_authorisations_and_give_them_back() {
    let mut f = fixture();
    let (owner, lockout) = (Secret::from_slice(&[7; 32]), Secret::from_slice(&[8; 32]));
    let change = |f: &mut support::Fixture| {
        f.chip
            .change_hierarchy_auth(Hierarchy::Owner, &nothing(), &owner)
            .unwrap();
    };
    let ((), sent) = f.sent(change);
    assert_eq!(sent, ["HierarchyChangeAuth"]);
    f.chip
        .change_hierarchy_auth(Hierarchy::Lockout, &nothing(), &lockout)
        .unwrap();
    let state = f.chip.lockout_state().unwrap();
    assert!(state.owner_auth_set && state.lockout_auth_set && !state.endorsement_auth_set);
    let template = PublicTemplate::storage_parent(Curve::P256);
    let bytes = template.as_tpmt_bytes();
    let refused = f
        .chip
        .create_primary(Hierarchy::Owner, Auth::Empty, bytes, None, &[])
        .unwrap_err();
    assert!(refused.is_refusal(ResponseCode::BAD_AUTH), "{refused}");
    drop(
        f.chip
            .create_primary(Hierarchy::Owner, Auth::Value(&owner), bytes, None, &[])
            .unwrap(),
    );
    f.settle();
    // A policy besides the value: here one that any session of no assertion satisfies.
    let policy = Policy::new(HashAlg::Sha256, Vec::new()).unwrap();
    let ((), sent) = f.sent(|f| {
        f.chip
            .set_primary_policy(Hierarchy::Lockout, &lockout, &policy.digest())
            .unwrap();
    });
    assert_eq!(sent, ["SetPrimaryPolicy"]);
    let session = f.chip.policy_session(&policy, &PolicyInputs::new()).unwrap();
    let ((), sent) = f.sent(|f| f.chip.clear_by_policy(&session).unwrap());
    assert_eq!(sent.last().unwrap(), "Clear");
    f.chip
        .change_hierarchy_auth(Hierarchy::Lockout, &nothing(), &lockout)
        .unwrap();
    f.chip.clear(&lockout).unwrap();
    let state = f.chip.lockout_state().unwrap();
    assert!(!state.owner_auth_set && !state.lockout_auth_set);
    assert_eq!(f.chip.persistent_key(support::SRK).unwrap(), None);
}

#[test]
fn an_owner_authorisation_is_not_set_over_an_unprotected_bus() {
    let (mut chip, counts, _swtpm) = support::bare();
    let error = chip
        .change_hierarchy_auth(Hierarchy::Owner, &nothing(), &Secret::from_slice(&[7; 32]))
        .unwrap_err();
    assert!(matches!(error, TpmError::Unprotected { .. }), "{error}");
    assert_eq!(counts.total(), 0);
}

#[test]
fn persistent_keys_are_read_once() {
    let mut f = fixture();
    f.chip.forget_persistent(support::AK);
    let (key, sent) = f.sent(|f| f.chip.persistent_key(support::AK).unwrap().unwrap());
    assert_eq!(sent, ["ReadPublic", "ReadPublic"]);
    assert_eq!(key.name(), f.ak.name());
    let (_, sent) = f.sent(|f| f.chip.read_public(support::AK).unwrap());
    assert!(sent.is_empty());
    let (absent, sent) = f.sent(|f| f.chip.persistent_key(0x8101_7777).unwrap());
    assert_eq!((absent, sent.len()), (None, 1));
    let ((), sent) = f.sent(|f| f.chip.evict_control_remove(&nothing(), &key).unwrap());
    assert_eq!(sent, ["EvictControl"]);
    assert_eq!(f.chip.persistent_key(support::AK).unwrap(), None);
}

#[test]
fn self_test_startup_and_shutdown() {
    let mut f = fixture();
    f.chip.self_test(false).unwrap();
    let ((), sent) = f.sent(|f| f.chip.self_test(true).unwrap());
    assert_eq!(sent, ["SelfTest"]);
    let ((), sent) = f.sent(|f| f.chip.shutdown(false).unwrap());
    assert_eq!(sent, ["Shutdown"]);
    f.swtpm.power_cycle(alcub3_testkit::PowerUp::Nothing).unwrap();
    let ((), sent) = f.sent(|f| f.chip.startup(false).unwrap());
    assert_eq!(sent.last().unwrap(), "Startup");
    f.chip.read_clock().unwrap();
    assert!(
        f.chip
            .startup(true)
            .unwrap_err()
            .is_refusal(ResponseCode::INITIALIZE)
    );
}

#[test]
fn chip_info_names_the_simulator_and_its_suites() {
    let mut f = fixture();
    let (info, sent) = f.sent(|f| f.chip.chip_info().unwrap());
    assert!(
        sent.len() <= 8 && sent.iter().all(|name| name == "GetCapability"),
        "{sent:?}"
    );
    assert!(info.simulator);
    assert_eq!(info.kind.name(), "simulator");
    assert_eq!(info.manufacturer, "IBM");
    assert_eq!(info.family, "2.0");
    assert!(info.has_curve(Curve::P384) && info.commands.contains(&0x158));
    assert!(
        info.limits.nv_buffer >= 512 && info.limits.transient_slots >= 3,
        "{:?}",
        info.limits
    );
    assert_eq!(info.suites().len(), 4);
    let (_, sent) = f.sent(|f| f.chip.chip_info().unwrap());
    assert!(sent.is_empty());
    let fixed = f.chip.handles(0x8100_0000).unwrap();
    assert_eq!(fixed, [support::EK, support::AK, support::SRK]);
}
