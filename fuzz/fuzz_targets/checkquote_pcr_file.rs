//! PCR files of `tpm2_quote -o`: what is accepted is byte for byte what we would write.
#![no_main]

use alcub3_attestation::checkquote::{parse_pcr_file, write_pcr_file};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(pcrs) = parse_pcr_file(data) else { return };
    let written = write_pcr_file(&pcrs);
    assert_eq!(parse_pcr_file(&written).expect("a written file parses"), pcrs);
});
