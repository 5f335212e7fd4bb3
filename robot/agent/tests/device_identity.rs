//! The initial attestation key that a machine's maker left in the chip: found, and made to certify the robot's attestation key.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_agent::{AuthorityLink, LinkError, provision};
use alcub3_attestation::ek_certificate::device::verify_device;
use alcub3_attestation::ek_certificate::{RootKind, Roots};
use alcub3_crypto::tpm::{Public, PublicTemplate};
use alcub3_crypto::{Curve, Secret};
use alcub3_fleet_protocol::enrolment::{Authority as Enrolment, EnrolRequest};
use alcub3_keys::StateFolder;
use alcub3_testkit::{DeviceKind, Quirk, SimulatorCa, Swtpm};
use alcub3_tpm::ops::Hierarchy;
use alcub3_tpm::{Auth, Lane, Tpm};
use alcub3_trust_model::handle_map;
use std::time::Duration;
use support::{NOW_MS, SoftAuthority, certify_ek, open_tpm, put_into_nv, request};
use tempfile::TempDir;

/// Keeps what it was asked.
struct Asked {
    authority: SoftAuthority,
    request: Option<EnrolRequest>,
}

impl AuthorityLink for Asked {
    fn enrol(&mut self, request: &[u8]) -> Result<Vec<u8>, LinkError> {
        // What an authority demands of an initial attestation key and its certification, before any certificate is judged.
        let received = Enrolment::receive(request).map_err(|e| LinkError(Box::new(e)))?;
        self.request = Some(received.request().clone());
        self.authority.enrol(request)
    }

    fn respond(&mut self, response: &[u8]) -> Result<Vec<u8>, LinkError> {
        self.authority.respond(response)
    }
}

struct Chip {
    swtpm: Swtpm,
    tpm: Tpm,
}

/// A chip with an endorsement certificate.
fn chip() -> Chip {
    let swtpm = Swtpm::start().unwrap();
    let (tpm, _) = open_tpm(swtpm.transport());
    certify_ek(&tpm, &SimulatorCa::new().unwrap());
    Chip { swtpm, tpm }
}

/// Leaves a key at a handle, as a maker does.
fn leave_key(tpm: &Tpm, template: PublicTemplate, handle: u32) -> Public {
    tpm.run(Lane::Background, Duration::from_secs(60), move |chip| {
        let empty = Secret::from_slice(&[]);
        let bytes = template.as_tpmt_bytes();
        let made = chip.create_primary(Hierarchy::Owner, Auth::Empty, bytes, None, &[])?;
        let public = made.object.public().clone();
        chip.evict_control_make(&empty, &made.object, handle)?;
        Ok(public)
    })
    .unwrap()
}

fn spki(key: &Public) -> Vec<u8> {
    key.verifying_key().unwrap().to_spki_der()
}

/// What a robot on this chip sends, and the TPM commands that its provisioning took.
fn provisioned(chip: &Chip) -> (EnrolRequest, u64) {
    let (tpm, counts) = open_tpm(chip.swtpm.transport());
    let folder = TempDir::new().unwrap();
    let state = StateFolder::open(folder.path()).unwrap();
    let mut link = Asked {
        authority: SoftAuthority::new(),
        request: None,
    };
    provision(&tpm, &state, &request(&link.authority), &mut link).unwrap();
    (link.request.unwrap(), counts.total())
}

#[test]
fn the_makers_key_certifies_the_attestation_key_and_its_certificates_are_sent() {
    let plain = provisioned(&chip());
    assert!(plain.0.origin.device.is_none());
    let root = SimulatorCa::new().unwrap();
    let maker = root.intermediate("maker", Quirk::None).unwrap();
    for curve in [Curve::P256, Curve::P384] {
        let chip = chip();
        let first = *handle_map::DEVICE_KEYS.start();
        let identity = leave_key(&chip.tpm, PublicTemplate::initial_device_id(curve), first);
        let key = leave_key(&chip.tpm, PublicTemplate::attestation_key(curve), first + 1);
        let at = *handle_map::DEVICE_CERTIFICATES.start();
        let identity = maker
            .issue_device(&spki(&identity), "SN-7", DeviceKind::Identity)
            .unwrap();
        let certificate = maker
            .issue_device(&spki(&key), "SN-7", DeviceKind::Attestation)
            .unwrap();
        put_into_nv(&chip.tpm, at, &identity);
        put_into_nv(&chip.tpm, at + 1, &[certificate.as_slice(), &[0xff; 30]].concat());
        put_into_nv(&chip.tpm, at + 2, b"a template");
        put_into_nv(&chip.tpm, at + 0x100, maker.root_der());
        let (asked, commands) = provisioned(&chip);
        let sent = asked.origin.device.unwrap();
        assert_eq!(sent.key, key);
        assert_eq!(sent.certificate, certificate);
        let chain: Vec<&[u8]> = sent.chain.iter().map(Vec::as_slice).collect();
        let mut roots = Roots::new();
        roots.add(RootKind::Production, root.root_der()).unwrap();
        let device = verify_device(&sent.certificate, &chain, &roots, NOW_MS / 1000).unwrap();
        assert!(device.certifies(&key));
        assert_eq!(device.serial(), Some("SN-7"));
        if curve == Curve::P256 {
            assert_eq!(commands - plain.1, MORE_COMMANDS);
        }
    }
}

/// Four indices at 3 commands, 1 GetCapability, two keys at 2, 1 Certify.
const MORE_COMMANDS: u64 = 18;

#[test]
fn without_the_key_or_with_one_that_signs_anything_no_device_is_shown() {
    let maker = SimulatorCa::new().unwrap();
    let at = *handle_map::DEVICE_CERTIFICATES.start();
    for free in [true, false] {
        let chip = chip();
        let (template, handle) = match free {
            true => (
                PublicTemplate::initial_device_id(Curve::P256),
                *handle_map::DEVICE_KEYS.start(),
            ),
            // An attestation key that lies elsewhere is not the maker's.
            false => (PublicTemplate::attestation_key(Curve::P256), 0x8100_1234),
        };
        let key = leave_key(&chip.tpm, template, handle);
        let certificate = maker
            .issue_device(&spki(&key), "SN-7", DeviceKind::Attestation)
            .unwrap();
        put_into_nv(&chip.tpm, at, &certificate);
        let (asked, _) = provisioned(&chip);
        assert!(asked.origin.device.is_none());
    }
}
