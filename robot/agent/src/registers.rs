//! The robot registers: what was measured into each since the chip's start, kept beside the chip that confirms it.

use crate::robot::Robot;
use crate::{AgentError, Result};
use alcub3_attestation::attest::{Attest, Attested};
use alcub3_attestation::certify::Signed;
use alcub3_attestation::evidence::{MAX_SHOWN, RegisterEvidence, RegisterPositions};
use alcub3_crypto::Digest;
use alcub3_fleet_protocol::replacement::MAX_MEASURED;
use alcub3_keys::StateFolder;
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::nv_map::{NvIndex, Register};
use alcub3_trust_model::{AttestationKind, RobotState};
use std::collections::BTreeMap;

const DOMAIN: &str = "alcub3/register-log/v1";
const VERSION: u64 = 1;
/// A log that reaches what evidence can show keeps this many of its last measurements.
const KEPT: usize = MAX_SHOWN / 2;

/// Logs that the chip confirmed in this process, in one run of the chip.
#[derive(Debug, Default)]
pub(crate) struct Confirmed {
    /// The chip's reset and restart counts at the quote that was made with them last.
    run: Option<(u32, u32)>,
    logs: BTreeMap<Register, RegisterLog>,
}

/// What was extended into a register since the chip's last start, written before each extend.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct RegisterLog {
    register: Register,
    /// What the register held before.
    base: Digest,
    /// What was measured since.
    events: Vec<Digest>,
    /// What the register holds after all of it.
    value: Digest,
}

fn file(register: Register) -> String {
    format!("registers/{}.cbor", register.name())
}

impl RegisterLog {
    fn of(register: Register, base: Digest, events: Vec<Digest>) -> Self {
        Self {
            register,
            base,
            value: register.replay(base, &events),
            events,
        }
    }

    /// The log on disk. One that does not read explains nothing, as one that is lost: the chip says what the register holds, and
    /// the verifier warns of what is not shown.
    fn load(folder: &StateFolder, register: Register) -> Result<Option<Self>> {
        let Some(bytes) = folder.read(&file(register))? else {
            return Ok(None);
        };
        let log = Self::from_canonical(register, &bytes);
        let log = log.inspect_err(|error| {
            tracing::warn!(register = register.name(), %error, "the log of a robot register does not read");
        });
        Ok(log.ok())
    }

    fn save(&self, folder: &StateFolder) -> Result<()> {
        let mut out = Encoder::structure(DOMAIN, VERSION, 3);
        out.u64(2).u64(self.register.id().into());
        out.u64(3).digest(&self.base).u64(4).array(self.events.len());
        for event in &self.events {
            out.digest(event);
        }
        Ok(folder.write(&file(self.register), &out.finish())?)
    }

    fn from_canonical(register: Register, bytes: &[u8]) -> std::result::Result<Self, DecodeError> {
        let mut reader = Reader::new(DOMAIN, bytes);
        let r = &mut reader;
        let mut fields = r.structure(DOMAIN, VERSION)?;
        fields.key(r, 2, "register")?;
        if r.id_of("register", Register::from_id)? != register {
            return Err(r.fault("register", Fault::Value));
        }
        fields.key(r, 3, "base")?;
        let base = r.digest("base")?;
        fields.key(r, 4, "events")?;
        let count = r.array("events", MAX_SHOWN)?;
        let mut events = Vec::with_capacity(count);
        for _ in 0..count {
            let event = r.digest("events")?;
            if event.alg() != base.alg() {
                return Err(r.fault("events", Fault::Value));
            }
            events.push(event);
        }
        fields.finish(r)?;
        r.finish()?;
        Ok(Self::of(register, base, events))
    }

    /// The log as far as the register confirms it; none where the register holds something else. An event that was
    /// written and not extended, because of a crash in between, is not in it.
    fn confirmed(mut self, found: &Digest) -> Option<Self> {
        if self.value == *found {
            return Some(self);
        }
        self.events.pop()?;
        let shorter = Self::of(self.register, self.base, self.events);
        (shorter.value == *found).then_some(shorter)
    }

    fn push(&mut self, digest: Digest) {
        self.make_room();
        self.value = self.register.replay(self.value, core::slice::from_ref(&digest));
        self.events.push(digest);
    }

    /// Room for one more event: of a full log the older half becomes its base.
    fn make_room(&mut self) {
        if self.events.len() >= MAX_SHOWN {
            let older: Vec<Digest> = self
                .events
                .drain(..self.events.len().saturating_sub(KEPT))
                .collect();
            self.base = self.register.replay(self.base, &older);
        }
    }

