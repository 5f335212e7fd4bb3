//! The responses inside an input, see [`operations`](crate::operations).

use crate::operations::{PLAIN, WITH_SESSIONS};

const HEADER: usize = 10;
const TAG_PLAIN: [u8; 2] = [0x80, 0x01];
const TAG_SESSIONS: [u8; 2] = [0x80, 0x02];

/// The next response of an input; none at its end.
pub fn next_response(input: &mut &[u8]) -> Option<Vec<u8>> {
    let (form, rest) = input.split_first()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
    let (body, rest) = rest.split_at(length);
    *input = rest;
    let tag = match *form {
        PLAIN => TAG_PLAIN,
        WITH_SESSIONS => TAG_SESSIONS,
        _ => return Some(body.to_vec()),
    };
    let size = u32::try_from(HEADER + body.len()).ok()?.to_be_bytes();
    Some([&tag[..], &size, &[0; 4], body].concat())
}
