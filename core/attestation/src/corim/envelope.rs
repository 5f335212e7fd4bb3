//! The outer form: tags, signature, validity.

use super::{CorimError, EARLIER_TAG, MAX_CORIM_BYTES, Reading, SIGNED_TAG, UNSIGNED_TAG};
use crate::cbor::{self, CborError, Key};
use crate::ima::name_for_people;
use alcub3_crypto::{SignatureScheme, Suite, VerifyingKey};
use coset::cbor::value::Value;
use coset::iana::EnumI64;
use coset::{ContentType, CoseSign1, Header, Label, RegisteredLabelWithPrivate, TaggedCborSerializable};
use std::collections::BTreeSet;

const CORIM_META: i64 = 8;
const CWT_CLAIMS: i64 = 15;
/// Certificates and their thumbprints: the key was named, so nothing rests on them.
const CERTIFICATES: [i64; 2] = [33, 34];
/// What a signed CoRIM says that it contains.
const MEDIA_TYPE: &str = "application/rim+cbor";
const EXP: i64 = 4;
const NBF: i64 = 5;

/// What is inside of the envelope.
pub(super) struct Opened {
    /// The `corim-map`, its lengths known to be definite.
    pub(super) map: Vec<u8>,
    /// Who signed.
    pub(super) signer: Option<String>,
}

/// Opens a document that fills all of `bytes`.
pub(super) fn open(bytes: &[u8], reading: &Reading<'_>) -> Result<Opened, CorimError> {
    if bytes.len() > MAX_CORIM_BYTES {
        return Err(CorimError::TooLong(bytes.len()));
    }
    cbor::check_definite(bytes).map_err(malformed("its encoding"))?;
    match (outer(bytes)?, reading.signer) {
        ((SIGNED_TAG, _), Some(key)) => verified(bytes, key, reading.now_s),
        ((SIGNED_TAG, _), None) => Err(CorimError::Signed),
        ((UNSIGNED_TAG, _), Some(_)) => Err(CorimError::Unsigned),
        ((UNSIGNED_TAG, map), None) => Ok(Opened {
            map: map.to_vec(),
            signer: None,
        }),
        ((other, _), _) => Err(CorimError::Tag(other)),
    }
}

/// The tag and what it is of, out of the tag that earlier drafts put around it.
fn outer(bytes: &[u8]) -> Result<(u64, &[u8]), CorimError> {
    let tagged = |bytes| cbor::tagged(bytes).map_err(malformed("its tag"));
    match tagged(bytes)? {
        (EARLIER_TAG, inner) => tagged(inner).and_then(|(tag, inner)| match tag {
            UNSIGNED_TAG => Ok((tag, inner)),
            other => Err(CorimError::Tag(other)),
        }),
        found => Ok(found),
    }
}

pub(super) fn malformed(what: &'static str) -> impl Fn(CborError) -> CorimError {
    move |source| CorimError::Cbor { what, source }
}

fn verified(bytes: &[u8], key: &VerifyingKey, now_s: i64) -> Result<Opened, CorimError> {
    let refused = |what: &str| CorimError::Envelope(what.to_owned());
    let message = CoseSign1::from_tagged_slice(bytes).map_err(|_| refused("it is no COSE_Sign1"))?;
    let original = message.protected.original_data.as_deref().unwrap_or_default();
    cbor::check_definite(original).map_err(malformed("its headers"))?;
    let header = &message.protected.header;
    check_headers(header, &message.unprotected)?;
    let payload = message
        .payload
        .as_deref()
        .ok_or_else(|| refused("its payload is detached"))?;
    let suite = Suite::of_curve(
        key.curve()
            .ok_or_else(|| refused("its key is on neither P-256 nor P-384"))?,
    );
    match &header.alg {
        Some(RegisteredLabelWithPrivate::Assigned(alg)) if alg.to_i64() == suite.cose_alg() => {}
        other => {
            return Err(CorimError::Envelope(format!(
                "its algorithm is {other:?}, not the key's"
            )));
        }
    }
    key.verify(
        SignatureScheme::Ecdsa(suite.hash()),
        &message.tbs_data(&[]),
        &message.signature,
    )
    .map_err(CorimError::Signature)?;
    let signer = signer(header, now_s)?;
    cbor::check_definite(payload).map_err(malformed("its payload"))?;
    let (tag, map) = outer(payload)?;
    if tag != UNSIGNED_TAG {
        return Err(CorimError::Tag(tag));
    }
    Ok(Opened {
        map: map.to_vec(),
        signer: Some(signer),
    })
}

fn check_headers(header: &Header, unprotected: &Header) -> Result<(), CorimError> {
    let refused = |what: String| Err(CorimError::Envelope(what));
    if !header.crit.is_empty() || !unprotected.crit.is_empty() {
        return refused("it has critical headers, and none is known".to_owned());
    }
    match &header.content_type {
        Some(ContentType::Text(text)) if text == MEDIA_TYPE => {}
        other => return refused(format!("its content type is {other:?}, not {MEDIA_TYPE}")),
    }
    let is_known = |label: &Label, known: &[i64]| matches!(label, Label::Int(label) if known.contains(label));
    let known = [CORIM_META, CWT_CLAIMS, CERTIFICATES[0], CERTIFICATES[1]];
    let mut protected = header.rest.iter().map(|(label, _)| label);
    if let Some(label) = protected.find(|label| !is_known(label, &known)) {
        return refused(format!("it has the header {label:?}, which is not known"));
    }
    let mut open = unprotected.rest.iter().map(|(label, _)| label);
    if let Some(label) = open.find(|label| !is_known(label, &CERTIFICATES)) {
        return refused(format!(
            "it has the header {label:?}, which its signature does not cover"
        ));
    }
    Ok(())
}

