//! The chips of those who command with shared keys: each is admitted when its storage key is proven to be in a TPM that a
//! root of this authority vouches for, as a robot's keys are.

use alcub3_command_authority::Role;
use alcub3_crypto::tpm::{Name, Public};
use alcub3_crypto::{Digest, HashAlg, constant_time_eq};
use alcub3_fleet_protocol::commander::{
    CommanderAnswer, CommanderChallenge, CommanderError, CommanderRequest,
};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::{HardwareTier, OperatorId, SessionId};

use crate::authority::Authority;
use crate::endorsement::{self, EndorsementError, RootsError};
use crate::exchanges::EXCHANGE_MS;
use crate::store::StoreError;

const ADMITTED: &str = "commanders";
const CHALLENGED: &str = "commander-challenges";
const CHIP_DOMAIN: &str = "alcub3/authority-commander/v1";
const CHALLENGE_DOMAIN: &str = "alcub3/authority-commander-challenge/v1";
const VERSION: u64 = 1;

/// A commander's chip, as it was proven.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CommanderChip {
    /// Whose it is.
    pub operator: OperatorId,
    /// Its endorsement key.
    pub endorsement_key: Name,
    /// The SHA-256 of the endorsement certificate.
    pub endorsement_certificate: Digest,
    /// Its storage key, which shared keys are wrapped to.
    pub storage_key: Public,
    /// The kind of TPM that the certificate vouches for.
    pub tier: HardwareTier,
    /// When it was challenged, UTC in milliseconds.
    pub challenged_at_ms: u64,
}

