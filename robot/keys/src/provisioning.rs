//! Provisioning: from a blank chip to an enrolled robot, in steps that each find out whether they were done already.
//!
//! A crash at any point leaves the journal; the next start with the same plan goes on from what it finds in the chip.
//! The hierarchy authorisations are drawn when the authority has vouched for the chip, and are then in the journal, and
//! nowhere else, until the authority has them (decision 0004).

mod device;
mod endorsement;
mod steps;

pub(crate) use endorsement::{CertificateIndices, Certificates};
pub use endorsement::{ShownEndorsement, show_endorsement};
pub(crate) use steps::{endorsement_policy, nv_map, nv_public, primary};

use crate::identity::{DeviceKey, DeviceKeySlot, DeviceKeys};
use crate::journal::Journal;
use crate::record::RobotRecord;
use crate::state::StateFolder;
use crate::store::{Store, StoreChip, store_path};
use crate::{KeysError, Result};
use alcub3_crypto::tpm::Public;
use alcub3_crypto::{Curve, Secret, Suite, VerifyingKey};
use alcub3_fleet_protocol::VerifiedAnchors;
use alcub3_fleet_protocol::enrolment::Credential;
use alcub3_fleet_protocol::origin::DeviceEvidence;
use alcub3_tpm::ops::{Attestation, Creation, Key, PersistentKey};
use alcub3_tpm::{Chip, Lane, Tpm};
use alcub3_trust_model::hardware::{HardwareRecord, Inventory};
use alcub3_trust_model::{Level, RobotId, handle_map, profile};
use std::time::Duration;

/// How long one step of provisioning may take; key generation on a slow chip needs seconds.
pub(crate) const STEP_TIMEOUT: Duration = Duration::from_secs(120);

/// What a robot is to become.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProvisioningPlan {
    /// Its name in the fleet.
    pub robot: RobotId,
    /// The curve of all its keys.
    pub curve: Curve,
    /// The levels it is to serve; the chip's suite must meet the floor of each.
    pub levels: Vec<Level>,
    /// The robot's parts. With the security module they are its hardware binding record, whose digest goes into the
    /// creation data of its device keys.
    pub inventory: Inventory,
}

/// What the chip now holds and the authority must judge.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The endorsement key.
    pub endorsement_key: Public,
    /// The EK certificate in DER, as the chip's NV holds it but for the filler; empty if it has none.
    pub endorsement_certificate: Vec<u8>,
    /// The certificates above it that the chip's NV holds, in DER.
    pub certificate_chain: Vec<Vec<u8>>,
    /// The attestation key.
    pub attestation_key: Public,
    /// The storage root.
    pub storage_root: Public,
    /// The identity key: the initial device key.
    pub identity: Public,
    /// How the identity key came to be: its outside data binds robot and hardware.
    pub identity_creation: Creation,
    /// The AK's certification of the identity key's creation.
    pub identity_certification: Attestation,
    /// What the robot is made of.
    pub hardware: HardwareRecord,
    /// The initial attestation key that the machine's maker left, where there is one with a certificate.
    pub device: Option<DeviceEvidence>,
}

/// The authorisations of the chip's hierarchies, on their way to the authority.
#[derive(Clone, Debug)]
pub struct Custody {
    /// Of the owner hierarchy.
    pub owner: Secret,
    /// Of the endorsement hierarchy.
    pub endorsement: Secret,
    /// Of the lockout hierarchy.
    pub lockout: Secret,
}

impl Custody {
    /// Of a chip that nobody owns: all empty.
    fn none() -> Self {
        let empty = || Secret::from_slice(&[]);
        Self {
            owner: empty(),
            endorsement: empty(),
            lockout: empty(),
        }
    }
}

/// A provisioning under way.
#[derive(Debug)]
pub struct Provisioning<'a> {
    tpm: &'a Tpm,
    folder: &'a StateFolder,
    journal: Journal,
    prepared: Option<Prepared>,
}

impl<'a> Provisioning<'a> {
    /// Starts a provisioning, or goes on with the one that was cut short. Commands: of a new one 3 GetCapability, to see
    /// that nobody owns the chip, which persistent handles are taken, and how many are left.
    ///
    /// # Errors
    /// [`KeysError::AlreadyProvisioned`], [`KeysError::OtherProvisioning`], [`KeysError::BelowFloor`],
    /// [`KeysError::Owned`], [`KeysError::PersistentSlots`], the chip's or the folder's.
    pub fn begin(tpm: &'a Tpm, folder: &'a StateFolder, plan: &ProvisioningPlan) -> Result<Self> {
        if let Some(record) = RobotRecord::load(folder)? {
            // The record is written last but one: what remained was wiping the journal.
            Journal::wipe(folder)?;
            return Err(KeysError::AlreadyProvisioned {
                robot: record.robot.to_string(),
            });
        }
        for level in &plan.levels {
            // The authority holds the robot to its policy when it enrols it; this one has none yet.
            profile(*level).check_suite(Suite::of_curve(plan.curve))?;
        }
        let journal = match Journal::load(folder)? {
            Some(unfinished) => unfinished.of(plan)?,
            None => {
                let levels = plan.levels.clone();
                let taken = run(tpm, move |chip| steps::survey(chip, &levels))??;
                Journal::start(folder, plan, &taken)?
            }
        };
        Ok(Self {
            tpm,
            folder,
            journal,
            prepared: None,
        })
    }

