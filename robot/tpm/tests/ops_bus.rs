//! What a listener on the bus sees of every operation: each command carries a session, no secret is in the clear.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_crypto::tpm::{PublicTemplate, attribute, make_credential};
use alcub3_crypto::{Curve, HashAlg, Secret};
use alcub3_tpm::ops::{Hierarchy, NvAccess, NvPublic, SealOptions, nv_attribute};
use alcub3_tpm::{Auth, CommandCode, OsEntropy};
use support::{Fixture, attributes, fixture, nothing};

const START_AUTH_SESSION: CommandCode = CommandCode(0x176);
const READ_PUBLIC: CommandCode = CommandCode(0x173);
const NV_READ_PUBLIC: CommandCode = CommandCode(0x169);
const EPOCH: u32 = 0x0181_0000;
const VAULT: u32 = 0x0181_0060;

/// The values a listener must never see.
fn secrets() -> Vec<Vec<u8>> {
    [
        "key authorisation",
        "sealed data nobody may see",
        "index authorisation",
        "contents of the index",
        "challenge 12",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fn secret(number: usize) -> Secret {
    Secret::from_slice(&secrets()[number])
}

/// Everything that takes, gives or needs a secret, and everything else once. Returns further secrets.
fn use_everything(f: &mut Fixture) -> Vec<Secret> {
    let (ek, ak, srk) = (f.ek.clone(), f.ak.clone(), f.srk.clone());
    let mut seen = vec![f.chip.random(32).unwrap()];
    f.chip.stir_random(&secrets()[0]).unwrap();
    let digests = [HashAlg::Sha256.digest(&[b"x"])];
    f.chip.pcr_extend(16, &digests).unwrap();
    f.chip.pcr_event(16, b"x").unwrap();
    f.chip.pcr_read(&[(HashAlg::Sha256, 0xffff)]).unwrap();
    f.chip.pcr_reset(16).unwrap();
    f.define(EPOCH, nv_attribute::COUNTER, 8);
    f.chip.nv_increment(EPOCH).unwrap();
    f.chip.nv_certify(&ak, EPOCH, b"q").unwrap();
    let vault = NvPublic {
        index: VAULT,
        name_alg: HashAlg::Sha256,
        attributes: nv_attribute::AUTHREAD | nv_attribute::AUTHWRITE | nv_attribute::NO_DA,
        auth_policy: Vec::new(),
        size: 21,
    };
    f.chip.nv_define(&nothing(), &vault, &secret(2)).unwrap();
    let auth = secret(2);
    f.chip.nv_write(VAULT, Auth::Value(&auth), &secrets()[3]).unwrap();
    assert_eq!(
        f.chip
            .nv_read_with(VAULT, NvAccess::Index(Auth::Value(&auth)))
            .unwrap(),
        secrets()[3]
    );
    let key_auth = secret(0);
    let template = PublicTemplate::signing_key(Curve::P256, attributes::SIGN_WITH_AUTH, None);
    let key = f.child(template.as_tpmt_bytes(), &key_auth);
    let signature = f.chip.sign(&key, Auth::Value(&key_auth), &digests[0]).unwrap();
    f.chip.verify_signature(&key, &digests[0], &signature).unwrap();
    f.chip.certify(&key, Auth::Value(&key_auth), &ak, b"q").unwrap();
    drop(key);
    let bits = attribute::FIXED_TPM | attribute::FIXED_PARENT | attribute::USER_WITH_AUTH | attribute::NO_DA;
    let mac = PublicTemplate::hmac_key(HashAlg::Sha256, bits, None);
    let known = Secret::from_slice(b"an HMAC key brought from outside");
    let made = f
        .chip
        .create(
            &srk,
            Auth::Empty,
            mac.as_tpmt_bytes(),
            &key_auth,
            Some(&known),
            &[],
        )
        .unwrap();
    let mac = f
        .chip
        .load(&srk, Auth::Empty, &made.private, &made.public)
        .unwrap()
        .into();
    seen.push(
        f.chip
            .hmac(&mac, Auth::Value(&key_auth), b"data of the caller")
            .unwrap(),
    );
    seen.push(known);
    drop(mac);
    let options = SealOptions {
        user_auth: Some(&key_auth),
        no_da: true,
        ..SealOptions::default()
    };
    let sealed = f
        .chip
        .seal_with(&srk, Auth::Empty, &options, &secrets()[1])
        .unwrap();
    f.chip
        .unseal(&srk, Auth::Empty, Auth::Value(&key_auth), &sealed)
        .unwrap();
    let credential = make_credential(ek.public(), ak.name(), &secrets()[4], &mut OsEntropy).unwrap();
    let session = f
        .chip
        .policy_session(&support::ek_policy(), &support::ek_inputs())
        .unwrap();
    let (id, encrypted) = (&credential.id_object, &credential.encrypted_secret);
    let recovered = f
        .chip
        .activate_credential(&ak, Auth::Empty, &ek, Auth::Policy(&session), id, encrypted)
        .unwrap();
    assert_eq!(recovered.expose(), secrets()[4]);
    drop(session);
    f.chip.quote(&ak, b"q", &[(HashAlg::Sha256, 1)]).unwrap();
    f.chip.get_time(Auth::Empty, &ak, b"q").unwrap();
    f.chip.read_clock().unwrap();
    f.chip.chip_info().unwrap();
    f.chip.lockout_state().unwrap();
    f.chip.self_test(false).unwrap();
    let stop = f.chip.emergency_stop_commands(13, &digests, EPOCH);
    assert!(stop.protected);
    let owner = Secret::from_slice(b"the owner authorisation value...");
    f.chip
        .change_hierarchy_auth(Hierarchy::Owner, &nothing(), &owner)
        .unwrap();
    let wrong = f.chip.nv_undefine(&nothing(), VAULT).unwrap_err();
    assert!(wrong.response_code().is_some());
    f.chip.nv_undefine(&owner, VAULT).unwrap();
    seen.push(owner);
    seen
}

#[test]
fn no_secret_crosses_the_bus_in_the_clear() {
    let mut f = fixture();
    let further = use_everything(&mut f);
    for value in secrets()
        .iter()
        .map(Vec::as_slice)
        .chain(further.iter().map(Secret::expose))
    {
        assert!(!f.bus.carried(value), "{}", String::from_utf8_lossy(value));
    }
    // The bus does carry what is public: the check above would notice a secret.
    assert!(f.bus.carried(f.ek.name().as_bytes()));
    assert!(!f.bus.carried(b"data of the caller"));
}

/// Whether the authorisation area of a command names an HMAC session; a password is none.
fn has_hmac_session(command: &[u8], handles: usize) -> bool {
    if command[..2] != [0x80, 0x02] {
        return false;
    }
    let mut area = &command[10 + 4 * handles..];
    let size = usize::try_from(u32::from_be_bytes(area[..4].try_into().unwrap())).unwrap();
    area = &area[4..4 + size];
    let mut found = false;
    while !area.is_empty() {
        found |= area[0] == 0x02;
        let nonce = usize::from(u16::from_be_bytes([area[4], area[5]]));
        let hmac = usize::from(u16::from_be_bytes([area[7 + nonce], area[8 + nonce]]));
        area = &area[9 + nonce + hmac..];
    }
    found
}

#[test]
fn every_command_that_permits_a_session_carries_one() {
    let mut f = fixture();
    let before = f.bus.traffic().len();
    use_everything(&mut f);
    f.chip.forget_persistent(support::AK);
    f.chip.read_public(support::AK).unwrap();
    f.chip.forget_nv(EPOCH);
    f.chip.nv_read_public(EPOCH).unwrap();
    let mut unconfirmed = None;
    for passed in &f.bus.traffic()[before..] {
        let command = &passed.command;
        let code = CommandCode(u32::from_be_bytes(command[6..10].try_into().unwrap()));
        let carries = has_hmac_session(command, code.shape().handles.len());
        // A public area is asked for bare once, to learn the Name that the protected question right after needs.
        if let Some(asked) = unconfirmed.take() {
            assert!(
                carries && code == asked,
                "{asked} was not confirmed but followed by {code}"
            );
        }
        match code {
            READ_PUBLIC | NV_READ_PUBLIC if !carries => unconfirmed = Some(code),
            START_AUTH_SESSION => {}
            _ => assert_eq!(carries, code.shape().sessions, "{code}"),
        }
    }
    assert_eq!(unconfirmed, None);
}
