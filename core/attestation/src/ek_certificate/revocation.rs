//! Certificate revocation lists (RFC 5280, 5), given offline.
//!
//! webpki reads the lists and refuses what it does not know (delta and indirect lists, unknown critical extensions). They are
//! held against the path here and not by webpki: it takes the first list of an issuer's name, knows nothing above a trust
//! anchor, and does not say whose list it missed. Here:
//! - a certificate that any authentic list of its issuer names is revoked, be the list old or partial;
//! - an issuer with lists of its name of which none has its signature, or none is current, lets nothing through;
//! - an issuer without a complete list is said not to have been checked.
//!
//! Intermediates that were handed in as trust anchors are checked too, as far up as their issuers were handed in.

use super::EkError;
use super::certificate::{OID, SEQUENCE, content, elements, inside, trim};
use super::intermediate::{Issuer, Parts, Signed, seconds};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, pem::PemObject};
use std::fmt::Write as _;
use std::sync::Arc;
use thiserror::Error;
use webpki::{CertRevocationList, OwnedCertRevocationList, VerifiedPath};

/// Longest file of lists, in bytes.
const MAX_FILE_BYTES: usize = 16 * 1024 * 1024;
/// Most certificates from an endorsement certificate to its root.
const MAX_DEPTH: usize = 16;
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// Why a file of revocation lists was refused.
#[derive(Debug, Error)]
pub enum ListError {
    /// The file is too long.
    #[error("the file has {0} bytes; hand in revocation lists only")]
    TooLong(usize),
    /// The PEM text is damaged.
    #[error("the file's PEM text is damaged")]
    Pem(#[source] rustls_pki_types::pem::Error),
    /// There is no list in it.
    #[error("the file holds no revocation list; it must be PEM (`X509 CRL`) or DER")]
    Empty,
    /// A list cannot be used.
    #[error(
        "revocation list {number} of the file cannot be used: it must be a complete or partitioned X.509 v2 list"
    )]
    List {
        /// Which, counted from 1.
        number: usize,
        /// Why.
        source: webpki::Error,
    },
}

/// The lists that were handed in.
#[derive(Debug, Clone, Default)]
pub(super) struct Revocations(Vec<List>);

#[derive(Debug, Clone)]
struct List {
    read: Arc<CertRevocationList<'static>>,
    der: CertificateRevocationListDer<'static>,
    /// thisUpdate and nextUpdate, in seconds since 1970.
    from_s: u64,
    to_s: u64,
}

impl Revocations {
    pub(super) fn add(&mut self, file: &[u8]) -> Result<usize, ListError> {
        if file.len() > MAX_FILE_BYTES {
            return Err(ListError::TooLong(file.len()));
        }
        let lists = encoded(file)?.into_iter().enumerate();
        let lists = lists.map(|(at, der)| {
            List::read(der).map_err(|source| ListError::List {
                number: at + 1,
                source,
            })
        });
        let lists: Vec<List> = lists.collect::<Result<_, _>>()?;
        let count = lists.len();
        self.0.extend(lists);
        Ok(count)
    }