/// Who it says signed, by `corim-meta` or as the issuer of CWT claims, one of which there must be; in its time.
fn signer(header: &Header, now_s: i64) -> Result<String, CorimError> {
    let of = |wanted: i64| {
        let mut found = header
            .rest
            .iter()
            .filter(|(label, _)| *label == Label::Int(wanted));
        found.next().map(|(_, value)| value)
    };
    let by_meta = match of(CORIM_META) {
        Some(Value::Bytes(meta)) => Some(signer_of_meta(meta, now_s)?),
        Some(_) => {
            return Err(CorimError::Envelope(
                "its corim-meta is no byte string".to_owned(),
            ));
        }
        None => None,
    };
    let by_claims = match of(CWT_CLAIMS) {
        Some(Value::Map(claims)) => Some(signer_of_claims(claims, now_s)?),
        Some(_) => return Err(CorimError::Envelope("its CWT claims are no map".to_owned())),
        None => None,
    };
    let signer = by_meta.or(by_claims);
    signer.ok_or(CorimError::Missing(
        "the name of its signer (corim-meta, or CWT claims)",
    ))
}

fn signer_of_meta(meta: &[u8], now_s: i64) -> Result<String, CorimError> {
    const WHAT: &str = "its corim-meta";
    cbor::check_definite(meta).map_err(malformed(WHAT))?;
    let mut name = None;
    for (key, value) in cbor::pairs(meta).map_err(malformed(WHAT))? {
        match key {
            Key::Number(0) => name = Some(signer_name(value)?),
            Key::Number(1) => check_validity("CoRIM's signature", value, now_s)?,
            other => return Err(unknown(format!("{other} in its corim-meta"))),
        }
    }
    name.ok_or(CorimError::Missing("the name of its signer"))
}

fn signer_name(signer: &[u8]) -> Result<String, CorimError> {
    const WHAT: &str = "the signer in its corim-meta";
    let pairs = cbor::pairs(signer).map_err(malformed(WHAT))?;
    let name = pairs.iter().find(|(key, _)| *key == Key::Number(0));
    let (_, name) = name.ok_or(CorimError::Missing("the name of its signer"))?;
    let name = cbor::text(name).map_err(malformed(WHAT))?;
    Ok(name_for_people(name.as_bytes()))
}

fn signer_of_claims(claims: &[(Value, Value)], now_s: i64) -> Result<String, CorimError> {
    each_claim_once(claims)?;
    let of = |wanted: i64| {
        let mut found = claims
            .iter()
            .filter(|(key, _)| key.as_integer() == Some(wanted.into()));
        found.next().map(|(_, value)| value)
    };
    let time = |wanted: i64| match of(wanted) {
        None => Ok(None),
        Some(value) => {
            let seconds = value.as_integer().and_then(|seconds| i64::try_from(seconds).ok());
            seconds
                .map(Some)
                .ok_or_else(|| CorimError::Envelope("a time in its CWT claims is no whole number".to_owned()))
        }
    };
    check_time("CoRIM's signature", time(NBF)?, time(EXP)?, now_s)?;
    let issuer = of(1).and_then(Value::as_text);
    let issuer = issuer.ok_or(CorimError::Missing("the issuer in its CWT claims"))?;
    Ok(name_for_people(issuer.as_bytes()))
}

/// Of two claims with one key, neither is guessed to be meant. Keys are numbers or texts (RFC 8392, 4).
fn each_claim_once(claims: &[(Value, Value)]) -> Result<(), CorimError> {
    let mut seen = BTreeSet::new();
    for (claim, _) in claims {
        let number = claim.as_integer().and_then(|number| i64::try_from(number).ok());
        let text = || claim.as_text().map(|text| Key::Text(text.to_owned()));
        let key = number.map(Key::Number).or_else(text);
        let key = key
            .ok_or_else(|| CorimError::Envelope("a key of its CWT claims is no number or text".to_owned()))?;
        if !seen.insert(key.clone()) {
            return Err(malformed("its CWT claims")(CborError::Duplicate(key)));
        }
    }
    Ok(())
}

/// A `validity-map`.
pub(super) fn check_validity(what: &'static str, bytes: &[u8], now_s: i64) -> Result<(), CorimError> {
    const WHAT: &str = "a time of validity";
    let (mut from_s, mut until_s) = (None, None);
    for (key, value) in cbor::pairs(bytes).map_err(malformed(WHAT))? {
        let slot = match key {
            Key::Number(0) => &mut from_s,
            Key::Number(1) => &mut until_s,
            other => return Err(unknown(format!("{other} in a time of validity"))),
        };
        let (tag, seconds) = cbor::tagged(value).map_err(malformed(WHAT))?;
        if tag != 1 {
            return Err(unknown(format!("a time with the tag {tag}")));
        }
        *slot = Some(cbor::number(seconds).map_err(malformed(WHAT))?);
    }
    until_s.ok_or(CorimError::Missing("the end of its validity"))?;
    check_time(what, from_s, until_s, now_s)
}

fn check_time(
    what: &'static str,
    from_s: Option<i64>,
    until_s: Option<i64>,
    now: i64,
) -> Result<(), CorimError> {
    if from_s.is_some_and(|from| now < from) || until_s.is_some_and(|until| now >= until) {
        return Err(CorimError::Time {
            what,
            from_s,
            until_s,
            now,
        });
    }
    Ok(())
}

pub(super) fn unknown(what: impl AsRef<str>) -> CorimError {
    CorimError::Unknown {
        what: name_for_people(what.as_ref().as_bytes()),
    }
}
