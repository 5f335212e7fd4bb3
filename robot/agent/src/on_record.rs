//! What is in the audit log of what was refused, and of what lasts, before it is done.

use crate::Result;
use crate::robot::Robot;
use alcub3_audit_log::{Entry, EntryKind, Outcome};

impl Robot {
    /// Does what lasts, with an entry before it that says that it may have happened, and one after it. A crash in between,
    /// or a failure, leaves the first alone. `effect` may say more in the entry of what it did.
    pub(crate) fn on_record<T>(
        &self,
        mut entry: Entry,
        effect: impl FnOnce(&mut Entry) -> Result<T>,
    ) -> Result<T> {
        entry.outcome = Outcome::Unconfirmed;
        self.audit.append(&entry)?;
        let done = effect(&mut entry)?;
        entry.outcome = Outcome::Done;
        // It is in force, and an error would say that it is not.
        if let Err(error) = self.audit.append(&entry) {
            tracing::error!(%error, subject = %entry.subject, "what was done is in the audit log as unconfirmed only");
        }
        Ok(done)
    }

    /// Puts a refusal that has a reason code on record. Where it is that a mission's record is not believed, the mission ends.
    pub(crate) fn refusals_audited<T>(
        &self,
        kind: EntryKind,
        subject: String,
        now_utc_ms: u64,
        result: Result<T>,
    ) -> Result<T> {
        if let Err(error) = &result
            && let Some(code) = error.reason_code()
        {
            // First: a log that takes no entry must not keep a mission alive that is not believed.
            self.end_if_refused(&result, Some(now_utc_ms));
            let mut entry = self.audit.entry(kind, subject, now_utc_ms, Outcome::Refused);
            entry.reasons = vec![code.to_owned()];
            self.audit.append(&entry)?;
        }
        result
    }
}