    /// Holds the lists against a path, whose leaf and others are called so. Gives the issuers of whom none is known.
    pub(super) fn check(
        &self,
        path: &VerifiedPath<'_>,
        issuers: &[Issuer],
        [leaf, above]: [&'static str; 2],
        time_s: u64,
    ) -> Result<Vec<String>, EkError> {
        let mut unlisted = Vec::new();
        let (certificates, signers) = links(path, issuers).ok_or(EkError::Fields)?;
        for (at, (der, signer)) in certificates.iter().zip(&signers).enumerate() {
            let certificate = Parts::read(der).ok_or(EkError::Fields)?;
            let what = match at {
                0 => leaf,
                _ => above,
            };
            if !self.lists(what, (certificate.serial, certificate.issuer), signer, time_s)? {
                unlisted.push(in_words(certificate.issuer));
            }
        }
        Ok(unlisted)
    }

    /// As [`Self::check`], for an authority and those above it as far as they are known.
    pub(super) fn check_above(
        &self,
        authority: &Issuer,
        issuers: &[Issuer],
        time_s: u64,
    ) -> Result<Vec<String>, EkError> {
        let (mut unlisted, mut at) = (Vec::new(), authority);
        for _ in 0..MAX_DEPTH {
            let (Some(signer), Some(certificate)) = (above(at, issuers), Parts::read(&at.der)) else {
                break;
            };
            let named = (certificate.serial, certificate.issuer);
            if !self.lists(
                "a certificate above the platform certificate",
                named,
                signer,
                time_s,
            )? {
                unlisted.push(in_words(certificate.issuer));
            }
            at = signer;
        }
        Ok(unlisted)
    }

    /// Whether a current, complete list says that what has this serial number and issuer is not revoked.
    pub(super) fn lists(
        &self,
        what: &'static str,
        (serial, issuer_name): (&[u8], &[u8]),
        signer: &Issuer,
        time_s: u64,
    ) -> Result<bool, EkError> {
        let issuer = || in_words(issuer_name);
        let named: Vec<&List> = self.of(issuer_name).collect();
        if named.is_empty() {
            return Ok(false);
        }
        let key = &signer.anchor.subject_public_key_info;
        let authentic: Vec<&List> = named.into_iter().filter(|list| list.is_signed_by(key)).collect();
        if authentic.is_empty() {
            return Err(match self.of(issuer_name).any(List::is_accepted) {
                true => EkError::ListSignature { issuer: issuer() },
                false => EkError::ListAlgorithm { issuer: issuer() },
            });
        }
        for list in &authentic {
            if let Some(reason) = list.revokes(serial) {
                return Err(EkError::Revoked {
                    what,
                    serial: hex(serial),
                    issuer: issuer(),
                    reason,
                });
            }
        }
        let may_sign = Parts::read(&signer.der).is_none_or(|signer| signer.may_sign_lists());
        let mut complete = authentic
            .into_iter()
            .filter(|list| may_sign && list.is_complete())
            .peekable();
        if complete.peek().is_none() {
            Ok(false)
        } else if complete.any(|list| list.is_current(time_s)) {
            Ok(true)
        } else {
            Err(EkError::ListNotCurrent { issuer: issuer() })
        }
    }

    fn of<'a>(&'a self, issuer: &'a [u8]) -> impl Iterator<Item = &'a List> {
        self.0.iter().filter(|list| same_name(list.read.issuer(), issuer))
    }
}

impl List {
    fn read(der: CertificateRevocationListDer<'static>) -> Result<Self, webpki::Error> {
        let read = OwnedCertRevocationList::from_der(&der)?;
        let (from_s, to_s) = validity(&der).ok_or(webpki::Error::BadDerTime)?;
        Ok(Self {
            read: Arc::new(read.into()),
            der,
            from_s,
            to_s,
        })
    }

    fn is_signed_by(&self, spki: &[u8]) -> bool {
        Signed::read(&self.der).is_some_and(|signed| signed.is_signed_by(spki))
    }

    fn is_accepted(&self) -> bool {
        Signed::read(&self.der).is_some_and(|signed| signed.is_accepted())
    }

    /// The reason, where the list names this serial number, with or without the zero in front that some issuers leave out of a
    /// certificate or of a list.
    fn revokes(&self, serial: &[u8]) -> Option<String> {
        let plain = without_zeros(serial);
        let signed = [&[0], plain].concat();
        let forms = [serial, plain, signed.as_slice()];
        forms.into_iter().find_map(|form| self.names(form))
    }

    fn names(&self, serial: &[u8]) -> Option<String> {
        match self.read.find_serial(serial) {
            Ok(None) => None,
            Ok(Some(entry)) => Some(
                entry
                    .reason_code
                    .map_or_else(|| "no reason given".to_owned(), |reason| format!("{reason:?}")),
            ),
            Err(_) => Some("the list cannot be read".to_owned()),
        }
    }

    /// Whether it is about everything that its issuer issued (no issuingDistributionPoint).
    fn is_complete(&self) -> bool {
        self.read.issuing_distribution_point().is_none()
    }

