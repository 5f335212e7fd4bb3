//! Admitting a person's chip: the authority finds out that a storage key is in a TPM that a vendor vouches for, and says so in
//! a statement that others check offline.
//!
//! ```text
//! person                                             authority
//!   ChipRequest    EK, its certificate, storage key,  ->  whose it is; what vouches for the EK
//!                  signed with the person's key
//!                                 <- ChipChallenge   a credential of this EK for this storage key; signed
//!   ChipAnswer     proof of the secret                ->  the two are in one TPM
//!                                 <- ChipAdmission   what was found; signed
//! ```
//!
//! TPM2_ActivateCredential gives the secret only in the TPM of the EK, and only where the object with the storage key's
//! Name is loaded with its private part. The Name covers the attributes: restricted, decrypting, and for ever in this TPM.
//!
//! Whoever wraps something to a person's chip asks for an [`AdmittedChip`]: a commander's key, a share of a recovery set, a
//! duplicate for a recovery TPM.

use alcub3_command_authority::cose::{CoseError, Message as Cose, SignError, Unsigned};
use alcub3_crypto::tpm::{Name, Public, make_credential};
use alcub3_crypto::{
    CryptoError, Digest, Entropy, EntropyError, HashAlg, MacKey, Secret, SigningKey, Suite, VerifyingKey,
};
use alcub3_trust_model::canonical::{DecodeError, Encoder};
use alcub3_trust_model::{HardwareTier, OperatorId, SessionId, domain};

use crate::enrolment::{Credential, KeyFault, endorsement_key, storage_root};
use crate::wire::{self, Message};

const VERSION: u64 = 1;
const REQUEST_VERSION: u64 = 2;
const SECRET_BYTES: usize = 32;
const MAX_CREDENTIAL: usize = 1024;

