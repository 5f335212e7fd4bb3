//! What a robot's maker says of it: the certificates of initial attestation keys and of platforms, judged by the makers' roots.

use alcub3_attestation::ek_certificate::device::{DeviceError, VerifiedDevice, verify_device};
use alcub3_attestation::ek_certificate::platform::{PlatformError, VerifiedPlatform, verify_platform};
use alcub3_attestation::ek_certificate::{EkError, Roots, verify};
use alcub3_fleet_protocol::enrolment::EnrolRequest;
use alcub3_fleet_protocol::origin::{DeviceEvidence, JudgedOrigin, PlatformEvidence};

/// The folder of roots that vouch for machines, inside the state folder: of those who build them, not of TPM vendors.
pub const DEVICE_ROOTS: &str = "roots-devices";

/// Why what a robot shows of its origin was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum OriginError {
    /// The initial attestation key's certificate.
    #[error(transparent)]
    Device(DeviceError),
    /// The platform certificate.
    #[error(transparent)]
    Platform(PlatformError),
    /// The platform certificate names an endorsement certificate, and there is none.
    #[error(
        "a platform certificate was given, and the TPM has no endorsement certificate that it could name: leave it out"
    )]
    NoEndorsement,
    /// The endorsement certificate, which was accepted a moment before.
    #[error(transparent)]
    Endorsement(EkError),
}

/// Judges the evidence of a request, by the makers' roots and the TPM vendors', at a time (UTC in milliseconds). Where there is no
/// maker's root at all, the chip's own certificate is left aside, since robots send it unasked; a platform certificate, which
/// somebody gave, is refused.
pub(crate) fn judge(
    asked: &EnrolRequest,
    makers: &Roots,
    vendors: &Roots,
    now_ms: u64,
) -> Result<JudgedOrigin, OriginError> {
    let now_s = now_ms / 1000;
    let device = asked.origin.device.as_ref();
    let platform = asked.origin.platform.as_ref();
    Ok(JudgedOrigin {
        device: device.map_or(Ok(None), |device| judge_device(device, makers, now_s))?,
        platform: platform
            .map(|platform| judge_platform(asked, platform, makers, vendors, now_s))
            .transpose()?,
    })
}

fn judge_device(
    device: &DeviceEvidence,
    makers: &Roots,
    now_s: u64,
) -> Result<Option<VerifiedDevice>, OriginError> {
    match verify_device(&device.certificate, &slices(&device.chain), makers, now_s) {
        Ok(found) => Ok(Some(found)),
        Err(DeviceError::NoRoots) => {
            tracing::warn!(
                "a robot shows an initial attestation key's certificate, and there is no device manufacturer's root: nothing of \
                 it is recorded"
            );
            Ok(None)
        }
        Err(error) => Err(OriginError::Device(error)),
    }
}

fn judge_platform(
    asked: &EnrolRequest,
    platform: &PlatformEvidence,
    makers: &Roots,
    vendors: &Roots,
    now_s: u64,
) -> Result<VerifiedPlatform, OriginError> {
    if asked.endorsement_certificate.is_empty() {
        return Err(OriginError::NoEndorsement);
    }
    let chain = slices(&asked.certificate_chain);
    let ek = verify(&asked.endorsement_certificate, &chain, vendors, now_s);
    let ek = ek.map_err(OriginError::Endorsement)?;
    let sent = slices(&platform.chain);
    verify_platform(&platform.certificate, &ek, &sent, makers, now_s).map_err(OriginError::Platform)
}

fn slices(chain: &[Vec<u8>]) -> Vec<&[u8]> {
    chain.iter().map(Vec::as_slice).collect()
}
