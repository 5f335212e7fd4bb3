//! Platform evidence of a robot: with its boot log, after a stop that was rearmed, with a measurement list, and with the
//! entries that were added to one.

use super::{certified, changes, lists, logs};
use crate::campaign::random::Random;
use crate::campaign::{Change, Judgement, Kind, Parts, twins};
use crate::software_robot::{BANK, MISSION_COUNTERS, NONCE, NOW_MS, Robot, Verifier, nv, uefi_log};
use alcub3_attestation::appraisal::{
    Asked, LastSeen, MissionScope, Policy, ReferenceValues, RegisterRecord, RuntimeRecord, RuntimeReferences,
    Severity, appraise,
};
use alcub3_attestation::event_log::EventLog;
use alcub3_attestation::event_log::agent::AgentEvent;
use alcub3_attestation::event_log::builder::Boot;
use alcub3_attestation::evidence::{Evidence, Nonce};
use alcub3_attestation::ima::ImaLog;
use alcub3_attestation::ima::builder::ListBuilder;
use alcub3_crypto::{HashAlg, VerifyingKey};
use alcub3_trust_model::nv_map::{MissionAnchor, Register};
use alcub3_trust_model::{AttestationKind, HardwareTier, Level, MissionId, RobotId, StopId};

/// What a verifier holds a robot to, as long as it lives.
#[derive(Clone)]
pub struct Setting {
    pub what: String,
    pub key: VerifyingKey,
    pub id: RobotId,
    pub nonce: Nonce,
    pub references: ReferenceValues,
    pub rearmed: Vec<StopId>,
    pub last_seen: LastSeen,
    pub min_tier: HardwareTier,
    pub known_runtime: Option<RuntimeRecord>,
    pub asked: Asked<'static>,
    pub known_registers: Option<RegisterRecord>,
}

impl Setting {
    pub fn of(robot: &Robot) -> Self {
        let verifier = Verifier::of(robot);
        let clock = alcub3_attestation::attest::ClockInfo {
            clock_ms: robot.clock.clock_ms - 1000,
            ..robot.clock
        };
        Self {
            what: "the genuine verifier".to_owned(),
            key: verifier.key,
            id: verifier.id,
            nonce: NONCE,
            references: verifier.references,
            rearmed: Vec::new(),
            last_seen: LastSeen {
                sequence: robot.sequence - 1,
                clock,
            },
            min_tier: HardwareTier::Firmware,
            known_runtime: None,
            asked: verifier.asked,
            known_registers: None,
        }
    }

    fn but(&self, what: &str, change: impl FnOnce(&mut Self)) -> Self {
        let mut other = self.clone();
        what.clone_into(&mut other.what);
        change(&mut other);
        other
    }

    fn policy(&self) -> Policy<'_> {
        Policy {
            attestation_key: &self.key,
            robot: &self.id,
            nonce: &self.nonce,
            asked: self.asked,
            references: &self.references,
            pcrs: alcub3_trust_model::pcr_map::PcrMap::DEFAULT,
            nv: nv(),
            enrolled_tier: HardwareTier::Discrete,
            min_tier: self.min_tier,
            rearmed_stops: &self.rearmed,
            last_seen: Some(self.last_seen),
            known_boot: None,
            known_runtime: self.known_runtime.as_ref(),
            known_registers: self.known_registers.as_ref(),
            max_state_age_ms: 60_000,
        }
    }

    /// The verdict relies on the quote and what it binds; the tier is bounded by what was enrolled, and is no part of it.
    pub fn judge(&self, bytes: &[u8]) -> Judgement {
        let verdict = appraise(bytes, &self.policy(), NOW_MS);
        if let Some(attested) = verdict.attested().filter(|_| verdict.is_proven()) {
            let quote = Evidence::from_canonical(bytes).unwrap().quote.to_vec();
            return Judgement::Accepted(format!(
                "{quote:02x?} {:?} {:?} {:?} {} {:?} {:?} {:?}",
                attested.quote,
                attested.state,
                attested.mission,
                attested.sequence,
                attested.stops,
                attested.epoch,
                verdict.registers()
            ));
        }
        let fatal =
            |finding: &&alcub3_attestation::appraisal::Finding| finding.severity == Severity::Untrusted;
        let first = verdict.findings().iter().find(fatal);
        Judgement::Refused(
            first
                .map_or("no reason", |finding| finding.reason.code())
                .to_owned(),
        )
    }
}

