//! Platform certificates: attribute certificates put together here byte by byte, not by the structures that read them.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use alcub3_attestation::ek_certificate::platform::{PlatformError, VerifiedPlatform, verify_platform};
use alcub3_attestation::ek_certificate::{EkError, RootKind, Roots, VerifiedEk, verify};
use alcub3_crypto::{Curve, SigningKey};
use alcub3_testkit::{Quirk, SimulatorCa};
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};

/// 1 July 2026.
const NOW: u64 = 1_782_864_000;

fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut out = vec![tag];
    match content.len() {
        short @ 0..=127 => out.push(u8::try_from(short).unwrap()),
        long => {
            out.push(0x82);
            out.extend(u16::try_from(long).unwrap().to_be_bytes());
        }
    }
    out.extend(content);
    out
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, parts)
}

/// 2.23.133 and what follows.
fn tcg(arcs: &[u8]) -> Vec<u8> {
    tlv(0x06, &[&[0x67, 0x81, 0x05], arcs])
}

fn named(arcs: &[u8], text: &str) -> Vec<u8> {
    tlv(0x31, &[&sequence(&[&tcg(arcs), &tlv(0x0c, &[text.as_bytes()])])])
}

/// What a platform certificate says, each part in DER, to be changed by tests.
struct Parts {
    version: Vec<u8>,
    /// Name of the endorsement certificate's issuer, whole.
    ek_issuer: Vec<u8>,
    /// INTEGER.
    ek_serial: Vec<u8>,
    issuer: Vec<u8>,
    algorithm: Vec<u8>,
    serial: Vec<u8>,
    times: [&'static str; 2],
    credential_type: Vec<u8>,
    more_extensions: Vec<u8>,
}

impl Parts {
    fn tbs(&self) -> Vec<u8> {
        let general_name = |name: &[u8]| sequence(&[&tlv(0xa4, &[name])]);
        let holder = sequence(&[&tlv(0xa0, &[&general_name(&self.ek_issuer), &self.ek_serial])]);
        let issuer = tlv(0xa0, &[&general_name(&self.issuer)]);
        let [from, to] = self.times.map(|time| tlv(0x18, &[time.as_bytes()]));
        let kind = sequence(&[&tcg(&[2, 25]), &tlv(0x31, &[&sequence(&[&self.credential_type])])]);
        let machine = sequence(&[
            &named(&[5, 1, 1], "Rover Works"),
            &named(&[5, 1, 4], "R-9"),
            &named(&[5, 1, 5], "2"),
            &named(&[5, 1, 6], "SN-0042"),
        ]);
        let names = tlv(0x04, &[&general_name(&machine)]);
        let alternative = sequence(&[&tlv(0x06, &[&[0x55, 0x1d, 0x11]]), &names]);
        sequence(&[
            &tlv(0x02, &[&self.version]),
            &holder,
            &issuer,
            &self.algorithm,
            &self.serial,
            &sequence(&[&from, &to]),
            &sequence(&[&kind]),
            &sequence(&[&alternative, &self.more_extensions]),
        ])
    }

    fn signed_by(&self, signer: &SimulatorCa) -> Vec<u8> {
        let tbs = self.tbs();
        let signature = tlv(0x03, &[&[0], &signer.sign(&tbs).unwrap()]);
        sequence(&[&tbs, &ecdsa_sha256(), &signature])
    }
}

fn ecdsa_sha256() -> Vec<u8> {
    sequence(&[&tlv(0x06, &[&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]])])
}

/// A TPM with its verified endorsement certificate, and a platform manufacturer's authority.
struct World {
    tpm_vendor: SimulatorCa,
    ek_certificate: Vec<u8>,
    maker: SimulatorCa,
}

impl World {
    fn new() -> Self {
        let tpm_vendor = SimulatorCa::new().unwrap();
        let key = SigningKey::generate(Curve::P256).unwrap().verifying_key();
        let ek_certificate = tpm_vendor.issue(&key.to_spki_der()).unwrap();
        let maker = SimulatorCa::new().unwrap();
        Self {
            tpm_vendor,
            ek_certificate,
            maker,
        }
    }

