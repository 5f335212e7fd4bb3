//! Provisioning: from a blank chip to an enrolled robot, in steps that each find out whether they were done already.
//!
//! A crash at any point leaves the journal; the next start with the same plan goes on from what it finds in the chip.
//! The hierarchy authorisations are in the journal, and nowhere else, until the authority has them.

use crate::journal::Journal;
use crate::record::{LevelParent, RobotRecord};
use crate::state::StateFolder;
use crate::{KeysError, Result};
use alcub3_crypto::tpm::Public;
use alcub3_crypto::tpm::policy::{Assertion, Policy};
use alcub3_crypto::tpm::template::PublicTemplate;
use alcub3_crypto::tpm::{Name, attribute};
use alcub3_crypto::{Curve, Digest, HashAlg, Secret, VerifyingKey};
use alcub3_fleet_protocol::{VerifiedAnchors, identity_binding};
use alcub3_tpm::ops::{
    Attestation, Creation, Hierarchy, Key, NvPublic, PersistentKey, PolicyInputs, SecretProof,
};
use alcub3_tpm::{Auth, Chip, Lane, ResponseCode, Tpm};
use alcub3_trust_model::nv_map::{NvKind, NvMap, NvSpec};
use alcub3_trust_model::policies::{PolicyBuildError, parent_policy};
use alcub3_trust_model::{Level, RobotId, handle_map, profile};
use std::time::Duration;

/// How long one step of provisioning may take; key generation on a slow chip needs seconds.
const STEP_TIMEOUT: Duration = Duration::from_secs(120);

/// What a robot is to become.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProvisioningPlan {
    /// Its name in the fleet.
    pub robot: RobotId,
    /// The curve of all its keys.
    pub curve: Curve,
    /// The levels it is to serve; the chip's suite must meet the floor of each.
    pub levels: Vec<Level>,
    /// Digest of the hardware binding record, which goes into the identity key's creation data.
    pub hardware_binding: Digest,
}

/// What the chip now holds and the authority must judge.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The endorsement key.
    pub endorsement_key: Public,
    /// The EK certificate as the chip's NV holds it, padding included; empty if it has none.
    pub endorsement_certificate: Vec<u8>,
    /// The attestation key.
    pub attestation_key: Public,
    /// The storage root.
    pub storage_root: Public,
    /// The identity key.
    pub identity: Public,
    /// How the identity key came to be (TPMS_CREATION_DATA): its outside data is the hardware binding.
    pub identity_creation: Vec<u8>,
    /// The AK's certification of the identity key's creation.
    pub identity_certification: Attestation,
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

/// A provisioning under way.
#[derive(Debug)]
pub struct Provisioning<'a> {
    tpm: &'a Tpm,
    folder: &'a StateFolder,
    journal: Journal,
    /// Nothing was changed in the chip under this journal yet.
    fresh: bool,
    prepared: Option<Prepared>,
}

impl<'a> Provisioning<'a> {
    /// Starts a provisioning, or goes on with the one that was cut short.
    ///
    /// # Errors
    /// [`KeysError::AlreadyProvisioned`], [`KeysError::OtherProvisioning`], [`KeysError::BelowFloor`], or the folder's.
    pub fn begin(tpm: &'a Tpm, folder: &'a StateFolder, plan: &ProvisioningPlan) -> Result<Self> {
        if let Some(record) = RobotRecord::load(folder)? {
            // The record is written last but one: what remained was wiping the journal.
            Journal::wipe(folder)?;
            return Err(KeysError::AlreadyProvisioned {
                robot: record.robot.to_string(),
            });
        }
        for level in &plan.levels {
            check_floor(*level, plan.curve)?;
        }
        Ok(Self {
            tpm,
            folder,
            fresh: Journal::load(folder)?.is_none(),
            journal: Journal::open(folder, plan)?,
            prepared: None,
        })
    }

    /// Puts everything into the chip that the authority must judge: EK, authorisations, storage root, AK, NV map,
    /// identity. Does only what is not done yet.
    ///
    /// # Errors
    /// The first step that fails; calling again goes on from there.
    pub fn prepare(&mut self) -> Result<Prepared> {
        if self.fresh {
            self.refuse_an_owned_chip()?;
            self.fresh = false;
        }
        let journal = self.journal.clone();
        let prepared = self.run(move |chip| prepare_chip(chip, &journal))??;
        self.prepared = Some(prepared.clone());
        Ok(prepared)
    }

