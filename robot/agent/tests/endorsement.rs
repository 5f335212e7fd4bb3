//! Which endorsement key a chip proves itself with, and the certificates that its NV holds, as the authority gets them.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_agent::{AgentError, AuthorityLink, LinkError, ProvisionRequest, provision};
use alcub3_attestation::ek_certificate::{EkError, RootKind, Roots, verify};
use alcub3_crypto::Curve;
use alcub3_crypto::tpm::EkTemplate;
use alcub3_fleet_protocol::enrolment::EnrolRequest;
use alcub3_keys::{KeysError, RobotRecord, StateFolder};
use alcub3_testkit::{Quirk, SimulatorCa, Swtpm};
use alcub3_tpm::Tpm;
use alcub3_trust_model::{Level, handle_map};
use support::{NOW_MS, SoftAuthority, make_ek, open_tpm, put_into_nv, request};
use tempfile::TempDir;

/// An authority that keeps what it was asked, and judges the certificate against one root before it goes on.
struct Judging<'a> {
    authority: SoftAuthority,
    root: &'a [u8],
    asked: Option<EnrolRequest>,
}

impl<'a> Judging<'a> {
    fn new(root: &'a [u8]) -> Self {
        Self {
            authority: SoftAuthority::new(),
            root,
            asked: None,
        }
    }
}

fn judge(request: &EnrolRequest, root: &[u8]) -> Result<(), EkError> {
    let mut roots = Roots::new();
    roots.add(RootKind::Simulator, root).unwrap();
    let chain: Vec<&[u8]> = request.certificate_chain.iter().map(Vec::as_slice).collect();
    let verified = verify(&request.endorsement_certificate, &chain, &roots, NOW_MS / 1000)?;
    assert!(verified.certifies(&request.endorsement_key), "of another key");
    Ok(())
}

impl AuthorityLink for Judging<'_> {
    fn enrol(&mut self, request: &[u8]) -> Result<Vec<u8>, LinkError> {
        let asked = EnrolRequest::from_canonical(request).unwrap();
        let judged = judge(&asked, self.root);
        self.asked = Some(asked);
        judged.map_err(|error| LinkError(Box::new(error)))?;
        self.authority.enrol(request)
    }

    fn respond(&mut self, response: &[u8]) -> Result<Vec<u8>, LinkError> {
        self.authority.respond(response)
    }
}

struct Blank {
    swtpm: Swtpm,
    tpm: Tpm,
}

fn blank() -> Blank {
    let swtpm = Swtpm::start().unwrap();
    let (tpm, _) = open_tpm(swtpm.transport());
    Blank { swtpm, tpm }
}

/// Puts a certificate of this kind of endorsement key into the chip, with filler after it.
fn certify(tpm: &Tpm, template: EkTemplate, ca: &SimulatorCa) {
    let spki = make_ek(tpm, template).verifying_key().unwrap().to_spki_der();
    let mut certificate = ca.issue(&spki).unwrap();
    certificate.extend([0xff; 100]);
    put_into_nv(tpm, handle_map::ek_certificate(template), &certificate);
}

fn provision_on(
    tpm: &Tpm,
    link: &mut Judging<'_>,
    change: impl FnOnce(&mut ProvisionRequest),
) -> Result<RobotRecord, AgentError> {
    let folder = TempDir::new().unwrap();
    let state = StateFolder::open(folder.path()).unwrap();
    let mut request = request(&link.authority);
    change(&mut request);
    provision(tpm, &state, &request, link)
}

/// Each kind of endorsement key opens the authority's credential, with the policy or the authorisation that its template asks
/// for, and the sessions are salted to it.
#[test]
fn a_chip_with_a_certificate_of_one_kind_of_key_enrols_with_that_kind() {
    let ca = SimulatorCa::new().unwrap();
    for template in EkTemplate::ALL {
        for curve in [Curve::P256, Curve::P384] {
            let chip = blank();
            certify(&chip.tpm, template, &ca);
            let mut link = Judging::new(ca.root_der());
            let record = provision_on(&chip.tpm, &mut link, |request| request.curve = curve).unwrap();
            let expected = template.public().to_public().unwrap();
            let used = &record.endorsement_key;
            assert_eq!(used.object_type(), expected.object_type(), "{template:?}");
            assert_eq!(used.auth_policy(), expected.auth_policy(), "{template:?}");
            assert_eq!(used.name_alg(), expected.name_alg(), "{template:?}");
            // What fills the index behind the certificate is no part of it: a SEQUENCE with its length in two bytes, and no more.
            let certificate = link.asked.unwrap().endorsement_certificate;
            let [0x30, 0x82, high, low, content @ ..] = certificate.as_slice() else {
                panic!("no certificate: {certificate:?}");
            };
            assert_eq!(
                usize::from(u16::from_be_bytes([*high, *low])),
                content.len(),
                "filler"
            );
        }
    }
}

