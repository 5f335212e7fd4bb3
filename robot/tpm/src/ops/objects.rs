//! Creating, loading, moving and reading objects (TPM 2.0 Part 3, 12 and 13).

use super::hierarchy::read_creation;
use super::keys::{Hierarchy, Key, PersistentKey};
use super::wire::{Answer, Params};
use crate::{Auth, Chip, CommandCode, Object, Protect, ResponseCode, Result, Target, TpmError};
use alcub3_crypto::tpm::{Name, Public};
use alcub3_crypto::{Digest, Secret};
use tpm2_protocol::TpmUnmarshal;
use tpm2_protocol::data::{TpmCc, TpmtPublic};
use zeroize::Zeroizing;

const CREATE: CommandCode = CommandCode::of(TpmCc::Create);
const LOAD: CommandCode = CommandCode::of(TpmCc::Load);
const LOAD_EXTERNAL: CommandCode = CommandCode::of(TpmCc::LoadExternal);
const IMPORT: CommandCode = CommandCode::of(TpmCc::Import);
const DUPLICATE: CommandCode = CommandCode::of(TpmCc::Duplicate);
const READ_PUBLIC: CommandCode = CommandCode::of(TpmCc::ReadPublic);
/// The longest TPM2B_PRIVATE or TPM2B_PUBLIC this crate hands in.
const MAX_BLOB: usize = 2048;

/// How an object came to be, for TPM2_CertifyCreation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Creation {
    /// TPMS_CREATION_DATA.
    pub data: Vec<u8>,
    /// Its digest with the object's nameAlg.
    pub hash: Digest,
    /// TPMT_TK_CREATION.
    pub ticket: Vec<u8>,
}

/// A primary object, loaded.
#[derive(Debug)]
pub struct CreatedPrimary {
    /// The object.
    pub object: Object,
    /// How it came to be.
    pub creation: Creation,
}

/// A child object, not loaded.
#[derive(Clone, Debug)]
pub struct Created {
    /// Its public area.
    pub public: Public,
    /// Contents of the TPM2B_PRIVATE, encrypted by its parent.
    pub private: Vec<u8>,
    /// How it came to be.
    pub creation: Creation,
}

/// An object wrapped for another parent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Duplicated {
    /// Contents of the TPM2B_PRIVATE, encrypted with a key made from the seed.
    pub duplicate: Vec<u8>,
    /// Contents of the TPM2B_ENCRYPTED_SECRET: the seed, encrypted to the new parent.
    pub seed: Vec<u8>,
}

impl Chip {
    /// Creates a child of `parent` from a template (TPMT_PUBLIC). `data` is the data of a sealed or keyed hash object.
    /// Commands: 1 Create.
    ///
    /// # Errors
    /// What the chip refuses; [`TpmError::Malformed`] when what it made does not fit the template.
    pub fn create(
        &mut self,
        parent: &Key,
        auth: Auth<'_>,
        template: &[u8],
        user_auth: &Secret,
        data: Option<&Secret>,
        outside_info: &[u8],
    ) -> Result<Created> {
        let params = push_creation(CREATE, template, user_auth.expose(), data, outside_info)?;
        let reply = self.call_raw(CREATE, &[parent.target()], &[auth], Protect::In, &params)?;
        let mut answer = Answer::new(CREATE, &reply);
        let private = answer.sized("the private area")?.to_vec();
        let public = returned_public(CREATE, &mut answer, Some(template))?;
        let creation = read_creation(&mut answer, &public)?;
        answer.end()?;
        Ok(Created {
            public,
            private,
            creation,
        })
    }

    /// Loads a child of `parent`. Commands: 1 Load.
    ///
    /// # Errors
    /// INTEGRITY for a blob of another parent or a changed one; [`TpmError::Malformed`] when the chip says another Name.
    pub fn load(&mut self, parent: &Key, auth: Auth<'_>, private: &[u8], public: &Public) -> Result<Object> {
        let params = Params::new(LOAD)
            .sized(private, MAX_BLOB, "the private area")
            .sized(public.as_tpmt_bytes(), MAX_BLOB, "the public area")
            .finish()?;
        let reply = self.call_raw(LOAD, &[parent.target()], &[auth], Protect::Integrity, &params)?;
        self.take_loaded(LOAD, &reply, public.clone())
    }

