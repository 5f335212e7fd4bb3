//! The five kinds of attestation on a real TPM implementation, and what the robot registers hold over its restarts.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_agent::{Asked as Question, LogSource, PlatformLogs, Surroundings};
use alcub3_attestation::appraisal::{
    Asked, LastSeen, PlatformRecord, Policy, Reason, ReferenceValues, RegisterRecord, Verdict, appraise,
};
use alcub3_attestation::event_log::EventLog;
use alcub3_attestation::event_log::builder::{Boot, Builder};
use alcub3_attestation::evidence::Evidence;
use alcub3_command_authority::VerifiedMission;
use alcub3_crypto::HashAlg;
use alcub3_fleet_protocol::VerifiedEnrolment;
use alcub3_fleet_protocol::attestation::mission_scope;
use alcub3_testkit::PowerUp;
use alcub3_tpm::Lane;
use alcub3_trust_model::nv_map::{NvIndex, Register};
use alcub3_trust_model::pcr_map::PcrMap;
use alcub3_trust_model::{
    AttestationKind, HardwareTier, MissionId, PlatformType, SensorCalibration, StopId, SubsystemFirmware,
};
use support::{LEVEL, LONG, Life, NOW_MS, nonce, robot_id};

const BANK: HashAlg = HashAlg::Sha256;

/// A verifier with what it remembers, for a robot whose simulated boot measured nothing.
struct Verifier {
    enrolment: VerifiedEnrolment,
    references: ReferenceValues,
    known: PlatformRecord,
    last_seen: Option<LastSeen>,
    rearmed: Vec<StopId>,
    asked: u8,
}

/// A spot with one subsystem and one sensor.
fn surroundings() -> Surroundings {
    Surroundings {
        platform: PlatformType::BostonDynamicsSpot,
        firmware: vec![SubsystemFirmware {
            subsystem: "legs".to_owned(),
            version: "2.1.0".to_owned(),
            image: None,
        }],
        calibration: vec![SensorCalibration {
            sensor: "lidar".to_owned(),
            calibration: BANK.digest(&[b"calibration"]),
        }],
        ..Surroundings::unknown()
    }
}

fn boot_log() -> Vec<u8> {
    let mut log = Builder::new(&[BANK]).unwrap();
    log.uefi_boot(&Boot::default());
    log.finish()
}

impl Verifier {
    fn of(life: &Life) -> Self {
        Self {
            enrolment: life.authority.enrolment(),
            references: ReferenceValues::golden(&EventLog::parse(&boot_log()).unwrap(), BANK).unwrap(),
            known: PlatformRecord::default(),
            last_seen: None,
            rearmed: Vec::new(),
            asked: 0,
        }
    }

    fn question(&mut self, kind: AttestationKind) -> Question {
        self.asked += 1;
        Question {
            nonce: nonce(self.asked),
            kind,
            runtime_from: None,
            registers: self.known.registers.as_ref().map(RegisterRecord::positions),
        }
    }

    fn judge(&mut self, asked: Asked<'_>, evidence: &[u8]) -> Verdict {
        let (robot, nonce) = (robot_id(), nonce(self.asked));
        let policy = Policy {
            attestation_key: self.enrolment.attestation_key(),
            robot: &robot,
            nonce: &nonce,
            asked,
            references: &self.references,
            pcrs: PcrMap::DEFAULT,
            nv: *self.enrolment.nv_map(),
            enrolled_tier: HardwareTier::Simulator,
            min_tier: HardwareTier::Simulator,
            rearmed_stops: &self.rearmed,
            last_seen: self.last_seen,
            known_boot: None,
            known_runtime: None,
            known_registers: self.known.registers.as_ref(),
            max_state_age_ms: 1000,
        };
        let verdict = appraise(evidence, &policy, NOW_MS);
        self.last_seen = LastSeen::after(self.last_seen, &verdict);
        self.known = self.known.after(&verdict);
        verdict
    }

    /// Asks a robot and judges what it answers; with the number of registers that it certified.
    fn attest(&mut self, life: &Life, asked: Asked<'_>, seen: &Surroundings) -> (Verdict, usize) {
        let question = self.question(asked.kind());
        let logs = PlatformLogs::uefi(LogSource::Bytes(boot_log()));
        let evidence = life.robot().evidence(&question, seen, &logs, NOW_MS).unwrap();
        let certified = Evidence::from_canonical(&evidence).unwrap().registers.len();
        (self.judge(asked, &evidence), certified)
    }
}

/// A chip that has measured the boot that the log says.
fn booted() -> (Life, Verifier) {
    let life = Life::running();
    measure_boot(&life);
    let verifier = Verifier::of(&life);
    (life, verifier)
}

fn measure_boot(life: &Life) {
    let log = boot_log();
    let log = EventLog::parse(&log).unwrap();
    let extended = log.events().iter().filter(|event| event.is_extended());
    let events: Vec<_> = extended
        .map(|event| (u32::from(event.pcr), event.digest(BANK).unwrap()))
        .collect();
    let extend = move |chip: &mut alcub3_tpm::Chip| {
        let mut events = events.iter();
        events.try_for_each(|(pcr, digest)| chip.pcr_extend(*pcr, std::slice::from_ref(digest)))
    };
    life.tpm.run(Lane::Background, LONG, extend).unwrap();
}

