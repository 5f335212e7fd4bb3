//! Requests for certificates (PKCS#10 among them), certificates, and the words about them. What the authority signs is
//! tried with a right signature around it.
#![no_main]

use alcub3_fleet_protocol::certificate::{
    CertificateChanged, CertificateRequest, CertificateUse, VerifiedCsr, VerifiedGrant, summarize,
};
use alcub3_fuzz::{WORLD, signed};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = VerifiedCsr::verify(data, &WORLD.robot);
    let _ = summarize(data);
    let (bytes, key) = (signed(data), WORLD.authority.verifying_key());
    if let Ok(request) = CertificateRequest::from_canonical(data) {
        assert_eq!(request.to_canonical(), data);
        let _ = VerifiedCsr::verify(&request.csr, &request.robot);
        let _ = VerifiedGrant::verify(&bytes, &key, &request);
    }
    if let Ok(used) = CertificateUse::from_canonical(data) {
        assert_eq!(used.to_canonical(), data);
        let _ = used.verify(data);
        let _ = CertificateChanged::verify(&bytes, &key, &used);
    }
});
