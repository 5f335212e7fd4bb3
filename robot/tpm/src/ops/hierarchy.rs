//! Primary objects, persistence, hierarchy authorisations, clearing (TPM 2.0 Part 3, 24 and 28.5).

use super::keys::{Hierarchy, PersistentKey};
use super::objects::{CreatedPrimary, Creation, push_creation, returned_public, verify_creation};
use super::wire::{Answer, Params};
use crate::chip::Reply;
use crate::slots::Kind;
use crate::{Auth, Chip, CommandCode, Object, PolicySession, Protect, Result, Target};
use alcub3_crypto::tpm::Public;
use alcub3_crypto::{Digest, Secret};
use tpm2_protocol::data::TpmCc;
use tpm2_protocol::frame::{
    TpmClearCommand, TpmClearResponse, TpmEvictControlCommand, TpmEvictControlResponse,
};

const CREATE_PRIMARY: CommandCode = CommandCode::of(TpmCc::CreatePrimary);
const SET_PRIMARY_POLICY: CommandCode = CommandCode::of(TpmCc::SetPrimaryPolicy);
const HIERARCHY_CHANGE_AUTH: CommandCode = CommandCode::of(TpmCc::HierarchyChangeAuth);

impl Chip {
    /// Creates a primary object from a template (TPMT_PUBLIC) under a hierarchy, with an empty authorisation value.
    /// `sensitive` is the data of a keyed hash object. Commands: 1 CreatePrimary.
    ///
    /// # Errors
    /// What the chip refuses; [`TpmError::Malformed`](crate::TpmError::Malformed) when what it made does not fit the
    /// template or the Name it returned, and nothing stays loaded then.
    pub fn create_primary(
        &mut self,
        hierarchy: Hierarchy,
        auth: Auth<'_>,
        template: &[u8],
        sensitive: Option<&Secret>,
        outside_info: &[u8],
    ) -> Result<CreatedPrimary> {
        let params = push_creation(CREATE_PRIMARY, template, &[], sensitive, outside_info)?;
        let reply = self.call_raw(
            CREATE_PRIMARY,
            &[hierarchy.target()],
            &[auth],
            Protect::In,
            &params,
        )?;
        // Under a lease before anything can fail, so that what is refused below does not stay in the chip.
        let lease = self.lease_object(CREATE_PRIMARY, &reply)?;
        let mut answer = Answer::new(CREATE_PRIMARY, &reply);
        let public = returned_public(CREATE_PRIMARY, &mut answer, Some(template))?;
        let creation = read_creation(&mut answer, &public)?;
        let name = answer.sized("the Name of the new object")?;
        if name != public.name().as_bytes() {
            return Err(answer.malformed("the Name of the new object"));
        }
        answer.end()?;
        Ok(CreatedPrimary {
            object: Object::new(lease, public),
            creation,
        })
    }

    /// Takes charge of the transient object whose handle a command returned.
    pub(super) fn lease_object(
        &mut self,
        command: CommandCode,
        reply: &Reply,
    ) -> Result<crate::slots::Lease> {
        let handle = reply.handle.filter(|handle| handle >> 24 == 0x80);
        let malformed = crate::TpmError::Malformed {
            command,
            part: "the object handle",
        };
        Ok(self.enter_slot(Kind::Object, handle.ok_or(malformed)?))
    }

    /// Makes a loaded object persistent; the transient one stays until its last clone is dropped. The owner
    /// authorisation permits this for objects of the owner and the endorsement hierarchy. Commands: 1 EvictControl.
    ///
    /// # Errors
    /// NV_DEFINED where the handle is taken; BAD_AUTH or AUTH_FAIL for a wrong value.
    pub fn evict_control_make(
        &mut self,
        owner: &Secret,
        object: &Object,
        handle: u32,
    ) -> Result<PersistentKey> {
        self.evict_control(owner, Target::Object(object), handle)?;
        let key = PersistentKey::new(handle, object.public().clone());
        self.cache.persistent.insert(handle, key.clone());
        Ok(key)
    }

    /// Removes a persistent object. Commands: 1 EvictControl.
    ///
    /// # Errors
    /// HANDLE where nothing is there; BAD_AUTH or AUTH_FAIL for a wrong value.
    pub fn evict_control_remove(&mut self, owner: &Secret, key: &PersistentKey) -> Result<()> {
        self.evict_control(owner, Target::Named(key.handle(), key.name()), key.handle())?;
        self.cache.persistent.remove(&key.handle());
        Ok(())
    }

