//! Receipts of stops: of the whole robot, of a level, of a mission.

use super::changes::change_signature;
use crate::campaign::random::Random;
use crate::campaign::{Judgement, Kind, Parts, twins};
use crate::software_robot::{BANK, NOW_MS, Robot};
use alcub3_attestation::attest::{Attest, Attested};
use alcub3_attestation::certify::Signed;
use alcub3_attestation::event_log::agent::{AgentEvent, StopEvent, StopScope};
use alcub3_attestation::pcr::{PcrSelection, PcrValues};
use alcub3_attestation::receipt::{
    Expected, Outcome, Receipt, Statement, Step, StepTime, epoch_before_data, verify_receipt,
};
use alcub3_crypto::{Digest, HashAlg, VerifyingKey};
use alcub3_trust_model::nv_map::{MissionAnchor, NvMap};
use alcub3_trust_model::pcr_map::PcrMap;
use alcub3_trust_model::{BootId, Level, MissionId, RobotId, StopCause, StopId};

const BEFORE: u64 = 41;

/// What a verifier knows of the robot, as long as it lives.
#[derive(Clone)]
pub struct Setting {
    pub what: String,
    pub key: VerifyingKey,
    pub nv: NvMap,
    pub pcrs: PcrMap,
    pub robot: RobotId,
    pub stop: StopId,
    pub alive_at: u64,
    pub anchor: Option<MissionAnchor>,
}

impl Setting {
    pub fn of(robot: &Robot, receipt: &Receipt) -> Self {
        Self {
            what: "the genuine verifier".to_owned(),
            key: robot.verifying_key(),
            nv: NvMap::new(BANK).unwrap(),
            pcrs: PcrMap::DEFAULT,
            robot: robot.id.clone(),
            stop: receipt.statement.event.stop,
            alive_at: BEFORE,
            anchor: match receipt.statement.event.scope {
                StopScope::Mission(_, anchor) => Some(anchor),
                StopScope::Robot | StopScope::Level(_) => None,
            },
        }
    }

    fn but(&self, what: &str, change: impl FnOnce(&mut Self)) -> Self {
        let mut other = self.clone();
        what.clone_into(&mut other.what);
        change(&mut other);
        other
    }

    pub fn expected(&self) -> Expected<'_> {
        Expected {
            attestation_key: &self.key,
            nv: self.nv,
            pcrs: self.pcrs,
            robot: Some(&self.robot),
            stop: Some(self.stop),
            alive_at: Some(self.alive_at),
            anchor: self.anchor,
        }
    }

    /// Verifiers that expect something else.
    pub fn others(&self) -> Vec<Self> {
        let mut others = vec![
            self.but("another robot's key", |v| v.key = Robot::new().verifying_key()),
            self.but("another robot", |v| v.robot = RobotId::new("r2").unwrap()),
            self.but("an epoch that is still alive", |v| v.alive_at = BEFORE + 1),
            self.but("a later epoch", |v| v.alive_at = BEFORE + 100),
            self.but("indices of another hash", |v| {
                v.nv = NvMap::new(HashAlg::Sha384).unwrap();
            }),
            self.but("other PCRs", |v| v.pcrs = PcrMap::new(14, 15, 23).unwrap()),
            self.but("another anchor", |v| v.anchor = MissionAnchor::new(5)),
        ];
        for bit in 0..128 {
            others.push(
                self.but(&format!("a stop with bit {bit} of its id flipped"), |v| {
                    let mut id = *v.stop.as_bytes();
                    id[bit / 8] ^= 1 << (bit % 8);
                    v.stop = StopId::new(id);
                }),
            );
        }
        others
    }

    fn judge(&self, bytes: &[u8]) -> Judgement {
        let verdict = verify_receipt(bytes, &self.expected());
        match verdict.outcome {
            Outcome::Proven => Judgement::Accepted(format!(
                "{:?} {:?} {:?}",
                verdict.statement, verdict.epoch_after, verdict.clock
            )),
            Outcome::Incomplete => {
                let step = verdict.unconfirmed.first().map_or("nothing", |step| step.name());
                Judgement::Refused(format!("incomplete {step}"))
            }
            Outcome::Refused => {
                let reason = verdict.reasons.first();
                Judgement::Refused(reason.map_or("no reason", |reason| reason.code()).to_owned())
            }
        }
    }
}

pub fn of_the_robot() -> Kind {
    kind("receipt-robot", StopScope::Robot)
}

pub fn of_a_level() -> Kind {
    kind("receipt-level", StopScope::Level(Level::ALL[1]))
}

pub fn of_a_mission() -> Kind {
    let anchor = MissionAnchor::new(3).unwrap();
    kind(
        "receipt-mission",
        StopScope::Mission(MissionId::new([8; 16]), anchor),
    )
}

fn signed(robot: &Robot, message: Vec<u8>) -> Signed {
    let signature = robot.sign(&message);
    Signed { message, signature }
}

