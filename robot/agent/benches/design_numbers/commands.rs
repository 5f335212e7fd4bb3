//! How many TPM commands each operation takes.

use crate::missions::counted_mission_operations;
use crate::support::Life;
use crate::support::counts::counted_operations;

pub fn per_operation() -> Vec<(String, u64)> {
    let mut life = Life::running();
    let mut counts = counted_operations(&mut life);
    drop(life);
    counts.extend(counted_mission_operations(&mut Life::running()));
    counts
}
