//! A verdict as programs get it, from the command line and over the local interface.

use crate::Result;
use crate::robot::Robot;
use alcub3_command_authority::{Explanation, Reason};
use alcub3_security_hal::platform::Platforms;
use alcub3_security_hal::{Clock, GateVerdict, SystemClock};
use serde_json::{Value, json};

impl Robot {
    /// Judges a command envelope as [`Self::validate`] does: the verdict as a document, with the command as it is recorded for
    /// trying policies (`record`).
    ///
    /// # Errors
    /// As [`Self::validate`].
    pub fn judge(&self, envelope: &[u8], now_utc_ms: Option<u64>) -> Result<Value> {
        let verdict = self.still_good(self.validate(envelope, now_utc_ms)?, now_utc_ms);
        Ok(self.told(envelope, &verdict))
    }

    /// As [`Self::judge`], and has what was admitted carried out by the platform whose adapter takes it: whether it was
    /// (`carried_out`), and else why not, and whether it is certain that nothing was begun (`certain`).
    ///
    /// # Errors
    /// As [`Self::carry_out`].
    pub fn judge_and_drive(
        &self,
        platforms: &Platforms,
        envelope: &[u8],
        now_utc_ms: Option<u64>,
    ) -> Result<Value> {
        let verdict = self.validate(envelope, now_utc_ms)?;
        let mut told = self.told(envelope, &verdict);
        let GateVerdict::Admitted(admitted) = verdict else {
            return Ok(told);
        };
        let refusal = self.drive(platforms, admitted, envelope, now_utc_ms)?;
        if let Some(fields) = told.as_object_mut() {
            fields.insert("carried_out".into(), json!(refusal.is_none()));
            if let Some(refusal) = refusal {
                fields.insert("codes".into(), json!([refusal.code()]));
                fields.insert("reasons".into(), json!([refusal.to_string()]));
                fields.insert("certain".into(), json!(refusal.is_certain()));
            }
        }
        Ok(told)
    }

    fn told(&self, envelope: &[u8], verdict: &GateVerdict) -> Value {
        let mut told = match verdict {
            GateVerdict::Admitted(admitted) => {
                let command = admitted.command();
                json!({
                    "admitted": true, "command": command.name().as_str(), "issuer": command.issuer(),
                    "second": command.second().map(|(second, _)| second), "mission": command.mission(),
                    "sequence": command.sequence(),
                })
            }
            GateVerdict::Refused(refusal) => refused(refusal.reasons()),
        };
        if let Some(fields) = told.as_object_mut() {
            fields.insert("robot".into(), json!(self.robot()));
            fields.insert("record".into(), json!(self.recorded(envelope, verdict)));
        }
        told
    }

    /// The verdict, unless a stop came or the command became late while it was put on record: then it must not be told as good.
    /// That it is not is on record behind it.
    fn still_good(&self, verdict: GateVerdict, judged_at_ms: Option<u64>) -> GateVerdict {
        let GateVerdict::Admitted(admitted) = &verdict else {
            return verdict;
        };
        let now_ms = SystemClock::new().utc_ms().or(judged_at_ms).unwrap_or_default();
        let Err(reason) = self.commands.release(admitted, now_ms).map(|_| ()) else {
            return verdict;
        };
        self.take_back(admitted.command(), &reason, now_ms);
        GateVerdict::Refused(reason.into())
    }
}

fn refused(reasons: &[Reason]) -> Value {
    let named: Vec<String> = reasons.iter().map(ToString::to_string).collect();
    let codes: Vec<&str> = reasons.iter().map(Reason::code).collect();
    let words = reasons.iter().filter_map(Reason::explanation).map(in_words);
    json!({"admitted": false, "reasons": named, "codes": codes, "words": words.collect::<Vec<_>>()})
}

fn in_words(explained: &Explanation) -> Value {
    json!({"code": explained.code, "says": explained.says, "remedy": explained.remedy})
}
