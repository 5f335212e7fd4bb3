//! A provisioned robot: its chip, its folder, its record.

use crate::mission_keys::MissionKeyStore;
use crate::missions::{MissionFiles, MissionKey};
use crate::provisioning::nv_public;
use crate::record::RobotRecord;
use crate::state::StateFolder;
use crate::store::KeyStore;
use crate::{KeysError, Result};
use alcub3_crypto::HashAlg;
use alcub3_fleet_protocol::TrustAnchors;
use alcub3_tpm::ops::{Key, PersistentKey};
use alcub3_tpm::{Chip, Lane, Tpm, TpmError};
use alcub3_trust_model::handle_map;
use alcub3_trust_model::hardware::HardwareRecord;
use alcub3_trust_model::nv_map::{NvIndex, NvMap};
use alcub3_trust_model::pcr_map::PcrMap;
use alcub3_trust_model::policies::CounterBinding;
use alcub3_trust_model::{Level, LevelProfiles, MissionId, MissionKeyId};
use std::sync::atomic::AtomicU8;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long an operation of a provisioned robot may take: a handful of commands on the slowest chip.
pub(crate) const OPERATION_TIMEOUT: Duration = Duration::from_secs(30);

/// A provisioned robot's keys. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct RobotKeys {
    pub(crate) tpm: Tpm,
    /// Before the folder, so that the store is closed when the folder's lock is let go.
    pub(crate) store: KeyStore,
    pub(crate) mission_keys: MissionKeyStore,
    pub(crate) mission_files: MissionFiles,
    pub(crate) folder: Arc<StateFolder>,
    pub(crate) record: Arc<RobotRecord>,
    pub(crate) nv: NvMap,
    pub(crate) pcrs: PcrMap,
    pub(crate) banks: Arc<[HashAlg]>,
    /// What each level asks of this robot.
    pub(crate) profiles: LevelProfiles,
    /// Where the search for a free mission anchor begins.
    pub(crate) next_anchor: Arc<AtomicU8>,
}

impl RobotKeys {
    /// Opens a provisioned robot: reaches it, and takes up the level policy in force.
    ///
    /// # Errors
    /// As [`Self::reach`] and [`Self::take_up`].
    pub fn open(tpm: Tpm, folder: Arc<StateFolder>, pcrs: PcrMap) -> Result<Self> {
        Self::reach(tpm, folder, pcrs)?.take_up()
    }

    /// Reaches a provisioned robot as far as a stop needs it, whatever else is wrong with the folder: pins the session salt
    /// to the EK of the record and learns what a stop asks of the chip, so that the stop itself is two commands. For anything
    /// else [`Self::take_up`] comes first: until then the built-in profiles hold.
    ///
    /// # Errors
    /// [`KeysError::NotProvisioned`]; a pin mismatch if the chip is not the one that was provisioned.
    pub fn reach(tpm: Tpm, folder: Arc<StateFolder>, pcrs: PcrMap) -> Result<Self> {
        let record = Arc::new(RobotRecord::load(&folder)?.ok_or(KeysError::NotProvisioned)?);
        let nv = NvMap::new(record.curve.hash()).map_err(|_| KeysError::Grant {
            what: "the hash of the NV map",
        })?;
        let ek_name = record.endorsement_key.name();
        let banks = tpm.run(Lane::Background, OPERATION_TIMEOUT, move |chip| {
            chip.pin_salt_key(handle_map::EK, Some(&ek_name))?;
            for index in NvIndex::all().filter(|index| is_named_by_a_stop(*index)) {
                // Known beforehand, so that a stop is two commands; defined otherwise, it is not our chip.
                chip.nv_expect(&nv_public(&nv.spec(index)))?;
            }
            let info = chip.chip_info()?;
            let allocated = info.banks.iter().filter(|(_, mask)| **mask != 0);
            Ok(allocated
                .filter_map(|(bank, _)| HashAlg::from_tpm_id(*bank))
                .collect())
        })?;
        Ok(Self {
            tpm,
            mission_keys: MissionKeyStore::new(folder.clone()),
            mission_files: MissionFiles::new(folder.clone()),
            folder,
            record,
            nv,
            pcrs,
            banks,
            profiles: LevelProfiles::builtin(),
            next_anchor: Arc::default(),
            store: KeyStore::default(),
        })
    }

    /// Takes up the level policy in force, and wipes what a provisioning that ended right after its record left behind: the
    /// authority has those authorisations. Commands: none.
    ///
    /// # Errors
    /// [`KeysError::LevelPolicy`] for a policy that is not the authority's; the folder's.
    pub fn take_up(mut self) -> Result<Self> {
        crate::journal::Journal::wipe(&self.folder)?;
        let policy = crate::level_policy::in_force(&self.folder, &self.record.authority)?;
        self.profiles = policy.map_or_else(LevelProfiles::builtin, |policy| *policy.profiles());
        Ok(self)
    }

