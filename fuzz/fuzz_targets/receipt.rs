//! Receipts of stops and purges, and statements of stops: what is accepted has one encoding.
#![no_main]

use alcub3_attestation::receipt::{PurgeReceipt, Receipt, Statement};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(receipt) = Receipt::from_canonical(data) {
        assert_eq!(receipt.to_canonical(), data);
    }
    if let Ok(receipt) = PurgeReceipt::from_canonical(data) {
        assert_eq!(receipt.to_canonical(), data);
    }
    if let Ok(statement) = Statement::from_canonical(data) {
        assert_eq!(statement.to_canonical(), data);
    }
});
