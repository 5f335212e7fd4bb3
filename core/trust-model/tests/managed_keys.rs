//! Managed keys: only legal transitions, each purpose with its own template, what is due when, one form of a record.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use alcub3_crypto::tpm::policy::Assertion;
use alcub3_crypto::tpm::{Name, ObjectKind, attribute};
use alcub3_crypto::{Curve, Digest, HashAlg};
use alcub3_trust_model::managed_key::{
    AnchorBinding, Due, EndCause, KeyBlob, KeyKind, KeyPurpose, KeyRecord, KeyState, KeyUse,
    LEGAL_TRANSITIONS, ManagedPolicyInput, Moment, Now, Transition, UseRefusal, due, managed_policy,
    purpose_profile,
};
use alcub3_trust_model::nv_map::{KeyAnchor, NvIndex, NvMap};
use alcub3_trust_model::policies::CounterBinding;
use alcub3_trust_model::{KeyId, KeyLabel, Level};
use proptest::prelude::*;
use std::collections::BTreeSet;

const ALG: HashAlg = HashAlg::Sha256;

fn moment(ms: u64) -> Moment {
    Moment {
        clock_ms: ms,
        utc_ms: 1_790_000_000_000 + ms,
    }
}

fn record(purpose: KeyPurpose) -> KeyRecord {
    let policy = ALG.digest(&[b"policy"]);
    let template = purpose_profile(purpose).kind.template(Curve::P256, &policy);
    KeyRecord {
        id: KeyId::new([1; 16]),
        label: KeyLabel::new("camera").unwrap(),
        purpose,
        level: Level::Cui,
        state: KeyState::Active,
        protects: true,
        made: moment(0),
        activates_clock_ms: 10,
        protects_until: moment(1_000),
        processes_until: moment(2_000),
        end_clock_ms: 2_000,
        anchor: KeyAnchor::new(3).unwrap(),
        anchor_value: ALG.digest(&[b"anchor"]),
        epochs: Some([4, 5]),
        successor: None,
        ended: None,
        public: template.to_public().unwrap(),
        blob: Some(KeyBlob {
            private: vec![1; 200],
            creation: vec![2; 90],
            certification: (vec![3; 150], vec![4; 72]),
        }),
    }
}

fn now(clock_ms: u64, utc_ms: Option<u64>) -> Now {
    Now { clock_ms, utc_ms }
}

#[test]
fn the_table_of_transitions_has_no_way_back() {
    let rows: BTreeSet<_> = LEGAL_TRANSITIONS
        .iter()
        .map(|(from, by, _)| (from.id(), by.name()))
        .collect();
    assert_eq!(rows.len(), LEGAL_TRANSITIONS.len(), "a row is ambiguous");
    for (from, by, to) in LEGAL_TRANSITIONS {
        assert!(
            from.lives() || to == KeyState::Destroyed,
            "{from} {} {to}",
            by.name()
        );
        assert_ne!(from, KeyState::Destroyed);
        assert_ne!(to, KeyState::Pending);
        // Only putting aside can be undone.
        assert!(to != KeyState::Active || matches!(from, KeyState::Pending | KeyState::Suspended));
    }
    for state in KeyState::ALL {
        let can_end = state.after(Transition::Destroy).is_ok();
        assert_eq!(can_end, state != KeyState::Destroyed);
    }
}

