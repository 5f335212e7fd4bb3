//! The two halves of an adapter whose platform is driven by another process.

use std::io;
use std::time::Duration;

use alcub3_security_hal::PortError;
use alcub3_security_hal::adapter_link::{LinkRefusal, ToAdapter};
use alcub3_security_hal::platform::{
    Description, NotExecuted, PlatformBrake, PlatformCommand, PlatformDriver, PlatformStop, Telemetry,
};
use std::sync::Arc;

use super::endpoint::AdapterSocket;
use super::link::{AlarmSink, Link, LinkTimes, SharedLink};
use super::{EndpointError, agent_end};

/// The driving half: commands and telemetry over the driving connection.
pub struct SocketDriver {
    link: SharedLink,
}

/// The stopping half: stops over a connection of their own.
pub struct SocketBrake {
    link: SharedLink,
}

/// What keeps a socket adapter from its part.
#[derive(Debug, thiserror::Error)]
pub enum SocketFailure {
    /// The adapter never connected.
    #[error("the adapter has not connected")]
    NotConnected,
    /// It was connected, and is not any more.
    #[error("the adapter's session ended: {0}")]
    Ended(String),
    /// It is connected, and says nothing of its platform.
    #[error("the adapter has not told how its platform is for more than {0} ms")]
    NoTelemetry(u128),
    /// A command was not answered.
    #[error("the adapter has not answered the command within {0} ms")]
    CommandUnanswered(u128),
    /// A stop was not answered; the session was ended, so that the platform stops by itself.
    #[error(transparent)]
    Stop(LinkRefusal),
    /// It cannot be told.
    #[error("the adapter cannot be told: {0}")]
    Send(#[from] io::Error),
}

/// Waits for an adapter at its socket from now on, again after each session; the two halves of it.
///
/// # Errors
/// Where the folder cannot be used, or the operating system gives no thread.
pub fn socket_adapter(
    socket: AdapterSocket,
    times: LinkTimes,
    alarm: Option<AlarmSink>,
) -> Result<(SocketDriver, SocketBrake), EndpointError> {
    let link = Arc::new(Link::new(times, alarm));
    agent_end::start(socket, link.clone())?;
    let brake = SocketBrake { link: link.clone() };
    Ok((SocketDriver { link }, brake))
}

impl Drop for SocketDriver {
    fn drop(&mut self) {
        self.link.give_up();
    }
}

impl SocketDriver {
    fn failure(&self) -> SocketFailure {
        failure(&self.link)
    }
}

fn failure(link: &Link) -> SocketFailure {
    match &link.known().ended {
        Some(end) => SocketFailure::Ended(end.clone()),
        None => SocketFailure::NotConnected,
    }
}

fn millis(limit: Duration) -> u128 {
    limit.as_millis()
}

impl PlatformDriver for SocketDriver {
    fn describe(&mut self) -> Result<Description, PortError> {
        let description = self.link.known().description.clone();
        Ok(description.ok_or_else(|| self.failure())?)
    }

    fn execute(&mut self, command: &PlatformCommand) -> Result<(), NotExecuted> {
        let failed = |failure: SocketFailure| NotExecuted::Failed(failure.into());
        let Some((live, number)) = self.link.next_command() else {
            return Err(failed(self.failure()));
        };
        let sent = live.drive.send(&ToAdapter::command(number, command));
        sent.map_err(|error| failed(error.into()))?;
        match self.link.answer(&live, number) {
            Some(None) => Ok(()),
            Some(Some((code, _))) if code == "stopped" => Err(NotExecuted::Stopped),
            Some(Some((code, text))) => Err(NotExecuted::Refused { code, text }),
            None => {
                let waited_ms = millis(self.link.times.command);
                Err(failed(SocketFailure::CommandUnanswered(waited_ms)))
            }
        }
    }

    fn observe(&mut self) -> Result<Telemetry, PortError> {
        let limit = millis(self.link.times.telemetry);
        let telemetry = self.link.telemetry();
        Ok(telemetry.ok_or(SocketFailure::NoTelemetry(limit))?)
    }
}

impl PlatformBrake for SocketBrake {
    fn stop(&mut self, stop: &PlatformStop) -> Result<(), PortError> {
        let live = self.link.known().live.clone();
        let live = live.ok_or_else(|| failure(&self.link))?;
        live.stop
            .send(&ToAdapter::from(stop))
            .map_err(SocketFailure::Send)?;
        match self.link.has_stopped(&live, stop.number) {
            Some(true) => return Ok(()),
            None => return Err(failure(&self.link).into()),
            Some(false) => {}
        }
        // A platform whose adapter does not answer a stop has to stop by itself: its connections are gone now.
        live.close();
        let waited_ms = u64::try_from(millis(self.link.times.stop)).unwrap_or(u64::MAX);
        Err(SocketFailure::Stop(LinkRefusal::StopUnanswered(waited_ms)).into())
    }
}
