//! The disk is lost and the chip is not: the robot proves its chip, is given the hierarchy authorisations for a moment,
//! and makes its keys and its record again. They stay in memory and are gone at the end.

use super::{DeviceKey, DeviceKeySlot, DeviceKeys, initial_device_key};
use crate::hierarchy::LevelSeeds;
use crate::provisioning::{STEP_TIMEOUT, nv_map};
use crate::record::RobotRecord;
use crate::state::StateFolder;
use crate::store::{Store, StoreChip, store_path};
use crate::{KeysError, Result};
use alcub3_attestation::certify::Signed;
use alcub3_crypto::tpm::Name;
use alcub3_crypto::{Curve, VerifyingKey};
use alcub3_fleet_protocol::restore::{RestoreGrant, RestoreRequest, restore_binding};
use alcub3_fleet_protocol::{VerifiedAnchors, identity_binding};
use alcub3_tpm::ops::{Key, PersistentKey};
use alcub3_tpm::{Auth, Chip, Lane, Tpm};
use alcub3_trust_model::hardware::HardwareRecord;
use alcub3_trust_model::{Level, RobotId, SessionId, handle_map};

/// What a provisioned chip holds at fixed handles.
const KEYS: [(u32, &str); 3] = [
    (handle_map::EK, "endorsement key"),
    (handle_map::ATTESTATION_KEY, "attestation key"),
    (handle_map::STORAGE_ROOT, "storage root"),
];

/// Asks the authority for what the lost disk held, in an exchange that it opened. Commands: the salt key's pin, 2
/// ReadPublic for each of two keys, 1 Certify.
///
/// # Errors
/// [`KeysError::AlreadyProvisioned`] where the folder has a record; [`KeysError::ChipLost`] where the chip does not hold
/// the keys of a provisioned robot.
pub fn restore_request(
    tpm: &Tpm,
    folder: &StateFolder,
    robot: &RobotId,
    session: SessionId,
) -> Result<RestoreRequest> {
    refuse_a_provisioned(folder)?;
    let named = robot.clone();
    let (root, certification) = tpm.run(Lane::Background, STEP_TIMEOUT, move |chip| {
        Ok(certify_root(chip, &named, session))
    })??;
    Ok(RestoreRequest {
        session,
        robot: robot.clone(),
        storage_root: root.public().clone(),
        certification,
    })
}

fn refuse_a_provisioned(folder: &StateFolder) -> Result<()> {
    match RobotRecord::load(folder)? {
        Some(record) => Err(KeysError::AlreadyProvisioned {
            robot: record.robot.to_string(),
        }),
        None => Ok(()),
    }
}

fn certify_root(chip: &mut Chip, robot: &RobotId, session: SessionId) -> Result<(PersistentKey, Signed)> {
    let [_, attestation_key, root] = found_keys(chip, None)?;
    let binding = restore_binding(attestation_key.public().name_alg(), session, robot);
    let object = Key::from(root.clone());
    let certified = chip.certify(
        &object,
        Auth::Empty,
        &Key::from(attestation_key),
        binding.as_bytes(),
    )?;
    let signed = Signed {
        message: certified.message,
        signature: certified.signature,
    };
    Ok((root, signed))
}

/// EK, attestation key and storage root as the chip holds them, over a session salted to that EK: the enrolled one, or as
/// it is found where nothing is known yet.
fn found_keys(chip: &mut Chip, enrolled: Option<&Name>) -> Result<[PersistentKey; 3]> {
    let [ek, attestation_key, root] = KEYS;
    let ek = found(chip, ek)?;
    chip.pin_salt_key(ek.handle(), Some(enrolled.unwrap_or(ek.name())))?;
    Ok([ek, found(chip, attestation_key)?, found(chip, root)?])
}

fn found(chip: &mut Chip, (handle, key): (u32, &'static str)) -> Result<PersistentKey> {
    chip.persistent_key(handle)?.ok_or(KeysError::ChipLost { key })
}

/// What the authority granted, verified, and ready to be put in place.
#[derive(Debug)]
pub struct Restoring<'a> {
    tpm: &'a Tpm,
    folder: &'a StateFolder,
    authority: VerifyingKey,
    grant: RestoreGrant,
    enrolled: VerifiedAnchors,
    hardware: HardwareRecord,
}

/// What the chip made again.
struct Restored {
    keys: [PersistentKey; 3],
    identity: PersistentKey,
    device_key: DeviceKey,
    parents: Vec<crate::LevelParent>,
}

