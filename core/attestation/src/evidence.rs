//! Platform evidence: what a robot sends in answer to a verifier's nonce (DESIGN §5, *quote binding*).
//!
//! Decoding is strict and borrows; it proves nothing. [`crate::appraisal`] judges.

use crate::attest::ClockInfo;
use crate::certify::Signed;
use crate::pcr::{PcrSelection, PcrValues};
use alcub3_crypto::{Digest, HashAlg};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::nv_map::Register;
use alcub3_trust_model::{HardwareTier, domain};

const VERSION: u64 = 1;
const MAX_ATTEST_BYTES: usize = 4096;
const MAX_STATE_BYTES: usize = 16 * 1024;
const MAX_LOG_BYTES: usize = 4 * 1024 * 1024;
/// Longest list of what the running system measured: some 120,000 entries.
const MAX_RUNTIME_BYTES: usize = 32 * 1024 * 1024;
const MAX_PCRS: usize = 4 * 24;
const MAX_TOKEN_BYTES: usize = 64 * 1024;
/// The most that can be measured into one register and shown at once; a robot that measured more shows the end of it.
pub const MAX_SHOWN: usize = 512;

/// A verifier's nonce: 32 bytes, so that the hashed concatenation has one reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Nonce(pub [u8; 32]);

/// How far a list of what the running system measured is known, in which boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuntimePosition {
    /// Entries since the boot, whatever PCR they were extended into.
    pub entries: u64,
    /// The TPM's number of resets in that boot.
    pub reset_count: u32,
    /// The TPM's number of restarts and resumes in that boot.
    pub restart_count: u32,
}

impl RuntimePosition {
    /// So many entries in the boot of this clock.
    #[must_use]
    pub const fn new(entries: u64, clock: ClockInfo) -> Self {
        Self {
            entries,
            reset_count: clock.reset_count,
            restart_count: clock.restart_count,
        }
    }

    /// Whether the clock is one of the same boot. A resume keeps the list and is taken for another boot: the list is then sent
    /// whole, which costs its length and never a wrong judgement.
    #[must_use]
    pub const fn is_of(&self, clock: ClockInfo) -> bool {
        self.reset_count == clock.reset_count && self.restart_count == clock.restart_count
    }
}

/// What a verifier knows of a robot's registers, in which boot: those need not be certified again while they stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterPositions {
    /// The TPM's number of resets in that boot.
    pub reset_count: u32,
    /// The TPM's number of restarts and resumes in that boot.
    pub restart_count: u32,
    /// What each register held, ascending by number.
    pub values: Vec<(Register, Digest)>,
}

/// What the running system measured: an IMA list, or its entries from one on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuntimeLog<'a> {
    /// Number of the first entry, from 0 at the boot.
    pub first: u64,
    /// The entries in the kernel's binary form, with template hashes of SHA-1.
    pub entries: &'a [u8],
}

/// What one robot register holds: certified by the chip, and the measurements that lead to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterEvidence {
    /// The register.
    pub register: Register,
    /// What it held before these measurements: zero since the chip's start, what the verifier knows, or something older than
    /// what the robot keeps.
    pub base: Digest,
    /// What was measured since, the last as the state says.
    pub measured: Vec<Digest>,
    /// TPM2_NV_Certify with the quote's qualifying data.
    pub certified: Signed,
}

/// What shows that a mission lives in the chip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissionEvidence<'a> {
    /// The mission token that the authority signed.
    pub token: &'a [u8],
    /// TPM2_NV_Certify of the robot's epoch with the quote's qualifying data.
    pub robot_epoch: Signed,
    /// The same of the epoch of the mission's level.
    pub level_epoch: Signed,
    /// The same of the mission's anchor.
    pub anchor: Signed,
}

/// What a robot sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence<'a> {
    /// The quote: TPMS_ATTEST.
    pub quote: &'a [u8],
    /// Its signature: TPMT_SIGNATURE.
    pub signature: &'a [u8],
    /// The values of the quoted PCRs.
    pub pcrs: PcrValues,
    /// The robot's state, canonical ([`alcub3_trust_model::RobotState`]).
    pub state: &'a [u8],
    /// Digest over the active missions, by the signature's hash.
    pub mission: Digest,
    /// Number of this evidence; higher than of all before.
    pub sequence: u64,
    /// The kind of TPM the robot says it has. Not signed: an appraisal takes the lower of this and what was enrolled.
    pub tier: HardwareTier,
    /// The UEFI log; left out where the verifier has already judged it for this boot.
    pub uefi_log: Option<&'a [u8]>,
    /// The agent's own event log, which explains the lockdown and retire PCR; left out where it has no event.
    pub agent_log: Option<&'a [u8]>,
    /// What the running system measured; left out where the machine measures nothing.
    pub runtime_log: Option<RuntimeLog<'a>>,
    /// Robot registers, ascending by number.
    pub registers: Vec<RegisterEvidence>,
    /// The mission that it is to prove; for that kind of attestation.
    pub mission_proof: Option<MissionEvidence<'a>>,
    /// TPM2_NV_Certify of the robot's epoch with the quote's qualifying data; for the attestation of a stop.
    pub epoch: Option<Signed>,
}

