//! From the `corim-map` to reference values.

use super::envelope::{check_validity, malformed, open, unknown};
use super::{ALGORITHMS, COMID_TAG, Corim, CorimError, Environment, Reading};
use crate::appraisal::{ReferenceValues, RuntimeReferences};
use crate::cbor::{self, Key};
use crate::event_log::describe::hex;
use crate::ima::name_for_people;
use alcub3_crypto::{Digest, HashAlg};
use std::collections::{BTreeMap, BTreeSet};

/// More tags, triples or alternatives than any document has.
const MAX_PARTS: u64 = 4096;
/// More measurements than a machine's files.
const MAX_MEASUREMENTS: u64 = 250_000;

/// Reads a document that fills all of `bytes`.
///
/// # Errors
/// [`CorimError`] says what is wrong, missing, or not understood.
pub fn read(bytes: &[u8], reading: &Reading<'_>) -> Result<Corim, CorimError> {
    let opened = open(bytes, reading)?;
    let mut found = Found::default();
    found.corim(&opened.map, reading.now_s)?;
    let (environment, _) = found
        .environment
        .ok_or(CorimError::Missing("reference triples"))?;
    let id = found.id.ok_or(CorimError::Missing("its identifier"))?;
    let values = in_bank(found.registers, reading.bank)?;
    let files = (!found.files.is_empty()).then(|| RuntimeReferences::of_files(found.files));
    Ok(Corim {
        references: ReferenceValues::of_values(values.0, values.1, files)?,
        id,
        environment,
        signer: opened.signer,
        ignored: found.ignored.into_iter().collect(),
    })
}

/// One register's digests, one an algorithm.
type Register = BTreeMap<&'static str, Digest>;

/// What was found so far.
#[derive(Default)]
struct Found {
    id: Option<String>,
    /// The environment, and its bytes: another is another.
    environment: Option<(Environment, Vec<u8>)>,
    registers: BTreeMap<u8, Vec<Register>>,
    files: BTreeMap<String, Vec<Digest>>,
    ignored: BTreeSet<&'static str>,
}

impl Found {
    fn corim(&mut self, map: &[u8], now_s: i64) -> Result<(), CorimError> {
        const WHAT: &str = "the corim-map";
        let mut tags = None;
        for (key, value) in cbor::pairs(map).map_err(malformed(WHAT))? {
            match key {
                Key::Number(0) => self.id = Some(identifier(value)?),
                Key::Number(1) => tags = Some(value),
                Key::Number(2) => return Err(unknown("dependent manifests")),
                Key::Number(3) => return Err(unknown("a profile")),
                Key::Number(4) => check_validity("CoRIM", value, now_s)?,
                Key::Number(5) => {
                    self.ignored.insert("who made it");
                }
                other => return Err(unknown(format!("{other} in the corim-map"))),
            }
        }
        let tags = tags.ok_or(CorimError::Missing("its tags"))?;
        for tag in cbor::elements(tags, MAX_PARTS).map_err(malformed("its tags"))? {
            match cbor::tagged(tag).map_err(malformed("a tag"))? {
                (COMID_TAG, comid) => self.comid(cbor::byte_string(comid).map_err(malformed("a CoMID"))?)?,
                (505, _) => return Err(unknown("a CoSWID")),
                (other, _) => return Err(unknown(format!("a tag of the kind {other}"))),
            }
        }
        Ok(())
    }

    fn comid(&mut self, comid: &[u8]) -> Result<(), CorimError> {
        const WHAT: &str = "a CoMID";
        cbor::check_definite(comid).map_err(malformed(WHAT))?;
        let mut triples = None;
        for (key, value) in cbor::pairs(comid).map_err(malformed(WHAT))? {
            match key {
                Key::Number(0 | 1) => {}
                Key::Number(2) => {
                    self.ignored.insert("who made it");
                }
                Key::Number(3) => return Err(unknown("links between its tags")),
                Key::Number(4) => triples = Some(value),
                other => return Err(unknown(format!("{other} in a CoMID"))),
            }
        }
        let triples = triples.ok_or(CorimError::Missing("triples in a CoMID"))?;
        for (key, value) in cbor::pairs(triples).map_err(malformed("a CoMID's triples"))? {
            match key {
                Key::Number(0) => self.reference_triples(value)?,
                // Endorsements add to what is known of a robot that fits; they change nothing of what fits.
                Key::Number(1 | 8 | 9 | 10) => {
                    self.ignored.insert("endorsements");
                }
                Key::Number(2 | 3) => {
                    self.ignored.insert("keys of devices");
                }
                Key::Number(4 | 5) => {
                    self.ignored.insert("how its modules belong together");
                }
                Key::Number(6) => {
                    self.ignored.insert("links to software identities");
                }
                other => return Err(unknown(format!("triples of the kind {other}"))),
            }
        }
        Ok(())
    }

