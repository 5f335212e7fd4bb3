//! Endorsement certificates, their roots and revocation lists. An input is the lengths of a root and of a list (two bytes each,
//! little-endian), the root, the list, and a certificate.
#![no_main]

use alcub3_attestation::ek_certificate::{RootKind, Roots, split_chain, verify};
use alcub3_fuzz::NOW_MS;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((root, rest)) = part(data) else { return };
    let Some((list, certificate)) = part(rest) else {
        return;
    };
    let mut roots = Roots::new();
    let _ = roots.add(RootKind::Simulator, root);
    let has_list = roots.add_revocations(list).is_ok();
    let mut strict = roots.clone();
    strict.require_revocation_lists();
    let _ = split_chain(certificate);
    if let Ok(verified) = verify(certificate, &[root], &roots, NOW_MS / 1_000) {
        assert!(verified.is_simulator(), "only a simulator's root was there");
        assert!(!verified.spki_der().is_empty());
        let is_checked = verified.unlisted_issuers().is_empty();
        assert!(has_list || !is_checked, "checked against no list");
        assert_eq!(
            verify(certificate, &[root], &strict, NOW_MS / 1_000).is_ok(),
            is_checked
        );
    }
});

/// What follows its length, and the rest.
fn part(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = data.split_first_chunk::<2>()?;
    Some(rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len())))
}
