//! What the chip signs about itself (TPM 2.0 Part 3, 18). Signers have an empty authorisation value unless said.

use super::keys::{Hierarchy, Key};
use super::objects::Creation;
use super::pcr::PcrSelect;
use super::wire::{Answer, Params};
use crate::chip::Reply;
use crate::{Auth, Chip, CommandCode, Protect, Result, TpmError};
use alcub3_crypto::tpm::{Name, Signature};
use tpm2_protocol::TpmUnmarshal;
use tpm2_protocol::data::{TpmCc, TpmsAttest, TpmsPcrSelection, TpmuAttest};

const QUOTE: CommandCode = CommandCode::of(TpmCc::Quote);
const CERTIFY: CommandCode = CommandCode::of(TpmCc::Certify);
const CERTIFY_CREATION: CommandCode = CommandCode::of(TpmCc::CertifyCreation);
const GET_TIME: CommandCode = CommandCode::of(TpmCc::GetTime);
/// TPM2B_DATA holds a TPMT_HA: 2 + 64 bytes (Part 2, 10.4.3); chips without SHA-512 take less.
const MAX_QUALIFYING: usize = 66;

/// A message of the chip and its signature. Its form was checked, its signature was not: that is the verifier's part.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attestation {
    /// TPMS_ATTEST.
    pub message: Vec<u8>,
    /// TPMT_SIGNATURE.
    pub signature: Vec<u8>,
}

impl Chip {
    /// Quotes PCRs. Commands: 1 Quote.
    ///
    /// # Errors
    /// [`TpmError::Unsupported`] where a selected bank is not allocated; [`TpmError::Malformed`] where the message does
    /// not answer what was asked.
    pub fn quote(&mut self, signer: &Key, qualifying: &[u8], select: PcrSelect<'_>) -> Result<Attestation> {
        let params = Params::new(QUOTE)
            .sized(qualifying, MAX_QUALIFYING, "the qualifying data")
            .null_scheme()
            .pcr_selection(select)
            .finish()?;
        let reply = self.call_raw(
            QUOTE,
            &[signer.target()],
            &[Auth::Empty],
            Protect::Integrity,
            &params,
        )?;
        let mut quoted = Vec::new();
        let attestation = accept(QUOTE, &reply, qualifying, |attested| match attested {
            TpmuAttest::Quote(info) => {
                quoted = info.pcr_select.iter().map(selected).collect();
                true
            }
            _ => false,
        })?;
        let asked: Vec<(u16, u32)> = select.iter().map(|(bank, mask)| (bank.tpm_id(), *mask)).collect();
        if quoted == asked {
            return Ok(attestation);
        }
        // The chip leaves out what it has not allocated; anything it adds or moves is not an answer.
        let fewer = quoted
            .iter()
            .all(|(bank, mask)| asked.iter().any(|(b, m)| b == bank && mask & !m == 0));
        if fewer {
            Err(TpmError::Unsupported {
                what: "an allocated PCR bank for a PCR to be quoted",
            })
        } else {
            Err(TpmError::Malformed {
                command: QUOTE,
                part: "the PCR selection",
            })
        }
    }

    /// Certifies that an object is in this chip. `object_auth` is for the ADMIN role. Commands: 1 Certify.
    ///
    /// # Errors
    /// [`TpmError::Malformed`] where the message is about another object.
    pub fn certify(
        &mut self,
        object: &Key,
        object_auth: Auth<'_>,
        signer: &Key,
        qualifying: &[u8],
    ) -> Result<Attestation> {
        let params = Params::new(CERTIFY)
            .sized(qualifying, MAX_QUALIFYING, "the qualifying data")
            .null_scheme()
            .finish()?;
        let targets = [object.target(), signer.target()];
        let reply = self.call_raw(
            CERTIFY,
            &targets,
            &[object_auth, Auth::Empty],
            Protect::Integrity,
            &params,
        )?;
        accept(
            CERTIFY,
            &reply,
            qualifying,
            |attested| matches!(attested, TpmuAttest::Certify(info) if &info.name[..] == object.name().as_bytes()),
        )
    }