/// Verifiers that must not take what the genuine one takes.
fn others(genuine: &Setting) -> Vec<Setting> {
    let evil = EventLog::parse(&uefi_log(&Boot {
        kernel: b"another",
        ..Boot::default()
    }))
    .map(|log| ReferenceValues::golden(&log, BANK).unwrap())
    .unwrap();
    let mut others = vec![
        genuine.but("another robot's key", |v| v.key = Robot::new().verifying_key()),
        genuine.but("another robot", |v| v.id = RobotId::new("r2").unwrap()),
        genuine.but("another kernel", |v| v.references = evil),
        genuine.but("this sequence already", |v| v.last_seen.sequence += 1),
        genuine.but("a later sequence", |v| v.last_seen.sequence += 100),
        genuine.but("a later clock", |v| v.last_seen.clock.clock_ms += 1001),
        genuine.but("a later reset", |v| v.last_seen.clock.reset_count += 1),
        genuine.but("a later restart", |v| v.last_seen.clock.restart_count += 1),
    ];
    for other in [
        Asked::Platform,
        Asked::Sensor,
        Asked::Operational,
        Asked::UnapprovedMission(MISSION),
    ] {
        if other.kind() != genuine.asked.kind() || genuine.asked.scope().is_some() {
            others.push(genuine.but(&format!("asked for {}", other.kind()), |v| v.asked = other));
        }
    }
    for bit in 0..256 {
        others.push(genuine.but(&format!("a nonce with bit {bit} flipped"), |v| {
            v.nonce.0[bit / 8] ^= 1 << (bit % 8);
        }));
    }
    others
}

/// Evidence of the same robot and of another one that is genuine for another request.
struct Donors(Vec<Vec<u8>>);

impl Donors {
    fn of(robot: &Robot) -> Self {
        let changed = |change: &dyn Fn(&mut Robot)| {
            let mut other = robot.clone();
            change(&mut other);
            other.evidence()
        };
        Self(vec![
            changed(&|r| r.nonce = Nonce([0x43; 32])),
            changed(&|r| {
                r.nonce = Nonce([0x43; 32]);
                r.mission = BANK.digest(&[b"another mission"]);
                r.state.missions = vec![MissionId::new([9; 16])];
            }),
            changed(&|r| {
                r.sequence -= 1;
                r.clock.clock_ms -= 2000;
                r.state.time_ms -= 2000;
            }),
            changed(&|r| {
                r.sequence += 1;
                r.uefi_log = uefi_log(&Boot {
                    kernel: b"another",
                    ..Boot::default()
                });
            }),
            changed(&|r| {
                r.key = Robot::new().key;
                r.state.battery_permille = 1;
            }),
            changed(&|r| {
                r.nonce = Nonce([0x45; 32]);
                r.state.kind = AttestationKind::Platform;
                r.state.firmware[0].version = "2.2.0".to_owned();
            }),
            changed(&|r| {
                r.nonce = Nonce([0x46; 32]);
                r.state.kind = AttestationKind::Mission(MISSION);
                r.counters.insert(MISSION_COUNTERS[2], 3);
            }),
            changed(&|r| {
                r.nonce = Nonce([0x44; 32]);
                r.agent = vec![r.stop_event(99)];
                r.state.stopped = true;
            }),
        ])
    }

    /// Parts of a donor in the genuine evidence; sometimes all.
    fn swap(&self, genuine: &[u8], random: &mut Random) -> Change {
        let at = random.below(self.0.len());
        let donor = Evidence::from_canonical(&self.0[at]).unwrap();
        let mut swapped = Evidence::from_canonical(genuine).unwrap();
        let mask = random.next() % 8192;
        let of_donor = |bit: u64| mask >> bit & 1 == 1;
        macro_rules! take {
            ($($bit:literal $field:ident),+) => {
                $(if of_donor($bit) { swapped.$field = donor.$field.clone(); })+
            };
        }
        take!(0 quote, 1 signature, 2 pcrs, 3 state, 4 mission, 5 sequence, 6 tier, 7 uefi_log, 8 agent_log, 9 runtime_log,
              10 registers, 11 mission_proof, 12 epoch);
        Some((
            format!("parts {mask:#05x} of donor {at}"),
            vec![swapped.to_canonical()],
        ))
    }
}

pub fn with_uefi_log() -> Kind {
    let robot = Robot::new();
    kind("evidence-uefi", &robot, Setting::of(&robot), Vec::new())
}

pub fn after_a_rearmed_stop() -> Kind {
    let mut robot = Robot::new();
    let mission = |id| AgentEvent::MissionEnded(MissionId::new([id; 16]));
    robot.agent = vec![mission(3), robot.stop_event(7), mission(4), robot.stop_event(8)];
    let (first, second) = (StopId::new([7; 16]), StopId::new([8; 16]));
    let genuine = Setting::of(&robot).but("the genuine verifier", |v| v.rearmed = vec![first, second]);
    let more = vec![
        genuine.but("no stop rearmed", |v| v.rearmed.clear()),
        genuine.but("one stop rearmed", |v| v.rearmed = vec![second]),
        genuine.but("another stop rearmed", |v| {
            v.rearmed = vec![first, StopId::new([9; 16])];
        }),
    ];
    kind("evidence-stopped", &robot, genuine, more)
}

