//! Policies on a real TPM: after each assertion the chip's digest is the one computed in software; approvals, proofs
//! and comparisons that do not hold are refused; nothing stays behind.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_crypto::tpm::policy::{
    Assertion, NvOperation, Policy, policy_authorize_message, policy_signed_message,
};
use alcub3_crypto::tpm::{Name, Public, PublicTemplate, Signature};
use alcub3_crypto::{Curve, Digest, HashAlg, Secret, SignatureScheme, SigningKey};
use alcub3_tpm::ops::{
    Approval, Hierarchy, Key, NvPublic, PolicyInputs, SecretProof, SignedApproval, nv_attribute,
};
use alcub3_tpm::{Auth, ResponseCode, TpmError};
use support::{Fixture, attributes, fixture, nothing};

const SHA256: HashAlg = HashAlg::Sha256;
const CC_SIGN: u32 = 0x15d;

struct Signer {
    key: SigningKey,
    public: Public,
}

impl Signer {
    fn new() -> Self {
        let key = SigningKey::generate(Curve::P256).unwrap();
        let public = PublicTemplate::external(&key.verifying_key(), SHA256)
            .to_public()
            .unwrap();
        Self { key, public }
    }

    fn sign(&self, message: &[u8]) -> Signature {
        Signature {
            scheme: SignatureScheme::Ecdsa(SHA256),
            bytes: self.key.sign(message).unwrap(),
        }
    }

    fn approve(&self, approved: &Digest, policy_ref: &[u8]) -> Approval {
        let signature = self.sign(&policy_authorize_message(approved, policy_ref));
        Approval {
            key: self.public.clone(),
            policy_ref: policy_ref.to_vec(),
            signature,
        }
    }

    fn signed(&self, nonce_tpm: Vec<u8>, cp_hash: Vec<u8>, policy_ref: &[u8]) -> SignedApproval {
        let signature = self.sign(&policy_signed_message(&nonce_tpm, 0, &cp_hash, policy_ref));
        let key = self.public.clone();
        SignedApproval {
            key,
            policy_ref: policy_ref.to_vec(),
            nonce_tpm,
            cp_hash,
            expiration_s: 0,
            signature,
        }
    }
}

fn policy(assertions: &[Assertion]) -> Policy {
    Policy::new(SHA256, assertions.to_vec()).unwrap()
}

/// Replays a policy and compares the chip's digest with ours; the commands it took.
fn agrees(f: &mut Fixture, assertions: &[Assertion], inputs: &PolicyInputs) -> Vec<String> {
    let policy = policy(assertions);
    f.settle();
    let (session, sent) = f.sent(|f| f.chip.policy_session(&policy, inputs).unwrap());
    assert_eq!(
        f.chip.policy_get_digest(&session).unwrap(),
        policy.digest(),
        "{assertions:?}"
    );
    sent
}

fn clock(operand: u64, operation: NvOperation) -> Assertion {
    Assertion::CounterTimer {
        operand: operand.to_be_bytes().to_vec(),
        offset: 8,
        operation,
    }
}

fn counter(f: &mut Fixture) -> (NvPublic, u64) {
    let public = f.define(0x0181_0000, nv_attribute::COUNTER, 8);
    f.chip.nv_increment(public.index).unwrap();
    let value = f.chip.nv_counter(public.index).unwrap();
    (f.chip.nv_read_public(public.index).unwrap(), value)
}

fn nv_equals(public: &NvPublic, value: u64) -> Assertion {
    let operand = value.to_be_bytes().to_vec();
    Assertion::Nv {
        index_name: public.name(),
        operand,
        offset: 0,
        operation: NvOperation::Eq,
    }
}

#[test]
fn assertions_without_inputs_agree_with_the_chip() {
    let mut f = fixture();
    let select = vec![(SHA256, 0x0001_0001), (HashAlg::Sha384, 1 << 23)];
    let pcr_digest = f.chip.pcr_digest(SHA256, &select).unwrap();
    let digest = SHA256.digest(&[b"some digest"]);
    let (srk, ak) = (*f.srk.name(), *f.ak.name());
    let select_duplication = |include_object| Assertion::DuplicationSelect {
        object_name: ak,
        new_parent_name: srk,
        include_object,
    };
    let simple = [
        Assertion::Pcr {
            bank_selection: select,
            pcr_digest,
        },
        clock(u64::MAX / 2, NvOperation::UnsignedLt),
        Assertion::CommandCode(CC_SIGN),
        Assertion::CpHash(digest),
        Assertion::NameHash(digest),
        Assertion::Template(digest),
        select_duplication(true),
        select_duplication(false),
        Assertion::Locality(1),
        Assertion::NvWritten(true),
        Assertion::AuthValue,
    ];
    for assertion in simple {
        let sent = agrees(&mut f, std::slice::from_ref(&assertion), &PolicyInputs::new());
        assert_eq!(sent.len(), 2, "{sent:?}");
    }
    let sent = agrees(&mut f, &[Assertion::Password], &PolicyInputs::new());
    assert_eq!(sent, ["StartAuthSession", "PolicyAuthValue"]);
    let branch = policy(&[Assertion::CommandCode(CC_SIGN)]).digest();
    let or = [
        Assertion::CommandCode(CC_SIGN),
        Assertion::Or(vec![digest, branch]),
    ];
    agrees(&mut f, &or, &PolicyInputs::new());
    let wrong = policy(&[Assertion::Locality(1), Assertion::Or(vec![digest, branch])]);
    let refused = f.chip.policy_session(&wrong, &PolicyInputs::new()).unwrap_err();
    assert!(matches!(refused, TpmError::PolicyInput { .. }), "{refused}");
    f.assert_no_leak();
}