/// The quote's extra data: H("alcub3/attest/v1" ‖ nonce ‖ H(state) ‖ mission digest ‖ sequence).
///
/// The domain string is constant, the nonce has 32 bytes, both digests have the size of `alg`, and the sequence is
/// 8 bytes big-endian: every field has a fixed width, so no two inputs share an encoding. `None` when a digest is
/// of another algorithm.
#[must_use]
pub fn qualifying_data(
    alg: HashAlg,
    nonce: &Nonce,
    state: &Digest,
    mission: &Digest,
    sequence: u64,
) -> Option<Digest> {
    if state.alg() != alg || mission.alg() != alg {
        return None;
    }
    Some(alg.digest(&[
        domain::ATTEST.as_bytes(),
        &nonce.0,
        state.as_bytes(),
        mission.as_bytes(),
        &sequence.to_be_bytes(),
    ]))
}

impl<'a> Evidence<'a> {
    /// The canonical CBOR.
    #[must_use]
    pub fn to_canonical(&self) -> Vec<u8> {
        let logs = [(9, self.uefi_log), (10, self.agent_log)];
        let present = logs.iter().filter(|(_, log)| log.is_some()).count()
            + usize::from(self.runtime_log.is_some())
            + usize::from(!self.registers.is_empty())
            + usize::from(self.mission_proof.is_some())
            + usize::from(self.epoch.is_some());
        let mut out = Encoder::structure(domain::EVIDENCE, VERSION, 7 + present);
        out.u64(2).bytes(self.quote).u64(3).bytes(self.signature).u64(4);
        write_pcrs(&mut out, &self.pcrs);
        out.u64(5).bytes(self.state).u64(6).digest(&self.mission);
        out.u64(7).u64(self.sequence).u64(8).u64(self.tier.id().into());
        for (key, log) in logs {
            if let Some(bytes) = log {
                out.u64(key).bytes(bytes);
            }
        }
        if let Some(log) = &self.runtime_log {
            out.u64(11).array(2).u64(log.first).bytes(log.entries);
        }
        if !self.registers.is_empty() {
            write_registers(out.u64(12), &self.registers);
        }
        if let Some(proof) = &self.mission_proof {
            out.u64(13).array(4).bytes(proof.token);
            for certified in [&proof.robot_epoch, &proof.level_epoch, &proof.anchor] {
                write_signed(&mut out, certified);
            }
        }
        if let Some(epoch) = &self.epoch {
            write_signed(out.u64(14), epoch);
        }
        out.finish()
    }

    /// The evidence of exactly these bytes.
    ///
    /// # Errors
    /// Unknown version or field, a part that is too long, PCR values that do not fit, bytes after its end.
    pub fn from_canonical(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(domain::EVIDENCE, bytes);
        let r = &mut reader;
        let mut fields = r.structure(domain::EVIDENCE, VERSION)?;
        fields.key(r, 2, "quote")?;
        let quote = bounded(r, "quote", MAX_ATTEST_BYTES)?;
        fields.key(r, 3, "signature")?;
        let signature = bounded(r, "signature", MAX_ATTEST_BYTES)?;
        fields.key(r, 4, "pcrs")?;
        let pcrs = read_pcrs(r)?;
        fields.key(r, 5, "state")?;
        let state = bounded(r, "state", MAX_STATE_BYTES)?;
        fields.key(r, 6, "mission")?;
        let mission = r.digest("mission")?;
        fields.key(r, 7, "sequence")?;
        let sequence = r.u64("sequence")?;
        fields.key(r, 8, "tier")?;
        let tier = r.id_of("tier", HardwareTier::from_id)?;
        let mut log = |key, name| match fields.optional(r, key, name)? {
            true => bounded(r, name, MAX_LOG_BYTES).map(Some),
            false => Ok(None),
        };
        let (uefi_log, agent_log) = (log(9, "uefi_log")?, log(10, "agent_log")?);
        let runtime_log = match fields.optional(r, 11, "runtime_log")? {
            true => Some(read_runtime_log(r)?),
            false => None,
        };
        let registers = match fields.optional(r, 12, "registers")? {
            true => read_registers(r)?,
            false => Vec::new(),
        };
        let mission_proof = match fields.optional(r, 13, "mission_proof")? {
            true => Some(read_mission(r)?),
            false => None,
        };
        let epoch = match fields.optional(r, 14, "epoch")? {
            true => Some(read_signed(r, "epoch")?),
            false => None,
        };
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            quote,
            signature,
            pcrs,
            state,
            mission,
            sequence,
            tier,
            uefi_log,
            agent_log,
            runtime_log,
            registers,
            mission_proof,
            epoch,
        })
    }
}