proptest! {
    #[test]
    fn whatever_is_tried_only_legal_transitions_happen_and_the_dead_stay_dead(
        steps in proptest::collection::vec(0..Transition::ALL.len(), 0..40)
    ) {
        let mut key = record(KeyPurpose::DataEncryption);
        key.state = KeyState::Pending;
        for step in steps {
            let transition = Transition::ALL[step];
            let legal = LEGAL_TRANSITIONS
                .iter()
                .find(|(from, by, _)| *from == key.state && *by == transition);
            match key.after(transition, EndCause::Ordered) {
                Ok(next) => {
                    prop_assert_eq!(Some(next.state), legal.map(|(_, _, to)| *to));
                    prop_assert!(key.state.lives() || !next.state.lives());
                    prop_assert_eq!(next.blob.is_some(), next.state.lives());
                    prop_assert_eq!(next.ended.is_some(), !next.state.lives());
                    key = next;
                }
                Err(refused) => {
                    prop_assert!(legal.is_none());
                    prop_assert_eq!(refused.from, key.state);
                }
            }
            prop_assert_eq!(&KeyRecord::from_canonical(&key.to_canonical()).unwrap(), &key);
        }
    }

    #[test]
    fn no_bytes_make_the_record_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), at in 0_usize..900, flip in 1_u8..) {
        let _ = KeyRecord::from_canonical(&bytes);
        let mut changed = record(KeyPurpose::Identity).to_canonical();
        let at = at % changed.len();
        changed[at] ^= flip;
        if let Ok(read) = KeyRecord::from_canonical(&changed) {
            prop_assert_eq!(read.to_canonical(), changed);
        }
    }
}

#[test]
fn a_record_has_one_form() {
    for purpose in KeyPurpose::ALL {
        let mut key = record(purpose);
        assert_eq!(KeyRecord::from_canonical(&key.to_canonical()), Ok(key.clone()));
        key.epochs = None;
        key.successor = Some(KeyId::new([9; 16]));
        let bytes = key.to_canonical();
        assert_eq!(KeyRecord::from_canonical(&bytes), Ok(key));
        for end in 0..bytes.len() {
            assert!(KeyRecord::from_canonical(&bytes[..end]).is_err());
        }
        assert!(KeyRecord::from_canonical(&[&bytes[..], &[0]].concat()).is_err());
    }
    let mut revived = record(KeyPurpose::Identity);
    revived.state = KeyState::Destroyed;
    assert!(KeyRecord::from_canonical(&revived.to_canonical()).is_err());
}

#[test]
fn a_purpose_fixes_template_command_and_uses() {
    let policy = ALG.digest(&[b"policy"]);
    for purpose in KeyPurpose::ALL {
        let profile = purpose_profile(purpose);
        let template = profile.kind.template(Curve::P256, &policy);
        let public = template.to_public().unwrap();
        assert_eq!(public.auth_policy(), policy.as_bytes());
        assert!(public.has_attributes(
            attribute::FIXED_TPM
                | attribute::FIXED_PARENT
                | attribute::SENSITIVE_DATA_ORIGIN
                | attribute::ADMIN_WITH_POLICY
                | attribute::NO_DA
        ));
        assert!(!public.has_attributes(attribute::USER_WITH_AUTH));
        let expected = match profile.kind {
            KeyKind::Signing | KeyKind::Keyed => ObjectKind::Signing,
            KeyKind::Agreement => ObjectKind::Decrypting,
        };
        assert_eq!(public.kind(), expected, "{purpose}");
        assert_eq!(KeyPurpose::from_id(purpose.id()), Some(purpose));
        assert_eq!(purpose.name().parse(), Ok(purpose));
        assert!(!profile.uses.is_empty() && profile.protects_ms > 0);
    }
    let survivors = KeyPurpose::ALL
        .into_iter()
        .filter(|purpose| purpose_profile(*purpose).survives_stop);
    assert_eq!(
        survivors.collect::<Vec<_>>(),
        [KeyPurpose::Identity, KeyPurpose::Recovery]
    );
}

#[test]
fn a_use_is_judged_by_purpose_state_and_rotation() {
    for purpose in KeyPurpose::ALL {
        let key = record(purpose);
        for use_ in KeyUse::ALL {
            let admitted = purpose_profile(purpose).admits(use_);
            let refusal = UseRefusal::Purpose { purpose, use_ };
            assert_eq!(key.judge(use_), if admitted { Ok(()) } else { Err(refusal) });
            assert_eq!(refusal.code(), "key-purpose");
        }
    }
    let mut key = record(KeyPurpose::DataEncryption);
    key.protects = false;
    assert_eq!(key.judge(KeyUse::Decrypt), Ok(()));
    assert_eq!(key.judge(KeyUse::Encrypt), Err(UseRefusal::ProtectionOver));
    for state in KeyState::ALL
        .into_iter()
        .filter(|state| *state != KeyState::Active)
    {
        key.state = state;
        assert_eq!(key.judge(KeyUse::Decrypt), Err(UseRefusal::State(state)));
        // The purpose is judged first: what was wrong stays wrong in every state.
        assert_eq!(key.judge(KeyUse::Sign).unwrap_err().code(), "key-purpose");
    }
}

