//! Platform evidence of a robot: with its boot log, after a stop that was rearmed, with a measurement list, and with the
//! entries that were added to one.

use super::{lists, logs};
use crate::campaign::random::Random;
use crate::campaign::{Change, Judgement, Kind, Parts, twins};
use crate::software_robot::{BANK, NONCE, NOW_MS, Robot, Verifier, uefi_log};
use alcub3_attestation::appraisal::{
    LastSeen, Policy, ReferenceValues, RuntimeRecord, RuntimeReferences, Severity, appraise,
};
use alcub3_attestation::event_log::EventLog;
use alcub3_attestation::event_log::agent::AgentEvent;
use alcub3_attestation::event_log::builder::Boot;
use alcub3_attestation::evidence::{Evidence, Nonce, RuntimeLog};
use alcub3_attestation::ima::ImaLog;
use alcub3_attestation::ima::builder::ListBuilder;
use alcub3_attestation::pcr::{PcrSelection, PcrValues};
use alcub3_crypto::{Digest, HashAlg, VerifyingKey};
use alcub3_trust_model::{
    BootId, HardwareTier, Level, MissionId, OperationalMode, RobotId, RobotState, StopId,
};

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
            _ => field(&changing, random),
        }),
        judge: Box::new(move |parts, verifier| settings[verifier].judge(&parts[0])),
        same_meaning: Box::new(move |parts| same_meaning(&comparing, parts)),
    }
}

/// One field changed, nothing signed anew.
fn field(genuine: &[u8], random: &mut Random) -> Change {
    let mut evidence = Evidence::from_canonical(genuine).unwrap();
    let (quote, signature, state, uefi, agent, entries);
    let what = match random.below(10) {
        0 => {
            let mut decoded = RobotState::from_canonical(evidence.state).unwrap();
            let what = change_state(&mut decoded, random);
            state = decoded.to_canonical();
            evidence.state = &state;
            what
        }
        1 => {
            evidence.sequence = random.near(evidence.sequence);
            format!("sequence {}", evidence.sequence)
        }
        2 => {
            evidence.mission = digest(random);
            format!("mission {:?}", evidence.mission)
        }
        3 => {
            evidence.tier = HardwareTier::from_id(u8::try_from(random.below(5)).unwrap())?;
            format!("tier {}", evidence.tier)
        }
        4 => {
            let (changed, what) = change_pcrs(&evidence.pcrs, random)?;
            evidence.pcrs = changed;
            what
        }
        5 => {
            let (changed, what) = change_quote(evidence.quote, random);
            quote = changed;
            evidence.quote = &quote;
            what
        }
        6 => {
            let (changed, what) = change_signature(evidence.signature, random)?;
            signature = changed;
            evidence.signature = &signature;
            what
        }
        7 if random.below(16) == 0 => {
            evidence.uefi_log = None;
            "no boot log".to_owned()
        }
        7 => {
            let moved = evidence.agent_log.filter(|_| random.below(8) == 0);
            let (changed, what) = match moved {
                Some(log) => logs::with_events_of(evidence.uefi_log?, log, random)?,
                None => logs::change(evidence.uefi_log?, random)?,
            };
            uefi = changed;
            evidence.uefi_log = Some(&uefi);
            if moved.is_some() {
                evidence.agent_log = None;
            }
            what
        }
        8 => {
            let (changed, what) = logs::change(evidence.agent_log?, random)?;
            agent = changed;
            evidence.agent_log = Some(&agent).filter(|_| random.below(16) != 0).map(Vec::as_slice);
            format!("agent: {what}, sent: {}", evidence.agent_log.is_some())
        }
        _ => {
            let log = evidence.runtime_log?;
            let (first, changed, what) = lists::change(log.first, log.entries, random)?;
            entries = changed;
            let entries = entries.as_slice();
            evidence.runtime_log = (random.below(32) != 0).then_some(RuntimeLog { first, entries });
            format!("list: {what}, sent: {}", evidence.runtime_log.is_some())
        }
    };
    Some((what, vec![evidence.to_canonical()]))
}

fn digest(random: &mut Random) -> Digest {
    Digest::from_slice(BANK, &random.array::<32>()).unwrap()
}

