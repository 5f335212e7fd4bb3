//! Responses of a TPM: whatever bytes answer an operation, it ends, without a panic and without a hang.
#![no_main]

use std::time::{Duration, Instant};

use alcub3_fuzz::operations::OPERATIONS;
use alcub3_fuzz::responses::next_response;
use alcub3_tpm::transport::{Transport, TransportError, TransportKind};
use alcub3_tpm::{Chip, ChipOptions};
use libfuzzer_sys::fuzz_target;

/// Answers every command with the next response of the input, and is gone after the last.
struct Scripted {
    rest: Vec<u8>,
    at: usize,
}

impl Transport for Scripted {
    fn transmit(&mut self, _: &[u8], response: &mut Vec<u8>, _: Instant) -> Result<(), TransportError> {
        response.clear();
        let all = self.rest.get(self.at..).unwrap_or_default();
        let mut left = all;
        let answer = next_response(&mut left).ok_or(TransportError::Disconnected)?;
        self.at += all.len() - left.len();
        response.extend_from_slice(&without_delay(answer));
        Ok(())
    }

    fn kind(&self) -> TransportKind {
        TransportKind::Swtpm
    }
}

/// Codes that ask to try again only cost time here.
fn without_delay(mut response: Vec<u8>) -> Vec<u8> {
    if let Some(code @ [0, 0, 0x09, 0x08 | 0x0a | 0x20 | 0x22]) = response.get_mut(6..10) {
        code.copy_from_slice(&[0, 0, 0x01, 0x01]);
    }
    response
}

fuzz_target!(|data: &[u8]| {
    let Some((number, rest)) = data.split_first() else {
        return;
    };
    let Some((_, operation)) = OPERATIONS.get(usize::from(*number)) else {
        return;
    };
    let transport = Scripted {
        rest: rest.to_vec(),
        at: 0,
    };
    let options = ChipOptions {
        command_timeout: Duration::from_millis(50),
        ..ChipOptions::default()
    };
    let Ok(mut chip) = Chip::new(Box::new(transport), options) else {
        return;
    };
    operation(&mut chip);
});