    fn ek(&self) -> VerifiedEk {
        let mut roots = Roots::new();
        roots
            .add(RootKind::Production, self.tpm_vendor.root_der())
            .unwrap();
        verify(&self.ek_certificate, &[], &roots, NOW).unwrap()
    }

    fn makers(&self) -> Roots {
        let mut roots = Roots::new();
        roots.add(RootKind::Production, self.maker.root_der()).unwrap();
        roots
    }

    fn parts(&self, signer: &SimulatorCa) -> Parts {
        let ek = Certificate::from_der(&self.ek_certificate).unwrap();
        let subject = Certificate::from_der(signer.root_der()).unwrap();
        Parts {
            version: vec![1],
            ek_issuer: ek.tbs_certificate().issuer().to_der().unwrap(),
            ek_serial: ek.tbs_certificate().serial_number().to_der().unwrap(),
            issuer: subject.tbs_certificate().subject().to_der().unwrap(),
            algorithm: ecdsa_sha256(),
            serial: tlv(0x02, &[&[0x12, 0x34]]),
            times: ["20250101000000Z", "20350101000000Z"],
            credential_type: tcg(&[8, 2]),
            more_extensions: Vec::new(),
        }
    }

    fn judge(&self, certificate: &[u8], sent: &[&[u8]]) -> Result<VerifiedPlatform, PlatformError> {
        verify_platform(certificate, &self.ek(), sent, &self.makers(), NOW)
    }
}

#[test]
fn a_platform_certificate_of_this_tpm_says_which_machine_it_is_in() {
    let world = World::new();
    let middle = world.maker.intermediate("plant", Quirk::None).unwrap();
    let signer = world.maker.intermediate("signer", Quirk::Signer).unwrap();
    for (by, sent) in [
        (&world.maker, vec![]),
        (&middle, vec![middle.root_der()]),
        (&signer, vec![signer.root_der()]),
    ] {
        let certificate = world.parts(by).signed_by(by);
        let platform = world.judge(&certificate, &sent).unwrap();
        assert_eq!(
            (
                platform.manufacturer(),
                platform.model(),
                platform.version(),
                platform.serial()
            ),
            (Some("Rover Works"), Some("R-9"), Some("2"), Some("SN-0042"))
        );
        assert!(!platform.unlisted_issuers().is_empty());
        // Without what stands between, nobody vouches for the signer.
        if !sent.is_empty() {
            let refused = world.judge(&certificate, &[]);
            assert!(matches!(refused, Err(PlatformError::Issuer(_))), "{refused:?}");
        }
    }
}

#[test]
fn a_platform_certificate_of_another_tpm_is_refused() {
    let (world, other) = (World::new(), World::new());
    // Both vendors have one name here: only the serial number tells them apart; then one of another name.
    let renamed = world
        .tpm_vendor
        .intermediate("another vendor", Quirk::None)
        .unwrap();
    let renamed = Certificate::from_der(renamed.root_der()).unwrap();
    let other_name = Parts {
        ek_issuer: renamed.tbs_certificate().subject().to_der().unwrap(),
        ..world.parts(&world.maker)
    };
    for parts in [other.parts(&world.maker), other_name] {
        let refused = world.judge(&parts.signed_by(&world.maker), &[]);
        assert!(
            matches!(refused, Err(PlatformError::OtherEndorsement { .. })),
            "{refused:?}"
        );
        let message = refused.unwrap_err().to_string();
        assert!(!message.contains(['\\', '\n']), "{message}");
    }
}

#[test]
fn what_nobody_trusted_signed_or_was_changed_is_refused() {
    let (world, stranger) = (World::new(), SimulatorCa::new().unwrap());
    let parts = world.parts(&world.maker);
    let refused = world.judge(&parts.signed_by(&stranger), &[stranger.root_der()]);
    assert!(matches!(refused, Err(PlatformError::Issuer(_))), "{refused:?}");
    let message = refused.unwrap_err().to_string();
    assert!(!message.contains(['\\', '\n']), "{message}");
    let good = parts.signed_by(&world.maker);
    world.judge(&good, &[]).unwrap();
    for at in 0..good.len() {
        let mut changed = good.clone();
        changed[at] ^= 1;
        assert!(world.judge(&changed, &[]).is_err(), "byte {at}");
        assert!(world.judge(&good[..at], &[]).is_err());
    }
    assert!(world.judge(&[good.as_slice(), &[0]].concat(), &[]).is_err());
    // A simulator's root vouches for no platform.
    let mut simulators = Roots::new();
    simulators
        .add(RootKind::Simulator, world.maker.root_der())
        .unwrap();
    let refused = verify_platform(&good, &world.ek(), &[], &simulators, NOW);
    assert!(matches!(refused, Err(PlatformError::Issuer(_))), "{refused:?}");
}