/// Why a commander's chip was not admitted.
#[derive(Debug, thiserror::Error)]
pub enum CommanderRefusal {
    /// The messages.
    #[error(transparent)]
    Protocol(#[from] CommanderError),
    /// The answer does not read.
    #[error("commander message refused: {0}")]
    Message(#[source] DecodeError),
    /// The person is not registered.
    #[error("{0} is no registered operator; register them with `alcub3 authority operator add`")]
    Unknown(OperatorId),
    /// An approver gives no commands.
    #[error("{0} is an approver, and approvers give no commands; present the chip of an operator")]
    Approver(OperatorId),
    /// The endorsement certificate.
    #[error(transparent)]
    Endorsement(#[from] EndorsementError),
    /// The roots.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// Simulators are not admitted.
    #[error("the chip is a simulator, and this authority admits none; present a real TPM")]
    Simulator,
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
    #[error("no chip of {0} was admitted; see `alcub3 commander present --help`")]
    NoChip(OperatorId),
    /// A record does not read.
    #[error("the record of a commander's chip: {0}; restore the state folder from a backup")]
    Record(#[source] DecodeError),
    /// The state folder.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A challenge that waits for its answer. Whoever reads it cannot answer: it has the right proof's digest alone.
struct Challenged {
    session: SessionId,
    proof: Digest,
    chip: CommanderChip,
}

impl Authority {
    /// Takes a person's request to admit a chip, judges the chip's endorsement certificate, and gives the challenge. An
    /// earlier one for the same person counts no more.
    ///
    /// # Errors
    /// [`CommanderRefusal`] says what is not as it must be.
    pub fn challenge_commander(&mut self, request: &[u8], now_ms: u64) -> Result<Vec<u8>, CommanderRefusal> {
        let operator = CommanderRequest::parse(request)?.operator;
        let known = self.operators.get(&operator);
        let known = known.ok_or_else(|| CommanderRefusal::Unknown(operator.clone()))?;
        if known.role == Role::Approver {
            return Err(CommanderRefusal::Approver(operator));
        }
        let verified = CommanderRequest::verify(request, &known.key)?;
        let roots = endorsement::read_roots(self.path())?;
        let endorsement = endorsement::judge(
            &verified.endorsement_key,
            (&verified.endorsement_certificate, &verified.certificate_chain),
            &roots,
            now_ms,
        )?;
        if endorsement.tier == HardwareTier::Simulator && !self.config.admit_simulators {
            return Err(CommanderRefusal::Simulator);
        }
        let mut entropy = self.entropy;
        let (challenge, proof) = CommanderChallenge::create(&verified, request, &mut entropy)?;
        let waiting = Challenged {
            session: challenge.session,
            proof,
            chip: CommanderChip {
                operator: operator.clone(),
                endorsement_key: verified.endorsement_key.name(),
                endorsement_certificate: endorsement.certificate,
                storage_key: verified.storage_key,
                tier: endorsement.tier,
                challenged_at_ms: now_ms,
            },
        };
        let signed = challenge.unsigned(self.signing().suite()).sign(self.signing());
        let signed = signed.map_err(CommanderError::from)?;
        self.folder
            .put(CHALLENGED, operator.as_str(), &waiting.encode())?;
        Ok(signed)
    }

    /// Takes the answer, and admits the chip in the place of any earlier one of the same person.
    ///
    /// # Errors
    /// [`CommanderRefusal`]; the challenge counts no more, whatever was wrong.
    pub fn admit_commander(&mut self, answer: &[u8], now_ms: u64) -> Result<CommanderChip, CommanderRefusal> {
        let answer = CommanderAnswer::from_canonical(answer).map_err(CommanderRefusal::Message)?;
        let Challenged { proof, chip, .. } = self.waiting(answer.session)?;
        self.folder.remove(CHALLENGED, chip.operator.as_str())?;
        let expires_ms = chip.challenged_at_ms.saturating_add(EXCHANGE_MS);
        if let Some(late_ms) = now_ms.checked_sub(expires_ms) {
            return Err(CommanderRefusal::Expired { late_ms });
        }
        let given = HashAlg::Sha256.digest(&[&answer.proof]);
        if !constant_time_eq(given.as_bytes(), proof.as_bytes()) {
            return Err(CommanderRefusal::Proof);
        }
        let name = chip.operator.as_str();
        self.folder.put(ADMITTED, name, &chip.encode())?;
        Ok(chip)
    }

    fn waiting(&self, session: SessionId) -> Result<Challenged, CommanderRefusal> {
        for operator in self.folder.keys(CHALLENGED)? {
            let Some(record) = self.folder.get(CHALLENGED, &operator)? else {
                continue;
            };
            let waiting = Challenged::decode(&record).map_err(CommanderRefusal::Record)?;
            if waiting.session == session {
                return Ok(waiting);
            }
        }
        Err(CommanderRefusal::NotWaiting)
    }

    /// The chip that was admitted for a person.
    ///
    /// # Errors
    /// [`CommanderRefusal::NoChip`], or where its record does not read.
    pub fn commander(&self, operator: &OperatorId) -> Result<CommanderChip, CommanderRefusal> {
        let record = self.folder.get(ADMITTED, operator.as_str())?;
        let record = record.ok_or_else(|| CommanderRefusal::NoChip(operator.clone()))?;
        CommanderChip::decode(&record).map_err(CommanderRefusal::Record)
    }
}

impl CommanderChip {
    fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::structure(CHIP_DOMAIN, VERSION, 6);
        out.u64(2)
            .text(self.operator.as_str())
            .u64(3)
            .bytes(self.endorsement_key.as_bytes());
        out.u64(4)
            .digest(&self.endorsement_certificate)
            .u64(5)
            .bytes(self.storage_key.as_tpmt_bytes());
        out.u64(6)
            .u64(self.tier.id().into())
            .u64(7)
            .u64(self.challenged_at_ms);
        out.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(CHIP_DOMAIN, bytes);
        let r = &mut reader;
        let mut fields = r.structure(CHIP_DOMAIN, VERSION)?;
        fields.key(r, 2, "operator")?;
        let operator = r.text("operator")?;
        let operator = OperatorId::new(operator).map_err(|_| r.fault("operator", Fault::Value))?;
        fields.key(r, 3, "endorsement_key")?;
        let name = r.bytes("endorsement_key")?;
        let endorsement_key = Name::from_bytes(name).map_err(|_| r.fault("endorsement_key", Fault::Value))?;
        fields.key(r, 4, "endorsement_certificate")?;
        let endorsement_certificate = r.digest("endorsement_certificate")?;
        fields.key(r, 5, "storage_key")?;
        let public = r.bytes("storage_key")?;
        let storage_key = Public::from_tpmt(public).map_err(|_| r.fault("storage_key", Fault::Value))?;
        fields.key(r, 6, "tier")?;
        let tier = r.id_of("tier", HardwareTier::from_id)?;
        fields.key(r, 7, "challenged_at_ms")?;
        let challenged_at_ms = r.u64("challenged_at_ms")?;
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            operator,
            endorsement_key,
            endorsement_certificate,
            storage_key,
            tier,
            challenged_at_ms,
        })
    }
}

impl Challenged {
    fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::structure(CHALLENGE_DOMAIN, VERSION, 3);
        out.u64(2)
            .bytes(self.session.as_bytes())
            .u64(3)
            .digest(&self.proof);
        out.u64(4).bytes(&self.chip.encode());
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
        fields.key(r, 4, "chip")?;
        let chip = CommanderChip::decode(r.bytes("chip")?)?;
        fields.finish(r)?;
        r.finish()?;
        Ok(Self { session, proof, chip })
    }
}
