//! What a robot that lost its disk and its authority say to each other.
#![no_main]

use alcub3_attestation::certify::Signed;
use alcub3_crypto::tpm::PublicTemplate;
use alcub3_crypto::{HashAlg, Secret};
use alcub3_fleet_protocol::restore::{RestoreGrant, RestoreRequest};
use alcub3_fuzz::{WORLD, signed};
use alcub3_trust_model::SessionId;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(request) = RestoreRequest::from_canonical(data) {
        assert_eq!(request.to_canonical(), data);
    }
    let key = WORLD.authority.verifying_key();
    let Ok(storage_root) = PublicTemplate::external(&key, HashAlg::Sha256).to_public() else {
        return;
    };
    let asked = RestoreRequest {
        session: SessionId::new([6; 16]),
        robot: WORLD.robot.clone(),
        storage_root,
        certification: Signed {
            message: Vec::new(),
            signature: Vec::new(),
        },
    };
    if let Ok(grant) = RestoreGrant::verify(&signed(data), &key, &asked) {
        let _ = grant.contents(&key);
        let _ = grant.authorisations(&Secret::from_slice(&[7; 32]));
    }
});
