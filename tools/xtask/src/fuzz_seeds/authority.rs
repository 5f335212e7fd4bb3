//! Seeds of the command authority's messages. They name the same robot, mission and lease as the world in
//! `fuzz/src/lib.rs`, so that a judgement gets as far as authorising.

use alcub3_command_authority::cose::{Message, Unsigned};
use alcub3_command_authority::{
    Arguments, AttestationLease, CommandEnvelope, CommandName, CommandPattern, Geofence, Issuer,
    MissionToken, Role, SafetyLimits, Value,
};
use alcub3_crypto::{Curve, HashAlg, MacKey, SigningKey, Suite};
use alcub3_trust_model::nv_map::MissionAnchor;
use alcub3_trust_model::{
    BootId, Integrity, Labels, LeaseId, Level, MissionId, OperatorId, RobotId, StopCause, StopId,
};

use alcub3_attestation::certify::Signed;
use alcub3_attestation::event_log::agent::{AgentEvent, StopEvent, StopScope};
use alcub3_attestation::receipt::{PurgeReceipt, PurgeStatement, Receipt, Statement, Step, StepTime};

use super::{Seed, SeedResult, seed};

const NOW_MS: u64 = 1_790_000_000_000;
const P256: Suite = Suite::EcdsaP256Sha256;

pub(super) fn seeds() -> SeedResult<Vec<Seed>> {
    let key = SigningKey::generate(Curve::P256)?;
    let (mission, lease, move_to) = (mission(&key)?, lease()?, move_to()?);
    let envelope = move_to
        .unsigned(Suite::HmacSha256)
        .mac(&MacKey::new(HashAlg::Sha256, &[4; 32]))?;
    let mut seeds = vec![
        seed(
            "mission_token",
            "mission",
            payload(&mission.unsigned(P256).sign(&key)?)?,
        ),
        seed(
            "mission_token",
            "lease",
            payload(&lease.unsigned(P256).sign(&key)?)?,
        ),
        seed("command_envelope", "move", payload(&envelope)?),
        seed("cose_message", "mac", envelope),
    ];
    for curve in [Curve::P256, Curve::P384] {
        let key = SigningKey::generate(curve)?;
        let message = Unsigned::new(key.suite(), b"payload".to_vec()).sign(&key)?;
        seeds.push(seed("cose_message", format!("{curve:?}"), message));
    }
    seeds.extend(stops()?);
    Ok(seeds)
}

/// The payload of a finished message: what the targets put a right signature around.
pub(super) fn payload(message: &[u8]) -> SeedResult<Vec<u8>> {
    Ok(Message::parse("a seed", message)?.payload().to_vec())
}

pub(super) fn move_to() -> SeedResult<CommandEnvelope> {
    Ok(CommandEnvelope {
        robot: RobotId::new("robot-17")?,
        mission: MissionId::new([8; 16]),
        lease: LeaseId::new([5; 16]),
        issuer: OperatorId::new("operator-1")?,
        sequence: 1,
        issued_at_ms: NOW_MS - 10,
        expires_at_ms: NOW_MS + 5_000,
        command: CommandName::new("move.velocity")?,
        labels: Labels::new(Level::Unclassified, Integrity::Operational),
        arguments: Arguments::new()
            .with("speed_mm_per_s", Value::Int(500))?
            .with("duration_ms", Value::Int(1_000))?,
    })
}

fn mission(key: &SigningKey) -> SeedResult<MissionToken> {
    let issuer = Issuer {
        operator: OperatorId::new("operator-1")?,
        role: Role::Operator,
        key: key.verifying_key(),
        integrity: Integrity::Operational,
        allowed: vec![
            CommandPattern::new("move.*")?,
            CommandPattern::new("observe.camera")?,
        ],
    };
    let geofence = Geofence {
        south_e7_deg: 470_000_000,
        north_e7_deg: 480_000_000,
        west_e7_deg: 80_000_000,
        east_e7_deg: 90_000_000,
        max_altitude_mm: 900_000,
    };
    let limits = SafetyLimits {
        max_speed_mm_per_s: 2_000,
        max_turn_mdeg_per_s: 90_000,
        max_duration_ms: 10_000,
        geofence: Some(geofence),
    };
    Ok(MissionToken {
        mission: MissionId::new([8; 16]),
        robot: RobotId::new("robot-17")?,
        labels: Labels::new(Level::Unclassified, Integrity::Operational),
        not_before_ms: NOW_MS,
        not_after_ms: NOW_MS + 600_000,
        end_clock_ms: 600_000,
        anchor: MissionAnchor::new(2).ok_or("there is no third mission anchor")?,
        anchor_value: 7,
        robot_epoch: 1,
        level_epoch: 1,
        reset_count: 2,
        allowed_resets: 0,
        issuers: vec![issuer],
        limits,
        replaces: None,
    })
}