fn found(verdict: &Verdict) -> Vec<Reason> {
    verdict.findings().iter().map(|finding| finding.reason).collect()
}

#[test]
fn every_kind_is_proven_by_the_chip() {
    let (mut life, mut verifier) = booted();
    let seen = surroundings();
    for (asked, certified) in [(Asked::Platform, 2), (Asked::Sensor, 1), (Asked::Operational, 1)] {
        let (verdict, shown) = verifier.attest(&life, asked, &seen);
        assert!(verdict.is_trusted(), "{}: {:?}", asked.kind(), verdict.findings());
        assert_eq!(
            shown,
            certified,
            "{}: what the verifier did not know",
            asked.kind()
        );
    }

    let record = life.start_mission(600_000);
    let authority = life.authority.signing.verifying_key();
    let mission = VerifiedMission::as_approved(record.token_in_force(), &authority, &robot_id()).unwrap();
    let scope = mission_scope(&mission, record.token_in_force());
    let (verdict, shown) = verifier.attest(&life, Asked::Mission(&scope), &seen);
    assert!(verdict.grants_lease(), "{:?}", verdict.findings());
    assert_eq!(shown, 1, "its mode changed");
    assert_eq!(verdict.ends_by_ms(), Some(mission.token().not_after_ms));

    let report = life.stop();
    assert!(report.is_complete());
    let approved_epoch = scope.robot_epoch;
    let (verdict, _) = verifier.attest(&life, Asked::Emergency { approved_epoch }, &seen);
    assert_eq!(
        found(&verdict),
        [Reason::Stopped, Reason::Simulator, Reason::StopInForce]
    );
    assert!(verdict.is_proven() && !verdict.is_trusted());
    assert_eq!(verdict.attested().unwrap().epoch, Some(approved_epoch + 1));
    // Rearmed, the robot works again, and its mission is over for good: its epochs moved.
    verifier.rearmed = vec![report.stop];
    life.rearm();
    let (verdict, _) = verifier.attest(&life, Asked::Operational, &seen);
    assert!(verdict.grants_lease(), "{:?}", verdict.findings());
    assert!(life.robot().keys().mission(record.mission).is_err());
}

#[test]
fn a_mission_that_is_over_in_the_chip_is_not_proven() {
    let (mut life, mut verifier) = booted();
    let seen = surroundings();
    let record = life.start_mission(600_000);
    let authority = life.authority.signing.verifying_key();
    let mission = VerifiedMission::as_approved(record.token_in_force(), &authority, &robot_id()).unwrap();
    let mut scope = mission_scope(&mission, record.token_in_force());
    assert!(
        verifier
            .attest(&life, Asked::Mission(&scope), &seen)
            .0
            .is_proven()
    );
    // Whoever else reaches the chip ends it there, and the robot has not noticed yet.
    let anchor = NvIndex::MissionAnchor(record.anchor).handle();
    life.tpm
        .run(Lane::Background, LONG, move |chip| chip.nv_increment(anchor))
        .unwrap();
    let (verdict, _) = verifier.attest(&life, Asked::Mission(&scope), &seen);
    assert_eq!(found(&verdict), [Reason::Simulator, Reason::MissionOver]);
    scope.mission = MissionId::new([9; 16]);
    let question = verifier.question(AttestationKind::Mission(scope.mission));
    let unknown = life
        .robot()
        .evidence(&question, &seen, &PlatformLogs::NONE, NOW_MS);
    assert!(
        unknown.unwrap_err().to_string().contains("mission"),
        "it has none of that name"
    );
}

/// In the steady state nothing but the quote; over a restart of the agent as well, and after one of the chip all again.
#[test]
fn registers_are_certified_when_they_changed_and_after_every_boot() {
    let (mut life, mut verifier) = booted();
    let mut seen = surroundings();
    let mut certified = |life: &Life, seen: &Surroundings| {
        let (verdict, certified) = verifier.attest(life, Asked::Operational, seen);
        assert!(verdict.grants_lease(), "{:?}", verdict.findings());
        assert!(!verdict.has(Reason::RegisterHistory));
        certified
    };
    assert_eq!(certified(&life, &seen), 4);
    assert_eq!(certified(&life, &seen), 0);
    life.open();
    assert_eq!(certified(&life, &seen), 0, "the agent's restart");
    seen.firmware[0].version = "2.2.0".to_owned();
    assert_eq!(certified(&life, &seen), 1);
    life.start_mission(600_000);
    assert_eq!(certified(&life, &seen), 1);
    life.reopen_after(|swtpm| swtpm.power_cycle(PowerUp::Clear).unwrap());
    measure_boot(&life);
    assert_eq!(certified(&life, &seen), 4, "the chip's");
    assert_eq!(certified(&life, &seen), 0);
}

