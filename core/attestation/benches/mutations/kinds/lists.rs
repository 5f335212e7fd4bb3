//! Changes of measurement lists, and when two lists say the same.

use crate::campaign::random::Random;
use crate::software_robot::BANK;
use alcub3_attestation::evidence::RuntimeLog;
use alcub3_attestation::ima::ImaLog;
use alcub3_attestation::ima::builder::ListBuilder;
use alcub3_crypto::Digest;
use alcub3_trust_model::pcr_map::IMA;

/// An entry left out, doubled, moved, put into another PCR, slipped in, its stated hash changed; another first number.
pub fn change(first: u64, list: &[u8], random: &mut Random) -> Option<(u64, Vec<u8>, String)> {
    let parsed = ImaLog::parse(list).ok()?;
    let mut entries: Vec<Vec<u8>> = (0..parsed.len())
        .map(|entry| {
            let (this, next) = (parsed.bytes_from(entry), parsed.bytes_from(entry + 1));
            this[..this.len() - next.len()].to_vec()
        })
        .collect();
    let (at, to) = (random.below(entries.len()), random.below(entries.len() + 1));
    let mut first = first;
    let what = match random.below(8) {
        0 => {
            entries.remove(at);
            format!("entry {at} left out")
        }
        1 => {
            let mut again = entries[at].clone();
            let pcr = if random.yes() {
                IMA
            } else {
                u8::try_from(random.below(24)).unwrap()
            };
            again[0] = pcr;
            entries.insert(to, again);
            format!("entry {at} doubled at {to} for PCR {pcr}")
        }
        2 => {
            let to = to.min(entries.len() - 1);
            entries.swap(at, to);
            format!("entries {at} and {to} swapped")
        }
        3 => {
            let pcr = u8::try_from(random.below(24)).unwrap();
            entries[at][0] = pcr;
            format!("entry {at} in PCR {pcr}")
        }
        4 => {
            let (byte, value) = (4 + random.below(20), random.byte());
            entries[at][byte] = value;
            format!("entry {at}: byte {byte} of its stated hash is {value}")
        }
        5 => {
            entries[at][4..24].fill(0);
            format!("entry {at} is a violation")
        }
        6 => {
            first = random.near(first);
            format!("first entry is number {first}")
        }
        _ => {
            let mut stranger = ListBuilder::new();
            let name = format!("/usr/bin/{:x}", random.next() % 100_000);
            stranger.file(&name, &BANK.digest(&[name.as_bytes()]));
            entries.insert(to, stranger.bytes().to_vec());
            let earlier = random.yes();
            first = if earlier { first.saturating_sub(1) } else { first };
            format!("{name} slipped in at {to}, first is {first}")
        }
    };
    Some((first, entries.concat(), what))
}

/// What the judgement takes from a list: number since the boot and data of each entry of IMA's PCR.
fn measured(log: &RuntimeLog<'_>) -> Option<Vec<(Digest, bool)>> {
    let parsed = ImaLog::parse(log.entries).ok()?;
    let ours = parsed.entries().filter(|entry| entry.pcr == IMA);
    Some(
        ours.map(|entry| (entry.computed_hash(BANK), entry.is_violation()))
            .collect(),
    )
}

/// Whether two lists prove the same entries: what differs is behind the quoted value, before what was judged already, of
/// other PCRs, or a hash that is only stated.
pub fn same_list(genuine: &RuntimeLog<'_>, changed: &RuntimeLog<'_>) -> Option<&'static str> {
    let (of_genuine, of_changed) = (measured(genuine)?, measured(changed)?);
    let total = |log: &RuntimeLog<'_>| ImaLog::parse(log.entries).map(|list| list.len()).ok();
    if changed.first != genuine.first {
        let again = usize::try_from(genuine.first.checked_sub(changed.first)?).ok()?;
        let judged = ImaLog::parse(changed.entries).ok()?.bytes_from(again).to_vec();
        let rest = RuntimeLog {
            first: genuine.first,
            entries: &judged,
        };
        return measured(&rest)?
            .starts_with(&of_genuine)
            .then_some("list: entries that were judged before, sent again");
    }
    if !of_changed.starts_with(&of_genuine) {
        return None;
    }
    Some(if of_changed.len() > of_genuine.len() {
        "list: entries behind the quoted value, which are for the next quote"
    } else if total(genuine) != total(changed) {
        "list: entries of other PCRs, which are not judged"
    } else {
        "list: the stated SHA-1 hash of an entry, which is not what the bank was given"
    })
}