    /// The events behind a value that the register held, where it is in this log.
    fn since(&self, known: &Digest) -> Option<Vec<Digest>> {
        if self.value == *known {
            return Some(Vec::new());
        }
        let mut value = self.base;
        for at in 0..=self.events.len() {
            if value == *known {
                return Some(self.events.get(at..)?.to_vec());
            }
            let next = self.events.get(at)?;
            value = self.register.replay(value, core::slice::from_ref(next));
        }
        None
    }

    /// What a verifier is shown that knows these registers; nothing where it knows all of this one.
    fn shown(&self, kind: AttestationKind, known: Option<&RegisterPositions>) -> Option<Shown> {
        let mut known = known.iter().flat_map(|known| &known.values);
        let known = known.find(|(register, _)| *register == self.register);
        let added = known.and_then(|(_, value)| Some((*value, self.since(value)?)));
        let (base, measured) = match added {
            Some((_, added)) if added.is_empty() && !kind.certifies_anew() => return None,
            Some(added) => added,
            None => (self.base, self.events.clone()),
        };
        Some(Shown {
            base,
            measured,
            value: self.value,
        })
    }
}

/// What a verifier is shown of a register: what it held, what was measured behind that, and what it holds.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    base: Digest,
    measured: Vec<Digest>,
    value: Digest,
}

impl Robot {
    /// Measures a digest into a register, unless it is what was measured last.
    ///
    /// Commands: none where this process measured the same before; else 1 NV_Read where the register was written, and 1 NV_Extend
    /// where it holds something else; 2 NV_ReadPublic more at its first use.
    pub(crate) fn measure(&self, register: Register, digest: Digest) -> Result<()> {
        // Held over the commands: of two who measure at once, one log would lack what the other extended. No stop waits for it.
        let mut confirmed = self.registers();
        let log = confirmed.logs.get(&register);
        if log.is_some_and(|log| log.events.last() == Some(&digest)) {
            return Ok(());
        }
        let mut log = self.confirmed_log(register, &digest)?;
        if log.events.last() != Some(&digest) {
            log.push(digest);
            log.save(&self.folder)?;
            confirmed.logs.remove(&register);
            self.keys.extend_register(register, &digest)?;
        }
        confirmed.logs.insert(register, log);
        Ok(())
    }

    /// What was measured into a register since the chip's start, where that is known in whole.
    pub(crate) fn measured_since_start(&self, register: Register) -> Option<Vec<Digest>> {
        let confirmed = self.registers();
        let log = confirmed.logs.get(&register)?;
        let is_whole = log.base == Digest::zero(log.base.alg()) && log.events.len() <= MAX_MEASURED;
        is_whole.then(|| log.events.clone())
    }

    /// The log on disk as far as the chip confirms it; one that begins at what the chip holds where it does not.
    fn confirmed_log(&self, register: Register, digest: &Digest) -> Result<RegisterLog> {
        let found = self.keys.register(register)?;
        let stored = RegisterLog::load(&self.folder, register)?;
        let confirmed = found.and_then(|found| stored.and_then(|log| log.confirmed(&found)));
        if found.is_some() && confirmed.is_none() {
            let name = register.name();
            tracing::warn!("the {name} register holds something that the state folder does not explain");
        }
        let begun = || {
            let base = found.unwrap_or_else(|| Digest::zero(digest.alg()));
            RegisterLog::of(register, base, Vec::new())
        };
        Ok(confirmed.unwrap_or_else(begun))
    }

    /// Measures the parts of a state that an attestation is to prove.
    pub(crate) fn measure_state(&self, state: &RobotState) -> Result<()> {
        let alg = self.keys.hash();
        let mut registers = state.kind.registers().iter();
        registers.try_for_each(|register| self.measure(*register, state.measured(*register, alg)))
    }

    /// What of a register's log a verifier is shown; nothing where it knows all of it.
    fn shown(
        &self,
        register: Register,
        kind: AttestationKind,
        known: Option<&RegisterPositions>,
    ) -> Option<Shown> {
        self.registers()
            .logs
            .get(&register)
            .and_then(|log| log.shown(kind, known))
    }

    /// The registers that go with a quote: all that this kind certifies anew, and else those that the verifier does not know as
    /// they are. A chip that was started anew since they were measured is measured again first. Commands: 1 NV_Certify for each.
    pub(crate) fn certify_registers(
        &self,
        state: &RobotState,
        known: Option<&RegisterPositions>,
        (quote, qualifying): (&[u8], &Digest),
    ) -> Result<Vec<RegisterEvidence>> {
        let run = run_of(quote)?;
        if self.begin_run(run) {
            self.measure_state(state)?;
        }
        let known = known.filter(|known| (known.reset_count, known.restart_count) == run);
        let shown = state.kind.registers().iter().filter_map(|register| {
            let shown = self.shown(*register, state.kind, known)?;
            Some((*register, shown))
        });
        shown
            .map(
                |(
                    register,
                    Shown {
                        base,
                        measured,
                        value,
                    },
                )| {
                    let certified = self.certified_index(NvIndex::Register(register), qualifying);
                    // A chip that was started anew before this process's first quote holds nothing there: what it was believed to
                    // hold is read anew at the next request.
                    let certified =
                        certified.inspect_err(|_| drop(self.registers().logs.remove(&register)))?;
                    self.check_certified(register, &value, &certified)?;
                    Ok(RegisterEvidence {
                        register,
                        base,
                        measured,
                        certified,
                    })
                },
            )
            .collect()
    }

