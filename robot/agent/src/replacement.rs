//! Replaced parts: asked for with what the chip measured, and taken once the authority has one person's approval.

use crate::robot::Robot;
use crate::{AgentError, Result};
use alcub3_audit_log::{EntryKind, Outcome};
use alcub3_trust_model::hardware::{Difference, Part, PartClass, compare};
use alcub3_trust_model::{OperatorId, SessionId};
use std::path::Path;

/// What became of the parts that a person declared, since nothing can ask them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DeclaredAnew {
    /// Parts that are there: each takes the place of the declared part of its class and slot, where there is one.
    pub parts: Vec<Part>,
    /// Classes and slots of declared parts that are there no more.
    pub gone: Vec<(PartClass, String)>,
}

/// An approved replacement that the robot has taken.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TakenReplacement {
    /// The parts that were replaced.
    pub differences: Vec<Difference>,
    /// Who approved.
    pub approver: OperatorId,
}

impl Robot {
    /// Takes the inventory as [`Self::measure_hardware`] does, with what was declared anew, measures it, and asks the authority
    /// to take it into the robot's record, in an exchange that it opened. Commands: those of the measurement, 1 NV_Certify,
    /// 1 Certify.
    ///
    /// # Errors
    /// As [`Self::measure_hardware`]; [`AgentError::NotDeclared`]; [`AgentError::RegisterUnexplained`].
    pub fn replacement_request(
        &self,
        session: SessionId,
        machine: Option<&Path>,
        declared: &DeclaredAnew,
    ) -> Result<Vec<u8>> {
        let enrolled = self.keys.enrolled_hardware()?;
        let parts = declared_now(enrolled.inventory.declared().collect(), declared)?;
        let found = self.found(&enrolled, machine, parts)?;
        let measured = self.measure_found(&found)?;
        let measured = measured.ok_or(AgentError::RegisterUnexplained)?;
        let request = self.keys.replacement_request(session, found, measured)?;
        Ok(request.to_canonical())
    }

    /// Takes the authority's answer. The robot is closed with it: open it again, then get certificates for its new hardware
    /// with [`Self::create_identity`]; those of before count until then. Missions go on. Commands: 1 ActivateCredential,
    /// 1 CreatePrimary, 1 FlushContext.
    ///
    /// # Errors
    /// Why the answer is refused, and then nothing was changed; the chip's or the folder's, and then it can be taken again.
    pub fn take_replacement(self, answer: &[u8], now_utc_ms: u64) -> Result<TakenReplacement> {
        let verified = self.keys.verify_replacement(answer).map_err(AgentError::from);
        let kind = EntryKind::Configuration;
        let verified =
            self.refusals_audited(kind, format!("parts of {}", self.robot()), now_utc_ms, verified)?;
        let (before, after) = (self.keys.enrolled_hardware()?, &verified.asked().hardware);
        let differences = compare(&before, after).differences;
        let approver = verified.answer().approver().clone();
        let subject = format!(
            "{} parts of {}, approved by {approver}",
            differences.len(),
            self.robot()
        );
        let mut entry = self.audit.entry(kind, subject, now_utc_ms, Outcome::Done);
        for difference in &differences {
            let reason = difference.reason.code().to_owned();
            if !entry.reasons.contains(&reason) {
                entry.reasons.push(reason);
            }
        }
        self.on_record(entry, |_| Ok(self.keys.take_replacement(&verified)?))?;
        self.close()?;
        Ok(TakenReplacement {
            differences,
            approver,
        })
    }
}

/// The declared parts of a record after what was declared anew.
fn declared_now(enrolled: Vec<Part>, anew: &DeclaredAnew) -> Result<Vec<Part>> {
    for (class, slot) in &anew.gone {
        let is_there = enrolled
            .iter()
            .any(|part| part.class == *class && part.slot == *slot);
        if !is_there {
            return Err(AgentError::NotDeclared {
                class: class.name(),
                slot: slot.clone(),
            });
        }
    }
    let is_anew = |part: &Part| {
        let key = (part.class, part.slot.clone());
        anew.gone.contains(&key)
            || anew
                .parts
                .iter()
                .any(|new| (new.class, &new.slot) == (key.0, &key.1))
    };
    let kept = enrolled.into_iter().filter(|part| !is_anew(part));
    Ok(kept.chain(anew.parts.iter().cloned()).collect())
}