    /// A chip with authorisations that this folder never set belongs to somebody else, who could clear or lock it later.
    fn refuse_an_owned_chip(&self) -> Result<()> {
        let set = self.run(|chip| chip.lockout_state())??;
        let owned = [
            (set.owner_auth_set, "owner"),
            (set.endorsement_auth_set, "endorsement"),
            (set.lockout_auth_set, "lockout"),
        ];
        match owned.into_iter().find(|(is_set, _)| *is_set) {
            Some((_, hierarchy)) => {
                Journal::wipe(self.folder)?;
                Err(KeysError::Owned { hierarchy })
            }
            None => Ok(()),
        }
    }

    /// Recovers the secret of a credential made for this chip's EK and this AK (TPM 2.0 Part 1, 24).
    ///
    /// # Errors
    /// INTEGRITY where it was made for another chip or another key.
    pub fn activate(&self, id_object: Vec<u8>, encrypted_secret: Vec<u8>) -> Result<Secret> {
        let prepared = self.prepared.clone().ok_or(KeysError::NotProvisioned)?;
        let endorsement = self.journal.endorsement.clone();
        self.run(move |chip| {
            let ek = Key::from(PersistentKey::new(handle_map::EK, prepared.endorsement_key));
            let ak = Key::from(PersistentKey::new(
                handle_map::ATTESTATION_KEY,
                prepared.attestation_key,
            ));
            // The high-range templates set userWithAuth, the low-range ones want the policy (EK Credential Profile, B.3, B.4).
            if ek.public().has_attributes(attribute::USER_WITH_AUTH) {
                return Ok(chip.activate_credential(
                    &ak,
                    Auth::Empty,
                    &ek,
                    Auth::Empty,
                    &id_object,
                    &encrypted_secret,
                )?);
            }
            let session = endorsement_policy(chip, ek.public(), &endorsement)?;
            Ok(chip.activate_credential(
                &ak,
                Auth::Empty,
                &ek,
                Auth::Policy(&session),
                &id_object,
                &encrypted_secret,
            )?)
        })?
    }

    /// The authorisations to hand over.
    pub fn custody(&self) -> Custody {
        let Journal {
            owner,
            endorsement,
            lockout,
            ..
        } = self.journal.clone();
        Custody {
            owner,
            endorsement,
            lockout,
        }
    }

    /// Ends the provisioning once the authority has enrolled the robot and holds the authorisations: makes the level
    /// parents under the authority's rearm key, writes the record, wipes the journal.
    ///
    /// # Errors
    /// The step that fails; calling again goes on from there.
    pub fn finish(self, authority: VerifyingKey, enrolled: VerifiedAnchors) -> Result<RobotRecord> {
        let prepared = self.prepared.clone().ok_or(KeysError::NotProvisioned)?;
        let (journal, rearm) = (self.journal.clone(), enrolled.anchors().rearm.name());
        let parents = self.run(move |chip| make_parents(chip, &journal, rearm))??;
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
        record.save(self.folder)?;
        Journal::wipe(self.folder)?;
        Ok(record)
    }

    fn run<T: Send + 'static>(&self, step: impl FnOnce(&mut Chip) -> T + Send + 'static) -> Result<T> {
        Ok(self
            .tpm
            .run(Lane::Background, STEP_TIMEOUT, |chip| Ok(step(chip)))?)
    }
}

fn check_floor(level: Level, curve: Curve) -> Result<()> {
    let suite = match curve {
        Curve::P256 => alcub3_crypto::Suite::EcdsaP256Sha256,
        Curve::P384 => alcub3_crypto::Suite::EcdsaP384Sha384,
    };
    if profile(level).admits_suite(suite) {
        return Ok(());
    }
    Err(KeysError::BelowFloor {
        level,
        needed: "P-384 with SHA-384",
        offered: "P-256 with SHA-256",
    })
}

fn prepare_chip(chip: &mut Chip, journal: &Journal) -> Result<Prepared> {
    let curve = journal.plan.curve;
    let set = chip.lockout_state()?;
    let owner = current(&journal.owner, set.owner_auth_set);
    let endorsement = current(&journal.endorsement, set.endorsement_auth_set);
    let ek = primary(
        chip,
        Hierarchy::Endorsement,
        (&endorsement, &owner),
        &ek_template(curve),
        handle_map::EK,
    )?;
    chip.pin_salt_key(ek.handle(), Some(ek.name()))?;
    take_ownership(chip, journal)?;
    let auth = &journal.owner;
    let storage_root = storage_root(chip, curve, auth)?;
    let ak_template = PublicTemplate::attestation_key(curve);
    let ak = primary(
        chip,
        Hierarchy::Endorsement,
        (&journal.endorsement, auth),
        &ak_template,
        handle_map::ATTESTATION_KEY,
    )?;
    define_nv_map(chip, curve.hash(), auth)?;
    let (identity, creation, identity_certification) = identity(chip, journal, &storage_root, &ak)?;
    Ok(Prepared {
        endorsement_certificate: endorsement_certificate(chip)?,
        endorsement_key: ek.public().clone(),
        attestation_key: ak.public().clone(),
        storage_root: storage_root.public().clone(),
        identity: identity.public().clone(),
        identity_creation: creation.data,
        identity_certification,
    })
}

