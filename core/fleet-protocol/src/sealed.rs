//! Secrets that only one enrolled chip opens: sealed to what its TPM2_ActivateCredential gives, with the storage root, which
//! opens without any authorisation, for the attestation key.

use alcub3_attestation::certify::{CertifyError, Signed, verify_certify};
use alcub3_crypto::tpm::{Name, Public, make_credential};
use alcub3_crypto::{AeadKey, CryptoError, Digest, Entropy, EntropyError, Secret};
use alcub3_trust_model::canonical::{DecodeError, Encoder};
use alcub3_trust_model::{RobotId, SessionId};

use crate::VerifiedEnrolment;
use crate::enrolment::{Credential, KeyFault, storage_root};
use crate::wire::{self, Message};

const SECRET_BYTES: usize = 32;
/// The key is new each time and seals once, so that its nonce need not change.
const NONCE: [u8; 12] = [0; 12];
const MAX_CREDENTIAL: usize = 1024;
/// The longest sealed secret, in bytes.
pub(crate) const MAX_SEALED: usize = 2048;

/// Why a storage root is not the enrolled chip's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RootError {
    #[error("the storage root: {0}")]
    Key(#[from] KeyFault),
    #[error("the storage root's certification: {0}")]
    Certification(#[from] CertifyError),
    #[error("the certification is of another key than the storage root")]
    OtherKey,
}

/// Why nothing was sealed or opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealError {
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

/// The storage root of an enrolled chip, which its attestation key certified in one exchange. Only [`Self::verify`] makes one.
#[derive(Clone, Debug)]
pub(crate) struct ProvenRoot {
    storage_root: Public,
    attestation_key: Name,
}

/// A secret for one chip.
pub(crate) struct Sealed {
    pub(crate) credential: Credential,
    pub(crate) content: Vec<u8>,
}

impl ProvenRoot {
    /// Checks TPM2_Certify of the storage root by the enrolled attestation key, made with `binding`.
    pub(crate) fn verify(
        root: Public,
        certification: &Signed,
        enrolment: &VerifiedEnrolment,
        binding: &Digest,
    ) -> Result<Self, RootError> {
        storage_root(&root)?;
        let certified = verify_certify(enrolment.attestation_key(), certification, binding.as_bytes())?;
        if certified.name != root.name() {
            return Err(RootError::OtherKey);
        }
        Ok(Self {
            storage_root: root,
            attestation_key: enrolment.record().attestation_key.name(),
        })
    }

    /// Seals a secret to this chip.
    pub(crate) fn seal(
        &self,
        content: &Secret,
        context: &[u8],
        entropy: &mut dyn Entropy,
    ) -> Result<Sealed, SealError> {
        let mut secret = Secret::zeroed(SECRET_BYTES);
        entropy.fill(secret.expose_mut())?;
        let (root, name) = (&self.storage_root, &self.attestation_key);
        let credential = make_credential(root, name, secret.expose(), entropy)?;
        Ok(Sealed {
            credential: Credential {
                id_object: credential.id_object,
                encrypted_secret: credential.encrypted_secret,
            },
            content: AeadKey::new(&secret)?.seal(&NONCE, context, content.expose())?,
        })
    }
}

/// Opens what was sealed, with the secret that the chip recovered.
pub(crate) fn open(secret: &Secret, context: &[u8], content: &[u8]) -> Result<Secret, CryptoError> {
    AeadKey::new(secret)?.open(&NONCE, context, content)
}

/// What a sealed secret is bound to: the message that carries it, its exchange and its robot.
pub(crate) fn context(domain: &str, session: SessionId, robot: &RobotId) -> Vec<u8> {
    [domain.as_bytes(), session.as_bytes(), robot.as_str().as_bytes()].concat()
}

/// A credential: two fields that follow each other.
pub(crate) fn put_credential(out: &mut Encoder, first_key: u64, credential: &Credential) {
    out.u64(first_key).bytes(&credential.id_object);
    out.u64(first_key + 1).bytes(&credential.encrypted_secret);
}

/// What [`put_credential`] wrote.
pub(crate) fn credential(m: &mut Message<'_>, first_key: u64) -> Result<Credential, DecodeError> {
    let (object, secret) = ("id_object", "encrypted_secret");
    Ok(Credential {
        id_object: wire::bounded(m.at(first_key, object)?, object, MAX_CREDENTIAL)?,
        encrypted_secret: wire::bounded(m.at(first_key + 1, secret)?, secret, MAX_CREDENTIAL)?,
    })
}