fn write_signed(out: &mut Encoder, signed: &Signed) {
    out.array(2).bytes(&signed.message).bytes(&signed.signature);
}

fn read_signed(r: &mut Reader<'_>, field: &'static str) -> Result<Signed, DecodeError> {
    r.array_of(field, 2)?;
    Ok(Signed {
        message: bounded(r, field, MAX_ATTEST_BYTES)?.to_vec(),
        signature: bounded(r, field, MAX_ATTEST_BYTES)?.to_vec(),
    })
}

/// An array of a number, the base, the measurements and the certification for each.
fn write_registers(out: &mut Encoder, registers: &[RegisterEvidence]) {
    out.array(registers.len());
    for shown in registers {
        out.array(4).u64(shown.register.id().into()).digest(&shown.base);
        out.array(shown.measured.len());
        for digest in &shown.measured {
            out.digest(digest);
        }
        write_signed(out, &shown.certified);
    }
}

fn read_registers(r: &mut Reader<'_>) -> Result<Vec<RegisterEvidence>, DecodeError> {
    let count = r.array("registers", Register::ALL.len())?;
    if count == 0 {
        return Err(r.fault("registers", Fault::Value));
    }
    let mut registers: Vec<RegisterEvidence> = Vec::with_capacity(count);
    for _ in 0..count {
        let shown = read_register(r)?;
        if registers
            .last()
            .is_some_and(|last| last.register >= shown.register)
        {
            return Err(r.fault("registers", Fault::Order));
        }
        registers.push(shown);
    }
    Ok(registers)
}

fn read_register(r: &mut Reader<'_>) -> Result<RegisterEvidence, DecodeError> {
    r.array_of("register", 4)?;
    let register = r.id_of("register", Register::from_id)?;
    let base = r.digest("register base")?;
    let count = r.array("register measured", MAX_SHOWN)?;
    let measured = (0..count)
        .map(|_| r.digest("register measured"))
        .collect::<Result<_, _>>()?;
    Ok(RegisterEvidence {
        register,
        base,
        measured,
        certified: read_signed(r, "register certified")?,
    })
}

fn read_mission<'a>(r: &mut Reader<'a>) -> Result<MissionEvidence<'a>, DecodeError> {
    r.array_of("mission_proof", 4)?;
    Ok(MissionEvidence {
        token: bounded(r, "mission token", MAX_TOKEN_BYTES)?,
        robot_epoch: read_signed(r, "mission robot_epoch")?,
        level_epoch: read_signed(r, "mission level_epoch")?,
        anchor: read_signed(r, "mission anchor")?,
    })
}

/// An array of the first entry's number and the entries.
fn read_runtime_log<'a>(r: &mut Reader<'a>) -> Result<RuntimeLog<'a>, DecodeError> {
    r.array_of("runtime_log", 2)?;
    Ok(RuntimeLog {
        first: r.u64("runtime_log first")?,
        entries: bounded(r, "runtime_log entries", MAX_RUNTIME_BYTES)?,
    })
}

fn bounded<'a>(r: &mut Reader<'a>, field: &'static str, limit: usize) -> Result<&'a [u8], DecodeError> {
    let bytes = r.bytes(field)?;
    if bytes.len() > limit {
        Err(r.fault(field, Fault::TooLong))
    } else {
        Ok(bytes)
    }
}

/// An array of the selection (TPML_PCR_SELECTION) and the values in its order.
fn write_pcrs(out: &mut Encoder, pcrs: &PcrValues) {
    out.array(2)
        .bytes(&pcrs.selection().encode())
        .array(pcrs.selection().pcr_count());
    for (_, _, value) in pcrs.iter() {
        out.bytes(value.as_bytes());
    }
}

fn read_pcrs(r: &mut Reader<'_>) -> Result<PcrValues, DecodeError> {
    r.array_of("pcrs", 2)?;
    let selection = r.bytes("pcr selection")?;
    let selection = PcrSelection::parse(selection).map_err(|_| r.fault("pcr selection", Fault::Value))?;
    let count = r.array("pcr values", MAX_PCRS)?;
    if count != selection.pcr_count() {
        return Err(r.fault("pcr values", Fault::Value));
    }
    let mut values = Vec::with_capacity(count);
    for (alg, _) in selection.pcrs() {
        let bytes = r.bytes("pcr value")?;
        let value = Digest::from_slice(alg, bytes);
        values.push(value.ok_or_else(|| r.fault("pcr value", Fault::Value))?);
    }
    PcrValues::new(selection, values).map_err(|_| r.fault("pcr values", Fault::Value))
}
