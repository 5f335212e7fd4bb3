//! What the kernel's TPM resource manager swaps around a command, counted from the commands themselves.

use super::HEADER;
use super::timed::{known_code, u16_at, u32_at};
use crate::command::CommandCode;
use tpm2_protocol::data::TpmCc;

/// The objects and sessions that one descriptor of `/dev/tpmrm0` holds.
///
/// Before each command the kernel loads the contexts of all of them, and saves them after
/// (`drivers/char/tpm/tpm2-space.c`), so a command costs one load and one save for each.
#[derive(Default, Debug)]
pub(super) struct Swaps {
    held: Vec<u32>,
}

impl Swaps {
    /// Notes what an exchange made and ended; how many contexts were swapped around it.
    pub(super) fn exchange(&mut self, command: &[u8], response: &[u8]) -> u32 {
        let swapped = u32::try_from(self.held.len()).unwrap_or(u32::MAX);
        if u32_at(response, 6) == Some(0) {
            self.update(command, response);
        }
        swapped
    }

    fn update(&mut self, command: &[u8], response: &[u8]) {
        let ended = ended_sessions(command);
        self.held.retain(|handle| !ended.contains(handle));
        match known_code(command) {
            Some(
                TpmCc::CreatePrimary
                | TpmCc::CreateLoaded
                | TpmCc::Load
                | TpmCc::LoadExternal
                | TpmCc::ContextLoad
                | TpmCc::StartAuthSession
                | TpmCc::HmacStart
                | TpmCc::HashSequenceStart,
            ) => self.held.extend(u32_at(response, HEADER)),
            Some(TpmCc::FlushContext) => {
                let flushed = u32_at(command, HEADER);
                self.held.retain(|handle| Some(*handle) != flushed);
            }
            // A saved session is not loaded any more; a saved object is.
            Some(TpmCc::ContextSave) => {
                let saved = u32_at(command, HEADER).filter(|handle| is_session(*handle));
                self.held.retain(|handle| Some(*handle) != saved);
            }
            _ => {}
        }
    }
}

const fn is_session(handle: u32) -> bool {
    matches!(handle >> 24, 0x02 | 0x03)
}

/// Sessions that a command names without `continueSession`: the TPM flushes them when it succeeds.
fn ended_sessions(command: &[u8]) -> Vec<u32> {
    const CONTINUE: u8 = 1;
    let with_sessions = u16_at(command, 0) == Some(0x8002);
    let code = CommandCode(u32_at(command, 6).unwrap_or(0));
    let mut at = HEADER + 4 * code.shape().handles.len();
    let mut ended = Vec::new();
    let size = u32_at(command, at).filter(|_| with_sessions).unwrap_or(0);
    at += 4;
    let end = at
        .saturating_add(usize::try_from(size).unwrap_or(usize::MAX))
        .min(command.len());
    while at < end {
        let Some((handle, attributes, next)) = session_at(command, at) else {
            break;
        };
        if attributes & CONTINUE == 0 && is_session(handle) {
            ended.push(handle);
        }
        at = next;
    }
    ended
}

/// A TPMS_AUTH_COMMAND: its handle, its attributes, and where the next one begins.
fn session_at(command: &[u8], at: usize) -> Option<(u32, u8, usize)> {
    let handle = u32_at(command, at)?;
    let nonce = usize::from(u16_at(command, at + 4)?);
    let attributes_at = at + 6 + nonce;
    let attributes = *command.get(attributes_at)?;
    let hmac = usize::from(u16_at(command, attributes_at + 1)?);
    Some((handle, attributes, attributes_at + 3 + hmac))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(tag: u16, code: u32, rest: &[u8]) -> Vec<u8> {
        let size = u32::try_from(HEADER + rest.len()).unwrap();
        [
            tag.to_be_bytes().as_slice(),
            &size.to_be_bytes(),
            &code.to_be_bytes(),
            rest,
        ]
        .concat()
    }

    fn made(handle: u32) -> Vec<u8> {
        message(0x8001, 0, &handle.to_be_bytes())
    }

    #[test]
    fn what_is_held_is_swapped_around_every_command() {
        let mut swaps = Swaps::default();
        let plain = message(0x8001, TpmCc::ReadClock as u32, &[]);
        let ok = message(0x8001, 0, &[]);
        assert_eq!(
            swaps.exchange(
                &message(0x8001, TpmCc::StartAuthSession as u32, &[]),
                &made(0x0200_0000)
            ),
            0
        );
        assert_eq!(
            swaps.exchange(&message(0x8002, TpmCc::Load as u32, &[]), &made(0x8000_0000)),
            1
        );
        assert_eq!(swaps.exchange(&plain, &ok), 2);
        let refused = message(0x8001, 0x922, &[]);
        assert_eq!(
            swaps.exchange(&message(0x8002, TpmCc::Load as u32, &[]), &refused),
            2
        );
        assert_eq!(swaps.exchange(&plain, &ok), 2);
        let flush = message(0x8001, TpmCc::FlushContext as u32, &0x8000_0000_u32.to_be_bytes());
        assert_eq!(swaps.exchange(&flush, &ok), 2);
        assert_eq!(swaps.exchange(&plain, &ok), 1);
    }

    #[test]
    fn a_session_without_continue_is_gone_after_its_command() {
        for (attributes, left) in [(0u8, 0), (1, 1)] {
            let mut swaps = Swaps {
                held: vec![0x0200_0000],
            };
            let mut rest = 0x8000_0000_u32.to_be_bytes().to_vec();
            rest.extend([0, 0, 0, 11, 2, 0, 0, 0, 0, 2, 0xaa, 0xbb, attributes, 0, 0]);
            swaps.exchange(
                &message(0x8002, TpmCc::Sign as u32, &rest),
                &message(0x8002, 0, &[]),
            );
            assert_eq!(swaps.held.len(), left);
        }
    }

    #[test]
    fn an_authorisation_area_that_lies_about_its_size_ends_the_walk() {
        let mut rest = 0x8000_0000_u32.to_be_bytes().to_vec();
        rest.extend([0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0xff, 0xff]);
        assert!(ended_sessions(&message(0x8002, TpmCc::Sign as u32, &rest)).is_empty());
    }
}