#[test]
fn the_policy_names_all_that_ends_a_key() {
    let map = NvMap::new(ALG).unwrap();
    let counter = |index, value| CounterBinding {
        name: map.spec(index).tpm_name(true),
        value,
    };
    let input = ManagedPolicyInput {
        alg: ALG,
        end_clock_ms: 5_000,
        epochs: Some([
            counter(NvIndex::RobotEpoch, 1),
            counter(NvIndex::LevelEpoch(Level::Cui), 2),
        ]),
        anchor: AnchorBinding {
            name: Name::of_public(ALG, b"anchor"),
            value: Digest::zero(ALG),
        },
        command_code: KeyKind::Keyed.command_code(),
    };
    let policy = managed_policy(&input).unwrap();
    let [
        Assertion::CounterTimer { .. },
        Assertion::Pcr { .. },
        Assertion::Nv { .. },
        Assertion::Nv { .. },
        Assertion::Nv { operand, .. },
        Assertion::CommandCode(0x155),
    ] = policy.assertions()
    else {
        panic!("{policy:?}");
    };
    assert_eq!(operand, Digest::zero(ALG).as_bytes());
    let other = [
        ManagedPolicyInput {
            end_clock_ms: 5_001,
            ..input
        },
        ManagedPolicyInput {
            epochs: None,
            ..input
        },
        ManagedPolicyInput {
            anchor: AnchorBinding {
                value: ALG.digest(&[b"moved"]),
                ..input.anchor
            },
            ..input
        },
        ManagedPolicyInput {
            command_code: KeyKind::Signing.command_code(),
            ..input
        },
    ];
    for other in other {
        assert_ne!(managed_policy(&other).unwrap().digest(), policy.digest());
    }
}

#[test]
fn what_is_due_follows_from_either_clock() {
    let key = record(KeyPurpose::SensorSigning);
    let id = key.id;
    let on = |clock_ms, utc_ms| due([&key], &now(clock_ms, utc_ms));
    assert_eq!(on(999, Some(1_790_000_000_999)), []);
    assert_eq!(on(999, None), []);
    assert_eq!(on(1_000, None), [(id, Due::Rotate)]);
    // The robot was off, so that its TPM's clock stood.
    assert_eq!(on(5, Some(1_790_000_001_000)), [(id, Due::Rotate)]);
    // A wall clock that was set back keeps nothing alive.
    assert_eq!(on(2_000, Some(0)), [(id, Due::Expire), (id, Due::Destroy)]);
    assert_eq!(
        on(5, Some(1_790_000_002_000)),
        [(id, Due::Expire), (id, Due::Destroy)]
    );
}

#[test]
fn what_is_due_follows_from_the_state() {
    let mut key = record(KeyPurpose::SensorSigning);
    let at = |key: &KeyRecord, clock_ms| -> Vec<Due> {
        due([key], &now(clock_ms, None))
            .into_iter()
            .map(|(_, due)| due)
            .collect()
    };
    key.state = KeyState::Pending;
    assert_eq!(at(&key, 9), []);
    assert_eq!(at(&key, 10), [Due::Activate]);
    assert_eq!(at(&key, 2_000), [Due::Destroy]);
    // A wall clock set ahead brings nothing into use.
    assert_eq!(due([&key], &now(9, Some(1_790_000_000_500))), []);
    key.state = KeyState::Suspended;
    assert_eq!(at(&key, 1_000), []);
    assert_eq!(at(&key, 2_000), [Due::Expire, Due::Destroy]);
    key.state = KeyState::Expired;
    assert_eq!(at(&key, 0), [Due::Destroy]);
    for state in [KeyState::Revoked, KeyState::Destroyed] {
        key.state = state;
        assert_eq!(at(&key, u64::MAX), []);
    }
    key.state = KeyState::Active;
    key.protects = false;
    assert_eq!(at(&key, 1_500), []);
}