fn certified(robot: &Robot, scope: StopScope, value: u64, extra: &Digest) -> Signed {
    let map = NvMap::new(BANK).unwrap();
    let name = map.spec(scope.counter()).tpm_name(true);
    let size = |length: usize| u16::try_from(length).unwrap().to_be_bytes();
    let parts = [
        &size(name.as_bytes().len()),
        name.as_bytes(),
        &[0, 0],
        &size(8),
        &value.to_be_bytes(),
    ];
    signed(robot, robot.attest(0x8014, extra.as_bytes(), &parts.concat()))
}

/// The quote over one PCR.
pub fn quoted(robot: &Robot, pcr: u8, value: Digest, extra: &Digest) -> Signed {
    let selection = PcrSelection::of(BANK, &[pcr]).unwrap();
    let values = PcrValues::new(selection, vec![value]).unwrap();
    signed(robot, robot.quote(extra.as_bytes(), &values))
}

/// A stop as a robot does it.
pub fn stop(robot: &Robot, scope: StopScope, id: u8, epoch: u64) -> Receipt {
    let mut robot = robot.clone();
    let boot = BootId::new([5; 16]);
    let epoch_before = certified(&robot, scope, epoch, &epoch_before_data(BANK, &boot));
    robot.clock.clock_ms += 100;
    let event = StopEvent {
        stop: StopId::new([id; 16]),
        robot: robot.id.clone(),
        scope,
        cause: StopCause::ManualTrigger,
        called_utc_ms: NOW_MS,
    };
    let step = |step: Step| StepTime {
        step,
        began_ns: 10,
        ended_ns: 20 + u64::from(step.id()),
        confirmed: true,
    };
    let before = Digest::zero(BANK);
    let statement = Statement {
        pcr_before: before,
        pcr_after: before.extend(AgentEvent::Stop(event.clone()).digest(BANK).as_bytes()),
        event,
        boot,
        extends: 1,
        steps: Step::ALL.map(step).to_vec(),
    };
    let binding = statement.qualifying_data(BANK);
    let pcr = scope.pcr(&PcrMap::DEFAULT);
    Receipt {
        quote: Some(quoted(&robot, pcr, statement.pcr_after, &binding)),
        epoch_after: Some(certified(&robot, scope, epoch + 1, &binding)),
        epoch_before: Some(epoch_before),
        attestation_key: robot.verifying_key().to_spki_der(),
        statement,
    }
}

fn kind(name: &'static str, scope: StopScope) -> Kind {
    let robot = Robot::new();
    let receipt = stop(&robot, scope, 1, BEFORE);
    let mut stranger = Robot::new();
    stranger.id = RobotId::new("r2").unwrap();
    let elsewhere = if scope == StopScope::Robot {
        StopScope::Level(Level::ALL[2])
    } else {
        StopScope::Robot
    };
    let donors = vec![
        stop(&robot, scope, 2, BEFORE + 1),
        stop(&robot, scope, 3, BEFORE - 2),
        stop(&robot, elsewhere, 4, BEFORE),
        stop(&stranger, scope, 1, BEFORE),
        stop(&Robot::new(), scope, 1, BEFORE),
    ];
    let genuine = Setting::of(&robot, &receipt);
    let mut settings = vec![genuine.clone()];
    settings.extend(genuine.others());
    let (changing, comparing) = (receipt.clone(), receipt.clone());
    Kind {
        name,
        part_names: vec!["receipt"],
        genuine: vec![receipt.to_canonical()],
        others: settings
            .iter()
            .skip(1)
            .map(|setting| setting.what.clone())
            .collect(),
        fields: Box::new(move |random| {
            let (what, changed) = field(&changing, &donors, random)?;
            Some((what, vec![changed.to_canonical()]))
        }),
        judge: Box::new(move |parts, verifier| settings[verifier].judge(&parts[0])),
        same_meaning: Box::new(move |parts| same_meaning(&comparing, parts)),
    }
}

/// One field of a receipt changed, or parts of another in it; nothing signed anew.
pub fn field(genuine: &Receipt, donors: &[Receipt], random: &mut Random) -> Option<(String, Receipt)> {
    let mut receipt = genuine.clone();
    let what = match random.below(4) {
        0 => {
            let (at, mask) = (random.below(donors.len()), random.next() % 32);
            let donor = donors[at].clone();
            let of_donor = |bit: u64| mask >> bit & 1 == 1;
            macro_rules! take {
                ($($bit:literal $field:ident),+) => {
                    $(if of_donor($bit) { receipt.$field = donor.$field; })+
                };
            }
            take!(0 statement, 1 attestation_key, 2 quote, 3 epoch_after, 4 epoch_before);
            format!("parts {mask:#04x} of donor {at}")
        }
        1 => {
            let names = ["quote", "epoch after", "epoch before"];
            let (from, to) = (random.below(3), random.below(3));
            let parts = [&genuine.quote, &genuine.epoch_after, &genuine.epoch_before];
            let part = parts[from].clone().filter(|_| random.below(4) != 0);
            let there = part.is_some();
            *[
                &mut receipt.quote,
                &mut receipt.epoch_after,
                &mut receipt.epoch_before,
            ][to] = part;
            format!("{} as {}, there: {there}", names[from], names[to])
        }
        2 => {
            let at = random.below(3);
            let part = [
                &mut receipt.quote,
                &mut receipt.epoch_after,
                &mut receipt.epoch_before,
            ];
            let signed = part.into_iter().nth(at)?.as_mut()?;
            format!("part {at}: {}", change_signed(signed, random)?)
        }
        _ => change_statement(&mut receipt.statement, random),
    };
    Some((what, receipt))
}

