//! Revocation lists against endorsement certificates, their intermediates, and trust anchors.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![allow(clippy::print_stdout)]

mod tpm_tools;

use alcub3_attestation::ek_certificate::revocation::ListError;
use alcub3_attestation::ek_certificate::{EkError, RootKind, Roots, VerifiedEk, verify};
use alcub3_crypto::{Curve, SigningKey};
use alcub3_testkit::{Quirk, SimulatorCa};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::process::Command;
use x509_cert::Certificate;
use x509_cert::der::Decode;

/// 1 July of the year.
const fn mid(year: u64) -> u64 {
    (year - 1970) * 31_556_952 + 15_778_476
}

const NOW: u64 = mid(2026);
/// A list of this time is current.
const CURRENT: (i32, i32) = (2026, 2027);

/// A root, an intermediate of one of the two kinds, and an endorsement certificate of it.
struct Chain {
    root: SimulatorCa,
    middle: SimulatorCa,
    leaf: Vec<u8>,
}

impl Chain {
    fn new(quirk: Quirk) -> Self {
        let root = SimulatorCa::new().unwrap();
        let middle = root.intermediate("middle", quirk).unwrap();
        let key = SigningKey::generate(Curve::P256).unwrap().verifying_key();
        let leaf = middle.issue(&key.to_spki_der()).unwrap();
        Self { root, middle, leaf }
    }

    fn judge(&self, roots: &Roots) -> Result<VerifiedEk, EkError> {
        verify(&self.leaf, &[self.middle.root_der()], roots, NOW)
    }

    fn roots(&self, lists: &[Vec<u8>]) -> Roots {
        let mut roots = Roots::new();
        roots.add(RootKind::Production, self.root.root_der()).unwrap();
        for list in lists {
            assert_eq!(roots.add_revocations(list).unwrap(), 1);
        }
        roots
    }
}

fn serial(der: &[u8]) -> Vec<u8> {
    let certificate = Certificate::from_der(der).unwrap();
    certificate.tbs_certificate().serial_number().as_bytes().to_vec()
}

const KINDS: [Quirk; 2] = [Quirk::None, Quirk::CriticalPolicies];

