//! What a verifier keeps of a platform between two appraisals, and over its own restarts.

use super::boot::BootRecord;
use super::registers::{Held, RegisterRecord};
use super::runtime::RuntimeRecord;
use super::verdict::Verdict;
use crate::event_log::PCR_COUNT;
use crate::evidence::RuntimePosition;
use crate::ima::{ImaReplay, TemplateHashing};
use alcub3_crypto::{Digest, HashAlg};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::domain;
use alcub3_trust_model::nv_map::Register;
use std::collections::BTreeMap;

const VERSION: u64 = 1;

/// The parts of a platform that were judged good and need not be judged again.
///
/// Its encoding is the verifier's own, for its own store: it is signed by nobody, and is to be read back from nowhere else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlatformRecord {
    /// The boot.
    pub boot: Option<BootRecord>,
    /// What the running system had measured.
    pub runtime: Option<RuntimeRecord>,
    /// What its registers were certified to hold.
    pub registers: Option<RegisterRecord>,
}

impl PlatformRecord {
    /// The record after a verdict: only a trusted one teaches anything.
    #[must_use]
    pub fn after(&self, verdict: &Verdict) -> Self {
        if !verdict.is_trusted() {
            return self.clone();
        }
        Self {
            boot: verdict.boot().or(self.boot.as_ref()).cloned(),
            runtime: verdict.runtime().cloned(),
            registers: verdict.registers().cloned(),
        }
    }

    /// The canonical CBOR.
    #[must_use]
    pub fn to_canonical(&self) -> Vec<u8> {
        let present = usize::from(self.boot.is_some())
            + usize::from(self.runtime.is_some())
            + usize::from(self.registers.is_some());
        let mut out = Encoder::structure(domain::PLATFORM_RECORD, VERSION, present);
        if let Some(boot) = &self.boot {
            out.u64(2)
                .array(3)
                .u64(boot.bank.tpm_id().into())
                .array(PCR_COUNT);
            for value in &boot.values {
                out.bytes(value.as_bytes());
            }
            out.digest(&boot.references);
        }
        if let Some(runtime) = &self.runtime {
            let RuntimePosition {
                entries,
                reset_count,
                restart_count,
            } = runtime.position;
            out.u64(3).array(7).digest(runtime.replay.value());
            out.bool(runtime.replay.hashing() == TemplateHashing::PaddedSha1);
            out.u64(runtime.replay.entries() as u64)
                .u64(entries)
                .u64(reset_count.into())
                .u64(restart_count.into())
                .digest(&runtime.references);
        }
        if let Some(registers) = &self.registers {
            out.u64(4).array(3).u64(registers.reset_count.into());
            out.u64(registers.restart_count.into())
                .array(registers.held.len());
            for (register, held) in &registers.held {
                out.array(3).u64(register.id().into());
                out.digest(&held.value).digest(&held.last);
            }
        }
        out.finish()
    }

    /// The record of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what is wrong.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(domain::PLATFORM_RECORD, bytes);
        let r = &mut reader;
        let mut fields = r.structure(domain::PLATFORM_RECORD, VERSION)?;
        let boot = match fields.optional(r, 2, "boot")? {
            true => Some(read_boot(r)?),
            false => None,
        };
        let runtime = match fields.optional(r, 3, "runtime")? {
            true => Some(read_runtime(r)?),
            false => None,
        };
        let registers = match fields.optional(r, 4, "registers")? {
            true => Some(read_registers(r)?),
            false => None,
        };
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            boot,
            runtime,
            registers,
        })
    }
}

fn read_boot(r: &mut Reader<'_>) -> Result<BootRecord, DecodeError> {
    r.array_of("boot", 3)?;
    let bank = HashAlg::from_tpm_id(r.u16("bank")?).ok_or_else(|| r.fault("bank", Fault::Value))?;
    r.array_of("values", PCR_COUNT)?;
    let mut values = [Digest::zero(bank); PCR_COUNT];
    for slot in &mut values {
        let value = Digest::from_slice(bank, r.bytes("values")?);
        *slot = value.ok_or_else(|| r.fault("values", Fault::Value))?;
    }
    Ok(BootRecord {
        bank,
        values,
        references: r.digest("references")?,
    })
}

fn read_runtime(r: &mut Reader<'_>) -> Result<RuntimeRecord, DecodeError> {
    r.array_of("runtime", 7)?;
    let value = r.digest("value")?;
    let hashing = match r.bool("padded_sha1")? {
        true => TemplateHashing::PaddedSha1,
        false => TemplateHashing::OfBank,
    };
    let taken = r.u64("taken")?;
    let taken = usize::try_from(taken).map_err(|_| r.fault("taken", Fault::Value))?;
    Ok(RuntimeRecord {
        replay: ImaReplay::resumed(value, hashing, taken),
        position: RuntimePosition {
            entries: r.u64("entries")?,
            reset_count: r.u32("reset_count")?,
            restart_count: r.u32("restart_count")?,
        },
        references: r.digest("references")?,
    })
}

fn read_registers(r: &mut Reader<'_>) -> Result<RegisterRecord, DecodeError> {
    r.array_of("registers", 3)?;
    let reset_count = r.u32("reset_count")?;
    let restart_count = r.u32("restart_count")?;
    let count = r.array("registers", Register::ALL.len())?;
    let mut held = BTreeMap::new();
    for _ in 0..count {
        r.array_of("register", 3)?;
        let register = r.id_of("register", Register::from_id)?;
        let (value, last) = (r.digest("value")?, r.digest("last")?);
        held.insert(register, Held { value, last });
    }
    Ok(RegisterRecord {
        reset_count,
        restart_count,
        held,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_exactly() {
        let digest = |what: &[u8]| HashAlg::Sha384.digest(&[what]);
        let boot = BootRecord {
            bank: HashAlg::Sha384,
            values: [digest(b"value"); PCR_COUNT],
            references: digest(b"references"),
        };
        let runtime = RuntimeRecord {
            replay: ImaReplay::resumed(digest(b"ten"), TemplateHashing::PaddedSha1, 7),
            position: RuntimePosition {
                entries: 9,
                reset_count: 3,
                restart_count: 1,
            },
            references: digest(b"references"),
        };
        let held = Held {
            value: digest(b"register"),
            last: digest(b"measured"),
        };
        let registers = RegisterRecord {
            reset_count: 3,
            restart_count: 1,
            held: Register::ALL
                .into_iter()
                .map(|register| (register, held))
                .collect(),
        };
        for boot in [None, Some(boot)] {
            for runtime in [None, Some(runtime.clone())] {
                let record = PlatformRecord {
                    boot: boot.clone(),
                    registers: runtime.is_some().then(|| registers.clone()),
                    runtime,
                };
                let bytes = record.to_canonical();
                assert_eq!(PlatformRecord::from_canonical(&bytes).unwrap(), record);
                let cut = |length| bytes.get(..length).unwrap();
                assert!((0..bytes.len()).all(|length| PlatformRecord::from_canonical(cut(length)).is_err()));
            }
        }
    }
}
