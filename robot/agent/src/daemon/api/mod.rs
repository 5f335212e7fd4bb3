//! The local interface: HTTP over a UNIX socket, for programs on the robot. `docs/agent.md` says what each path takes and gives.
//!
//! What it carries is authentic by itself (requests and approvals of the authority, command envelopes), so the users that it
//! admits only keep others from wearing the robot out. A stop has a socket of its own besides.

mod attestation;
mod audit;
mod commands;
mod connections;
mod error;
mod mission_changes;
mod missions;
mod robot;
mod stops;
mod triggers;

use std::collections::VecDeque;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use alcub3_security_hal::platform::Platforms;
use alcub3_security_hal::{Clock, SystemClock};
use alcub3_trust_model::SessionId;
use axum::Router;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::{get, post};
use axum::serve::IncomingStream;
use connections::Bounded;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::UnixListener;
use tokio::sync::{Semaphore, oneshot};

use super::chip::ChipWatch;
use super::config::Config;
use super::measure_machine;
use super::stopper::Stopper;
use super::triggers::Heartbeats;
use crate::attester::Surroundings;
use crate::missions::MissionStart;
use crate::offline::SurroundingsNow;
use crate::platform_logs::PlatformLogs;
use crate::robot::Robot;
use error::ApiError;

/// The longest request, in bytes: a mission's approval with its token is far below.
const MOST: usize = 1 << 20;
/// The most requests at work at once; more are told to come again.
const AT_WORK: usize = 32;
/// How long requests at work are waited for when the agent ends.
const DRAIN: Duration = Duration::from_secs(10);
/// The most missions that were asked for and not granted yet; the oldest gives way.
const ASKED: usize = 64;

/// What all requests share.
pub(super) struct Shared {
    pub(super) robot: Arc<Robot>,
    stopper: Arc<Stopper>,
    heartbeats: Arc<Heartbeats>,
    pub(super) logs: PlatformLogs,
    machine: PathBuf,
    /// What drives the robot, where the agent does.
    platforms: Option<Platforms>,
    surroundings: Mutex<SurroundingsNow>,
    pub(super) uids: RwLock<Vec<u32>>,
    pub(super) chip: ChipWatch,
    pub(super) metrics: PrometheusHandle,
    places: Semaphore,
    asked: Mutex<VecDeque<(SessionId, MissionStart)>>,
}

impl Shared {
    pub(super) fn new(
        robot: Arc<Robot>,
        config: &Config,
        (platforms, surroundings): (Option<Platforms>, SurroundingsNow),
        (stopper, heartbeats): (Arc<Stopper>, Arc<Heartbeats>),
        (chip, metrics): (ChipWatch, PrometheusHandle),
    ) -> Self {
        Self {
            robot,
            stopper,
            heartbeats,
            logs: config.platform_logs(),
            machine: config.machine.clone(),
            platforms,
            surroundings: Mutex::new(surroundings),
            uids: RwLock::new(config.api.uids.clone()),
            chip,
            metrics,
            places: Semaphore::new(AT_WORK),
            asked: Mutex::default(),
        }
    }

    fn admits(&self, uid: u32) -> bool {
        let own = rustix::process::geteuid().as_raw();
        let uids = self.uids.read().unwrap_or_else(PoisonError::into_inner);
        uid == 0 || uid == own || uids.contains(&uid)
    }

    /// What the robot knows of itself now.
    fn surroundings_now(&self) -> Surroundings {
        if let Some(platforms) = &self.platforms {
            return Surroundings::of_platforms(platforms.snapshot(), None);
        }
        let now = self.surroundings.lock().unwrap_or_else(PoisonError::into_inner);
        now()
    }

    /// Measures the machine's parts where that failed when the agent started: without them no evidence is made.
    fn measure_machine_if_due(&self) -> Result<(), ApiError> {
        if self.robot.has_measured_hardware() {
            return Ok(());
        }
        Ok(measure_machine(&self.robot, &self.machine)?)
    }

