//! Seeds of event logs and of the audit log.

use alcub3_attestation::event_log::builder::{Boot, Builder};
use alcub3_audit_log::{
    AuditBundle, Checkpoint, Entry, EntryKind, NoteSignature, NoteSigner, Outcome, Part, SignedNote, Step,
    TpmAnchor, leaf_hash,
};
use alcub3_crypto::{Ed25519Key, HashAlg, Secret};
use alcub3_fleet_protocol::audit::AuditReport;
use alcub3_trust_model::pcr_map::PcrMap;
use alcub3_trust_model::{
    BootId, FaultSeverity, Integrity, Labels, Level, MissionId, OperationalMode, Payload, Position,
    ReportedFault, RobotId, RobotState, SensorCalibration, SubsystemFirmware,
};

use super::authority::agent_events;
use super::{Seed, SeedResult, seed};

pub(super) fn seeds() -> SeedResult<Vec<Seed>> {
    let mut seeds = event_logs()?;
    seeds.extend(ima_lists());
    seeds.extend(audit()?);
    seeds.push(seed(
        "robot_state",
        "idle",
        robot_state(&[], None)?.to_canonical(),
    ));
    let position = Position {
        latitude_e7_deg: 473_769_000,
        longitude_e7_deg: 85_417_000,
        altitude_mm: 408_000,
    };
    let missions = [MissionId::new([1; 16]), MissionId::new([2; 16])];
    seeds.push(seed(
        "robot_state",
        "mission",
        robot_state(&missions, Some(position))?.to_canonical(),
    ));
    Ok(seeds)
}

fn event_logs() -> SeedResult<Vec<Seed>> {
    let mut seeds = Vec::new();
    for (name, banks) in [
        ("sha256", &[HashAlg::Sha256][..]),
        ("sha1-sha256", &[HashAlg::Sha1, HashAlg::Sha256]),
        ("all-banks", &HashAlg::ALL),
    ] {
        seeds.push(seed("event_log", format!("boot-{name}"), boot_log(banks)?));
        seeds.push(seed("event_log", format!("agent-{name}"), agent_log(banks)?));
    }
    seeds.push(seed("event_log", "sha1-legacy", legacy_log()));
    Ok(seeds)
}

/// A list of each template in the ascii form, and one entry in the binary form.
fn ima_lists() -> Vec<Seed> {
    let (hash, digest) = (
        "1d8d532d463c9f8c205d0df7787669a85f93e260",
        format!("sha256:{}", "ab".repeat(32)),
    );
    let fields = [
        ("ima", format!("{} /bin/sh", "cd".repeat(20))),
        ("ima-ng", format!("{digest} /bin/sh")),
        ("ima-ngv2", format!("verity:{digest} /bin/sh")),
        ("ima-sig", format!("{digest} /bin/sh 0302")),
        ("ima-sigv2", format!("ima:{digest} /bin/sh ")),
        ("ima-buf", format!("{digest} dm_table_load 646d")),
        ("ima-modsig", format!("{digest} /m.ko 0302 {digest} 30aa")),
        (
            "evm-sig",
            format!("{digest} /bin/sh 0502 security.ima 04000000 aabb 0 1000 33261"),
        ),
    ];
    let line = |(template, fields): &(&str, String)| format!("10 {hash} {template} {fields}\n");
    let mut seeds: Vec<Seed> = fields
        .iter()
        .map(|entry| seed("ima_log", entry.0, line(entry).into_bytes()))
        .collect();
    let data = [
        &[40, 0, 0, 0][..],
        b"sha256:\0",
        &[0xab; 32],
        &[3, 0, 0, 0],
        b"/a\0",
    ]
    .concat();
    let length = u8::try_from(data.len()).unwrap_or_default();
    let head = [
        &[10, 0, 0, 0][..],
        &[1; 20],
        &[6, 0, 0, 0],
        b"ima-ng",
        &[length, 0, 0, 0],
    ]
    .concat();
    seeds.push(seed("ima_log", "binary", [head, data].concat()));
    seeds
}

/// A whole boot in the form real machines log it.
pub(super) fn boot_log(banks: &[HashAlg]) -> SeedResult<Vec<u8>> {
    let mut log = Builder::new(banks)?;
    log.startup_locality(3).uefi_boot(&Boot::default());
    Ok(log.finish())
}

fn agent_log(banks: &[HashAlg]) -> SeedResult<Vec<u8>> {
    let mut log = Builder::new(banks)?;
    for (_, event) in agent_events()? {
        log.agent(event.pcr(&PcrMap::default()), &event);
    }
    Ok(log.finish())
}

/// TCG_PCClientPCREvent only: PCR, type, SHA-1 digest, size, data; little-endian.
fn legacy_log() -> Vec<u8> {
    let mut log = Vec::new();
    for (pcr, kind, data) in [
        (0_u32, 8_u32, &b"version"[..]),
        (4, 0x8000_0007, b"Calling EFI"),
        (0, 4, &[0; 4]),
    ] {
        log.extend_from_slice(&pcr.to_le_bytes());
        log.extend_from_slice(&kind.to_le_bytes());
        log.extend_from_slice(HashAlg::Sha1.digest(&[data]).as_bytes());
        log.extend_from_slice(&u32::try_from(data.len()).unwrap_or_default().to_le_bytes());
        log.extend_from_slice(data);
    }
    log
}