impl<'a> Restoring<'a> {
    /// Takes the authority's answer to a request.
    ///
    /// # Errors
    /// [`KeysError::Restore`] where it is not the pinned authority's, or of another exchange or robot.
    pub fn granted(
        tpm: &'a Tpm,
        folder: &'a StateFolder,
        request: &RestoreRequest,
        authority: VerifyingKey,
        answer: &[u8],
    ) -> Result<Self> {
        let grant = RestoreGrant::verify(answer, &authority, request)?;
        let (enrolled, hardware) = grant.contents(&authority)?;
        Ok(Self {
            tpm,
            folder,
            authority,
            grant,
            enrolled,
            hardware,
        })
    }

    /// The hardware record that was enrolled.
    pub const fn hardware(&self) -> &HardwareRecord {
        &self.hardware
    }

    /// Makes the keys and the record again. The record is written last: until then the robot is not provisioned, and a
    /// crash costs another request.
    ///
    /// # Errors
    /// [`KeysError::Foreign`] where the chip is not the enrolled one or holds something else; the chip's and the folder's.
    pub fn finish(self) -> Result<RobotRecord> {
        refuse_a_provisioned(self.folder)?;
        let curve = self.curve()?;
        let (grant, enrolled) = (self.grant.clone(), self.enrolled.clone());
        let restored = self.tpm.run(Lane::Background, STEP_TIMEOUT, move |chip| {
            Ok(restore(chip, &grant, &enrolled, curve))
        })??;
        let [ek, attestation_key, root] = restored.keys;
        let storage_root = root.public().clone();
        DeviceKeys::of(self.folder).save(DeviceKeySlot::Initial, &restored.device_key)?;
        self.replace_lost_store(curve, root)?;
        let record = RobotRecord {
            robot: self.grant.robot.clone(),
            curve,
            endorsement_key: ek.public().clone(),
            attestation_key: attestation_key.public().clone(),
            storage_root,
            identity: restored.identity.public().clone(),
            parents: restored.parents,
            authority: self.authority,
            enrolled: self.enrolled,
        };
        crate::record::save_hardware(self.folder, &self.hardware)?;
        record.save(self.folder)?;
        Ok(record)
    }

    /// An empty key store where none is left: the lost one's managed keys are given up with it, and missions need a store
    /// that vouches for their records.
    fn replace_lost_store(&self, curve: Curve, root: PersistentKey) -> Result<()> {
        let path = store_path(self.folder.path());
        if path.exists() {
            return Ok(());
        }
        let chip = StoreChip {
            tpm: self.tpm.clone(),
            nv: nv_map(curve.hash())?,
            storage_root: Key::from(root),
        };
        Store::start_over(&path, &chip)
    }

    fn curve(&self) -> Result<Curve> {
        let key = self.enrolled.enrolment().attestation_key();
        key.curve().ok_or(KeysError::Grant {
            what: "the attestation key's curve",
        })
    }
}

fn restore(
    chip: &mut Chip,
    grant: &RestoreGrant,
    enrolled: &VerifiedAnchors,
    curve: Curve,
) -> Result<Restored> {
    let record = enrolled.enrolment().record();
    // What answered before the grant counts for nothing: the chip has to be the enrolled one.
    let keys = found_keys(chip, Some(&record.endorsement_key))?;
    let [_, attestation_key, root] = &keys;
    if *attestation_key.name() != record.attestation_key.name() {
        return Err(foreign(handle_map::ATTESTATION_KEY));
    }
    let secret = chip.activate_credential(
        &Key::from(attestation_key.clone()),
        Auth::Empty,
        &Key::from(root.clone()),
        Auth::Empty,
        &grant.credential.id_object,
        &grant.credential.encrypted_secret,
    )?;
    let custody = grant.authorisations(&secret)?;
    let binding = identity_binding(curve.hash(), &record.robot, &record.hardware_binding);
    let auths = (&custody.endorsement, &custody.owner);
    let (identity, creation, _) = initial_device_key(chip, auths, curve, attestation_key, &binding)?;
    if *identity.name() != record.identity.name() {
        return Err(foreign(handle_map::IDENTITY));
    }
    let seeds = LevelSeeds {
        robot: grant.robot.clone(),
        curve,
        rearm_key: enrolled.anchors().rearm.name(),
    };
    let levels = levels(chip)?;
    let make = |level: &Level| seeds.make(chip, &custody.owner, *level);
    let parents: Result<_> = levels.iter().map(make).collect();
    Ok(Restored {
        device_key: DeviceKey::initial(identity.public().clone(), creation),
        keys,
        identity,
        parents: parents?,
    })
}

/// The levels whose parents the chip holds: those that the robot was provisioned for.
fn levels(chip: &mut Chip) -> Result<Vec<Level>> {
    let mut levels = Vec::new();
    for level in Level::ALL {
        if chip.persistent_key(handle_map::level_parent(level))?.is_some() {
            levels.push(level);
        }
    }
    Ok(levels)
}

const fn foreign(handle: u32) -> KeysError {
    KeysError::Foreign {
        place: "handle",
        handle,
    }
}
