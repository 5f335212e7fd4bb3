//! How strong the signatures are that an endorsement rests on, and which are accepted nowhere: by certificates and lists of OpenSSL.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod tpm_tools;

use alcub3_attestation::ek_certificate::{EkError, RootKind, Roots, VerifiedEk, verify};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// Authorities and a chip's certificate, each as `openssl` made it.
struct Made(TempDir);

/// What an authority is made with: its name, its key, who issued it, and the digest and options that signed it.
type Authority<'a> = (&'a str, &'a str, &'a str, &'a str);

impl Made {
    /// Makes the authorities in their order, and the certificate `leaf`, which the last one issued with a digest and options.
    fn new(authorities: &[Authority<'_>], leaf: &str) -> Self {
        let made = Self(TempDir::new().unwrap());
        made.run(
            "printf 'basicConstraints=critical,CA:TRUE\\nkeyUsage=critical,keyCertSign,cRLSign\\n' > ca.ext",
        );
        made.run("printf 'keyUsage=critical,keyEncipherment\\nextendedKeyUsage=2.23.133.8.1\\n' > ek.ext");
        for (name, key, issuer, signed) in authorities {
            made.run(&format!(
                "openssl req -new -newkey {key} -nodes -keyout {name}.key -out {name}.csr -subj '/CN={name}'"
            ));
            made.sign(name, issuer, "ca.ext", signed);
        }
        made.run("openssl req -new -newkey rsa:2048 -nodes -keyout leaf.key -out leaf.csr -subj /CN=leaf");
        made.sign("leaf", authorities.last().unwrap().0, "ek.ext", leaf);
        made
    }

    fn sign(&self, name: &str, issuer: &str, extensions: &str, signed: &str) {
        let by = match name == issuer {
            true => format!("-signkey {name}.key"),
            false => format!("-CA {issuer}.pem -CAkey {issuer}.key -CAcreateserial"),
        };
        self.run(&format!(
            "openssl x509 -req -in {name}.csr -out {name}.pem -days 999 {by} -extfile {extensions} {signed}"
        ));
    }

    fn run(&self, command: &str) {
        let script = format!("cd '{}' && {command} 2> said", self.0.path().display());
        let status = Command::new("sh").args(["-c", &script]).status().unwrap();
        let said = std::fs::read_to_string(self.0.path().join("said")).unwrap_or_default();
        assert!(status.success(), "{command}: {said}");
    }

    fn file(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.0.path().join(name)).unwrap()
    }

    fn der(&self, name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(&self.file(&format!("{name}.pem"))).unwrap()
    }

    fn roots(&self, name: &str) -> Roots {
        let mut roots = Roots::new();
        roots
            .add(RootKind::Production, &self.file(&format!("{name}.pem")))
            .unwrap();
        roots
    }

    fn judge(&self, roots: &Roots, between: &[&str]) -> Result<VerifiedEk, EkError> {
        let between: Vec<_> = between.iter().map(|name| self.der(name)).collect();
        let between: Vec<&[u8]> = between.iter().map(|der| der.as_ref()).collect();
        verify(&self.der("leaf"), &between, roots, now_s())
    }