#[test]
fn a_register_that_somebody_else_extended_is_found_on_the_robot_and_explained_no_more() {
    let (life, mut verifier) = booted();
    let seen = surroundings();
    assert!(verifier.attest(&life, Asked::Sensor, &seen).0.is_trusted());
    let (register, handle) = (
        Register::SensorCalibration,
        NvIndex::Register(Register::SensorCalibration).handle(),
    );
    let data = register.event_data(&BANK.digest(&[b"something else"]));
    life.tpm
        .run(Lane::Background, LONG, move |chip| {
            chip.nv_extend(handle, data.as_bytes())
        })
        .unwrap();
    let question = verifier.question(AttestationKind::Sensor);
    let logs = PlatformLogs::uefi(LogSource::Bytes(boot_log()));
    let error = life
        .robot()
        .evidence(&question, &seen, &logs, NOW_MS)
        .unwrap_err();
    assert!(error.to_string().contains("extended by somebody else"), "{error}");
    // Asked again, it shows what it has: the verifier sees that the history is not whole.
    let (verdict, _) = verifier.attest(&life, Asked::Sensor, &seen);
    assert!(
        verdict.is_trusted() && verdict.has(Reason::RegisterHistory),
        "{:?}",
        verdict.findings()
    );
}

/// A log is only what the robot can show: without one that reads it goes on, and the chip's next start mends it.
#[test]
fn a_register_log_that_does_not_read_keeps_no_robot_from_attesting() {
    let (mut life, mut verifier) = booted();
    let seen = surroundings();
    assert!(verifier.attest(&life, Asked::Operational, &seen).0.is_trusted());
    let damage = |life: &Life| {
        for register in Register::ALL {
            let file = life.path().join(format!("registers/{}.cbor", register.name()));
            std::fs::write(file, b"damaged").unwrap();
        }
    };
    damage(&life);
    life.open();
    let (verdict, _) = verifier.attest(&life, Asked::Operational, &seen);
    assert!(verdict.grants_lease(), "{:?}", verdict.findings());
    damage(&life);
    life.reopen_after(|swtpm| swtpm.power_cycle(PowerUp::Clear).unwrap());
    measure_boot(&life);
    let (verdict, _) = verifier.attest(&life, Asked::Operational, &seen);
    assert!(verdict.grants_lease() && !verdict.has(Reason::RegisterHistory));
}

/// As over hibernation: the chip starts anew under an agent that has measured, and not yet attested.
#[test]
fn a_chip_that_starts_anew_before_the_first_evidence_is_measured_again() {
    let (life, mut verifier) = booted();
    life.robot().measure_hardware(None, NOW_MS).unwrap();
    life.swtpm.power_cycle(PowerUp::Clear).unwrap();
    measure_boot(&life);
    let seen = surroundings();
    let question = verifier.question(AttestationKind::Platform);
    let logs = PlatformLogs::uefi(LogSource::Bytes(boot_log()));
    // Once it may not know it yet.
    let first = life.robot().evidence(&question, &seen, &logs, NOW_MS);
    assert!(first.is_err());
    let (verdict, shown) = verifier.attest(&life, Asked::Platform, &seen);
    assert_eq!(shown, 2);
    let registers = [
        Reason::Register,
        Reason::RegisterMissing,
        Reason::RegisterMismatch,
    ];
    assert!(
        !registers.iter().any(|reason| verdict.has(*reason)),
        "{:?}",
        verdict.findings()
    );
}

/// The authority asks while offline evidence is gathered, and the robot changes in between.
#[test]
fn evidence_that_is_made_at_once_does_not_contradict_itself() {
    let (life, _) = booted();
    let make = |version: &'static str| {
        let mut seen = surroundings();
        seen.firmware[0].version = version.to_owned();
        let logs = PlatformLogs::uefi(LogSource::Bytes(boot_log()));
        for number in 0..20 {
            let made = life
                .robot()
                .evidence(&Question::all(nonce(number)), &seen, &logs, NOW_MS);
            let made = made.unwrap();
            let evidence = Evidence::from_canonical(&made).unwrap();
            let state = alcub3_trust_model::RobotState::from_canonical(evidence.state).unwrap();
            let shown = &evidence.registers[0];
            assert_eq!(shown.register, Register::SubsystemFirmware);
            let said = state.measured(shown.register, BANK);
            assert_eq!(shown.measured.last(), Some(&said), "{version}");
        }
    };
    std::thread::scope(|scope| {
        for version in ["2.1.0", "2.2.0"] {
            scope.spawn(move || make(version));
        }
    });
}

#[test]
fn levels_and_kinds_are_named_in_the_state() {
    let (life, mut verifier) = booted();
    let (verdict, _) = verifier.attest(&life, Asked::Operational, &surroundings());
    let state = verdict.attested().unwrap().state.clone().unwrap();
    assert_eq!(state.kind, AttestationKind::Operational);
    assert_eq!(state.platform, PlatformType::BostonDynamicsSpot);
    assert!(state.level >= LEVEL);
    assert_eq!(state.command_sequence, 0);
}