    /// The robot's public facts.
    pub fn record(&self) -> &RobotRecord {
        &self.record
    }

    /// The hardware record that was enrolled.
    ///
    /// # Errors
    /// [`KeysError::OtherHardwareRecord`] where the folder does not hold the one that the authority signed.
    pub fn enrolled_hardware(&self) -> Result<HardwareRecord> {
        crate::record::load_hardware(&self.folder, &self.record.enrolled)
    }

    /// Whom the robot believes.
    pub fn anchors(&self) -> &TrustAnchors {
        self.record.enrolled.anchors()
    }

    /// The chip.
    pub fn tpm(&self) -> &Tpm {
        &self.tpm
    }

    /// The PCRs of our own.
    pub fn pcrs(&self) -> PcrMap {
        self.pcrs
    }

    /// The NV map.
    pub fn nv(&self) -> NvMap {
        self.nv
    }

    /// The hash of Names and policies, and the PCR bank in use.
    pub fn hash(&self) -> HashAlg {
        self.record.curve.hash()
    }

    /// The attestation key.
    pub fn attestation_key(&self) -> Key {
        Key::from(PersistentKey::new(
            handle_map::ATTESTATION_KEY,
            self.record.attestation_key.clone(),
        ))
    }

    /// A level's storage parent.
    ///
    /// # Errors
    /// [`KeysError::NoSuchLevel`].
    pub fn parent(&self, level: Level) -> Result<Key> {
        let parent = self.record.parent(level)?;
        Ok(Key::from(PersistentKey::new(
            handle_map::level_parent(level),
            parent.public.clone(),
        )))
    }

    /// A counter as policies name it: its written Name and its value now. Commands: 1 NV_Read.
    ///
    /// # Errors
    /// The chip's.
    pub fn counter(&self, index: NvIndex) -> Result<CounterBinding> {
        let nv = self.nv;
        self.run(Lane::Background, move |chip| read_counter(chip, nv, index))
    }

    pub(crate) fn run<T: Send + 'static>(
        &self,
        lane: Lane,
        operation: impl FnOnce(&mut Chip) -> std::result::Result<T, TpmError> + Send + 'static,
    ) -> Result<T> {
        Ok(self.tpm.run(lane, OPERATION_TIMEOUT, operation)?)
    }
}

/// Which mission a loaded key is of.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct KeyOwner {
    /// The mission.
    pub mission: MissionId,
    /// Its level.
    pub level: Level,
}

#[derive(Debug)]
struct Loaded {
    owner: KeyOwner,
    /// None for the key that the mission began with.
    id: Option<MissionKeyId>,
    key: MissionKey,
}

/// The mission keys that callers have loaded: dropped, and so flushed, by a stop.
#[derive(Clone, Debug, Default)]
pub struct LoadedKeys(Arc<Mutex<Vec<Loaded>>>);

/// How many keys stay loaded or saved for their next use; beyond it the one loaded first is dropped.
const MOST_LOADED: usize = 64;

impl LoadedKeys {
    /// Keeps a loaded key; `id` is none for the key that the mission began with.
    pub fn keep(&self, owner: KeyOwner, id: Option<MissionKeyId>, key: MissionKey) {
        let mut keys = self.lock();
        if keys.len() >= MOST_LOADED {
            keys.remove(0).key.disarm();
        }
        keys.push(Loaded { owner, id, key });
    }

    /// A loaded key of a mission.
    pub fn find(&self, mission: MissionId, id: Option<MissionKeyId>) -> Option<MissionKey> {
        self.lock()
            .iter()
            .find(|loaded| loaded.owner.mission == mission && loaded.id == id)
            .map(|loaded| loaded.key.clone())
    }

    /// Drops the keys of the missions in scope with the sessions armed ahead, and says how many there were.
    pub fn forget(&self, in_scope: impl Fn(&KeyOwner) -> bool) -> u64 {
        let mut keys = self.lock();
        let before = keys.len();
        keys.retain(|loaded| {
            let dropped = in_scope(&loaded.owner);
            if dropped {
                loaded.key.disarm();
            }
            !dropped
        });
        u64::try_from(before - keys.len()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Loaded>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a stop or a mission counts the index up. The others are learned where they are used.
fn is_named_by_a_stop(index: NvIndex) -> bool {
    matches!(
        index,
        NvIndex::RobotEpoch | NvIndex::LevelEpoch(_) | NvIndex::MissionAnchor(_)
    )
}

pub(crate) fn read_counter(
    chip: &mut Chip,
    nv: NvMap,
    index: NvIndex,
) -> std::result::Result<CounterBinding, TpmError> {
    let spec = nv.spec(index);
    Ok(CounterBinding {
        name: spec.tpm_name(true),
        value: chip.nv_counter(spec.handle)?,
    })
}
