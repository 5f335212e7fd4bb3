//! A chip, or what sits on its bus, that never gives a final answer: an operation without a deadline ends all the same.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use alcub3_tpm::transport::{Transport, TransportError, TransportKind};
use alcub3_tpm::{Chip, ChipOptions, TpmError};
use std::time::{Duration, Instant};

const STARTUP: [u8; 4] = [0, 0, 0x01, 0x44];
const SUCCESS: u32 = 0;
const INITIALIZE: u32 = 0x100;
const RETRY: u32 = 0x922;
const CANCELED: u32 = 0x909;

/// Answers TPM2_Startup with success and everything else with one code.
struct Endless(u32);

impl Transport for Endless {
    fn transmit(&mut self, command: &[u8], response: &mut Vec<u8>, _: Instant) -> Result<(), TransportError> {
        let code = if command[6..10] == STARTUP {
            SUCCESS
        } else {
            self.0
        };
        *response = [&[0x80, 0x01, 0, 0, 0, 10][..], &code.to_be_bytes()].concat();
        Ok(())
    }

    fn kind(&self) -> TransportKind {
        TransportKind::Swtpm
    }
}

#[test]
fn an_operation_without_a_deadline_ends_with_the_chips_last_word() {
    for code in [INITIALIZE, RETRY, CANCELED] {
        let options = ChipOptions {
            command_timeout: Duration::from_millis(100),
            ..ChipOptions::default()
        };
        let mut chip = Chip::new(Box::new(Endless(code)), options).unwrap();
        let began = Instant::now();
        let error = chip.read_clock().unwrap_err();
        assert!(matches!(error, TpmError::Refused { .. }), "{code:#x}: {error}");
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{code:#x} took {:?}",
            began.elapsed()
        );
    }
}
