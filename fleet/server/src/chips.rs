//! Persons' chips: each is admitted when its storage key is proven to be in a TPM that a root of this authority vouches for, as
//! a robot's keys are. Those who command with shared keys have one, those who hold shares of a recovery set, and whoever keeps a
//! recovery TPM.

use std::fmt;

use alcub3_audit_log::EntryKind;
use alcub3_crypto::tpm::{EkTemplate, Public};
use alcub3_crypto::{Curve, Digest, HashAlg, constant_time_eq};
use alcub3_fleet_protocol::chip::{
    AdmittedChip, ChipAdmission, ChipAnswer, ChipChallenge, ChipError, ChipRequest,
};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Reader};
use alcub3_trust_model::{HardwareTier, IdError, OperatorId, RobotId, SessionId};

use crate::audit::Decision;
use crate::authority::Authority;
use crate::endorsement::{self, EndorsementError, RootsError};
use crate::exchanges::EXCHANGE_MS;
use crate::robots::{self, RobotError};
use crate::store::StoreError;

const ADMITTED: &str = "chips";
const CHALLENGED: &str = "chip-challenges";
/// When the newest request that was taken of a person was made.
const PRESENTED: &str = "chip-requests";
/// How far a person's clock may be ahead of the authority's, in milliseconds.
const MAX_AHEAD_MS: u64 = 5 * 60 * 1000;
/// By the Name of the endorsement key; the record says whose it was.
const REVOKED: &str = "revoked-chips";
const CHALLENGE_DOMAIN: &str = "alcub3/authority-chip-challenge/v1";
const VERSION: u64 = 2;

/// Why a chip was not admitted, or is not there.
#[derive(Debug, thiserror::Error)]
pub enum ChipRefusal {
    /// The messages.
    #[error(transparent)]
    Protocol(#[from] ChipError),
    /// The answer does not read.
    #[error("chip message refused: {0}")]
    Message(#[source] DecodeError),
    /// The person is not registered.
    #[error("{0} is no registered operator; register them with `alcub3 authority operator add`")]
    Unknown(OperatorId),
    /// The endorsement certificate.
    #[error(transparent)]
    Endorsement(#[from] EndorsementError),
    /// The roots.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// Simulators are not admitted.
    #[error("the chip is a simulator, and this authority admits none; present a real TPM")]
    Simulator,
    /// Of the endorsement keys of one chip only one counts, so that revoking it revokes the chip.
    #[error(
        "the endorsement key is not an ECC key on {needed}, the one kind that this authority takes of persons' chips: present \
         the chip with `--curve {needed}`"
    )]
    EndorsementKind {
        /// The curve of the authority.
        needed: CurveName,
    },
    /// A chip that is already somebody's.
    #[error("the chip is {holder}'s: one chip is one person's, and no robot's")]
    Taken {
        /// The other person, or the robot.
        holder: String,
    },
    /// The request is not newer than one that was taken.
    #[error(
        "the request was made at {presented_at_ms} (UTC in ms since 1970), and one of {newest_ms} was taken: present the chip again"
    )]
    OldRequest {
        /// When it was made.
        presented_at_ms: u64,
        /// When the newest that was taken was.
        newest_ms: u64,
    },
    /// The request is of a time that has not come.
    #[error("the request was made {ahead_ms} ms from now: check the clocks, and present the chip again")]
    FutureRequest {
        /// By how much, in milliseconds.
        ahead_ms: u64,
    },
    /// The robots' records.
    #[error(transparent)]
    Robots(#[from] Box<RobotError>),
    /// The chip was revoked.
    #[error("the chip with this endorsement key was revoked, for good; present another chip")]
    Revoked,
    /// The answer belongs to no challenge that waits.
    #[error("the answer belongs to no challenge that waits for one; challenge the chip again")]
    NotWaiting,
    /// The answer came late.
    #[error("the challenge expired {late_ms} ms ago; challenge the chip again")]
    Expired {
        /// By how much, in milliseconds.
        late_ms: u64,
    },
    /// The proof is wrong.
    #[error(
        "the proof is wrong: the storage key is not in the TPM of the endorsement key, or the answer was changed; present \
         the chip again"
    )]
    Proof,
    /// No chip of the person was admitted.
    #[error("no chip of {0} is admitted; see `alcub3 chip present --help`")]
    NoChip(OperatorId),
    /// A record does not read.
    #[error("the record of a chip: {0}; restore the state folder from a backup")]
    Record(#[source] DecodeError),
    /// A record is of no person.
    #[error("the record of a chip: {0}; restore the state folder from a backup")]
    Name(#[source] IdError),
    /// The state folder.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A curve as the command line names it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CurveName(pub Curve);

impl fmt::Display for CurveName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Curve::P256 => "p256",
            Curve::P384 => "p384",
        })
    }
}

