//! Intermediates that webpki refuses because their certificate policies are critical (seen: STMicroelectronics).
//!
//! No policy is asked for here, so the policy anyPolicy has no effect on the path (RFC 5280 §6.1) and may be
//! critical. Everything else about such a certificate is checked as strictly as webpki does: signature, validity,
//! CA, path length, key usage, and no other critical extension.

use super::certificate::{
    BOOLEAN, EK_USAGE, EXTENDED_KEY_USAGE, EXTENSIONS, OCTETS, OID, SEQUENCE, content, elements, inside,
    usages,
};
use rustls_pki_types::{CertificateDer, TrustAnchor};
use webpki::VerifiedPath;

const INTEGER: u8 = 0x02;
const BITS: u8 = 0x03;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// [0] EXPLICIT INTEGER 2: version 3.
const VERSION_3: &[u8] = &[0xa0, 0x03, 0x02, 0x01, 0x02];

const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const CERTIFICATE_POLICIES: &[u8] = &[0x55, 0x1d, 0x20];
const ANY_POLICY: &[u8] = &[0x55, 0x1d, 0x20, 0x00];
/// keyCertSign is bit 5 of the first byte.
const KEY_CERT_SIGN: u8 = 0x04;
/// digitalSignature is bit 0.
const DIGITAL_SIGNATURE: u8 = 0x80;
/// cRLSign is bit 6.
const CRL_SIGN: u8 = 0x02;
/// Rounds of promotion: chains of endorsement certificates have at most four levels.
const MAX_ROUNDS: usize = 3;

/// A trust anchor with its certificate, and how many authorities may still stand below it.
#[derive(Debug, Clone)]
pub(super) struct Issuer {
    pub(super) anchor: TrustAnchor<'static>,
    pub(super) der: CertificateDer<'static>,
    below: Option<u8>,
}

impl Issuer {
    /// A certificate that somebody handed in to be trusted.
    pub(super) fn trusted(der: &CertificateDer<'_>) -> Result<Self, webpki::Error> {
        Ok(Self {
            anchor: webpki::anchor_from_trusted_cert(der)?.to_owned(),
            der: der.clone().into_owned(),
            below: None,
        })
    }
}

/// The anchors, and the intermediates with critical policies that chain to them.
pub(super) fn with_verified(
    anchors: &[Issuer],
    intermediates: &[CertificateDer<'_>],
    time_s: u64,
) -> Vec<Issuer> {
    let mut issuers = anchors.to_vec();
    let mut left: Vec<&CertificateDer<'_>> = intermediates.iter().take(8).collect();
    for _ in 0..MAX_ROUNDS {
        let mut found = Vec::new();
        left.retain(|der| match promote(der, &issuers, time_s) {
            Some(issuer) => {
                found.push(issuer);
                false
            }
            None => true,
        });
        if found.is_empty() {
            break;
        }
        issuers.extend(found);
    }
    issuers
}

fn promote(der: &CertificateDer<'_>, issuers: &[Issuer], time_s: u64) -> Option<Issuer> {
    let parts = Parts::read(der)?;
    let limit = parts.authority(time_s)?;
    let parent = issuers.iter().find(|issuer| parts.is_issued_by(issuer))?;
    let inherited = parent.below.map(|below| below - 1);
    let below = limit.into_iter().chain(inherited).min();
    let issuer = Issuer::trusted(der).ok()?;
    Some(Issuer { below, ..issuer })
}

/// Whether no more authorities stand on a path than its anchor lets stand below it: webpki asks that of no trust anchor.
pub(super) fn keeps_length(path: &VerifiedPath<'_>, issuers: &[Issuer]) -> bool {
    let below = path.intermediate_certificates().count();
    let mut anchors = issuers.iter().filter(|issuer| issuer.anchor == *path.anchor());
    anchors.any(|anchor| anchor.below.is_none_or(|most| below <= usize::from(most)))
}

/// What X.509 signs: the part that is signed, the algorithm and the signature (RFC 5280, 4.1 and 5.1).
#[derive(Debug, Clone, Copy)]
pub(super) struct Signed<'a> {
    pub(super) tbs: &'a [u8],
    /// The whole AlgorithmIdentifier.
    algorithm: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Signed<'a> {
    pub(super) fn read(der: &'a [u8]) -> Option<Self> {
        let mut outer = elements(inside(der, SEQUENCE)?);
        let (tbs, algorithm, signature) = (outer.next()?.1, outer.next()?.1, outer.next()?.1);
        Some(Self {
            tbs,
            algorithm,
            signature: inside(signature, BITS)?.strip_prefix(&[0])?,
        })
    }

    /// The whole AlgorithmIdentifier.
    pub(super) const fn algorithm(&self) -> &'a [u8] {
        self.algorithm
    }

    /// Whether it is signed with an algorithm that is accepted, by whatever key.
    pub(super) fn is_accepted(&self) -> bool {
        let algorithm = inside(self.algorithm, SEQUENCE);
        let mut known = webpki::ALL_VERIFICATION_ALGS.iter();
        known.any(|known| Some(known.signature_alg_id().as_ref()) == algorithm)
    }

    /// Whether the key of this SubjectPublicKeyInfo (its contents) signed it.
    pub(super) fn is_signed_by(&self, spki: &[u8]) -> bool {
        let mut fields = elements(spki).map(|(_, whole)| whole);
        let key_algorithm = fields.next().and_then(|whole| inside(whole, SEQUENCE));
        let key = fields
            .next()
            .and_then(|whole| inside(whole, BITS)?.strip_prefix(&[0]));
        let algorithm = inside(self.algorithm, SEQUENCE);
        let (Some(key_algorithm), Some(key), Some(algorithm)) = (key_algorithm, key, algorithm) else {
            return false;
        };
        webpki::ALL_VERIFICATION_ALGS.iter().any(|known| {
            known.signature_alg_id().as_ref() == algorithm
                && known.public_key_alg_id().as_ref() == key_algorithm
                && known.verify_signature(key, self.tbs, self.signature).is_ok()
        })
    }
}

