//! The two things the standard library cannot ask of the operating system: waiting on any descriptor, and
//! handing a child descriptors other than its first three. The only unsafe code of the transports.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Instant;

/// What to wait for.
#[derive(Copy, Clone, Debug)]
pub(super) enum Readiness {
    /// Bytes can be read, or the other end is gone.
    Read,
    /// Bytes can be written, or the other end is gone.
    Write,
}

/// Waits until the descriptor is ready (true) or the deadline has passed (false).
pub(super) fn wait(fd: BorrowedFd<'_>, readiness: Readiness, deadline: Instant) -> io::Result<bool> {
    let events = match readiness {
        Readiness::Read => libc::POLLIN,
        Readiness::Write => libc::POLLOUT,
    };
    loop {
        let mut entry = libc::pollfd {
            fd: fd.as_raw_fd(),
            events,
            revents: 0,
        };
        // SAFETY: `entry` is one valid, exclusively borrowed pollfd and the count is 1; `fd` is borrowed, so it
        // stays open for the call.
        let ready = unsafe { libc::poll(&raw mut entry, 1, milliseconds_until(deadline)) };
        if ready > 0 {
            return Ok(true);
        }
        if ready < 0 {
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
    }
}

/// Rounded up, so that a wait never turns into a spin.
fn milliseconds_until(deadline: Instant) -> libc::c_int {
    let left = deadline.saturating_duration_since(Instant::now());
    libc::c_int::try_from(left.as_micros().div_ceil(1000)).unwrap_or(libc::c_int::MAX)
}

/// Lets the child that `command` starts keep `descriptors` open under their numbers.
///
/// The flag is cleared in the child after the fork: clearing it here would leak the descriptors into any other
/// child that another thread starts meanwhile, and such a child would keep a dead swtpm's channel open.
pub(super) fn inherit(command: &mut Command, descriptors: Vec<OwnedFd>) {
    let keep = move || {
        descriptors
            .iter()
            .try_for_each(|fd| clear_close_on_exec(fd.as_fd()))
    };
    // SAFETY: between fork and exec the closure only calls fcntl, which is async-signal-safe, on descriptors
    // that it owns; it allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(keep);
    }
}

fn clear_close_on_exec(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: F_SETFD takes an integer and touches no memory; `fd` is open while it is borrowed.
    match unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, 0) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::process::Stdio;
    use std::time::Duration;

    #[test]
    fn waiting_ends_at_the_deadline_or_when_ready() {
        let (mut near, far) = UnixStream::pair().unwrap();
        let begun = Instant::now();
        assert!(!wait(far.as_fd(), Readiness::Read, begun + Duration::from_millis(30)).unwrap());
        assert!(begun.elapsed() >= Duration::from_millis(30));
        near.write_all(b"x").unwrap();
        assert!(wait(far.as_fd(), Readiness::Read, Instant::now()).unwrap());
        assert!(wait(far.as_fd(), Readiness::Write, Instant::now()).unwrap());
    }

    #[test]
    fn a_closed_other_end_counts_as_ready() {
        let (near, far) = UnixStream::pair().unwrap();
        drop(near);
        assert!(
            wait(
                far.as_fd(),
                Readiness::Read,
                Instant::now() + Duration::from_secs(5)
            )
            .unwrap()
        );
    }

    #[test]
    fn a_child_keeps_what_it_is_given_and_nothing_else() {
        let (mut near, given) = UnixStream::pair().unwrap();
        let (mut other_near, withheld) = UnixStream::pair().unwrap();
        let (given_number, withheld_number) = (given.as_raw_fd(), withheld.as_raw_fd());
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(format!(
                "echo got >&{given_number}; echo leak >&{withheld_number}"
            ))
            .stderr(Stdio::null());
        inherit(&mut command, vec![given.into()]);
        let mut child = command.spawn().unwrap();
        drop(command);
        child.wait().unwrap();
        let mut text = String::new();
        near.read_to_string(&mut text).unwrap();
        assert_eq!(text, "got\n");
        drop(withheld);
        text.clear();
        other_near.read_to_string(&mut text).unwrap();
        assert_eq!(text, "");
    }
}
