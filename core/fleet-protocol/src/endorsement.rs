//! On what the authority believes that an endorsement key is a TPM's: a certificate, or an operator's pin where the chip has
//! none.

use alcub3_command_authority::cose::{CoseError, Message as Cose, Unsigned};
use alcub3_crypto::{Digest, HashAlg, Suite, VerifyingKey};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::{HardwareTier, RobotId, domain};

use crate::wire::{self, Message};

const VERSION: u64 = 1;

/// What vouched for an endorsement key. It is part of the signed enrolment record.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum EndorsementBasis {
    /// The certificate of this SHA-256, over the bytes that the robot sent: it chains to a root, and each issuer on the way has
    /// a current revocation list that does not name it.
    Certificate(Digest),
    /// The same, but of some issuer no revocation list was known.
    CertificateUnlisted(Digest),
    /// No certificate: an operator pinned the key of this digest ([`pin_digest`]).
    PinnedKey(Digest),
}

impl EndorsementBasis {
    /// The word for programs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Certificate(_) => "certificate",
            Self::CertificateUnlisted(_) => "certificate-revocation-unknown",
            Self::PinnedKey(_) => "pinned-key",
        }
    }

    /// The digest of the certificate or of the pinned key.
    pub const fn digest(&self) -> &Digest {
        match self {
            Self::Certificate(digest) | Self::CertificateUnlisted(digest) | Self::PinnedKey(digest) => digest,
        }
    }

    /// Whether a kind of TPM can rest on it: only a certificate vouches for a separate chip.
    pub fn supports(&self, tier: HardwareTier) -> bool {
        match self {
            Self::Certificate(_) | Self::CertificateUnlisted(_) => true,
            Self::PinnedKey(_) => may_be_pinned(tier),
        }
    }

    const fn id(self) -> u64 {
        match self {
            Self::Certificate(_) => 1,
            Self::CertificateUnlisted(_) => 2,
            Self::PinnedKey(_) => 3,
        }
    }

    pub(crate) fn put(&self, out: &mut Encoder) {
        out.array(2).u64(self.id()).digest(self.digest());
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const FIELD: &str = "endorsement";
        r.array_of(FIELD, 2)?;
        let kind = r.u64(FIELD)?;
        let digest = r.digest(FIELD)?;
        match kind {
            1 => Ok(Self::Certificate(digest)),
            2 => Ok(Self::CertificateUnlisted(digest)),
            3 => Ok(Self::PinnedKey(digest)),
            _ => Err(r.fault(FIELD, Fault::Value)),
        }
    }
}

/// Whether a pin may state this kind of TPM.
fn may_be_pinned(tier: HardwareTier) -> bool {
    (HardwareTier::Simulator..=HardwareTier::Firmware).contains(&tier)
}

/// What is pinned of an endorsement key: the SHA-256 of its SubjectPublicKeyInfo in DER, as
/// `openssl pkey -pubin -in ek.pem -outform der | sha256sum` prints it.
pub fn pin_digest(key: &VerifyingKey) -> Digest {
    HashAlg::Sha256.digest(&[&key.to_spki_der()])
}

/// An operator's word, signed by the authority, that an endorsement key without a certificate is this robot's TPM's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EndorsementPin {
    /// The robot that may enrol with it.
    pub robot: RobotId,
    /// The key's [`pin_digest`].
    pub key: Digest,
    /// The kind of TPM that the operator states: a firmware TPM at most.
    pub tier: HardwareTier,
    /// When, UTC in milliseconds since 1970.
    pub pinned_at_ms: u64,
}

/// Why a pin counts for nothing.
#[derive(Clone, Debug, thiserror::Error, Eq, PartialEq)]
pub enum PinError {
    /// The record is malformed, of another key, or not authentic.
    #[error("endorsement pin refused: {0}")]
    Cose(#[from] CoseError),
    /// The payload is not the one form allowed.
    #[error("endorsement pin refused: {0}")]
    Payload(#[from] DecodeError),
    /// It states more than a pin can.
    #[error(
        "a pinned endorsement key counts as simulator, virtual or firmware, never as {0}: that takes a certificate"
    )]
    Tier(HardwareTier),
}

impl EndorsementPin {
    /// The pin, ready to be signed by the authority.
    ///
    /// # Errors
    /// [`PinError::Tier`].
    pub fn unsigned(&self, suite: Suite) -> Result<Unsigned, PinError> {
        if !may_be_pinned(self.tier) {
            return Err(PinError::Tier(self.tier));
        }
        let mut out = Encoder::structure(domain::ENDORSEMENT_PIN, VERSION, 4);
        out.u64(2).text(self.robot.as_str());
        out.u64(3).digest(&self.key).u64(4).u64(self.tier.id().into());
        out.u64(5).u64(self.pinned_at_ms);
        Ok(Unsigned::new(suite, out.finish()))
    }

    /// The pin, if the authority signed it.
    ///
    /// # Errors
    /// [`PinError`] says why it is none of this authority.
    pub fn verify(bytes: &[u8], authority: &VerifyingKey) -> Result<Self, PinError> {
        let message = Cose::parse(domain::ENDORSEMENT_PIN, bytes)?;
        message.verify(authority)?;
        let mut m = Message::open(domain::ENDORSEMENT_PIN, VERSION, message.payload())?;
        let pin = Self {
            robot: wire::robot(m.at(2, "robot")?)?,
            key: m.at(3, "key")?.digest("key")?,
            tier: m.at(4, "tier")?.id_of("tier", HardwareTier::from_id)?,
            pinned_at_ms: m.at(5, "pinned_at_ms")?.u64("pinned_at_ms")?,
        };
        m.finish()?;
        match may_be_pinned(pin.tier) {
            true => Ok(pin),
            false => Err(PinError::Tier(pin.tier)),
        }
    }
}
