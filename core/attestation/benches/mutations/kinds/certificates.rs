//! Endorsement certificates with their intermediates: of a vendor, and of a simulator's authority.

use crate::campaign::random::Random;
use crate::campaign::{Change, Judgement, Kind, Parts, twins};
use crate::tpm_tools;
use alcub3_attestation::ek_certificate::{EkError, RootKind, Roots, verify};
use alcub3_crypto::tpm::Signature;
use alcub3_crypto::{Curve, HashAlg, SignatureScheme, SigningKey};
use alcub3_testkit::SimulatorCa;
use rustls_pki_types::{CertificateDer, pem::PemObject};

const IN_2024: u64 = 1_719_792_000;
const IN_2017: u64 = 1_483_228_800;
/// The year 10000. A root is an anchor, whose own end nobody looks at; the simulator's certificates name 9999.
const IN_10000: u64 = 253_402_300_800;

/// Roots and a time; the genuine verifier's and others'.
struct Setting {
    what: &'static str,
    roots: Roots,
    time_s: u64,
}

fn judge(parts: &Parts, roots: &Roots, time_s: u64) -> Judgement {
    let intermediates: Vec<&[u8]> = parts.iter().skip(1).map(Vec::as_slice).collect();
    match verify(&parts[0], &intermediates, roots, time_s) {
        Ok(ek) => Judgement::Accepted(format!("{ek:?}")),
        Err(error) => Judgement::Refused(code(&error)),
    }
}