/// A signed structure with its signature or one of its numbers changed.
pub fn change_signed(signed: &mut Signed, random: &mut Random) -> Option<String> {
    if random.below(4) == 0 {
        let (signature, what) = change_signature(&signed.signature, random)?;
        signed.signature = signature;
        return Some(what);
    }
    // The type, the clock and its counts, what is attested.
    let last = signed.message.len();
    let fields = [
        (4, 6),
        (14, 46),
        (46, 54),
        (54, 58),
        (58, 62),
        (62, 63),
        (63, 71),
        (last - 32, last),
        (last - 8, last),
    ];
    let (from, to) = *random.pick(&fields);
    let value = random.bytes(to - from);
    signed.message[from..to].copy_from_slice(&value);
    Some(format!("bytes {from} to {to} of the message {value:02x?}"))
}

fn change_statement(statement: &mut Statement, random: &mut Random) -> String {
    let digest = |random: &mut Random| Digest::from_slice(BANK, &random.array::<32>()).unwrap();
    let count = statement.steps.len();
    let event = &mut statement.event;
    match random.below(12) {
        0 => event.stop = StopId::new(random.array()),
        1 => event.robot = RobotId::new(format!("r{}", random.next() % 100_000)).unwrap(),
        2 => event.cause = StopCause::from_id(u8::try_from(random.below(7)).unwrap()).unwrap(),
        3 => event.called_utc_ms = random.near(event.called_utc_ms),
        4 => {
            event.scope = match random.below(3) {
                0 => StopScope::Robot,
                1 => StopScope::Level(*random.pick(&Level::ALL)),
                _ => {
                    let anchor = u8::try_from(random.below(8)).unwrap();
                    StopScope::Mission(
                        MissionId::new(random.array()),
                        MissionAnchor::new(anchor).unwrap(),
                    )
                }
            };
        }
        5 => statement.boot = BootId::new(random.array()),
        6 => statement.pcr_before = digest(random),
        7 => statement.pcr_after = digest(random),
        8 => statement.extends = u8::try_from(1 + random.below(4)).unwrap(),
        9 => {
            let step = &mut statement.steps[random.below(count)];
            step.ended_ns = random.near(step.ended_ns);
        }
        10 => {
            let step = &mut statement.steps[random.below(count)];
            step.began_ns = random.near(step.began_ns);
            step.confirmed = random.yes();
        }
        _ => drop(statement.steps.remove(random.below(count))),
    }
    format!("{statement:?}")
}

/// An older certification of the same boot in place of the one before the stop. It is made in advance, so no statement names
/// it; where what was stopped lived is what the verifier knows by itself ([`Expected::alive_at`]).
pub const OLDER: &str =
    "weaker: an older certification before the stop, of the same boot and a lower counter";

/// A receipt whose signatures are twins of the genuine ones, or whose certification before is older; nothing else differs.
fn same_meaning(genuine: &Receipt, parts: &Parts) -> Option<&'static str> {
    let changed = Receipt::from_canonical(&parts[0]).ok()?;
    let twin = |one: &Option<Signed>, other: &Option<Signed>| {
        let (one, other) = (one.as_ref()?, other.as_ref()?);
        (one.message == other.message && twins::same(&one.signature, &other.signature)).then_some(())
    };
    if genuine.statement != changed.statement || genuine.attestation_key != changed.attestation_key {
        return None;
    }
    twin(&genuine.quote, &changed.quote)?;
    twin(&genuine.epoch_after, &changed.epoch_after)?;
    if twin(&genuine.epoch_before, &changed.epoch_before).is_some() {
        return Some(twins::CLASS);
    }
    let lower = counter(&changed.epoch_before)? < counter(&genuine.epoch_before)?;
    lower.then_some(OLDER)
}

fn counter(signed: &Option<Signed>) -> Option<u64> {
    match Attest::parse(&signed.as_ref()?.message).ok()?.attested {
        Attested::Nv { contents, .. } => Some(u64::from_be_bytes(contents.try_into().ok()?)),
        _ => None,
    }
}
