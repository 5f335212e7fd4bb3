//! Endorsement certificates: is this TPM a vendor's, or a simulator?
//!
//! A certificate is verified with webpki against roots that are handed in as two sets, production and simulator;
//! which set it chains to is part of the answer. Known quirks of real certificates are dealt with: filler after
//! the DER as NV indices hold it, PEM without a final newline, several certificates in one file, names whose DER is
//! not canonical. Intermediates whose certificate policies are critical, which webpki refuses, are verified here when
//! the policy is anyPolicy; an endorsement certificate with critical policies itself is refused.
//!
//! Revocation lists are handed in as well (nothing is fetched). Where an issuer's list is known it is enforced, its end
//! included; where none is known the result says so, or refuses where lists are required: see [`revocation`].

mod certificate;
pub mod device;
mod intermediate;
pub mod platform;
pub mod revocation;
mod strength;

use alcub3_crypto::VerifyingKey;
use alcub3_crypto::tpm::Public;
use core::time::Duration;
use intermediate::Issuer;
use revocation::{ListError, Revocations};
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime, pem::PemObject};
pub use strength::WeakestLink;
use thiserror::Error;
use webpki::{EndEntityCert, KeyUsage};

/// Longest endorsement certificate accepted, in bytes; NV indices hold at most 2 KiB or so.
const MAX_CERTIFICATE_BYTES: usize = 16 * 1024;
const MAX_ROOT_FILE_BYTES: usize = 1024 * 1024;

/// What a root vouches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootKind {
    /// A vendor's TPMs.
    Production,
    /// Simulated TPMs, for tests and demonstrations.
    Simulator,
}

/// Why a root file was refused.
#[derive(Debug, Error)]
pub enum RootError {
    /// The file is too long.
    #[error("the root file has {0} bytes; hand in certificates only")]
    TooLong(usize),
    /// The PEM text is damaged.
    #[error("the root file's PEM text is damaged")]
    Pem(#[source] rustls_pki_types::pem::Error),
    /// There is no certificate in it.
    #[error("the root file holds no certificate; it must be PEM or DER")]
    Empty,
    /// A certificate cannot be a trust anchor.
    #[error("certificate {number} of the root file cannot be a trust anchor")]
    Anchor {
        /// Which, counted from 1.
        number: usize,
        /// Why.
        source: webpki::Error,
    },
}

/// Why an endorsement certificate is not accepted.
#[derive(Debug, Error)]
pub enum EkError {
    /// Not a certificate.
    #[error("the endorsement certificate is not DER; read the whole NV index")]
    NotDer,
    /// More than filler follows it.
    #[error("{0} bytes that are not filler follow the endorsement certificate")]
    Trailing(usize),
    /// The certificate is too long.
    #[error("the endorsement certificate has {0} bytes; none has that many")]
    TooLong(usize),
    /// There is no root of either kind.
    #[error("there are no roots to check the endorsement certificate against")]
    NoRoots,
    /// No chain to any root.
    #[error(
        "the endorsement certificate does not chain to a root: {}; add the vendor's root or intermediate, or check the time",
        in_words(.0)
    )]
    Chain(webpki::Error),
    /// Its fields cannot be read.
    #[error("the endorsement certificate's fields cannot be read")]
    Fields,
    /// It states another purpose.
    #[error(
        "the certificate is not for an endorsement key: its extended key usage lacks tcg-kp-EKCertificate"
    )]
    Usage,
    /// A certificate on the way to the root was revoked by its issuer.
    #[error(
        "{what} is revoked: {issuer} lists its serial number {serial} ({reason}); do not trust what it certifies, ask its vendor why"
    )]
    Revoked {
        /// The endorsement certificate, or one above it.
        what: &'static str,
        /// The serial number in hex.
        serial: String,
        /// Who issued and revoked it.
        issuer: String,
        /// The reason that the list gives.
        reason: String,
    },
    /// A list is known, but not for this time.
    #[error(
        "the revocation list of {issuer} is not current: it ended, or begins later than now; put the issuer's newest list in \
         its place"
    )]
    ListNotCurrent {
        /// Whose list.
        issuer: String,
    },
    /// A list of the issuer's name does not bear its signature.
    #[error(
        "the only revocation lists that bear the name of {issuer} do not bear the signature of the key that issued this \
         certificate: they are of another key of that name (an older or a newer one of the issuer, or somebody else's), or were \
         changed; put the list of this key in their place, or remove them"
    )]
    ListSignature {
        /// The name on the list.
        issuer: String,
    },
    /// A list of the issuer's name is signed with an algorithm that is accepted nowhere.
    #[error(
        "the only revocation lists that bear the name of {issuer} are signed with an algorithm that is not accepted (SHA-1 and \
         MD5 are not): ask the issuer for a list that is signed with SHA-256 or better, or remove them"
    )]
    ListAlgorithm {
        /// The name on the list.
        issuer: String,
    },
    /// Lists are required, and some issuer's is missing.
    #[error(
        "revocation lists are required, and no usable one is known of {}: add the issuer's current, complete list",
        .issuers.join(" and of ")
    )]
    NotListed {
        /// Whose list is missing.
        issuers: Vec<String>,
    },
}

