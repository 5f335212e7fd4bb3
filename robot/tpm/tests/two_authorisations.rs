//! A command whose two handles are both authorised by a value: each is proven in a session of its own.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_crypto::tpm::{PublicTemplate, make_credential};
use alcub3_crypto::{Curve, Secret};
use alcub3_tpm::ops::Key;
use alcub3_tpm::{Auth, OsEntropy, ResponseCode, TpmError};
use support::{Fixture, attributes, fixture};

const ACTIVATE: &str = "ActivateCredential";
const START: &str = "StartAuthSession";

/// A storage key that decrypts credentials, and an object that one is for, each with this value.
fn two_keys(fixture: &mut Fixture, decrypting: &Secret, activated: &Secret) -> (Key, Key) {
    let parent = PublicTemplate::storage_parent(Curve::P256);
    let signing = PublicTemplate::signing_key(Curve::P256, attributes::SIGN_WITH_AUTH, None);
    (
        fixture.child(parent.as_tpmt_bytes(), decrypting),
        fixture.child(signing.as_tpmt_bytes(), activated),
    )
}

fn activate(
    fixture: &mut Fixture,
    (key, object): (&Key, &Key),
    (object_auth, key_auth): (&Secret, &Secret),
) -> Result<Secret, TpmError> {
    let challenge = [0x5a; 32];
    let made = make_credential(key.public(), object.name(), &challenge, &mut OsEntropy).unwrap();
    fixture.chip.activate_credential(
        object,
        Auth::Value(object_auth),
        key,
        Auth::Value(key_auth),
        &made.id_object,
        &made.encrypted_secret,
    )
}

#[test]
fn both_values_are_proven_and_an_empty_one_costs_no_session() {
    let mut fixture = fixture();
    let values = [&b""[..], b"of the key"].map(Secret::from_slice);
    let others = [&b""[..], b"of the object"].map(Secret::from_slice);
    for key_auth in &values {
        for object_auth in &others {
            let (key, object) = two_keys(&mut fixture, key_auth, object_auth);
            let pair = (&key, &object);
            fixture.settle();
            let (secret, sent) = fixture.sent(|f| activate(f, pair, (object_auth, key_auth)).unwrap());
            assert_eq!(secret.expose(), [0x5a; 32]);
            let both = !key_auth.is_empty() && !object_auth.is_empty();
            let expected: &[&str] = if both { &[START, ACTIVATE] } else { &[ACTIVATE] };
            let named = sent
                .iter()
                .filter(|code| [START, ACTIVATE].contains(&code.as_str()));
            assert_eq!(named.collect::<Vec<_>>(), expected);
            drop((key, object));
            fixture.assert_no_leak();
        }
    }
}

#[test]
fn a_wrong_value_in_either_place_is_refused_once_and_leaves_no_session() {
    let mut fixture = fixture();
    let right = Secret::from_slice(b"right");
    let wrong = Secret::from_slice(b"wrong");
    let (key, object) = two_keys(&mut fixture, &right, &right);
    for auths in [(&wrong, &right), (&right, &wrong), (&wrong, &wrong)] {
        let (refused, sent) = fixture.sent(|f| activate(f, (&key, &object), auths).unwrap_err());
        let code = refused.response_code().map(ResponseCode::base);
        assert!(
            [Some(ResponseCode::BAD_AUTH), Some(ResponseCode::AUTH_FAIL)].contains(&code),
            "{refused}"
        );
        assert_eq!(sent.iter().filter(|code| *code == ACTIVATE).count(), 1);
    }
    activate(&mut fixture, (&key, &object), (&right, &right)).unwrap();
    drop((key, object));
    fixture.assert_no_leak();
}
