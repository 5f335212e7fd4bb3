//! Every target has seeds, and its parser takes them.

use super::{Seed, all};
use alcub3_agent::MissionEnds;
use alcub3_attestation::appraisal::ReferenceValues;
use alcub3_attestation::attest::Attest;
use alcub3_attestation::checkquote;
use alcub3_attestation::corim;
use alcub3_attestation::dice;
use alcub3_attestation::ear::{Ear, Judgement};
use alcub3_attestation::event_log::EventLog;
use alcub3_attestation::event_log::agent::AgentEvent;
use alcub3_attestation::evidence::Evidence;
use alcub3_attestation::ima::ImaLog;
use alcub3_attestation::psa::PlatformReferences;
use alcub3_attestation::receipt::{PurgeReceipt, Receipt, Statement};
use alcub3_command_authority::cose::Message;
use alcub3_command_authority::policy::{
    CommandPolicy, CommandPolicyOrder, CommandRules, PolicyStatement, RecordedCommand,
};
use alcub3_command_authority::{
    AuthorizedCommand, Context, Generation, ReplayWindows, Reservation, Verdict, VerifiedLease,
    VerifiedMission, judge,
};
use alcub3_crypto::VerifyingKey;
use alcub3_crypto::tpm::{Public, Signature};
use alcub3_fleet_protocol::attestation::{AttestRequest, AttestResult, EvidenceMessage};
use alcub3_fleet_protocol::chip::ChipAnswer;
use alcub3_fleet_protocol::extension::ExtensionRequest;
use alcub3_fleet_protocol::hand_over::HandOverRequest;
use alcub3_fleet_protocol::level_policy::VerifiedLevelPolicy;
use alcub3_fleet_protocol::mission::{MissionApproval, MissionRequest};
use alcub3_fleet_protocol::platform::{PlatformAnswer, PlatformRequest, VerifiedPlatform};
use alcub3_fleet_protocol::purge::PurgeRequest;
use alcub3_fleet_protocol::rearm::{RearmApproval, RearmRequest};
use alcub3_fleet_protocol::recovery::{RecoveryItem, RecoverySet, WrappedShare};
use alcub3_fleet_protocol::shared_key::{SharedKeyRequest, VerifiedSharedKey};
use alcub3_keys::own_records::reencoded;
use alcub3_keys::{HeldCommandKey, MissionData, MissionKeyRecord, MissionRecord, SeenClock};
use alcub3_security_hal::adapter_link::{self, FrameReader, ToAdapter, ToAgent};
use alcub3_security_hal::{RearmRecord, StopIntent};
use alcub3_tpm::ops::Sealed;
use alcub3_tpm::transport::Capture;
use alcub3_trust_model::hardware::HardwareRecord;
use alcub3_trust_model::managed_key::{Encrypted, KeyRecord, StoreHeader};
use alcub3_trust_model::{LevelProfiles, RobotState};
use std::collections::BTreeSet;
use world::{BOOT, LEASE, MISSION, NOW_MS, SESSION, WORLD, maced, signed};

#[allow(unreachable_pub)]
#[path = "../../../../fuzz/src/psa.rs"]
mod psa;
#[allow(unreachable_pub)]
#[path = "../../../../fuzz/src/world.rs"]
mod world;

#[test]
fn every_fuzz_target_has_seeds() {
    let seeded: BTreeSet<String> = all().unwrap().iter().map(|seed| seed.target.to_owned()).collect();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/fuzz_targets");
    let targets: BTreeSet<String> = crate::fuzz::targets(&folder).unwrap().into_iter().collect();
    assert_eq!(seeded, targets);
}

#[test]
fn seeds_are_accepted_by_what_they_seed() {
    let mut accepted = 0;
    for seed in all().unwrap() {
        if let Some(holds) = accepts(&seed) {
            assert!(holds, "{}/{} is refused", seed.target, seed.name);
            accepted += 1;
        }
    }
    assert!(accepted > 60, "{accepted}");
}

