//! The receipt of a purge, with the receipt of the stop before it.

use super::receipts::{self, Setting, change_signed, quoted, stop};
use crate::campaign::random::Random;
use crate::campaign::{Judgement, Kind, Parts, twins};
use crate::software_robot::{BANK, NOW_MS, Robot};
use alcub3_attestation::event_log::agent::StopScope;
use alcub3_attestation::receipt::{PurgeReceipt, PurgeStatement, Receipt, verify_purge_receipt};
use alcub3_crypto::Digest;
use alcub3_trust_model::RobotId;
use alcub3_trust_model::pcr_map::PcrMap;

fn purge(robot: &Robot, stopped: &Receipt, purged_utc_ms: u64) -> PurgeReceipt {
    let stop_receipt = stopped.to_canonical();
    let statement = PurgeStatement {
        robot: robot.id.clone(),
        order: BANK.digest(&[b"the order"]),
        stop_receipt: BANK.digest(&[&stop_receipt]),
        purged_utc_ms,
        pcr: stopped.statement.pcr_after,
    };
    let mut cleared = robot.clone();
    (cleared.clock.clock_ms, cleared.clock.reset_count) = (50, 0);
    let extra = statement.qualifying_data(BANK);
    let quote = quoted(&cleared, PcrMap::DEFAULT.lockdown(), statement.pcr, &extra);
    PurgeReceipt {
        statement,
        stop_receipt,
        quote,
    }
}

pub fn of_a_purge() -> Kind {
    let robot = Robot::new();
    let stopped = stop(&robot, StopScope::Robot, 1, 41);
    let genuine = purge(&robot, &stopped, NOW_MS);
    let other = stop(&robot, StopScope::Robot, 2, 42);
    let stranger = Robot::new();
    let strangers = stop(&stranger, StopScope::Robot, 1, 41);
    let donors = [
        purge(&robot, &other, NOW_MS),
        purge(&stranger, &strangers, NOW_MS),
        // Before the purge, when nothing was cleared yet.
        PurgeReceipt {
            quote: stopped.quote.clone().unwrap(),
            ..genuine.clone()
        },
    ];
    let setting = Setting::of(&robot, &stopped);
    let mut settings = vec![setting.clone()];
    settings.extend(setting.others());
    let (changing, comparing) = (genuine.clone(), genuine.clone());
    Kind {
        name: "receipt-purge",
        part_names: vec!["receipt"],
        genuine: vec![genuine.to_canonical()],
        others: settings
            .iter()
            .skip(1)
            .map(|setting| setting.what.clone())
            .collect(),
        fields: Box::new(move |random| {
            let (what, changed) = field(&changing, &donors, &[other.clone(), strangers.clone()], random)?;
            Some((what, vec![changed.to_canonical()]))
        }),
        judge: Box::new(move |parts, verifier| {
            let verdict = verify_purge_receipt(&parts[0], &settings[verifier].expected());
            match verdict.reasons.first() {
                None => Judgement::Accepted(format!("{:?} {:?}", verdict.statement, verdict.clock)),
                Some(reason) => Judgement::Refused(reason.code().to_owned()),
            }
        }),
        same_meaning: Box::new(move |parts| same_meaning(&comparing, parts)),
    }
}

fn field(
    genuine: &PurgeReceipt,
    donors: &[PurgeReceipt],
    stops: &[Receipt],
    random: &mut Random,
) -> Option<(String, PurgeReceipt)> {
    let mut receipt = genuine.clone();
    let what = match random.below(4) {
        0 => {
            let (at, mask) = (random.below(donors.len()), random.next() % 8);
            let of_donor = |bit: u64| mask >> bit & 1 == 1;
            let donor = donors[at].clone();
            if of_donor(0) {
                receipt.statement = donor.statement;
            }
            if of_donor(1) {
                receipt.stop_receipt = donor.stop_receipt;
            }
            if of_donor(2) {
                receipt.quote = donor.quote;
            }
            format!("parts {mask:#x} of donor {at}")
        }
        1 => change_signed(&mut receipt.quote, random)?,
        2 => {
            let stopped = Receipt::from_canonical(&genuine.stop_receipt).ok()?;
            let (what, stopped) = receipts::field(&stopped, stops, random)?;
            receipt.stop_receipt = stopped.to_canonical();
            format!("stop's {what}")
        }
        _ => {
            let digest = |random: &mut Random| Digest::from_slice(BANK, &random.array::<32>()).unwrap();
            let statement = &mut receipt.statement;
            match random.below(5) {
                0 => statement.robot = RobotId::new(format!("r{}", random.next() % 100_000)).unwrap(),
                1 => statement.order = digest(random),
                2 => statement.stop_receipt = digest(random),
                3 => statement.purged_utc_ms = random.near(statement.purged_utc_ms),
                _ => statement.pcr = digest(random),
            }
            format!("{statement:?}")
        }
    };
    Some((what, receipt))
}

fn same_meaning(genuine: &PurgeReceipt, parts: &Parts) -> Option<&'static str> {
    let changed = PurgeReceipt::from_canonical(&parts[0]).ok()?;
    let rest = genuine.statement == changed.statement
        && genuine.stop_receipt == changed.stop_receipt
        && genuine.quote.message == changed.quote.message;
    (rest && twins::same(&genuine.quote.signature, &changed.quote.signature)).then_some(twins::CLASS)
}
