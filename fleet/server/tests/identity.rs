//! Certificates and lost disks at the authority: what it issues, what counts, and to whom it gives anything back.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_crypto::tpm::{Name, PublicTemplate, Signature, attribute};
use alcub3_crypto::{Curve, HashAlg, SigningKey};
use alcub3_fleet_protocol::certificate::{
    CertificateChanged, CertificateRequest, CertificateUse, DeviceKeyKind, UnsignedCsr, VerifiedGrant,
    summarize,
};
use alcub3_fleet_protocol::restore::{RestoreGrant, RestoreRequest, restore_binding};
use alcub3_fleet_protocol::{device_key_binding, identity_binding};
use alcub3_server::{Authority, Ballot, CertificateStanding, CertificationError, RestoreRefusal};
use alcub3_trust_model::SessionId;
use support::robot::{BOUND, Robot, sized, with_point};
use support::{ALG, NOW, World};

/// A local device key of a robot in software.
struct Local(SigningKey);

impl Local {
    fn new() -> Self {
        Self(SigningKey::generate(Curve::P384).unwrap())
    }

    fn request(&self, robot: &Robot, session: SessionId) -> CertificateRequest {
        let template = PublicTemplate::signing_key(
            Curve::P384,
            BOUND | attribute::USER_WITH_AUTH | attribute::SIGN,
            None,
        );
        let public = with_point(template, &self.0.verifying_key());
        let binding = identity_binding(ALG, &robot.id, &robot.hardware().binding(ALG));
        let parent = robot.root_public.name();
        let qualified = robot.root_public.qualified_name(&Name::of_handle(0x4000_0001));
        let mut creation = vec![0; 4];
        creation.extend(sized(ALG.digest(&[]).as_bytes()));
        creation.push(1);
        creation.extend(ALG.tpm_id().to_be_bytes());
        creation.extend([sized(parent.as_bytes()), sized(qualified.as_bytes())].concat());
        creation.extend(sized(binding.as_bytes()));
        let attested = [
            sized(public.name().as_bytes()),
            sized(ALG.digest(&[&creation]).as_bytes()),
        ]
        .concat();
        let extra = device_key_binding(session, &binding);
        CertificateRequest {
            session,
            robot: robot.id.clone(),
            kind: DeviceKeyKind::Local,
            csr: self.csr(robot),
            public,
            creation,
            certification: robot.sign(robot.attest(0x801A, extra.as_bytes(), &attested)),
        }
    }

    /// Software keys sign messages: the part to be signed is the request without its last two fields.
    fn csr(&self, robot: &Robot) -> Vec<u8> {
        let key = self.0.verifying_key();
        let unsigned = UnsignedCsr::new(&robot.id, &key).unwrap();
        let signature = |bytes| Signature {
            scheme: key.native_scheme(),
            bytes,
        };
        let whole = unsigned.clone().signed(&signature(vec![1; 96])).unwrap();
        let header = if whole[1] == 0x82 { 4 } else { 3 };
        let inner = match whole[header + 1] {
            0x82 => 4 + usize::from(u16::from_be_bytes([whole[header + 2], whole[header + 3]])),
            0x81 => 3 + usize::from(whole[header + 2]),
            short => 2 + usize::from(short),
        };
        let message = &whole[header..header + inner];
        assert_eq!(unsigned.digest(), ALG.digest(&[message]));
        unsigned
            .signed(&signature(self.0.sign(message).unwrap()))
            .unwrap()
    }

    fn used(&self, robot: &Robot, session: SessionId, certificate: &[u8]) -> CertificateUse {
        let digest = HashAlg::Sha256.digest(&[certificate]);
        let message = CertificateUse::message(session, &robot.id, &digest);
        CertificateUse {
            session,
            robot: robot.id.clone(),
            certificate: digest,
            signature: self.0.sign_x509(&message).unwrap(),
        }
    }
}

fn certified(world: &mut World, robot: &Robot, local: &Local) -> (SessionId, Vec<u8>) {
    let session = world.authority.open_certificate(&robot.id, NOW).unwrap();
    let request = local.request(robot, session);
    let answer = world
        .authority
        .issue_certificate(&request.to_canonical(), NOW)
        .unwrap();
    let grant = VerifiedGrant::verify(&answer, &world.authority.verifying_key(), &request).unwrap();
    (session, grant.certificate().to_vec())
}

