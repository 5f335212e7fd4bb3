//! The steps of provisioning inside the chip. Each finds out whether it was done already.

use super::device::initial_attestation;
use super::endorsement::{CertificateIndices, Certificates};
use super::{Custody, Prepared, ProvisioningPlan};
use crate::hierarchy::{LevelSeeds, check_room};
use crate::identity::initial_device_key;
use crate::journal::{Journal, Ownership};
use crate::record::LevelParent;
use crate::{KeysError, Result};
use alcub3_crypto::tpm::policy::{Assertion, Policy};
use alcub3_crypto::tpm::template::PublicTemplate;
use alcub3_crypto::tpm::{EkTemplate, Name, Public, attribute};
use alcub3_crypto::{Curve, HashAlg, Secret};
use alcub3_fleet_protocol::enrolment::Credential;
use alcub3_fleet_protocol::identity_binding;
use alcub3_tpm::ops::{Hierarchy, Key, LockoutState, NvPublic, PersistentKey, PolicyInputs, SecretProof};
use alcub3_tpm::{Auth, Chip, Object, ResponseCode, TpmError};
use alcub3_trust_model::hardware::HardwareRecord;
use alcub3_trust_model::nv_map::{NvKind, NvMap, NvSpec};
use alcub3_trust_model::policies::{PolicyBuildError, lockout_policy};
use alcub3_trust_model::{Level, domain, handle_map, profile};

/// The persistent handles that the owner authorisation governs (TPM 2.0 Part 2, 7.5; above them are the platform's).
const OWNERS_HANDLES: std::ops::Range<u32> = 0x8100_0000..0x8180_0000;

/// Looks at a chip that nothing was changed in yet: the persistent handles that are taken.
///
/// A chip with authorisations that this folder never set belongs to somebody else, who could clear or lock it later; one
/// with too few slots for the levels' keys would be left half provisioned.
pub(super) fn survey(chip: &mut Chip, levels: &[Level]) -> Result<Vec<u32>> {
    refuse_an_owned_chip(&chip.lockout_state()?)?;
    let taken = chip.handles(OWNERS_HANDLES.start)?;
    check_room(chip, levels, &taken)?;
    Ok(taken)
}

fn refuse_an_owned_chip(set: &LockoutState) -> Result<()> {
    let owned = [
        (set.owner_auth_set, "owner"),
        (set.endorsement_auth_set, "endorsement"),
        (set.lockout_auth_set, "lockout"),
    ];
    match owned.into_iter().find(|(is_set, _)| *is_set) {
        Some((_, hierarchy)) => Err(KeysError::Owned { hierarchy }),
        None => Ok(()),
    }
}

/// The authorisations that the hierarchies have now: the journal's where they were given, empty before. None is tried out
/// to learn that: a wrong lockout value would lock the chip for hours.
fn in_force(chip: &mut Chip, journal: &Journal) -> Result<Custody> {
    let set = chip.lockout_state()?;
    let Some(Ownership { custody, .. }) = &journal.ownership else {
        refuse_an_owned_chip(&set)?;
        return Ok(Custody::none());
    };
    let current = |new: &Secret, is_set| {
        if is_set {
            new.clone()
        } else {
            Secret::from_slice(&[])
        }
    };
    Ok(Custody {
        owner: current(&custody.owner, set.owner_auth_set),
        endorsement: current(&custody.endorsement, set.endorsement_auth_set),
        lockout: current(&custody.lockout, set.lockout_auth_set),
    })
}

pub(super) fn prepare(chip: &mut Chip, journal: &Journal) -> Result<Prepared> {
    let curve = journal.plan.curve;
    let unconfirmed = in_force(chip, journal)?;
    let vouched_for = journal.ownership.as_ref().map(|own| own.endorsement_key);
    let indices = CertificateIndices::list(chip)?;
    let template = indices.endorsement_key(curve);
    check_strength(template, &journal.plan.levels)?;
    let ek = endorsement_key(chip, template, &unconfirmed, vouched_for)?;
    chip.pin_salt_key(ek.handle(), Some(&vouched_for.unwrap_or(*ek.name())))?;
    // Asked once more, now that the answers are the chip's.
    let auth = in_force(chip, journal)?;
    indices.confirm(chip)?;
    remove_strays(chip, journal, &auth.owner, std::slice::from_ref(&ek))?;
    let storage_root = storage_root(chip, curve, &auth.owner)?;
    let ak_template = PublicTemplate::attestation_key(curve);
    let ak = primary(
        chip,
        Hierarchy::Endorsement,
        (&auth.endorsement, &auth.owner),
        &ak_template,
        handle_map::ATTESTATION_KEY,
    )?;
    define_nv_map(chip, curve.hash(), &auth.owner)?;
    let Certificates { certificate, chain } = indices.read(chip, template)?;
    let hardware = HardwareRecord {
        endorsement_key: *ek.name(),
        endorsement_certificate: HashAlg::Sha256.digest(&[&certificate]),
        inventory: journal.plan.inventory.clone(),
    };
    let binding = identity_binding(curve.hash(), &journal.plan.robot, &hardware.binding(curve.hash()));
    let device = initial_attestation(chip, &indices, &ak, &binding)?;
    let auths = (&auth.endorsement, &auth.owner);
    let (identity, identity_creation, identity_certification) =
        initial_device_key(chip, auths, curve, &ak, &binding)?;
    Ok(Prepared {
        endorsement_certificate: certificate,
        certificate_chain: chain,
        hardware,
        endorsement_key: ek.public().clone(),
        attestation_key: ak.public().clone(),
        storage_root: storage_root.public().clone(),
        identity: identity.public().clone(),
        identity_creation,
        identity_certification,
        device,
    })
}

