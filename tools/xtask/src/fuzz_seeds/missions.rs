//! Seeds of what a robot keeps of its missions and their keys, and of what it and its authority say about them.

use alcub3_agent::{MissionEnd, MissionEnds};
use alcub3_attestation::certify::Signed;
use alcub3_crypto::tpm::{Public, PublicTemplate, attribute};
use alcub3_crypto::{Curve, HashAlg, Suite};
use alcub3_fleet_protocol::extension::ExtensionRequest;
use alcub3_fleet_protocol::hand_over::HandOverRequest;
use alcub3_fleet_protocol::shared_key::{SharedKey, SharedKeyRequest, WrappedKey};
use alcub3_keys::{KeyOrigin, MissionData, MissionKeyRecord, MissionOver, MissionRecord, SeenClock};
use alcub3_trust_model::nv_map::MissionAnchor;
use alcub3_trust_model::{Level, MissionId, MissionKeyId, MissionKeyPurpose, OperatorId, RobotId, SessionId};

use super::authority::payload;
use super::{Seed, SeedResult, seed};

const MISSION: MissionId = MissionId::new([8; 16]);
const KEY: MissionKeyId = MissionKeyId::new([10; 16]);
const SESSION: SessionId = SessionId::new([6; 16]);

pub(super) fn seeds() -> SeedResult<Vec<Seed>> {
    let mut seeds = records()?;
    seeds.extend(messages()?);
    Ok(seeds)
}

/// An HMAC key's public area, under a policy.
fn public() -> SeedResult<Public> {
    let policy = HashAlg::Sha256.digest(&[b"policy"]);
    let template = PublicTemplate::hmac_key(HashAlg::Sha256, attribute::NO_DA, Some(&policy));
    Ok(template.to_public()?)
}

fn signing_public() -> SeedResult<Public> {
    Ok(PublicTemplate::signing_key(Curve::P256, attribute::SIGN, None).to_public()?)
}

fn mission(moved: Option<Vec<u8>>) -> SeedResult<MissionRecord> {
    Ok(MissionRecord {
        mission: MISSION,
        level: Level::Cui,
        anchor: MissionAnchor::new(1).ok_or("there is no second mission anchor")?,
        anchor_value: 7,
        end_clock_ms: 600_000,
        end_approval: vec![1; 72],
        robot_epoch: 2,
        level_epoch: 3,
        pcr_digest: HashAlg::Sha256.digest(&[b"pcrs"]),
        max_reset_count: 4,
        public: signing_public()?,
        private: vec![2; 120],
        creation: vec![3; 80],
        certification: (vec![4; 120], vec![5; 72]),
        token: vec![6; 300],
        suspended: moved.is_some(),
        moved,
    })
}

fn key(purpose: MissionKeyPurpose, origin: KeyOrigin) -> SeedResult<MissionKeyRecord> {
    Ok(MissionKeyRecord {
        key: KEY,
        mission: MISSION,
        level: Level::Secret,
        purpose,
        origin,
        public: public()?,
        private: vec![7; 100],
    })
}

fn records() -> SeedResult<Vec<Seed>> {
    let certified = KeyOrigin::Certified {
        creation: vec![1; 80],
        message: vec![2; 120],
        signature: vec![3; 72],
    };
    let shared = |issuer| KeyOrigin::Shared { issuer };
    let operator = OperatorId::new("operator-1")?;
    let ends = MissionOver::ALL.map(|over| MissionEnd {
        mission: MISSION,
        level: Level::Unclassified,
        over,
        at_utc_ms: (over != MissionOver::ChipClock).then_some(1_790_000_000_000),
    });
    let data = MissionData {
        mission: MISSION,
        key: KEY,
        nonce: [9; 12],
        ciphertext: vec![8; 40],
    };
    let clock = SeenClock {
        reset_count: 3,
        clock_ms: 1_234_567,
    };
    let (signing, mac, sealing) = (
        MissionKeyPurpose::Signing,
        MissionKeyPurpose::CommandMac,
        MissionKeyPurpose::DataSealing,
    );
    let records = [
        ("mission", mission(None)?.to_canonical()),
        ("moved-mission", mission(Some(vec![7; 300]))?.to_canonical()),
        ("made-key", key(mac, KeyOrigin::Made)?.to_canonical()),
        ("certified-key", key(signing, certified)?.to_canonical()),
        ("shared-mac-key", key(mac, shared(Some(operator)))?.to_canonical()),
        ("shared-data-key", key(sealing, shared(None))?.to_canonical()),
        ("ends", MissionEnds(ends.to_vec()).to_canonical()),
        ("data", data.to_canonical()),
        ("clock", clock.to_canonical()),
    ];
    let seeds = records
        .into_iter()
        .map(|(name, bytes)| seed("mission_records", name, bytes));
    Ok(seeds.collect())
}

fn messages() -> SeedResult<Vec<Seed>> {
    let robot = RobotId::new("robot-17")?;
    let signed = || Signed {
        message: vec![1; 120],
        signature: vec![2; 72],
    };
    let extension = ExtensionRequest {
        session: SESSION,
        robot: robot.clone(),
        mission: MISSION,
        duration_ms: 7_200_000,
        anchor_value: signed(),
        robot_epoch: signed(),
        level_epoch: signed(),
    };
    let hand_over = HandOverRequest {
        session: SESSION,
        robot: robot.clone(),
        mission: MISSION,
        in_force: HashAlg::Sha256.digest(&[b"token"]),
        anchor_value: signed(),
        robot_epoch: signed(),
        level_epoch: signed(),
    };
    let request = SharedKeyRequest {
        session: SESSION,
        robot: robot.clone(),
        mission: MISSION,
        purpose: MissionKeyPurpose::CommandMac,
        parent: signing_public()?,
        parent_certification: signed(),
        pcr_quote: signed(),
    };
    let key = |purpose, issuer| -> SeedResult<SharedKey> {
        Ok(SharedKey {
            session: SESSION,
            robot: robot.clone(),
            mission: MISSION,
            purpose,
            issuer,
            wrapped: WrappedKey {
                public: public()?,
                duplicate: vec![3; 110],
                encrypted_seed: vec![4; 68],
            },
        })
    };
    let authority = alcub3_crypto::SigningKey::generate(Curve::P256)?;
    let shared = |key: SharedKey| -> SeedResult<Vec<u8>> {
        payload(&key.unsigned(Suite::EcdsaP256Sha256).sign(&authority)?)
    };
    let operator = OperatorId::new("operator-1")?;
    let mac = shared(key(MissionKeyPurpose::CommandMac, Some(operator))?)?;
    let data = shared(key(MissionKeyPurpose::DataSealing, None)?)?;
    Ok(vec![
        seed("fleet_messages", "extension-request", extension.to_canonical()),
        seed("fleet_messages", "hand-over-request", hand_over.to_canonical()),
        seed("fleet_messages", "shared-key-request", request.to_canonical()),
        seed("mission_records", "shared-mac", mac),
        seed("mission_records", "shared-data", data),
    ])
}
