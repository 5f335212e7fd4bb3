//! Every policy assertion, computed in software, against what a TPM computes when tpm2-tools asks it.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_crypto::tpm::policy::{
    Assertion, NvOperation, Policy, PolicyDigest, PolicyError, cp_hash, pcr_digest, policy_authorize_message,
    policy_signed_message,
};
use alcub3_crypto::tpm::{Name, PublicTemplate, Signature};
use alcub3_crypto::{Curve, Digest, HashAlg, SignatureScheme, SigningKey};
use support::Tpm;

const INDEX: u32 = 0x0180_0016;
const NV_CC_WRITE: u32 = 0x0137;
const COMMAND_CODE_SIGN: u32 = 0x015D;
const POLICY_HASHES: [HashAlg; 2] = [HashAlg::Sha256, HashAlg::Sha384];

fn digest(alg: HashAlg, what: &str) -> Digest {
    alg.digest(&[what.as_bytes()])
}

/// Runs `command` in a trial session that has PolicyAuthValue behind it (so that the digest does not start at zero), and
/// compares with the assertion.
fn agrees(tpm: &Tpm, alg: HashAlg, assertion: &Assertion, command: &str) {
    tpm.run(&format!("tpm2_startauthsession -S session -g {alg}"));
    tpm.run("tpm2_policyauthvalue -S session");
    let _ = std::fs::remove_file(tpm.path("policy"));
    let (tool, rest) = command.split_once(' ').unwrap_or((command, ""));
    // tpm2_policyduplicationselect forgets --include-object unless it comes last.
    tpm.run(&format!("{tool} -S session -L policy {rest}"));
    tpm.run("tpm2_flushcontext session");
    let ours = Policy::new(alg, vec![Assertion::AuthValue, assertion.clone()]).unwrap();
    assert_eq!(
        hex::encode(tpm.read("policy")),
        ours.digest().to_hex(),
        "{alg} {assertion:?}"
    );
}

/// As [`agrees`], for both hashes.
fn agrees_in_both(tpm: &Tpm, assertion: &Assertion, command: &str) {
    for alg in POLICY_HASHES {
        agrees(tpm, alg, assertion, command);
    }
}

#[test]
fn simple_assertions() {
    let Some(tpm) = Tpm::start() else { return };
    agrees_in_both(&tpm, &Assertion::AuthValue, "tpm2_policyauthvalue");
    agrees_in_both(&tpm, &Assertion::Password, "tpm2_policypassword");
    agrees_in_both(
        &tpm,
        &Assertion::CommandCode(COMMAND_CODE_SIGN),
        "tpm2_policycommandcode TPM2_CC_Sign",
    );
    for locality in [1, 8, 16] {
        agrees_in_both(
            &tpm,
            &Assertion::Locality(locality),
            &format!("tpm2_policylocality {locality}"),
        );
    }
    agrees_in_both(&tpm, &Assertion::NvWritten(true), "tpm2_policynvwritten s");
    agrees_in_both(&tpm, &Assertion::NvWritten(false), "tpm2_policynvwritten c");
}

#[test]
fn pcr() {
    let Some(tpm) = Tpm::start() else { return };
    tpm.run(&format!(
        "tpm2_pcrextend 16:sha256={},sha384={}",
        "11".repeat(32),
        "22".repeat(48)
    ));
    tpm.run(&format!("tpm2_pcrextend 8:sha256={}", "33".repeat(32)));
    let one = Digest::zero(HashAlg::Sha256).extend(&[0x33; 32]);
    let sixteen = Digest::zero(HashAlg::Sha256).extend(&[0x11; 32]);
    let wide = Digest::zero(HashAlg::Sha384).extend(&[0x22; 48]);
    let ones = Digest::ones(HashAlg::Sha256);
    for alg in POLICY_HASHES {
        let assertion = Assertion::Pcr {
            bank_selection: vec![
                (HashAlg::Sha256, 1 << 8 | 1 << 16 | 1 << 20),
                (HashAlg::Sha384, 1 << 16),
            ],
            pcr_digest: pcr_digest(alg, &[one, sixteen, ones, wide]),
        };
        agrees(
            &tpm,
            alg,
            &assertion,
            "tpm2_policypcr -l sha256:8,16,20+sha384:16",
        );
    }
}

