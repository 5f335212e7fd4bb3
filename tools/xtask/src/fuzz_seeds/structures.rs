//! Seeds of the TCG's structures and of public keys.

use alcub3_attestation::checkquote::write_pcr_file;
use alcub3_attestation::pcr::{PcrSelection, PcrValues};
use alcub3_crypto::tpm::{PublicTemplate, Signature};
use alcub3_crypto::{Curve, Digest, HashAlg, SignatureScheme, SigningKey};

use super::{Seed, SeedResult, seed};

pub(super) fn seeds() -> SeedResult<Vec<Seed>> {
    let mut seeds = attests()?;
    seeds.extend(pcr_files()?);
    seeds.extend(publics()?);
    seeds.extend(signatures()?);
    Ok(seeds)
}

/// A TPM2B: size and bytes, big-endian.
fn sized(bytes: &[u8]) -> Vec<u8> {
    let size = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    [&size.to_be_bytes(), bytes].concat()
}

const CLOCK: [u8; 17] = [0, 0, 0, 0, 0, 1, 2, 3, 0, 0, 0, 5, 0, 0, 0, 6, 1];

/// A TPMS_ATTEST of the type `kind` with `attested` as its last part.
fn attest(kind: u16, attested: &[u8]) -> Vec<u8> {
    let name = [&[0, 0x0b][..], HashAlg::Sha256.digest(&[b"key"]).as_bytes()].concat();
    let magic = 0xff54_4347_u32.to_be_bytes();
    let head = [
        &magic[..],
        &kind.to_be_bytes(),
        &sized(&name),
        &sized(b"a nonce of the verifier"),
    ]
    .concat();
    [&head, &CLOCK[..], &7_u64.to_be_bytes(), attested].concat()
}

fn attests() -> SeedResult<Vec<Seed>> {
    let digest = HashAlg::Sha384.digest(&[b"x"]);
    let digest = sized(digest.as_bytes());
    let one = PcrSelection::of(HashAlg::Sha256, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10])?.encode();
    let two = PcrSelection::new(&[(HashAlg::Sha256, &[0, 23]), (HashAlg::Sha384, &[13])])?.encode();
    let audit = [&9_u64.to_be_bytes()[..], &[0, 0x0c], &digest, &digest].concat();
    let time = [&5_u64.to_be_bytes()[..], &CLOCK, &7_u64.to_be_bytes()].concat();
    let kinds: [(&str, u16, Vec<u8>); 9] = [
        ("quote", 0x8018, [&one[..], &digest].concat()),
        ("quote-two-banks", 0x8018, [&two[..], &digest].concat()),
        (
            "nv",
            0x8014,
            [&digest[..], &[0, 0], &sized(&8_u64.to_be_bytes())].concat(),
        ),
        ("nv-digest", 0x801c, [&digest[..], &digest].concat()),
        ("command-audit", 0x8015, audit),
        ("session-audit", 0x8016, [&[1][..], &digest].concat()),
        ("certify", 0x8017, [&digest[..], &digest].concat()),
        ("creation", 0x801a, [&digest[..], &digest].concat()),
        ("time", 0x8019, time),
    ];
    Ok(kinds
        .into_iter()
        .map(|(name, kind, rest)| seed("tpms_attest", name, attest(kind, &rest)))
        .collect())
}

fn pcr_files() -> SeedResult<Vec<Seed>> {
    let all: Vec<u8> = (0..24).collect();
    let selections = [
        (
            "boot",
            PcrSelection::of(HashAlg::Sha256, &[0, 1, 2, 3, 4, 5, 6, 7])?,
        ),
        ("three-lists", PcrSelection::of(HashAlg::Sha384, &all)?),
        (
            "two-banks",
            PcrSelection::new(&[(HashAlg::Sha1, &[0]), (HashAlg::Sha256, &[0, 7, 13])])?,
        ),
    ];
    let mut seeds = Vec::new();
    for (name, selection) in selections {
        let values: Vec<Digest> = selection.pcrs().map(|(alg, pcr)| alg.digest(&[&[pcr]])).collect();
        let file = write_pcr_file(&PcrValues::new(selection, values)?);
        seeds.push(seed("checkquote_pcr_file", name, file));
    }
    Ok(seeds)
}

fn publics() -> SeedResult<Vec<Seed>> {
    let mut seeds = Vec::new();
    for curve in [Curve::P256, Curve::P384] {
        let key = SigningKey::generate(curve)?.verifying_key();
        let spki = key.to_spki_der();
        let public = PublicTemplate::external(&key, HashAlg::Sha256).to_public()?;
        seeds.push(seed("spki", format!("{curve:?}"), spki.clone()));
        seeds.push(seed(
            "tpm_public",
            format!("{curve:?}"),
            public.as_tpmt_bytes().to_vec(),
        ));
        seeds.push(seed(
            "public_key_file",
            format!("{curve:?}-2b"),
            public.to_tpm2b(),
        ));
        seeds.push(seed(
            "public_key_file",
            format!("{curve:?}-t"),
            public.as_tpmt_bytes().to_vec(),
        ));
        seeds.push(seed("public_key_file", format!("{curve:?}-pem"), pem(&spki)));
    }
    let policy = HashAlg::Sha256.digest(&[b"policy"]);
    let templates = [
        ("attestation-key", PublicTemplate::attestation_key(Curve::P256)),
        ("storage-parent", PublicTemplate::storage_parent(Curve::P384)),
        ("ek-rsa", PublicTemplate::ek_rsa_2048()),
        ("ek-p256", PublicTemplate::ek_ecc_p256()),
        ("ek-p384", PublicTemplate::ek_ecc_p384()),
        (
            "hmac-key",
            PublicTemplate::hmac_key(HashAlg::Sha256, 0x0004_0440, Some(&policy)),
        ),
        (
            "sealed",
            PublicTemplate::sealed_data(HashAlg::Sha256, 0x12, Some(&policy)),
        ),
    ];
    for (name, template) in templates {
        seeds.push(seed("tpm_public", name, template.into_tpmt_bytes()));
    }
    Ok(seeds)
}

fn pem(der: &[u8]) -> Vec<u8> {
    use base64::Engine as _;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = body
        .as_bytes()
        .chunks(64)
        .filter_map(|line| std::str::from_utf8(line).ok())
        .collect();
    format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        lines.join("\n")
    )
    .into_bytes()
}

/// A TPMT_SIGNATURE.
pub(super) fn signature(curve: Curve, hash: HashAlg) -> SeedResult<Vec<u8>> {
    let signature = Signature {
        scheme: SignatureScheme::Ecdsa(hash),
        bytes: SigningKey::generate(curve)?.sign(b"message")?,
    };
    Ok(signature.to_tpmt())
}

fn signatures() -> SeedResult<Vec<Seed>> {
    let mut seeds = Vec::new();
    for (curve, hash) in [(Curve::P256, HashAlg::Sha256), (Curve::P384, HashAlg::Sha384)] {
        seeds.push(seed(
            "tpm_signature",
            format!("{curve:?}"),
            signature(curve, hash)?,
        ));
    }
    for (name, scheme) in [
        ("rsassa", SignatureScheme::RsaPkcs1(HashAlg::Sha256)),
        ("rsapss", SignatureScheme::RsaPss(HashAlg::Sha384)),
    ] {
        let signature = Signature {
            scheme,
            bytes: vec![0x5a; 256],
        };
        seeds.push(seed("tpm_signature", name, signature.to_tpmt()));
    }
    Ok(seeds)
}