/// Whether the fuzz target's world authorises the command.
fn authorises(payload: &[u8]) -> bool {
    let world = &*WORLD;
    let context = Context {
        robot: &world.robot,
        labels: &world.labels,
        profiles: &LevelProfiles::builtin(),
        missions: &world.missions,
        sessions: &world.sessions,
        rules: &CommandRules::Builtin,
        lease: Some(&world.lease),
        generation: Generation(1),
    };
    let mut replay = ReplayWindows::new(LEASE);
    replay.open(&world.issuer);
    for stored in replay.wanted() {
        replay.confirm(&stored);
    }
    let verdict = judge(&context, &mut replay, &maced(payload), Some(NOW_MS));
    let named = |command: &AuthorizedCommand| command.mission() == MISSION;
    matches!(&verdict, Verdict::Authorized(command) if named(command))
}

/// Whether the payload, signed, is a mission or a lease of the fuzz target's world.
fn verifies(payload: &[u8]) -> bool {
    let (bytes, key) = (signed(payload), WORLD.authority.verifying_key());
    VerifiedMission::as_approved(&bytes, &key, &WORLD.robot).is_ok()
        || VerifiedLease::verify(&bytes, &key, &WORLD.robot, BOOT, &LevelProfiles::builtin()).is_ok()
}

fn is_mission_record(bytes: &[u8]) -> bool {
    MissionRecord::from_canonical(bytes).is_ok()
        || MissionKeyRecord::from_canonical(bytes).is_ok()
        || MissionData::from_canonical(bytes).is_ok()
        || MissionEnds::from_canonical(bytes).is_ok()
        || SeenClock::from_canonical(bytes).is_ok()
}

macro_rules! parses_as_any {
    ($bytes:expr, $($message:ty),+) => { $(<$message>::from_canonical($bytes).is_ok())||+ };
}

/// The messages that are not signed as a whole.
fn is_fleet_message(bytes: &[u8]) -> bool {
    parses_as_any!(
        bytes,
        AttestRequest,
        AttestResult,
        EvidenceMessage,
        ChipAnswer,
        ExtensionRequest,
        HandOverRequest,
        SharedKeyRequest,
        MissionApproval,
        MissionRequest,
        RearmApproval,
        RearmRequest,
        PurgeRequest,
        RecoverySet,
        WrappedShare,
        RecoveryItem
    )
}

/// Whether the payload, signed, is a shared key for the fuzz target's world.
fn is_shared_key(payload: &[u8]) -> bool {
    let token = WORLD.missions.get(&MISSION).unwrap().token();
    let (bytes, key) = (signed(payload), WORLD.authority.verifying_key());
    VerifiedSharedKey::verify(&bytes, &key, token, SESSION).is_ok()
}

/// Whether the payload, signed, is a level policy of the fuzz target's world.
fn is_level_policy(payload: &[u8]) -> bool {
    VerifiedLevelPolicy::verify(&signed(payload), &WORLD.authority.verifying_key()).is_ok()
}

/// Whether it is a command policy as it is signed, or as people write it.
fn is_command_policy(bytes: &[u8]) -> bool {
    PolicyStatement::from_canonical(bytes).is_ok() || CommandPolicy::from_toml(bytes).is_ok()
}

/// Whether it is, signed, a policy's order, or a recorded command, or a command of which the world can make a record.
fn is_command_order(bytes: &[u8]) -> bool {
    let world = &*WORLD;
    CommandPolicyOrder::read(&signed(bytes), &world.authority.verifying_key()).is_ok()
        || serde_json::from_slice::<RecordedCommand>(bytes).is_ok()
        || RecordedCommand::of(bytes, &world.robot, &world.missions, &[]).is_some()
}

/// Whether the claims, signed, are a token that the fuzz target's verifier refuses for nothing but the state.
fn is_psa_token(payload: &[u8]) -> bool {
    let verdict = psa::judge_psa(&signed(payload));
    verdict.attested().is_some() && Judgement::reason_codes(&verdict) == ["state-malformed"]
}