type Change = fn(&mut Parts);

#[test]
fn what_is_not_as_the_profile_wants_it_is_refused() {
    let world = World::new();
    let critical = |value: &[u8]| {
        let oid = tlv(0x06, &[&[0x55, 0x1d, 0x63]]);
        sequence(&[&oid, &tlv(0x01, &[&[0xff]]), &tlv(0x04, &[value])])
    };
    let changes: [(&str, Change); 4] = [
        ("version", |parts| parts.version = vec![0]),
        ("delta", |parts| parts.credential_type = tcg(&[8, 5])),
        ("two algorithms", |parts| {
            *parts.algorithm.last_mut().unwrap() = 3;
        }),
        ("no type", |parts| parts.credential_type = tcg(&[8, 1])),
    ];
    for (what, change) in changes {
        let mut parts = world.parts(&world.maker);
        change(&mut parts);
        let refused = world.judge(&parts.signed_by(&world.maker), &[]);
        assert!(
            matches!(refused, Err(PlatformError::Profile(_))),
            "{what}: {refused:?}"
        );
    }
    let mut parts = world.parts(&world.maker);
    parts.more_extensions = critical(&[5, 0]);
    let refused = world.judge(&parts.signed_by(&world.maker), &[]);
    assert!(matches!(refused, Err(PlatformError::Profile(_))), "{refused:?}");
    for times in [
        ["20200101000000Z", "20250101000000Z"],
        ["20270101000000Z", "20350101000000Z"],
    ] {
        let mut parts = world.parts(&world.maker);
        parts.times = times;
        let refused = world.judge(&parts.signed_by(&world.maker), &[]);
        assert!(matches!(refused, Err(PlatformError::Validity)), "{refused:?}");
    }
}

#[test]
fn revocation_lists_of_platform_manufacturers_count_as_those_of_vendors() {
    let world = World::new();
    let middle = world.maker.intermediate("plant", Quirk::None).unwrap();
    let signer = world.maker.intermediate("signer", Quirk::Signer).unwrap();
    let current = (2026, 2027);
    for by in [&middle, &signer] {
        let certificate = world.parts(by).signed_by(by);
        let judge = |lists: &[Vec<u8>], strict: bool| {
            let mut roots = world.makers();
            for list in lists {
                roots.add_revocations(list).unwrap();
            }
            if strict {
                roots.require_revocation_lists();
            }
            verify_platform(&certificate, &world.ek(), &[by.root_der()], &roots, NOW)
        };
        let of_maker = world.maker.revocation_list(&[], current).unwrap();
        let of_signer = by.revocation_list(&[], current).unwrap();
        let platform = judge(&[of_signer.clone(), of_maker.clone()], true).unwrap();
        assert!(platform.unlisted_issuers().is_empty());
        for lists in [vec![], vec![of_maker], vec![of_signer]] {
            let refused = judge(&lists, true);
            assert!(
                matches!(refused, Err(PlatformError::Revocation(EkError::NotListed { .. }))),
                "{refused:?}"
            );
        }
        let revoking = world.maker.revocation_list(&[by.root_der()], current).unwrap();
        let refused = judge(&[revoking], false);
        assert!(
            matches!(refused, Err(PlatformError::Revocation(EkError::Revoked { .. }))),
            "{refused:?}"
        );
    }
    // The platform certificate itself.
    let certificate = world.parts(&middle).signed_by(&middle);
    let mut roots = world.makers();
    let revoking = middle.serial_list(&[0x12, 0x34], current).unwrap();
    roots.add_revocations(&revoking).unwrap();
    let refused = verify_platform(&certificate, &world.ek(), &[middle.root_der()], &roots, NOW);
    assert!(
        matches!(&refused, Err(PlatformError::Revocation(EkError::Revoked { what, .. })) if what.contains("platform")),
        "{refused:?}"
    );
}