/// A challenge that waits for its answer. Whoever reads it cannot answer, and has no admission: it has the right proof's digest
/// alone, and what is to be signed, unsigned.
struct Challenged {
    session: SessionId,
    proof: Digest,
    challenged_at_ms: u64,
    presented_at_ms: u64,
    chip: ChipAdmission,
}

impl Authority {
    /// Takes a person's request to admit a chip, judges the chip's endorsement certificate, and gives the challenge. An
    /// earlier one for the same person counts no more.
    ///
    /// # Errors
    /// [`ChipRefusal`] says what is not as it must be.
    pub fn challenge_chip(&mut self, request: &[u8], now_ms: u64) -> Result<Vec<u8>, ChipRefusal> {
        let operator = ChipRequest::parse(request).map(|parsed| parsed.operator);
        let decision = chip_decision(operator.as_ref().ok(), "challenged");
        let challenged = operator
            .map_err(Into::into)
            .and_then(|operator| self.begin_admission(&operator, request, now_ms));
        self.refusal_on_record(decision, now_ms, challenged)
    }

    fn begin_admission(
        &self,
        operator: &OperatorId,
        request: &[u8],
        now_ms: u64,
    ) -> Result<Vec<u8>, ChipRefusal> {
        let known = self.operators.get(operator);
        let known = known.ok_or_else(|| ChipRefusal::Unknown(operator.clone()))?;
        let verified = ChipRequest::verify(request, &known.key)?;
        self.refuse_old(operator, verified.presented_at_ms, now_ms)?;
        self.refuse_other_kinds(&verified.endorsement_key)?;
        self.refuse_taken(operator, &verified.endorsement_key, &verified.storage_key)?;
        let roots = endorsement::read_roots(self.path(), self.config.require_revocation_lists)?;
        let (endorsement, _) = endorsement::judge(
            &verified.endorsement_key,
            (&verified.endorsement_certificate, &verified.certificate_chain),
            &roots,
            now_ms,
        )?;
        if endorsement.tier == HardwareTier::Simulator && !self.config.admit_simulators {
            return Err(ChipRefusal::Simulator);
        }
        let mut entropy = self.entropy;
        let (challenge, proof) = ChipChallenge::create(&verified, request, &mut entropy)?;
        let waiting = Challenged {
            session: challenge.session,
            proof,
            challenged_at_ms: now_ms,
            presented_at_ms: verified.presented_at_ms,
            chip: ChipAdmission {
                operator: operator.clone(),
                endorsement_key: verified.endorsement_key,
                endorsement_certificate: *endorsement.basis.digest(),
                storage_key: verified.storage_key,
                tier: endorsement.tier,
                admitted_at_ms: now_ms,
            },
        };
        let signed = challenge.unsigned(self.signing().suite()).sign(self.signing());
        let signed = signed.map_err(ChipError::from)?;
        self.folder
            .put(CHALLENGED, operator.as_str(), &waiting.encode())?;
        Ok(signed)
    }

    /// Takes the answer, and admits the chip in the place of any earlier one of the same person. What it gives back is the
    /// signed admission, for whoever wraps something to the chip.
    ///
    /// # Errors
    /// [`ChipRefusal`]; the challenge counts no more, whatever was wrong.
    pub fn admit_chip(&mut self, answer: &[u8], now_ms: u64) -> Result<AdmittedChip, ChipRefusal> {
        let answer = ChipAnswer::from_canonical(answer).map_err(ChipRefusal::Message);
        let waiting = answer.and_then(|answer| Ok((self.waiting(answer.session)?, answer)));
        let operator = waiting.as_ref().ok().map(|(waiting, _)| &waiting.chip.operator);
        let decision = chip_decision(operator, "admitted");
        match waiting {
            Ok((waiting, answer)) => self.acting_on_record(decision, now_ms, |authority| {
                authority.admit(waiting, &answer, now_ms)
            }),
            Err(refusal) => self.on_record(decision, now_ms, Err(refusal)),
        }
    }