    /// Loads a public area alone, to check signatures or duplicate to it. Tickets of signatures checked by a key in
    /// [`Hierarchy::Owner`] survive resets, those of [`Hierarchy::Null`] do not. Commands: 1 LoadExternal.
    ///
    /// # Errors
    /// What the chip refuses; [`TpmError::Malformed`] when the chip says another Name.
    pub fn load_external(&mut self, template: &[u8], hierarchy: Hierarchy) -> Result<Object> {
        let public = Public::from_tpmt(template).map_err(alcub3_crypto::CryptoError::from)?;
        let params = Params::new(LOAD_EXTERNAL)
            .u16(0)
            .sized(template, MAX_BLOB, "the public area")
            .u32(hierarchy.handle())
            .finish()?;
        let reply = self.call_raw(LOAD_EXTERNAL, &[], &[], Protect::Integrity, &params)?;
        self.take_loaded(LOAD_EXTERNAL, &reply, public)
    }

    fn take_loaded(
        &mut self,
        command: CommandCode,
        reply: &crate::chip::Reply,
        public: Public,
    ) -> Result<Object> {
        let lease = self.lease_object(command, reply)?;
        let mut answer = Answer::new(command, reply);
        let name = answer.sized("the Name of the loaded object")?;
        if name != public.name().as_bytes() {
            return Err(answer.malformed("the Name of the loaded object"));
        }
        answer.end()?;
        Ok(Object::new(lease, public))
    }

    /// Takes an object wrapped for `parent`; returns its private area for [`Self::load`]. Commands: 1 Import.
    ///
    /// # Errors
    /// INTEGRITY or VALUE for an object wrapped to another parent or changed.
    pub fn import(
        &mut self,
        parent: &Key,
        auth: Auth<'_>,
        public: &Public,
        duplicate: &[u8],
        seed: &[u8],
    ) -> Result<Vec<u8>> {
        let params = Params::new(IMPORT)
            .u16(0)
            .sized(public.as_tpmt_bytes(), MAX_BLOB, "the public area")
            .sized(duplicate, MAX_BLOB, "the duplicate")
            .sized(seed, 512, "the encrypted seed")
            .null_scheme()
            .finish()?;
        let reply = self.call_raw(IMPORT, &[parent.target()], &[auth], Protect::Integrity, &params)?;
        let mut answer = Answer::new(IMPORT, &reply);
        let private = answer.sized("the private area")?.to_vec();
        answer.end()?;
        Ok(private)
    }

    /// Wraps an object for another parent. `auth` is a policy session whose policy allows TPM2_Duplicate.
    /// Commands: 1 Duplicate.
    ///
    /// # Errors
    /// ATTRIBUTES for an object that is fixed to its TPM or parent; POLICY_FAIL where the policy does not allow it.
    pub fn duplicate(&mut self, object: &Key, auth: Auth<'_>, new_parent: &Key) -> Result<Duplicated> {
        let params = Params::new(DUPLICATE).u16(0).null_scheme().finish()?;
        let targets = [object.target(), new_parent.target()];
        let reply = self.call_raw(DUPLICATE, &targets, &[auth], Protect::Integrity, &params)?;
        let mut answer = Answer::new(DUPLICATE, &reply);
        if !answer.sized("the inner key")?.is_empty() {
            return Err(answer.malformed("the inner key"));
        }
        let duplicate = answer.sized("the duplicate")?.to_vec();
        let seed = answer.sized("the encrypted seed")?.to_vec();
        answer.end()?;
        Ok(Duplicated { duplicate, seed })
    }

    /// The public area at a persistent handle. Commands: 2 ReadPublic the first time (one without a session to learn
    /// the Name, one protected to confirm it; 1 where there is no protection), then none.
    ///
    /// # Errors
    /// HANDLE where nothing is there.
    pub fn read_public(&mut self, handle: u32) -> Result<Public> {
        if let Some(key) = self.cache.persistent.get(&handle) {
            return Ok(key.public().clone());
        }
        let public = self.read_public_as(handle, &Name::of_handle(handle), Protect::Bare)?;
        if self.salt_key().is_some() {
            let name = public.name();
            if self.read_public_as(handle, &name, Protect::Integrity)? != public {
                return Err(TpmError::Malformed {
                    command: READ_PUBLIC,
                    part: "the public area",
                });
            }
        }
        self.cache
            .persistent
            .insert(handle, PersistentKey::new(handle, public.clone()));
        Ok(public)
    }

