//! Signing, MACs, key agreement, checking signatures in the chip (TPM 2.0 Part 3, 14.4, 15.5 and 20).

use super::keys::Key;
use super::wire::{Answer, Params, RH_NULL};
use crate::{Auth, Chip, CommandCode, Protect, Result, TpmError};
use alcub3_crypto::tpm::{Signature, alg};
use alcub3_crypto::{Digest, HashAlg, Secret, SignatureScheme};
use tpm2_protocol::data::TpmCc;

const SIGN: CommandCode = CommandCode::of(TpmCc::Sign);
const HMAC: CommandCode = CommandCode::of(TpmCc::Hmac);
const ECDH_ZGEN: CommandCode = CommandCode::of(TpmCc::EcdhZGen);
const VERIFY: CommandCode = CommandCode::of(TpmCc::VerifySignature);
const ST_HASHCHECK: u16 = 0x8024;
const ST_VERIFIED: u16 = 0x8022;
/// The most an HMAC takes at once: TPM_PT_INPUT_BUFFER is 1024 on every chip.
const MAX_BUFFER: usize = 1024;

/// TPMT_TK_VERIFIED: this chip's word that it has checked a signature.
#[derive(Clone, Debug, Eq, PartialEq, Hash)]
pub struct VerifiedTicket(pub Vec<u8>);

impl Chip {
    /// Signs a digest with the key's own scheme; where it has none, with ECDSA (PKCS#1 v1.5 for RSA) and the digest's
    /// hash. Restricted keys refuse digests from outside. Commands: 1 Sign.
    ///
    /// # Errors
    /// What the chip refuses; [`TpmError::Malformed`] where the signature is of another scheme.
    pub fn sign(&mut self, key: &Key, auth: Auth<'_>, digest: &Digest) -> Result<Signature> {
        let scheme = scheme_for(key, digest.alg())?;
        let mut params = Params::new(SIGN).sized(digest.as_bytes(), 64, "the digest");
        params = match key.public().signature_scheme() {
            Some(_) => params.null_scheme(),
            None => params.u16(scheme_id(scheme)).u16(digest.alg().tpm_id()),
        };
        let params = params.u16(ST_HASHCHECK).u32(RH_NULL).u16(0).finish()?;
        let reply = self.call_raw(SIGN, &[key.target()], &[auth], Protect::Integrity, &params)?;
        let mut answer = Answer::new(SIGN, &reply);
        let signature = Signature::from_tpmt_signature(answer.remaining())
            .map_err(|_| answer.malformed("the signature"))?;
        if signature.scheme == scheme {
            Ok(signature)
        } else {
            Err(answer.malformed("the signature's scheme"))
        }
    }

    /// The HMAC of up to 1024 bytes with a key in the chip and its own hash; data and result cross the bus encrypted.
    /// Commands: 1 HMAC.
    ///
    /// # Errors
    /// What the chip refuses; [`TpmError::Encode`] for longer data.
    pub fn hmac(&mut self, key: &Key, auth: Auth<'_>, data: &[u8]) -> Result<Secret> {
        let params = Params::new(HMAC)
            .sized(data, MAX_BUFFER, "the data to authenticate")
            .u16(alg::NULL)
            .finish()?;
        let reply = self.call_raw(HMAC, &[key.target()], &[auth], Protect::Both, &params)?;
        let mut answer = Answer::new(HMAC, &reply);
        let tag = Secret::from_slice(answer.sized("the HMAC")?);
        if key
            .public()
            .hmac_scheme()
            .is_some_and(|hash| hash.size() != tag.len())
        {
            return Err(answer.malformed("the length of the HMAC"));
        }
        answer.end()?;
        Ok(tag)
    }

    /// The x coordinate of the ECDH of a key in the chip with a point, padded to the curve's size; it crosses the bus
    /// encrypted. Commands: 1 ECDH_ZGen.
    ///
    /// # Errors
    /// What the chip refuses, among it a point off the curve.
    pub fn ecdh_zgen(&mut self, key: &Key, auth: Auth<'_>, x: &[u8], y: &[u8]) -> Result<Secret> {
        let (curve, ..) = key.public().ec_point().ok_or(TpmError::Unsupported {
            what: "key agreement with this key",
        })?;
        let point = Params::new(ECDH_ZGEN)
            .sized(x, 66, "the x coordinate")
            .sized(y, 66, "the y coordinate")
            .finish()?;
        let params = Params::new(ECDH_ZGEN).sized(&point, 136, "the point").finish()?;
        let reply = self.call_raw(ECDH_ZGEN, &[key.target()], &[auth], Protect::Out, &params)?;
        let mut answer = Answer::new(ECDH_ZGEN, &reply);
        let mut point = Answer::of(ECDH_ZGEN, answer.sized("the point")?);
        answer.end()?;
        let shared = point.sized("the x coordinate")?;
        let mut padded = Secret::zeroed(curve.size());
        let start = curve
            .size()
            .checked_sub(shared.len())
            .ok_or(point.malformed("the x coordinate"))?;
        for (to, from) in padded.expose_mut().iter_mut().skip(start).zip(shared) {
            *to = *from;
        }
        point.sized("the y coordinate")?;
        point.end()?;
        Ok(padded)
    }

    /// Lets the chip check a signature. The ticket proves it to this chip later. Commands: 1 VerifySignature.
    ///
    /// # Errors
    /// SIGNATURE where it does not verify.
    pub fn verify_signature(
        &mut self,
        key: &Key,
        digest: &Digest,
        signature: &Signature,
    ) -> Result<VerifiedTicket> {
        let params = Params::new(VERIFY)
            .sized(digest.as_bytes(), 64, "the digest")
            .raw(&signature.to_tpmt(), "the signature")
            .finish()?;
        let reply = self.call_raw(VERIFY, &[key.target()], &[], Protect::Integrity, &params)?;
        let mut answer = Answer::new(VERIFY, &reply);
        let ticket = answer.ticket(ST_VERIFIED, "the ticket")?.to_vec();
        answer.end()?;
        Ok(VerifiedTicket(ticket))
    }
}

/// The scheme a signature of this key will have.
fn scheme_for(key: &Key, hash: HashAlg) -> Result<SignatureScheme> {
    match (key.public().signature_scheme(), key.public().object_type()) {
        (Some(scheme), _) => Ok(scheme),
        (None, alg::ECC) => Ok(SignatureScheme::Ecdsa(hash)),
        (None, alg::RSA) => Ok(SignatureScheme::RsaPkcs1(hash)),
        _ => Err(TpmError::Unsupported {
            what: "signatures by this kind of key",
        }),
    }
}

const fn scheme_id(scheme: SignatureScheme) -> u16 {
    match scheme {
        SignatureScheme::Ecdsa(_) => alg::ECDSA,
        SignatureScheme::RsaPkcs1(_) => alg::RSASSA,
        SignatureScheme::RsaPss(_) => alg::RSAPSS,
    }
}
