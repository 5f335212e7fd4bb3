//! Quotes in tpm2-tools' files: real ones hold, and no byte of any file can be changed.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod tpm_tools;

use alcub3_attestation::checkquote::{Files, check, parse_pcr_file, write_pcr_file};
use alcub3_crypto::HashAlg;
use tpm_tools::Tpm;

#[derive(Clone)]
struct Quote {
    key: Vec<u8>,
    message: Vec<u8>,
    signature: Vec<u8>,
    pcrs: Vec<u8>,
    nonce: Vec<u8>,
}

impl Quote {
    fn check(&self, hash: Option<HashAlg>) -> bool {
        check(&Files {
            public_key: &self.key,
            message: &self.message,
            signature: &self.signature,
            pcrs: &self.pcrs,
            hash,
            nonce: &self.nonce,
        })
        .inspect_err(|error| assert!(!error.to_string().is_empty()))
        .is_ok()
    }

    /// Every byte of every file with every pattern, and every length one byte off.
    fn resists_every_change(&self, patterns: &[u8]) -> usize {
        let mut tried = 0;
        for part in [part_message, part_signature, part_pcrs, part_nonce] {
            for at in 0..part(&mut self.clone()).len() {
                for pattern in patterns {
                    let mut changed = self.clone();
                    part(&mut changed)[at] ^= pattern;
                    assert!(!changed.check(None), "byte {at} ^ {pattern:#x} was not noticed");
                    tried += 1;
                }
            }
            let (mut longer, mut shorter) = (self.clone(), self.clone());
            part(&mut longer).push(0);
            part(&mut shorter).pop();
            assert!(!longer.check(None) && !shorter.check(None));
        }
        tried
    }
}

fn part_message(quote: &mut Quote) -> &mut Vec<u8> {
    &mut quote.message
}
fn part_signature(quote: &mut Quote) -> &mut Vec<u8> {
    &mut quote.signature
}
fn part_pcrs(quote: &mut Quote) -> &mut Vec<u8> {
    &mut quote.pcrs
}
fn part_nonce(quote: &mut Quote) -> &mut Vec<u8> {
    &mut quote.nonce
}

fn real() -> Option<Quote> {
    let folder = tpm_tools::data()?.join("evidence/x86-server");
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    Some(Quote {
        key: read("ak.pub"),
        message: read("quote.msg"),
        signature: read("quote.sig"),
        pcrs: read("quote.pcrs"),
        nonce: b"Sb7tNlqsd32uI1ZPWtDs".to_vec(),
    })
}

#[test]
fn the_real_servers_quote_holds_and_no_byte_of_it_can_be_changed() {
    let Some(quote) = real() else { return };
    assert!(quote.check(None));
    assert!(quote.check(Some(HashAlg::Sha256)));
    assert!(!quote.check(Some(HashAlg::Sha384)), "a wrong -g must be refused");
    let tried = quote.resists_every_change(&[0x01, 0x80, 0xff, 0x10]);
    println!("{tried} changes tried");
    assert_eq!(write_pcr_file(&parse_pcr_file(&quote.pcrs).unwrap()), quote.pcrs);
}

/// Key algorithm, hash, scheme, selection.
const KINDS: [(&str, &str, &str, &str); 8] = [
    (
        "ecc",
        "sha256",
        "ecdsa",
        "sha256:0,1,2,3,4,5,6,7,8,9,10,12,13,16,23",
    ),
    ("ecc", "sha256", "ecdsa", "sha256:0,7+sha384:0,1,2,13"),
    ("ecc", "sha384", "ecdsa", "sha384:0,1,2,3,4,5,6,7,8"),
    ("ecc384", "sha384", "ecdsa", "sha384:13+sha1:0"),
    ("rsa", "sha256", "rsassa", "sha256:0,1,2,3,4,5,6,7"),
    (
        "rsa",
        "sha384",
        "rsassa",
        "sha384:0,23+sha256:0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16",
    ),
    ("rsa", "sha256", "rsapss", "sha256:13"),
    ("rsa", "sha384", "rsapss", "sha1:1+sha256:2+sha384:3+sha512:4"),
];

#[test]
fn quotes_of_tpm2_quote_hold_and_no_byte_of_them_can_be_changed() {
    let Some(tpm) = Tpm::start() else { return };
    tpm.run("tpm2_pcrextend 13:sha256=1111111111111111111111111111111111111111111111111111111111111111");
    for (alg, hash, scheme, selection) in KINDS {
        tpm.attestation_key(alg, hash, scheme);
        let nonce = [0x5a_u8; 20];
        let stated_scheme = if scheme == "rsapss" { "--scheme rsapss" } else { "" };
        tpm.run(&format!(
            "tpm2_quote -c ak.ctx -l {selection} -g {hash} {stated_scheme} -q {} -m q.msg -s q.sig -o q.pcrs",
            "5a".repeat(20)
        ));
        let files = |key: &str| Quote {
            key: tpm.read(key),
            message: tpm.read("q.msg"),
            signature: tpm.read("q.sig"),
            pcrs: tpm.read("q.pcrs"),
            nonce: nonce.to_vec(),
        };
        let quote = files("ak.pub");
        let stated = HashAlg::from_name(hash);
        assert!(quote.check(stated), "{alg} {hash} {scheme} {selection}");
        assert!(quote.check(None));
        assert!(files("ak.pem").check(stated), "the same key as PEM");
        let tpmt = Quote {
            key: quote.key[2..].to_vec(),
            ..quote.clone()
        };
        assert!(tpmt.check(stated), "the same key as TPMT_PUBLIC");
        let tried = quote.resists_every_change(&[0x01, 0xff]);
        println!("{alg} {hash} {scheme} {selection}: {tried} changes tried");
        tpm.flush();
    }
}

#[test]
fn another_key_does_not_verify() {
    let Some(tpm) = Tpm::start() else { return };
    tpm.attestation_key("ecc", "sha256", "ecdsa");
    tpm.run("tpm2_quote -c ak.ctx -l sha256:0 -g sha256 -q 00 -m q.msg -s q.sig -o q.pcrs");
    let mut quote = Quote {
        key: tpm.read("ak.pub"),
        message: tpm.read("q.msg"),
        signature: tpm.read("q.sig"),
        pcrs: tpm.read("q.pcrs"),
        nonce: vec![0],
    };
    assert!(quote.check(None));
    quote.key = tpm.read("ek.pub");
    assert!(!quote.check(None));
}