    /// TPM2_ReadPublic of an object whose Name is taken to be `name`; the Name and qualified Name it returns must
    /// fit the public area.
    fn read_public_as(&mut self, handle: u32, name: &Name, protect: Protect) -> Result<Public> {
        let reply = self.call_raw(READ_PUBLIC, &[Target::Named(handle, name)], &[], protect, &[])?;
        let mut answer = Answer::new(READ_PUBLIC, &reply);
        let public = returned_public(READ_PUBLIC, &mut answer, None)?;
        let said = answer.sized("the Name")?;
        if said != public.name().as_bytes() {
            return Err(answer.malformed("the Name"));
        }
        answer.sized("the qualified Name")?;
        answer.end()?;
        Ok(public)
    }

    /// The key at a persistent handle, or none if nothing is there. Commands: as [`Self::read_public`].
    ///
    /// # Errors
    /// What the chip refuses, except that nothing is there.
    pub fn persistent_key(&mut self, handle: u32) -> Result<Option<PersistentKey>> {
        match self.read_public(handle) {
            Ok(public) => Ok(Some(PersistentKey::new(handle, public))),
            Err(error) if error.is_refusal(ResponseCode::HANDLE) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Forgets what is known of a persistent handle; for when another program may have replaced it.
    pub fn forget_persistent(&mut self, handle: u32) {
        self.cache.persistent.remove(&handle);
    }
}

/// The parameters that TPM2_Create and TPM2_CreatePrimary share; creationPCR is empty.
pub(super) fn push_creation(
    command: CommandCode,
    template: &[u8],
    user_auth: &[u8],
    data: Option<&Secret>,
    outside_info: &[u8],
) -> Result<Zeroizing<Vec<u8>>> {
    let data = data.map(Secret::expose).unwrap_or_default();
    let sensitive = u16::try_from(user_auth.len() + data.len() + 4);
    Params::new(command)
        .u16(sensitive.map_err(|_| TpmError::Encode {
            command,
            what: "the sensitive data",
        })?)
        .sized(user_auth, 64, "the authorisation value")
        .sized(data, 256, "the sensitive data")
        .sized(template, MAX_BLOB, "the template")
        .sized(outside_info, 66, "the outside info")
        .u32(0)
        .finish()
}

/// A TPM2B_PUBLIC of a response; equal to `template` in everything but `unique`.
pub(super) fn returned_public(
    command: CommandCode,
    answer: &mut Answer<'_>,
    template: Option<&[u8]>,
) -> Result<Public> {
    let malformed = || TpmError::Malformed {
        command,
        part: "the public area",
    };
    let bytes = answer.sized("the public area")?;
    let public = Public::from_tpmt(bytes).map_err(|_| malformed())?;
    if template.is_some_and(|template| !fits_template(bytes, template)) {
        return Err(TpmError::Malformed {
            command,
            part: "the public area, which is not what the template asked for",
        });
    }
    Ok(public)
}

/// Whether two TPMT_PUBLIC differ in `unique` at most.
fn fits_template(public: &[u8], template: &[u8]) -> bool {
    let parse = |bytes| {
        TpmtPublic::unmarshal(bytes)
            .ok()
            .filter(|(_, rest)| rest.is_empty())
            .map(|(area, _)| area)
    };
    let (Some(made), Some(asked)) = (parse(public), parse(template)) else {
        return false;
    };
    made.object_type == asked.object_type
        && made.name_alg == asked.name_alg
        && made.object_attributes == asked.object_attributes
        && made.auth_policy == asked.auth_policy
        && made.parameters == asked.parameters
}

/// That the creation data's digest is the one returned.
pub(super) fn verify_creation(
    answer: &Answer<'_>,
    public: &Public,
    data: &[u8],
    hash: &Digest,
) -> Result<()> {
    if public.name_alg().digest(&[data]) == *hash {
        Ok(())
    } else {
        Err(answer.malformed("the creation hash"))
    }
}