#[test]
fn of_several_certificates_that_of_the_robots_curve_is_used() {
    let ca = SimulatorCa::new().unwrap();
    for (curve, expected) in [(Curve::P256, EkTemplate::L2), (Curve::P384, EkTemplate::H3)] {
        let chip = blank();
        for template in [EkTemplate::L1, EkTemplate::L2, EkTemplate::H3] {
            certify(&chip.tpm, template, &ca);
        }
        let mut link = Judging::new(ca.root_der());
        let record = provision_on(&chip.tpm, &mut link, |request| request.curve = curve).unwrap();
        let expected = expected.public().to_public().unwrap();
        assert_eq!(record.endorsement_key.name_alg(), expected.name_alg());
        assert!(record.endorsement_key.ec_point().is_some());
    }
}

#[test]
fn a_level_above_the_endorsement_keys_strength_is_refused_before_anything_is_made() {
    let ca = SimulatorCa::new().unwrap();
    for template in [EkTemplate::L1, EkTemplate::L2, EkTemplate::H6] {
        let chip = blank();
        certify(&chip.tpm, template, &ca);
        let mut link = Judging::new(ca.root_der());
        let refused = provision_on(&chip.tpm, &mut link, |request| {
            request.curve = Curve::P384;
            request.levels = vec![Level::Cui, Level::Secret];
        });
        assert!(
            matches!(&refused, Err(AgentError::Keys(KeysError::EndorsementBelowFloor { key, .. }))
                if *key == template.name()),
            "{refused:?}"
        );
        assert!(link.asked.is_none());
    }
}

/// A chain of two, written one after the other into one index, over two indices at any place, and padded.
#[test]
fn the_chain_in_the_chip_reaches_the_authority_however_it_lies_in_nv() {
    let root = SimulatorCa::new().unwrap();
    let (first, second) = (
        root.intermediate("first", Quirk::CriticalPolicies).unwrap(),
        root.intermediate("second", Quirk::None).unwrap(),
    );
    let chain = [second.root_der(), first.root_der()].concat();
    let at = second.root_der().len();
    let start = *handle_map::EK_CERTIFICATE_CHAIN.start();
    let padded = |part: &[u8], filler: u8| [part, &[filler; 50]].concat();
    let layouts: [Vec<(u32, Vec<u8>)>; 5] = [
        vec![(start, chain.clone())],
        vec![(start, padded(&chain, 0xff))],
        vec![
            (start, chain[..300].to_vec()),
            (start + 1, padded(&chain[300..], 0)),
        ],
        vec![
            (start, padded(&chain[..at], 0)),
            (start + 1, padded(&chain[at..], 0xff)),
        ],
        vec![
            (start + 7, chain[..at].to_vec()),
            (start + 0xff, chain[at..].to_vec()),
        ],
    ];
    for layout in layouts {
        let chip = blank();
        certify(&chip.tpm, EkTemplate::L2, &first);
        for (index, contents) in &layout {
            put_into_nv(&chip.tpm, *index, contents);
        }
        let mut link = Judging::new(root.root_der());
        provision_on(&chip.tpm, &mut link, |_| ()).unwrap();
        let sent = link.asked.unwrap().certificate_chain;
        assert_eq!(sent, [second.root_der(), first.root_der()]);
    }
}

#[test]
fn a_chain_of_nonsense_is_left_out_and_one_that_is_missing_is_missed() {
    let root = SimulatorCa::new().unwrap();
    let middle = root.intermediate("middle", Quirk::None).unwrap();
    let start = *handle_map::EK_CERTIFICATE_CHAIN.start();
    for held in [
        None,
        Some(vec![0x55; 64]),
        Some(middle.root_der()[..200].to_vec()),
    ] {
        let chip = blank();
        certify(&chip.tpm, EkTemplate::L2, &middle);
        if let Some(held) = &held {
            put_into_nv(&chip.tpm, start, held);
        }
        let mut link = Judging::new(root.root_der());
        let refused = provision_on(&chip.tpm, &mut link, |_| ());
        assert!(matches!(refused, Err(AgentError::Link(_))), "{refused:?}");
        assert!(link.asked.unwrap().certificate_chain.is_empty());
        // Handed in by hand, it completes.
        let mut link = Judging::new(root.root_der());
        provision_on(&chip.tpm, &mut link, |request| {
            request.certificate_chain = vec![middle.root_der().to_vec()];
        })
        .unwrap();
    }
}

/// What reading the certificates costs.
#[test]
fn reading_a_certificate_and_a_chain_takes_a_few_commands() {
    let root = SimulatorCa::new().unwrap();
    let middle = root.intermediate("middle", Quirk::None).unwrap();
    let commands = |with_chain: bool| {
        let chip = blank();
        certify(&chip.tpm, EkTemplate::L2, &middle);
        if with_chain {
            put_into_nv(
                &chip.tpm,
                *handle_map::EK_CERTIFICATE_CHAIN.start(),
                middle.root_der(),
            );
        }
        // One that knows nothing of the chip yet.
        let (tpm, counts) = open_tpm(chip.swtpm.transport());
        let mut link = Judging::new(root.root_der());
        provision_on(&tpm, &mut link, |request| {
            request.certificate_chain = vec![middle.root_der().to_vec()];
        })
        .unwrap();
        counts.total()
    };
    // NV_ReadPublic twice, NV_Read once.
    assert_eq!(commands(true) - commands(false), 3);
}
