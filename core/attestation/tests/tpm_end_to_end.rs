//! Against a real TPM 2.0 implementation: a whole appraisal, and the acceptance of a mission key.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod software_robot;
mod tpm_tools;

use alcub3_attestation::appraisal::{Policy, Reason, appraise};
use alcub3_attestation::certify::Signed;
use alcub3_attestation::checkquote::{parse_pcr_file, public_key};
use alcub3_attestation::event_log::EventLog;
use alcub3_attestation::evidence::{Evidence, RegisterEvidence, qualifying_data};
use alcub3_attestation::mission_key::{MissionKeyError, accept};
use alcub3_crypto::tpm::policy::{Assertion, Policy as KeyPolicy};
use alcub3_crypto::{Digest, HashAlg};
use alcub3_trust_model::HardwareTier;
use alcub3_trust_model::nv_map::{NvIndex, Register};
use software_robot::{BANK, NONCE, NOW_MS, Robot, Verifier, nv};
use tpm_tools::Tpm;

/// What tpm2_certify 5.4 puts into the extra data; it has no option for it.
const CERTIFY_DATA: [u8; 4] = [0x00, 0xff, 0x55, 0xaa];

/// Defines the robot registers and extends each for what the robot's state says, with tools that are not ours.
fn measure_registers(tpm: &Tpm, robot: &Robot) {
    for register in Register::ALL {
        let spec = nv().spec(NvIndex::Register(register));
        let (handle, size, attributes) = (spec.handle, spec.size, spec.attributes);
        tpm.run(&format!(
            "tpm2_nvdefine {handle:#x} -C o -s {size} -g sha256 -a {attributes:#x}"
        ));
        let data = register.event_data(&robot.state.measured(register, BANK));
        tpm.write("event", data.as_bytes());
        tpm.run(&format!("tpm2_nvextend {handle:#x} -C {handle:#x} -i event"));
    }
}

fn certified_registers(tpm: &Tpm, robot: &Robot, data: &str) -> Vec<RegisterEvidence> {
    let certify = |register: &Register| {
        let handle = NvIndex::Register(*register).handle();
        tpm.run(&format!(
            "tpm2_nvcertify {handle:#x} -C ak.ctx -c {handle:#x} -g sha256 -q {data} --size 32 -o nv.sig --attestation nv.msg"
        ));
        tpm.flush();
        RegisterEvidence {
            register: *register,
            base: Digest::zero(BANK),
            measured: robot.measured_into(*register),
            certified: Signed {
                message: tpm.read("nv.msg"),
                signature: tpm.read("nv.sig"),
            },
        }
    };
    Register::ALL.iter().map(certify).collect()
}

#[test]
fn a_tpm_that_measured_a_built_log_is_trusted_and_then_no_more() {
    let Some(tpm) = Tpm::start() else { return };
    let robot = Robot::new();
    let log = EventLog::parse(&robot.uefi_log).unwrap();
    let extends: Vec<String> = log
        .events()
        .iter()
        .filter(|event| event.is_extended())
        .map(|event| format!("{}:sha256={}", event.pcr, event.digest(BANK).unwrap().to_hex()))
        .collect();
    tpm.run(&format!("tpm2_pcrextend {}", extends.join(" ")));
    tpm.attestation_key("ecc", "sha256", "ecdsa");
    measure_registers(&tpm, &robot);
    let verifier = Verifier {
        key: public_key(&tpm.read("ak.pub")).unwrap(),
        ..Verifier::of(&robot)
    };
    let policy = Policy {
        min_tier: HardwareTier::Simulator,
        ..verifier.policy()
    };
    let attest = || {
        let state = robot.state.to_canonical();
        let data = qualifying_data(BANK, &NONCE, &BANK.digest(&[&state]), &robot.mission, 1).unwrap();
        let all = "sha256:0,1,2,3,4,5,6,7,8,9,12,13,14,23";
        tpm.run(&format!(
            "tpm2_quote -c ak.ctx -l {all} -g sha256 -q {} -m q.msg -s q.sig -o q.pcrs",
            data.to_hex()
        ));
        tpm.flush();
        Evidence {
            quote: &tpm.read("q.msg"),
            signature: &tpm.read("q.sig"),
            pcrs: parse_pcr_file(&tpm.read("q.pcrs")).unwrap(),
            state: &state,
            mission: robot.mission,
            sequence: 1,
            tier: HardwareTier::Simulator,
            uefi_log: Some(&robot.uefi_log),
            agent_log: None,
            runtime_log: None,
            registers: certified_registers(&tpm, &robot, &data.to_hex()),
            mission_proof: None,
            epoch: None,
        }
        .to_canonical()
    };
    let verdict = appraise(&attest(), &policy, NOW_MS);
    assert!(verdict.is_trusted(), "{:#?}", verdict.findings());
    assert!(verdict.has(Reason::Simulator));
    assert!(appraise(&attest(), &verifier.policy(), NOW_MS).has(Reason::Tier));
    tpm.run(&format!("tpm2_pcrextend 9:sha256={}", "11".repeat(32)));
    let verdict = appraise(&attest(), &policy, NOW_MS);
    assert!(!verdict.is_trusted() && verdict.has(Reason::BootLogMismatch));
    tpm.run(&format!("tpm2_pcrextend 13:sha256={}", "11".repeat(32)));
    assert!(appraise(&attest(), &policy, NOW_MS).has(Reason::AgentLogMismatch));
}

