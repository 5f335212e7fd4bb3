//! The agent as a service: one robot, opened once, behind a local interface.
//!
//! What it does: opens the robot, serves its [local interface](api) and the socket that stops it, ends missions and looks after
//! keys in time, tells the service manager how it lives, and closes in order. What it does not do: reach a network. Who carries
//! messages between the robot and its authority uses the interface.

mod api;
mod chip;
mod config;
mod platforms;
mod service;
mod socket;
mod stop_socket;
mod stopper;
mod triggers;

use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use alcub3_keys::StateFolder;
use alcub3_security_hal::platform::Platforms;
use alcub3_security_hal::{Clock, SystemClock};
use alcub3_tpm::Tpm;
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder};
use sd_notify::NotifyState;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

pub use config::{Config, ConfigError};
pub use triggers::{Button, Heartbeat, HeartbeatError, WhenLost};

use crate::adapter_socket::EndpointError;
use crate::offline::SurroundingsNow;
use crate::robot::{Adapters, Robot};
use crate::{AdapterRecords, AgentError, AuditKeeper, KeySweeper};
use api::Shared;
use chip::ChipWatch;
use platforms::Alarms;
use service::Pulse;
use stop_socket::StopSocket;
use stopper::Stopper;
use triggers::Heartbeats;

/// The file of the state folder that names the stop socket of the agent which holds it.
pub const STOP_SOCKET_FILE: &str = "stop-socket";
/// How long a part of the agent may be silent before the service manager is told nothing any more.
const SILENCE: Duration = Duration::from_secs(5);
/// How often the interface's threads show that they live.
const BEAT: Duration = Duration::from_millis(500);