/// The value a hierarchy has now: the journal's once it was changed, empty before.
fn current(new: &Secret, is_set: bool) -> Secret {
    if is_set {
        new.clone()
    } else {
        Secret::from_slice(&[])
    }
}

fn ek_template(curve: Curve) -> PublicTemplate {
    match curve {
        Curve::P256 => PublicTemplate::ek_ecc_p256(),
        Curve::P384 => PublicTemplate::ek_ecc_p384(),
    }
}

/// The persistent primary of a template, made if the handle is free. What is there must fit the template.
fn primary(
    chip: &mut Chip,
    hierarchy: Hierarchy,
    (hierarchy_auth, owner): (&Secret, &Secret),
    template: &PublicTemplate,
    handle: u32,
) -> Result<PersistentKey> {
    if let Some(key) = chip.persistent_key(handle)? {
        let expected = template.to_public().map_err(|source| KeysError::Structure {
            what: "the template",
            source,
        })?;
        let fits = key.public().attributes() == expected.attributes()
            && key.public().auth_policy() == expected.auth_policy()
            && key.public().name_alg() == expected.name_alg()
            && key.public().object_type() == expected.object_type();
        return if fits {
            Ok(key)
        } else {
            Err(KeysError::Foreign {
                place: "handle",
                handle,
            })
        };
    }
    let made = chip.create_primary(
        hierarchy,
        Auth::Value(hierarchy_auth),
        template.as_tpmt_bytes(),
        None,
        &[],
    )?;
    Ok(chip.evict_control_make(owner, &made.object, handle)?)
}

/// Gives each hierarchy the journal's authorisation. TPMA_PERMANENT says which have one, so that no wrong value is
/// ever tried: a wrong lockout value would lock the chip for hours.
fn take_ownership(chip: &mut Chip, journal: &Journal) -> Result<()> {
    let set = chip.lockout_state()?;
    let steps = [
        (Hierarchy::Lockout, set.lockout_auth_set, &journal.lockout),
        (
            Hierarchy::Endorsement,
            set.endorsement_auth_set,
            &journal.endorsement,
        ),
        (Hierarchy::Owner, set.owner_auth_set, &journal.owner),
    ];
    let empty = Secret::from_slice(&[]);
    for (hierarchy, is_set, value) in steps {
        if !is_set {
            chip.change_hierarchy_auth(hierarchy, &empty, value)?;
        }
    }
    // Proves that the values in force are the journal's, not another owner's; changes nothing.
    match chip.change_hierarchy_auth(Hierarchy::Owner, &journal.owner, &journal.owner) {
        Err(error)
            if error.is_refusal(ResponseCode::BAD_AUTH) || error.is_refusal(ResponseCode::AUTH_FAIL) =>
        {
            Err(KeysError::Owned { hierarchy: "owner" })
        }
        other => Ok(other?),
    }
}

fn storage_root(chip: &mut Chip, curve: Curve, owner: &Secret) -> Result<PersistentKey> {
    let template = PublicTemplate::storage_parent(curve);
    primary(
        chip,
        Hierarchy::Owner,
        (owner, owner),
        &template,
        handle_map::STORAGE_ROOT,
    )
}

/// Defines what is missing of the NV map, and gives every counter its first value so that it can be read.
fn define_nv_map(chip: &mut Chip, name_alg: HashAlg, owner: &Secret) -> Result<()> {
    let map = NvMap::new(name_alg).map_err(|_| KeysError::Grant {
        what: "the hash of the NV map",
    })?;
    for spec in map.specs() {
        define(chip, &spec, owner)?;
    }
    Ok(())
}

fn define(chip: &mut Chip, spec: &NvSpec, owner: &Secret) -> Result<()> {
    let expected = nv_public(spec);
    let found = match chip.nv_expect(&expected) {
        Ok(found) => found,
        Err(error) if error.is_refusal(ResponseCode::HANDLE) => {
            chip.nv_define(owner, &expected, &Secret::from_slice(&[]))?;
            expected
        }
        // Defined otherwise, or an answer that makes no sense: what is there is asked for as it is.
        Err(alcub3_tpm::TpmError::Malformed { .. }) => chip.nv_read_public(spec.handle)?,
        Err(error) => return Err(error.into()),
    };
    let name = found.name();
    if name != spec.tpm_name(false) && name != spec.tpm_name(true) {
        return Err(KeysError::Foreign {
            place: "NV index",
            handle: spec.handle,
        });
    }
    if spec.kind == NvKind::Counter && name != spec.tpm_name(true) {
        chip.nv_increment(spec.handle)?;
    }
    Ok(())
}