    /// Certifies that this chip created an object and how. Commands: 1 CertifyCreation.
    ///
    /// # Errors
    /// TICKET where it did not; [`TpmError::Malformed`] where the message is about another object.
    pub fn certify_creation(
        &mut self,
        signer: &Key,
        object: &Key,
        qualifying: &[u8],
        creation: &Creation,
    ) -> Result<Attestation> {
        let params = Params::new(CERTIFY_CREATION)
            .sized(qualifying, MAX_QUALIFYING, "the qualifying data")
            .sized(creation.hash.as_bytes(), 64, "the creation hash")
            .null_scheme()
            .raw(&creation.ticket, "the creation ticket")
            .finish()?;
        let targets = [signer.target(), object.target()];
        let reply = self.call_raw(
            CERTIFY_CREATION,
            &targets,
            &[Auth::Empty],
            Protect::Integrity,
            &params,
        )?;
        accept(CERTIFY_CREATION, &reply, qualifying, |attested| {
            matches!(attested, TpmuAttest::Creation(info)
                if &info.object_name[..] == object.name().as_bytes() && &info.creation_hash[..] == creation.hash.as_bytes())
        })
    }

    /// Certifies the chip's time and clock. `endorsement` is the endorsement hierarchy's authorisation. Commands: 1
    /// GetTime.
    ///
    /// # Errors
    /// BAD_AUTH or AUTH_FAIL for a wrong value.
    pub fn get_time(
        &mut self,
        endorsement: Auth<'_>,
        signer: &Key,
        qualifying: &[u8],
    ) -> Result<Attestation> {
        let params = Params::new(GET_TIME)
            .sized(qualifying, MAX_QUALIFYING, "the qualifying data")
            .null_scheme()
            .finish()?;
        let targets = [Hierarchy::Endorsement.target(), signer.target()];
        let reply = self.call_raw(
            GET_TIME,
            &targets,
            &[endorsement, Auth::Empty],
            Protect::Integrity,
            &params,
        )?;
        accept(GET_TIME, &reply, qualifying, |attested| {
            matches!(attested, TpmuAttest::Time(_))
        })
    }
}

fn selected(entry: &TpmsPcrSelection) -> (u16, u32) {
    let mask = entry
        .pcr_select
        .iter()
        .rev()
        .fold(0, |mask: u32, byte| (mask << 8) | u32::from(*byte));
    (entry.hash as u16, mask)
}

/// Takes message and signature of a response if the message is of this chip's making (magic), says what was asked and
/// carries the qualifying data.
pub(super) fn accept(
    command: CommandCode,
    reply: &Reply,
    qualifying: &[u8],
    mut says: impl FnMut(&TpmuAttest) -> bool,
) -> Result<Attestation> {
    let mut answer = Answer::new(command, reply);
    let message = answer.sized("the attestation message")?;
    let parsed = TpmsAttest::unmarshal(message)
        .ok()
        .filter(|(_, rest)| rest.is_empty());
    let (parsed, _) = parsed.ok_or(answer.malformed("the attestation message"))?;
    if &parsed.extra_data[..] != qualifying {
        return Err(answer.malformed("the qualifying data in the attestation message"));
    }
    if !says(&parsed.attested) {
        return Err(answer.malformed("the subject of the attestation message"));
    }
    let signature = answer.remaining();
    Signature::from_tpmt_signature(signature).map_err(|_| answer.malformed("the signature"))?;
    Ok(Attestation {
        message: message.to_vec(),
        signature: signature.to_vec(),
    })
}

/// An NV_Certify answer about `size` bytes from `offset` of the index called `name`.
pub(super) fn certified_nv(
    command: CommandCode,
    reply: &Reply,
    qualifying: &[u8],
    name: &Name,
    size: u16,
    offset: u16,
) -> Result<Attestation> {
    accept(command, reply, qualifying, |attested| {
        matches!(attested, TpmuAttest::Nv(info)
            if &info.index_name[..] == name.as_bytes()
                && info.offset.value() == offset
                && info.nv_contents.len() == usize::from(size))
    })
}
