//! A fleet authority in software: operators, a rearm key in the hands of two persons, missions and leases.
#![allow(dead_code, unreachable_pub)]

use alcub3_crypto::tpm::{Public, PublicTemplate, Signature, attribute};
use alcub3_crypto::{Curve, HashAlg, SigningKey};
use alcub3_security_hal::{EpochSnapshot, LevelApproval, RearmRecord, RearmTrust, RearmTrustError};
use alcub3_trust_model::nv_map::{NvIndex, NvMap};
use alcub3_trust_model::policies::{self, CounterBinding};
use alcub3_trust_model::{Level, RobotId};

pub const ALG: HashAlg = HashAlg::Sha384;

pub struct Fleet {
    pub authority: SigningKey,
    pub rearm: SigningKey,
    pub nv: NvMap,
}

impl Fleet {
    pub fn new() -> Self {
        let key = || SigningKey::generate(Curve::P384).unwrap();
        Self {
            authority: key(),
            rearm: key(),
            nv: NvMap::new(ALG).unwrap(),
        }
    }

    /// The rearm key's public area as a TPM would hold it, under a policy or none.
    pub fn rearm_public(&self, attributes: u32, policy: &[u8]) -> Public {
        let external = PublicTemplate::external(&self.rearm.verifying_key(), ALG);
        let bytes = external.as_tpmt_bytes();
        assert_eq!(bytes[8..10], [0, 0], "an external key has no policy");
        let mut patched = bytes[..4].to_vec();
        patched.extend_from_slice(&(attributes | attribute::SIGN).to_be_bytes());
        patched.extend_from_slice(&u16::try_from(policy.len()).unwrap().to_be_bytes());
        patched.extend_from_slice(policy);
        patched.extend_from_slice(&bytes[10..]);
        Public::from_tpmt(&patched).unwrap()
    }

    pub fn pin(&self, public: &Public) -> Result<RearmTrust, RearmTrustError> {
        RearmTrust::pin(rover(), self.nv, public)
    }

    pub fn trust(&self) -> RearmTrust {
        self.pin(&self.rearm_public(BOUND, &[7; 48])).unwrap()
    }

    /// What the rearm key's TPM signs for one level.
    pub fn approve(&self, level: Level, robot_epoch: u64, level_epoch: u64) -> LevelApproval {
        let binding = |index, value| CounterBinding {
            name: self.nv.spec(index).tpm_name(true),
            value,
        };
        let robot = binding(NvIndex::RobotEpoch, robot_epoch);
        let level_binding = binding(NvIndex::LevelEpoch(level), level_epoch);
        let approved = policies::rearm_policy(ALG, robot, level_binding)
            .unwrap()
            .digest();
        let bytes = self
            .rearm
            .sign(&policies::rearm_message(&approved, &rover(), level))
            .unwrap();
        let scheme = self.rearm.verifying_key().native_scheme();
        let signature = Signature { scheme, bytes };
        LevelApproval {
            level,
            robot_epoch,
            level_epoch,
            policy_alg: ALG,
            signature,
        }
    }

    pub fn record(&self, epochs: &EpochSnapshot, levels: &[Level]) -> RearmRecord {
        let approve = |level: &Level| self.approve(*level, epochs.robot, epochs.level(*level).unwrap());
        RearmRecord {
            robot: rover(),
            approvals: levels.iter().map(approve).collect(),
        }
    }
}

pub const BOUND: u32 = attribute::FIXED_TPM | attribute::FIXED_PARENT | attribute::SENSITIVE_DATA_ORIGIN;

pub fn rover() -> RobotId {
    RobotId::new("rover-1").unwrap()
}

pub fn epochs(robot: u64) -> EpochSnapshot {
    EpochSnapshot {
        robot,
        levels: [11, 12, 13, 14, 15],
    }
}