struct Key {
    certified: Signed,
    public: Vec<u8>,
}

fn make_key(tpm: &Tpm, policy: &KeyPolicy, attributes: &str) -> Key {
    tpm.write("policy", policy.digest().as_bytes());
    tpm.run("tpm2_createprimary -C o -G ecc -c p.ctx");
    tpm.flush();
    tpm.run(&format!(
        "tpm2_create -C p.ctx -G ecc256:ecdsa-sha256:null -g sha256 -a {attributes} -L policy -u k.pub -r k.priv -c k.ctx"
    ));
    tpm.flush();
    tpm.run("tpm2_certify -c k.ctx -C ak.ctx -g sha256 -o k.msg -s k.sig");
    tpm.flush();
    Key {
        certified: Signed {
            message: tpm.read("k.msg"),
            signature: tpm.read("k.sig"),
        },
        public: tpm.read("k.pub"),
    }
}

const GOOD: &str = "fixedtpm|fixedparent|sensitivedataorigin|sign";

#[test]
fn a_mission_key_is_accepted_only_with_its_policy_and_attributes() {
    let Some(tpm) = Tpm::start() else { return };
    tpm.attestation_key("ecc", "sha256", "ecdsa");
    let ak = public_key(&tpm.read("ak.pub")).unwrap();
    let policy = |code| KeyPolicy::new(HashAlg::Sha256, vec![Assertion::CommandCode(code)]).unwrap();
    let (ours, other) = (policy(0x015d), policy(0x0155));
    let good = make_key(&tpm, &ours, GOOD);
    let accepted = accept(&ak, &good.certified, &CERTIFY_DATA, &good.public, &ours).unwrap();
    assert!(accepted.verifying_key().is_ok());
    let refused = accept(&ak, &good.certified, &CERTIFY_DATA, &good.public, &other).unwrap_err();
    assert!(matches!(refused, MissionKeyError::Policy(_)));
    let refused = accept(&ak, &good.certified, &[1], &good.public, &ours).unwrap_err();
    assert!(matches!(refused, MissionKeyError::Certification(_)));
    for at in 0..good.public.len() {
        let mut changed = good.public.clone();
        changed[at] ^= 1;
        assert!(
            accept(&ak, &good.certified, &CERTIFY_DATA, &changed, &ours).is_err(),
            "byte {at}"
        );
    }
    let with_auth = make_key(&tpm, &ours, &format!("{GOOD}|userwithauth"));
    let refused = accept(&ak, &with_auth.certified, &CERTIFY_DATA, &with_auth.public, &ours).unwrap_err();
    assert!(matches!(refused, MissionKeyError::UserWithAuth));
    let loose = make_key(&tpm, &ours, "sensitivedataorigin|sign");
    let refused = accept(&ak, &loose.certified, &CERTIFY_DATA, &loose.public, &ours).unwrap_err();
    assert!(matches!(refused, MissionKeyError::NotBound(_)));
    let restricted = make_key(&tpm, &ours, &format!("{GOOD}|restricted"));
    let refused = accept(
        &ak,
        &restricted.certified,
        &CERTIFY_DATA,
        &restricted.public,
        &ours,
    )
    .unwrap_err();
    assert!(matches!(refused, MissionKeyError::Restricted));
    let swapped = accept(&ak, &good.certified, &CERTIFY_DATA, &loose.public, &ours).unwrap_err();
    assert!(matches!(swapped, MissionKeyError::Name { .. }));
}