    fn admit(
        &self,
        waiting: Challenged,
        answer: &ChipAnswer,
        now_ms: u64,
    ) -> Result<AdmittedChip, ChipRefusal> {
        self.folder.remove(CHALLENGED, waiting.chip.operator.as_str())?;
        let expires_ms = waiting.challenged_at_ms.saturating_add(EXCHANGE_MS);
        if let Some(late_ms) = now_ms.checked_sub(expires_ms) {
            return Err(ChipRefusal::Expired { late_ms });
        }
        let given = HashAlg::Sha256.digest(&[&answer.proof]);
        if !constant_time_eq(given.as_bytes(), waiting.proof.as_bytes()) {
            return Err(ChipRefusal::Proof);
        }
        let operator = waiting.chip.operator.clone();
        self.refuse_old(&operator, waiting.presented_at_ms, now_ms)?;
        self.refuse_taken(
            &operator,
            &waiting.chip.endorsement_key,
            &waiting.chip.storage_key,
        )?;
        let admission = ChipAdmission {
            admitted_at_ms: now_ms,
            ..waiting.chip
        };
        let signed = admission.sign(self.signing()).map_err(ChipError::from)?;
        let chip = AdmittedChip::verify(&signed, &self.verifying_key())?;
        let presented = waiting.presented_at_ms.to_be_bytes();
        self.folder.put(PRESENTED, operator.as_str(), &presented)?;
        self.folder
            .put(ADMITTED, chip.operator().as_str(), chip.as_bytes())?;
        Ok(chip)
    }

    fn waiting(&self, session: SessionId) -> Result<Challenged, ChipRefusal> {
        for operator in self.folder.keys(CHALLENGED)? {
            let Some(record) = self.folder.get(CHALLENGED, &operator)? else {
                continue;
            };
            let waiting = Challenged::decode(&record).map_err(ChipRefusal::Record)?;
            if waiting.session == session {
                return Ok(waiting);
            }
        }
        Err(ChipRefusal::NotWaiting)
    }

    /// The chip that is admitted for a person.
    ///
    /// # Errors
    /// [`ChipRefusal::NoChip`], or where its record is none that this authority signed for the person.
    pub fn chip(&self, operator: &OperatorId) -> Result<AdmittedChip, ChipRefusal> {
        let none = || ChipRefusal::NoChip(operator.clone());
        let record = self.folder.get(ADMITTED, operator.as_str())?.ok_or_else(none)?;
        let chip = AdmittedChip::verify(&record, &self.verifying_key())?;
        if chip.operator() == operator {
            Ok(chip)
        } else {
            Err(none())
        }
    }

    /// The chips that are admitted, by person.
    ///
    /// # Errors
    /// As [`Self::chip`].
    pub fn chips(&self) -> Result<Vec<AdmittedChip>, ChipRefusal> {
        let names = self.folder.keys(ADMITTED)?.into_iter();
        names
            .map(|name| self.chip(&OperatorId::new(name).map_err(ChipRefusal::Name)?))
            .collect()
    }