/// Why the agent does not serve.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The robot does not open.
    #[error(transparent)]
    Robot(#[from] AgentError),
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A socket cannot be made.
    #[error("the socket {path}: {source}; its folder must be there and belong to the agent's user")]
    Socket {
        /// The socket.
        path: std::path::PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another agent serves there.
    #[error("another process serves the socket {0}: stop it first, or name another path")]
    Served(std::path::PathBuf),
    /// An adapter's folder cannot be used.
    #[error("an adapter: {0}")]
    Adapter(#[from] EndpointError),
    /// A heartbeat cannot be watched.
    #[error(transparent)]
    Heartbeat(#[from] HeartbeatError),
    /// The metrics cannot be set up.
    #[error(transparent)]
    Metrics(#[from] BuildError),
    /// The chip was reset or restarted while the agent held it.
    #[error("the TPM was started anew under the agent; start the agent again, as its unit does by itself")]
    ChipStartedAnew,
    /// The operating system gave no threads, or no signals.
    #[error("the operating system: {0}")]
    System(#[source] io::Error),
}

/// Serves a robot until SIGTERM or SIGINT. SIGHUP reads the configuration of `path` again: who may use the interface changes at
/// once, all else by a new start. The stop socket is there before the TPM is opened, by `tpm`, and goes last.
///
/// # Errors
/// [`DaemonError`], or what opening the TPM gave: the robot, the sockets or the system. What was begun is closed in order.
pub fn run<E: From<DaemonError>>(
    tpm: impl FnOnce() -> Result<Tpm, E>,
    folder: Arc<StateFolder>,
    config: &Config,
    path: Option<&Path>,
    surroundings: SurroundingsNow,
) -> Result<(), E> {
    let alarms = Alarms::default();
    let (platforms, adapters) = platforms::start(config, &alarms)?;
    let (stopper, adapters) = Stopper::new(folder.clone(), adapters);
    alarms.stop_by(&stopper);
    let heartbeats = triggers::start(config, &stopper)?;
    let listener = socket::listen(&config.stop.socket)?;
    let (end, over) = watch::channel(false);
    let stop_pulse = Pulse::new();
    let stop_socket = StopSocket::serve(listener.take()?, stopper.clone(), stop_pulse.clone(), over);
    let stop_socket = stop_socket.map_err(DaemonError::System)?;
    let named = NamedSocket::put(folder.clone(), &config.stop.socket);
    if let Some(platforms) = &platforms
        && !platforms.await_all(Duration::from_millis(config.adapter_wait_ms))
    {
        tracing::warn!("not every adapter is there; commands for those that are not are refused");
    }
    let opened = tpm().and_then(|tpm| Ok(open(tpm, folder, adapters, &stopper, config)?));
    let served = opened.and_then(|robot| {
        let served = serve(
            &robot,
            config,
            path,
            (platforms, surroundings),
            (stop_pulse, &stopper, heartbeats),
        );
        Ok(served.and(close(&robot))?)
    });
    // Last of all: until here the robot is stopped by it.
    let _ = end.send(true);
    drop((stop_socket, named, listener));
    served
}

/// Opens the robot and takes up what was asked of it before; what fails then, but for the robot itself, takes no stop away.
fn open(
    tpm: Tpm,
    folder: Arc<StateFolder>,
    adapters: Adapters,
    stopper: &Stopper,
    config: &Config,
) -> Result<Arc<Robot>, DaemonError> {
    let robot = Arc::new(Robot::open(tpm, folder, adapters)?);
    stopper.take_up(&robot)?;
    if let Err(error) = measure_machine(&robot, &config.machine) {
        tracing::error!(%error, "the machine's parts are not measured: no evidence is made before they are");
    }
    robot.watch_mission_ends(Arc::new(SystemClock::new()), Robot::LOOK_AGAIN)?;
    Ok(robot)
}

fn serve(
    robot: &Arc<Robot>,
    config: &Config,
    path: Option<&Path>,
    (platforms, surroundings): (Option<Platforms>, SurroundingsNow),
    (stop_pulse, stopper, heartbeats): (Pulse, &Arc<Stopper>, Arc<Heartbeats>),
) -> Result<(), DaemonError> {
    if let Some(platforms) = &platforms {
        let records = AdapterRecords::new(robot.audit().clone());
        platforms.watch(Box::new(records)).map_err(DaemonError::System)?;
    }
    let metrics = PrometheusBuilder::new().install_recorder()?;
    let sweeper = KeySweeper::start(robot, Duration::from_secs(config.every.sweep_keys_s))?;
    // No link of its own: who carries heads to the authority asks for them. Without one a checkpoint is made when many are new.
    let keeper = AuditKeeper::start(robot, Box::new(|| None))?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(16)
        .thread_name("agent")
        .enable_all()
        .build()
        .map_err(DaemonError::System)?;
    let api_listener = socket::listen(&config.api.socket)?;
    let (end, mut over) = watch::channel(false);
    let api_pulse = Pulse::new();
    let chip = ChipWatch::default();
    chip.look(robot);
    let seen = (platforms, surroundings);
    let stopping = (stopper.clone(), heartbeats);
    let shared = Shared::new(robot.clone(), config, seen, stopping, (chip.clone(), metrics));
    let shared = Arc::new(shared);
    let watched = chip.clone();
    let served = runtime.block_on(async {
        let listener =
            tokio::net::UnixListener::from_std(api_listener.take()?).map_err(DaemonError::System)?;
        tokio::spawn(chip.watch(robot.clone(), Duration::from_secs(config.every.check_tpm_s)));
        tokio::spawn(beat(api_pulse.clone()));
        tokio::spawn(keep_watchdog([stop_pulse, api_pulse]));
        let ended = wait_for_end(path.map(Path::to_owned), shared.clone(), end);
        tokio::spawn(ended);
        service::tell(&[NotifyState::Ready]);
        tracing::info!(robot = %robot.robot(), stopped = robot.is_stopped(), "the agent serves");
        let over = async move {
            let _ = over.changed().await;
        };
        tokio::select! {
            served = api::serve(listener, shared, over) => served.map_err(DaemonError::System),
            () = watched.started_anew() => Err(DaemonError::ChipStartedAnew),
        }
    });
    service::tell(&[NotifyState::Stopping]);
    // What is at work with the robot is finished before the robot is closed.
    runtime.shutdown_timeout(Duration::from_secs(10));
    drop((sweeper, keeper));
    served
}

/// Where the state folder says by which socket the agent that holds it is asked to stop: for a command line that cannot open the
/// robot. Nobody depends on it.
struct NamedSocket(Arc<StateFolder>);

impl NamedSocket {
    fn put(folder: Arc<StateFolder>, socket: &Path) -> Self {
        let path = std::path::absolute(socket).unwrap_or_else(|_| socket.to_owned());
        if let Err(error) = folder.write(STOP_SOCKET_FILE, path.as_os_str().as_encoded_bytes()) {
            tracing::warn!(%error, "where the stop socket is, is not in the state folder");
        }
        Self(folder)
    }
}

impl Drop for NamedSocket {
    fn drop(&mut self) {
        let _ = self.0.remove(STOP_SOCKET_FILE);
    }
}

/// Gives back what the robot reserved ahead, where nobody but the stopper has it beside this: it can still be stopped, and nothing
/// else.
fn close(robot: &Arc<Robot>) -> Result<(), DaemonError> {
    if Arc::strong_count(robot) > 2 {
        tracing::warn!(
            "a request is still at work; reserved sequence numbers are not given back, which is safe"
        );
        return Ok(());
    }
    Ok(robot.give_back()?)
}

/// Measures the machine's parts where the robot was enrolled with them, so that evidence can be made.
fn measure_machine(robot: &Robot, machine: &Path) -> crate::Result<()> {
    let root = robot.has_machine()?.then_some(machine);
    let now_utc_ms = SystemClock::new().utc_ms().unwrap_or_default();
    robot.measure_hardware(root, now_utc_ms)?;
    Ok(())
}

async fn beat(pulse: Pulse) {
    let mut due = tokio::time::interval(BEAT);
    loop {
        due.tick().await;
        pulse.beat();
    }
}

/// Tells the service manager that the agent lives, while all of its parts do.
async fn keep_watchdog(pulses: [Pulse; 2]) {
    let Some(within) = service::watchdog() else { return };
    let mut due = tokio::time::interval(within / 2);
    loop {
        due.tick().await;
        if pulses.iter().all(|pulse| pulse.is_alive(SILENCE)) {
            service::tell(&[NotifyState::Watchdog]);
        } else {
            tracing::error!("a part of the agent is silent; the service manager is not told that it lives");
        }
    }
}

async fn wait_for_end(path: Option<std::path::PathBuf>, shared: Arc<Shared>, end: watch::Sender<bool>) {
    let signals = [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
    ]
    .map(signal);
    let [Ok(mut terminate), Ok(mut interrupt), Ok(mut reload)] = signals else {
        tracing::error!("the system gives no signals; end the agent by SIGKILL, which is safe");
        return std::future::pending().await;
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = reload.recv() => take_again(path.as_deref(), &shared),
        }
    }
    tracing::info!("the agent ends");
    let _ = end.send(true);
}

/// Reads the configuration again. One that is wrong changes nothing.
fn take_again(path: Option<&Path>, shared: &Shared) {
    let Some(path) = path else { return };
    match Config::read(path) {
        Ok(config) => {
            *shared.uids.write().unwrap_or_else(PoisonError::into_inner) = config.api.uids;
            tracing::info!("the users of the interface are read again; other changes take a new start");
        }
        Err(error) => tracing::error!(%error, "the configuration of before stays in force"),
    }
}
