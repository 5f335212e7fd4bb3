//! The envelope: a tagged COSE_Sign1 (RFC 9052, RFC 9783 §5.1.1), read by `coset` once its lengths are known to be definite.

use crate::appraisal::Reason;
use crate::cbor::{self, CborError};
use alcub3_crypto::{CryptoError, Suite, VerifyingKey};
use coset::iana::EnumI64;
use coset::{CoseSign1, Header, RegisteredLabelWithPrivate, TaggedCborSerializable};
use minicbor::Decoder;

/// Longest token accepted, in bytes. Real ones have some hundred.
const MAX_TOKEN_BYTES: usize = 16 * 1024;
const SIGN1_TAG: u64 = 18;
const MAC0_TAG: u64 = 17;

/// Why a token was not opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum MessageError {
    #[error("the token has {0} bytes; no token has more than {MAX_TOKEN_BYTES}")]
    TooLong(usize),
    #[error("the token cannot be read")]
    Cbor(#[from] CborError),
    #[error("it is a COSE_Mac0: who can check a MAC can make one, so only signed tokens are judged")]
    Mac,
    #[error("it is not a tagged COSE_Sign1")]
    Kind,
    #[error("it is not a COSE_Sign1")]
    Cose(#[source] coset::CoseError),
    #[error("the payload is detached")]
    Detached,
    #[error("it has critical headers, and none is known")]
    Critical,
    #[error("it has unprotected headers, which nothing authenticates")]
    Unprotected,
    #[error("it has the protected header {0}, which has no place in a signed token")]
    Protected(&'static str),
    #[error("its algorithm is {0}; the pinned key signs with {1}")]
    Algorithm(String, i64),
    #[error("the pinned key is on neither P-256 nor P-384")]
    Key,
    #[error("the signature is not of the pinned key")]
    Signature(#[source] CryptoError),
}

impl MessageError {
    pub(super) const fn reason(&self) -> Reason {
        match self {
            Self::Mac => Reason::PsaMac,
            Self::Critical => Reason::PsaCriticalHeader,
            Self::Unprotected => Reason::PsaUnprotectedHeader,
            Self::Algorithm(..) => Reason::PsaAlgorithm,
            Self::Signature(_) | Self::Key => Reason::PsaSignature,
            _ => Reason::PsaMalformed,
        }
    }

    /// What is wrong, with its source, for a finding.
    pub(super) fn detail(&self) -> String {
        match core::error::Error::source(self) {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        }
    }
}

/// What a token says, verified with the pinned key.
#[derive(Debug)]
pub(super) struct Opened {
    /// The claims-set, its lengths known to be definite.
    pub(super) payload: Vec<u8>,
    /// Protected headers that are not understood and not critical.
    pub(super) ignored: Vec<String>,
}

/// Reads a token that fills all of `bytes` and checks its signature.
pub(super) fn open(bytes: &[u8], key: &VerifyingKey) -> Result<Opened, MessageError> {
    if bytes.len() > MAX_TOKEN_BYTES {
        return Err(MessageError::TooLong(bytes.len()));
    }
    check_tag(bytes)?;
    cbor::check_definite(bytes)?;
    let message = CoseSign1::from_tagged_slice(bytes).map_err(MessageError::Cose)?;
    check_headers(&message)?;
    let payload = message.payload.as_deref().ok_or(MessageError::Detached)?;
    let suite = suite(&message.protected.header, key)?;
    let tbs = message.tbs_data(&[]);
    let scheme = alcub3_crypto::SignatureScheme::Ecdsa(suite.hash());
    key.verify(scheme, &tbs, &message.signature)
        .map_err(MessageError::Signature)?;
    cbor::check_definite(payload)?;
    Ok(Opened {
        payload: payload.to_vec(),
        ignored: ignored(&message.protected.header),
    })
}

fn check_tag(bytes: &[u8]) -> Result<(), MessageError> {
    match Decoder::new(bytes).tag().map(|tag| tag.as_u64()) {
        Ok(SIGN1_TAG) => Ok(()),
        Ok(MAC0_TAG) => Err(MessageError::Mac),
        _ => Err(MessageError::Kind),
    }
}

fn check_headers(message: &CoseSign1) -> Result<(), MessageError> {
    let header = &message.protected.header;
    if !header.crit.is_empty() || !message.unprotected.crit.is_empty() {
        return Err(MessageError::Critical);
    }
    if !message.unprotected.is_empty() {
        return Err(MessageError::Unprotected);
    }
    if !header.iv.is_empty() || !header.partial_iv.is_empty() {
        return Err(MessageError::Protected("IV"));
    }
    if !header.counter_signatures.is_empty() {
        return Err(MessageError::Protected("counter signature"));
    }
    let original = message.protected.original_data.as_deref().unwrap_or_default();
    Ok(cbor::check_definite(original)?)
}

/// The suite of the pinned key, which the token must name: no token chooses how it is checked.
fn suite(header: &Header, key: &VerifyingKey) -> Result<Suite, MessageError> {
    let suite = Suite::of_curve(key.curve().ok_or(MessageError::Key)?);
    let named = match &header.alg {
        Some(RegisteredLabelWithPrivate::Assigned(alg)) if alg.to_i64() == suite.cose_alg() => {
            return Ok(suite);
        }
        Some(RegisteredLabelWithPrivate::Assigned(alg)) => format!("{alg:?} ({})", alg.to_i64()),
        Some(other) => format!("{other:?}"),
        None => "not named".to_owned(),
    };
    Err(MessageError::Algorithm(named, suite.cose_alg()))
}

fn ignored(header: &Header) -> Vec<String> {
    let content_type = header.content_type.is_some().then(|| "content type".to_owned());
    let key_id = (!header.key_id.is_empty()).then(|| "key identifier".to_owned());
    let rest = header.rest.iter().map(|(label, _)| format!("{label:?}"));
    content_type.into_iter().chain(key_id).chain(rest).collect()
}