#[test]
fn who_was_not_checked_is_said_and_refused_where_lists_are_required() {
    for critical in KINDS {
        let chain = Chain::new(critical);
        let (of_root, of_middle) = (
            chain.root.revocation_list(&[], CURRENT).unwrap(),
            chain.middle.revocation_list(&[], CURRENT).unwrap(),
        );
        let root_name = "alcub3 simulator EK CA (not for production)";
        for (lists, unlisted) in [
            (vec![], vec!["middle", root_name]),
            (vec![of_root.clone()], vec!["middle"]),
            (vec![of_middle.clone()], vec![root_name]),
            (vec![of_middle, of_root], vec![]),
        ] {
            let mut roots = chain.roots(&lists);
            assert_eq!(chain.judge(&roots).unwrap().unlisted_issuers(), unlisted);
            roots.require_revocation_lists();
            match chain.judge(&roots) {
                Ok(_) => assert!(unlisted.is_empty(), "accepted without lists of {unlisted:?}"),
                Err(EkError::NotListed { issuers }) => {
                    assert!(!unlisted.is_empty());
                    assert_eq!(issuers, unlisted);
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
}

#[test]
fn a_revoked_endorsement_certificate_is_refused_with_its_serial() {
    for critical in KINDS {
        let chain = Chain::new(critical);
        let list = chain.middle.revocation_list(&[&chain.leaf], CURRENT).unwrap();
        let refused = chain.judge(&chain.roots(&[list])).unwrap_err();
        let EkError::Revoked {
            serial: named,
            issuer,
            reason,
            what,
        } = &refused
        else {
            panic!("{refused}")
        };
        let expected: String = serial(&chain.leaf).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(
            (named, issuer.as_str(), reason.as_str()),
            (&expected, "middle", "KeyCompromise")
        );
        assert_eq!(*what, "the endorsement certificate");
        assert!(refused.to_string().contains(&expected), "{refused}");
        // Another's serial number is nothing to it.
        let other = Chain::new(critical);
        let list = chain.middle.revocation_list(&[&other.leaf], CURRENT).unwrap();
        chain.judge(&chain.roots(&[list])).unwrap();
    }
}

#[test]
fn a_revoked_intermediate_is_refused_sent_along_or_handed_in_as_an_anchor() {
    for critical in KINDS {
        let chain = Chain::new(critical);
        let list = chain
            .root
            .revocation_list(&[chain.middle.root_der()], CURRENT)
            .unwrap();
        let mut roots = chain.roots(&[list]);
        let refused = chain.judge(&roots);
        assert!(
            matches!(&refused, Err(EkError::Revoked { what, .. }) if what.contains("above")),
            "{refused:?}"
        );
        roots.add(RootKind::Production, chain.middle.root_der()).unwrap();
        let refused = verify(&chain.leaf, &[], &roots, NOW);
        assert!(matches!(refused, Err(EkError::Revoked { .. })), "{refused:?}");
    }
}

/// A root's new key is certified by its old one under the root's own name.
#[test]
fn a_revoked_new_key_of_a_root_is_refused() {
    for quirk in KINDS {
        let root = SimulatorCa::new().unwrap();
        let renewed = root
            .intermediate("alcub3 simulator EK CA (not for production)", quirk)
            .unwrap();
        let key = SigningKey::generate(Curve::P256).unwrap().verifying_key();
        let leaf = renewed.issue(&key.to_spki_der()).unwrap();
        let of_renewed = renewed.revocation_list(&[], CURRENT).unwrap();
        for (revoked, is_good) in [(&[][..], true), (&[renewed.root_der()], false)] {
            let of_root = root.revocation_list(revoked, CURRENT).unwrap();
            let mut roots = Roots::new();
            roots.add(RootKind::Production, root.root_der()).unwrap();
            for list in [&of_root, &of_renewed] {
                roots.add_revocations(list).unwrap();
            }
            let sent = verify(&leaf, &[renewed.root_der()], &roots, NOW);
            roots.add(RootKind::Production, renewed.root_der()).unwrap();
            let handed_in = verify(&leaf, &[], &roots, NOW);
            for judged in [sent, handed_in] {
                match judged {
                    Ok(ek) => assert!(is_good && ek.unlisted_issuers().is_empty(), "{quirk:?}"),
                    Err(error) => assert!(
                        !is_good && matches!(error, EkError::Revoked { .. }),
                        "{quirk:?}: {error}"
                    ),
                }
            }
        }
    }
}

/// Neither stands in its certificate's way: webpki asks a path's length of no trust anchor.
#[test]
fn an_authority_below_one_that_may_have_none_is_refused() {
    for quirk in KINDS {
        let chain = Chain::new(quirk);
        let below = chain.middle.intermediate("below", Quirk::None).unwrap();
        let key = SigningKey::generate(Curve::P256).unwrap().verifying_key();
        let leaf = below.issue(&key.to_spki_der()).unwrap();
        let sent = [chain.middle.root_der(), below.root_der()];
        let refused = verify(&leaf, &sent, &chain.roots(&[]), NOW);
        assert!(
            matches!(refused, Err(EkError::Chain(_))),
            "{quirk:?}: {refused:?}"
        );
    }
}

#[test]
fn a_list_that_is_not_current_lets_nothing_through() {
    for critical in KINDS {
        let chain = Chain::new(critical);
        for years in [(2024, 2025), (2027, 2028)] {
            for list in [
                chain.middle.revocation_list(&[], years).unwrap(),
                chain.root.revocation_list(&[], years).unwrap(),
            ] {
                let refused = chain.judge(&chain.roots(&[list]));
                assert!(
                    matches!(refused, Err(EkError::ListNotCurrent { .. })),
                    "{refused:?}"
                );
            }
        }
        // A current list beside an old one is enough, in either order; what the old one revokes stays revoked.
        let current = chain.middle.revocation_list(&[], CURRENT).unwrap();
        let old = chain.middle.revocation_list(&[], (2024, 2025)).unwrap();
        let old_revoking = chain
            .middle
            .revocation_list(&[&chain.leaf], (2024, 2025))
            .unwrap();
        chain
            .judge(&chain.roots(&[old.clone(), current.clone()]))
            .unwrap();
        chain.judge(&chain.roots(&[current.clone(), old])).unwrap();
        let refused = chain.judge(&chain.roots(&[current, old_revoking]));
        assert!(matches!(refused, Err(EkError::Revoked { .. })), "{refused:?}");
    }
}

#[test]
fn a_partial_list_and_one_of_who_may_not_sign_lists_revoke_and_do_not_clear() {
    let plain = Chain::new(Quirk::None);
    let no_signing = Chain::new(Quirk::NoListSigning);
    let lists = |chain: &Chain, revoked: &[&[u8]]| match chain.middle.root_der() == plain.middle.root_der() {
        true => chain.middle.partial_list(revoked, CURRENT).unwrap(),
        false => chain.middle.revocation_list(revoked, CURRENT).unwrap(),
    };
    for chain in [&plain, &no_signing] {
        let of_root = chain.root.revocation_list(&[], CURRENT).unwrap();
        let mut roots = chain.roots(&[lists(chain, &[]), of_root]);
        assert_eq!(chain.judge(&roots).unwrap().unlisted_issuers(), ["middle"]);
        roots.require_revocation_lists();
        let refused = chain.judge(&roots);
        assert!(matches!(refused, Err(EkError::NotListed { .. })), "{refused:?}");
        let refused = chain.judge(&chain.roots(&[lists(chain, &[&chain.leaf])]));
        assert!(matches!(refused, Err(EkError::Revoked { .. })), "{refused:?}");
    }
}

#[test]
fn a_list_that_somebody_else_signed_counts_for_nothing_and_is_not_overlooked() {
    let chain = Chain::new(Quirk::None);
    let impostor = chain.root.intermediate("middle", Quirk::None).unwrap();
    let forged = impostor.revocation_list(&[], CURRENT).unwrap();
    let refused = chain.judge(&chain.roots(std::slice::from_ref(&forged)));
    assert!(
        matches!(refused, Err(EkError::ListSignature { .. })),
        "{refused:?}"
    );
    // Nor does it revoke anything, once there is a list of the issuer's own.
    let forged = impostor.revocation_list(&[&chain.leaf], CURRENT).unwrap();
    let own = chain.middle.revocation_list(&[], CURRENT).unwrap();
    chain.judge(&chain.roots(&[forged, own.clone()])).unwrap();
    // Every byte of a list counts.
    for at in 0..own.len() {
        let mut changed = own.clone();
        changed[at] ^= 1;
        let mut roots = chain.roots(&[]);
        if roots.add_revocations(&changed).is_ok() {
            let judged = chain.judge(&roots);
            let overlooked = judged.is_ok_and(|ek| ek.unlisted_issuers().len() == 1);
            assert!(!overlooked, "byte {at}: counted as the issuer's list");
        }
    }
}

#[test]
fn files_that_are_no_lists_are_refused() {
    let mut roots = Roots::new();
    assert!(matches!(roots.add_revocations(b""), Err(ListError::Empty)));
    assert!(matches!(roots.add_revocations(b"hello"), Err(ListError::Empty)));
    let ca = SimulatorCa::new().unwrap();
    assert!(matches!(
        roots.add_revocations(ca.root_der()),
        Err(ListError::List { number: 1, .. })
    ));
    assert!(matches!(
        roots.add_revocations(ca.root_pem().as_bytes()),
        Err(ListError::Empty)
    ));
    let cut = b"-----BEGIN X509 CRL-----\nMIIB\n";
    assert!(matches!(roots.add_revocations(cut), Err(ListError::Pem(_))));
}

/// A list that OpenSSL made for STMicroelectronics' intermediate name but with another key: refused, as the real one's absence
/// would be.
#[test]
fn a_vendors_certificate_under_lists_made_by_openssl() {
    let Some(folder) = tpm_tools::data() else { return };
    let file = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let leaf = file("ek-certs/st-ecc-ek.der");
    let middle = CertificateDer::from_pem_slice(&file("ek-roots/STM_ECC_01I.pem")).unwrap();
    let mut roots = Roots::new();
    roots
        .add(RootKind::Production, &file("ek-roots/STM_ECC_01RT.pem"))
        .unwrap();
    let in_2024 = 1_704_067_200;
    let ek = verify(&leaf, &[&middle], &roots, in_2024).unwrap();
    assert_eq!(
        ek.unlisted_issuers(),
        ["STM TPM ECC Intermediate CA 01", "STM TPM ECC Root CA 01"]
    );
    let forged = openssl_list("/C=CH/O=STMicroelectronics NV/CN=STM TPM ECC Intermediate CA 01");
    assert_eq!(roots.add_revocations(&forged).unwrap(), 1);
    let refused = verify(&leaf, &[&middle], &roots, in_2024);
    assert!(
        matches!(refused, Err(EkError::ListSignature { .. })),
        "{refused:?}"
    );
}

/// An empty PEM list of an authority of this name, all made by the `openssl` command.
fn openssl_list(subject: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let script = format!(
        "set -e; cd '{}'; printf '[ca]\\ndefault_ca=c\\n[c]\\ndatabase=db\\ncrlnumber=n\\ndefault_md=sha256\\n\
         default_crl_days=3650\\ncrl_extensions=e\\n[e]\\nauthorityKeyIdentifier=keyid\\n' > c.cnf; : > db; echo 01 > n; \
         openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout k -out c -subj '{subject}' -utf8 \
         -days 9999 2>/dev/null; \
         openssl ca -config c.cnf -gencrl -keyfile k -cert c -out list.pem 2>/dev/null",
        dir.path().display()
    );
    let status = Command::new("sh").args(["-c", &script]).status().unwrap();
    assert!(status.success(), "openssl");
    std::fs::read(dir.path().join("list.pem")).unwrap()
}
