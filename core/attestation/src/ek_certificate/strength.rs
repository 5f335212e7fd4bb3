//! How strong the signatures are that an endorsement rests on (NIST SP 800-57 part 1, tables 2 and 3): said, not asked for.
//!
//! What is never accepted, webpki and this crate refuse for every link, list and attribute certificate: SHA-1, MD5, RSA below 2048
//! bits. Of what is left, vendors sign endorsement keys of every strength with RSA-2048 or P-256 somewhere on the way, P-384 keys
//! too: to ask for more would refuse chips and make none safer. A trust anchor is no link: whoever handed it in vouches for it.

use super::certificate::{self, OID, SEQUENCE, elements, inside};
use super::intermediate::{Issuer, Parts, Signed};
use super::revocation::in_words;
use rustls_pki_types::CertificateDer;
use webpki::VerifiedPath;

/// RSA signatures with SHA-256, SHA-384 and SHA-512, and RSASSA-PSS: 1.2.840.113549.1.1.11 to 13, and 10.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
/// ecdsa-with-SHA256, -SHA384 and -SHA512: 1.2.840.10045.4.3.2 to 4.
const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03];
/// id-Ed25519.
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
/// id-sha256 to id-sha512: 2.16.840.1.101.3.4.2.1 to 3.
const SHA2: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];
/// prime256v1.
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// secp384r1.
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
/// secp521r1.
const P521: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
/// More links than any chain has.
const MAX_LINKS: usize = 16;

/// The weakest signature between a certificate and the trust anchor that it chains to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeakestLink {
    bits: u16,
    algorithm: String,
    issuer: String,
}

impl WeakestLink {
    /// The security strength in bits: the lower of the key's and the hash's. 0 where it is not known.
    #[must_use]
    pub const fn bits(&self) -> u16 {
        self.bits
    }

    /// The key and the hash, as `RSA-2048 with SHA-256`.
    #[must_use]
    pub fn algorithm(&self) -> &str {
        &self.algorithm
    }

    /// Who signed with it.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The claim, as a word for programs and for the audit log.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self.bits {
            192.. => "endorsement-chain-192",
            128.. => "endorsement-chain-128",
            112.. => "endorsement-chain-112",
            _ => "endorsement-chain-unknown",
        }
    }

    /// Of a path that was verified. `issuers` are those that it may end at, of which `anchors` were handed in and the others stand
    /// below these.
    pub(super) fn of(path: &VerifiedPath<'_>, issuers: &[Issuer], anchors: &[Issuer]) -> Option<Self> {
        let mut certificates = vec![path.end_entity().der().into_owned()];
        let between = path.intermediate_certificates();
        certificates.extend(between.map(|certificate| certificate.der().into_owned()));
        let mut signer = issuers.iter().find(|issuer| issuer.anchor == *path.anchor())?;
        let mut keys: Vec<Vec<u8>> = Vec::new();
        for above in certificates.iter().skip(1) {
            keys.push(key_of(above)?);
        }
        keys.push(signer.anchor.subject_public_key_info.to_vec());
        while !anchors.iter().any(|anchor| anchor.der == signer.der) && keys.len() < MAX_LINKS {
            let parts = Parts::read(&signer.der)?;
            certificates.push(signer.der.clone());
            signer = issuers.iter().find(|issuer| parts.is_signed_by(issuer))?;
            keys.push(signer.anchor.subject_public_key_info.to_vec());
        }
        let links = certificates.iter().zip(&keys);
        let links: Option<Vec<Self>> = links.map(|(der, key)| Self::link(der, key)).collect();
        links?.into_iter().min_by_key(|link| link.bits)
    }

    /// `key`: the contents of the SubjectPublicKeyInfo that signed.
    fn link(der: &CertificateDer<'_>, key: &[u8]) -> Option<Self> {
        let (key, key_bits) = key_strength(key);
        let (hash, hash_bits) = hash_strength(Signed::read(der)?.algorithm());
        Some(Self {
            bits: key_bits.min(hash_bits),
            algorithm: format!("{key} with {hash}"),
            issuer: in_words(Parts::read(der)?.issuer),
        })
    }
}

fn key_of(der: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let issuer = Issuer::trusted(der).ok()?;
    Some(issuer.anchor.subject_public_key_info.to_vec())
}

/// A key's name, and the strength that SP 800-57 gives it.
fn key_strength(spki: &[u8]) -> (String, u16) {
    let named = |name: &str, bits| (name.to_owned(), bits);
    let algorithm = elements(spki)
        .next()
        .and_then(|(_, whole)| inside(whole, SEQUENCE));
    let oids: Vec<&[u8]> = algorithm.map_or_else(Vec::new, |algorithm| {
        elements(algorithm)
            .filter_map(|(_, whole)| inside(whole, OID))
            .collect()
    });
    match oids.as_slice() {
        [_, P256] => named("P-256", 128),
        [_, P384] => named("P-384", 192),
        [_, P521] => named("P-521", 256),
        [ED25519] => named("Ed25519", 128),
        [oid] if oid.starts_with(RSA) => {
            let size = certificate::rsa_key_of_contents(spki).map_or(0, |(modulus, _)| bit_length(modulus));
            let bits = match size {
                15_360.. => 256,
                7680.. => 192,
                3072.. => 128,
                2048.. => 112,
                _ => 0,
            };
            (format!("RSA-{size}"), bits)
        }
        _ => named("a key of another kind", 0),
    }
}

fn bit_length(modulus: &[u8]) -> usize {
    let Some(first) = modulus.first() else { return 0 };
    let unused = usize::try_from(first.leading_zeros()).unwrap_or(0);
    (modulus.len() * 8).saturating_sub(unused)
}

/// A signature algorithm's hash, and how hard it is to find two texts that share its value.
fn hash_strength(algorithm: &[u8]) -> (&'static str, u16) {
    let contents = inside(algorithm, SEQUENCE).unwrap_or_default();
    let oid = elements(contents)
        .next()
        .and_then(|(_, whole)| inside(whole, OID))
        .unwrap_or_default();
    let which = match (oid.strip_prefix(RSA), oid.strip_prefix(ECDSA)) {
        (Some([0x0b]), _) | (_, Some([0x02])) => Some(1),
        (Some([0x0c]), _) | (_, Some([0x03])) => Some(2),
        (Some([0x0d]), _) | (_, Some([0x04])) => Some(3),
        // RSASSA-PSS names its hash in its parameters, twice and the same one.
        (Some([0x0a]), _) => contents
            .windows(SHA2.len() + 1)
            .find_map(|window| window.strip_prefix(SHA2)?.first().copied()),
        _ if oid == ED25519 => Some(3),
        _ => None,
    };
    match which {
        Some(1) => ("SHA-256", 128),
        Some(2) => ("SHA-384", 192),
        Some(3) => ("SHA-512", 256),
        _ => ("another hash", 0),
    }
}