    /// Whether a chip is the one that is admitted now for its person. An admission that was signed earlier stays good while the
    /// person's chip is the same.
    ///
    /// # Errors
    /// As [`Self::chip`], but that there is none.
    pub(crate) fn is_admitted_now(&self, chip: &AdmittedChip) -> Result<bool, ChipRefusal> {
        match self.chip(chip.operator()) {
            Ok(now) => Ok(now.endorsement_key() == chip.endorsement_key()
                && now.storage_key().name() == chip.storage_key().name()),
            Err(ChipRefusal::NoChip(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Revokes a person's chip: nothing is wrapped to it any more, and it is not admitted again, for whomever.
    ///
    /// # Errors
    /// [`ChipRefusal::NoChip`]; the folder's. The chip is then admitted as before, or revoked.
    pub fn revoke_chip(&mut self, operator: &OperatorId, now_ms: u64) -> Result<AdmittedChip, ChipRefusal> {
        let decision = chip_decision(Some(operator), "revoked");
        self.acting_on_record(decision, now_ms, |authority| authority.revoke(operator))
    }

    fn revoke(&self, operator: &OperatorId) -> Result<AdmittedChip, ChipRefusal> {
        let chip = self.chip(operator)?;
        let name = chip.endorsement_key().to_hex();
        self.folder.put(REVOKED, &name, operator.as_str().as_bytes())?;
        self.folder.remove(ADMITTED, operator.as_str())?;
        Ok(chip)
    }

    /// An old request would bring a chip back that was replaced since, whoever has it now.
    fn refuse_old(
        &self,
        operator: &OperatorId,
        presented_at_ms: u64,
        now_ms: u64,
    ) -> Result<(), ChipRefusal> {
        if let Some(ahead_ms) = presented_at_ms
            .checked_sub(now_ms)
            .filter(|ahead| *ahead > MAX_AHEAD_MS)
        {
            return Err(ChipRefusal::FutureRequest { ahead_ms });
        }
        let Some(newest) = self.folder.get(PRESENTED, operator.as_str())? else {
            return Ok(());
        };
        // A record that does not read lets no request pass as newer.
        let newest_ms = newest.try_into().map_or(u64::MAX, u64::from_be_bytes);
        if presented_at_ms > newest_ms {
            return Ok(());
        }
        Err(ChipRefusal::OldRequest {
            presented_at_ms,
            newest_ms,
        })
    }

    /// A chip has an endorsement key of each kind, with a certificate of its own, and nothing in them says that they are of one
    /// chip: of all kinds one counts.
    fn refuse_other_kinds(&self, endorsement_key: &Public) -> Result<(), ChipRefusal> {
        let needed = self.config.curve;
        match endorsement_key.ec_point() {
            Some((curve, _, _)) if curve == needed => Ok(()),
            _ => Err(ChipRefusal::EndorsementKind {
                needed: CurveName(needed),
            }),
        }
    }

    /// A chip that was revoked is nobody's any more; one of another person or of a robot is theirs.
    fn refuse_taken(
        &self,
        operator: &OperatorId,
        endorsement_key: &Public,
        storage_key: &Public,
    ) -> Result<(), ChipRefusal> {
        // Whichever Name the chip's key is shown under: what vouches for it is of the key alone.
        let mut keys = EkTemplate::names_of_key(endorsement_key);
        keys.push(endorsement_key.name());
        for key in &keys {
            if self.folder.get(REVOKED, &key.to_hex())?.is_some() {
                return Err(ChipRefusal::Revoked);
            }
        }
        keys.push(storage_key.name());
        for chip in self.chips()? {
            let shown = [chip.endorsement_key(), chip.storage_key().name()];
            if chip.operator() != operator && shown.iter().any(|key| keys.contains(key)) {
                let holder = chip.operator().to_string();
                return Err(ChipRefusal::Taken { holder });
            }
        }
        for robot in robots::names(&self.folder)? {
            let id = RobotId::new(robot.as_str()).map_err(ChipRefusal::Name)?;
            let enrolment = self.enrolment(&id).map_err(Box::new)?;
            if keys.contains(&enrolment.record().endorsement_key) {
                return Err(ChipRefusal::Taken { holder: robot });
            }
        }
        Ok(())
    }
}

fn chip_decision(operator: Option<&OperatorId>, what: &str) -> Decision {
    let subject = operator.map_or_else(
        || format!("a chip {what}"),
        |operator| format!("chip of {operator} {what}"),
    );
    Decision::about(EntryKind::Configuration, None, subject)
}

impl Challenged {
    fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::structure(CHALLENGE_DOMAIN, VERSION, 5);
        out.u64(2)
            .bytes(self.session.as_bytes())
            .u64(3)
            .digest(&self.proof);
        out.u64(4)
            .u64(self.challenged_at_ms)
            .u64(5)
            .bytes(&self.chip.to_canonical())
            .u64(6)
            .u64(self.presented_at_ms);
        out.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(CHALLENGE_DOMAIN, bytes);
        let r = &mut reader;
        let mut fields = r.structure(CHALLENGE_DOMAIN, VERSION)?;
        fields.key(r, 2, "session")?;
        let session = SessionId::new(*r.bytes_of("session")?);
        fields.key(r, 3, "proof")?;
        let proof = r.digest("proof")?;
        fields.key(r, 4, "challenged_at_ms")?;
        let challenged_at_ms = r.u64("challenged_at_ms")?;
        fields.key(r, 5, "chip")?;
        let chip = ChipAdmission::from_canonical(r.bytes("chip")?)?;
        fields.key(r, 6, "presented_at_ms")?;
        let presented_at_ms = r.u64("presented_at_ms")?;
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            session,
            proof,
            challenged_at_ms,
            presented_at_ms,
            chip,
        })
    }
}
