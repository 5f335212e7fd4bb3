//! OpenDiceInput (Open Profile for DICE, *Custom Extension Format*), the X.509 form of a layer's inputs.

use super::measurement::{MeasurementError, exact};
use alcub3_crypto::{Digest, HashAlg};
use der::asn1::OctetString;
use der::{Any, Sequence, Tag, Tagged};

/// A layer's inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenProfileInput {
    /// Digest of the code.
    pub code: Digest,
    /// The configuration: 64 bytes as they are, or what was hashed.
    pub configuration: Vec<u8>,
    /// Digest of the authority over the code: who signed it.
    pub authority: Digest,
    /// The mode.
    pub mode: Mode,
    /// Name of the profile that the certificate follows.
    pub profile: Option<String>,
}

/// Modes, as the profile numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A security mechanism is not configured; any number that the profile does not define counts as this.
    NotConfigured,
    /// Secure operation.
    Normal,
    /// Not secure: debug.
    Debug,
    /// Recovery or maintenance.
    Recovery,
}

impl Mode {
    /// The name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotConfigured => "not configured",
            Self::Normal => "normal",
            Self::Debug => "debug",
            Self::Recovery => "recovery",
        }
    }

    /// The profile's text makes it an INTEGER, its reference code an ENUMERATED: both are met.
    fn read(mode: &Any) -> Result<Self, MeasurementError> {
        match (mode.tag(), mode.value()) {
            (Tag::Integer | Tag::Enumerated, [number]) => Ok(match number {
                1 => Self::Normal,
                2 => Self::Debug,
                3 => Self::Recovery,
                _ => Self::NotConfigured,
            }),
            _ => Err(MeasurementError::Mode),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Sequence)]
struct OpenDiceInput {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    code_hash: Option<OctetString>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    code_descriptor: Option<OctetString>,
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT", optional = "true")]
    configuration_hash: Option<OctetString>,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", optional = "true")]
    configuration_descriptor: Option<OctetString>,
    #[asn1(context_specific = "4", tag_mode = "EXPLICIT", optional = "true")]
    authority_hash: Option<OctetString>,
    #[asn1(context_specific = "5", tag_mode = "EXPLICIT", optional = "true")]
    authority_descriptor: Option<OctetString>,
    #[asn1(context_specific = "6", tag_mode = "EXPLICIT", optional = "true")]
    mode: Option<Any>,
    #[asn1(context_specific = "7", tag_mode = "EXPLICIT", optional = "true")]
    profile_name: Option<String>,
}

impl OpenProfileInput {
    pub(super) fn read(der: &[u8]) -> Result<Self, MeasurementError> {
        let input: OpenDiceInput = exact(der)?;
        let configuration = input.configuration_descriptor;
        let configuration = configuration.ok_or(MeasurementError::Missing("configurationDescriptor"))?;
        let configuration = configuration.into_bytes().into_vec();
        if let Some(hash) = input.configuration_hash {
            let stated = digest(Some(hash), "configurationHash")?;
            if stated.alg().digest(&[&configuration]) != stated {
                return Err(MeasurementError::ConfigurationHash);
            }
        }
        let mode = input.mode.ok_or(MeasurementError::Missing("mode"))?;
        Ok(Self {
            code: digest(input.code_hash, "codeHash")?,
            configuration,
            authority: digest(input.authority_hash, "authorityHash")?,
            mode: Mode::read(&mode)?,
            profile: input.profile_name,
        })
    }
}

/// The profile names no algorithm: a digest is of the one approved algorithm that has its length.
fn digest(octets: Option<OctetString>, field: &'static str) -> Result<Digest, MeasurementError> {
    let octets = octets.ok_or(MeasurementError::Missing(field))?;
    let mut algs = HashAlg::ALL.into_iter().filter(|alg| alg.is_approved());
    algs.find_map(|alg| Digest::from_slice(alg, octets.as_bytes()))
        .ok_or(MeasurementError::Digest)
}
