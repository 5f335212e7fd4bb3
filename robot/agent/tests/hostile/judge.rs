//! What must hold after every attacked life, by somebody who has the enrolment and an honest look into the chip.

use super::world::{Failures, LEVELS, Lived, World};
use crate::support::{LEVEL, SoftAuthority, digest, nonce, robot_id};
use alcub3_attestation::certify::{Signed, verify_creation};
use alcub3_attestation::event_log::EventLog;
use alcub3_attestation::event_log::agent::AgentEvent;
use alcub3_attestation::evidence::{Evidence, qualifying_data};
use alcub3_attestation::quote::verify_quote;
use alcub3_attestation::receipt::{Expected, Outcome, verify_receipt};
use alcub3_command_authority::VerifiedMission;
use alcub3_crypto::tpm::policy::pcr_digest;
use alcub3_crypto::tpm::{Public, Signature, attribute};
use alcub3_crypto::{Digest, HashAlg};
use alcub3_keys::RobotRecord;
use alcub3_security_hal::Step;
use alcub3_tpm::ops::Hierarchy;
use alcub3_trust_model::nv_map::{NvIndex, NvKind, NvMap};
use alcub3_trust_model::pcr_map::PcrMap;
use alcub3_trust_model::policies::{
    CounterBinding, MissionPolicyInput, PcrBinding, command_code, mission_pcr_mask, mission_policy,
};
use alcub3_trust_model::{RobotState, domain, handle_map, profile};

const ALG: HashAlg = HashAlg::Sha256;
const MAP: PcrMap = PcrMap::DEFAULT;

/// How a case ended, where nothing wrong was accepted.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub enum Ending {
    /// Everything went as without the attacker.
    Right,
    /// A step failed with an error, and worked when it was tried again.
    Error,
    /// The stop says what it could not confirm.
    Unconfirmed,
}

/// What the chip held after a life, seen past the attacker.
struct Truth {
    lockdown: Digest,
    retire: Digest,
    robot_epoch: u64,
    level_epochs: Vec<u64>,
}

fn truth(world: &World) -> Truth {
    world.honest(|chip| {
        let map = NvMap::new(ALG).unwrap();
        let mut counter = |index| chip.nv_counter(map.spec(index).handle);
        let robot_epoch = counter(NvIndex::RobotEpoch)?;
        let levels = LEVELS.into_iter().map(NvIndex::LevelEpoch);
        let level_epochs = levels.map(&mut counter).collect::<Result<_, _>>()?;
        let [lockdown, retire] = [MAP.lockdown(), MAP.retire()].map(u32::from);
        let values = chip.pcr_read(&[(ALG, 1 << lockdown | 1 << retire)])?;
        Ok(Truth {
            lockdown: *values.get(ALG, lockdown).unwrap(),
            retire: *values.get(ALG, retire).unwrap(),
            robot_epoch,
            level_epochs,
        })
    })
}

/// Judges a provisioning: what is enrolled and recorded is what the chip holds, and nothing else.
pub fn provisioning(world: &World, authority: &SoftAuthority, record: &RobotRecord) {
    let mut expected = vec![
        (handle_map::EK, record.endorsement_key.clone()),
        (handle_map::ATTESTATION_KEY, record.attestation_key.clone()),
        (handle_map::STORAGE_ROOT, record.storage_root.clone()),
        (handle_map::IDENTITY, record.identity.clone()),
    ];
    expected.extend(record.parents.iter().flat_map(|level| {
        [
            (handle_map::level_parent(level.level), level.public.clone()),
            (handle_map::level_kdf(level.level), level.kdf.clone()),
        ]
    }));
    assert_eq!(record.parents.len(), LEVELS.len());
    let enrolled = authority.enrolled.as_ref().unwrap();
    assert_eq!(
        *authority.enrolment().attestation_key(),
        record.attestation_key.verifying_key().unwrap(),
        "the authority enrolled another key than the robot has"
    );
    let custody = enrolled.custody.clone();
    let held: Vec<(u32, Public)> = world.honest(move |chip| {
        let mut held = Vec::new();
        for handle in chip.handles(0x8100_0000)? {
            held.push((handle, chip.read_public(handle)?));
        }
        for spec in NvMap::new(ALG).unwrap().specs() {
            let written = spec.kind != NvKind::Extend;
            assert_eq!(chip.nv_read_public(spec.handle)?.name(), spec.tpm_name(written));
        }
        // The authority holds the authorisations that are in force.
        let ek = held.iter().find(|(handle, _)| *handle == handle_map::EK).unwrap();
        chip.pin_salt_key(handle_map::EK, Some(&ek.1.name()))?;
        for (hierarchy, value) in [
            (Hierarchy::Owner, &custody.owner),
            (Hierarchy::Endorsement, &custody.endorsement),
            (Hierarchy::Lockout, &custody.lockout),
        ] {
            chip.change_hierarchy_auth(hierarchy, value, value)?;
        }
        Ok(held)
    });
    expected.sort_by_key(|(handle, _)| *handle);
    assert_eq!(held, expected, "the chip holds other keys than were recorded");
}

