//! Seeds of persons' chips and of what is made for them: admissions, recovery sets, shares, duplicates.

use alcub3_crypto::tpm::{Public, PublicTemplate, StorageKeyPair};
use alcub3_crypto::{Curve, Entropy, EntropyError, HashAlg, SigningKey};
use alcub3_fleet_protocol::chip::{AdmittedChip, ChipAdmission, ChipChallenge, ChipRequest};
use alcub3_fleet_protocol::enrolment::Credential;
use alcub3_fleet_protocol::recovery::{RecoveryItem, RecoverySet};
use alcub3_trust_model::{HardwareTier, Level, OperatorId, RobotId};

use super::SeedResult;
use super::authority::payload;
use super::fleet::{P256, SESSION, public};

pub(super) fn chip_request(person: &SigningKey) -> SeedResult<Vec<u8>> {
    let request = ChipRequest {
        operator: OperatorId::new("operator-1")?,
        endorsement_key: public(Curve::P256)?,
        endorsement_certificate: vec![0x30; 300],
        certificate_chain: vec![vec![0x30; 200]],
        storage_key: public(Curve::P256)?,
        presented_at_ms: 1_790_000_000_000,
    };
    payload(&request.unsigned(P256).sign(person)?)
}

pub(super) fn chip_challenge(authority: &SigningKey) -> SeedResult<Vec<u8>> {
    let challenge = ChipChallenge {
        session: SESSION,
        request: HashAlg::Sha256.digest(&[b"request"]),
        credential: Credential {
            id_object: vec![1; 70],
            encrypted_secret: vec![2; 68],
        },
    };
    payload(&challenge.unsigned(P256).sign(authority)?)
}

pub(super) fn chip_admission(person: &str, storage_key: Public) -> SeedResult<ChipAdmission> {
    let name = HashAlg::Sha384.digest(&[person.as_bytes()]);
    let (x, y) = (name.as_bytes(), [7; 48]);
    Ok(ChipAdmission {
        operator: OperatorId::new(person)?,
        endorsement_key: with_point(PublicTemplate::ek_ecc_p384(), (x, &y))?,
        endorsement_certificate: HashAlg::Sha256.digest(&[b"certificate"]),
        tier: HardwareTier::Discrete,
        storage_key,
        admitted_at_ms: 1_790_000_000_000,
    })
}

/// A key as a TPM gives it back: a template with its point filled in.
fn with_point(template: PublicTemplate, (x, y): (&[u8], &[u8])) -> SeedResult<Public> {
    let mut bytes = template.into_tpmt_bytes();
    bytes.truncate(bytes.len() - 4);
    for coordinate in [x, y] {
        bytes.extend(u16::try_from(coordinate.len())?.to_be_bytes());
        bytes.extend(coordinate);
    }
    Ok(Public::from_tpmt(&bytes)?)
}

/// Not random: seeds are the same in every run.
struct Counting(u8);

impl Entropy for Counting {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        for byte in out {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
        Ok(())
    }
}

/// A recovery set, one of its shares, and a key duplicated to it.
pub(super) fn recovery(robot: &RobotId) -> SeedResult<Vec<(&'static str, Vec<u8>)>> {
    let mut entropy = Counting(0);
    let authority = SigningKey::generate(Curve::P256)?;
    let mut holder = |name| -> SeedResult<AdmittedChip> {
        let pair = StorageKeyPair::generate(Curve::P256, &mut entropy)?;
        let point = pair.public().ec_point().ok_or("a storage key has a point")?;
        let storage_key = with_point(PublicTemplate::storage_parent(Curve::P256), (&point.1, &point.2))?;
        let signed = chip_admission(name, storage_key)?.sign(&authority)?;
        Ok(AdmittedChip::verify(&signed, &authority.verifying_key())?)
    };
    let holders = [holder("ann")?, holder("ben")?];
    let (set, shares) =
        RecoverySet::create(SESSION, robot.clone(), Curve::P256, (&holders, 2), &mut entropy)?;
    let share = shares.first().ok_or("a set has shares")?;
    let item = RecoveryItem {
        robot: robot.clone(),
        level: Level::Cui,
        label: "telemetry".to_owned(),
        parent: set.parent().name(),
        object: share.object.clone(),
        approval: vec![1; 72],
    };
    Ok(vec![
        ("recovery-set", set.to_canonical()),
        ("recovery-share", share.to_canonical()),
        ("recovery-item", item.to_canonical()),
    ])
}
