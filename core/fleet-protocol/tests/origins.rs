//! What the robot takes of a record about its own origin: nothing that it did not show.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod fixture;

use alcub3_crypto::{Curve, Digest, HashAlg, Secret};
use alcub3_fleet_protocol::EnrolmentRecord;
use alcub3_fleet_protocol::enrolment::{Authority, EnrolError, Robot};
use alcub3_fleet_protocol::origin::{DeviceOrigin, Origin, OriginEvidence, PlatformEvidence, PlatformOrigin};
use fixture::{ADMISSION, Counting, Fleet, NOW_MS, SoftChip, authorisations};

const SENT: &[u8] = b"the platform certificate that was sent";

fn digest(certificate: &[u8]) -> Digest {
    HashAlg::Sha256.digest(&[certificate])
}

fn platform(certificate: &[u8]) -> Option<PlatformOrigin> {
    Some(PlatformOrigin {
        certificate: digest(certificate),
        manufacturer: "Rover Works".to_owned(),
        model: String::new(),
        version: String::new(),
        serial: "SN-42".to_owned(),
        revocation_checked: true,
    })
}

fn device(certificate: &[u8]) -> Option<DeviceOrigin> {
    Some(DeviceOrigin {
        certificate: digest(certificate),
        common_name: "rover".to_owned(),
        serial: "SN-7".to_owned(),
        hardware_module: String::new(),
        revocation_checked: false,
    })
}

/// What the robot says of a record of its own authority that states this origin, after it sent a platform certificate or nothing.
fn taken(sent: Option<&[u8]>, stated: Origin) -> Result<Origin, EnrolError> {
    let (chip, fleet) = (SoftChip::new(Curve::P256), Fleet::new(Curve::P256));
    let mut request = chip.request();
    request.origin = OriginEvidence {
        device: None,
        platform: sent.map(|certificate| PlatformEvidence {
            certificate: certificate.to_vec(),
            chain: Vec::new(),
        }),
    };
    let (robot, message) = Robot::begin(request, fleet.signing.verifying_key());
    let mut entropy = Counting(1, vec![]);
    let received = Authority::receive(&message).unwrap();
    let (challenged, message) = received
        .challenge(chip.endorsement(), ADMISSION, fleet.issuer(), &mut entropy)
        .unwrap();
    let session = challenged.session();
    let (robot, _) = robot.challenged(&message).unwrap();
    let secret = Secret::from_slice(&entropy.1[2]);
    let (awaiting, message) = robot.respond(&secret, &authorisations()).unwrap();
    let proven = challenged.answered(&message, fleet.issuer()).unwrap();
    let issued = proven.issue(&fleet.anchors(), fleet.issuer(), NOW_MS).unwrap();
    let record = EnrolmentRecord {
        origin: stated,
        ..issued.record
    };
    let suite = fleet.signing.suite();
    let record = record.unsigned(suite).sign(&fleet.signing).unwrap();
    let anchors = fleet.anchors().unsigned(session, &record, suite);
    let message = anchors.sign(&fleet.signing).unwrap();
    let anchors = awaiting.enrolled(&message)?;
    Ok(anchors.enrolment().record().origin.clone())
}

#[test]
fn a_record_states_nothing_of_a_robots_origin_that_it_did_not_show() {
    let of = |device, platform| Origin { device, platform };
    // What it sent, and less than it sent.
    for (sent, stated) in [
        (Some(SENT), of(None, platform(SENT))),
        (Some(SENT), Origin::default()),
        (None, Origin::default()),
    ] {
        assert_eq!(taken(sent, stated.clone()).unwrap(), stated);
    }
    for (sent, stated) in [
        (Some(SENT), of(None, platform(b"another one"))),
        (None, of(None, platform(SENT))),
        (None, of(device(SENT), None)),
        (Some(SENT), of(device(SENT), platform(SENT))),
    ] {
        let refused = taken(sent, stated.clone());
        assert!(
            matches!(refused, Err(EnrolError::OtherKeys)),
            "{stated:?}: {refused:?}"
        );
    }
}