/// An index, its Name as the tool reads it, and the same Name from its public area.
fn defined_index(tpm: &Tpm) -> Name {
    tpm.run(&format!(
        "tpm2_nvdefine {INDEX:#x} -C o -s 16 -a ownerread|ownerwrite|authread|authwrite"
    ));
    tpm.write(
        "contents",
        &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    );
    tpm.run(&format!("tpm2_nvwrite {INDEX:#x} -C o -i contents"));
    let listed = tpm.run(&format!("tpm2_nvreadpublic {INDEX:#x}"));
    let theirs = listed
        .lines()
        .find_map(|line| line.trim().strip_prefix("name: "))
        .unwrap();
    // TPMS_NV_PUBLIC: OWNERWRITE, AUTHWRITE, OWNERREAD, AUTHREAD, WRITTEN; no policy; 16 bytes.
    let attributes = 1 << 1 | 1 << 2 | 1 << 17 | 1 << 18 | 1 << 29u32;
    let public = [
        &INDEX.to_be_bytes()[..],
        &[0, 0x0B],
        &u32::to_be_bytes(attributes),
        &[0, 0, 0, 16],
    ]
    .concat();
    let ours = Name::of_public(HashAlg::Sha256, &public);
    assert_eq!(theirs, ours.to_hex());
    ours
}

#[test]
fn nv() {
    let Some(tpm) = Tpm::start() else { return };
    let index_name = defined_index(&tpm);
    let cases: [(&str, NvOperation, u16, &[u8]); 12] = [
        ("eq", NvOperation::Eq, 0, &[0, 1, 2]),
        ("neq", NvOperation::Neq, 3, &[9, 9]),
        ("sgt", NvOperation::SignedGt, 4, &[1]),
        ("ugt", NvOperation::UnsignedGt, 4, &[1]),
        ("slt", NvOperation::SignedLt, 4, &[9]),
        ("ult", NvOperation::UnsignedLt, 8, &[9, 0, 0, 0, 0, 0, 0, 0]),
        ("sge", NvOperation::SignedGe, 4, &[4]),
        ("uge", NvOperation::UnsignedGe, 4, &[4]),
        ("sle", NvOperation::SignedLe, 4, &[4]),
        ("ule", NvOperation::UnsignedLe, 4, &[4]),
        ("bs", NvOperation::BitSet, 7, &[7]),
        ("bc", NvOperation::BitClear, 8, &[7]),
    ];
    for (word, operation, offset, operand) in cases {
        tpm.write("operand", operand);
        let assertion = Assertion::Nv {
            index_name,
            operand: operand.to_vec(),
            offset,
            operation,
        };
        let command = format!("tpm2_policynv -C o -i operand --offset {offset} {INDEX:#x} {word}");
        agrees_in_both(&tpm, &assertion, &command);
    }
}

#[test]
fn counter_timer() {
    let Some(tpm) = Tpm::start() else { return };
    let number = |value: u64| value.to_be_bytes().to_vec();
    let small = |value: u32| value.to_be_bytes().to_vec();
    let cases = [
        (
            "--ult clock=86400000",
            number(86_400_000),
            8,
            NvOperation::UnsignedLt,
        ),
        ("--ugt time=0", number(0), 0, NvOperation::UnsignedGt),
        ("--ule resets=70000", small(70_000), 16, NvOperation::UnsignedLe),
        ("--neq restarts=9", small(9), 20, NvOperation::Neq),
        ("--eq safe", vec![1], 24, NvOperation::Eq),
    ];
    for (words, operand, offset, operation) in cases {
        let assertion = Assertion::CounterTimer {
            operand,
            offset,
            operation,
        };
        agrees_in_both(&tpm, &assertion, &format!("tpm2_policycountertimer {words}"));
    }
}

