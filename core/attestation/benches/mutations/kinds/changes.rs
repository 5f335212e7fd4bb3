//! Changes of one field of platform evidence, nothing signed anew.

use super::{certified, lists, logs};
use crate::campaign::random::Random;
use crate::campaign::{Change, twins};
use crate::software_robot::BANK;
use alcub3_attestation::evidence::{Evidence, RuntimeLog};
use alcub3_attestation::pcr::{PcrSelection, PcrValues};
use alcub3_crypto::{Digest, HashAlg};
use alcub3_trust_model::{
    AttestationKind, BootId, HardwareTier, Level, MissionId, OperationalMode, Payload, PlatformType,
    RobotState,
};

/// One field changed, nothing signed anew.
pub fn field(genuine: &[u8], random: &mut Random) -> Change {
    let mut evidence = Evidence::from_canonical(genuine).unwrap();
    let (quote, signature, state, uefi, agent, entries);
    let mut token = Vec::new();
    let what = match random.below(13) {
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
        9 => certified::change_registers(&mut evidence.registers, random)?,
        10 => certified::change_mission(&mut evidence, &mut token, random)?,
        11 => certified::change_signed(evidence.epoch.as_mut()?, random)?,
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

pub fn digest(random: &mut Random) -> Digest {
    Digest::from_slice(BANK, &random.array::<32>()).unwrap()
}

/// Changes one field of a state.
pub fn change_state(state: &mut RobotState, random: &mut Random) -> String {
    match random.below(18) {
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
        6 => state.firmware[0].image = Some(digest(random)),
        7 => state.speed_mm_per_s = u32::from_be_bytes(random.array()),
        8 => state.battery_permille = u16::try_from(random.below(1001)).unwrap(),
        9 => state.boot = BootId::new(random.array()),
        10 => state.calibration[0].calibration = digest(random),
        11 => state.hardware = digest(random),
        12 => state.kind = other_kind(state.kind, random),
        13 => state.platform = *random.pick(&PlatformType::ALL),
        14 => state.command_sequence = random.near(state.command_sequence),
        15 => state.maintained_at_ms = Some(random.next()),
        16 => state.payload.push(Payload {
            name: "gripper".to_owned(),
            mass_g: u32::from_be_bytes(random.array()),
        }),
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

fn other_kind(kind: AttestationKind, random: &mut Random) -> AttestationKind {
    let mission = AttestationKind::Mission(MissionId::new(random.array()));
    let others = [&AttestationKind::PLAIN[..], &[mission]].concat();
    *others
        .iter()
        .filter(|other| **other != kind)
        .nth(random.below(3))
        .unwrap()
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

fn change_quote(quote: &[u8], random: &mut Random) -> (Vec<u8>, String) {
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