/// Why a chip is not admitted, or an admission not believed.
#[derive(Debug, thiserror::Error)]
pub enum ChipError {
    /// A message is not the one form allowed.
    #[error("chip message refused: {0}")]
    Message(#[from] DecodeError),
    /// A signed message is malformed, of another key, or not authentic.
    #[error("chip message refused: {0}")]
    Cose(#[from] CoseError),
    /// A key does not have the attributes or the form it must have.
    #[error("the {key} key: {fault}")]
    Key {
        /// Which key.
        key: &'static str,
        /// What is wrong with it.
        fault: KeyFault,
    },
    /// The challenge answers another request.
    #[error("the challenge answers another request: present the chip again")]
    OtherRequest,
    /// Cryptography refused.
    #[error("chip: {0}")]
    Crypto(#[from] CryptoError),
    /// Signing failed.
    #[error("chip: {0}")]
    Sign(#[from] SignError),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

/// A person presents a chip.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChipRequest {
    /// Whose chip it is.
    pub operator: OperatorId,
    /// Its endorsement key.
    pub endorsement_key: Public,
    /// The endorsement certificate, in DER, padding removed.
    pub endorsement_certificate: Vec<u8>,
    /// Certificates between that and the vendor's root, in DER, leaf side first.
    pub certificate_chain: Vec<Vec<u8>>,
    /// Its storage key.
    pub storage_key: Public,
    /// When the person presents it, UTC in milliseconds since 1970: a request that is older than the one that was taken last
    /// brings no chip back.
    pub presented_at_ms: u64,
}

impl ChipRequest {
    /// The request, ready to be signed by the person.
    pub fn unsigned(&self, suite: Suite) -> Unsigned {
        let mut out = Encoder::structure(domain::CHIP_REQUEST, REQUEST_VERSION, 6);
        out.u64(2).text(self.operator.as_str());
        wire::put_public(out.u64(3), &self.endorsement_key);
        wire::put_certificates(
            &mut out,
            4,
            &self.endorsement_certificate,
            &self.certificate_chain,
        );
        wire::put_public(out.u64(6), &self.storage_key);
        out.u64(7).u64(self.presented_at_ms);
        Unsigned::new(suite, out.finish())
    }

    /// What a signed request says. It is nobody's word until [`Self::verify`] passed.
    ///
    /// # Errors
    /// [`ChipError`] where it is not the one form allowed.
    pub fn parse(bytes: &[u8]) -> Result<Self, ChipError> {
        let message = Cose::parse(domain::CHIP_REQUEST, bytes)?;
        let mut m = Message::open(domain::CHIP_REQUEST, REQUEST_VERSION, message.payload())?;
        let operator = wire::operator(m.at(2, "operator")?, "operator")?;
        let endorsement_key = wire::public(m.at(3, "endorsement_key")?, "endorsement_key")?;
        let (endorsement_certificate, certificate_chain) = wire::certificates(&mut m, 4)?;
        let request = Self {
            operator,
            endorsement_key,
            endorsement_certificate,
            certificate_chain,
            storage_key: wire::public(m.at(6, "storage_key")?, "storage_key")?,
            presented_at_ms: m.at(7, "presented_at_ms")?.u64("presented_at_ms")?,
        };
        m.finish()?;
        Ok(request)
    }

    /// The request, if the person's key signed it and its keys are as they must be. The certificate is still to be judged.
    ///
    /// # Errors
    /// [`ChipError`].
    pub fn verify(bytes: &[u8], person: &VerifyingKey) -> Result<Self, ChipError> {
        Cose::parse(domain::CHIP_REQUEST, bytes)?.verify(person)?;
        let request = Self::parse(bytes)?;
        check_keys(&request.endorsement_key, &request.storage_key)?;
        Ok(request)
    }
}

/// The authority's challenge, signed by it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChipChallenge {
    /// The exchange.
    pub session: SessionId,
    /// The SHA-256 of the signed request that it answers.
    pub request: Digest,
    /// The credential of the endorsement key for the storage key.
    pub credential: Credential,
}

impl ChipChallenge {
    /// Challenges the chip of a verified request. Gives the SHA-256 of the one right proof as well: who keeps that can check
    /// an answer, and not give one.
    ///
    /// # Errors
    /// [`ChipError`] where the credential cannot be made.
    pub fn create(
        request: &ChipRequest,
        signed_request: &[u8],
        entropy: &mut dyn Entropy,
    ) -> Result<(Self, Digest), ChipError> {
        let (mut session, mut secret) = ([0; 16], Secret::zeroed(SECRET_BYTES));
        entropy.fill(&mut session)?;
        entropy.fill(secret.expose_mut())?;
        let name = request.storage_key.name();
        let made = make_credential(&request.endorsement_key, &name, secret.expose(), entropy)?;
        let challenge = Self {
            session: SessionId::new(session),
            request: HashAlg::Sha256.digest(&[signed_request]),
            credential: Credential {
                id_object: made.id_object,
                encrypted_secret: made.encrypted_secret,
            },
        };
        let proof = HashAlg::Sha256.digest(&[&challenge.answer(&secret).proof]);
        Ok((challenge, proof))
    }

    /// The challenge, ready to be signed by the authority.
    pub fn unsigned(&self, suite: Suite) -> Unsigned {
        let mut out = Encoder::structure(domain::CHIP_CHALLENGE, VERSION, 4);
        out.u64(2)
            .bytes(self.session.as_bytes())
            .u64(3)
            .digest(&self.request);
        out.u64(4)
            .bytes(&self.credential.id_object)
            .u64(5)
            .bytes(&self.credential.encrypted_secret);
        Unsigned::new(suite, out.finish())
    }

    /// The challenge, if the authority signed it in answer to this signed request.
    ///
    /// # Errors
    /// [`ChipError`].
    pub fn verify(bytes: &[u8], authority: &VerifyingKey, signed_request: &[u8]) -> Result<Self, ChipError> {
        let message = Cose::parse(domain::CHIP_CHALLENGE, bytes)?;
        message.verify(authority)?;
        let challenge = Self::decode(message.payload())?;
        if challenge.request == HashAlg::Sha256.digest(&[signed_request]) {
            Ok(challenge)
        } else {
            Err(ChipError::OtherRequest)
        }
    }

    fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut m = Message::open(domain::CHIP_CHALLENGE, VERSION, payload)?;
        let challenge = Self {
            session: wire::session(m.at(2, "session")?)?,
            request: m.at(3, "request")?.digest("request")?,
            credential: Credential {
                id_object: wire::bounded(m.at(4, "id_object")?, "id_object", MAX_CREDENTIAL)?,
                encrypted_secret: wire::bounded(
                    m.at(5, "encrypted_secret")?,
                    "encrypted_secret",
                    MAX_CREDENTIAL,
                )?,
            },
        };
        m.finish()?;
        Ok(challenge)
    }

    /// The answer, with the secret that the chip recovered.
    pub fn answer(&self, secret: &Secret) -> ChipAnswer {
        let parts: [&[u8]; 3] = [
            domain::CHIP_ANSWER.as_bytes(),
            self.session.as_bytes(),
            self.request.as_bytes(),
        ];
        let tag = MacKey::new(HashAlg::Sha256, secret.expose()).tag(&parts);
        ChipAnswer {
            session: self.session,
            proof: tag.as_bytes().to_vec(),
        }
    }
}

/// The answer to the challenge.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChipAnswer {
    /// The exchange.
    pub session: SessionId,
    /// HMAC-SHA-256, with the recovered secret, over domain, exchange and the request's digest.
    pub proof: Vec<u8>,
}

impl ChipAnswer {
    /// The message.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::CHIP_ANSWER, VERSION, 2);
        out.u64(2)
            .bytes(self.session.as_bytes())
            .u64(3)
            .bytes(&self.proof);
        out.finish()
    }

    /// The message of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what is wrong.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut m = Message::open(domain::CHIP_ANSWER, VERSION, bytes)?;
        let answer = Self {
            session: wire::session(m.at(2, "session")?)?,
            proof: wire::bounded(m.at(3, "proof")?, "proof", HashAlg::Sha256.size())?,
        };
        m.finish()?;
        Ok(answer)
    }
}

