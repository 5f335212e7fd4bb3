//! Commands and responses as bytes (TPM 2.0 Part 1, 18): laid out, taken apart, nothing sent.

use super::Target;
use crate::command::CommandCode;
use crate::error::ResponseCode;
use crate::session::{SessionSecrets, SessionUse, attribute};
use crate::{PolicySession, Result, TpmError};
use alcub3_crypto::Digest;
use alcub3_crypto::tpm::Name;
use tpm2_protocol::constant::TPM_MAX_COMMAND_SIZE;
use zeroize::Zeroizing;

const TAG_NO_SESSIONS: u16 = 0x8001;
const TAG_SESSIONS: u16 = 0x8002;
const RS_PASSWORD: u32 = 0x4000_0009;
const HEADER_LEN: usize = 10;

/// One entry of the authorisation area.
#[expect(
    clippy::large_enum_variant,
    reason = "at most three, for the length of one command"
)]
pub(super) enum Attached<'a> {
    /// TPM_RS_PW with an empty value.
    EmptyPassword,
    /// A session of this process, with its use in this command. `answer_value` keys the response: it differs from
    /// the command's where the command changes the value (Part 3, 24.6 and 24.8).
    Hmac {
        handle: u32,
        secrets: SessionSecrets,
        usage: SessionUse<'a>,
        answer_value: &'a [u8],
        keeps: Keeps<'a>,
    },
}

/// Where the new nonceTPM of a session goes.
#[derive(Copy, Clone)]
pub(super) enum Keeps<'a> {
    Kept,
    Emergency,
    /// Ended by this command.
    Once,
    Policy(&'a PolicySession),
}

/// The Names of a command's handles; a session's is its handle (Part 1, 16).
pub(super) fn names_of<'a>(targets: &[Target<'a>], handles: &[u32]) -> Vec<std::borrow::Cow<'a, Name>> {
    use std::borrow::Cow;
    let name = |(target, handle): (&Target<'a>, &u32)| match target {
        Target::Handle(_) | Target::Session(_) => Cow::Owned(Name::of_handle(*handle)),
        Target::Named(_, name) => Cow::Borrowed(*name),
        Target::Object(object) => Cow::Borrowed(object.name()),
    };
    targets.iter().zip(handles).map(name).collect()
}