/// That the endorsement key is as strong as each level asks: what it protects, a session's salt and the credential, is no
/// stronger.
fn check_strength(template: EkTemplate, levels: &[Level]) -> Result<()> {
    let below = levels
        .iter()
        .find_map(|level| profile(*level).check_suite(template.strength()).err());
    match below {
        None => Ok(()),
        Some(below) => Err(KeysError::EndorsementBelowFloor {
            key: template.name(),
            below,
        }),
    }
}

/// The endorsement key. Where an authority vouched for one, a chip that makes another keeps nothing of it.
fn endorsement_key(
    chip: &mut Chip,
    template: EkTemplate,
    auth: &Custody,
    vouched_for: Option<Name>,
) -> Result<PersistentKey> {
    let (template, handle) = (template.public(), handle_map::EK);
    if let Some(found) = existing(chip, &template, handle)? {
        return Ok(found);
    }
    let made = create(chip, Hierarchy::Endorsement, &auth.endorsement, &template)?;
    if vouched_for.is_some_and(|name| name != *made.name()) {
        return Err(TpmError::PinMismatch { handle }.into());
    }
    Ok(chip.evict_control_make(&auth.owner, &made, handle)?)
}

/// The persistent primary of a template, made if the handle is free. What is there must fit the template.
pub(crate) fn primary(
    chip: &mut Chip,
    hierarchy: Hierarchy,
    (hierarchy_auth, owner): (&Secret, &Secret),
    template: &PublicTemplate,
    handle: u32,
) -> Result<PersistentKey> {
    if let Some(found) = existing(chip, template, handle)? {
        return Ok(found);
    }
    let made = create(chip, hierarchy, hierarchy_auth, template)?;
    Ok(chip.evict_control_make(owner, &made, handle)?)
}

fn create(chip: &mut Chip, hierarchy: Hierarchy, auth: &Secret, template: &PublicTemplate) -> Result<Object> {
    let made = chip.create_primary(hierarchy, Auth::Value(auth), template.as_tpmt_bytes(), None, &[])?;
    Ok(made.object)
}

/// What is at a handle already, if it fits the template.
fn existing(chip: &mut Chip, template: &PublicTemplate, handle: u32) -> Result<Option<PersistentKey>> {
    let Some(key) = chip.persistent_key(handle)? else {
        return Ok(None);
    };
    let expected = template.to_public().map_err(|source| KeysError::Structure {
        what: "the template",
        source,
    })?;
    let fits = key.public().attributes() == expected.attributes()
        && key.public().auth_policy() == expected.auth_policy()
        && key.public().name_alg() == expected.name_alg()
        && key.public().object_type() == expected.object_type();
    if fits {
        Ok(Some(key))
    } else {
        Err(KeysError::Foreign {
            place: "handle",
            handle,
        })
    }
}

/// Removes our keys from handles that are not theirs. Before there is a session, whoever sits on the bus can change the
/// handle that a key is made persistent at. What was there before provisioning is another's and stays.
fn remove_strays(chip: &mut Chip, journal: &Journal, owner: &Secret, ours: &[PersistentKey]) -> Result<()> {
    let taken = chip.handles(OWNERS_HANDLES.start)?.into_iter();
    let candidates = taken
        .filter(|handle| OWNERS_HANDLES.contains(handle) && !journal.taken_before.contains(handle))
        .filter(|handle| ours.iter().all(|key| key.handle() != *handle));
    for handle in candidates {
        let found = chip.persistent_key(handle)?;
        if let Some(stray) = found.filter(|found| ours.iter().any(|key| key.name() == found.name())) {
            tracing::warn!(handle, "a second copy of one of our keys is removed from the TPM");
            chip.evict_control_remove(owner, &stray)?;
        }
    }
    Ok(())
}

