//! The further keys of a mission: made on demand, used for their one purpose, shared by the authority. What is refused
//! is on record.

use crate::Result;
use crate::robot::{Robot, mission_subject};
use alcub3_attestation::certify::Signed;
use alcub3_audit_log::{Entry, EntryKind, Outcome};
use alcub3_command_authority::VerifiedMission;
use alcub3_crypto::tpm::Signature;
use alcub3_crypto::{Digest, Secret};
use alcub3_fleet_protocol::shared_key::{SharedKeyRequest, VerifiedSharedKey, shared_key_binding};
use alcub3_keys::{MissionData, MissionKey, MissionKeyRecord};
use alcub3_tpm::ops::Attestation;
use alcub3_trust_model::{MissionId, MissionKeyId, MissionKeyPurpose, SessionId};

impl Robot {
    /// Makes keys for a mission that runs; on return they are kept.
    ///
    /// # Errors
    /// That there is no such mission, that it is over, or the chip's refusal after a stop.
    pub fn create_mission_keys(
        &self,
        mission: MissionId,
        purpose: MissionKeyPurpose,
        count: usize,
        now_utc_ms: u64,
    ) -> Result<Vec<MissionKeyRecord>> {
        let entry = self.key_entry(mission, format!("made-{count}-{purpose}"), now_utc_ms);
        let made = self.on_record(entry, |_| {
            Ok(self.keys.create_mission_keys(mission, purpose, count)?)
        });
        self.key_refusals_audited(mission, now_utc_ms, made)
    }

    /// A further key of a mission, loaded; from then on kept until the mission ends, a stop drops it, or many others
    /// came after it.
    ///
    /// # Errors
    /// That there is no such mission or key, or the chip's refusal after a stop.
    pub fn further_key(&self, mission: MissionId, key: MissionKeyId) -> Result<MissionKey> {
        if let Some(loaded) = self.loaded.find(mission, Some(key)) {
            return Ok(loaded);
        }
        let loaded = self.keys.load_further_key(mission, key)?;
        self.loaded
            .keep(self.keys.mission(mission)?.owner(), Some(key), loaded.clone());
        Ok(loaded)
    }

    /// Signs a digest with a mission's signing key; `key` is none for the key that the mission began with.
    ///
    /// # Errors
    /// A key of another purpose, which is on record then; the chip's refusal once the mission is over.
    pub fn mission_sign(
        &self,
        mission: MissionId,
        key: Option<MissionKeyId>,
        digest: Digest,
        now_utc_ms: u64,
    ) -> Result<Signature> {
        let key = match key {
            Some(key) => self.further_key(mission, key),
            None => self.mission_key(mission),
        };
        let signed = key.and_then(|key| Ok(self.keys.sign(&key, digest)?));
        self.key_refusals_audited(mission, now_utc_ms, signed)
    }

    /// The HMAC of up to 1024 bytes with a mission's command key.
    ///
    /// # Errors
    /// As [`Self::mission_sign`].
    pub fn mission_mac(
        &self,
        mission: MissionId,
        key: MissionKeyId,
        data: &[u8],
        now_utc_ms: u64,
    ) -> Result<Digest> {
        let key = self.further_key(mission, key);
        let tag = key.and_then(|key| Ok(self.keys.mac(&key, data)?));
        self.key_refusals_audited(mission, now_utc_ms, tag)
    }

    /// Seals data that opens while the mission runs, and never after.
    ///
    /// # Errors
    /// As [`Self::mission_sign`].
    pub fn seal_mission_data(
        &self,
        mission: MissionId,
        key: MissionKeyId,
        plain: &[u8],
        now_utc_ms: u64,
    ) -> Result<MissionData> {
        let sealed = self.further_key(mission, key).and_then(|loaded| {
            let record = self.keys.mission_key_record(mission, key)?;
            Ok(self.keys.seal_data(&record, &loaded, plain)?)
        });
        let sealed = self.key_refusals_audited(mission, now_utc_ms, sealed)?;
        self.audit_seal(mission, "sealed", now_utc_ms)?;
        Ok(sealed)
    }

    /// Opens what [`Self::seal_mission_data`] sealed on this robot.
    ///
    /// # Errors
    /// As [`Self::mission_sign`], and for data that was changed.
    pub fn open_mission_data(&self, data: &MissionData, now_utc_ms: u64) -> Result<Secret> {
        self.open_shared_data(data.mission, data.key, data, now_utc_ms)
    }