    fn reference_triples(&mut self, triples: &[u8]) -> Result<(), CorimError> {
        const WHAT: &str = "a reference triple";
        for triple in cbor::elements(triples, MAX_PARTS).map_err(malformed(WHAT))? {
            let parts = cbor::elements(triple, 2).map_err(malformed(WHAT))?;
            let [environment, measurements] = parts.as_slice() else {
                return Err(CorimError::Missing(
                    "an environment or measurements in a reference triple",
                ));
            };
            self.environment(environment)?;
            for measurement in cbor::elements(measurements, MAX_MEASUREMENTS).map_err(malformed(WHAT))? {
                self.measurement(measurement)?;
            }
        }
        Ok(())
    }

    fn environment(&mut self, bytes: &[u8]) -> Result<(), CorimError> {
        if let Some((_, first)) = &self.environment {
            return match first == bytes {
                true => Ok(()),
                false => Err(CorimError::Environments),
            };
        }
        let pairs = cbor::pairs(bytes).map_err(malformed("an environment"))?;
        let [(Key::Number(0), class)] = pairs.as_slice() else {
            return Err(CorimError::Environments);
        };
        self.environment = Some((class_of(class)?, bytes.to_vec()));
        Ok(())
    }

    fn measurement(&mut self, bytes: &[u8]) -> Result<(), CorimError> {
        const WHAT: &str = "a measurement";
        let (mut mkey, mut mval) = (None, None);
        for (key, value) in cbor::pairs(bytes).map_err(malformed(WHAT))? {
            match key {
                Key::Number(0) => mkey = Some(element(value)?),
                Key::Number(1) => mval = Some(value),
                Key::Number(2) => {
                    return Err(unknown("measurements that only some keys may vouch for"));
                }
                other => return Err(unknown(format!("{other} in a measurement"))),
            }
        }
        let (mut digests, mut registers) = (None, None);
        let mval = mval.ok_or(CorimError::Missing("the values of a measurement"))?;
        for (key, value) in cbor::pairs(mval).map_err(malformed(WHAT))? {
            match key {
                Key::Number(2) => digests = Some(value),
                Key::Number(11) => {}
                Key::Number(14) => registers = Some(value),
                other => return Err(unknown(format!("{other} among a measurement's values"))),
            }
        }
        match (mkey, digests, registers) {
            (Some(Key::Number(pcr)), Some(digests), None) => self.registers(BTreeMap::from([(pcr, digests)])),
            (Some(Key::Text(name)), Some(digests), None) => self.file(name, digests),
            (None, None, Some(registers)) => self.registers(numbered(registers)?),
            (None, Some(_), _) => Err(CorimError::Missing(
                "the PCR or file that a measurement's digests are of",
            )),
            (_, None, None) => Err(CorimError::Missing("digests in a measurement")),
            _ => Err(unknown("registers under a key, or beside digests")),
        }
    }

    /// Registers of one measurement hold together. Only where each stands alone can alternatives be kept register by register.
    fn registers(&mut self, group: BTreeMap<i64, &[u8]>) -> Result<(), CorimError> {
        let is_alone = group.len() == 1;
        for (number, digests) in group {
            let of = format!("PCR {number}");
            let pcr = u8::try_from(number).map_err(|_| unknown(&of))?;
            let register = register(&of, digests)?;
            let known = self.registers.entry(pcr).or_default();
            if known.contains(&register) {
                continue;
            }
            if !is_alone && !known.is_empty() {
                return Err(CorimError::Together(pcr));
            }
            known.push(register);
        }
        Ok(())
    }

    fn file(&mut self, name: String, digests: &[u8]) -> Result<(), CorimError> {
        let register = register(&name_for_people(name.as_bytes()), digests)?;
        let known = self.files.entry(name).or_default();
        known.extend(register.into_values());
        Ok(())
    }
}

fn identifier(bytes: &[u8]) -> Result<String, CorimError> {
    match (cbor::text(bytes), cbor::byte_string(bytes)) {
        (Ok(text), _) => Ok(name_for_people(text.as_bytes())),
        (_, Ok(uuid)) if uuid.len() == 16 => Ok(hex(uuid)),
        _ => Err(unknown("an identifier that is neither a text nor a UUID")),
    }
}