#[test]
fn secret() {
    let Some(tpm) = Tpm::start() else { return };
    let object_name = Name::of_handle(0x4000_000B);
    let with = |policy_ref: &[u8]| Assertion::Secret {
        object_name,
        policy_ref: policy_ref.to_vec(),
    };
    agrees_in_both(&tpm, &with(&[]), "tpm2_policysecret -c e");
    agrees_in_both(&tpm, &with(&[0xC0, 0xFF]), "tpm2_policysecret -c e -q c0ff");
    let ek = Policy::new(HashAlg::Sha256, vec![with(&[])]).unwrap().digest();
    let template = PublicTemplate::ek_ecc_p256().to_public().unwrap();
    assert_eq!(
        template.auth_policy(),
        ek.as_bytes(),
        "PolicyA of the EK template"
    );
}

#[test]
fn or() {
    let Some(tpm) = Tpm::start() else { return };
    for alg in POLICY_HASHES {
        let branches: Vec<Digest> = (0..8).map(|branch| digest(alg, &branch.to_string())).collect();
        for (at, branch) in branches.iter().enumerate() {
            tpm.write(&format!("branch{at}"), branch.as_bytes());
        }
        let two = Assertion::Or(branches[..2].to_vec());
        agrees(
            &tpm,
            alg,
            &two,
            &format!("tpm2_policyor -l {alg}:branch0,branch1"),
        );
        let list = (0..8)
            .map(|at| format!("branch{at}"))
            .collect::<Vec<_>>()
            .join(",");
        agrees(
            &tpm,
            alg,
            &Assertion::Or(branches),
            &format!("tpm2_policyor -l {alg}:{list}"),
        );
    }
}

#[test]
fn hashes_of_use() {
    let Some(tpm) = Tpm::start() else { return };
    for alg in POLICY_HASHES {
        let hash = digest(alg, "hash");
        tpm.write("hash", hash.as_bytes());
        tpm.write(
            "hash.2b",
            &[&u16::try_from(alg.size()).unwrap().to_be_bytes(), hash.as_bytes()].concat(),
        );
        agrees(
            &tpm,
            alg,
            &Assertion::CpHash(hash),
            "tpm2_policycphash --cphash-input hash.2b",
        );
        agrees(
            &tpm,
            alg,
            &Assertion::NameHash(hash),
            "tpm2_policynamehash -n hash",
        );
        agrees(
            &tpm,
            alg,
            &Assertion::Template(hash),
            "tpm2_policytemplate --template-hash hash",
        );
    }
}

#[test]
fn duplication_select() {
    let Some(tpm) = Tpm::start() else { return };
    let object_name = Name::of_public(HashAlg::Sha256, b"object");
    let new_parent_name = Name::of_public(HashAlg::Sha384, b"parent");
    tpm.write("object", object_name.as_bytes());
    tpm.write("parent", new_parent_name.as_bytes());
    let with = |include_object| Assertion::DuplicationSelect {
        object_name,
        new_parent_name,
        include_object,
    };
    agrees_in_both(
        &tpm,
        &with(false),
        "tpm2_policyduplicationselect -N parent -n object",
    );
    agrees_in_both(
        &tpm,
        &with(true),
        "tpm2_policyduplicationselect -N parent -n object --include-object",
    );
}

/// Loads the software key; returns its Name after comparing ours with the TPM's.
fn load(tpm: &Tpm, key: &SigningKey) -> Name {
    let public = PublicTemplate::external(&key.verifying_key(), HashAlg::Sha256)
        .to_public()
        .unwrap();
    tpm.write("signer.pub", &public.to_tpm2b());
    tpm.run("tpm2_loadexternal -C o -u signer.pub -c signer.ctx -n signer.name");
    assert_eq!(tpm.read("signer.name"), public.name().as_bytes());
    public.name()
}

fn sign(tpm: &Tpm, key: &SigningKey, message: &[u8]) {
    let scheme = SignatureScheme::Ecdsa(key.suite().hash());
    let signature = Signature {
        scheme,
        bytes: key.sign(message).unwrap(),
    };
    tpm.write("signature", &signature.to_tpmt());
}