    fn evict_control(&mut self, owner: &Secret, object: Target<'_>, handle: u32) -> Result<()> {
        let command = TpmEvictControlCommand {
            handles: Default::default(),
            persistent_handle: handle.into(),
        };
        let targets = [Hierarchy::Owner.target(), object];
        self.call::<_, TpmEvictControlResponse>(
            &command,
            &targets,
            &[Auth::Value(owner)],
            Protect::Integrity,
        )?;
        Ok(())
    }

    /// Replaces a hierarchy's authorisation value; the new one crosses the bus encrypted. Commands: 1
    /// HierarchyChangeAuth.
    ///
    /// # Errors
    /// BAD_AUTH or AUTH_FAIL for a wrong value; [`TpmError::Unprotected`](crate::TpmError::Unprotected) without a
    /// protected session.
    pub fn change_hierarchy_auth(&mut self, hierarchy: Hierarchy, from: &Secret, to: &Secret) -> Result<()> {
        if !self.is_protected() && self.salt_key().is_none() {
            return Err(crate::TpmError::Unprotected {
                command: HIERARCHY_CHANGE_AUTH,
            });
        }
        let params = Params::new(HIERARCHY_CHANGE_AUTH)
            .sized(to.expose(), 64, "the authorisation value")
            .finish()?;
        let auth = [Auth::Changing { from, to }];
        let reply = self.call_raw(
            HIERARCHY_CHANGE_AUTH,
            &[hierarchy.target()],
            &auth,
            Protect::In,
            &params,
        )?;
        Answer::new(HIERARCHY_CHANGE_AUTH, &reply).end()
    }

    /// Sets the policy that, besides its authorisation value, authorises the use of a hierarchy. Commands: 1
    /// SetPrimaryPolicy.
    ///
    /// # Errors
    /// BAD_AUTH or AUTH_FAIL for a wrong value.
    pub fn set_primary_policy(&mut self, hierarchy: Hierarchy, auth: &Secret, policy: &Digest) -> Result<()> {
        let params = Params::new(SET_PRIMARY_POLICY)
            .sized(policy.as_bytes(), 64, "the policy")
            .u16(policy.alg().tpm_id())
            .finish()?;
        let reply = self.call_raw(
            SET_PRIMARY_POLICY,
            &[hierarchy.target()],
            &[Auth::Value(auth)],
            Protect::Integrity,
            &params,
        )?;
        Answer::new(SET_PRIMARY_POLICY, &reply).end()
    }

    /// Clears the owner and endorsement hierarchies: all their keys, indices and authorisations. Commands: 1 Clear.
    ///
    /// The answer is keyed by the lockout authorisation of after, which is empty.
    ///
    /// # Errors
    /// BAD_AUTH or AUTH_FAIL for a wrong value.
    pub fn clear(&mut self, lockout: &Secret) -> Result<()> {
        let empty = Secret::from_slice(&[]);
        self.clear_as(Auth::Changing {
            from: lockout,
            to: &empty,
        })
    }

    /// [`Self::clear`] in a session of the lockout hierarchy's policy. Commands: 1 Clear.
    ///
    /// # Errors
    /// POLICY_FAIL where that is not the policy, PCR_CHANGED where a counting PCR was extended since.
    pub fn clear_by_policy(&mut self, session: &PolicySession) -> Result<()> {
        self.clear_as(Auth::Policy(session))
    }

    fn clear_as(&mut self, auth: Auth<'_>) -> Result<()> {
        let command = TpmClearCommand {
            handles: Default::default(),
        };
        self.call::<_, TpmClearResponse>(
            &command,
            &[Hierarchy::Lockout.target()],
            &[auth],
            Protect::Integrity,
        )?;
        self.cache.forget_hierarchies();
        Ok(())
    }
}

/// Reads creationData, creationHash and creationTicket, and checks that they belong together.
pub(super) fn read_creation(answer: &mut Answer<'_>, public: &Public) -> Result<Creation> {
    let data = answer.sized("the creation data")?;
    let hash = answer.digest(public.name_alg(), "the creation hash")?;
    let ticket = answer.ticket(0x8021, "the creation ticket")?;
    verify_creation(answer, public, data, &hash)?;
    Ok(Creation {
        data: data.to_vec(),
        hash,
        ticket: ticket.to_vec(),
    })
}