fn measured(robot: &Robot) -> ListBuilder {
    let mut list = ListBuilder::new();
    list.boot_aggregate(BANK, &robot.pcrs());
    for program in ["/sbin/init", "/usr/bin/driver", "/usr/bin/planner"] {
        list.file(program, &BANK.digest(&[program.as_bytes()]));
    }
    list
}

fn judged_by(robot: &Robot, list: &ListBuilder) -> Setting {
    let golden = RuntimeReferences::golden(&ImaLog::parse(list.bytes()).unwrap()).unwrap();
    let mut setting = Setting::of(robot);
    setting.references = setting.references.with_runtime(golden);
    setting
}

/// References without the program that the list ends in.
fn without_the_last(genuine: &Setting, list: &ListBuilder) -> Setting {
    let parsed = ImaLog::parse(list.bytes()).unwrap();
    let shorter = list.bytes().len() - parsed.bytes_from(parsed.len() - 1).len();
    let golden = RuntimeReferences::golden(&ImaLog::parse(&list.bytes()[..shorter]).unwrap()).unwrap();
    genuine.but("no such program", |v| {
        v.references = v.references.clone().with_runtime(golden);
        v.known_runtime = None;
    })
}

pub fn with_runtime_list() -> Kind {
    let mut robot = Robot::new();
    let list = measured(&robot);
    robot.measured = list.extends(BANK);
    robot.sent = Some((0, list.bytes().to_vec()));
    let genuine = judged_by(&robot, &list);
    let more = vec![without_the_last(&genuine, &list)];
    kind("evidence-ima", &robot, genuine, more)
}

pub fn with_added_entries() -> Kind {
    let mut robot = Robot::new();
    let mut list = measured(&robot);
    robot.measured = list.extends(BANK);
    robot.sent = Some((0, list.bytes().to_vec()));
    let before = robot.clone();
    let known = list.bytes().len();
    for program in ["/usr/bin/camera", "/usr/bin/lidar", "/usr/bin/arm"] {
        list.file(program, &BANK.digest(&[program.as_bytes()]));
    }
    robot.measured = list.extends(BANK);
    robot.sent = Some((4, list.bytes()[known..].to_vec()));
    robot.sequence += 1;
    robot.clock.clock_ms += 1000;
    let mut genuine = judged_by(&robot, &list);
    genuine.last_seen.sequence -= 1;
    let verdict = appraise(&before.evidence(), &genuine.policy(), NOW_MS);
    genuine.known_runtime = verdict.runtime().cloned();
    genuine.last_seen.sequence += 1;
    let more = vec![
        without_the_last(&genuine, &list),
        genuine.but("the list from its beginning", |v| v.known_runtime = None),
    ];
    kind("evidence-ima-added", &robot, genuine, more)
}

/// Evidence after all registers but one were seen before.
pub fn with_a_changed_register() -> Kind {
    let mut robot = Robot::new();
    let before = robot.clone();
    let mut genuine = Setting::of(&robot);
    genuine.last_seen.sequence -= 1;
    let verdict = appraise(&before.evidence(), &genuine.policy(), NOW_MS);
    let known = verdict.registers().unwrap();
    robot.known = Some(known.positions());
    genuine.known_registers = Some(known.clone());
    for register in Register::ALL {
        robot
            .measured_before
            .insert(register, robot.measured_into(register));
    }
    robot.state.firmware[0].version = "2.2.0".to_owned();
    robot.sequence += 1;
    robot.clock.clock_ms += 1000;
    genuine.last_seen.sequence += 2;
    genuine.last_seen.clock.clock_ms += 1000;
    let more = vec![genuine.but("no register known", |v| v.known_registers = None)];
    kind("evidence-register", &robot, genuine, more)
}

const MISSION: MissionId = MissionId::new([7; 16]);

