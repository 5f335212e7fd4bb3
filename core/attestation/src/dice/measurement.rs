//! What a certificate says of the layer whose key it certifies.

use super::open_profile::OpenProfileInput;
use super::tcb_info::{self, TcbInfo};
use der::asn1::ObjectIdentifier;
use der::{DecodeOwned, Encode};
use thiserror::Error;

/// tcg-dice-TcbInfo.
const TCB_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.5.4.1");
/// tcg-dice-MultiTcbInfo.
const MULTI_TCB_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.5.4.5");
/// diceAttestationData of the Open Profile.
const OPEN_PROFILE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11129.2.1.24");

/// A layer's measurements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Measurement {
    /// One or more targets, as the TCG writes them.
    Tcg(Vec<TcbInfo>),
    /// The inputs of the Open Profile for DICE.
    OpenProfile(OpenProfileInput),
}

/// Why measurements were refused.
#[derive(Debug, Error)]
pub(super) enum MeasurementError {
    #[error("the extension is not the DER of its type, or has a field that is not known here: {0}")]
    Der(#[from] der::Error),
    #[error("the extension is not in the one DER encoding of its value")]
    NotCanonical,
    #[error("it has {0} elements where there must be one to sixteen")]
    Count(usize),
    #[error("a digest is of no approved algorithm, or not as long as its algorithm's")]
    Digest,
    #[error("the operational flags have bits that are not known here, or a mask and nothing to mask")]
    Flags,
    #[error("the mode is no small number")]
    Mode,
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("configurationHash is not that of configurationDescriptor")]
    ConfigurationHash,
}

impl Measurement {
    /// The measurements of an extension; none where it is another one.
    pub(super) fn of_extension(id: ObjectIdentifier, value: &[u8]) -> Option<Result<Self, MeasurementError>> {
        match id {
            TCB_INFO => Some(tcb_info::single(value).map(Self::Tcg)),
            MULTI_TCB_INFO => Some(tcb_info::multiple(value).map(Self::Tcg)),
            OPEN_PROFILE => Some(OpenProfileInput::read(value).map(Self::OpenProfile)),
            _ => None,
        }
    }
}

/// The value of exactly these bytes, in their one encoding.
pub(super) fn exact<T>(der: &[u8]) -> Result<T, MeasurementError>
where
    T: DecodeOwned<Error = der::Error> + Encode,
{
    let value = T::from_der(der)?;
    if value.to_der()? != der {
        return Err(MeasurementError::NotCanonical);
    }
    Ok(value)
}