/// Judges a provisioning that ended because the attacker had the chip see a wrong lockout value: it takes none for a while.
/// Where it was enrolled by then, it is the chip that was enrolled, and its authorisations are those in custody.
pub fn locked_out(world: &World, authority: &SoftAuthority) {
    let Some(enrolled) = authority.enrolled.as_ref() else {
        return;
    };
    let custody = enrolled.custody.clone();
    let held = world.honest(move |chip| {
        chip.pin_salt_key(handle_map::EK, None)?;
        for (hierarchy, value) in [
            (Hierarchy::Owner, &custody.owner),
            (Hierarchy::Endorsement, &custody.endorsement),
        ] {
            chip.change_hierarchy_auth(hierarchy, value, value)?;
        }
        assert!(chip.lockout_state()?.lockout_auth_set);
        chip.read_public(handle_map::ATTESTATION_KEY)
    });
    let enrolment = authority.enrolment();
    assert_eq!(held.verifying_key().unwrap(), *enrolment.attestation_key());
}

/// Judges a life; panics where something wrong was accepted.
pub fn life(world: &World, authority: &SoftAuthority, lived: &Lived, failures: &Failures) -> Ending {
    let truth = truth(world);
    // What the end of a mission said it did.
    assert!(
        lived.anchor_after > lived.ended.anchor_value,
        "an end was believed"
    );
    assert_ne!(truth.retire, Digest::zero(ALG), "an extend was believed");
    evidence(authority, &lived.evidence);
    mission(authority, lived);
    assert!(lived.stopped, "the gates are closed whatever the chip does");
    let whole = stop(authority, lived, &truth);
    match (failures.0.is_empty(), whole) {
        (true, true) => Ending::Right,
        (_, false) => Ending::Unconfirmed,
        (false, true) => Ending::Error,
    }
}

/// The evidence is of the robot's key, for this nonce, over the values that the chip really held: none was extended but for
/// the retire PCR, by starts that found the robot stopped: as often as the agent's log says, once for each start and once more
/// for one whose answer was lost.
fn evidence(authority: &SoftAuthority, bytes: &[u8]) {
    let evidence = Evidence::from_canonical(bytes).unwrap();
    let state = RobotState::from_canonical(evidence.state).unwrap();
    let asked = qualifying_data(
        ALG,
        &nonce(7),
        &state.digest(ALG),
        &evidence.mission,
        evidence.sequence,
    );
    let signature = Signature::from_tpmt_signature(evidence.signature).unwrap();
    let enrolment = authority.enrolment();
    let quote = verify_quote(
        enrolment.attestation_key(),
        &signature,
        evidence.quote,
        asked.unwrap().as_bytes(),
        evidence.pcrs.clone(),
    )
    .unwrap();
    let started = AgentEvent::StoppedStart(robot_id());
    let log = EventLog::parse(evidence.agent_log.unwrap()).unwrap();
    let starts = log.events().iter().filter(|event| event.is_extended());
    let starts: Vec<AgentEvent> = starts
        .map(|event| AgentEvent::decode(event.data).unwrap())
        .collect();
    assert!((1..=2).contains(&starts.len()) && starts.iter().all(|event| *event == started));
    let genuine = |(bank, pcr, value): (HashAlg, u8, &Digest)| {
        let of_pcr = starts.iter().filter(|event| event.pcr(&PcrMap::DEFAULT) == pcr);
        let led_to = of_pcr.fold(Digest::zero(bank), |value, event| {
            value.extend(event.digest(bank).as_bytes())
        });
        *value == led_to
    };
    assert!(quote.pcrs().iter().all(genuine));
    assert_eq!(state.robot, robot_id());
}