#[test]
fn sha384_policies_agree_too() {
    let mut f = fixture();
    let select = vec![(HashAlg::Sha384, 1 << 23)];
    let pcr_digest = f.chip.pcr_digest(HashAlg::Sha384, &select).unwrap();
    let assertions = vec![
        Assertion::Pcr {
            bank_selection: select,
            pcr_digest,
        },
        Assertion::CommandCode(CC_SIGN),
    ];
    let policy = Policy::new(HashAlg::Sha384, assertions).unwrap();
    let session = f.chip.policy_session(&policy, &PolicyInputs::new()).unwrap();
    assert_eq!(f.chip.policy_get_digest(&session).unwrap(), policy.digest());
}

#[test]
fn nv_contents_are_compared_and_a_moved_counter_is_refused() {
    let mut f = fixture();
    let (public, value) = counter(&mut f);
    let assertion = nv_equals(&public, value);
    let inputs = PolicyInputs::new().nv(public.index);
    let sent = agrees(&mut f, std::slice::from_ref(&assertion), &inputs);
    assert_eq!(sent, ["StartAuthSession", "PolicyNV"]);
    // An index that is known needs no input.
    agrees(&mut f, std::slice::from_ref(&assertion), &PolicyInputs::new());
    f.chip.nv_increment(public.index).unwrap();
    let refused = f.chip.policy_session(&policy(&[assertion]), &inputs).unwrap_err();
    assert!(refused.is_refusal(ResponseCode::POLICY), "{refused}");
    let unknown = Assertion::Nv {
        index_name: Name::of_public(SHA256, b"no such index"),
        operand: vec![1],
        offset: 0,
        operation: NvOperation::Eq,
    };
    let refused = f.chip.policy_session(&policy(&[unknown]), &inputs).unwrap_err();
    assert!(matches!(refused, TpmError::PolicyInput { .. }), "{refused}");
    f.assert_no_leak();
}

#[test]
fn an_approval_is_checked_once_and_its_ticket_reused_across_resets() {
    let mut f = fixture();
    let signer = Signer::new();
    let before = [clock(u64::MAX / 2, NvOperation::UnsignedLt)];
    let approved = policy(&before).digest();
    let mut assertions = before.to_vec();
    assertions.push(Assertion::Authorize {
        key_name: signer.public.name(),
        policy_ref: b"mission".to_vec(),
    });
    assertions.push(Assertion::CommandCode(CC_SIGN));
    let inputs = PolicyInputs::new().approval(signer.approve(&approved, b"mission"));
    let sent = agrees(&mut f, &assertions, &inputs);
    let first = [
        "StartAuthSession",
        "PolicyCounterTimer",
        "LoadExternal",
        "VerifySignature",
        "FlushContext",
        "PolicyAuthorize",
        "PolicyCommandCode",
    ];
    assert_eq!(sent, first);
    let again = [
        "StartAuthSession",
        "PolicyCounterTimer",
        "PolicyAuthorize",
        "PolicyCommandCode",
    ];
    assert_eq!(agrees(&mut f, &assertions, &inputs), again);
    f.chip.shutdown(true).unwrap();
    f.swtpm.power_cycle(alcub3_testkit::PowerUp::Nothing).unwrap();
    f.chip.startup(true).unwrap();
    f.settle();
    assert_eq!(agrees(&mut f, &assertions, &inputs), again);
    let missing = f
        .chip
        .policy_session(&policy(&assertions), &PolicyInputs::new())
        .unwrap_err();
    assert!(matches!(missing, TpmError::PolicyInput { .. }));
    let other = PolicyInputs::new().approval(Approval {
        signature: signer.sign(b"something else"),
        ..signer.approve(&approved, b"mission")
    });
    let mut changed = assertions.clone();
    changed[0] = clock(u64::MAX / 3, NvOperation::UnsignedLt);
    let forged = f.chip.policy_session(&policy(&changed), &other).unwrap_err();
    assert!(forged.is_refusal(ResponseCode::SIGNATURE), "{forged}");
    f.settle();
    assert_eq!(
        (f.chip.slot_usage().objects, f.chip.slot_usage().sessions),
        (0, 0)
    );
}

