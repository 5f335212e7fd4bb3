//! Seeds of the key store's records and of what managed keys encrypt.

use alcub3_crypto::{Curve, HashAlg};
use alcub3_trust_model::managed_key::{
    Encrypted, EndCause, KeyBlob, KeyPurpose, KeyRecord, KeyState, Moment, StoreHeader, Transition,
    purpose_profile,
};
use alcub3_trust_model::nv_map::KeyAnchor;
use alcub3_trust_model::{KeyId, KeyLabel, Level};

use super::{Seed, SeedResult, seed};

const TARGET: &str = "key_store";

pub(super) fn seeds() -> SeedResult<Vec<Seed>> {
    let mut seeds = Vec::new();
    for purpose in KeyPurpose::ALL {
        let record = record(purpose)?;
        seeds.push(seed(TARGET, purpose.name(), record.to_canonical()));
        let ended = record.after(Transition::Destroy, EndCause::Ordered)?;
        let name = format!("{}-destroyed", purpose.name());
        seeds.push(seed(TARGET, name, ended.to_canonical()));
    }
    let own_key = record(KeyPurpose::CommandValidation)?;
    let header = StoreHeader {
        generation: 7,
        content: HashAlg::Sha256.digest(&[b"content"]),
        public: own_key.public,
        private: vec![5; 120],
    };
    seeds.push(seed(TARGET, "header", header.to_canonical()));
    let encrypted = Encrypted {
        key: KeyId::new([1; 16]),
        opening: vec![2; 32],
        sealed: vec![3; 40],
    };
    seeds.push(seed(TARGET, "encrypted", encrypted.to_canonical()));
    Ok(seeds)
}

fn record(purpose: KeyPurpose) -> SeedResult<KeyRecord> {
    let profile = purpose_profile(purpose);
    let policy = HashAlg::Sha256.digest(&[b"policy"]);
    let moment = Moment {
        clock_ms: 1_000,
        utc_ms: 1_790_000_000_000,
    };
    Ok(KeyRecord {
        id: KeyId::new([1; 16]),
        label: KeyLabel::new(purpose.name())?,
        purpose,
        level: Level::Cui,
        state: KeyState::Active,
        protects: true,
        made: moment,
        activates_clock_ms: moment.clock_ms,
        protects_until: moment.plus(profile.protects_ms),
        processes_until: moment.plus(profile.protects_ms + profile.overlap_ms),
        end_clock_ms: moment.plus(profile.protects_ms + profile.overlap_ms).clock_ms,
        anchor: KeyAnchor::new(3).ok_or("no such anchor")?,
        anchor_value: HashAlg::Sha256.digest(&[b"anchor"]),
        epochs: (!profile.survives_stop).then_some([4, 5]),
        successor: Some(KeyId::new([2; 16])),
        ended: None,
        public: profile.kind.template(Curve::P256, &policy).to_public()?,
        blob: Some(KeyBlob {
            private: vec![1; 190],
            creation: vec![2; 80],
            certification: (vec![3; 150], vec![4; 72]),
        }),
    })
}
