use crate::evidence::Nonce;
use alcub3_crypto::{Digest, HashAlg};
use alcub3_trust_model::{RobotId, domain};

/// What a robot asks its PSA root of trust to sign as nonce: H("alcub3/psa-challenge/v1" ‖ nonce ‖ robot ‖ H(state)).
///
/// SHA-256, SHA-384 and SHA-512 give the three sizes that RFC 9783 §4.1.1 allows. The domain string is constant, the nonce has
/// 32 bytes, and the digest has the size of `alg`: only the robot's name between them varies in width, so no two inputs share
/// an encoding. `None` when the digest is of another algorithm, or the algorithm is not approved.
#[must_use]
pub fn challenge(alg: HashAlg, nonce: &Nonce, robot: &RobotId, state: &Digest) -> Option<Digest> {
    if state.alg() != alg || !alg.is_approved() {
        return None;
    }
    Some(alg.digest(&[
        domain::PSA_CHALLENGE.as_bytes(),
        &nonce.0,
        robot.as_str().as_bytes(),
        state.as_bytes(),
    ]))
}

/// The challenge that a token's nonce of this length must be; `None` for a length of no approved algorithm.
pub(super) fn expected(length: usize, nonce: &Nonce, robot: &RobotId, state: &[u8]) -> Option<Digest> {
    let alg = HashAlg::ALL
        .into_iter()
        .find(|alg| alg.is_approved() && alg.size() == length)?;
    challenge(alg, nonce, robot, &alg.digest(&[state]))
}
