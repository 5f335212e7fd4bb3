//! Just enough of X.509 to read what webpki does not give: the public key, and what the subject alternative name
//! says of the TPM. Only used on a certificate whose chain webpki has verified.

use super::EkError;

pub(super) const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
pub(super) const OID: u8 = 0x06;
pub(super) const OCTETS: u8 = 0x04;
pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const EXTENSIONS: u8 = 0xa3;
/// directoryName in GeneralName.
const DIRECTORY_NAME: u8 = 0xa4;

const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
pub(super) const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
/// tcg-kp-EKCertificate, 2.23.133.8.1.
pub(super) const EK_USAGE: &[u8] = &[0x67, 0x81, 0x05, 0x08, 0x01];
/// tcg-kp-AIKCertificate, 2.23.133.8.3.
pub(super) const AK_USAGE: &[u8] = &[0x67, 0x81, 0x05, 0x08, 0x03];
/// otherName in GeneralName, and its value.
const OTHER_NAME: u8 = 0xa0;
/// id-on-hardwareModuleName, 1.3.6.1.5.5.7.8.4.
const HARDWARE_MODULE_NAME: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x08, 0x04];
/// TPMManufacturer, TPMModel, TPMVersion: 2.23.133.2.1 to 3.
const TPM_ATTRIBUTE: &[u8] = &[0x67, 0x81, 0x05, 0x02];

/// What a certificate says.
#[derive(Debug, Default)]
pub(super) struct Contents<'a> {
    pub(super) spki: &'a [u8],
    pub(super) manufacturer: Option<String>,
    pub(super) model: Option<String>,
    pub(super) version: Option<String>,
    pub(super) usages: Option<Vec<&'a [u8]>>,
    /// hwType, as the OID's contents, and hwSerialNum (RFC 4108, 5).
    pub(super) hardware_module: Option<(&'a [u8], &'a [u8])>,
}

/// A certificate as read from NV: DER, then filler of one value (0xFF or 0x00) to the index's size.
pub(super) fn trim(bytes: &[u8]) -> Result<&[u8], EkError> {
    let (_, certificate, filler) = element(bytes).ok_or(EkError::NotDer)?;
    match filler.first() {
        Some(value @ (0xff | 0x00)) if filler.iter().all(|byte| byte == value) => Ok(certificate),
        None => Ok(certificate),
        Some(_) => Err(EkError::Trailing(filler.len())),
    }
}

pub(super) fn split(mut held: &[u8]) -> Option<Vec<&[u8]>> {
    let mut found = Vec::new();
    while let Some(first) = held.first() {
        match first {
            0x00 | 0xff => held = held.get(1..)?,
            &SEQUENCE => {
                let (_, certificate, rest) = element(held)?;
                found.push(certificate);
                held = rest;
            }
            _ => return None,
        }
    }
    Some(found)
}

pub(super) fn contents(der: &[u8]) -> Option<Contents<'_>> {
    let certificate = inside(der, SEQUENCE)?;
    let mut fields = elements(inside(certificate, SEQUENCE)?);
    // version, serial number, signature, issuer, validity, subject
    let spki = fields.nth(6).map(|(_, whole)| whole)?;
    let mut found = Contents {
        spki,
        ..Contents::default()
    };
    let Some((_, extensions)) = fields.find(|(tag, _)| *tag == EXTENSIONS) else {
        return Some(found);
    };
    for (_, extension) in elements(inside(inside(extensions, EXTENSIONS)?, SEQUENCE)?) {
        let mut parts = elements(inside(extension, SEQUENCE)?).filter(|(tag, _)| *tag != BOOLEAN);
        let (oid, value) = (inside(parts.next()?.1, OID)?, inside(parts.next()?.1, OCTETS)?);
        match oid {
            SUBJECT_ALT_NAME => subject_alt_name(value, &mut found)?,
            EXTENDED_KEY_USAGE => found.usages = Some(usages(value)?),
            _ => {}
        }
    }
    Some(found)
}

pub(super) fn usages(value: &[u8]) -> Option<Vec<&[u8]>> {
    elements(inside(value, SEQUENCE)?)
        .map(|(_, usage)| inside(usage, OID))
        .collect()
}

