//! What the authority's TPM itself refuses, whatever this program thinks of the votes.

use super::*;
use alcub3_crypto::{HashAlg, SigningKey};
use alcub3_testkit::Swtpm;
use alcub3_tpm::{ResponseCode, TpmOptions};

struct Authority {
    _swtpm: Swtpm,
    vault: AuthorityVault,
    first: SigningKey,
    second: SigningKey,
}

fn start() -> Option<Authority> {
    let swtpm = match Swtpm::start() {
        Ok(swtpm) => swtpm,
        Err(error) => {
            println!("skipped: {error}");
            return None;
        }
    };
    let tpm = Tpm::start(Box::new(swtpm.transport()), TpmOptions::default()).unwrap();
    let first = SigningKey::generate(Curve::P256).unwrap();
    let second = SigningKey::generate(Curve::P384).unwrap();
    let vault = AuthorityVault::create(tpm, &first.verifying_key(), &second.verifying_key()).unwrap();
    Some(Authority {
        _swtpm: swtpm,
        vault,
        first,
        second,
    })
}

fn digest(text: &str) -> Digest {
    HashAlg::Sha384.digest(&[text.as_bytes()])
}

fn vote(ballot: &Ballot, key: &SigningKey) -> SignedApproval {
    vote_over(ballot, key, &ballot.message())
}

fn vote_over(ballot: &Ballot, key: &SigningKey, message: &[u8]) -> SignedApproval {
    let public = policies::public_of(&key.verifying_key()).unwrap();
    let bytes = key.sign(message).unwrap();
    approval(
        ballot,
        public,
        Signature {
            scheme: key.verifying_key().native_scheme(),
            bytes,
        },
    )
}

/// The TPM's refusal of these votes on the two-person policy, or on a policy an attacker would replay instead.
fn refusal(
    vault: &mut AuthorityVault,
    ballot: &Ballot,
    policy: Policy,
    votes: Vec<SignedApproval>,
) -> ResponseCode {
    match vault.sign(ballot, policy, votes) {
        Err(VaultError::Tpm(TpmError::Refused { code, .. })) => code.base(),
        other => panic!("the TPM should have refused: {other:?}"),
    }
}

fn signed_by(name: alcub3_crypto::tpm::Name) -> alcub3_crypto::tpm::policy::Assertion {
    alcub3_crypto::tpm::policy::Assertion::Signed {
        signer_name: name,
        policy_ref: Vec::new(),
    }
}

/// A path through the two-person policy that names other persons than the key's policy does.
fn path(persons: &[&SigningKey]) -> Policy {
    let name = |key: &&SigningKey| signed_by(policies::public_of(&key.verifying_key()).unwrap().name());
    let mut assertions: Vec<_> = persons.iter().map(name).collect();
    assertions.push(alcub3_crypto::tpm::policy::Assertion::CommandCode(
        command_code::SIGN,
    ));
    Policy::new(HashAlg::Sha384, assertions).unwrap()
}

#[test]
fn two_persons_together_are_enough_and_the_signature_verifies() {
    let Some(mut authority) = start() else { return };
    let vault = &mut authority.vault;
    for purpose in [ApprovalPurpose::MissionByTwo, ApprovalPurpose::Rearm] {
        let ballot = vault.begin(purpose, &digest("rearm")).unwrap();
        let votes = vec![vote(&ballot, &authority.second), vote(&ballot, &authority.first)];
        let policy = vault.holders.policy(purpose).unwrap();
        let signature = vault.sign(&ballot, policy, votes).unwrap();
        let key = vault.approval_public(purpose).unwrap().verifying_key().unwrap();
        key.verify_digest(signature.scheme, &ballot.digest, &signature.bytes)
            .unwrap();
    }
}

#[test]
fn either_of_them_is_enough_where_one_person_is_asked_for() {
    let Some(mut authority) = start() else { return };
    let vault = &mut authority.vault;
    for key in [&authority.first, &authority.second] {
        let ballot = vault
            .begin(ApprovalPurpose::MissionByOne, &digest("mission"))
            .unwrap();
        let voter = policies::public_of(&key.verifying_key()).unwrap();
        let policy = vault.holders.policy_for(ballot.purpose, &[voter]).unwrap();
        vault.sign(&ballot, policy, vec![vote(&ballot, key)]).unwrap();
    }
    let stranger = SigningKey::generate(Curve::P256).unwrap();
    let ballot = vault
        .begin(ApprovalPurpose::MissionByOne, &digest("mission"))
        .unwrap();
    let refused = refusal(vault, &ballot, path(&[&stranger]), vec![vote(&ballot, &stranger)]);
    assert_eq!(refused, ResponseCode::POLICY_FAIL);
}

#[test]
fn the_tpm_refuses_one_person_alone_and_one_person_twice() {
    let Some(mut authority) = start() else { return };
    let (first, vault) = (&authority.first, &mut authority.vault);
    for persons in [vec![first], vec![first, first]] {
        let ballot = vault.begin(ApprovalPurpose::Rearm, &digest("rearm")).unwrap();
        let votes = persons.iter().map(|key| vote(&ballot, key)).collect();
        assert_eq!(
            refusal(vault, &ballot, path(&persons), votes),
            ResponseCode::POLICY_FAIL
        );
    }
    // The honest path with the first person's signature in the second's place.
    let ballot = vault.begin(ApprovalPurpose::Rearm, &digest("rearm")).unwrap();
    let mut forged = vote(&ballot, first);
    forged.key = policies::public_of(&authority.second.verifying_key()).unwrap();
    let policy = vault.holders.policy(ApprovalPurpose::Rearm).unwrap();
    let votes = vec![vote(&ballot, first), forged];
    assert!(matches!(
        vault.sign(&ballot, policy, votes),
        Err(VaultError::Tpm(TpmError::Refused { .. }))
    ));
}

