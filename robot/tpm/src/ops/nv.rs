//! NV indices (TPM 2.0 Part 3, 31).

use super::attesting::{Attestation, certified_nv};
use super::keys::{Hierarchy, Key};
use super::nv_public::NvPublic;
use super::wire::{Answer, Params};
use crate::chip::Reply;
use crate::{Auth, Chip, CommandCode, Protect, ResponseCode, Result, Target, TpmError};
use alcub3_crypto::Secret;
use alcub3_crypto::tpm::Name;
use tpm2_protocol::data::TpmCc;

const DEFINE: CommandCode = CommandCode::of(TpmCc::NvDefineSpace);
const UNDEFINE: CommandCode = CommandCode::of(TpmCc::NvUndefineSpace);
const READ_PUBLIC: CommandCode = CommandCode::of(TpmCc::NvReadPublic);
const READ: CommandCode = CommandCode::of(TpmCc::NvRead);
const WRITE: CommandCode = CommandCode::of(TpmCc::NvWrite);
const INCREMENT: CommandCode = CommandCode::of(TpmCc::NvIncrement);
const EXTEND: CommandCode = CommandCode::of(TpmCc::NvExtend);
const CERTIFY: CommandCode = CommandCode::of(TpmCc::NvCertify);
/// TPM_PT_NV_BUFFER_MAX is at least this on every PC Client chip; larger data goes in pieces.
const NV_CHUNK: u16 = 512;

