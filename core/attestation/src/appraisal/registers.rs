//! The robot registers' part of an appraisal: what the chip says was measured of the robot's parts, against what its state says.

use super::check::{Check, Quoted};
use super::reason::{Finding, Reason};
use crate::attest::ClockInfo;
use crate::certify::{Signed, VerifiedNv, verify_nv};
use crate::evidence::{RegisterEvidence, RegisterPositions};
use alcub3_crypto::{Digest, HashAlg};
use alcub3_trust_model::nv_map::{NvIndex, Register};
use alcub3_trust_model::{OperationalMode, RobotState};
use std::collections::BTreeMap;

/// What a boot's registers were certified to hold: the next evidence of that boot certifies only those that changed.
///
/// Only an appraisal with a trusted verdict makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterRecord {
    pub(super) reset_count: u32,
    pub(super) restart_count: u32,
    pub(super) held: BTreeMap<Register, Held>,
}

/// What one register held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) value: Digest,
    /// What was measured last.
    pub(super) last: Digest,
}

impl RegisterRecord {
    const fn begun(clock: ClockInfo) -> Self {
        Self {
            reset_count: clock.reset_count,
            restart_count: clock.restart_count,
            held: BTreeMap::new(),
        }
    }

    /// A start that leaves the registers alone is taken for another boot as well: they are certified anew, which costs commands
    /// and never a wrong judgement.
    const fn is_of(&self, clock: ClockInfo) -> bool {
        self.reset_count == clock.reset_count && self.restart_count == clock.restart_count
    }

    /// What the robot need not certify again.
    #[must_use]
    pub fn positions(&self) -> RegisterPositions {
        RegisterPositions {
            reset_count: self.reset_count,
            restart_count: self.restart_count,
            values: self
                .held
                .iter()
                .map(|(register, held)| (*register, held.value))
                .collect(),
        }
    }
}