    /// An empty revocation list of an authority.
    fn list(&self, authority: &str, digest: &str) -> Vec<u8> {
        self.run(&format!(
            "printf '[ca]\\ndefault_ca=c\\n[c]\\ndatabase=db\\ncrlnumber=n\\ndefault_md={digest}\\ndefault_crl_days=99\\n\
             crl_extensions=e\\n[e]\\nauthorityKeyIdentifier=keyid\\n' > c.cnf; : > db; echo 01 > n; \
             openssl ca -config c.cnf -gencrl -keyfile {authority}.key -cert {authority}.pem -out list.pem"
        ));
        self.file("list.pem")
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 1
}

const P256: &str = "ec -pkeyopt ec_paramgen_curve:P-256";
const P384: &str = "ec -pkeyopt ec_paramgen_curve:P-384";
const PSS: &str = "-sha384 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:48";

fn weakest(ek: &VerifiedEk) -> (u16, String, String) {
    let link = ek.weakest_link();
    (link.bits(), link.algorithm().to_owned(), link.issuer().to_owned())
}

fn expected(bits: u16, algorithm: &str, issuer: &str) -> (u16, String, String) {
    (bits, algorithm.to_owned(), issuer.to_owned())
}

#[test]
fn a_link_is_as_strong_as_the_weaker_of_its_key_and_its_hash() {
    for (key, signed, bits, algorithm, code) in [
        (
            "rsa:2048",
            "-sha256",
            112,
            "RSA-2048 with SHA-256",
            "endorsement-chain-112",
        ),
        (
            "rsa:2048",
            "-sha512",
            112,
            "RSA-2048 with SHA-512",
            "endorsement-chain-112",
        ),
        (
            "rsa:3072",
            "-sha256",
            128,
            "RSA-3072 with SHA-256",
            "endorsement-chain-128",
        ),
        (
            "rsa:3072",
            PSS,
            128,
            "RSA-3072 with SHA-384",
            "endorsement-chain-128",
        ),
        (
            P256,
            "-sha256",
            128,
            "P-256 with SHA-256",
            "endorsement-chain-128",
        ),
        (
            P256,
            "-sha384",
            128,
            "P-256 with SHA-384",
            "endorsement-chain-128",
        ),
        (
            P384,
            "-sha256",
            128,
            "P-384 with SHA-256",
            "endorsement-chain-128",
        ),
        (
            P384,
            "-sha384",
            192,
            "P-384 with SHA-384",
            "endorsement-chain-192",
        ),
    ] {
        let made = Made::new(&[("root", key, "root", "-sha256")], signed);
        let ek = made.judge(&made.roots("root"), &[]).unwrap();
        assert_eq!(weakest(&ek), expected(bits, algorithm, "root"));
        assert_eq!(ek.weakest_link().code(), code);
    }
}

#[test]
fn the_weakest_link_of_a_chain_is_named_wherever_it_is_and_a_trust_anchor_is_none() {
    let chain = [
        ("root", "rsa:2048", "root", "-sha256"),
        ("middle", P384, "root", "-sha384"),
    ];
    let made = Made::new(&chain, "-sha384");
    let by_root = made.judge(&made.roots("root"), &["middle"]).unwrap();
    assert_eq!(weakest(&by_root), expected(112, "RSA-2048 with SHA-384", "root"));
    // Whoever hands the intermediate in vouches for it himself.
    let by_middle = made.judge(&made.roots("middle"), &[]).unwrap();
    assert_eq!(weakest(&by_middle), expected(192, "P-384 with SHA-384", "middle"));
    let chain = [
        ("root", P384, "root", "-sha384"),
        ("middle", P256, "root", "-sha384"),
    ];
    let made = Made::new(&chain, "-sha256");
    let ek = made.judge(&made.roots("root"), &["middle"]).unwrap();
    assert_eq!(weakest(&ek), expected(128, "P-256 with SHA-256", "middle"));
}

#[test]
fn no_link_is_signed_with_sha_1_md5_or_a_short_rsa_key() {
    for signed in ["-sha1", "-md5"] {
        let made = Made::new(&[("root", "rsa:2048", "root", "-sha256")], signed);
        let refused = made.judge(&made.roots("root"), &[]).unwrap_err();
        assert!(matches!(refused, EkError::Chain(_)), "{refused}");
        assert!(
            refused.to_string().contains("an algorithm that is not accepted"),
            "{refused}"
        );
        // Between the root and the one that signed the certificate, too; handed in, that one is no link.
        let chain = [
            ("root", "rsa:2048", "root", "-sha256"),
            ("middle", "rsa:2048", "root", signed),
        ];
        let made = Made::new(&chain, "-sha256");
        assert!(made.judge(&made.roots("root"), &["middle"]).is_err());
        let ek = made.judge(&made.roots("middle"), &[]).unwrap();
        assert_eq!(weakest(&ek), expected(112, "RSA-2048 with SHA-256", "middle"));
        // Nor is it made one by being beside its root.
        let mut both = made.roots("root");
        both.add(RootKind::Production, &made.file("middle.pem")).unwrap();
        assert!(made.judge(&both, &[]).is_ok());
    }
    let made = Made::new(&[("root", "rsa:1024", "root", "-sha256")], "-sha256");
    assert!(made.judge(&made.roots("root"), &[]).is_err());
}

#[test]
fn a_list_that_is_signed_with_sha_1_is_told_from_one_of_another_key() {
    let made = Made::new(&[("root", "rsa:2048", "root", "-sha256")], "-sha256");
    let with = |list: &[u8]| {
        let mut roots = made.roots("root");
        roots.add_revocations(list).unwrap();
        made.judge(&roots, &[])
    };
    assert!(
        with(&made.list("root", "sha256"))
            .unwrap()
            .unlisted_issuers()
            .is_empty()
    );
    let refused = with(&made.list("root", "sha1")).unwrap_err();
    assert!(
        matches!(&refused, EkError::ListAlgorithm { issuer } if issuer == "root"),
        "{refused}"
    );
    assert!(refused.to_string().contains("SHA-1"), "{refused}");
    let other = Made::new(&[("root", "rsa:2048", "root", "-sha256")], "-sha256");
    let refused = with(&other.list("root", "sha256")).unwrap_err();
    assert!(
        matches!(&refused, EkError::ListSignature { issuer } if issuer == "root"),
        "{refused}"
    );
    for cause in [
        "an older or a newer one of the issuer",
        "somebody else's",
        "changed",
    ] {
        assert!(refused.to_string().contains(cause), "{cause}: {refused}");
    }
    // Where one is of another algorithm and one of another key, the one that could be accepted is spoken of.
    let both = [made.list("root", "sha1"), other.list("root", "sha256")].concat();
    assert!(matches!(with(&both), Err(EkError::ListSignature { .. })));
}

/// What real vendors sign with.
#[test]
fn the_weakest_links_of_real_chips_are_named() {
    let Some(folder) = tpm_tools::data() else { return };
    let file = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let in_2024 = 1_704_067_200;
    for (leaf, anchor, expected) in [
        (
            "ek-certs/st-ecc-ek.der",
            "ek-roots/STM_ECC_01I.pem",
            (128, "P-256 with SHA-256"),
        ),
        (
            "ek-certs/st-rsa-ek-ff-padded.der",
            "ek-roots/STM_RSA_05I.pem",
            (112, "RSA-2048 with SHA-256"),
        ),
    ] {
        let mut roots = Roots::new();
        roots.add(RootKind::Production, &file(anchor)).unwrap();
        let Ok(ek) = verify(&file(leaf), &[], &roots, in_2024) else {
            panic!("{leaf} under {anchor}")
        };
        let link = ek.weakest_link();
        assert_eq!((link.bits(), link.algorithm()), expected, "{leaf}");
    }
}