/// What endorsement certificates are judged by: trust anchors in two sets, and revocation lists.
#[derive(Debug, Clone, Default)]
pub struct Roots {
    production: Vec<Issuer>,
    simulator: Vec<Issuer>,
    revocations: Revocations,
    require_lists: bool,
}

/// An endorsement key whose certificate was verified. Only [`verify`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedEk {
    spki: Vec<u8>,
    manufacturer: Option<String>,
    model: Option<String>,
    version: Option<String>,
    root: RootKind,
    unlisted: Vec<String>,
    weakest: WeakestLink,
    /// Name of the issuer, its contents in DER.
    issuer: Vec<u8>,
    serial: Vec<u8>,
}

impl Roots {
    /// No roots: nothing is accepted.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds every certificate of a file (PEM, or one DER); gives their number. Each becomes a trust anchor, whether
    /// root or intermediate: the caller decides what to hand in.
    ///
    /// # Errors
    /// A file without a certificate, or with one that cannot be an anchor; then none of its certificates is added.
    pub fn add(&mut self, kind: RootKind, file: &[u8]) -> Result<usize, RootError> {
        let anchors = anchors(file)?;
        let (count, set) = match kind {
            RootKind::Production => (anchors.len(), &mut self.production),
            RootKind::Simulator => (anchors.len(), &mut self.simulator),
        };
        set.extend(anchors);
        Ok(count)
    }

    /// Adds every revocation list of a file (PEM, or one DER); gives their number. Whether an issuer signed it is seen when a
    /// certificate of that issuer is judged.
    ///
    /// # Errors
    /// [`ListError`]: no list, or one that cannot be used; then none of the file's is added.
    pub fn add_revocations(&mut self, file: &[u8]) -> Result<usize, ListError> {
        self.revocations.add(file)
    }

    /// Refuses from now on certificates of issuers without a current, complete revocation list.
    pub const fn require_revocation_lists(&mut self) {
        self.require_lists = true;
    }

    fn sets(&self) -> [(RootKind, &[Issuer]); 2] {
        [
            (RootKind::Production, &self.production),
            (RootKind::Simulator, &self.simulator),
        ]
    }
}

/// A certificate as an NV index holds it, without the filler after it.
///
/// # Errors
/// [`EkError::NotDer`] and [`EkError::Trailing`].
pub fn without_filler(held: &[u8]) -> Result<&[u8], EkError> {
    certificate::trim(held)
}

/// The certificates that NV indices hold one after the other, with filler between and after them.
///
/// # Errors
/// [`EkError::NotDer`] where anything else is among them.
pub fn split_chain(held: &[u8]) -> Result<Vec<&[u8]>, EkError> {
    certificate::split(held).ok_or(EkError::NotDer)
}

