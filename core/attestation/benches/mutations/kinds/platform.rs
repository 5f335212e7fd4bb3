//! Platform evidence of a robot: with its boot log, after a stop that was rearmed, with a measurement list, and with the
//! entries that were added to one.

use super::{changes, lists, logs};
use crate::campaign::random::Random;
use crate::campaign::{Change, Judgement, Kind, Parts, twins};
use crate::software_robot::{BANK, NONCE, NOW_MS, Robot, Verifier, uefi_log};
use alcub3_attestation::appraisal::{
    LastSeen, Policy, ReferenceValues, RuntimeRecord, RuntimeReferences, Severity, appraise,
};
use alcub3_attestation::event_log::EventLog;
use alcub3_attestation::event_log::agent::AgentEvent;
use alcub3_attestation::event_log::builder::Boot;
use alcub3_attestation::evidence::{Evidence, Nonce};
use alcub3_attestation::ima::ImaLog;
use alcub3_attestation::ima::builder::ListBuilder;
use alcub3_crypto::VerifyingKey;
use alcub3_trust_model::{HardwareTier, MissionId, RobotId, StopId};

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
            references: &self.references,
            pcrs: alcub3_trust_model::pcr_map::PcrMap::DEFAULT,
            enrolled_tier: HardwareTier::Discrete,
            min_tier: self.min_tier,
            rearmed_stops: &self.rearmed,
            last_seen: Some(self.last_seen),
            known_boot: None,
            known_runtime: self.known_runtime.as_ref(),
            max_state_age_ms: 60_000,
        }
    }

    /// The verdict relies on the quote and what it binds; the tier is bounded by what was enrolled, and is no part of it.
    pub fn judge(&self, bytes: &[u8]) -> Judgement {
        let verdict = appraise(bytes, &self.policy(), NOW_MS);
        if let Some(attested) = verdict.attested().filter(|_| verdict.is_trusted()) {
            let quote = Evidence::from_canonical(bytes).unwrap().quote.to_vec();
            return Judgement::Accepted(format!(
                "{quote:02x?} {:?} {:?} {:?} {} {:?}",
                attested.quote, attested.state, attested.mission, attested.sequence, attested.stops
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
        let mask = random.next() % 1024;
        let of_donor = |bit: u64| mask >> bit & 1 == 1;
        macro_rules! take {
            ($($bit:literal $field:ident),+) => {
                $(if of_donor($bit) { swapped.$field = donor.$field.clone(); })+
            };
        }
        take!(0 quote, 1 signature, 2 pcrs, 3 state, 4 mission, 5 sequence, 6 tier, 7 uefi_log, 8 agent_log, 9 runtime_log);
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
    let explained: Option<Vec<&'static str>> = classes.into_iter().collect();
    explained?.first().copied()
}
