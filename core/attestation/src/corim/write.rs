//! From reference values to a `corim-map`.

use super::{ALGORITHMS, COMID_TAG, CorimError, UNSIGNED_TAG};
use crate::appraisal::{ReferenceReport, ReferenceValues, Rule, RuntimeReferences, Violations};
use crate::event_log::PCR_COUNT;
use alcub3_crypto::{Digest, HashAlg};
use core::convert::Infallible;
use minicbor::Encoder;
use minicbor::data::Tag;
use minicbor::encode::Error;

/// What a document says of itself.
#[derive(Debug, Clone, Copy)]
pub struct Naming<'a> {
    /// Its identifier, and that of the one CoMID in it.
    pub id: &'a str,
    /// Who makes the machines that the values are of.
    pub vendor: &'a str,
    /// Their model.
    pub model: &'a str,
}

/// Writes an unsigned document: single values as one group of integrity registers, each alternative on its own, files under their
/// names. The encoding is deterministic (RFC 8949 §4.2.1).
///
/// # Errors
/// [`CorimError::Inexpressible`] with all that it cannot say, unless that is to be left out.
pub fn write(
    references: &ReferenceValues,
    naming: &Naming<'_>,
    leave_out: bool,
) -> Result<Vec<u8>, CorimError> {
    let lost = inexpressible(references);
    if !leave_out && !lost.is_empty() {
        return Err(CorimError::Inexpressible(lost));
    }
    let measurements = measurements(references);
    if measurements.is_empty() {
        return Err(CorimError::Missing("any value or file that a CoRIM could name"));
    }
    let comid = comid(naming, &measurements).map_err(|_| CorimError::Write)?;
    let mut out = Encoder::new(Vec::new());
    let written: Result<(), Error<Infallible>> = (|| {
        out.tag(Tag::new(UNSIGNED_TAG))?.map(2)?.u8(0)?.str(naming.id)?;
        out.u8(1)?.array(1)?.tag(Tag::new(COMID_TAG))?.bytes(&comid)?;
        Ok(())
    })();
    written.map_err(|_| CorimError::Write)?;
    Ok(out.into_writer())
}

/// Everything in references that a CoRIM cannot say, each with what becomes of it.
#[must_use]
pub fn inexpressible(references: &ReferenceValues) -> Vec<String> {
    let report = ReferenceReport::of(references);
    let mut lost = Vec::new();
    for rule in report.pcrs.iter().filter(|rule| rule.rule != "values") {
        lost.push(format!(
            "PCR {}'s rule, {}: without it every boot is refused",
            rule.pcr, rule.rule
        ));
    }
    if !report.claims.is_empty() {
        let claims: Vec<&str> = report.claims.iter().copied().collect();
        lost.push(format!(
            "the claims {}: without them they are not asked for",
            claims.join(", ")
        ));
    }
    if !report.exclude.is_empty() {
        lost.push("which names are not judged: without that they are refused".to_owned());
    }
    if report.violations == Some(Violations::Note) {
        lost.push("that violations are only noted: without that they are refused".to_owned());
    }
    let files = references.runtime().map(RuntimeReferences::files);
    if files
        .as_ref()
        .is_some_and(|files| files.values().all(Vec::is_empty))
    {
        lost.push("that no file at all is accepted: without that none is judged".to_owned());
    }
    let verity = |digests: &Vec<String>| digests.iter().any(|digest| digest.starts_with("verity:"));
    if files.is_some_and(|files| files.values().any(verity)) {
        lost.push("digests by fs-verity: without them those files are refused".to_owned());
    }
    if !report.state.is_empty() {
        lost.push("what the robot's state is held to: without it nothing of it is judged".to_owned());
    }
    lost
}

/// One `measurement-map`.
enum Measurement {
    Registers(Vec<(u8, Digest)>),
    File(String, HashAlg, Vec<u8>),
}

fn measurements(references: &ReferenceValues) -> Vec<Measurement> {
    let (mut first, mut others) = (Vec::new(), Vec::new());
    for pcr in (0_u8..).take(PCR_COUNT) {
        let Some(Rule::Values(values)) = references.rule(pcr) else {
            continue;
        };
        first.extend(values.first().map(|value| (pcr, *value)));
        others.extend(
            values
                .iter()
                .skip(1)
                .map(|value| Measurement::Registers(vec![(pcr, *value)])),
        );
    }
    let files = references
        .runtime()
        .map(RuntimeReferences::files)
        .unwrap_or_default();
    let files = files.into_iter().flat_map(|(name, digests)| {
        let digest = move |text: String| {
            let (alg, digest) = text.split_once(':')?;
            let file = (
                name.clone(),
                HashAlg::from_name(alg)?,
                crate::appraisal::unhex(digest)?,
            );
            Some(Measurement::File(file.0, file.1, file.2))
        };
        digests.into_iter().filter_map(digest)
    });
    let group = (!first.is_empty()).then_some(Measurement::Registers(first));
    group.into_iter().chain(others).chain(files).collect()
}

fn comid(naming: &Naming<'_>, measurements: &[Measurement]) -> Result<Vec<u8>, Error<Infallible>> {
    let mut out = Encoder::new(Vec::new());
    out.map(2)?.u8(1)?.map(1)?.u8(0)?.str(naming.id)?;
    // Triples, of which the reference triples, of which one: an environment and its measurements.
    out.u8(4)?.map(1)?.u8(0)?.array(1)?.array(2)?;
    out.map(1)?.u8(0)?.map(2)?;
    out.u8(1)?.str(naming.vendor)?.u8(2)?.str(naming.model)?;
    out.array(measurements.len() as u64)?;
    for measurement in measurements {
        measurement.put(&mut out)?;
    }
    Ok(out.into_writer())
}

impl Measurement {
    fn put(&self, out: &mut Encoder<Vec<u8>>) -> Result<(), Error<Infallible>> {
        match self {
            Self::Registers(registers) => {
                out.map(1)?.u8(1)?.map(1)?.u8(14)?.map(registers.len() as u64)?;
                for (pcr, value) in registers {
                    out.u8(*pcr)?;
                    put_digest(out, value.alg(), value.as_bytes())?;
                }
            }
            Self::File(name, alg, digest) => {
                out.map(2)?.u8(0)?.str(name)?.u8(1)?.map(1)?.u8(2)?;
                put_digest(out, *alg, digest)?;
            }
        }
        Ok(())
    }
}

/// A list of one digest.
fn put_digest(out: &mut Encoder<Vec<u8>>, alg: HashAlg, digest: &[u8]) -> Result<(), Error<Infallible>> {
    let number = ALGORITHMS.into_iter().find(|(.., known)| *known == alg);
    let number = number.map_or(0, |(number, ..)| number);
    out.array(1)?.array(2)?.i64(number)?.bytes(digest)?;
    Ok(())
}