fn change_state(state: &mut RobotState, random: &mut Random) -> String {
    match random.below(13) {
        0 => state.time_ms = random.near(state.time_ms),
        1 => {
            state.mode = *random.pick(&[
                OperationalMode::Mission,
                OperationalMode::Maintenance,
                OperationalMode::Stopped,
            ]);
        }
        2 => state.stopped = !state.stopped,
        3 => state.level = *random.pick(&Level::ALL),
        4 => state.missions.push(MissionId::new(random.array())),
        5 => state.software = format!("alcub3 0.{}.0", random.next() % 100_000),
        6 => state.firmware = digest(random),
        7 => state.speed_mm_per_s = u32::from_be_bytes(random.array()),
        8 => state.battery_permille = u16::try_from(random.below(1001)).unwrap(),
        9 => state.boot = BootId::new(random.array()),
        10 => state.calibration = digest(random),
        11 => state.hardware = digest(random),
        _ => {
            state.position = Some(alcub3_trust_model::Position {
                latitude_e7_deg: i64::from(u16::from_be_bytes(random.array())),
                longitude_e7_deg: i64::from(u16::from_be_bytes(random.array())),
                altitude_mm: 1,
            });
        }
    }
    format!("state {state:?}")
}

fn change_pcrs(pcrs: &PcrValues, random: &mut Random) -> Option<(PcrValues, String)> {
    let mut values: Vec<Digest> = pcrs.iter().map(|(_, _, value)| *value).collect();
    let mut selected: Vec<u8> = pcrs.iter().map(|(_, pcr, _)| pcr).collect();
    let at = random.below(values.len());
    let what = match random.below(6) {
        0 => {
            values[at] = digest(random);
            format!("PCR {} is {:?}", selected[at], values[at])
        }
        1 => {
            let to = random.below(values.len());
            values.swap(at, to);
            format!("PCR {} and {} swapped", selected[at], selected[to])
        }
        2 => {
            values.remove(at);
            format!("PCR {} left out", selected.remove(at))
        }
        3 => {
            selected[at] = u8::try_from(random.below(24)).unwrap();
            let what = format!("PCR number {at} is {}", selected[at]);
            selected.sort_unstable();
            selected.dedup();
            what
        }
        4 => {
            let bytes = random.array::<32>();
            let both = PcrSelection::new(&[(BANK, selected.as_slice()), (HashAlg::Sha384, &[])]).ok()?;
            let pcrs = PcrValues::new(both, values).ok()?;
            return Some((pcrs, format!("an empty bank, {}", bytes[0])));
        }
        _ => {
            let to = random.below(values.len());
            values[at] = values[to];
            format!("PCR {} has the value of {}", selected[at], selected[to])
        }
    };
    let selection = PcrSelection::of(BANK, &selected).ok()?;
    Some((PcrValues::new(selection, values).ok()?, what))
}

/// The fields of the software robot's TPMS_ATTEST, as (offset, length).
const QUOTE: [(&str, usize, usize); 13] = [
    ("magic", 0, 4),
    ("type", 4, 2),
    ("signer", 8, 4),
    ("extra data", 14, 32),
    ("clock", 46, 8),
    ("reset count", 54, 4),
    ("restart count", 58, 4),
    ("safe", 62, 1),
    ("firmware version", 63, 8),
    ("bank", 75, 2),
    ("bitmap", 78, 3),
    ("digest size", 81, 2),
    ("digest", 83, 32),
];

pub fn change_quote(quote: &[u8], random: &mut Random) -> (Vec<u8>, String) {
    let (name, at, length) = *random.pick(&QUOTE);
    let mut changed = quote.to_vec();
    let field = &mut changed[at..at + length];
    if random.yes() && length <= 8 {
        let mut value = [0; 8];
        value[8 - length..].copy_from_slice(field);
        let near = random.near(u64::from_be_bytes(value)).to_be_bytes();
        field.copy_from_slice(&near[8 - length..]);
    } else {
        field.copy_from_slice(&random.bytes(length));
    }
    let what = format!("quote's {name} {field:02x?}");
    (changed, what)
}

/// Another scheme, another hash, the numbers swapped, the twin.
pub fn change_signature(tpmt: &[u8], random: &mut Random) -> Option<(Vec<u8>, String)> {
    let mut changed = tpmt.to_vec();
    let what = match random.below(5) {
        0 => {
            let scheme = *random.pick(&[0x14_u16, 0x16, 0x18, 0x1a, 0x1b]);
            changed[..2].copy_from_slice(&scheme.to_be_bytes());
            format!("signature's scheme {scheme:#x}")
        }
        1 => {
            let hash = *random.pick(&[4_u16, 0xb, 0xc, 0xd]);
            changed[2..4].copy_from_slice(&hash.to_be_bytes());
            format!("signature's hash {hash:#x}")
        }
        2 => {
            let half = (changed.len() - 4) / 2;
            changed[4..].rotate_left(half);
            "r and s swapped".to_owned()
        }
        3 => {
            let half = 4 + (changed.len() - 4) / 2 * random.below(2);
            let length = changed.len();
            let end = (half + (length - 4) / 2).min(length);
            changed[half + 2..end].fill(0);
            format!("r or s zero at {half}")
        }
        _ => return Some((twins::tpmt_twin(tpmt)?, "the signature's twin".to_owned())),
    };
    Some((changed, what))
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