/// An index of the NV map as the chip describes it before it is written.
pub(crate) fn nv_public(spec: &NvSpec) -> NvPublic {
    NvPublic {
        index: spec.handle,
        name_alg: spec.name_alg,
        attributes: spec.attributes,
        auth_policy: Vec::new(),
        size: spec.size,
    }
}

/// The identity key, whose creation data binds it to the hardware, certified by the AK.
///
/// The creation ticket is needed for the certification, so a key that an earlier try left behind is made anew.
fn identity(
    chip: &mut Chip,
    journal: &Journal,
    storage_root: &PersistentKey,
    ak: &PersistentKey,
) -> Result<(PersistentKey, Creation, Attestation)> {
    let parent = Key::from(storage_root.clone());
    let attributes = attribute::FIXED_TPM
        | attribute::FIXED_PARENT
        | attribute::SENSITIVE_DATA_ORIGIN
        | attribute::USER_WITH_AUTH
        | attribute::NO_DA
        | attribute::SIGN;
    let template = PublicTemplate::signing_key(journal.plan.curve, attributes, None);
    let plan = &journal.plan;
    let binding = identity_binding(plan.curve.hash(), &plan.robot, &plan.hardware_binding);
    let empty = Secret::from_slice(&[]);
    let made = chip.create(
        &parent,
        Auth::Empty,
        template.as_tpmt_bytes(),
        &empty,
        None,
        binding.as_bytes(),
    )?;
    let object = chip.load(&parent, Auth::Empty, &made.private, &made.public)?;
    let certification = chip.certify_creation(
        &Key::from(ak.clone()),
        &Key::from(object.clone()),
        binding.as_bytes(),
        &made.creation,
    )?;
    if let Some(old) = chip.persistent_key(handle_map::IDENTITY)? {
        chip.evict_control_remove(&journal.owner, &old)?;
    }
    let key = chip.evict_control_make(&journal.owner, &object, handle_map::IDENTITY)?;
    Ok((key, made.creation, certification))
}

/// The first EK certificate in the chip's NV, in the order of the handle map; empty if there is none.
fn endorsement_certificate(chip: &mut Chip) -> Result<Vec<u8>> {
    for (index, _) in handle_map::EK_CERTIFICATES {
        match chip.nv_read(index) {
            Ok(certificate) => return Ok(certificate),
            Err(error) if error.is_refusal(ResponseCode::HANDLE) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Vec::new())
}

/// A session that satisfies PolicyA of the EK Credential Profile: PolicySecret of the endorsement hierarchy.
fn endorsement_policy(
    chip: &mut Chip,
    ek: &Public,
    endorsement: &Secret,
) -> Result<alcub3_tpm::PolicySession> {
    let secret = Assertion::Secret {
        object_name: Name::of_handle(Hierarchy::Endorsement.handle()),
        policy_ref: Vec::new(),
    };
    let policy = Policy::new(ek.name_alg(), vec![secret]).map_err(PolicyBuildError::from)?;
    if policy.digest().as_bytes() != ek.auth_policy() {
        return Err(KeysError::Foreign {
            place: "handle",
            handle: handle_map::EK,
        });
    }
    let inputs = PolicyInputs::new().secret(SecretProof::of_hierarchy(
        Hierarchy::Endorsement,
        &[],
        endorsement.clone(),
    ));
    Ok(chip.policy_session(&policy, &inputs)?)
}

/// The storage parent of each level, persistent; usable only under the rearm key's approval.
fn make_parents(chip: &mut Chip, journal: &Journal, rearm_key: Name) -> Result<Vec<LevelParent>> {
    journal
        .plan
        .levels
        .iter()
        .map(|level| make_parent(chip, journal, *level, rearm_key))
        .collect()
}

fn make_parent(chip: &mut Chip, journal: &Journal, level: Level, rearm_key: Name) -> Result<LevelParent> {
    let policy = parent_policy(journal.plan.curve.hash(), rearm_key, &journal.plan.robot, level)?;
    let attributes =
        attribute::FIXED_TPM | attribute::FIXED_PARENT | attribute::SENSITIVE_DATA_ORIGIN | attribute::NO_DA;
    let template =
        PublicTemplate::storage_parent_with(journal.plan.curve, attributes, Some(&policy.digest()));
    let owner = &journal.owner;
    let key = primary(
        chip,
        Hierarchy::Owner,
        (owner, owner),
        &template,
        handle_map::level_parent(level),
    )?;
    Ok(LevelParent {
        level,
        public: key.public().clone(),
    })
}