    const fn is_current(&self, time_s: u64) -> bool {
        self.from_s <= time_s && time_s < self.to_s
    }
}

fn encoded(file: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, ListError> {
    let is_pem = file.windows(11).any(|window| window == b"-----BEGIN ");
    let lists: Vec<_> = if is_pem {
        CertificateRevocationListDer::pem_slice_iter(file)
            .collect::<Result<_, _>>()
            .map_err(ListError::Pem)?
    } else {
        let der = trim(file).map_err(|_| ListError::Empty)?;
        vec![CertificateRevocationListDer::from(der.to_vec())]
    };
    if lists.is_empty() {
        return Err(ListError::Empty);
    }
    Ok(lists)
}

/// thisUpdate and nextUpdate. webpki has read the list: both are there.
fn validity(der: &[u8]) -> Option<(u64, u64)> {
    let mut fields = elements(inside(Signed::read(der)?.tbs, SEQUENCE)?);
    // version, signature, issuer
    let (from, to) = (fields.nth(3)?, fields.next()?);
    Some((seconds(from)?, seconds(to)?))
}

/// Every certificate of the path that somebody issued, and who: from the endorsement certificate to the trust anchor, and on
/// through trust anchors that others of them issued.
fn links(path: &VerifiedPath<'_>, issuers: &[Issuer]) -> Option<(Vec<CertificateDer<'static>>, Vec<Issuer>)> {
    let mut certificates = vec![path.end_entity().der().into_owned()];
    let mut signers = Vec::new();
    for certificate in path.intermediate_certificates() {
        signers.push(Issuer::trusted(&certificate.der()).ok()?);
        certificates.push(certificate.der().into_owned());
    }
    let anchor = path.anchor();
    let mut signer = issuers.iter().find(|issuer| issuer.anchor == *anchor);
    signer?;
    while let Some(found) = signer.filter(|_| signers.len() < MAX_DEPTH) {
        signers.push(found.clone());
        signer = above(found, issuers);
        if signer.is_some() {
            certificates.push(found.der.clone());
        }
    }
    Some((certificates, signers))
}

/// Who issued a trust anchor, among the others.
fn above<'a>(anchor: &Issuer, issuers: &'a [Issuer]) -> Option<&'a Issuer> {
    let parts = Parts::read(&anchor.der)?;
    // By the key and not by the name: a root's new key is certified by its old one under the same name, and can be revoked so.
    if parts.is_signed_by(anchor) {
        return None;
    }
    issuers.iter().find(|issuer| parts.is_signed_by(issuer))
}

/// A serial number without zeros in front.
pub(super) fn without_zeros(serial: &[u8]) -> &[u8] {
    let first = serial.iter().position(|byte| *byte != 0).unwrap_or(serial.len());
    serial.get(first..).unwrap_or_default()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The types and values of a distinguished name, whichever kind of string each is written as: that differs between a
/// certificate and a list now and then.
pub(super) fn attributes(name: &[u8]) -> Vec<(&[u8], &[u8])> {
    let sets = elements(name).filter_map(|(_, set)| content(set));
    sets.flat_map(elements)
        .filter_map(|(_, attribute)| {
            let mut parts = elements(inside(attribute, SEQUENCE)?).map(|(_, whole)| whole);
            Some((inside(parts.next()?, OID)?, content(parts.next()?)?))
        })
        .collect()
}

/// Whether two distinguished names, contents in DER, are the same.
pub(super) fn same_name(one: &[u8], other: &[u8]) -> bool {
    attributes(one) == attributes(other)
}

/// A distinguished name for people: its common names, else all its values.
pub(super) fn in_words(name: &[u8]) -> String {
    let all = attributes(name);
    let has_common_name = all.iter().any(|(oid, _)| *oid == COMMON_NAME);
    let shown = all
        .into_iter()
        .filter(|(oid, _)| *oid == COMMON_NAME || !has_common_name);
    let texts: Vec<String> = shown
        .map(|(_, text)| {
            let text = String::from_utf8_lossy(text);
            text.chars().filter(|c| !c.is_control()).collect()
        })
        .collect();
    if texts.is_empty() {
        "an issuer without a name".to_owned()
    } else {
        texts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_number_is_found_with_and_without_its_zero() {
        let ca = alcub3_testkit::SimulatorCa::new().unwrap();
        for listed in [&[0x8f, 0x01][..], &[0x12, 0x01]] {
            let der = ca.serial_list(listed, (2026, 2027)).unwrap();
            let list = List::read(der.into()).unwrap();
            for serial in [listed.to_vec(), [&[0], listed].concat()] {
                assert!(list.revokes(&serial).is_some(), "{serial:02x?}");
            }
            assert!(list.revokes(&[0x01]).is_none());
        }
    }
}