/// A certificate's parts, each still in its DER.
pub(super) struct Parts<'a> {
    signed: Signed<'a>,
    pub(super) serial: &'a [u8],
    pub(super) issuer: &'a [u8],
    validity: &'a [u8],
    pub(super) subject: &'a [u8],
    extensions: &'a [u8],
}

impl<'a> Parts<'a> {
    pub(super) fn read(der: &'a [u8]) -> Option<Self> {
        let signed = Signed::read(der)?;
        let mut fields = elements(inside(signed.tbs, SEQUENCE)?).map(|(_, whole)| whole);
        let version = fields.next()?;
        let (serial, inner_algorithm, issuer) = (fields.next()?, fields.next()?, fields.next()?);
        let (validity, subject, _spki) = (fields.next()?, fields.next()?, fields.next()?);
        let extensions = fields.find(|field| field.first() == Some(&EXTENSIONS))?;
        let sound = version == VERSION_3 && inner_algorithm == signed.algorithm;
        sound.then_some(Self {
            signed,
            serial: inside(serial, INTEGER)?,
            issuer: inside(issuer, SEQUENCE)?,
            validity: inside(validity, SEQUENCE)?,
            subject: inside(subject, SEQUENCE)?,
            extensions: inside(inside(extensions, EXTENSIONS)?, SEQUENCE)?,
        })
    }

    /// Whether the issuer signed it and may have an authority below.
    fn is_issued_by(&self, issuer: &Issuer) -> bool {
        let admitted = issuer.below != Some(0) && issuer.anchor.name_constraints.is_none();
        admitted && self.is_signed_by(issuer)
    }

    /// Whether the issuer, by name and key, signed it.
    pub(super) fn is_signed_by(&self, issuer: &Issuer) -> bool {
        let anchor = &issuer.anchor;
        anchor.subject.as_ref() == self.issuer && self.signed.is_signed_by(&anchor.subject_public_key_info)
    }

    /// Whether its key usage, where it states one, lets it sign revocation lists.
    pub(super) fn may_sign_lists(&self) -> bool {
        self.has_key_usage(CRL_SIGN)
    }

    /// Whether its key usage has any of these bits, or it states none.
    fn has_key_usage(&self, any_of: u8) -> bool {
        let extensions = elements(self.extensions).filter_map(|(_, extension)| inside(extension, SEQUENCE));
        let mut usages = extensions.filter_map(|extension| {
            let mut parts = elements(extension).map(|(_, whole)| whole);
            let oid = inside(parts.next()?, OID)?;
            (oid == KEY_USAGE).then(|| parts.last()).flatten()
        });
        usages.all(|value| {
            let bits = inside(value, OCTETS).and_then(|value| inside(value, BITS));
            matches!(bits, Some([_, bits, ..]) if bits & any_of != 0)
        })
    }