fn anchors(file: &[u8]) -> Result<Vec<Issuer>, RootError> {
    if file.len() > MAX_ROOT_FILE_BYTES {
        return Err(RootError::TooLong(file.len()));
    }
    let certificates = certificates(file)?;
    let anchor = |(at, der): (usize, &CertificateDer<'_>)| {
        Issuer::trusted(der).map_err(|source| RootError::Anchor {
            number: at + 1,
            source,
        })
    };
    certificates.iter().enumerate().map(anchor).collect()
}

fn certificates(file: &[u8]) -> Result<Vec<CertificateDer<'static>>, RootError> {
    let is_pem = file.windows(11).any(|window| window == b"-----BEGIN ");
    let certificates: Vec<CertificateDer<'static>> = if is_pem {
        CertificateDer::pem_slice_iter(file)
            .collect::<Result<_, _>>()
            .map_err(RootError::Pem)?
    } else {
        certificate::trim(file)
            .map(|der| CertificateDer::from(der.to_vec()))
            .into_iter()
            .collect()
    };
    if certificates.is_empty() {
        Err(RootError::Empty)
    } else {
        Ok(certificates)
    }
}

/// Verifies an endorsement certificate as read from NV, with the intermediates that came with it, at a time in
/// seconds since 1970. Production roots are tried first.
///
/// # Errors
/// [`EkError`] says what is wrong with the certificate, or that it chains to no root.
pub fn verify(
    certificate: &[u8],
    intermediates: &[&[u8]],
    roots: &Roots,
    time_s: u64,
) -> Result<VerifiedEk, EkError> {
    if certificate.len() > MAX_CERTIFICATE_BYTES {
        return Err(EkError::TooLong(certificate.len()));
    }
    let der = CertificateDer::from(certificate::trim(certificate)?);
    let intermediates: Vec<CertificateDer<'_>> = intermediates
        .iter()
        .map(|der| CertificateDer::from(*der))
        .collect();
    let leaf = Leaf {
        der: &der,
        usage: certificate::EK_USAGE,
        words: [
            "the endorsement certificate",
            "a certificate above the endorsement certificate",
        ],
    };
    let Chained {
        root,
        unlisted,
        weakest,
    } = chain(&leaf, &intermediates, &roots.sets(), roots, time_s)?;
    let contents = certificate::contents(&der).ok_or(EkError::Fields)?;
    let parts = intermediate::Parts::read(&der).ok_or(EkError::Fields)?;
    if contents
        .usages
        .is_some_and(|usages| !usages.contains(&certificate::EK_USAGE))
    {
        return Err(EkError::Usage);
    }
    Ok(VerifiedEk {
        spki: contents.spki.to_vec(),
        manufacturer: contents.manufacturer,
        model: contents.model,
        version: contents.version,
        root,
        unlisted,
        weakest,
        issuer: parts.issuer.to_vec(),
        serial: parts.serial.to_vec(),
    })
}

/// A certificate whose way to a root is looked for.
struct Leaf<'a> {
    der: &'a CertificateDer<'a>,
    /// The extended key usage that it, and those above it, have where they have any.
    usage: &'static [u8],
    /// What it and those above it are called.
    words: [&'static str; 2],
}

/// A way to a root that holds.
struct Chained {
    root: RootKind,
    /// The issuers on it of whom no usable revocation list is known.
    unlisted: Vec<String>,
    weakest: WeakestLink,
}