/// A software key's approval passes in a real session, and only for the message our function gives.
#[test]
fn signed_by_a_software_key() {
    let Some(tpm) = Tpm::start() else { return };
    for curve in Curve::ALL {
        let key = SigningKey::generate(curve).unwrap();
        let signer_name = load(&tpm, &key);
        for (policy_ref, option) in [(vec![], ""), (b"mission".to_vec(), "-q 6d697373696f6e")] {
            tpm.run("tpm2_startauthsession -S session --policy-session -g sha256");
            sign(&tpm, &key, &policy_signed_message(&[], 0, &[], &policy_ref));
            let alg = key.suite().hash();
            tpm.run(&format!(
                "tpm2_policysigned -S session -L policy -c signer.ctx -g {alg} -s signature {option}"
            ));
            let ours = Policy::new(
                HashAlg::Sha256,
                vec![Assertion::Signed {
                    signer_name,
                    policy_ref,
                }],
            )
            .unwrap();
            assert_eq!(hex::encode(tpm.read("policy")), ours.digest().to_hex());
            sign(&tpm, &key, &policy_signed_message(&[], 1, &[], &[]));
            let again = format!("tpm2_policysigned -S session -c signer.ctx -g {alg} -s signature {option}");
            assert!(!tpm.attempt(&again).0, "another message's signature passed");
            tpm.run("tpm2_flushcontext session");
            tpm.run("tpm2_flushcontext -t");
        }
    }
}

/// A software key approves a policy; the TPM verifies, issues a ticket and takes the approved policy for it.
#[test]
fn authorize_by_a_software_key() {
    let Some(tpm) = Tpm::start() else { return };
    let key = SigningKey::generate(Curve::P256).unwrap();
    let key_name = load(&tpm, &key);
    let approved = Policy::new(HashAlg::Sha256, vec![Assertion::CommandCode(COMMAND_CODE_SIGN)])
        .unwrap()
        .digest();
    let policy_ref = vec![0xAB; 5];
    let message = policy_authorize_message(&approved, &policy_ref);
    tpm.write("approved", approved.as_bytes());
    tpm.write("message", &message);
    sign(&tpm, &key, &message);
    tpm.run("tpm2_verifysignature -c signer.ctx -g sha256 -m message -s signature -t ticket");
    tpm.run("tpm2_startauthsession -S session --policy-session -g sha256");
    tpm.run("tpm2_policycommandcode -S session TPM2_CC_Sign");
    tpm.run("tpm2_policyauthorize -S session -L policy -i approved -q ababababab -n signer.name -t ticket");
    let authorize = Assertion::Authorize { key_name, policy_ref };
    let ours = Policy::new(
        HashAlg::Sha256,
        vec![Assertion::CommandCode(COMMAND_CODE_SIGN), authorize],
    )
    .unwrap();
    assert_eq!(hex::encode(tpm.read("policy")), ours.digest().to_hex());
    tpm.run("tpm2_flushcontext session");
}

#[test]
fn authorize_without_reference_and_in_both_hashes() {
    let Some(tpm) = Tpm::start() else { return };
    let key_name = Name::of_public(HashAlg::Sha256, b"approver");
    tpm.write("approver", key_name.as_bytes());
    for alg in POLICY_HASHES {
        tpm.write("approved", digest(alg, "approved").as_bytes());
        let assertion = Assertion::Authorize {
            key_name,
            policy_ref: Vec::new(),
        };
        agrees(
            &tpm,
            alg,
            &assertion,
            "tpm2_policyauthorize -i approved -n approver",
        );
    }
}

#[test]
fn authorize_nv() {
    let Some(tpm) = Tpm::start() else { return };
    let index_name = defined_index(&tpm);
    agrees_in_both(
        &tpm,
        &Assertion::AuthorizeNv { index_name },
        &format!("tpm2_policyauthorizenv -C o {INDEX:#x}"),
    );
}

/// TPM2_NV_Write's cpHash as tpm2-tools reckons it.
#[test]
fn command_parameter_hash() {
    let Some(tpm) = Tpm::start() else { return };
    let index = defined_index(&tpm);
    tpm.write("data", b"data");
    tpm.run(&format!(
        "tpm2_nvwrite {INDEX:#x} -C {INDEX:#x} -i data --offset 4 --cphash cphash"
    ));
    let params = [&[0, 4][..], b"data", &[0, 4]].concat();
    let ours = cp_hash(HashAlg::Sha256, NV_CC_WRITE, &[index, index], &params);
    let theirs = hex::encode(tpm.read("cphash"));
    assert!(theirs.ends_with(&ours.to_hex()), "{theirs} {ours:?}");
}

