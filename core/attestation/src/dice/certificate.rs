//! One certificate of a chain (RFC 5280), parsed whole or refused.

use super::extensions::Extensions;
use crate::appraisal::{Finding, Reason};
use alcub3_crypto::{CryptoError, SignatureScheme, VerifyingKey};
use der::{Any, Decode, Encode};
use x509_cert::certificate::Version;
use x509_cert::name::Name;
use x509_cert::spki::AlgorithmIdentifierOwned;
use x509_cert::time::Validity;
use x509_cert::{Certificate as Parsed, TbsCertificate};

/// A certificate whose parts are all known here. Nothing about it is proven.
#[derive(Debug)]
pub(super) struct Certificate {
    issuer: Name,
    subject: Name,
    validity: Validity,
    scheme: SignatureScheme,
    signed: Vec<u8>,
    signature: Vec<u8>,
    /// The key that it certifies.
    pub(super) key: VerifyingKey,
    pub(super) extensions: Extensions,
}

impl Certificate {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Finding> {
        let parsed = canonical(bytes)?;
        let tbs = parsed.tbs_certificate();
        check_frame(&parsed, tbs)?;
        let scheme = scheme(parsed.signature_algorithm())?;
        let signature = parsed.signature().as_bytes();
        let signature = signature.ok_or_else(|| malformed("its signature has odd bits"))?;
        let spki = tbs
            .subject_public_key_info()
            .to_der()
            .map_err(|error| malformed(error.to_string()))?;
        let key = VerifyingKey::from_spki_der(&spki);
        Ok(Self {
            issuer: tbs.issuer().clone(),
            subject: tbs.subject().clone(),
            validity: *tbs.validity(),
            scheme,
            signed: tbs.to_der().map_err(|error| malformed(error.to_string()))?,
            signature: signature.to_vec(),
            key: key.map_err(|error| Finding::new(Reason::DiceAlgorithm, error.to_string()))?,
            extensions: Extensions::read(tbs.extensions().map_or(&[], Vec::as_slice))?,
        })
    }

    /// Whether its issuer has the name of that certificate's subject.
    pub(super) fn names(&self, issuer: &Self) -> bool {
        self.issuer == issuer.subject && !self.issuer.is_empty()
    }

    /// Whether that key signed it.
    pub(super) fn verify(&self, key: &VerifyingKey) -> Result<(), CryptoError> {
        key.verify_x509_as(self.scheme, &self.signed, &self.signature)
    }

    /// Whether it is valid at that time, in seconds since 1970; if not, from when to when it is.
    pub(super) fn check_time(&self, now_s: u64) -> Result<(), String> {
        let (from, to) = (self.validity.not_before, self.validity.not_after);
        let valid = (from.to_unix_duration().as_secs()..=to.to_unix_duration().as_secs()).contains(&now_s);
        match valid {
            true => Ok(()),
            false => Err(format!("it is valid from {from} to {to}")),
        }
    }
}

fn malformed(detail: impl Into<String>) -> Finding {
    Finding::new(Reason::DiceCertificate, detail)
}

/// What parses and encodes back to the same bytes has one reading; and what was signed is among those bytes.
fn canonical(bytes: &[u8]) -> Result<Parsed, Finding> {
    let parsed = Parsed::from_der(bytes).map_err(|error| malformed(error.to_string()))?;
    match parsed.to_der().map_err(|error| malformed(error.to_string()))? == bytes {
        true => Ok(parsed),
        false => Err(malformed("it is not in the one DER encoding of its value")),
    }
}

fn check_frame(parsed: &Parsed, tbs: &TbsCertificate) -> Result<(), Finding> {
    if tbs.version() != Version::V3 {
        return Err(malformed("it is not of version 3"));
    }
    if tbs.issuer_unique_id().is_some() || tbs.subject_unique_id().is_some() {
        return Err(malformed(
            "it has a unique identifier, which no profile of DICE has",
        ));
    }
    if tbs.signature() != parsed.signature_algorithm() {
        return Err(malformed("it names two signature algorithms"));
    }
    Ok(())
}

/// RSA has the parameters NULL (RFC 4055 §5). ECDSA has none (RFC 5758 §3.2), but the Open Profile's reference code, as Mbed TLS
/// under it, writes NULL; both stand in what is signed.
fn scheme(algorithm: &AlgorithmIdentifierOwned) -> Result<SignatureScheme, Finding> {
    let scheme = SignatureScheme::from_x509(&algorithm.oid.to_string());
    let is_null = algorithm.parameters.as_ref().map(|given| *given == Any::null());
    match (scheme, is_null) {
        (Some(scheme @ SignatureScheme::Ecdsa(_)), None | Some(true))
        | (Some(scheme @ SignatureScheme::RsaPkcs1(_)), Some(true)) => Ok(scheme),
        _ => {
            let detail = format!("signature algorithm {}", algorithm.oid);
            Err(Finding::new(Reason::DiceAlgorithm, detail))
        }
    }
}