fn chain(
    leaf: &Leaf<'_>,
    intermediates: &[CertificateDer<'_>],
    sets: &[(RootKind, &[Issuer])],
    roots: &Roots,
    time_s: u64,
) -> Result<Chained, EkError> {
    let end = EndEntityCert::try_from(leaf.der).map_err(EkError::Chain)?;
    let time = UnixTime::since_unix_epoch(Duration::from_secs(time_s));
    let mut failure = EkError::NoRoots;
    for &(kind, anchors) in sets {
        if anchors.is_empty() {
            continue;
        }
        // Required only where present: webpki would ask it of intermediates as well. The leaf's is checked above.
        let usage = KeyUsage::required_if_present(leaf.usage);
        let issuers = intermediate::with_verified(anchors, intermediates, time_s);
        let handed_in = anchors;
        let anchors: Vec<TrustAnchor<'_>> = issuers.iter().map(|issuer| issuer.anchor.clone()).collect();
        let algorithms = webpki::ALL_VERIFICATION_ALGS;
        match end.verify_for_usage(algorithms, &anchors, intermediates, time, usage, None, None) {
            Ok(path) if !intermediate::keeps_length(&path, &issuers) => {
                failure = EkError::Chain(webpki::Error::PathLenConstraintViolated);
            }
            Ok(path) => {
                let unlisted = roots.revocations.check(&path, &issuers, leaf.words, time_s)?;
                let weakest = WeakestLink::of(&path, &issuers, handed_in).ok_or(EkError::Fields)?;
                return match unlisted.is_empty() || !roots.require_lists {
                    true => Ok(Chained {
                        root: kind,
                        unlisted,
                        weakest,
                    }),
                    false => Err(EkError::NotListed { issuers: unlisted }),
                };
            }
            Err(error) => failure = EkError::Chain(error),
        }
    }
    Err(failure)
}

impl VerifiedEk {
    /// The certified public key, SubjectPublicKeyInfo in DER, as the certificate has it.
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// TPM manufacturer as the certificate states it, as `id:53544D20`.
    #[must_use]
    pub fn manufacturer(&self) -> Option<&str> {
        self.manufacturer.as_deref()
    }

    /// TPM model as the certificate states it.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// TPM firmware version as the certificate states it.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// Whether it chained to a simulator's root and to no production root.
    #[must_use]
    pub fn is_simulator(&self) -> bool {
        self.root == RootKind::Simulator
    }

    /// The issuers on the way to the root of whom no usable revocation list was known: whether they revoked what they issued
    /// was not checked.
    #[must_use]
    pub fn unlisted_issuers(&self) -> &[String] {
        &self.unlisted
    }

    /// The weakest signature that the endorsement rests on.
    #[must_use]
    pub const fn weakest_link(&self) -> &WeakestLink {
        &self.weakest
    }

    /// Whether a TPM's public area has the certified key.
    #[must_use]
    pub fn certifies(&self, public: &Public) -> bool {
        is_key_of(&self.spki, public)
    }
}

/// Whether a SubjectPublicKeyInfo is that of a TPM's public area.
fn is_key_of(spki: &[u8], public: &Public) -> bool {
    if let Some((modulus, exponent)) = public.rsa() {
        let expected = exponent.to_be_bytes();
        let exponent = expected
            .iter()
            .position(|byte| *byte != 0)
            .and_then(|at| expected.get(at..));
        return certificate::rsa_key(spki).is_some_and(|(n, e)| n == modulus && Some(e) == exponent);
    }
    let certified = VerifyingKey::from_spki_der(spki).ok();
    let own = public
        .ec_point()
        .and_then(|(curve, x, y)| VerifyingKey::from_ec_point(curve, &x, &y).ok());
    certified.is_some() && certified == own
}

/// Why no chain was found. The library's errors are names for programmers.
fn in_words(error: &webpki::Error) -> String {
    use webpki::Error as E;
    match error {
        E::UnknownIssuer => "none of the roots is its issuer".to_owned(),
        E::InvalidSignatureForPublicKey => "the root of its issuer's name did not sign it".to_owned(),
        E::CertExpired { .. } => "it, or one above it, has expired".to_owned(),
        E::CertNotValidYet { .. } => "it, or one above it, is not valid yet".to_owned(),
        E::PathLenConstraintViolated => {
            "more authorities stand below one of those above it than that one's certificate allows".to_owned()
        }
        E::UnsupportedSignatureAlgorithmContext(_)
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            "it, or one above it, is signed with an algorithm that is not accepted (SHA-1 and MD5 are not)"
                .to_owned()
        }
        other => other.to_string(),
    }
}