/// What the authority found out of a person's chip.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChipAdmission {
    /// Whose it is.
    pub operator: OperatorId,
    /// Its endorsement key.
    pub endorsement_key: Public,
    /// The SHA-256 of the endorsement certificate that the authority validated.
    pub endorsement_certificate: Digest,
    /// The kind of TPM that the certificate vouches for.
    pub tier: HardwareTier,
    /// Its storage key, proven to be in the TPM of that endorsement key.
    pub storage_key: Public,
    /// When, UTC in milliseconds since 1970.
    pub admitted_at_ms: u64,
}

impl ChipAdmission {
    /// The statement before it is signed. It is nobody's word.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::CHIP_ADMISSION, VERSION, 6);
        out.u64(2).text(self.operator.as_str());
        wire::put_public(out.u64(3), &self.endorsement_key);
        out.u64(4)
            .digest(&self.endorsement_certificate)
            .u64(5)
            .u64(self.tier.id().into());
        wire::put_public(out.u64(6), &self.storage_key);
        out.u64(7).u64(self.admitted_at_ms);
        out.finish()
    }

    /// The statement of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what is wrong.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut m = Message::open(domain::CHIP_ADMISSION, VERSION, bytes)?;
        let admission = Self {
            operator: wire::operator(m.at(2, "operator")?, "operator")?,
            endorsement_key: wire::public(m.at(3, "endorsement_key")?, "endorsement_key")?,
            endorsement_certificate: m
                .at(4, "endorsement_certificate")?
                .digest("endorsement_certificate")?,
            tier: m.at(5, "tier")?.id_of("tier", HardwareTier::from_id)?,
            storage_key: wire::public(m.at(6, "storage_key")?, "storage_key")?,
            admitted_at_ms: m.at(7, "admitted_at_ms")?.u64("admitted_at_ms")?,
        };
        m.finish()?;
        Ok(admission)
    }

    /// What a signed admission says. It is nobody's word until [`AdmittedChip::verify`] passed.
    ///
    /// # Errors
    /// [`ChipError`] where it is not the one form allowed.
    pub fn unverified(bytes: &[u8]) -> Result<Self, ChipError> {
        let message = Cose::parse(domain::CHIP_ADMISSION, bytes)?;
        Ok(Self::from_canonical(message.payload())?)
    }

    /// The statement, signed by the authority.
    ///
    /// # Errors
    /// Where the key's provider fails.
    pub fn sign(&self, authority: &SigningKey) -> Result<Vec<u8>, SignError> {
        Unsigned::new(authority.suite(), self.to_canonical()).sign(authority)
    }
}

/// A person's chip, by an admission that the authority signed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AdmittedChip {
    admission: ChipAdmission,
    bytes: Vec<u8>,
}

impl AdmittedChip {
    /// Verifies an admission.
    ///
    /// # Errors
    /// [`ChipError`] says why it is none of this authority.
    pub fn verify(bytes: &[u8], authority: &VerifyingKey) -> Result<Self, ChipError> {
        Cose::parse(domain::CHIP_ADMISSION, bytes)?.verify(authority)?;
        let admission = ChipAdmission::unverified(bytes)?;
        check_keys(&admission.endorsement_key, &admission.storage_key)?;
        Ok(Self {
            admission,
            bytes: bytes.to_vec(),
        })
    }

    /// Whose it is.
    pub const fn operator(&self) -> &OperatorId {
        &self.admission.operator
    }

    /// The Name of its endorsement key: which chip it is.
    pub fn endorsement_key(&self) -> Name {
        self.admission.endorsement_key.name()
    }

    /// The kind of TPM.
    pub const fn tier(&self) -> HardwareTier {
        self.admission.tier
    }

    /// Its storage key, which things are wrapped to.
    pub const fn storage_key(&self) -> &Public {
        &self.admission.storage_key
    }

    /// All that the admission says.
    pub const fn admission(&self) -> &ChipAdmission {
        &self.admission
    }

    /// The signed admission, to be stored or shown to others.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether two admissions are of one chip.
    pub fn is_the_chip_of(&self, other: &Self) -> bool {
        self.endorsement_key() == other.endorsement_key()
            || self.storage_key().name() == other.storage_key().name()
    }

    /// Whether two admissions have endorsement keys of one kind. A chip has one key of each kind that it offers, so that only
    /// keys of one kind tell chips apart.
    pub fn is_comparable_with(&self, other: &Self) -> bool {
        let (own, others) = (&self.admission, &other.admission);
        own.endorsement_key.is_of_one_template(&others.endorsement_key)
    }
}

fn check_keys(endorsement: &Public, storage: &Public) -> Result<(), ChipError> {
    let named = |key, fault| ChipError::Key { key, fault };
    endorsement_key(endorsement).map_err(|fault| named("endorsement", fault))?;
    storage_root(storage).map_err(|fault| named("storage", fault))?;
    Ok(())
}