fn audit() -> SeedResult<Vec<Seed>> {
    let entry = Entry {
        robot: Some(RobotId::new("robot-17")?),
        boot: BootId::new([3; 16]),
        time_ms: 1_790_000_000_000,
        kind: EntryKind::Stop,
        subject: "operator-1".to_owned(),
        outcome: Outcome::Unconfirmed,
        reasons: vec!["tpm-absent".to_owned()],
        steps: vec![Step {
            name: "gate-closed".to_owned(),
            after_us: 12,
        }],
        object: Some(HashAlg::Sha384.digest(&[b"receipt"])),
        label: Some(Labels::new(Level::Secret, Integrity::Operational)),
        within_ms: Some(500),
    };
    let bytes = entry.to_canonical()?;
    let plain = Entry {
        robot: None,
        reasons: vec![],
        steps: vec![],
        object: None,
        label: None,
        within_ms: None,
        ..entry
    }
    .to_canonical()?;
    let signer = NoteSigner::of_log(
        &RobotId::new("rover-1")?,
        Ed25519Key::from_seed(&Secret::from_slice(&[7; 32]))?,
    );
    let head = signer.checkpoint(1, leaf_hash(&plain))?.note().encode();
    let (key, anchor) = (
        signer.verifier().to_text(),
        TpmAnchor {
            message: vec![1; 120],
            signature: vec![2; 72],
        },
    );
    let bundle = AuditBundle {
        key: key.clone(),
        note: head.clone(),
        anchor: Some(anchor.clone()),
        earlier: vec![head.clone()],
        reader: Labels::new(Level::TopSecret, Integrity::Untrusted),
        parts: vec![Part::Entry {
            hash: leaf_hash(&plain),
            bytes: plain.clone(),
        }],
    };
    let report = AuditReport {
        robot: RobotId::new("rover-1")?,
        key: key.clone(),
        note: head,
        anchor,
        held: 1,
        path: vec![leaf_hash(&bytes); 2],
    };
    let checkpoint = Checkpoint::new("alcub3/robot-17/audit", 42, leaf_hash(&bytes))?.to_text();
    let signature = NoteSignature {
        name: "robot-17".to_owned(),
        key_id: 0x0102_0304,
        signature: vec![9; 96],
    };
    let note = SignedNote::new(checkpoint.clone(), vec![signature])?.encode();
    Ok(vec![
        seed("audit_log", "file", framed(&[&bytes, &plain])?),
        seed("audit_log", "entry", bytes),
        seed("audit_log", "entry-plain", plain),
        seed("audit_log", "checkpoint", checkpoint.into_bytes()),
        seed("audit_log", "note", note.into_bytes()),
        seed("audit_log", "key", key.into_bytes()),
        seed("audit_log", "bundle", bundle.to_canonical()),
        seed("audit_log", "report", report.to_canonical()),
        seed(
            "audit_log",
            "tile",
            [leaf_hash(b"1").as_bytes().as_slice(), leaf_hash(b"2").as_bytes()].concat(),
        ),
    ])
}

/// Entries as a log's file holds them.
fn framed(entries: &[&[u8]]) -> SeedResult<Vec<u8>> {
    let mut file = Vec::new();
    for entry in entries {
        file.extend_from_slice(&u32::try_from(entry.len())?.to_be_bytes());
        file.extend_from_slice(entry);
    }
    Ok(file)
}

/// A state of the robot.
pub(super) fn robot_state(missions: &[MissionId], position: Option<Position>) -> SeedResult<RobotState> {
    let digest = HashAlg::Sha384.digest(&[b"inventory"]);
    Ok(RobotState {
        mode: if missions.is_empty() {
            OperationalMode::Idle
        } else {
            OperationalMode::Mission
        },
        level: Level::Confidential,
        missions: missions.to_vec(),
        software: "0.1.0".to_owned(),
        firmware: vec![SubsystemFirmware {
            subsystem: "legs".to_owned(),
            version: "2.1.0".to_owned(),
            image: Some(digest),
        }],
        calibration: vec![SensorCalibration {
            sensor: "lidar".to_owned(),
            calibration: digest,
        }],
        hardware: digest,
        payload: vec![Payload {
            name: "gripper".to_owned(),
            mass_g: 1_700,
        }],
        faults: vec![ReportedFault {
            subsystem: "arm".to_owned(),
            code: "E-42".to_owned(),
            severity: FaultSeverity::Degraded,
        }],
        maintained_at_ms: position.map(|_| 1_780_000_000_000),
        speed_mm_per_s: 1_200,
        battery_permille: 870,
        position,
        ..RobotState::at_rest(
            RobotId::new("robot-17")?,
            BootId::new([3; 16]),
            1_790_000_000_000,
            HashAlg::Sha384,
        )
    })
}
