//! What a robot's device keys are bound to.

use alcub3_crypto::{Digest, HashAlg};
use alcub3_trust_model::{RobotId, SessionId, domain};

/// What the creation data of a device key carries, and its certification at enrolment: H(domain ‖ length of the robot's
/// name in one byte ‖ name ‖ hardware binding), with the hash of the robot's curve.
pub fn identity_binding(alg: HashAlg, robot: &RobotId, hardware_binding: &Digest) -> Digest {
    let name = robot.as_str().as_bytes();
    let length = [u8::try_from(name.len()).unwrap_or(u8::MAX)];
    alg.digest(&[
        domain::IDENTITY.as_bytes(),
        &length,
        name,
        hardware_binding.as_bytes(),
    ])
}

/// The extra data of a certification that asks for a certificate: H(domain ‖ session ‖ identity binding). The session is
/// of one exchange and used once, so that an earlier certification asks for nothing again.
pub fn device_key_binding(session: SessionId, identity_binding: &Digest) -> Digest {
    identity_binding.alg().digest(&[
        domain::DEVICE_KEY.as_bytes(),
        session.as_bytes(),
        identity_binding.as_bytes(),
    ])
}