fn lease() -> SeedResult<AttestationLease> {
    Ok(AttestationLease {
        robot: RobotId::new("robot-17")?,
        lease: LeaseId::new([5; 16]),
        boot: BootId::new([3; 16]),
        ceiling: Level::Unclassified,
        not_before_ms: NOW_MS,
        not_after_ms: NOW_MS + 1_000,
        verdict: HashAlg::Sha256.digest(&[b"attestation result"]),
    })
}

/// The agent's events and a receipt for each scope of a stop.
fn stops() -> SeedResult<Vec<Seed>> {
    let mut seeds = Vec::new();
    for (name, event) in agent_events()? {
        seeds.push(seed("agent_event", format!("{name}-message"), event.message()));
        seeds.push(seed("agent_event", format!("{name}-tagged"), event.encode()));
        if let AgentEvent::Stop(stop) = event {
            let receipt = receipt(stop);
            seeds.push(seed(
                "receipt",
                format!("{name}-statement"),
                receipt.statement.to_canonical(),
            ));
            seeds.push(seed("receipt", name, receipt.to_canonical()));
        }
    }
    let digest = HashAlg::Sha256.digest(&[b"purged"]);
    let purge = PurgeReceipt {
        statement: PurgeStatement {
            robot: RobotId::new("robot-17")?,
            order: digest,
            stop_receipt: digest,
            purged_utc_ms: NOW_MS,
            pcr: digest,
        },
        stop_receipt: vec![1; 300],
        quote: Signed {
            message: vec![2; 120],
            signature: vec![3; 72],
        },
    };
    seeds.push(seed("receipt", "purge", purge.to_canonical()));
    Ok(seeds)
}

/// One event of each kind, with a name.
pub(super) fn agent_events() -> SeedResult<Vec<(&'static str, AgentEvent)>> {
    let robot = RobotId::new("robot-17")?;
    let anchor = MissionAnchor::new(3).ok_or("there is no fourth mission anchor")?;
    let stop = |scope| {
        AgentEvent::Stop(StopEvent {
            stop: StopId::new([7; 16]),
            robot: robot.clone(),
            scope,
            cause: StopCause::SecurityBreach,
            called_utc_ms: NOW_MS,
        })
    };
    Ok(vec![
        ("robot", stop(StopScope::Robot)),
        ("level", stop(StopScope::Level(Level::Secret))),
        (
            "mission",
            stop(StopScope::Mission(MissionId::new([8; 16]), anchor)),
        ),
        ("mission-ended", AgentEvent::MissionEnded(MissionId::new([8; 16]))),
        ("stopped-start", AgentEvent::StoppedStart(robot.clone())),
    ])
}

fn receipt(event: StopEvent) -> Receipt {
    let digest = HashAlg::Sha384.digest(&[b"pcr"]);
    let steps = Step::ALL
        .into_iter()
        .map(|step| StepTime {
            step,
            began_ns: 1_000,
            ended_ns: 2_000,
            confirmed: true,
        })
        .collect();
    let part = || {
        Some(Signed {
            message: vec![1; 100],
            signature: vec![2; 104],
        })
    };
    Receipt {
        statement: Statement {
            event,
            boot: BootId::new([3; 16]),
            pcr_before: digest,
            pcr_after: digest,
            extends: 2,
            steps,
        },
        attestation_key: vec![3; 90],
        quote: part(),
        epoch_after: part(),
        epoch_before: part(),
    }
}
