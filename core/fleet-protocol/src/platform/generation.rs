//! Which life of a name evidence is of. A name that was released, or whose device's sequence numbers begin anew, goes on with the
//! next generation, which the record states and every nonce commits to: what was signed in an earlier one answers no nonce of this.

use alcub3_attestation::evidence::Nonce;
use alcub3_crypto::HashAlg;
use alcub3_trust_model::canonical::Encoder;
use alcub3_trust_model::domain;

use super::record::PlatformEnrolment;

const VERSION: u64 = 1;

impl PlatformEnrolment {
    /// The nonce that this robot is asked with in an exchange, whose own nonce is random. It is what the robot's root of trust signs
    /// over, and it is worked out again when the answer is judged: by the record that holds then.
    pub fn nonce(&self, exchange: &Nonce) -> Nonce {
        let mut out = Encoder::structure(domain::PLATFORM_NONCE, VERSION, 3);
        out.u64(2).text(self.robot().as_str());
        out.u64(3).u64(self.generation());
        out.u64(4).bytes(&exchange.0);
        let digest = HashAlg::Sha256.digest(&[&out.finish()]);
        let mut nonce = [0; 32];
        nonce
            .iter_mut()
            .zip(digest.as_bytes())
            .for_each(|(to, from)| *to = *from);
        Nonce(nonce)
    }
}