/// By whose authorisation an NV index is used.
#[derive(Copy, Clone, Debug)]
pub enum NvAccess<'a> {
    /// The index's own.
    Index(Auth<'a>),
    /// The owner's.
    Owner(Auth<'a>),
    /// The platform's.
    Platform(Auth<'a>),
}

impl<'a> NvAccess<'a> {
    /// The index's own, with an empty authorisation value: how a robot's indices are defined.
    pub const OPEN: Self = Self::Index(Auth::Empty);

    pub(super) fn parts<'n>(&self, index: u32, name: &'n Name) -> (Target<'n>, Auth<'a>) {
        match self {
            Self::Index(auth) => (Target::Named(index, name), *auth),
            Self::Owner(auth) => (Hierarchy::Owner.target(), *auth),
            Self::Platform(auth) => (Hierarchy::Platform.target(), *auth),
        }
    }
}

impl Chip {
    /// Defines an index in the owner's space. Commands: 1 NV_DefineSpace.
    ///
    /// # Errors
    /// NV_DEFINED where it exists, NV_SPACE where the chip's NV memory is full, BAD_AUTH or AUTH_FAIL for a wrong value.
    pub fn nv_define(&mut self, owner: &Secret, public: &NvPublic, index_auth: &Secret) -> Result<()> {
        self.nv_define_in(Hierarchy::Owner, Auth::Value(owner), public, index_auth)
    }

    /// Defines an index in the owner's or the platform's space. Commands: 1 NV_DefineSpace.
    ///
    /// # Errors
    /// As [`Self::nv_define`].
    pub fn nv_define_in(
        &mut self,
        hierarchy: Hierarchy,
        auth: Auth<'_>,
        public: &NvPublic,
        index_auth: &Secret,
    ) -> Result<()> {
        let params = Params::new(DEFINE)
            .sized(index_auth.expose(), 64, "the index's authorisation value")
            .sized(&public.encode()?, 128, "the NV public area")
            .finish()?;
        let reply = self.call_raw(DEFINE, &[hierarchy.target()], &[auth], Protect::In, &params)?;
        Answer::new(DEFINE, &reply).end()?;
        self.cache.nv.insert(public.index, public.clone());
        Ok(())
    }

    /// Removes an index from the owner's space. Commands: 1 NV_UndefineSpace, and those of [`Self::nv_read_public`].
    ///
    /// # Errors
    /// HANDLE where it does not exist, BAD_AUTH or AUTH_FAIL for a wrong value.
    pub fn nv_undefine(&mut self, owner: &Secret, index: u32) -> Result<()> {
        self.nv_undefine_in(Hierarchy::Owner, Auth::Value(owner), index)
    }

    /// Removes an index from the owner's or the platform's space. Commands: as [`Self::nv_undefine`].
    ///
    /// # Errors
    /// As [`Self::nv_undefine`].
    pub fn nv_undefine_in(&mut self, hierarchy: Hierarchy, auth: Auth<'_>, index: u32) -> Result<()> {
        let reply = self.with_nv_name(index, |chip, name| {
            let targets = [hierarchy.target(), Target::Named(index, name)];
            chip.call_raw(UNDEFINE, &targets, &[auth], Protect::Integrity, &[])
        })?;
        self.cache.nv.remove(&index);
        Answer::new(UNDEFINE, &reply).end()
    }

    /// The public area of an index. Commands: 2 NV_ReadPublic the first time (one without a session to learn the Name,
    /// one protected to confirm it; 1 where there is no protection), then none.
    ///
    /// # Errors
    /// HANDLE where it does not exist.
    pub fn nv_read_public(&mut self, index: u32) -> Result<NvPublic> {
        if let Some(public) = self.cache.nv.get(&index) {
            return Ok(public.clone());
        }
        let public = self.nv_read_public_as(index, &Name::of_handle(index), Protect::Bare)?;
        if self.salt_key().is_some()
            && self.nv_read_public_as(index, &public.name(), Protect::Integrity)? != public
        {
            return Err(TpmError::Malformed {
                command: READ_PUBLIC,
                part: "the NV public area",
            });
        }
        self.cache.nv.insert(index, public.clone());
        Ok(public)
    }

    /// Confirms that an index is defined as `public` says, written or not, and returns its public area as it stands: the
    /// chip refuses the protected question where the Name is another. Commands: 1 NV_ReadPublic where it was written, 2
    /// where not, none where it is known already.
    ///
    /// # Errors
    /// HANDLE where it does not exist; [`TpmError::Malformed`] where it is defined otherwise.
    pub fn nv_expect(&mut self, public: &NvPublic) -> Result<NvPublic> {
        let otherwise = TpmError::Malformed {
            command: READ_PUBLIC,
            part: "the NV index, which is not defined as expected",
        };
        if self.cache.nv.contains_key(&public.index) || self.salt_key().is_none() {
            let found = self.nv_read_public(public.index)?;
            return if found.written() == public.written() {
                Ok(found)
            } else {
                Err(otherwise)
            };
        }
        for candidate in [public.written(), public.unwritten()] {
            match self.nv_read_public_as(public.index, &candidate.name(), Protect::Integrity) {
                Ok(found) if found == candidate => {
                    self.cache.nv.insert(public.index, found.clone());
                    return Ok(found);
                }
                Err(error) if !name_may_be_stale(&error) => return Err(error),
                _ => {}
            }
        }
        Err(otherwise)
    }

    fn nv_read_public_as(&mut self, index: u32, name: &Name, protect: Protect) -> Result<NvPublic> {
        let reply = self.call_raw(READ_PUBLIC, &[Target::Named(index, name)], &[], protect, &[])?;
        let mut answer = Answer::new(READ_PUBLIC, &reply);
        let public = NvPublic::parse(READ_PUBLIC, answer.sized("the NV public area")?)?;
        let said = answer.sized("the Name of the NV index")?;
        if said != public.name().as_bytes() || public.index != index {
            return Err(answer.malformed("the Name of the NV index"));
        }
        answer.end()?;
        Ok(public)
    }

    /// Runs a command that needs an index's Name; learns it again, once, where another program's first write or a reset
    /// has changed it.
    pub(super) fn with_nv_name<T>(
        &mut self,
        index: u32,
        command: impl Fn(&mut Self, &Name) -> Result<T>,
    ) -> Result<T> {
        let known = self.nv_read_public(index)?.name();
        match command(self, &known) {
            Err(error) if name_may_be_stale(&error) => {
                self.cache.nv.remove(&index);
                let fresh = self.nv_read_public(index)?.name();
                if fresh == known {
                    Err(error)
                } else {
                    command(self, &fresh)
                }
            }
            other => other,
        }
    }

    /// Sends a command whose handles are an authority and the index.
    fn on_nv(
        &mut self,
        code: CommandCode,
        index: u32,
        access: NvAccess<'_>,
        protect: Protect,
        params: &[u8],
    ) -> Result<Reply> {
        self.with_nv_name(index, |chip, name| {
            let (authority, auth) = access.parts(index, name);
            chip.call_raw(
                code,
                &[authority, Target::Named(index, name)],
                &[auth],
                protect,
                params,
            )
        })
    }

    /// Reads a whole index by its own, empty authorisation. Commands: 1 NV_Read per 512 bytes, and those of
    /// [`Self::nv_read_public`].
    ///
    /// # Errors
    /// NV_UNINITIALIZED where it was never written.
    pub fn nv_read(&mut self, index: u32) -> Result<Vec<u8>> {
        self.nv_read_with(index, NvAccess::OPEN)
    }

    /// Reads a whole index. The contents cross the bus encrypted. Commands: as [`Self::nv_read`].
    ///
    /// # Errors
    /// As [`Self::nv_read`], and NV_AUTHORIZATION, BAD_AUTH or AUTH_FAIL.
    pub fn nv_read_with(&mut self, index: u32, access: NvAccess<'_>) -> Result<Vec<u8>> {
        let size = self.nv_read_public(index)?.size;
        let mut contents = Vec::with_capacity(usize::from(size));
        let mut offset = 0;
        while offset < size {
            let piece = NV_CHUNK.min(size - offset);
            contents.extend_from_slice(&self.nv_read_range(index, access, piece, offset)?);
            offset += piece;
        }
        Ok(contents)
    }

    /// Reads `size` bytes from `offset`; at most 512. Commands: 1 NV_Read, and those of [`Self::nv_read_public`].
    ///
    /// # Errors
    /// As [`Self::nv_read_with`], and NV_RANGE.
    pub fn nv_read_range(
        &mut self,
        index: u32,
        access: NvAccess<'_>,
        size: u16,
        offset: u16,
    ) -> Result<Vec<u8>> {
        let params = Params::new(READ).u16(size).u16(offset).finish()?;
        let reply = self.on_nv(READ, index, access, Protect::Out, &params)?;
        let mut answer = Answer::new(READ, &reply);
        let data = answer.sized("the NV data")?;
        if data.len() != usize::from(size) {
            return Err(answer.malformed("the length of the NV data"));
        }
        answer.end()?;
        Ok(data.to_vec())
    }

    /// Writes an ordinary index from its start, by its own authorisation. Commands: 1 NV_Write per 512 bytes, and those
    /// of [`Self::nv_read_public`].
    ///
    /// # Errors
    /// NV_RANGE where it is too long, NV_AUTHORIZATION, BAD_AUTH or AUTH_FAIL.
    pub fn nv_write(&mut self, index: u32, auth: Auth<'_>, data: &[u8]) -> Result<()> {
        self.nv_write_with(index, NvAccess::Index(auth), data)
    }

    /// Writes an ordinary index from its start. The data crosses the bus encrypted. Commands: as [`Self::nv_write`].
    ///
    /// # Errors
    /// As [`Self::nv_write`].
    pub fn nv_write_with(&mut self, index: u32, access: NvAccess<'_>, data: &[u8]) -> Result<()> {
        let mut offset: u16 = 0;
        for piece in data.chunks(usize::from(NV_CHUNK)) {
            let params = Params::new(WRITE)
                .sized(piece, data.len(), "the NV data")
                .u16(offset)
                .finish()?;
            let reply = self.on_nv(WRITE, index, access, Protect::In, &params)?;
            Answer::new(WRITE, &reply).end()?;
            self.note_written(index);
            offset = offset.saturating_add(NV_CHUNK);
        }
        Ok(())
    }

    /// Counts an index up by its own, empty authorisation. The first time makes it readable. Commands: 1 NV_Increment,
    /// and those of [`Self::nv_read_public`].
    ///
    /// # Errors
    /// ATTRIBUTES where it is no counter.
    pub fn nv_increment(&mut self, index: u32) -> Result<()> {
        let reply = self.on_nv(INCREMENT, index, NvAccess::OPEN, Protect::Integrity, &[])?;
        self.note_written(index);
        Answer::new(INCREMENT, &reply).end()
    }

    /// Extends an index with data by its own, empty authorisation: contents = H(contents ‖ data). Commands: 1
    /// NV_Extend, and those of [`Self::nv_read_public`].
    ///
    /// # Errors
    /// ATTRIBUTES where it does not extend.
    pub fn nv_extend(&mut self, index: u32, data: &[u8]) -> Result<()> {
        let params = Params::new(EXTEND)
            .sized(data, 1024, "the data to extend with")
            .finish()?;
        let reply = self.on_nv(EXTEND, index, NvAccess::OPEN, Protect::Integrity, &params)?;
        self.note_written(index);
        Answer::new(EXTEND, &reply).end()
    }

    /// The first write sets WRITTEN and with it the Name: known without asking.
    pub(super) fn note_written(&mut self, index: u32) {
        if let Some(public) = self.cache.nv.get_mut(&index) {
            *public = public.written();
        }
    }

    /// The value of a counter. Commands: 1 NV_Read, and those of [`Self::nv_read_public`].
    ///
    /// # Errors
    /// NV_UNINITIALIZED where it was never incremented.
    pub fn nv_counter(&mut self, index: u32) -> Result<u64> {
        let bytes = self.nv_read_range(index, NvAccess::OPEN, 8, 0)?;
        let value = bytes.try_into().map(u64::from_be_bytes);
        value.map_err(|_| TpmError::Malformed {
            command: READ,
            part: "the counter",
        })
    }

    /// Certifies all of an index by its own, empty authorisation, with a signer whose authorisation value is empty.
    /// Commands: 1 NV_Certify, and those of [`Self::nv_read_public`].
    ///
    /// # Errors
    /// NV_UNINITIALIZED where it was never written; [`TpmError::Malformed`] where the message is about something else.
    pub fn nv_certify(&mut self, signer: &Key, index: u32, qualifying: &[u8]) -> Result<Attestation> {
        let size = self.nv_read_public(index)?.size;
        self.nv_certify_range((signer, Auth::Empty), index, NvAccess::OPEN, qualifying, size, 0)
    }

    /// Certifies `size` bytes of an index from `offset`. Commands: 1 NV_Certify, and those of
    /// [`Self::nv_read_public`].
    ///
    /// # Errors
    /// As [`Self::nv_certify`].
    pub fn nv_certify_range(
        &mut self,
        (signer, signer_auth): (&Key, Auth<'_>),
        index: u32,
        access: NvAccess<'_>,
        qualifying: &[u8],
        size: u16,
        offset: u16,
    ) -> Result<Attestation> {
        let params = Params::new(CERTIFY)
            .sized(qualifying, 66, "the qualifying data")
            .null_scheme()
            .u16(size)
            .u16(offset)
            .finish()?;
        let (reply, name) = self.with_nv_name(index, |chip, name| {
            let (authority, auth) = access.parts(index, name);
            let targets = [signer.target(), authority, Target::Named(index, name)];
            let reply = chip.call_raw(
                CERTIFY,
                &targets,
                &[signer_auth, auth],
                Protect::Integrity,
                &params,
            )?;
            Ok((reply, *name))
        })?;
        certified_nv(CERTIFY, &reply, qualifying, &name, size, offset)
    }

    /// Forgets what is known of an index; for when another program may have redefined it.
    pub fn forget_nv(&mut self, index: u32) {
        self.cache.nv.remove(&index);
    }
}

/// A session's HMAC covers the Names of the handles: a stale one looks like a wrong authorisation.
fn name_may_be_stale(error: &TpmError) -> bool {
    error.is_refusal(ResponseCode::AUTH_FAIL) || error.is_refusal(ResponseCode::BAD_AUTH)
}
