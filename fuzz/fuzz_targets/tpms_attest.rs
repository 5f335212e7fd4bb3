//! TPMS_ATTEST of every kind, and the PCR selections inside.
#![no_main]

use alcub3_attestation::attest::{Attest, Attested};
use alcub3_attestation::pcr::PcrSelection;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(attest) = Attest::parse(data) else { return };
    if let Attested::Quote(quote) = attest.attested {
        let encoded = quote.selection.encode();
        assert_eq!(
            PcrSelection::parse(&encoded).expect("an encoded selection parses"),
            quote.selection
        );
    }
});
