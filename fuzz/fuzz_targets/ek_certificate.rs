//! Endorsement certificates and their roots. An input is the length of a root (two bytes, little-endian), the root,
//! and a certificate.
#![no_main]

use alcub3_attestation::ek_certificate::{RootKind, Roots, verify};
use alcub3_fuzz::NOW_MS;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((length, rest)) = data.split_first_chunk::<2>() else {
        return;
    };
    let (root, certificate) = rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
    let mut roots = Roots::new();
    let _ = roots.add(RootKind::Simulator, root);
    if let Ok(verified) = verify(certificate, &[root], &roots, NOW_MS / 1_000) {
        assert!(verified.is_simulator(), "only a simulator's root was there");
        assert!(!verified.spki_der().is_empty());
    }
});