pub(super) fn encrypt_first_parameter(
    code: CommandCode,
    sessions: &[Attached<'_>],
    parameters: &mut [u8],
) -> Result<()> {
    for session in sessions {
        if let Attached::Hmac { secrets, usage, .. } = session
            && usage.attributes & attribute::DECRYPT != 0
        {
            return secrets.encrypt_parameter(usage, first_parameter(code, parameters)?);
        }
    }
    Ok(())
}

/// The contents of the TPM2B that the first parameter is.
pub(super) fn first_parameter(code: CommandCode, parameters: &mut [u8]) -> Result<&mut [u8]> {
    let malformed = TpmError::Malformed {
        command: code,
        part: "the first parameter",
    };
    let Some((size, rest)) = parameters.split_first_chunk_mut::<2>() else {
        return Err(malformed);
    };
    rest.get_mut(..usize::from(u16::from_be_bytes(*size)))
        .ok_or(malformed)
}

/// Lays out the whole command (TPM 2.0 Part 1, 18), HMACs included.
pub(super) fn encode(
    code: CommandCode,
    handles: &[u32],
    names: &[std::borrow::Cow<'_, Name>],
    sessions: &mut [Attached<'_>],
    parameters: &[u8],
) -> Result<Zeroizing<Vec<u8>>> {
    let mut out = Zeroizing::new(Vec::with_capacity(HEADER_LEN + 12 + 160 + parameters.len()));
    let tag = if sessions.is_empty() {
        TAG_NO_SESSIONS
    } else {
        TAG_SESSIONS
    };
    out.extend_from_slice(&tag.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&code.0.to_be_bytes());
    for handle in handles {
        out.extend_from_slice(&handle.to_be_bytes());
    }
    if !sessions.is_empty() {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        for index in 0..sessions.len() {
            encode_session(code, names, sessions, index, parameters, &mut out);
        }
        let size = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
        patch(&mut out, start, size);
    }
    out.extend_from_slice(parameters);
    if out.len() > TPM_MAX_COMMAND_SIZE {
        return Err(TpmError::Encode {
            command: code,
            what: "the whole command",
        });
    }
    let size = u32::try_from(out.len()).unwrap_or(u32::MAX);
    patch(&mut out, 2, size);
    Ok(out)
}

pub(super) fn patch(out: &mut [u8], at: usize, value: u32) {
    if let Some(slot) = out.get_mut(at..at + 4) {
        slot.copy_from_slice(&value.to_be_bytes());
    }
}

pub(super) fn encode_session(
    code: CommandCode,
    names: &[std::borrow::Cow<'_, Name>],
    sessions: &[Attached<'_>],
    index: usize,
    parameters: &[u8],
    out: &mut Vec<u8>,
) {
    match sessions.get(index) {
        Some(Attached::Hmac {
            handle,
            secrets,
            usage,
            ..
        }) => {
            out.extend_from_slice(&handle.to_be_bytes());
            push_sized(out, usage.nonce_caller.as_slice());
            out.push(usage.attributes);
            if secrets.key.is_empty() && usage.auth_value.is_empty() {
                push_sized(out, &[]);
                return;
            }
            let cp_hash = cp_hash(code, secrets, names, parameters);
            let others = if index == 0 {
                nonces_of_cipher_sessions(sessions)
            } else {
                Vec::new()
            };
            push_sized(out, secrets.command_hmac(&cp_hash, usage, &others).as_bytes());
        }
        _ => {
            out.extend_from_slice(&RS_PASSWORD.to_be_bytes());
            push_sized(out, &[]);
            out.push(attribute::CONTINUE);
            push_sized(out, &[]);
        }
    }
}

/// nonceTPM of the decrypting and the encrypting session, where they are not the first (Part 1, 17.6.5).
pub(super) fn nonces_of_cipher_sessions<'a>(sessions: &'a [Attached<'_>]) -> Vec<&'a [u8]> {
    let with = |bit: u8| {
        sessions.iter().skip(1).find_map(move |s| match s {
            Attached::Hmac { secrets, usage, .. } if usage.attributes & bit != 0 => {
                Some(secrets.nonce_tpm.as_slice())
            }
            _ => None,
        })
    };
    match (with(attribute::DECRYPT), with(attribute::ENCRYPT)) {
        // One session doing both is included once.
        (Some(decrypt), Some(encrypt)) if std::ptr::eq(decrypt, encrypt) => vec![decrypt],
        (decrypt, encrypt) => decrypt.into_iter().chain(encrypt).collect(),
    }
}

pub(super) fn cp_hash(
    code: CommandCode,
    secrets: &SessionSecrets,
    names: &[std::borrow::Cow<'_, Name>],
    parameters: &[u8],
) -> Digest {
    let mut hasher = secrets.hash.hasher();
    hasher.update(&code.0.to_be_bytes());
    for name in names {
        hasher.update(name.as_bytes());
    }
    hasher.update(parameters);
    hasher.finish()
}

pub(super) fn push_sized(out: &mut Vec<u8>, data: &[u8]) {
    out.extend_from_slice(&u16::try_from(data.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(data);
}

pub(super) fn returns_handle(code: CommandCode) -> bool {
    // CreatePrimary, Load, LoadExternal, ContextLoad, StartAuthSession, HMAC_Start, HashSequenceStart, CreateLoaded.
    matches!(
        code.0,
        0x131 | 0x157 | 0x167 | 0x161 | 0x176 | 0x15b | 0x186 | 0x191
    )
}

/// Reads and checks a response's header; its tag must fit its code (TPM 2.0 Part 1, 18.10).
pub(super) fn response_code(code: CommandCode, response: &[u8]) -> Result<ResponseCode> {
    let malformed = TpmError::Malformed {
        command: code,
        part: "the header",
    };
    let Some((header, _)) = response.split_first_chunk::<HEADER_LEN>() else {
        return Err(malformed);
    };
    let [t0, t1, s0, s1, s2, s3, c0, c1, c2, c3] = *header;
    let tag = u16::from_be_bytes([t0, t1]);
    let size = usize::try_from(u32::from_be_bytes([s0, s1, s2, s3])).unwrap_or(usize::MAX);
    let rc = ResponseCode(u32::from_be_bytes([c0, c1, c2, c3]));
    let whole = size == response.len();
    let fits = rc == ResponseCode::SUCCESS || (tag == TAG_NO_SESSIONS && size == HEADER_LEN);
    if whole && fits && matches!(tag, TAG_NO_SESSIONS | TAG_SESSIONS) {
        Ok(rc)
    } else {
        Err(malformed)
    }
}

/// The areas of a successful response.
pub(super) struct ResponseParts<'a> {
    pub(super) handle: Option<u32>,
    pub(super) parameters: &'a [u8],
    pub(super) sessions: &'a [u8],
}

impl<'a> ResponseParts<'a> {
    pub(super) fn split(
        code: CommandCode,
        returns_handle: bool,
        with_sessions: bool,
        response: &'a [u8],
    ) -> Result<Self> {
        let malformed = |part| TpmError::Malformed { command: code, part };
        let tag = response.first_chunk::<2>().map(|t| u16::from_be_bytes(*t));
        let expected = if with_sessions {
            TAG_SESSIONS
        } else {
            TAG_NO_SESSIONS
        };
        if tag != Some(expected) {
            return Err(malformed("the tag"));
        }
        let mut rest = response.get(HEADER_LEN..).unwrap_or_default();
        let mut take_u32 = |part| {
            let (value, tail) = rest.split_first_chunk::<4>().ok_or(malformed(part))?;
            rest = tail;
            Ok::<_, TpmError>(u32::from_be_bytes(*value))
        };
        let handle = if returns_handle {
            Some(take_u32("the response handle")?)
        } else {
            None
        };
        if !with_sessions {
            return Ok(Self {
                handle,
                parameters: rest,
                sessions: &[],
            });
        }
        let size = usize::try_from(take_u32("the parameter size")?).unwrap_or(usize::MAX);
        let (parameters, sessions) = rest
            .split_at_checked(size)
            .ok_or(malformed("the parameter area"))?;
        Ok(Self {
            handle,
            parameters,
            sessions,
        })
    }
}