    /// Puts everything into the chip that the authority must judge: EK, storage root, AK, NV map, identity. Does only
    /// what is not done yet.
    ///
    /// # Errors
    /// The first step that fails; calling again goes on from there. A pin mismatch where an authority vouched for
    /// another chip than this.
    pub fn prepare(&mut self) -> Result<Prepared> {
        let journal = self.journal.clone();
        let prepared = run(self.tpm, move |chip| steps::prepare(chip, &journal))??;
        self.prepared = Some(prepared.clone());
        Ok(prepared)
    }

    /// Recovers the secret of the authority's credential (TPM 2.0 Part 1, 24): the EK that the authority vouches for
    /// and the AK are in this chip. Only then are the hierarchies' authorisations drawn and given to it, in sessions
    /// salted to that EK: on an unproven bus there is nothing to be seen.
    ///
    /// # Errors
    /// INTEGRITY where the credential was made for another chip or another key; then nothing was drawn. Otherwise the
    /// chip's or the folder's; calling again goes on with the same authorisations.
    pub fn activate(&mut self, credential: &Credential) -> Result<(Secret, Custody)> {
        let prepared = self.prepared.clone().ok_or(KeysError::NotProvisioned)?;
        let endorsement_key = prepared.endorsement_key.name();
        let (journal, credential) = (self.journal.clone(), credential.clone());
        let secret = run(self.tpm, move |chip| {
            steps::activate(chip, &journal, prepared, &credential)
        })??;
        let custody = self.journal.take_ownership(self.folder, endorsement_key)?;
        let given = custody.clone();
        run(self.tpm, move |chip| steps::take_ownership(chip, &given))??;
        Ok((secret, custody))
    }

    /// Ends the provisioning once the authority has enrolled the robot and holds the authorisations: makes the level
    /// parents under the authority's rearm key, leaves no second copy of a key in the chip, makes the empty key store, writes
    /// the record, wipes the journal.
    ///
    /// # Errors
    /// The step that fails; calling again goes on from there.
    pub fn finish(self, authority: VerifyingKey, enrolled: VerifiedAnchors) -> Result<RobotRecord> {
        let prepared = self.prepared.clone().ok_or(KeysError::NotProvisioned)?;
        let (journal, rearm) = (self.journal.clone(), enrolled.anchors().rearm.name());
        let kept = prepared.clone();
        let parents = run(self.tpm, move |chip| steps::finish(chip, &journal, kept, rearm))??;
        self.make_store(&prepared)?;
        let record = RobotRecord {
            robot: self.journal.plan.robot.clone(),
            curve: self.journal.plan.curve,
            endorsement_key: prepared.endorsement_key,
            attestation_key: prepared.attestation_key,
            storage_root: prepared.storage_root,
            identity: prepared.identity,
            parents,
            authority,
            enrolled,
        };
        let device_key = DeviceKey::initial(record.identity.clone(), prepared.identity_creation);
        DeviceKeys::of(self.folder).save(DeviceKeySlot::Initial, &device_key)?;
        crate::record::save_hardware(self.folder, &prepared.hardware)?;
        record.save(self.folder)?;
        Journal::wipe(self.folder)?;
        Ok(record)
    }

    /// The empty key store. It is made before the record, so that a provisioned robot without one has lost it.
    fn make_store(&self, prepared: &Prepared) -> Result<()> {
        let chip = StoreChip {
            tpm: self.tpm.clone(),
            nv: steps::nv_map(self.journal.plan.curve.hash())?,
            storage_root: Key::from(PersistentKey::new(
                handle_map::STORAGE_ROOT,
                prepared.storage_root.clone(),
            )),
        };
        Store::create(&store_path(self.folder.path()), &chip, 0)
    }
}

fn run<T: Send + 'static>(tpm: &Tpm, step: impl FnOnce(&mut Chip) -> T + Send + 'static) -> Result<T> {
    Ok(tpm.run(Lane::Background, STEP_TIMEOUT, |chip| Ok(step(chip)))?)
}
