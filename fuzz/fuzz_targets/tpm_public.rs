//! TPMT_PUBLIC and TPM2B_PUBLIC: what parses keeps its bytes, and every accessor answers.
#![no_main]

use alcub3_crypto::tpm::Public;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(public) = Public::from_tpmt(data) {
        assert_eq!(public.as_tpmt_bytes(), data);
        let again = Public::from_tpm2b(&public.to_tpm2b()).expect("a written TPM2B_PUBLIC parses");
        assert_eq!(again.name().as_bytes(), public.name().as_bytes());
        let _ = public.verifying_key();
        let _ = (
            public.ec_point(),
            public.rsa(),
            public.symmetric(),
            public.signature_scheme(),
            public.hmac_scheme(),
        );
    }
    let _ = Public::from_tpm2b(data);
});
