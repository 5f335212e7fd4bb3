//! What tests of managed keys share.
#![allow(dead_code, missing_docs, unreachable_pub)]

use crate::support::{LEVEL, LONG, Life};
use alcub3_agent::{AgentError, Robot};
use alcub3_keys::{KeyPlan, KeysError, StateFolder};
use alcub3_tpm::ops::{Key, PersistentKey, PolicyInputs};
use alcub3_tpm::{Auth, Lane, TpmError};
use alcub3_trust_model::managed_key::{KeyPurpose, KeyRecord};
use alcub3_trust_model::nv_map::NvIndex;
use alcub3_trust_model::{KeyLabel, handle_map};

pub fn now_ms() -> u64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

pub fn plan(purpose: KeyPurpose) -> KeyPlan {
    KeyPlan {
        label: KeyLabel::new(purpose.name()).unwrap(),
        purpose,
        level: LEVEL,
        activates_in_ms: 0,
    }
}

/// The reason code of a refusal that the robot gives itself.
pub fn reason<T: std::fmt::Debug>(result: Result<T, AgentError>) -> &'static str {
    match result.unwrap_err() {
        AgentError::Keys(error) => error.refusal().unwrap_or_else(|| panic!("{error}")),
        other => panic!("{other}"),
    }
}

pub fn store_reason<T: std::fmt::Debug>(result: Result<T, KeysError>) -> &'static str {
    let error = result.unwrap_err();
    error.refusal().unwrap_or_else(|| panic!("{error}"))
}

/// Tries a key's blob on the chip itself, past the store and the agent, as root could: loads it and runs its policy.
pub fn arm_past_the_store(robot: &Robot, record: &KeyRecord) -> Result<(), TpmError> {
    let keys = robot.keys().clone();
    let policy = keys.managed_policy_of(record).unwrap();
    let root = PersistentKey::new(handle_map::STORAGE_ROOT, keys.record().storage_root.clone());
    let handles = [
        NvIndex::RobotEpoch,
        NvIndex::LevelEpoch(record.level),
        NvIndex::KeyAnchor(record.anchor),
    ]
    .map(|index| keys.nv().spec(index).handle);
    let (private, public) = (
        record.blob.as_ref().unwrap().private.clone(),
        record.public.clone(),
    );
    let survives = record.epochs.is_none();
    robot.keys().tpm().run(Lane::Background, LONG, move |chip| {
        if survives {
            chip.load(&Key::from(root), Auth::Empty, &private, &public)?;
        }
        let inputs = handles
            .iter()
            .fold(PolicyInputs::new(), |inputs, handle| inputs.nv(*handle));
        chip.policy_session(&policy, &inputs).map(|_| ())
    })
}

impl Life {
    pub fn create(&self, purpose: KeyPurpose) -> KeyRecord {
        self.robot().create_key(&plan(purpose), now_ms()).unwrap()
    }

    /// Closes the robot and waits until nothing of it has its folder: then its files are at rest.
    pub fn close(&mut self) {
        self.robot = None;
        drop(StateFolder::open(self.folder.path()).unwrap());
    }

    /// What the chip counted of the store.
    pub fn store_anchor(&self) -> u64 {
        self.robot().keys().counter(NvIndex::StoreAnchor).unwrap().value
    }

    /// Lets the TPM's clock run ahead, as the owner alone can.
    pub fn advance_clock(&self, ms: u64) {
        let owner = self.authority.enrolled.as_ref().unwrap().custody.owner.clone();
        self.tpm
            .run(Lane::Background, LONG, move |chip| {
                let now = chip.read_clock()?.clock_ms;
                chip.clock_set(Auth::Value(&owner), now + ms)
            })
            .unwrap();
    }
}
