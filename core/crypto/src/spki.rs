//! SubjectPublicKeyInfo (RFC 5280 §4.1.2.7; RFC 5480; RFC 3279) of the three kinds of key we verify with. Only the one
//! DER encoding of a key is accepted: what parses encodes back to the same bytes, or it is refused.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::PublicKeyComponents;

use crate::{CryptoError, Curve};

/// SEQUENCE { SEQUENCE { id-ecPublicKey, secp256r1 }, BIT STRING } up to and with the point's 0x04.
const P256_PREFIX: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01, 0x06, 0x08, 0x2A, 0x86,
    0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];
/// The same with secp384r1.
const P384_PREFIX: [u8; 24] = [
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01, 0x06, 0x05, 0x2B, 0x81,
    0x04, 0x00, 0x22, 0x03, 0x62, 0x00, 0x04,
];
/// SEQUENCE { rsaEncryption, NULL }.
const RSA_ALGORITHM: [u8; 15] = [
    0x30, 0x0D, 0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01, 0x05, 0x00,
];

/// A public key's numbers as they stand in its SubjectPublicKeyInfo.
pub(crate) enum KeyParts<'a> {
    Ec(Curve, &'a [u8], &'a [u8]),
    Rsa(&'a [u8], u32),
}

pub(crate) fn encode_ec(curve: Curve, x: &[u8], y: &[u8]) -> Vec<u8> {
    let prefix: &[u8] = match curve {
        Curve::P256 => &P256_PREFIX,
        Curve::P384 => &P384_PREFIX,
    };
    [prefix, x, y].concat()
}

pub(crate) fn encode_rsa(n: &[u8], e: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let der = PublicKeyComponents { n, e }.as_der();
    Ok(der
        .map_err(|_| CryptoError::KeyRejected {
            what: "RSA public key",
        })?
        .as_ref()
        .to_vec())
}

pub(crate) fn decode(der: &[u8]) -> Result<KeyParts<'_>, CryptoError> {
    ec(der, Curve::P256, &P256_PREFIX)
        .or_else(|| ec(der, Curve::P384, &P384_PREFIX))
        .or_else(|| rsa(der))
        .ok_or(CryptoError::KeyRejected {
            what: "SubjectPublicKeyInfo",
        })
}

fn ec<'a>(der: &'a [u8], curve: Curve, prefix: &[u8]) -> Option<KeyParts<'a>> {
    let point = der.strip_prefix(prefix)?;
    let (x, y) = point.split_at_checked(curve.size())?;
    (y.len() == curve.size()).then_some(KeyParts::Ec(curve, x, y))
}

fn rsa(der: &[u8]) -> Option<KeyParts<'_>> {
    let body = whole(der, 0x30)?;
    let key = whole(body.strip_prefix(&RSA_ALGORITHM)?, 0x03)?.strip_prefix(&[0])?;
    let (n, rest) = positive_integer(whole(key, 0x30)?)?;
    let (e, rest) = positive_integer(rest)?;
    if !rest.is_empty() || e.len() > 4 {
        return None;
    }
    let e = e.iter().fold(0u32, |value, byte| (value << 8) | u32::from(*byte));
    Some(KeyParts::Rsa(n, e))
}

/// The contents of an element that fills all of `der`.
pub(crate) fn whole(der: &[u8], tag: u8) -> Option<&[u8]> {
    let (contents, rest) = element(der, tag)?;
    rest.is_empty().then_some(contents)
}

/// The contents of the first element, and what follows it. Lengths must be the shortest encoding.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (length, rest) = match der.strip_prefix(&[tag])? {
        [length @ 0..=0x7F, rest @ ..] => (usize::from(*length), rest),
        [0x81, length @ 0x80..=0xFF, rest @ ..] => (usize::from(*length), rest),
        [0x82, high @ 1..=0xFF, low, rest @ ..] => (usize::from(*high) << 8 | usize::from(*low), rest),
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// A positive INTEGER without its sign byte, which must be there exactly when needed.
pub(crate) fn positive_integer(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (contents, rest) = element(der, 0x02)?;
    match contents {
        [0, number @ ..] if number.first().is_some_and(|first| *first >= 0x80) => Some((number, rest)),
        [1..=0x7F, ..] => Some((contents, rest)),
        _ => None,
    }
}