#[test]
fn the_tpm_refuses_votes_for_another_digest_and_of_another_session() {
    let Some(mut authority) = start() else { return };
    let (first, second, vault) = (&authority.first, &authority.second, &mut authority.vault);
    let policy = vault.holders.policy(ApprovalPurpose::Rearm).unwrap();
    // Voted on one digest, used for another: the session's cpHash does not fit the command.
    let voted = vault
        .begin(ApprovalPurpose::Rearm, &digest("what they read"))
        .unwrap();
    let other = Ballot {
        digest: digest("what is signed"),
        ..voted.clone()
    };
    let votes = vec![vote(&voted, first), vote(&voted, second)];
    assert_eq!(
        refusal(vault, &other, policy.clone(), votes),
        ResponseCode::POLICY_FAIL
    );
    // Votes on one digest, claimed for the cpHash of another: the signatures do not verify.
    let ballot = vault
        .begin(ApprovalPurpose::Rearm, &digest("what is signed"))
        .unwrap();
    let message = Ballot {
        cp_hash: digest("something else"),
        ..ballot.clone()
    }
    .message();
    let votes = vec![
        vote_over(&ballot, first, &message),
        vote_over(&ballot, second, &message),
    ];
    assert_eq!(
        refusal(vault, &ballot, policy.clone(), votes),
        ResponseCode::SIGNATURE
    );
    // Votes of an earlier session of the same digest.
    let earlier = vault.begin(ApprovalPurpose::Rearm, &digest("rearm")).unwrap();
    let votes = vec![vote(&earlier, first), vote(&earlier, second)];
    let later = vault.begin(ApprovalPurpose::Rearm, &digest("rearm")).unwrap();
    assert!(matches!(
        vault.sign(&later, policy, votes),
        Err(VaultError::Tpm(TpmError::Refused { .. }))
    ));
}

#[test]
fn a_vault_is_opened_with_its_holders_only_and_made_once() {
    let Some(authority) = start() else { return };
    let Authority {
        _swtpm,
        vault,
        first,
        second,
    } = authority;
    let tpm = vault.tpm.clone();
    let names = vault.names();
    drop(vault);
    let (first, second) = (first.verifying_key(), second.verifying_key());
    let stranger = SigningKey::generate(Curve::P384).unwrap().verifying_key();
    let persons = [stranger.clone(), second, first.clone()];
    let opened = AuthorityVault::open(tpm.clone(), &persons, &names).unwrap();
    assert_eq!(opened.names(), names);
    let refused = AuthorityVault::open(tpm.clone(), &[stranger.clone(), first.clone()], &names);
    assert!(matches!(refused, Err(VaultError::OtherHolders(_))));
    assert!(matches!(
        AuthorityVault::create(tpm, &stranger, &first),
        Err(VaultError::Exists)
    ));
}

#[test]
fn digests_of_another_hash_and_closed_ballots_are_refused() {
    let Some(mut authority) = start() else { return };
    let vault = &mut authority.vault;
    let sha256 = HashAlg::Sha256.digest(&[b"rearm"]);
    assert!(matches!(
        vault.begin(ApprovalPurpose::Rearm, &sha256),
        Err(VaultError::Hash { .. })
    ));
    let ballot = vault.begin(ApprovalPurpose::Rearm, &digest("rearm")).unwrap();
    vault.cancel(&ballot);
    assert!(matches!(
        vault.finish(&ballot, &[]),
        Err(VaultError::BallotClosed)
    ));
}

#[test]
fn another_tpm_or_a_replaced_key_is_not_the_vault_although_the_same_persons_hold_it() {
    let (Some(authority), Some(other)) = (start(), start()) else {
        return;
    };
    let (first, second) = (authority.first.verifying_key(), authority.second.verifying_key());
    let persons = [first.clone(), second.clone()];
    let (tpm, names) = (authority.vault.tpm.clone(), authority.vault.names());
    // Another TPM with keys of the same policies.
    let other_tpm = other.vault.tpm.clone();
    other.vault.remove();
    let impostor = AuthorityVault::create(other_tpm.clone(), &first, &second).unwrap();
    drop(impostor);
    let refused = AuthorityVault::open(other_tpm, &persons, &names);
    let mismatch = matches!(refused, Err(VaultError::Tpm(TpmError::PinMismatch { .. })));
    assert!(mismatch, "{refused:?}");
    // The right TPM, with a key of the same policy in the place of one of its keys.
    let policy = authority
        .vault
        .holders
        .policy(ApprovalPurpose::Rearm)
        .unwrap()
        .digest();
    let key = authority.vault.keys[&ApprovalPurpose::Rearm].clone();
    drop(authority.vault);
    tpm.run(Lane::Background, WITHIN, move |chip| {
        let parent = chip.persistent_key(PARENT)?.unwrap();
        chip.evict_control_remove(&Secret::from_slice(&[]), &key)?;
        make_key(chip, &parent, key.handle(), &policy).map(|_| ())
    })
    .unwrap();
    let refused = AuthorityVault::open(tpm, &persons, &names);
    assert!(matches!(refused, Err(VaultError::OtherKeys)), "{refused:?}");
}
