//! How many TPM commands each operation takes.

use crate::support::{Life, counted_operations};

pub fn per_operation() -> Vec<(String, u64)> {
    let mut life = Life::running();
    counted_operations(&mut life)
}
