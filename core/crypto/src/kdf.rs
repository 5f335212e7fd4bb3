//! The TPM's two key derivations (TPM 2.0 Library Part 1, §11.4.10).

use crate::{HashAlg, MacKey, Secret};

/// KDFa: SP 800-108 in counter mode with HMAC (Part 1, §11.4.10.2), `bits` long. `label` is given without its
/// terminating NUL, which is added here; `context_u` and `context_v` are concatenated as they are.
#[must_use]
pub fn kdfa(alg: HashAlg, key: &[u8], label: &[u8], context_u: &[u8], context_v: &[u8], bits: u32) -> Secret {
    let mac = MacKey::new(alg, key);
    let length = bits.to_be_bytes();
    counted(alg, bits, |counter| {
        Secret::from_slice(
            mac.tag(&[counter, label, &[0], context_u, context_v, &length])
                .as_bytes(),
        )
    })
}

/// KDFe: SP 800-56A's one-step derivation with a hash (Part 1, §11.4.10.3), `bits` long. `z` is the shared x
/// coordinate and `party_u`, `party_v` are the x coordinates of the two public points, each padded to the curve's
/// size; `label` is given without its terminating NUL.
#[must_use]
pub fn kdfe(alg: HashAlg, z: &[u8], label: &[u8], party_u: &[u8], party_v: &[u8], bits: u32) -> Secret {
    counted(alg, bits, |counter| {
        Secret::from_slice(
            alg.digest(&[counter, z, label, &[0], party_u, party_v])
                .as_bytes(),
        )
    })
}

/// Concatenates blocks made from a counter that starts at 1, and cuts to `bits`: the leftmost bytes are kept and the
/// surplus high-order bits of the first byte are cleared, as Part 1 says.
fn counted(alg: HashAlg, bits: u32, block: impl Fn(&[u8; 4]) -> Secret) -> Secret {
    let mut out = Secret::zeroed(bits.div_ceil(8) as usize);
    for (counter, chunk) in (1u32..).zip(out.expose_mut().chunks_mut(alg.size())) {
        let made = block(&counter.to_be_bytes());
        for (to, from) in chunk.iter_mut().zip(made.expose()) {
            *to = *from;
        }
    }
    mask_surplus_bits(out.expose_mut(), bits);
    out
}

fn mask_surplus_bits(bytes: &mut [u8], bits: u32) {
    if let (Some(first), surplus @ 1..) = (bytes.first_mut(), bits % 8) {
        *first &= (1 << surplus) - 1;
    }
}