impl Check<'_> {
    /// Judges the registers that the kind of attestation asks for; the record is for the caller to keep if all is good.
    pub(super) fn registers(
        &mut self,
        shown: &[RegisterEvidence],
        (quoted, sequence): (&Quoted, u64),
        state: Option<&RobotState>,
    ) -> Option<RegisterRecord> {
        let state = state?;
        let clock = quoted.quote.clock();
        let known = self.policy.known_registers.filter(|known| known.is_of(clock));
        let mut record = known.cloned().unwrap_or_else(|| RegisterRecord::begun(clock));
        let kind = self.policy.asked.kind();
        let is_late = self
            .policy
            .last_seen
            .is_some_and(|last| sequence <= last.sequence);
        for shown in shown {
            let before = record.held.get(&shown.register).copied();
            let held = self.register(shown, before, (quoted, is_late))?;
            record.held.insert(shown.register, held);
        }
        for register in kind.registers() {
            let fresh = shown.iter().any(|shown| shown.register == *register);
            let held = record
                .held
                .get(register)
                .filter(|_| fresh || !kind.certifies_anew());
            self.measured(*register, held, state);
        }
        Some(record)
    }

    /// One register: certified with this quote, and led to by what was measured.
    fn register(
        &mut self,
        shown: &RegisterEvidence,
        before: Option<Held>,
        (quoted, is_late): (&Quoted, bool),
    ) -> Option<Held> {
        let name = shown.register.name();
        let certified = self.certified(NvIndex::Register(shown.register), &shown.certified, quoted)?;
        let alg = self.policy.nv.name_alg();
        let value = Digest::from_slice(alg, &certified.contents).filter(|_| certified.offset == 0);
        let Some(value) = value else {
            self.find(
                Reason::Register,
                format!("{name}: not the whole register was certified"),
            );
            return None;
        };
        let is_of_alg = |digest: &Digest| digest.alg() == alg;
        let fits = is_of_alg(&shown.base) && shown.measured.iter().all(is_of_alg);
        if !fits || shown.register.replay(shown.base, &shown.measured) != value {
            let detail = format!(
                "{name} holds {value:?}, and what is shown does not lead there: start the robot's chip anew (power off and on)"
            );
            self.find(Reason::RegisterMismatch, detail);
            return None;
        }
        let last = shown.measured.last().copied();
        let last = last.or(before.filter(|held| held.value == value).map(|held| held.last));
        let Some(last) = last else {
            self.find(
                Reason::RegisterMissing,
                format!("{name}: nothing was measured into it"),
            );
            return None;
        };
        if !self.history(shown, before, is_late) {
            return None;
        }
        if shown.register == Register::OperationalMode {
            let from = before
                .filter(|held| held.value == shown.base)
                .map(|held| held.last);
            self.transitions(from.iter().chain(&shown.measured));
        }
        Some(Held { value, last })
    }

    /// Whether what is shown goes on from what the register was certified to hold before. A chip that says otherwise contradicts
    /// itself, since a register only grows within a boot; where the beginning is not shown, that is worth a warning. Evidence that
    /// newer evidence overtook says nothing of either.
    fn history(&mut self, shown: &RegisterEvidence, before: Option<Held>, is_late: bool) -> bool {
        let name = shown.register.name();
        let is_whole = shown.base == Digest::zero(shown.base.alg());
        let goes_on = before.is_some_and(|held| passes(shown, &held.value));
        if is_late || goes_on || (is_whole && before.is_none()) {
            return true;
        }
        if let Some(held) = before.filter(|_| is_whole) {
            let detail = format!(
                "{name} is shown from its beginning without what it was certified to hold in this boot, {:?}: start the robot's \
                 chip anew (power off and on), and have the chip looked at where it comes again",
                held.value
            );
            self.find(Reason::RegisterMismatch, detail);
            return false;
        }
        let detail = format!(
            "{name}: what was measured before the {} shown is not",
            shown.measured.len()
        );
        self.find(Reason::RegisterHistory, detail);
        true
    }

    /// What an NV index was certified to hold, by the quote's key, under its qualifying data and in its boot.
    pub(super) fn certified(
        &mut self,
        index: NvIndex,
        signed: &Signed,
        quoted: &Quoted,
    ) -> Option<VerifiedNv> {
        let refuse = |what: &dyn core::fmt::Display| {
            Finding::new(Reason::Register, format!("{}: {what}", index.name()))
        };
        let certified = verify_nv(self.policy.attestation_key, signed, quoted.binding.as_bytes());
        let certified = certified
            .map_err(|error| self.findings.push(refuse(&error)))
            .ok()?;
        let wrong = if certified.index_name != self.policy.nv.spec(index).tpm_name(true) {
            Some("it is certified of another index, or of one defined otherwise")
        } else if !same_boot(certified.clock, quoted.quote.clock()) {
            Some("the TPM was reset between the quote and this certification: ask again")
        } else {
            None
        };
        self.findings.extend(wrong.map(|what| refuse(&what)));
        wrong.is_none().then_some(certified)
    }

    /// Whether a register's last measurement is what the state says.
    fn measured(&mut self, register: Register, held: Option<&Held>, state: &RobotState) {
        let name = register.name();
        let Some(held) = held else {
            let detail = format!("{name} is to be certified, and was not seen in this boot before");
            self.find(Reason::RegisterMissing, detail);
            return;
        };
        let said = state.measured(register, self.policy.nv.name_alg());
        if held.last != said {
            let detail = format!(
                "{name} was measured last as {:?}, the state says {said:?}",
                held.last
            );
            self.find(Reason::RegisterMismatch, detail);
        }
    }

    /// Whether the robot went only from modes into modes that it may.
    fn transitions<'d>(&mut self, measured: impl Iterator<Item = &'d Digest>) {
        let Some(references) = self.policy.references.state() else {
            return;
        };
        let alg = self.policy.nv.name_alg();
        let modes: Vec<Option<OperationalMode>> = measured.map(|digest| mode_of(digest, alg)).collect();
        for pair in modes.windows(2) {
            let finding = match pair {
                [Some(from), Some(to)] => references.judge_transition(*from, *to),
                _ => Some(Finding::new(
                    Reason::StateTransition,
                    "what was measured is no mode",
                )),
            };
            self.findings.extend(finding);
        }
    }
}

/// Whether a register held a value at some time of what is shown of it.
fn passes(shown: &RegisterEvidence, value: &Digest) -> bool {
    let mut held = shown.base;
    let mut measured = shown.measured.chunks(1);
    loop {
        if held == *value {
            return true;
        }
        let Some(next) = measured.next() else { return false };
        held = shown.register.replay(held, next);
    }
}

fn mode_of(digest: &Digest, alg: HashAlg) -> Option<OperationalMode> {
    OperationalMode::ALL
        .into_iter()
        .find(|mode| mode.measured(alg) == *digest)
}

const fn same_boot(a: ClockInfo, b: ClockInfo) -> bool {
    a.reset_count == b.reset_count && a.restart_count == b.restart_count
}