    /// What an index holds, certified with the qualifying data of a quote. Commands: 1 NV_Certify.
    pub(crate) fn certified_index(&self, index: NvIndex, qualifying: &Digest) -> Result<Signed> {
        let certified = self.keys.certify_index(index, qualifying.as_bytes().to_vec())?;
        Ok(Signed {
            message: certified.message,
            signature: certified.signature,
        })
    }

    /// Forgets what was confirmed in another run of the chip; says whether anything was.
    fn begin_run(&self, run: (u32, u32)) -> bool {
        let mut confirmed = self.registers();
        let is_another = confirmed.run.is_some_and(|before| before != run);
        if is_another {
            confirmed.logs.clear();
        }
        confirmed.run = Some(run);
        is_another
    }

    /// Somebody else who extended the register meanwhile is found here, and not at the verifier.
    fn check_certified(&self, register: Register, value: &Digest, certified: &Signed) -> Result<()> {
        let holds = |attest: Attest<'_>| match attest.attested {
            Attested::Nv { contents, .. } => contents == value.as_bytes(),
            _ => false,
        };
        if Attest::parse(&certified.message).is_ok_and(holds) {
            return Ok(());
        }
        self.registers().logs.remove(&register);
        Err(AgentError::Evidence {
            what: "a robot register was extended by somebody else: ask again, and look who has access to the TPM",
        })
    }
}

fn run_of(quote: &[u8]) -> Result<(u32, u32)> {
    let attest = Attest::parse(quote).map_err(|_| AgentError::Evidence {
        what: "the quote that the TPM made does not parse",
    })?;
    Ok((attest.clock.reset_count, attest.clock.restart_count))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use alcub3_crypto::HashAlg;

    const ALG: HashAlg = HashAlg::Sha256;

    fn event(number: u32) -> Digest {
        ALG.digest(&[&number.to_be_bytes()])
    }

    fn log(events: impl IntoIterator<Item = u32>) -> RegisterLog {
        let events = events.into_iter().map(event).collect();
        RegisterLog::of(Register::OperationalMode, Digest::zero(ALG), events)
    }

    #[test]
    fn a_log_is_believed_as_far_as_the_register_confirms_it() {
        let whole = log([1, 2]);
        assert_eq!(whole.clone().confirmed(&whole.value), Some(whole.clone()));
        assert_eq!(whole.clone().confirmed(&log([1]).value), Some(log([1])));
        assert_eq!(whole.confirmed(&event(9)), None);
    }

    #[test]
    fn a_full_log_keeps_its_value_and_what_was_measured_last() {
        let mut full = log(0..u32::try_from(MAX_SHOWN).unwrap());
        let (value, halfway) = (full.value, log(0..300).value);
        full.make_room();
        assert_eq!((full.value, full.events.len()), (value, KEPT));
        assert_eq!(full.since(&halfway).unwrap().len(), MAX_SHOWN - 300);
        assert_eq!(full.since(&log(0..10).value), None, "older than what is kept");
    }

    #[test]
    fn what_the_verifier_knows_is_not_shown_again() {
        let whole = log([1, 2, 3]);
        let known = |value| RegisterPositions {
            reset_count: 0,
            restart_count: 0,
            values: vec![(Register::OperationalMode, value)],
        };
        let shown = |kind, known: Option<&RegisterPositions>| {
            whole.shown(kind, known).map(|shown| (shown.base, shown.measured))
        };
        let all = Some((Digest::zero(ALG), whole.events.clone()));
        let work = AttestationKind::Operational;
        assert_eq!(shown(work, None), all);
        assert_eq!(shown(work, Some(&known(event(9)))), all, "unknown here");
        assert_eq!(shown(work, Some(&known(whole.value))), None);
        let before = log([1]).value;
        assert_eq!(
            shown(work, Some(&known(before))),
            Some((before, vec![event(2), event(3)]))
        );
        let anew = shown(AttestationKind::Sensor, Some(&known(whole.value)));
        assert_eq!(anew, Some((whole.value, Vec::new())));
    }
}