    fn asked(&self) -> MutexGuard<'_, VecDeque<(SessionId, MissionStart)>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Asked = State<Arc<Shared>>;

/// Who called, as the kernel says.
#[derive(Clone, Copy, Debug)]
struct Caller(Option<u32>);

impl Connected<IncomingStream<'_, Bounded>> for Caller {
    fn connect_info(stream: IncomingStream<'_, Bounded>) -> Self {
        Self(stream.io().uid())
    }
}

/// Serves the interface until `over` says that it is over; requests at work are then finished, no longer than [`DRAIN`].
pub(super) async fn serve(
    listener: UnixListener,
    shared: Arc<Shared>,
    over: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let service = router(shared).into_make_service_with_connect_info::<Caller>();
    let (ended, over_since) = oneshot::channel();
    let over = async move {
        over.await;
        let _ = ended.send(());
    };
    let late = async move {
        let _ = over_since.await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        served = axum::serve(Bounded::new(listener), service).with_graceful_shutdown(over) => served,
        () = late => {
            tracing::warn!("requests that are still at work are cut off");
            Ok(())
        }
    }
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/robot", get(robot::show))
        .route("/v1/evidence", post(attestation::evidence))
        .route("/v1/lease", post(attestation::lease))
        .route("/v1/commands", post(commands::judge))
        .route("/v1/missions", get(missions::list))
        .route("/v1/missions/requests", post(missions::ask))
        .route("/v1/missions/approvals", post(missions::start))
        .route(
            "/v1/missions/{mission}",
            get(missions::show).delete(missions::complete),
        )
        .route(
            "/v1/missions/{mission}/extension/requests",
            post(mission_changes::ask_longer),
        )
        .route(
            "/v1/missions/{mission}/extension/approvals",
            post(mission_changes::extend),
        )
        .route(
            "/v1/missions/{mission}/hand-over/requests",
            post(mission_changes::ask_others),
        )
        .route(
            "/v1/missions/{mission}/hand-over/approvals",
            post(mission_changes::hand_over),
        )
        .route("/v1/rearm/requests", post(stops::ask_rearm))
        .route("/v1/rearm/approvals", post(stops::rearm))
        .route("/v1/stop", post(stops::stop))
        .route("/v1/stop/by/{source}", post(triggers::stop_by))
        .route("/v1/heartbeats", get(triggers::session))
        .route("/v1/heartbeats/{name}", post(triggers::beat))
        .route("/v1/stops", get(stops::receipts))
        .route("/v1/stops/{stop}/receipt", get(stops::receipt))
        .route("/v1/audit/report", post(audit::report))
        .route("/healthz", get(robot::health))
        .route("/metrics", get(robot::metrics))
        .fallback(|| async { ApiError::not_found() })
        .method_not_allowed_fallback(|| async { ApiError::other_method() })
        .layer(axum::middleware::from_fn_with_state(shared.clone(), admit))
        .layer(DefaultBodyLimit::max(MOST))
        .with_state(shared)
}

/// Turns away whom the configuration does not name, and whoever comes while all places are taken. A stop needs no place.
async fn admit(
    State(shared): Asked,
    ConnectInfo(Caller(uid)): ConnectInfo<Caller>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let uid = uid.ok_or_else(ApiError::unknown_caller)?;
    let path = request.uri().path();
    // A beat proves itself, and must wait for nobody either.
    let is_free =
        path == "/v1/stop" || path.starts_with("/v1/stop/by/") || path.starts_with("/v1/heartbeats");
    if !is_free && !shared.admits(uid) {
        return Err(ApiError::not_admitted(uid));
    }
    let _place = match is_free {
        true => None,
        false => Some(shared.places.try_acquire().map_err(|_| ApiError::busy())?),
    };
    Ok(next.run(request).await)
}

/// Does what waits for the chip or the disk, away from the threads that serve.
async fn at_work<T: Send + 'static>(
    shared: Arc<Shared>,
    work: impl FnOnce(&Shared) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(move || work(&shared)).await;
    done.map_err(|_| ApiError::panicked())?
}

/// The time, where the robot knows it.
fn utc_ms() -> Option<u64> {
    SystemClock::new().utc_ms()
}

/// The time for entries of what needs none: 0 where the robot does not know it.
fn stamp_ms() -> u64 {
    utc_ms().unwrap_or_default()
}
