//! Evidence, and reference values as text: what is accepted has one encoding, and says the same in both forms.
#![no_main]

use alcub3_attestation::appraisal::ReferenceValues;
use alcub3_attestation::evidence::Evidence;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(evidence) = Evidence::from_canonical(data) {
        assert_eq!(evidence.to_canonical(), data);
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(references) = ReferenceValues::from_text(text) {
        let again = ReferenceValues::from_json(&references.to_json()).expect("written references parse");
        assert_eq!(again, references);
        let again = ReferenceValues::from_toml(&references.to_toml()).expect("written references parse");
        assert_eq!(again, references);
    }
});
