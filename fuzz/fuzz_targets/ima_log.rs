//! IMA measurement lists in both forms: what is accepted has well-formed entries, and can be replayed and described.
#![no_main]

use alcub3_attestation::ima::{ImaLog, ImaReplay, ImaReport, TemplateHashing};
use alcub3_crypto::HashAlg;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(log) = ImaLog::parse(data) else { return };
    for entry in log.entries() {
        assert_eq!(entry.fields().count(), entry.template.fields().len());
        assert!(entry.file_digest().is_some(), "an entry without a digest");
    }
    for pcr in 0..24 {
        let mut replay = ImaReplay::new(HashAlg::Sha256, TemplateHashing::OfBank);
        log.entries_of(pcr).for_each(|entry| replay.extend(&entry));
        assert!(log.explains(pcr, replay.value()).is_some());
    }
    assert_eq!(ImaReport::of(&log).entries, log.len());
});