#[test]
fn certificates_follow_each_other_without_a_gap_also_over_a_restart() {
    let mut world = World::new();
    let robot = Robot::new("rover-1");
    world.enrol(&robot);
    let (one, two) = (Local::new(), Local::new());
    let (first_session, first) = certified(&mut world, &robot, &one);
    let word = one.used(&robot, first_session, &first);
    world
        .authority
        .certificate_used(&word.to_canonical(), NOW)
        .unwrap();
    let (session, second) = certified(&mut world, &robot, &two);
    assert!(summarize(&second).unwrap().subject.contains("O=test"));
    let standing = |world: &World, der: &[u8]| world.authority.certificate_standing(&robot.id, der).unwrap();
    for der in [&first, &second] {
        assert_eq!(standing(&world, der), CertificateStanding::Counts);
    }
    // Not by the earlier key's word, nor by one about a certificate that was never granted.
    let forged = CertificateUse {
        signature: one.used(&robot, session, &second).signature,
        ..two.used(&robot, session, &second)
    };
    world
        .authority
        .certificate_used(&forged.to_canonical(), NOW)
        .unwrap_err();
    assert_eq!(standing(&world, &first), CertificateStanding::Counts);

    let state = world.state();
    drop(world.authority);
    world.authority = Authority::open(&state).unwrap();
    let word = two.used(&robot, session, &second);
    for _ in 0..2 {
        let answer = world
            .authority
            .certificate_used(&word.to_canonical(), NOW)
            .unwrap();
        CertificateChanged::verify(&answer, &world.authority.verifying_key(), &word).unwrap();
    }
    assert_eq!(standing(&world, &first), CertificateStanding::Superseded);
    assert_eq!(standing(&world, &second), CertificateStanding::Counts);
    assert_eq!(standing(&world, b"another"), CertificateStanding::Unknown);
    let late = one.used(&robot, first_session, &first);
    assert!(matches!(
        world.authority.certificate_used(&late.to_canonical(), NOW),
        Err(CertificationError::NotGranted(_))
    ));
    // Enrolled anew, the robot has no certificate of before.
    world.enrol(&robot);
    assert_eq!(standing(&world, &second), CertificateStanding::Superseded);
}

#[test]
fn a_released_or_purged_robots_certificates_count_no_more() {
    for released in [true, false] {
        let mut world = World::new();
        let robot = Robot::new("rover-1");
        world.enrol(&robot);
        let (_, certificate) = certified(&mut world, &robot, &Local::new());
        let World {
            authority,
            vault,
            alice,
            bob,
            ..
        } = &mut world;
        let votes = |ballot: &Ballot| [alice.vote(ballot), bob.vote(ballot)];
        if released {
            let proposal = authority.propose_succession(&robot.id, vault, NOW).unwrap();
            let votes = votes(proposal.ballot());
            authority
                .approve_succession(proposal, &votes, vault, NOW)
                .unwrap();
        } else {
            let request = robot.purge_request(authority.open_purge(&robot.id, NOW).unwrap());
            let proposal = authority.propose_purge(&request, vault, NOW).unwrap();
            let votes = votes(proposal.ballot());
            authority.approve_purge(proposal, &votes, vault, NOW).unwrap();
        }
        let standing = authority.certificate_standing(&robot.id, &certificate).unwrap();
        assert_eq!(standing, CertificateStanding::Superseded);
    }
}

#[test]
fn an_exchange_for_a_certificate_counts_once_and_for_its_robot() {
    let mut world = World::new();
    let (robot, local) = (Robot::new("rover-1"), Local::new());
    world.enrol(&robot);
    let (session, _) = certified(&mut world, &robot, &local);
    let again = local.request(&robot, session).to_canonical();
    assert!(matches!(
        world.authority.issue_certificate(&again, NOW),
        Err(CertificationError::Exchange(_))
    ));
    let stranger = Robot::new("rover-9");
    assert!(matches!(
        world.authority.open_certificate(&stranger.id, NOW),
        Err(CertificationError::Robot(_))
    ));
    let own = world.authority.certificate(NOW).unwrap();
    assert_eq!(world.authority.certificate(NOW + 1).unwrap(), own, "made once");
}

fn restore_request(robot: &Robot, signer: &Robot, session: SessionId) -> RestoreRequest {
    let binding = restore_binding(ALG, session, &robot.id);
    let attested = [sized(robot.root_public.name().as_bytes()), sized(&[0, 0, 0, 1])].concat();
    RestoreRequest {
        session,
        robot: robot.id.clone(),
        storage_root: robot.root_public.clone(),
        certification: signer.sign(signer.attest(0x8017, binding.as_bytes(), &attested)),
    }
}

#[test]
fn a_lost_disk_is_answered_once_and_for_the_enrolled_chip_alone() {
    let mut world = World::new();
    let (robot, other) = (Robot::new("rover-1"), Robot::new("rover-2"));
    world.enrol(&robot);
    let session = world.authority.open_restore(&robot.id, NOW).unwrap();
    let forged = restore_request(&robot, &other, session).to_canonical();
    assert!(matches!(
        world.authority.restore(&forged, &mut world.vault, NOW),
        Err(RestoreRefusal::Proof(_))
    ));
    // The exchange was used up by the attempt.
    let request = restore_request(&robot, &robot, session);
    assert!(matches!(
        world
            .authority
            .restore(&request.to_canonical(), &mut world.vault, NOW),
        Err(RestoreRefusal::Exchange(_))
    ));
    let session = world.authority.open_restore(&robot.id, NOW).unwrap();
    let request = restore_request(&robot, &robot, session);
    let answer = world
        .authority
        .restore(&request.to_canonical(), &mut world.vault, NOW)
        .unwrap();
    let key = world.authority.verifying_key();
    let grant = RestoreGrant::verify(&answer, &key, &request).unwrap();
    let (enrolled, hardware) = grant.contents(&key).unwrap();
    assert_eq!(enrolled.enrolment().record().attestation_key, robot.ak);
    assert_eq!(hardware, robot.hardware());
    assert!(
        !answer.windows(32).any(|window| window == [1; 32]),
        "the owner authorisation is in the clear"
    );
    assert!(
        grant
            .authorisations(&alcub3_crypto::Secret::from_slice(&[0; 32]))
            .is_err()
    );
    // No exchange without a robot.
    assert!(matches!(
        world.authority.open_restore(&other.id, NOW),
        Err(RestoreRefusal::Robot(_))
    ));
}
