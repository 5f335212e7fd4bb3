//! Endorsement certificates: is this TPM a vendor's, or a simulator?
//!
//! A certificate is verified with webpki against roots that are handed in as two sets, production and simulator;
//! which set it chains to is part of the answer. Known quirks of real certificates are dealt with: filler after
//! the DER as NV indices hold it, PEM without a final newline, several certificates in one file, names whose DER is
//! not canonical. Intermediates whose certificate policies are critical, which webpki refuses, are verified here when
//! the policy is anyPolicy; an endorsement certificate with critical policies itself is refused.

mod certificate;
mod intermediate;

use alcub3_crypto::VerifyingKey;
use alcub3_crypto::tpm::Public;
use core::time::Duration;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime, pem::PemObject};
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
}

/// Trust anchors in two sets.
#[derive(Debug, Clone, Default)]
pub struct Roots {
    production: Vec<TrustAnchor<'static>>,
    simulator: Vec<TrustAnchor<'static>>,
}

/// An endorsement key whose certificate was verified. Only [`verify`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedEk {
    spki: Vec<u8>,
    manufacturer: Option<String>,
    model: Option<String>,
    version: Option<String>,
    root: RootKind,
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

    fn sets(&self) -> [(RootKind, &[TrustAnchor<'static>]); 2] {
        [
            (RootKind::Production, &self.production),
            (RootKind::Simulator, &self.simulator),
        ]
    }
}

fn anchors(file: &[u8]) -> Result<Vec<TrustAnchor<'static>>, RootError> {
    if file.len() > MAX_ROOT_FILE_BYTES {
        return Err(RootError::TooLong(file.len()));
    }
    let certificates = certificates(file)?;
    let anchor = |(at, der): (usize, &CertificateDer<'_>)| {
        let anchor = webpki::anchor_from_trusted_cert(der);
        anchor
            .map(|anchor| anchor.to_owned())
            .map_err(|source| RootError::Anchor {
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
    let root = chain(&der, &intermediates, roots, time_s)?;
    let contents = certificate::contents(&der).ok_or(EkError::Fields)?;
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
    })
}

fn chain(
    der: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    roots: &Roots,
    time_s: u64,
) -> Result<RootKind, EkError> {
    let leaf = EndEntityCert::try_from(der).map_err(EkError::Chain)?;
    let time = UnixTime::since_unix_epoch(Duration::from_secs(time_s));
    let mut failure = EkError::NoRoots;
    for (kind, anchors) in roots.sets() {
        if anchors.is_empty() {
            continue;
        }
        // Required only where present: webpki would ask it of intermediates as well. The leaf's is checked above.
        let usage = KeyUsage::required_if_present(certificate::EK_USAGE);
        let anchors = intermediate::with_verified(anchors, intermediates, time_s);
        let algorithms = webpki::ALL_VERIFICATION_ALGS;
        match leaf.verify_for_usage(algorithms, &anchors, intermediates, time, usage, None, None) {
            Ok(_) => return Ok(kind),
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

    /// Whether a TPM's public area has the certified key.
    #[must_use]
    pub fn certifies(&self, public: &Public) -> bool {
        if let Some((modulus, exponent)) = public.rsa() {
            let expected = exponent.to_be_bytes();
            let exponent = expected
                .iter()
                .position(|byte| *byte != 0)
                .and_then(|at| expected.get(at..));
            return certificate::rsa_key(&self.spki)
                .is_some_and(|(n, e)| n == modulus && Some(e) == exponent);
        }
        let certified = VerifyingKey::from_spki_der(&self.spki).ok();
        let own = public
            .ec_point()
            .and_then(|(curve, x, y)| VerifyingKey::from_ec_point(curve, &x, &y).ok());
        certified.is_some() && certified == own
    }
}

/// Why no chain was found. The library's errors are names for programmers.
fn in_words(error: &webpki::Error) -> String {
    use webpki::Error as E;
    match error {
        E::UnknownIssuer => "none of the roots is its issuer".to_owned(),
        E::InvalidSignatureForPublicKey => "the root of its issuer's name did not sign it".to_owned(),
        E::CertExpired { .. } => "it, or one above it, has expired".to_owned(),
        E::CertNotValidYet { .. } => "it, or one above it, is not valid yet".to_owned(),
        other => other.to_string(),
    }
}