const UNSIGNED: corim::Reading<'static> = corim::Reading {
    signer: None,
    bank: None,
    now_s: 0,
};
/// Whether it is a message or, signed, a record of a robot without a TPM, or references in JSON.
fn is_of_a_platform(bytes: &[u8], text: &str) -> bool {
    parses_as_any!(bytes, PlatformRequest, PlatformAnswer)
        || VerifiedPlatform::verify(&signed(bytes), &WORLD.authority.verifying_key()).is_ok()
        || PlatformReferences::from_json(text).is_ok()
}

/// Whether each of its frames is a message of one of the two ends.
fn is_adapter_stream(bytes: &[u8]) -> bool {
    let mut reader = FrameReader::new();
    reader.push(&bytes[1..]);
    let mut messages = std::iter::from_fn(|| reader.next_frame().unwrap());
    messages.all(|message| {
        adapter_link::parse::<ToAgent>(&message).is_ok() || adapter_link::parse::<ToAdapter>(&message).is_ok()
    })
}

/// Whether a parser of the seed's target takes it; none where the target adds what the seed lacks.
fn accepts(seed: &Seed) -> Option<bool> {
    let bytes = &seed.bytes[..];
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    Some(match seed.target {
        "command_envelope" => authorises(bytes),
        "mission_token" => verifies(bytes),
        "mission_records" => is_mission_record(bytes) || is_shared_key(bytes),
        "agent_event" => AgentEvent::from_message(bytes).is_ok() || AgentEvent::decode(bytes).is_ok(),
        "checkquote_pcr_file" => checkquote::parse_pcr_file(bytes).is_ok(),
        "cose_message" => Message::parse("a seed", bytes).is_ok(),
        "hardware_record" => HardwareRecord::from_canonical(bytes).is_ok(),
        "dice_evidence" if seed.name.contains("certificate") => return None,
        "dice_evidence" => {
            dice::Evidence::from_canonical(bytes).is_ok() || dice::References::from_json(text).is_ok()
        }
        "event_log" => EventLog::parse(bytes).is_ok(),
        "evidence" => Evidence::from_canonical(bytes).is_ok() || ReferenceValues::from_text(text).is_ok(),
        "corim" => corim::read(bytes, &UNSIGNED).is_ok(),
        "level_policy" => is_level_policy(bytes),
        "command_policy" => is_command_policy(bytes),
        "command_order" => is_command_order(bytes),
        "own_records" => {
            reencoded(bytes).is_some_and(|again| again == bytes)
                || HeldCommandKey::from_canonical(bytes).is_ok()
        }
        "fleet_messages" => is_fleet_message(bytes),
        "ima_log" => ImaLog::parse(bytes).is_ok(),
        "attestation_result" if seed.name == "affirming" => serde_json::from_slice::<Ear>(bytes).is_ok(),
        "platforms" => is_of_a_platform(bytes, text),
        "psa_token" => is_psa_token(bytes),
        "public_key_file" => checkquote::public_key(bytes).is_ok(),
        "receipt" => {
            Receipt::from_canonical(bytes).is_ok()
                || Statement::from_canonical(bytes).is_ok()
                || PurgeReceipt::from_canonical(bytes).is_ok()
        }
        "robot_files" => {
            StopIntent::from_canonical(bytes).is_ok()
                || RearmRecord::from_canonical(bytes).is_ok()
                || Reservation::from_canonical(bytes).is_ok()
        }
        "key_store" => {
            KeyRecord::from_canonical(bytes).is_ok()
                || StoreHeader::from_canonical(bytes).is_ok()
                || Encrypted::from_canonical(bytes).is_ok()
        }
        "adapter_link" => is_adapter_stream(bytes),
        "robot_state" => RobotState::from_canonical(bytes).is_ok(),
        "spki" => VerifyingKey::from_spki_der(bytes).is_ok(),
        "tpm_capture" => Capture::from_bytes(bytes).is_ok() || Sealed::from_bytes(bytes).is_ok(),
        "tpm_public" => Public::from_tpmt(bytes).is_ok(),
        "tpm_signature" => Signature::from_tpmt_signature(bytes).is_ok(),
        "tpms_attest" => Attest::parse(bytes).is_ok(),
        _ => return None,
    })
}
