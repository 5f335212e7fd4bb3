//! What attesting costs against the bare command on the same swtpm.

use crate::row::{Must, Row, in_turn};
use crate::support::{LONG, Life, NOW_MS, steady};
use alcub3_agent::{PlatformLogs, Surroundings};
use alcub3_tpm::transport::Transport;
use alcub3_trust_model::handle_map;
use std::time::Instant;

const ROUNDS: usize = 400;

/// A whole TPM2_Quote as a bare client sends it: the AK's empty password, no session.
fn raw_quote() -> Vec<u8> {
    let mut body = Vec::new();
    body.extend_from_slice(&0x158u32.to_be_bytes());
    body.extend_from_slice(&handle_map::ATTESTATION_KEY.to_be_bytes());
    body.extend_from_slice(&[0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0]);
    body.extend_from_slice(&[0, 32]);
    body.extend_from_slice(&[7; 32]);
    body.extend_from_slice(&[0, 0x10, 0, 0, 0, 1, 0, 0x0b, 3, 0xff, 0x33, 0]);
    let size = u32::try_from(body.len() + 6).unwrap();
    [&[0x80, 0x02][..], &size.to_be_bytes(), &body].concat()
}

pub fn attest_over_raw_quote() -> Vec<Row> {
    let life = Life::running();
    let (mut bare, command) = (life.swtpm.transport(), raw_quote());
    let surroundings = Surroundings::unknown();
    let asked = steady(life.robot());
    let mut response = Vec::new();
    let (attest, raw) = in_turn(
        ROUNDS,
        || {
            life.robot()
                .evidence(&asked, &surroundings, &PlatformLogs::NONE, NOW_MS)
                .unwrap();
        },
        || {
            bare.transmit(&command, &mut response, Instant::now() + LONG)
                .unwrap();
            assert_eq!(response[6..10], [0; 4], "the bare quote failed");
        },
    );
    vec![Row::over(
        "attest_over_raw_quote",
        attest,
        "ms",
        raw,
        Must::AtMost(1.15),
    )]
}