fn subject_alt_name<'a>(value: &'a [u8], found: &mut Contents<'a>) -> Option<()> {
    let names = elements(inside(value, SEQUENCE)?);
    for (_, name) in elements(inside(value, SEQUENCE)?).filter(|(tag, _)| *tag == OTHER_NAME) {
        let mut parts = elements(inside(name, OTHER_NAME)?).map(|(_, whole)| whole);
        if inside(parts.next()?, OID)? == HARDWARE_MODULE_NAME {
            let value = inside(inside(parts.next()?, OTHER_NAME)?, SEQUENCE)?;
            let mut fields = elements(value).map(|(_, whole)| whole);
            let (kind, serial) = (inside(fields.next()?, OID)?, inside(fields.next()?, OCTETS)?);
            found.hardware_module = Some((kind, serial));
        }
    }
    for (_, name) in names.filter(|(tag, _)| *tag == DIRECTORY_NAME) {
        for (_, set) in elements(inside(inside(name, DIRECTORY_NAME)?, SEQUENCE)?) {
            for (_, attribute) in elements(inside(set, SET)?) {
                let mut parts = elements(inside(attribute, SEQUENCE)?);
                let (oid, text) = (inside(parts.next()?.1, OID)?, element(parts.next()?.1)?);
                record(oid, content(text.1)?, found);
            }
        }
    }
    Some(())
}

fn record(oid: &[u8], text: &[u8], found: &mut Contents<'_>) {
    let text = core::str::from_utf8(text).ok().map(str::to_owned);
    match oid.strip_prefix(TPM_ATTRIBUTE) {
        Some([1]) => found.manufacturer = text,
        Some([2]) => found.model = text,
        Some([3]) => found.version = text,
        _ => {}
    }
}

/// Tag, the whole element, and what follows it. Definite lengths up to 16 MiB: revocation lists are longer than certificates.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (header, length) = header(bytes)?;
    let total = header.checked_add(length)?;
    Some((*bytes.first()?, bytes.get(..total)?, bytes.get(total..)?))
}

fn header(bytes: &[u8]) -> Option<(usize, usize)> {
    match bytes {
        [_, short @ 0..=0x7f, ..] => Some((2, usize::from(*short))),
        [_, 0x81, length, ..] => Some((3, usize::from(*length))),
        [_, 0x82, high, low, ..] => Some((4, usize::from(u16::from_be_bytes([*high, *low])))),
        [_, 0x83, high, middle, low, ..] => {
            let length = u32::from_be_bytes([0, *high, *middle, *low]);
            Some((5, usize::try_from(length).ok()?))
        }
        _ => None,
    }
}

pub(super) fn content(whole: &[u8]) -> Option<&[u8]> {
    let (header, length) = header(whole)?;
    whole.get(header..header.checked_add(length)?)
}

pub(super) fn inside(whole: &[u8], tag: u8) -> Option<&[u8]> {
    if whole.first() == Some(&tag) {
        content(whole)
    } else {
        None
    }
}

pub(super) fn elements(mut rest: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    core::iter::from_fn(move || {
        let (tag, whole, after) = element(rest)?;
        rest = after;
        Some((tag, whole))
    })
}

/// RSA modulus and exponent of a SubjectPublicKeyInfo, whatever the algorithm identifier: vendors certify RSA
/// endorsement keys as rsaEncryption and as id-RSAES-OAEP.
pub(super) fn rsa_key(spki: &[u8]) -> Option<(&[u8], &[u8])> {
    rsa_key_of_contents(inside(spki, SEQUENCE)?)
}

/// As [`rsa_key`], of the contents of the SubjectPublicKeyInfo.
pub(super) fn rsa_key_of_contents(contents: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, bits) = elements(contents).nth(1)?;
    let key = inside(bits, 0x03)?.strip_prefix(&[0])?;
    let mut numbers = elements(inside(key, SEQUENCE)?);
    let mut number = || Some(trim_zero(inside(numbers.next()?.1, 0x02)?));
    Some((number()?, number()?))
}

fn trim_zero(number: &[u8]) -> &[u8] {
    number.strip_prefix(&[0]).unwrap_or(number)
}