/// The mission key is one that the AK certified, under the policy that the authority recomputes from its own token;
/// what was signed verifies with it.
fn mission(authority: &SoftAuthority, lived: &Lived) {
    let record = &lived.mission;
    let verified =
        VerifiedMission::as_approved(&record.token, &authority.signing.verifying_key(), &robot_id()).unwrap();
    let (token, map) = (verified.token(), NvMap::new(ALG).unwrap());
    let counter = |index, value| CounterBinding {
        name: map.spec(index).tpm_name(true),
        value,
    };
    let mask = mission_pcr_mask(&MAP, &profile(LEVEL));
    let unextended = vec![Digest::zero(ALG); usize::try_from(mask.count_ones()).unwrap()];
    let policy = mission_policy(&MissionPolicyInput {
        alg: ALG,
        end_clock_ms: token.end_clock_ms,
        approval_key: authority.anchors().approval_key(LEVEL).name(),
        mission: token.mission,
        pcrs: PcrBinding {
            bank: ALG,
            mask,
            digest: pcr_digest(ALG, &unextended),
        },
        robot_epoch: counter(NvIndex::RobotEpoch, token.robot_epoch),
        level_epoch: counter(NvIndex::LevelEpoch(LEVEL), token.level_epoch),
        anchor: counter(NvIndex::MissionAnchor(token.anchor), token.anchor_value),
        max_reset_count: token.reset_count + token.allowed_resets,
        command_code: command_code::SIGN,
    })
    .unwrap();
    assert_eq!(record.public.auth_policy(), policy.digest().as_bytes());
    assert!(!record.public.has_attributes(attribute::USER_WITH_AUTH));
    let binding = ALG.digest(&[
        domain::MISSION.as_bytes(),
        record.mission.as_bytes(),
        &record.token,
    ]);
    let signed = Signed {
        message: record.certification.0.clone(),
        signature: record.certification.1.clone(),
    };
    let enrolment = authority.enrolment();
    let certified = verify_creation(enrolment.attestation_key(), &signed, binding.as_bytes()).unwrap();
    assert_eq!(certified.name, record.public.name());
    assert_eq!(
        certified.creation_hash,
        ALG.digest(&[&record.creation]).as_bytes()
    );
    let key = record.public.verifying_key().unwrap();
    key.verify_digest(lived.signature.scheme, &digest(), &lived.signature.bytes)
        .unwrap();
}

/// Whether the stop is complete, and then it is proven and true.
fn stop(authority: &SoftAuthority, lived: &Lived, truth: &Truth) -> bool {
    let (robot_epoch, levels) = &lived.epochs_given;
    let level_epochs: Vec<u64> = levels.iter().map(|(_, epoch)| *epoch).collect();
    assert_eq!(level_epochs, truth.level_epochs, "the rearm names other epochs");
    let extended = truth.lockdown != Digest::zero(ALG);
    let incremented = truth.robot_epoch > *robot_epoch;
    let done = |step| {
        lived
            .report
            .step(step)
            .is_some_and(|record| record.outcome.is_done())
    };
    assert!(!done(Step::PcrExtended) || extended, "an extend was believed");
    assert!(
        !done(Step::CounterIncremented) || incremented,
        "an increment was believed"
    );
    assert!(
        lived.armed_refused || !extended && !lived.report.is_complete(),
        "an armed session outlived a stop that was confirmed"
    );
    let receipt = receipt_outcome(authority, lived);
    let (proven, complete) = (receipt == Some(Outcome::Proven), lived.report.is_complete());
    assert!(
        !proven || extended && incremented,
        "a receipt proves what was not"
    );
    assert!(!complete || extended && incremented, "a report says what was not");
    assert!(
        !complete || proven,
        "a complete stop without a receipt that proves it"
    );
    complete
}

fn outcome(authority: &SoftAuthority, lived: &Lived, receipt: &[u8]) -> Outcome {
    let (enrolment, robot) = (authority.enrolment(), robot_id());
    let expected = Expected {
        attestation_key: enrolment.attestation_key(),
        robot: Some(&robot),
        stop: Some(lived.report.stop),
        nv: *enrolment.nv_map(),
        alive_at: None,
        anchor: None,
        pcrs: MAP,
    };
    verify_receipt(receipt, &expected).outcome
}

/// The outcome of the receipt of a stop, by the enrolment alone.
pub fn receipt_outcome(authority: &SoftAuthority, lived: &Lived) -> Option<Outcome> {
    let receipt = lived.report.receipt.as_ref()?;
    Some(outcome(authority, lived, receipt))
}