#[test]
fn a_signed_approval_can_be_bound_to_the_session() {
    let mut f = fixture();
    let signer = Signer::new();
    let assertion = Assertion::Signed {
        signer_name: signer.public.name(),
        policy_ref: b"rearm".to_vec(),
    };
    let policy = policy(std::slice::from_ref(&assertion));
    let free = PolicyInputs::new().signed(signer.signed(Vec::new(), Vec::new(), b"rearm"));
    agrees(&mut f, std::slice::from_ref(&assertion), &free);
    let session = f.chip.begin_policy(&policy).unwrap();
    let bound = PolicyInputs::new().signed(signer.signed(session.nonce_tpm(), Vec::new(), b"rearm"));
    f.chip.complete_policy(&session, &policy, &bound).unwrap();
    assert_eq!(f.chip.policy_get_digest(&session).unwrap(), policy.digest());
    let other = f.chip.begin_policy(&policy).unwrap();
    assert!(
        f.chip.complete_policy(&other, &policy, &bound).is_err(),
        "bound to the first session"
    );
    let by_another = PolicyInputs::new().signed(Signer::new().signed(Vec::new(), Vec::new(), b"rearm"));
    assert!(matches!(
        f.chip.complete_policy(&other, &policy, &by_another),
        Err(TpmError::PolicyInput { .. })
    ));
    drop((session, other));
    f.assert_no_leak();
}

#[test]
fn a_secret_is_proven_and_a_policy_in_nv_authorises() {
    let mut f = fixture();
    agrees(&mut f, support::ek_policy().assertions(), &support::ek_inputs());
    let password = Secret::from_slice(b"object auth");
    let template = PublicTemplate::signing_key(Curve::P256, attributes::SIGN_WITH_AUTH, None);
    let key = f.child(template.as_tpmt_bytes(), &password);
    let assertion = Assertion::Secret {
        object_name: *key.name(),
        policy_ref: b"ref".to_vec(),
    };
    let with =
        |auth: &Secret| PolicyInputs::new().secret(SecretProof::of_key(key.clone(), b"ref", auth.clone()));
    agrees(&mut f, std::slice::from_ref(&assertion), &with(&password));
    let refused = f
        .chip
        .policy_session(&policy(&[assertion]), &with(&Secret::from_slice(b"wrong")))
        .unwrap_err();
    assert!(refused.is_refusal(ResponseCode::BAD_AUTH), "{refused}");
    let public = f.define(0x0181_0005, 0, 34);
    let approved = policy(&[Assertion::CommandCode(CC_SIGN)]).digest();
    let stored = [&SHA256.tpm_id().to_be_bytes()[..], approved.as_bytes()].concat();
    f.chip.nv_write(public.index, Auth::Empty, &stored).unwrap();
    let index_name = f.chip.nv_read_public(public.index).unwrap().name();
    let assertions = [
        Assertion::CommandCode(CC_SIGN),
        Assertion::AuthorizeNv { index_name },
    ];
    let sent = agrees(&mut f, &assertions, &PolicyInputs::new().nv(public.index));
    assert_eq!(
        sent,
        ["StartAuthSession", "PolicyCommandCode", "PolicyAuthorizeNV"]
    );
    drop(key);
    f.assert_no_leak();
}

/// A key that signs only under this policy.
fn policy_key(f: &mut Fixture, policy: &Policy, auth: &Secret) -> Key {
    let template =
        PublicTemplate::signing_key(Curve::P256, attributes::SIGN_WITH_POLICY, Some(&policy.digest()));
    f.child(template.as_tpmt_bytes(), auth)
}

#[test]
fn a_key_signs_under_its_policy_only() {
    let mut f = fixture();
    let password = Secret::from_slice(b"and a value");
    let policy = policy(&[Assertion::AuthValue, Assertion::CommandCode(CC_SIGN)]);
    let key = policy_key(&mut f, &policy, &password);
    let digest = SHA256.digest(&[b"m"]);
    let session = f.chip.policy_session(&policy, &PolicyInputs::new()).unwrap();
    f.settle();
    let (signature, sent) = f.sent(|f| f.chip.sign(&key, session.auth(&password), &digest).unwrap());
    assert_eq!(sent, ["Sign"]);
    signature
        .verify(&key.public().verifying_key().unwrap(), b"m")
        .unwrap();
    drop(session);
    let session = f.chip.policy_session(&policy, &PolicyInputs::new()).unwrap();
    assert!(
        f.chip
            .sign(&key, session.auth(&nothing()), &digest)
            .unwrap_err()
            .is_refusal(ResponseCode::BAD_AUTH)
    );
    assert!(
        f.chip
            .sign(&key, Auth::Value(&password), &digest)
            .unwrap_err()
            .is_refusal(ResponseCode::AUTH_UNAVAILABLE)
    );
    drop((session, key));
    f.assert_no_leak();
}