    /// Opens what was sealed on another robot with its copy of a shared key, which has a name of its own there: with the copy
    /// that this robot's mission has.
    ///
    /// # Errors
    /// As [`Self::open_mission_data`].
    pub fn open_shared_data(
        &self,
        mission: MissionId,
        key: MissionKeyId,
        data: &MissionData,
        now_utc_ms: u64,
    ) -> Result<Secret> {
        let key = self.further_key(mission, key);
        let opened = key.and_then(|key| Ok(self.keys.open_data(&key, data)?));
        let opened = self.key_refusals_audited(mission, now_utc_ms, opened)?;
        self.audit_seal(mission, "opened", now_utc_ms)?;
        Ok(opened)
    }

    fn audit_seal(&self, mission: MissionId, what: &str, now_utc_ms: u64) -> Result<()> {
        let subject = mission_subject(mission);
        let mut entry = self
            .audit
            .entry(EntryKind::Seal, subject, now_utc_ms, Outcome::Done);
        entry.reasons = vec![what.to_owned()];
        self.audit.append(&entry).map(|_| ())
    }

    /// Asks for this robot's copy of a shared key, in an exchange that the authority opened. Commands: 1 Certify, 1
    /// Quote.
    ///
    /// # Errors
    /// That there is no such mission, or the chip's.
    pub fn shared_key_request(
        &self,
        session: SessionId,
        mission: MissionId,
        purpose: MissionKeyPurpose,
    ) -> Result<Vec<u8>> {
        let binding = shared_key_binding(self.keys.hash(), session, mission, purpose);
        let proof = self.keys.prove_parent(mission, &binding)?;
        let request = SharedKeyRequest {
            session,
            robot: self.robot().clone(),
            mission,
            purpose,
            parent: proof.parent,
            parent_certification: signed(proof.certification),
            pcr_quote: signed(proof.pcr_quote),
        };
        Ok(request.to_canonical())
    }

    /// Takes this robot's copy of a shared key, as the authority signed it, into the chip. A command key is made ready for
    /// its issuer's first command in the background.
    ///
    /// # Errors
    /// Not the authority's, not of this exchange or mission; what the chip finds changed. Nothing is kept then, and the
    /// reason is on record.
    pub fn take_shared_key(
        &self,
        session: SessionId,
        mission: MissionId,
        message: &[u8],
        now_utc_ms: u64,
    ) -> Result<MissionKeyRecord> {
        let taken = self
            .verified_shared_key(session, mission, message)
            .and_then(|key| {
                let entry = self.key_entry(mission, format!("shared-{}", key.key().purpose), now_utc_ms);
                self.on_record(entry, |_| Ok(self.keys.import_mission_key(&key)?))
            });
        let record = self.key_refusals_audited(mission, now_utc_ms, taken)?;
        self.command_keys().add(&record);
        if record.purpose == MissionKeyPurpose::CommandMac {
            self.keys.arm_ahead(&self.further_key(mission, record.key)?);
        }
        Ok(record)
    }

    fn verified_shared_key(
        &self,
        session: SessionId,
        mission: MissionId,
        message: &[u8],
    ) -> Result<VerifiedSharedKey> {
        let approved = self.verified_mission(&self.keys.mission(mission)?)?;
        self.check_policy(&approved)?;
        let authority = &self.keys.anchors().authority;
        Ok(VerifiedSharedKey::verify(
            message,
            authority,
            approved.token(),
            session,
        )?)
    }

    /// The mission as the authority last approved it.
    pub(crate) fn verified_mission(&self, record: &alcub3_keys::MissionRecord) -> Result<VerifiedMission> {
        let authority = &self.keys.anchors().authority;
        Ok(VerifiedMission::as_approved(
            record.token_in_force(),
            authority,
            self.robot(),
        )?)
    }

    fn key_entry(&self, mission: MissionId, reason: String, now_utc_ms: u64) -> Entry {
        let subject = mission_subject(mission);
        let mut entry = self
            .audit
            .entry(EntryKind::Key, subject, now_utc_ms, Outcome::Done);
        entry.reasons = vec![reason];
        entry
    }

    fn key_refusals_audited<T>(&self, mission: MissionId, now_utc_ms: u64, result: Result<T>) -> Result<T> {
        self.refusals_audited(EntryKind::Key, mission_subject(mission), now_utc_ms, result)
    }
}

fn signed(attestation: Attestation) -> Signed {
    Signed {
        message: attestation.message,
        signature: attestation.signature,
    }
}
