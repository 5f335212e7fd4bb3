//! The second signature that every ECDSA signature has: (r, n − s) verifies where (r, s) does (FIPS 186-5, 6.4.2), and TPMs
//! sign with either. Nothing but the signature's own bytes differs.

use alcub3_crypto::tpm::Signature;
use alcub3_crypto::{Curve, SignatureScheme};

const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
    0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];
const P384_ORDER: [u8; 48] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xc7, 0x63, 0x4d, 0x81, 0xf4, 0x37, 0x2d, 0xdf, 0x58, 0x1a,
    0x0d, 0xb2, 0x48, 0xb0, 0xa7, 0x7a, 0xec, 0xec, 0x19, 0x6a, 0xcc, 0xc5, 0x29, 0x73,
];

pub const CLASS: &str = "the signature's twin (r, n - s), or r or s without its leading zeros";

/// r ‖ n − s of r ‖ s.
pub fn twin(fixed: &[u8]) -> Vec<u8> {
    let order: &[u8] = if fixed.len() == 2 * Curve::P256.size() {
        &P256_ORDER
    } else {
        &P384_ORDER
    };
    let (r, s) = fixed.split_at(fixed.len() / 2);
    let mut out = r.to_vec();
    let mut borrow = 0;
    let mut difference: Vec<u8> = Vec::new();
    for (n, s) in order.iter().zip(s).rev() {
        let value = i16::from(*n) - i16::from(*s) - borrow;
        borrow = i16::from(value < 0);
        difference.push(u8::try_from(value.rem_euclid(256)).unwrap());
    }
    out.extend(difference.iter().rev());
    out
}

/// The twin of a TPMT_SIGNATURE of ECDSA.
pub fn tpmt_twin(tpmt: &[u8]) -> Option<Vec<u8>> {
    let signature = Signature::from_tpmt_signature(tpmt).ok()?;
    matches!(signature.scheme, SignatureScheme::Ecdsa(_)).then(|| {
        let bytes = twin(&signature.bytes);
        Signature { bytes, ..signature }.to_tpmt()
    })
}

/// Whether two TPMT_SIGNATUREs are one signature: of the same numbers, or twins.
pub fn same(one: &[u8], other: &[u8]) -> bool {
    let (Ok(one), Ok(other)) = (
        Signature::from_tpmt_signature(one),
        Signature::from_tpmt_signature(other),
    ) else {
        return false;
    };
    let ecdsa = matches!(one.scheme, SignatureScheme::Ecdsa(_));
    one == other || (ecdsa && one.scheme == other.scheme && twin(&one.bytes) == other.bytes)
}

/// ECDSA-Sig-Value at the end of a certificate, from where in it: 30 len 02 len r 02 len s.
pub fn x509_signature(certificate: &[u8], curve: Curve) -> Option<(usize, Vec<u8>)> {
    (0..certificate.len()).find_map(|at| {
        let der = &certificate[at..];
        (der.first() == Some(&0x30) && usize::from(*der.get(1)?) == der.len() - 2).then_some(())?;
        let (r, rest) = integer(&der[2..], curve)?;
        let (s, rest) = integer(rest, curve)?;
        rest.is_empty().then(|| (at, [r, s].concat()))
    })
}

fn integer(der: &[u8], curve: Curve) -> Option<(Vec<u8>, &[u8])> {
    let [2, length, rest @ ..] = der else { return None };
    let (number, rest) = rest.split_at_checked(usize::from(*length))?;
    let number = number.strip_prefix(&[0]).unwrap_or(number);
    let missing = curve.size().checked_sub(number.len())?;
    Some(([vec![0; missing].as_slice(), number].concat(), rest))
}