/// The normative order of a mission key's policy (DESIGN §4), as one session.
#[test]
fn a_whole_mission_policy() {
    let Some(tpm) = Tpm::start() else { return };
    let index_name = defined_index(&tpm);
    let key_name = Name::of_public(HashAlg::Sha256, b"approver");
    tpm.write("approver", key_name.as_bytes());
    tpm.write("operand", &[8]);
    let alg = HashAlg::Sha256;
    let end = Assertion::CounterTimer {
        operand: 86_400_000u64.to_be_bytes().to_vec(),
        offset: 8,
        operation: NvOperation::UnsignedLt,
    };
    let head = Policy::new(alg, vec![end.clone()]).unwrap().digest();
    tpm.write("approved", head.as_bytes());
    let ours = Policy::new(
        alg,
        vec![
            end,
            Assertion::Authorize {
                key_name,
                policy_ref: vec![1],
            },
            Assertion::Pcr {
                bank_selection: vec![(alg, 1 << 13)],
                pcr_digest: pcr_digest(alg, &[Digest::zero(alg)]),
            },
            Assertion::Nv {
                index_name,
                operand: vec![8],
                offset: 8,
                operation: NvOperation::Eq,
            },
            Assertion::CounterTimer {
                operand: 70_000u32.to_be_bytes().to_vec(),
                offset: 16,
                operation: NvOperation::UnsignedLe,
            },
            Assertion::CommandCode(COMMAND_CODE_SIGN),
        ],
    )
    .unwrap();
    tpm.run("tpm2_startauthsession -S session -g sha256");
    tpm.run("tpm2_policycountertimer -S session --ult clock=86400000");
    tpm.run("tpm2_policyauthorize -S session -i approved -q 01 -n approver");
    tpm.run("tpm2_policypcr -S session -l sha256:13");
    tpm.run(&format!(
        "tpm2_policynv -S session -C o -i operand --offset 8 {INDEX:#x} eq"
    ));
    tpm.run("tpm2_policycountertimer -S session --ule resets=70000");
    tpm.run("tpm2_policycommandcode -S session -L policy TPM2_CC_Sign");
    assert_eq!(hex::encode(tpm.read("policy")), ours.digest().to_hex());
}

#[test]
fn what_the_tpm_would_refuse_is_refused() {
    let alg = HashAlg::Sha256;
    let other = Digest::zero(HashAlg::Sha384);
    let refused = |assertion| Policy::new(alg, vec![assertion]).unwrap_err();
    assert_eq!(
        refused(Assertion::Or(vec![Digest::zero(alg)])),
        PolicyError::Branches(1)
    );
    assert_eq!(
        refused(Assertion::Or(vec![Digest::zero(alg); 9])),
        PolicyError::Branches(9)
    );
    assert_eq!(
        refused(Assertion::Pcr {
            bank_selection: vec![(alg, 1 << 24)],
            pcr_digest: Digest::zero(alg)
        }),
        PolicyError::PcrSelection(1 << 24)
    );
    for assertion in [
        Assertion::Or(vec![Digest::zero(alg), other]),
        Assertion::Pcr {
            bank_selection: vec![],
            pcr_digest: other,
        },
        Assertion::CpHash(other),
        Assertion::NameHash(other),
        Assertion::Template(other),
    ] {
        assert!(matches!(
            refused(assertion),
            PolicyError::OtherAlgorithm {
                actual: HashAlg::Sha384,
                ..
            }
        ));
    }
    let mut running = PolicyDigest::new(alg);
    running.apply(&Assertion::AuthValue).unwrap();
    let before = running;
    assert!(running.apply(&Assertion::Or(Vec::new())).is_err());
    assert_eq!(running, before, "a refused command changes nothing");
}

#[test]
fn order_matters() {
    let policy = |assertions| Policy::new(HashAlg::Sha256, assertions).unwrap().digest();
    let (first, second) = (Assertion::Locality(1), Assertion::CommandCode(1));
    assert_ne!(
        policy(vec![first.clone(), second.clone()]),
        policy(vec![second, first])
    );
}
