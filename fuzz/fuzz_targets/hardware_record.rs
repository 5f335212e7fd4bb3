//! A robot's hardware binding record: one encoding, and a comparison that finds a record the same as itself.
#![no_main]

use alcub3_trust_model::hardware::{HardwareRecord, Sameness, compare, shared_identity};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(record) = HardwareRecord::from_canonical(data) {
        assert_eq!(record.to_canonical(), data);
        assert_eq!(compare(&record, &record).sameness, Sameness::Same);
        assert!(shared_identity(&record, &record).is_some());
    }
});
