//! TPM structures: exact parsing, templates, Names, signatures; never a panic on foreign bytes.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use alcub3_crypto::tpm::{Name, ObjectKind, Public, PublicTemplate, Signature, StructureError, attribute};
use alcub3_crypto::{Curve, Digest, HashAlg, SignatureScheme, SigningKey, VerifyingKey};
use proptest::prelude::*;
use tpm2_protocol::data::TpmtPublic;
use tpm2_protocol::{TpmMarshal, TpmUnmarshal, TpmWriter};

fn rsa_key() -> VerifyingKey {
    VerifyingKey::from_spki_der(&hex::decode(include_str!("vectors/rsa2048-spki.hex").trim()).unwrap())
        .unwrap()
}

fn templates() -> Vec<(&'static str, PublicTemplate)> {
    let policy = HashAlg::Sha256.digest(&[b"policy"]);
    let bound = attribute::FIXED_TPM | attribute::FIXED_PARENT;
    let ec = SigningKey::generate(Curve::P384).unwrap().verifying_key();
    vec![
        ("AK P-256", PublicTemplate::attestation_key(Curve::P256)),
        ("AK P-384", PublicTemplate::attestation_key(Curve::P384)),
        (
            "signing",
            PublicTemplate::signing_key(Curve::P384, bound | attribute::SIGN, Some(&policy)),
        ),
        ("parent P-256", PublicTemplate::storage_parent(Curve::P256)),
        (
            "parent P-384",
            PublicTemplate::storage_parent_with(Curve::P384, bound, Some(&policy)),
        ),
        ("EK L-1", PublicTemplate::ek_rsa_2048()),
        ("EK L-2", PublicTemplate::ek_ecc_p256()),
        ("EK H-3", PublicTemplate::ek_ecc_p384()),
        ("HMAC", PublicTemplate::hmac_key(HashAlg::Sha384, bound, None)),
        (
            "sealed",
            PublicTemplate::sealed_data(HashAlg::Sha256, bound, Some(&policy)),
        ),
        ("external EC", PublicTemplate::external(&ec, HashAlg::Sha384)),
        (
            "external RSA",
            PublicTemplate::external(&rsa_key(), HashAlg::Sha256),
        ),
    ]
}

