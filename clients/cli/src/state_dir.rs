//! Where a robot's and an authority's files are kept.

use crate::error::CliError;
use std::path::PathBuf;

/// The folder for state when none was named: `/var/lib/alcub3` for root, else the user's XDG state folder.
///
/// # Errors
/// [`CliError::NoStateFolder`] for a user without a home.
pub(crate) fn default() -> Result<PathBuf, CliError> {
    named("alcub3")
}

/// The authority's folder when none was named: apart from the robot's, as the two are different parties.
///
/// # Errors
/// As [`default`].
pub(crate) fn authority() -> Result<PathBuf, CliError> {
    named("alcub3-authority")
}

fn named(name: &str) -> Result<PathBuf, CliError> {
    if is_root() {
        return Ok(PathBuf::from("/var/lib").join(name));
    }
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_STATE_HOME")
        .or_else(|| Some(absolute("HOME")?.join(".local/state")))
        .map(|base| base.join(name))
        .ok_or(CliError::NoStateFolder)
}

/// Whether this process runs as the system's administrator.
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