fn code(error: &EkError) -> String {
    let debug = match error {
        EkError::Chain(source) => format!("chain {source:?}"),
        other => format!("{other:?}"),
    };
    debug
        .split(['(', '{'])
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn roots(files: &[&[u8]]) -> Roots {
    let mut roots = Roots::new();
    for file in files {
        roots.add(RootKind::Production, file).unwrap();
    }
    roots
}

/// ST's RSA certificate, with the filler of its NV index, under GlobalSign's root through two intermediates.
pub fn of_st() -> Option<Kind> {
    let folder = tpm_tools::data()?;
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let intermediate = |name: &str| CertificateDer::from_pem_slice(&read(name)).unwrap().to_vec();
    let genuine = vec![
        read("ek-certs/st-rsa-ek-ff-padded.der"),
        intermediate("ek-roots/STM_RSA_05I.pem"),
        intermediate("ek-roots/STM_RSA_RT.pem"),
    ];
    let donors = vec![
        read("ek-certs/st-ecc-ek.der"),
        intermediate("ek-roots/STM_ECC_01I.pem"),
        simulated().0,
    ];
    let root = read("ek-roots/GS_TPM_RT.pem");
    Some(kind("ek-st", genuine, donors, &root))
}

fn simulated() -> (Vec<u8>, Vec<u8>) {
    let authority = SimulatorCa::new().unwrap();
    let key = SigningKey::generate(Curve::P256).unwrap().verifying_key();
    let certificate = authority.issue(&key.to_spki_der()).unwrap();
    (certificate, authority.root_der().to_vec())
}

pub fn of_a_simulator() -> Kind {
    let (certificate, root) = simulated();
    let donors = vec![simulated().0, root.clone()];
    kind("ek-simulator", vec![certificate], donors, &root)
}

fn kind(name: &'static str, genuine: Parts, donors: Vec<Vec<u8>>, root: &[u8]) -> Kind {
    let strange = simulated().1;
    let setting = |what, roots, time_s| Setting { what, roots, time_s };
    let settings = [
        setting("the genuine verifier", roots(&[root]), IN_2024),
        setting("another root", roots(&[&strange]), IN_2024),
        setting("no root", Roots::new(), IN_2024),
        setting("a time before", roots(&[root]), IN_2017),
        setting("a time after", roots(&[root]), IN_10000),
    ];
    let (changing, comparing) = (genuine.clone(), genuine.clone());
    Kind {
        name,
        part_names: ["certificate", "issuer", "its issuer"][..genuine.len()].to_vec(),
        genuine,
        others: settings
            .iter()
            .skip(1)
            .map(|setting| setting.what.to_owned())
            .collect(),
        fields: Box::new(move |random| field(&changing, &donors, random)),
        judge: Box::new(move |parts, verifier| {
            judge(parts, &settings[verifier].roots, settings[verifier].time_s)
        }),
        same_meaning: Box::new(move |parts| same_meaning(&comparing, parts)),
    }
}

/// An element of a certificate left out, doubled or of another tag; an end of one certificate on another; certificates left out,
/// doubled or in another order; filler of another length; the signature's twin.
fn field(genuine: &Parts, donors: &[Vec<u8>], random: &mut Random) -> Change {
    let mut parts = genuine.clone();
    let at = random.below(parts.len());
    let what = match random.below(6) {
        0 => {
            let donor = random.below(donors.len());
            parts[at].clone_from(&donors[donor]);
            format!("certificate {at} is donor {donor}")
        }
        1 => {
            let (donor, cut) = (random.below(donors.len()), random.below(parts[at].len()));
            let from = cut.min(donors[donor].len());
            parts[at].truncate(cut);
            parts[at].extend(&donors[donor][from..]);
            format!("certificate {at} to {cut}, then donor {donor}")
        }
        2 => {
            let other = random.below(parts.len());
            match random.below(3) {
                0 => parts.swap(at, other),
                1 => {
                    let again = parts[other].clone();
                    parts.push(again);
                }
                _ if parts.len() > 1 => drop(parts.remove(at)),
                _ => return None,
            }
            format!("certificates {at} and {other}: {} of them", parts.len())
        }
        3 => {
            let (value, length) = (*random.pick(&[0, 0xff, 0x20]), 1 + random.below(2000));
            parts[at].extend(vec![value; length]);
            format!("certificate {at} with {length} bytes of {value:#x} behind")
        }
        4 => {
            let (signature, fixed) = twins::x509_signature(&parts[at], Curve::P256)?;
            let twin = Signature {
                scheme: SignatureScheme::Ecdsa(HashAlg::Sha256),
                bytes: twins::twin(&fixed),
            };
            replace_signature(&mut parts[at], signature, &twin.to_x509());
            "the signature's twin".to_owned()
        }
        _ => {
            let elements = elements(&parts[at]);
            let (start, end) = *random.pick(&elements);
            let element = parts[at][start..end].to_vec();
            match random.below(3) {
                0 => drop(parts[at].drain(start..end)),
                1 => drop(parts[at].splice(end..end, element)),
                _ => parts[at][start] = random.byte(),
            }
            let tag = parts[at].get(start).copied().unwrap_or_default();
            let length = parts[at].len();
            format!("certificate {at}: element {start} to {end}, then {length} bytes, tag {tag:#04x} there")
        }
    };
    Some((what, parts))
}

/// Puts another signature at the end of a certificate and mends the two lengths around it.
fn replace_signature(certificate: &mut Vec<u8>, at: usize, signature: &[u8]) {
    certificate.truncate(at);
    certificate.extend(signature);
    certificate[at - 2] = u8::try_from(signature.len() + 1).unwrap();
    let length = u16::try_from(certificate.len() - 4).unwrap();
    certificate[2..4].copy_from_slice(&length.to_be_bytes());
}

/// From where to where each element of DER reaches, those within others included.
fn elements(der: &[u8]) -> Vec<(usize, usize)> {
    fn walk(der: &[u8], mut at: usize, end: usize, found: &mut Vec<(usize, usize)>) {
        while at + 2 <= end {
            let (header, length) = match der[at + 1] {
                short @ 0..=0x7f => (2, usize::from(short)),
                0x81 if at + 3 <= end => (3, usize::from(der[at + 2])),
                0x82 if at + 4 <= end => (4, usize::from(u16::from_be_bytes([der[at + 2], der[at + 3]]))),
                _ => return,
            };
            let next = at + header + length;
            if next > end {
                return;
            }
            found.push((at, next));
            if der[at] & 0x20 != 0 {
                walk(der, at + header, next, found);
            }
            at = next;
        }
    }
    let mut found = Vec::new();
    walk(der, 0, der.len(), &mut found);
    found
}

/// The certificate alone, without the filler of an NV index.
fn trimmed(certificate: &[u8]) -> &[u8] {
    let [0x30, 0x82, high, low, ..] = certificate else {
        return certificate;
    };
    let length = 4 + usize::from(u16::from_be_bytes([*high, *low]));
    &certificate[..length.min(certificate.len())]
}

fn same_meaning(genuine: &Parts, changed: &Parts) -> Option<&'static str> {
    let same_leaf = trimmed(&genuine[0]) == trimmed(&changed[0]);
    if same_leaf && genuine[0] != changed[0] && genuine[1..] == changed[1..] {
        return Some("the filler of the NV index behind the certificate, of one value");
    }
    if genuine[0] == changed[0] && genuine[1..].iter().all(|issuer| changed[1..].contains(issuer)) {
        return Some("issuers in another order, or with one that is not needed");
    }
    let fixed = |certificate: &[u8]| twins::x509_signature(certificate, Curve::P256);
    let ((at, one), (other_at, other)) = (fixed(&genuine[0])?, fixed(&changed[0])?);
    let rest = at == other_at && genuine[0][4..at - 2] == changed[0][4..at - 2];
    (genuine[1..] == changed[1..] && rest && twins::twin(&one) == other).then_some(twins::CLASS)
}