fn class_of(bytes: &[u8]) -> Result<Environment, CorimError> {
    const WHAT: &str = "a class of machines";
    let mut class = Environment::default();
    let text = |value| cbor::text(value).map(|text| name_for_people(text.as_bytes()));
    for (key, value) in cbor::pairs(bytes).map_err(malformed(WHAT))? {
        match key {
            Key::Number(0) => class.class_id = Some(hex(value)),
            Key::Number(1) => class.vendor = Some(text(value).map_err(malformed(WHAT))?),
            Key::Number(2) => class.model = Some(text(value).map_err(malformed(WHAT))?),
            Key::Number(3) => class.layer = Some(cbor::number(value).map_err(malformed(WHAT))?),
            Key::Number(4) => class.index = Some(cbor::number(value).map_err(malformed(WHAT))?),
            other => return Err(unknown(format!("{other} in a class of machines"))),
        }
    }
    Ok(class)
}

/// What was measured: a number or a text.
fn element(bytes: &[u8]) -> Result<Key, CorimError> {
    match (cbor::number(bytes), cbor::text(bytes)) {
        (Ok(number), _) => Ok(Key::Number(number)),
        (_, Ok(text)) => Ok(Key::Text(text.to_owned())),
        _ => Err(unknown("a measurement of neither a PCR nor a file")),
    }
}

fn numbered(registers: &[u8]) -> Result<BTreeMap<i64, &[u8]>, CorimError> {
    let pairs = cbor::pairs(registers).map_err(malformed("integrity registers"))?;
    if pairs.is_empty() {
        return Err(CorimError::Missing("registers in a measurement"));
    }
    let numbered = pairs.into_iter().map(|(key, value)| match key {
        Key::Number(number) => Ok((number, value)),
        Key::Text(name) => Err(unknown(format!(
            "the register {name:?}, which is no number of a PCR"
        ))),
    });
    numbered.collect()
}

/// One thing's digests. Two of one algorithm cannot both be of it.
fn register(of: &str, digests: &[u8]) -> Result<Register, CorimError> {
    let wrong = |what: &'static str| CorimError::Digest {
        of: of.to_owned(),
        what,
    };
    let mut register = Register::new();
    for digest in cbor::elements(digests, cbor::MAX_PAIRS).map_err(malformed("digests"))? {
        let pair = cbor::elements(digest, 2).map_err(malformed("a digest"))?;
        let [alg, value] = pair.as_slice() else {
            return Err(wrong("a digest is no pair of an algorithm and a value"));
        };
        let Some(alg) = algorithm(alg)? else { continue };
        let value = cbor::byte_string(value).map_err(malformed("a digest"))?;
        let digest = Digest::from_slice(alg, value)
            .ok_or_else(|| wrong("a digest has not the length of its algorithm's"))?;
        if register.insert(alg.name(), digest).is_some() {
            return Err(wrong("two digests of one algorithm for one thing"));
        }
    }
    if register.is_empty() {
        return Err(wrong("it has no digest of sha-256, sha-384 or sha-512"));
    }
    Ok(register)
}

/// The algorithm; none for one that is not approved here: its digests are of no use, and another must be there.
fn algorithm(bytes: &[u8]) -> Result<Option<HashAlg>, CorimError> {
    let named = element(bytes)?;
    let found = ALGORITHMS.into_iter().find(|(number, name, _)| match &named {
        Key::Number(found) => found == number,
        Key::Text(found) => found == name,
    });
    Ok(found.map(|(.., alg)| alg))
}

/// The values in one bank, in which every register must have some.
fn in_bank(
    registers: BTreeMap<u8, Vec<Register>>,
    asked: Option<HashAlg>,
) -> Result<(HashAlg, BTreeMap<u8, Vec<Digest>>), CorimError> {
    let names: BTreeSet<&str> = registers
        .values()
        .flatten()
        .flat_map(BTreeMap::keys)
        .copied()
        .collect();
    let bank = match (asked, names.len()) {
        (Some(bank), _) => bank,
        (None, 0) => return Err(CorimError::Missing("values of PCRs")),
        (None, 1) => names
            .iter()
            .find_map(|name| HashAlg::from_name(name))
            .ok_or(CorimError::Write)?,
        _ => {
            let names: Vec<&str> = names.into_iter().collect();
            return Err(CorimError::Banks(names.join(" and ")));
        }
    };
    let mut values: BTreeMap<u8, Vec<Digest>> = BTreeMap::new();
    for (pcr, alternatives) in registers {
        for register in alternatives {
            let value = register.get(bank.name()).ok_or_else(|| CorimError::Digest {
                of: format!("PCR {pcr}"),
                what: "it has a value without a digest of the bank",
            })?;
            let known = values.entry(pcr).or_default();
            if !known.contains(value) {
                known.push(*value);
            }
        }
    }
    Ok((bank, values))
}