/// The independent parser takes each of our templates whole and writes it back the same.
#[test]
fn templates_agree_with_tpm2_protocol() {
    for (what, template) in templates() {
        let bytes = template.as_tpmt_bytes();
        let (parsed, rest) = TpmtPublic::unmarshal(bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(rest.is_empty(), "{what}");
        let mut written = vec![0; 2048];
        let mut writer = TpmWriter::new(&mut written);
        parsed.marshal(&mut writer).unwrap();
        let len = writer.len();
        assert_eq!(&written[..len], bytes, "{what}");
        let ours = template.to_public().unwrap();
        assert_eq!(ours.attributes(), parsed.object_attributes.bits(), "{what}");
        assert_eq!(ours.auth_policy(), parsed.auth_policy.as_ref(), "{what}");
    }
}

#[test]
fn every_prefix_and_extension_of_a_public_area_is_refused() {
    for (what, template) in templates() {
        let bytes = template.as_tpmt_bytes();
        for len in 0..bytes.len() {
            let refused = Public::from_tpmt(&bytes[..len]);
            assert!(
                matches!(refused, Err(StructureError::Truncated { .. })),
                "{what} {len}: {refused:?}"
            );
        }
        assert_eq!(
            Public::from_tpmt(&[bytes, &[0, 0]].concat()),
            Err(StructureError::TrailingBytes {
                structure: "TPMT_PUBLIC",
                count: 2
            }),
            "{what}"
        );
        let public = template.to_public().unwrap();
        assert_eq!(Public::from_tpm2b(&public.to_tpm2b()).unwrap(), public);
        assert!(Public::from_tpm2b(&[public.to_tpm2b().as_slice(), &[0]].concat()).is_err());
        assert!(Public::from_tpm2b(bytes).is_err());
    }
}

#[test]
fn unknown_selectors_are_named() {
    let good = PublicTemplate::attestation_key(Curve::P256).into_tpmt_bytes();
    let with = |at: usize, value: u16| {
        let mut bad = good.clone();
        bad[at..at + 2].copy_from_slice(&value.to_be_bytes());
        Public::from_tpmt(&bad)
    };
    let unknown = |field, value| Err(StructureError::Unknown { field, value });
    assert_eq!(with(0, 0x0024), unknown("type", 0x24));
    assert_eq!(with(2, 0x0010), unknown("nameAlg", 0x10));
    assert_eq!(
        with(4, 0x0100),
        unknown("objectAttributes' reserved bits", 0x0100_0000)
    );
    assert_eq!(with(10, 0x0026), unknown("symmetric algorithm", 0x26));
    assert_eq!(with(12, 0x0014), unknown("ECC scheme", 0x14));
    assert_eq!(with(14, 0x0012), unknown("ECC scheme's hash", 0x12));
    assert_eq!(with(18, 0x0005), unknown("KDF scheme", 0x05));
    assert_eq!(
        with(8, 13),
        Err(StructureError::Size {
            field: "authPolicy",
            permitted: 32,
            actual: 13
        })
    );
}

#[test]
fn templates_say_what_they_are_for() {
    let kind = |template: PublicTemplate| template.to_public().unwrap().kind();
    assert_eq!(
        kind(PublicTemplate::attestation_key(Curve::P256)),
        ObjectKind::RestrictedSigning
    );
    assert_eq!(
        kind(PublicTemplate::signing_key(Curve::P256, attribute::SIGN, None)),
        ObjectKind::Signing
    );
    assert_eq!(
        kind(PublicTemplate::storage_parent(Curve::P384)),
        ObjectKind::Storage
    );
    assert_eq!(kind(PublicTemplate::ek_ecc_p256()), ObjectKind::Storage);
    assert_eq!(
        kind(PublicTemplate::sealed_data(HashAlg::Sha256, 0, None)),
        ObjectKind::Data
    );
    let ak = PublicTemplate::attestation_key(Curve::P384).to_public().unwrap();
    assert_eq!(
        ak.signature_scheme(),
        Some(SignatureScheme::Ecdsa(HashAlg::Sha384))
    );
    assert_eq!(ak.name_alg(), HashAlg::Sha384);
    assert!(ak.verifying_key().is_err(), "a template holds no point");
    let parent = PublicTemplate::storage_parent(Curve::P384).to_public().unwrap();
    assert_eq!(parent.symmetric(), Some(256));
    let hmac = PublicTemplate::hmac_key(HashAlg::Sha384, 0, None)
        .to_public()
        .unwrap();
    assert_eq!(hmac.hmac_scheme(), Some(HashAlg::Sha384));
}

#[test]
fn an_external_public_area_holds_the_key() {
    for curve in Curve::ALL {
        let key = SigningKey::generate(curve).unwrap().verifying_key();
        let public = PublicTemplate::external(&key, curve.hash()).to_public().unwrap();
        assert_eq!(public.verifying_key().unwrap(), key);
    }
    let public = PublicTemplate::external(&rsa_key(), HashAlg::Sha256)
        .to_public()
        .unwrap();
    assert_eq!(public.verifying_key().unwrap(), rsa_key());
    assert_eq!(public.rsa().unwrap().1, 65537);
}

#[test]
fn names_parse_exactly() {
    let digest = HashAlg::Sha384.digest(&[b"area"]);
    let name = Name::of_public(HashAlg::Sha384, b"area");
    assert_eq!(name.as_bytes(), [&[0x00, 0x0C], digest.as_bytes()].concat());
    assert_eq!(Name::from_bytes(name.as_bytes()), Ok(name));
    assert_eq!(name.digest(), Some(digest));
    let handle = Name::of_handle(0x4000_000B);
    assert_eq!(handle.as_bytes(), [0x40, 0, 0, 0x0B]);
    assert_eq!(Name::from_bytes(handle.as_bytes()), Ok(handle));
    assert_eq!(handle.digest(), None);
    for bad in [
        &[][..],
        &[0],
        &[0, 0x0B],
        &[0, 0x0B, 1],
        &name.as_bytes()[..49],
        &[0, 0x12, 1, 2, 3],
    ] {
        assert!(Name::from_bytes(bad).is_err(), "{bad:?}");
    }
    assert_eq!(
        Name::from_bytes(&[0, 0x12, 1, 2, 3]),
        Err(StructureError::Unknown {
            field: "Name's algorithm",
            value: 0x12
        })
    );
}

#[test]
fn signatures_pad_short_numbers_and_round_trip() {
    let tpmt = [&[0x00, 0x18, 0x00, 0x0B, 0, 2, 1, 2, 0, 32][..], &[9; 32]].concat();
    let signature = Signature::from_tpmt_signature(&tpmt).unwrap();
    assert_eq!(signature.scheme, SignatureScheme::Ecdsa(HashAlg::Sha256));
    assert_eq!(signature.bytes, [&[0; 30][..], &[1, 2], &[9; 32]].concat());
    assert_eq!(
        Signature::from_tpmt_signature(&signature.to_tpmt()).unwrap(),
        signature
    );
    let wide = [&[0x00, 0x18, 0x00, 0x0C, 0, 33][..], &[1; 33], &[0, 1, 5]].concat();
    assert_eq!(Signature::from_tpmt_signature(&wide).unwrap().bytes.len(), 96);
    let long = [&[0x00, 0x18, 0x00, 0x0C, 0, 49][..], &[1; 49], &[0, 1, 5]].concat();
    assert_eq!(
        Signature::from_tpmt_signature(&long),
        Err(StructureError::Size {
            field: "r",
            permitted: 48,
            actual: 49
        })
    );
    let rsa = [&[0x00, 0x16, 0x00, 0x0D, 1, 0][..], &[3; 256]].concat();
    assert_eq!(
        Signature::from_tpmt_signature(&rsa).unwrap().scheme,
        SignatureScheme::RsaPss(HashAlg::Sha512)
    );
    for good in [tpmt, wide, rsa] {
        for len in 0..good.len() {
            assert!(Signature::from_tpmt_signature(&good[..len]).is_err());
        }
        assert!(Signature::from_tpmt_signature(&[good.as_slice(), &[0]].concat()).is_err());
    }
    assert!(
        Signature::from_tpmt_signature(&[0, 0x1A, 0, 0x0B, 0, 0, 0, 0]).is_err(),
        "ECDAA"
    );
}

proptest! {
    #[test]
    fn no_parser_panics(bytes: Vec<u8>) {
        let _ = Public::from_tpmt(&bytes);
        let _ = Public::from_tpm2b(&bytes);
        let _ = Name::from_bytes(&bytes);
        let _ = Signature::from_tpmt_signature(&bytes);
    }

    /// A changed public area is refused, or parses to itself: never to what it was, and the independent parser, where it
    /// takes the bytes at all, agrees on where they end.
    #[test]
    fn a_changed_public_area_is_refused_or_different(which in 0usize..12, at in 0usize..400, value: u8) {
        let (_, template) = &templates()[which];
        let mut bytes = template.as_tpmt_bytes().to_vec();
        let at = at % bytes.len();
        prop_assume!(bytes[at] != value);
        bytes[at] = value;
        if let Ok(public) = Public::from_tpmt(&bytes) {
            prop_assert_eq!(public.as_tpmt_bytes(), bytes.as_slice());
            prop_assert_ne!(public.name(), template.to_public().unwrap().name());
            let _ = public.verifying_key();
        }
    }

    #[test]
    fn names_of_digests_round_trip(which in 0usize..4, data: Vec<u8>) {
        let digest: Digest = HashAlg::ALL[which].digest(&[&data]);
        prop_assert_eq!(Name::from_bytes(Name::of_digest(&digest).as_bytes()).unwrap().digest(), Some(digest));
    }
}