    /// Whether its key usage, where it states one, lets it sign attribute certificates: as one that signs or as an authority.
    pub(super) fn may_sign_attributes(&self) -> bool {
        self.has_key_usage(DIGITAL_SIGNATURE | KEY_CERT_SIGN)
    }

    /// Its path length limit if it is a valid authority at that time and nothing critical in it is unknown.
    fn authority(&self, time_s: u64) -> Option<Option<u8>> {
        let mut times = elements(self.validity);
        let (from, to) = (seconds(times.next()?)?, seconds(times.next()?)?);
        if time_s < from || time_s > to {
            return None;
        }
        let mut limit = None;
        for (_, extension) in elements(self.extensions) {
            let mut parts = elements(inside(extension, SEQUENCE)?)
                .map(|(_, whole)| whole)
                .peekable();
            let oid = inside(parts.next()?, OID)?;
            let flag = parts.next_if(|part| part.first() == Some(&BOOLEAN));
            let critical = flag.is_some_and(|flag| content(flag) != Some(&[0]));
            let value = inside(parts.next()?, OCTETS)?;
            match oid {
                BASIC_CONSTRAINTS => limit = Some(path_limit(value)?),
                KEY_USAGE => may_sign_certificates(value)?,
                EXTENDED_KEY_USAGE if usages(value)?.contains(&EK_USAGE) => {}
                CERTIFICATE_POLICIES if !critical || only_any_policy(value) => {}
                _ if !critical && oid != EXTENDED_KEY_USAGE => {}
                _ => return None,
            }
        }
        limit
    }
}

/// BasicConstraints of an authority: cA must be TRUE.
fn path_limit(value: &[u8]) -> Option<Option<u8>> {
    let mut fields = elements(inside(value, SEQUENCE)?).map(|(_, whole)| whole);
    if inside(fields.next()?, BOOLEAN)? != [0xff] {
        return None;
    }
    match fields.next() {
        None => Some(None),
        Some(limit) => match inside(limit, INTEGER)? {
            [limit @ 0..=0x7f] => Some(Some(*limit)),
            _ => None,
        },
    }
}

fn may_sign_certificates(value: &[u8]) -> Option<()> {
    match inside(value, BITS)? {
        [_, bits, ..] if bits & KEY_CERT_SIGN != 0 => Some(()),
        _ => None,
    }
}

fn only_any_policy(value: &[u8]) -> bool {
    let Some(policies) = inside(value, SEQUENCE) else {
        return false;
    };
    let is_any = |policy: &[u8]| {
        let first = inside(policy, SEQUENCE).and_then(|policy| elements(policy).next());
        first.and_then(|(_, oid)| inside(oid, OID)) == Some(ANY_POLICY)
    };
    elements(policies).all(|(_, policy)| is_any(policy)) && elements(policies).next().is_some()
}

/// UTCTime (years 1950 to 2049) or GeneralizedTime, both ending in seconds and Z, as seconds since 1970.
pub(super) fn seconds((tag, whole): (u8, &[u8])) -> Option<u64> {
    let text = content(whole)?.strip_suffix(b"Z")?;
    let mut pairs = text.chunks(2).map(|pair| match pair {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => {
            Some(u64::from(tens - b'0') * 10 + u64::from(ones - b'0'))
        }
        _ => None,
    });
    let mut pair = || pairs.next().flatten();
    let year = match (tag, text.len()) {
        (UTC_TIME, 12) => pair().map(|year| if year < 50 { 2000 + year } else { 1900 + year })?,
        (GENERALIZED_TIME, 14) => pair()? * 100 + pair()?,
        _ => return None,
    };
    let (month, day, hour, minute, second) = (pair()?, pair()?, pair()?, pair()?, pair()?);
    let valid =
        (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 61;
    let days = if valid && year >= 1970 {
        days_since_1970(year, month, day)
    } else {
        return None;
    };
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

/// Days of the Gregorian calendar, counted in years that begin in March.
const fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}
