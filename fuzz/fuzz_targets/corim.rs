//! CoRIMs: what is read of one is written again and reads the same, and none is taken for signed.
#![no_main]

use alcub3_attestation::corim::{Naming, Reading, inexpressible, read, write};
use alcub3_fuzz::WORLD;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let key = WORLD.authority.verifying_key();
    let signed = Reading {
        signer: Some(&key),
        bank: None,
        now_s: 0,
    };
    assert!(
        read(data, &signed).is_err(),
        "a document verified that the key never signed"
    );
    let unsigned = Reading {
        signer: None,
        ..signed
    };
    let Ok(corim) = read(data, &unsigned) else { return };
    assert!(
        inexpressible(&corim.references).is_empty(),
        "what a CoRIM said, a CoRIM cannot say"
    );
    let naming = Naming {
        id: &corim.id,
        vendor: "v",
        model: "m",
    };
    let written = write(&corim.references, &naming, false).expect("what was read is written");
    let again = read(&written, &unsigned).expect("what is written is read");
    assert_eq!(again.references, corim.references);
});
