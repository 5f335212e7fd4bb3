//! ECDSA-Sig-Value (RFC 5480 §3): how X.509, PKCS#10 and TLS carry what the TPM and COSE carry as r ‖ s.

use crate::Curve;
use crate::signature::{pad_left, strip_zeros};
use crate::spki::{positive_integer, whole};

/// r ‖ s as two positive INTEGERs in a SEQUENCE, at most 104 bytes.
pub(crate) fn encode(sig: &[u8]) -> Vec<u8> {
    let (r, s) = sig.split_at(sig.len() / 2);
    let (r, s) = (integer(r), integer(s));
    [&[0x30, short_length(r.len() + s.len())], r.as_slice(), &s].concat()
}

/// r ‖ s, each as long as the curve's coordinates; none for anything but the one DER encoding of such a signature.
pub(crate) fn decode(curve: Curve, der: &[u8]) -> Option<Vec<u8>> {
    let (r, rest) = positive_integer(whole(der, 0x30)?)?;
    let (s, rest) = positive_integer(rest)?;
    let pad = |number| pad_left(number, curve.size(), "ECDSA signature").ok();
    rest.is_empty().then_some([pad(r)?, pad(s)?].concat())
}

fn integer(number: &[u8]) -> Vec<u8> {
    let number = strip_zeros(number);
    let sign: &[u8] = if number.first().is_none_or(|first| *first >= 0x80) {
        &[0]
    } else {
        &[]
    };
    [&[0x02, short_length(sign.len() + number.len())], sign, number].concat()
}

/// Lengths here never pass 102; a longer one becomes 0xFF, which no DER parser takes.
fn short_length(length: usize) -> u8 {
    u8::try_from(length)
        .ok()
        .filter(|length| *length < 0x80)
        .unwrap_or(0xFF)
}
