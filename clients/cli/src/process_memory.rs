//! Keeps what passes through this process's memory in it: out of core dumps, out of other programs' sight, out of swap
//! (decision 0005).

use rustix::io::Errno;
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{DumpableBehavior, Resource, getrlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::{CapabilitySet, capabilities};

/// Why memory is not locked against swap.
#[derive(Copy, Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Unlocked {
    /// The limit on locked memory is below what a process may come to need.
    #[error(
        "secrets in memory may be swapped to disk: this process may lock {limit_bytes} bytes only; \
         raise the limit (`ulimit -l unlimited`, LimitMEMLOCK=infinity), grant CAP_IPC_LOCK, or switch swap off"
    )]
    Limit {
        /// RLIMIT_MEMLOCK, in bytes.
        limit_bytes: u64,
    },
    /// The system refused.
    #[error("secrets in memory may be swapped to disk: the system locks no memory ({0}); switch swap off")]
    System(#[from] Errno),
}

/// Forbids core dumps of this process and looks into it, for every command: persons' keys may pass through any.
///
/// # Errors
/// What the system says.
pub(crate) fn hide() -> Result<(), Errno> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
}

/// Locks all memory that this process has and will have, page by page as it comes into use.
///
/// # Errors
/// [`Unlocked`]; nothing is locked then.
pub(crate) fn lock() -> Result<(), Unlocked> {
    let effective = capabilities(None).map(|sets| sets.effective);
    let exempt = effective.is_ok_and(|set| set.contains(CapabilitySet::IPC_LOCK));
    permitted(exempt, raised_limit())?;
    // Only what is used is held in memory, not what is merely reserved.
    Ok(mlockall(
        MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT,
    )?)
}

/// Under a limit, every later thread or allocation could fail for want of lockable memory, in the middle of a stop even.
fn permitted(exempt: bool, limit_bytes: Option<u64>) -> Result<(), Unlocked> {
    match limit_bytes {
        Some(limit_bytes) if !exempt => Err(Unlocked::Limit { limit_bytes }),
        _ => Ok(()),
    }
}

/// The limit on locked memory in bytes, as high as this process may raise it by itself; none where there is none.
fn raised_limit() -> Option<u64> {
    let mut limit = getrlimit(Resource::Memlock);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if setrlimit(Resource::Memlock, limit).is_err() {
            return getrlimit(Resource::Memlock).current;
        }
    }
    limit.current
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::dumpable_behavior;

    fn locked_kb() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmLck:"));
        let kb = line.unwrap().trim().trim_end_matches("kB").trim();
        kb.parse().unwrap()
    }

    #[test]
    fn a_hidden_process_leaves_no_core_dump() {
        hide().unwrap();
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }

    #[test]
    fn a_limit_is_no_ground_to_lock_on_and_is_named() {
        assert_eq!(
            permitted(false, Some(65_536)),
            Err(Unlocked::Limit { limit_bytes: 65_536 })
        );
        for (exempt, limit) in [(true, Some(65_536)), (true, None), (false, None)] {
            assert_eq!(permitted(exempt, limit), Ok(()));
        }
    }

    #[test]
    fn what_is_used_after_the_lock_is_locked_too() {
        if let Err(reason) = lock() {
            println!("skipped: {reason}");
            assert_eq!(locked_kb(), 0, "what is refused locks nothing");
            return;
        }
        let before = locked_kb();
        let used = vec![1_u8; 8 << 20];
        assert!(locked_kb() >= before + (8 << 10), "{} bytes used", used.len());
    }
}