/// Gives each hierarchy its authorisation. TPMA_PERMANENT says which have one, so that no wrong value is ever tried.
pub(super) fn take_ownership(
    chip: &mut Chip,
    Custody {
        owner,
        endorsement,
        lockout,
    }: &Custody,
) -> Result<()> {
    let set = chip.lockout_state()?;
    let steps = [
        (Hierarchy::Lockout, set.lockout_auth_set, lockout),
        (Hierarchy::Endorsement, set.endorsement_auth_set, endorsement),
        (Hierarchy::Owner, set.owner_auth_set, owner),
    ];
    let empty = Secret::from_slice(&[]);
    for (hierarchy, is_set, value) in steps {
        if !is_set {
            chip.change_hierarchy_auth(hierarchy, &empty, value)?;
        }
    }
    // Proves that the values in force are the journal's, not another owner's; changes nothing.
    match chip.change_hierarchy_auth(Hierarchy::Owner, owner, owner) {
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

pub(crate) fn nv_map(name_alg: HashAlg) -> Result<NvMap> {
    NvMap::new(name_alg).map_err(|_| KeysError::Grant {
        what: "the hash of the NV map",
    })
}

/// Defines what is missing of the NV map, and gives every counter and ratchet its first value so that it can
/// be read.
fn define_nv_map(chip: &mut Chip, name_alg: HashAlg, owner: &Secret) -> Result<()> {
    for spec in nv_map(name_alg)?.specs() {
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
    if name == spec.tpm_name(true) {
        return Ok(());
    }
    // What is read before anything of ours is written must have been written once.
    match spec.kind {
        NvKind::Counter => Ok(chip.nv_increment(spec.handle)?),
        NvKind::Ratchet => Ok(chip.nv_extend(spec.handle, domain::KEY_ANCHOR.as_bytes())?),
        NvKind::Extend => Ok(()),
    }
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

/// Activates the credential for the EK and the AK.
pub(super) fn activate(
    chip: &mut Chip,
    journal: &Journal,
    prepared: Prepared,
    credential: &Credential,
) -> Result<Secret> {
    let ek = Key::from(PersistentKey::new(handle_map::EK, prepared.endorsement_key));
    let ak = PersistentKey::new(handle_map::ATTESTATION_KEY, prepared.attestation_key).into();
    let (id_object, encrypted) = (&credential.id_object, &credential.encrypted_secret);
    // The high-range templates set userWithAuth, the low-range ones want the policy (EK Credential Profile, B.3, B.4).
    if ek.public().has_attributes(attribute::USER_WITH_AUTH) {
        return Ok(chip.activate_credential(&ak, Auth::Empty, &ek, Auth::Empty, id_object, encrypted)?);
    }
    let endorsement = in_force(chip, journal)?.endorsement;
    let session = endorsement_policy(chip, ek.public(), &endorsement)?;
    Ok(chip.activate_credential(
        &ak,
        Auth::Empty,
        &ek,
        Auth::Policy(&session),
        id_object,
        encrypted,
    )?)
}

/// The last step: the levels' primaries; then the chip holds each of our keys once.
pub(super) fn finish(
    chip: &mut Chip,
    journal: &Journal,
    prepared: Prepared,
    rearm_key: Name,
) -> Result<Vec<LevelParent>> {
    let auth = in_force(chip, journal)?;
    let parents = make_levels(chip, journal, &auth, rearm_key)?;
    let mut ours = vec![
        PersistentKey::new(handle_map::EK, prepared.endorsement_key),
        PersistentKey::new(handle_map::ATTESTATION_KEY, prepared.attestation_key),
        PersistentKey::new(handle_map::STORAGE_ROOT, prepared.storage_root),
        PersistentKey::new(handle_map::IDENTITY, prepared.identity),
    ];
    for made in &parents {
        ours.push(PersistentKey::new(
            handle_map::level_parent(made.level),
            made.public.clone(),
        ));
        ours.push(PersistentKey::new(
            handle_map::level_kdf(made.level),
            made.kdf.clone(),
        ));
    }
    remove_strays(chip, journal, &auth.owner, &ours)?;
    Ok(parents)
}

/// A session that satisfies PolicyA of the EK Credential Profile: PolicySecret of the endorsement hierarchy.
pub(crate) fn endorsement_policy(
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

/// What the authority's two-person key opens: the primaries of each level, and TPM2_Clear for a purge.
fn make_levels(
    chip: &mut Chip,
    journal: &Journal,
    auth: &Custody,
    rearm_key: Name,
) -> Result<Vec<LevelParent>> {
    let ProvisioningPlan {
        robot, curve, levels, ..
    } = &journal.plan;
    let seeds = LevelSeeds {
        robot: robot.clone(),
        curve: *curve,
        rearm_key,
    };
    let purge = lockout_policy(curve.hash(), rearm_key, robot)?.digest();
    chip.set_primary_policy(Hierarchy::Lockout, &auth.lockout, &purge)?;
    let make = |level: &Level| seeds.make(chip, &auth.owner, *level);
    levels.iter().map(make).collect()
}