#[test]
fn a_session_is_built_again_when_a_counting_pcr_moves_until_the_policy_no_longer_holds() {
    let mut f = fixture();
    let select = vec![(SHA256, 1 << 13)];
    let pcr_digest = f.chip.pcr_digest(SHA256, &select).unwrap();
    let policy = policy(&[Assertion::Pcr {
        bank_selection: select,
        pcr_digest,
    }]);
    let key = policy_key(&mut f, &policy, &nothing());
    let digest = SHA256.digest(&[b"m"]);
    let extend = |f: &mut alcub3_tpm::Chip, pcr| f.pcr_extend(pcr, &[digest]).unwrap();
    let mut times = 0;
    // PCR 10 moves between arming and use, twice: as IMA does.
    let signed = f
        .chip
        .with_policy(&policy, &PolicyInputs::new(), |chip, session| {
            times += 1;
            if times < 3 {
                extend(chip, 10);
            }
            chip.sign(&key, Auth::Policy(session), &digest)
        });
    signed.unwrap();
    assert_eq!(times, 3);
    let mut times = 0;
    let restless = f
        .chip
        .with_policy(&policy, &PolicyInputs::new(), |chip, session| {
            times += 1;
            extend(chip, 10);
            chip.sign(&key, Auth::Policy(session), &digest)
        });
    assert!(restless.unwrap_err().is_refusal(ResponseCode::PCR_CHANGED));
    assert_eq!(times, 5);
    // The lockdown PCR moves: armed sessions die, and no new one can be built.
    let stopped = f
        .chip
        .with_policy(&policy, &PolicyInputs::new(), |chip, session| {
            extend(chip, 13);
            chip.sign(&key, Auth::Policy(session), &digest)
        });
    assert!(stopped.unwrap_err().is_refusal(ResponseCode::VALUE));
    drop(key);
    f.assert_no_leak();
}

#[test]
fn a_duplicable_key_moves_to_another_chip() {
    let (mut f, mut g) = (fixture(), fixture());
    let (from, to) = (f.srk.clone(), g.srk.clone());
    let select = Assertion::DuplicationSelect {
        object_name: *to.name(),
        new_parent_name: *to.name(),
        include_object: false,
    };
    let policy = policy(&[select]);
    let bits = attributes::SIGN_WITH_AUTH & !(attributes::FIXED & 0x12);
    let template = PublicTemplate::signing_key(Curve::P256, bits, Some(&policy.digest()));
    let made = f
        .chip
        .create(
            &from,
            Auth::Empty,
            template.as_tpmt_bytes(),
            &nothing(),
            None,
            &[],
        )
        .unwrap();
    let object: Key = f
        .chip
        .load(&from, Auth::Empty, &made.private, &made.public)
        .unwrap()
        .into();
    let target: Key = f
        .chip
        .load_external(to.public().as_tpmt_bytes(), Hierarchy::Null)
        .unwrap()
        .into();
    // The policy names the object and its new parent, in that order; the digest leaves the object out.
    let actual = Assertion::DuplicationSelect {
        object_name: *object.name(),
        new_parent_name: *target.name(),
        include_object: false,
    };
    let replay = Policy::new(SHA256, vec![actual]).unwrap();
    assert_eq!(replay.digest(), policy.digest());
    let session = f.chip.policy_session(&replay, &PolicyInputs::new()).unwrap();
    f.settle();
    let (wrapped, sent) = f.sent(|f| {
        f.chip
            .duplicate(&object, Auth::Policy(&session), &target)
            .unwrap()
    });
    assert_eq!(sent.last().unwrap(), "Duplicate");
    let import = |g: &mut Fixture| {
        g.chip
            .import(&to, Auth::Empty, &made.public, &wrapped.duplicate, &wrapped.seed)
    };
    let (private, sent) = g.sent(import);
    assert_eq!(sent, ["Import"]);
    let moved: Key = g
        .chip
        .load(&to, Auth::Empty, &private.unwrap(), &made.public)
        .unwrap()
        .into();
    let signature = g.chip.sign(&moved, Auth::Empty, &SHA256.digest(&[b"m"])).unwrap();
    signature
        .verify(&object.public().verifying_key().unwrap(), b"m")
        .unwrap();
    let mut changed = wrapped.duplicate.clone();
    changed[10] ^= 1;
    assert!(
        g.chip
            .import(&to, Auth::Empty, &made.public, &changed, &wrapped.seed)
            .is_err()
    );
    drop((object, target, session, moved));
    f.assert_no_leak();
    g.assert_no_leak();
}
