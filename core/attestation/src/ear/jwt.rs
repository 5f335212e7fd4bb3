//! Results as JWT.

use super::{Ear, EarError, MAX_TOKEN_BYTES};
use alcub3_crypto::{Curve, VerifyingKey};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};

/// The media type in the JWT's header.
const TYPE: &str = "eat+jwt";

impl Ear {
    /// Signs the claims: ES256 or ES384 by the key's curve. The key is PKCS#8 in DER; the signature's randomness
    /// comes from the cryptographic provider.
    ///
    /// # Errors
    /// A key of another kind.
    pub fn sign(&self, curve: Curve, pkcs8: &[u8]) -> Result<String, EarError> {
        let mut header = Header::new(algorithm(curve));
        header.typ = Some(TYPE.to_owned());
        let key = EncodingKey::from_ec_der(pkcs8);
        jsonwebtoken::encode(&header, self, &key).map_err(EarError::Jwt)
    }

    /// Checks a signed result at `now_s` (seconds since 1970).
    ///
    /// # Errors
    /// A wrong signature, an unknown header or claim, another profile, or out of its time.
    pub fn verify(token: &str, key: &VerifyingKey, now_s: u64) -> Result<Self, EarError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(EarError::TooLong(token.len()));
        }
        let (curve, x, y) = key.ec_point().ok_or(EarError::Key)?;
        let point = [&[4], x, y].concat();
        let mut validation = Validation::new(algorithm(curve));
        // Times are checked below against the time handed in; the library would read the system's clock.
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        let decoded = jsonwebtoken::decode::<Self>(token, &DecodingKey::from_ec_der(&point), &validation);
        let decoded = decoded.map_err(EarError::Jwt)?;
        check_header(&decoded.header)?;
        decoded.claims.check(now_s)
    }
}

fn check_header(header: &Header) -> Result<(), EarError> {
    if header.crit.is_some() {
        return Err(EarError::Header("critical extensions"));
    }
    if header.typ.as_deref() != Some(TYPE) {
        return Err(EarError::Header("another type than eat+jwt"));
    }
    Ok(())
}

const fn algorithm(curve: Curve) -> Algorithm {
    match curve {
        Curve::P256 => Algorithm::ES256,
        Curve::P384 => Algorithm::ES384,
    }
}

/// A nonce in JSON: base64url without padding (RFC 9711, `binary-data`).
pub(super) mod nonce_text {
    use crate::evidence::Nonce;
    use base64::Engine;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(in crate::ear) fn serialize<S: Serializer>(nonce: &Nonce, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_URL_SAFE_NO_PAD.encode(nonce.0))
    }

    pub(in crate::ear) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Nonce, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(D::Error::custom)?;
        let nonce = bytes.try_into().map(Nonce);
        nonce.map_err(|_| D::Error::custom("a nonce has 32 bytes"))
    }
}

/// The one policy of a result, as the list that the draft has.
pub(super) mod policy_list {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(in crate::ear) fn serialize<S: Serializer>(policy: &str, serializer: S) -> Result<S::Ok, S::Error> {
        [policy].serialize(serializer)
    }

    pub(in crate::ear) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<String, D::Error> {
        let [policy] = <[String; 1]>::deserialize(deserializer)?;
        Ok(policy)
    }
}
