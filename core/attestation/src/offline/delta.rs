//! Evidence written by what it has in common with the evidence before it: logs grow, and the rest is small.

use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use std::collections::BTreeMap;

/// The shortest stretch that is taken from the evidence before, in bytes.
const BLOCK: usize = 512;
/// How many bytes of a block find it again.
const KEY: usize = 16;
/// The most parts; evidence that needs more is written whole.
const MAX_PARTS: usize = 4096;
/// The longest evidence, in bytes.
const MAX_EVIDENCE_BYTES: usize = 48 << 20;
const FIELD: &str = "evidence";

enum Part<'a> {
    /// From an offset in the evidence before, so many bytes.
    Taken(usize, usize),
    Added(&'a [u8]),
}

/// Writes evidence as an array of parts: `[offset, length]` of the evidence before, or `[bytes]`.
pub(super) fn write(out: &mut Encoder, before: &[u8], evidence: &[u8]) {
    let mut parts = parts(before, evidence);
    if parts.len() > MAX_PARTS {
        parts = vec![Part::Added(evidence)];
    }
    out.array(parts.len());
    for part in parts {
        match part {
            Part::Taken(from, length) => out.array(2).u64(from as u64).u64(length as u64),
            Part::Added(bytes) => out.array(1).bytes(bytes),
        };
    }
}

/// The evidence that was written behind the evidence before.
pub(super) fn read(r: &mut Reader<'_>, before: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let count = r.array(FIELD, MAX_PARTS)?;
    let mut evidence = Vec::new();
    for _ in 0..count {
        let part = match r.array(FIELD, 2)? {
            1 => r.bytes(FIELD)?,
            2 => {
                let (from, length) = (r.u64(FIELD)?, r.u64(FIELD)?);
                stretch(before, from, length).ok_or_else(|| r.fault(FIELD, Fault::Value))?
            }
            _ => return Err(r.fault(FIELD, Fault::Value)),
        };
        if evidence.len().saturating_add(part.len()) > MAX_EVIDENCE_BYTES {
            return Err(r.fault(FIELD, Fault::TooLong));
        }
        evidence.extend_from_slice(part);
    }
    Ok(evidence)
}

fn stretch(before: &[u8], from: u64, length: u64) -> Option<&[u8]> {
    let (from, length) = (usize::try_from(from).ok()?, usize::try_from(length).ok()?);
    before.get(from..from.checked_add(length)?)
}

fn parts<'a>(before: &[u8], evidence: &'a [u8]) -> Vec<Part<'a>> {
    let blocks = blocks(before);
    let (mut parts, mut at, mut added_from) = (Vec::new(), 0, 0);
    while let Some(rest) = evidence.get(at..).filter(|rest| rest.len() >= BLOCK) {
        let Some((from, length)) = longest(&blocks, before, rest) else {
            at += 1;
            continue;
        };
        push_added(&mut parts, evidence.get(added_from..at));
        parts.push(Part::Taken(from, length));
        at += length;
        added_from = at;
    }
    push_added(&mut parts, evidence.get(added_from..));
    parts
}

fn push_added<'a>(parts: &mut Vec<Part<'a>>, bytes: Option<&'a [u8]>) {
    if let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) {
        parts.push(Part::Added(bytes));
    }
}

/// Where blocks begin, by their first bytes; of two that begin alike the first.
fn blocks(before: &[u8]) -> BTreeMap<&[u8], usize> {
    let mut blocks = BTreeMap::new();
    for (number, block) in before.chunks_exact(BLOCK).enumerate() {
        if let Some(key) = block.get(..KEY) {
            blocks.entry(key).or_insert(number * BLOCK);
        }
    }
    blocks
}

fn longest(blocks: &BTreeMap<&[u8], usize>, before: &[u8], rest: &[u8]) -> Option<(usize, usize)> {
    let from = *blocks.get(rest.get(..KEY)?)?;
    let common = before.get(from..)?.iter().zip(rest);
    let length = common.take_while(|(one, other)| one == other).count();
    (length >= BLOCK).then_some((from, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(before: &[u8], evidence: &[u8]) -> Vec<u8> {
        let mut out = Encoder::new();
        write(&mut out, before, evidence);
        out.finish()
    }

    fn noise(length: usize, seed: u64) -> Vec<u8> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_be_bytes()[0]
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn what_is_written_reads_back_and_logs_that_grow_cost_what_they_add() {
        let log = noise(60_000, 1);
        let before = [&noise(900, 2)[..], &log].concat();
        let grown = [&noise(950, 3)[..], &log, &noise(70, 4)].concat();
        for (before, evidence) in [
            (&before, &grown),
            (&grown, &before),
            (&before, &before),
            (&before, &Vec::new()),
            (&Vec::new(), &grown),
            (&vec![0; 5000], &vec![0; 9000]),
        ] {
            let bytes = written(before, evidence);
            let mut reader = Reader::new("test", &bytes);
            assert_eq!(&read(&mut reader, before).unwrap(), evidence);
            reader.finish().unwrap();
        }
        let cost = written(&before, &grown).len();
        assert!(cost < 2_200, "{cost} bytes");
    }

    #[test]
    fn a_stretch_that_the_evidence_before_lacks_is_refused() {
        for (from, length) in [(0u64, 11u64), (10, 1), (u64::MAX, 2), (1, u64::MAX)] {
            let mut out = Encoder::new();
            out.array(1).array(2).u64(from).u64(length);
            let bytes = out.finish();
            let mut reader = Reader::new("test", &bytes);
            assert!(read(&mut reader, &[7; 10]).is_err(), "{from} {length}");
        }
    }
}