/// Evidence that a mission lives in the chip.
pub fn of_a_mission() -> Kind {
    let mut robot = Robot::new();
    robot.token = b"a token".to_vec();
    robot.state.kind = AttestationKind::Mission(MISSION);
    robot.state.missions = vec![MISSION];
    robot.counters = MISSION_COUNTERS.into_iter().zip([5, 6, 7]).collect();
    let scope = MissionScope {
        mission: MISSION,
        token: HashAlg::Sha256.digest(&[b"a token"]),
        level: Level::Unclassified,
        not_before_ms: NOW_MS - 1000,
        not_after_ms: NOW_MS + 1000,
        end_clock_ms: robot.clock.clock_ms + 1000,
        anchor: MissionAnchor::new(0).unwrap(),
        anchor_value: 7,
        robot_epoch: 5,
        level_epoch: 6,
        max_reset_count: robot.clock.reset_count,
    };
    let asking = |what: &str, change: &dyn Fn(&mut MissionScope)| {
        let mut other = scope.clone();
        change(&mut other);
        // As long as the process lives: settings are made once.
        let other: &'static MissionScope = Box::leak(Box::new(other));
        Setting::of(&robot).but(what, |v| v.asked = Asked::Mission(other))
    };
    let more = vec![
        asking("another mission", &|scope| {
            scope.mission = MissionId::new([8; 16]);
        }),
        asking("another token", &|scope| {
            scope.token = HashAlg::Sha256.digest(&[b"b"]);
        }),
        asking("a later beginning", &|scope| scope.not_before_ms = NOW_MS + 1),
        asking("an earlier end", &|scope| scope.not_after_ms = NOW_MS),
        asking("an earlier end on the chip's clock", &|scope| {
            scope.end_clock_ms = 5000;
        }),
        asking("another anchor", &|scope| {
            scope.anchor = MissionAnchor::new(1).unwrap();
        }),
        asking("the anchor moved", &|scope| scope.anchor_value = 6),
        asking("the robot's epoch moved", &|scope| scope.robot_epoch = 4),
        asking("the level's epoch moved", &|scope| scope.level_epoch = 5),
        asking("another level", &|scope| scope.level = Level::Cui),
        asking("fewer resets", &|scope| scope.max_reset_count -= 1),
    ];
    kind(
        "evidence-mission",
        &robot,
        asking("the genuine verifier", &|_| ()),
        more,
    )
}

/// Evidence that a robot is stopped.
pub fn of_a_stop() -> Kind {
    let mut robot = Robot::new();
    robot.agent = vec![robot.stop_event(7)];
    robot.state.kind = AttestationKind::Emergency;
    robot.state.stopped = true;
    robot.state.mode = alcub3_trust_model::OperationalMode::Stopped;
    robot.counters.insert(MISSION_COUNTERS[0], 9);
    let of = |approved_epoch| Asked::Emergency { approved_epoch };
    let genuine = Setting::of(&robot).but("the genuine verifier", |v| v.asked = of(8));
    let more = vec![
        genuine.but("that epoch was approved", |v| v.asked = of(9)),
        genuine.but("the stop was rearmed", |v| v.rearmed = vec![StopId::new([7; 16])]),
    ];
    kind("evidence-emergency", &robot, genuine, more)
}

fn kind(name: &'static str, robot: &Robot, genuine: Setting, more: Vec<Setting>) -> Kind {
    let bytes = robot.evidence();
    let donors = Donors::of(robot);
    let mut settings = more;
    settings.extend(others(&genuine));
    let others = settings.iter().map(|setting| setting.what.clone()).collect();
    settings.insert(0, genuine);
    let (changing, comparing) = (bytes.clone(), bytes.clone());
    Kind {
        name,
        part_names: vec!["evidence"],
        genuine: vec![bytes],
        others,
        fields: Box::new(move |random| match random.below(4) {
            0 => donors.swap(&changing, random),
            _ => changes::field(&changing, random),
        }),
        judge: Box::new(move |parts, verifier| settings[verifier].judge(&parts[0])),
        same_meaning: Box::new(move |parts| same_meaning(&comparing, parts)),
    }
}

/// Why evidence that differs was accepted: each field that differs may do so, and only in what its class says.
fn same_meaning(genuine: &[u8], parts: &Parts) -> Option<&'static str> {
    let (genuine, changed) = (
        Evidence::from_canonical(genuine).ok()?,
        Evidence::from_canonical(&parts[0]).ok()?,
    );
    let mut classes = Vec::new();
    if changed.signature != genuine.signature {
        classes.push(twins::same(genuine.signature, changed.signature).then_some(twins::CLASS));
    }
    if changed.tier != genuine.tier {
        let lower = "weaker: a lower tier is claimed than was enrolled, and the verdict takes the lower";
        classes.push((changed.tier < genuine.tier).then_some(lower));
    }
    if changed.uefi_log != genuine.uefi_log {
        classes.push(logs::same_boot(genuine.uefi_log?, changed.uefi_log?, &[12, 13]));
    }
    if changed.agent_log != genuine.agent_log {
        classes.push(logs::same_events(genuine.agent_log?, changed.agent_log?));
    }
    if changed.runtime_log != genuine.runtime_log {
        classes.push(lists::same_list(&genuine.runtime_log?, &changed.runtime_log?));
    }
    classes.extend(certified::same_certified(&genuine, &changed));
    let explained: Option<Vec<&'static str>> = classes.into_iter().collect();
    explained?.first().copied()
}
