//! The two halves of the simulated robot's adapter. The brake takes no lock that the driver holds for longer than a copy.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alcub3_command_authority::{Arguments, CommandName, RoleError, Value};
use alcub3_crypto::HashAlg;
use alcub3_trust_model::hardware::{Part, PartClass, PartSource};
use alcub3_trust_model::{Payload, PlatformType, SensorCalibration, SubsystemFirmware};

use super::SimulatedPlan;
use super::body::{Body, Goal, STEP_MS, length};
use crate::clock::Clock;
use crate::platform::{
    ArgumentKind, ArgumentLimit, Capabilities, CommandCapability, Description, Inventory, NotExecuted,
    PlatformBrake, PlatformCommand, PlatformDriver, PlatformIdentity, PlatformStop, StopCapability,
    StopLevel, Telemetry,
};
use crate::report::PortError;

const NS_PER_STEP: u64 = STEP_MS * 1_000_000;
/// The longest single movement.
const LONGEST_MS: i64 = 60_000;

/// What the brake tells the body: the number of the last stop, and what is in force from which step.
#[derive(Clone, Copy, Debug, Default)]
struct Stopped {
    number: u64,
    in_force: Option<(u64, StopLevel)>,
}

/// The driving half.
pub struct SimulatedDriver {
    body: Body,
    plan: SimulatedPlan,
    stopped: Arc<Mutex<Stopped>>,
    clock: Arc<dyn Clock>,
    started_ns: u64,
    calibrations: u32,
}

/// The stopping half.
pub struct SimulatedBrake {
    stopped: Arc<Mutex<Stopped>>,
    clock: Arc<dyn Clock>,
    started_ns: u64,
}

/// A simulated robot that lives by this clock, as the two halves of its adapter.
pub fn simulated(plan: SimulatedPlan, clock: Arc<dyn Clock>) -> (SimulatedDriver, SimulatedBrake) {
    let stopped = Arc::new(Mutex::new(Stopped::default()));
    let started_ns = clock.monotonic_ns();
    let brake = SimulatedBrake {
        stopped: stopped.clone(),
        clock: clock.clone(),
        started_ns,
    };
    let driver = SimulatedDriver {
        body: Body::new(plan.clone()),
        plan,
        stopped,
        clock,
        started_ns,
        calibrations: 0,
    };
    (driver, brake)
}

fn lock(stopped: &Mutex<Stopped>) -> MutexGuard<'_, Stopped> {
    stopped.lock().unwrap_or_else(PoisonError::into_inner)
}

fn steps_since(clock: &dyn Clock, started_ns: u64) -> u64 {
    clock.monotonic_ns().saturating_sub(started_ns) / NS_PER_STEP
}

impl PlatformBrake for SimulatedBrake {
    fn stop(&mut self, stop: &PlatformStop) -> Result<(), PortError> {
        let step = steps_since(self.clock.as_ref(), self.started_ns);
        let mut stopped = lock(&self.stopped);
        stopped.number = stopped.number.max(stop.number);
        // A milder stop takes nothing from a more severe one that is in force.
        stopped.in_force = match stopped.in_force {
            Some((from, level)) if level >= stop.level => Some((from, level)),
            _ => Some((step, stop.level)),
        };
        Ok(())
    }
}

impl SimulatedDriver {
    fn live(&mut self) {
        let in_force = lock(&self.stopped).in_force;
        let now = steps_since(self.clock.as_ref(), self.started_ns);
        self.body.live_to(now, in_force);
    }

    fn goal(&self, command: &PlatformCommand) -> Result<Option<Goal>, NotExecuted> {
        let arguments = command.arguments();
        match command.name().as_str() {
            "move.velocity" => self.velocity(arguments).map(Some),
            "move.to" => self.point(arguments).map(Some),
            "move.hold" | "mission.suspend" => Ok(Some(Goal::Rest(StopLevel::Hold))),
            _ => Ok(None),
        }
    }

    fn velocity(&self, arguments: &Arguments) -> Result<Goal, NotExecuted> {
        let part = |name| int(arguments, name).unwrap_or_default();
        let velocity = [
            part("velocity_x_mm_per_s"),
            part("velocity_y_mm_per_s"),
            part("velocity_z_mm_per_s"),
        ];
        if length(velocity) > u64::from(self.plan.max_speed_mm_per_s) {
            return Err(refused(
                "too-fast",
                "the parts of the velocity together are beyond its greatest speed",
            ));
        }
        let duration_ms = int(arguments, "duration_ms").unwrap_or(LONGEST_MS);
        let steps = u64::try_from(duration_ms).unwrap_or_default() / STEP_MS;
        Ok(Goal::Velocity(velocity, self.body.steps.saturating_add(steps)))
    }

    fn point(&self, arguments: &Arguments) -> Result<Goal, NotExecuted> {
        let degrees = |name| int(arguments, name).unwrap_or_default();
        let place = self.body.place(
            degrees("latitude_e7_deg"),
            degrees("longitude_e7_deg"),
            int(arguments, "altitude_mm"),
        );
        if !self.body.is_inside(place) {
            return Err(refused(
                "outside-fence",
                "the place is outside the robot's own fence",
            ));
        }
        let fastest = i64::from(self.plan.max_speed_mm_per_s);
        let speed = int(arguments, "speed_mm_per_s").unwrap_or(fastest);
        Ok(Goal::Point(place, speed))
    }

    fn maintain(&mut self, command: &PlatformCommand) {
        match command.name().as_str() {
            "maintain.calibrate" => self.calibrations = self.calibrations.saturating_add(1),
            "maintain.clear_faults" => self.body.clear_faults(),
            _ => {}
        }
    }

    fn inventory(&self) -> Inventory {
        let firmware = |subsystem: &str, version: &str| SubsystemFirmware {
            subsystem: subsystem.to_owned(),
            version: version.to_owned(),
            image: Some(HashAlg::Sha256.digest(&[subsystem.as_bytes(), version.as_bytes()])),
        };
        let calibrated = self.calibrations.to_be_bytes();
        let sensor = |sensor: &str| SensorCalibration {
            sensor: sensor.to_owned(),
            calibration: HashAlg::Sha256.digest(&[sensor.as_bytes(), &calibrated]),
        };
        let part = |class, slot: &str| Part {
            class,
            slot: slot.to_owned(),
            serial: format!("{}-{slot}", self.plan.serial),
            source: PartSource::Adapter,
        };
        Inventory {
            firmware: vec![
                firmware("battery", "simulated 1.0"),
                firmware("drive", "simulated 1.2"),
                firmware("navigation", "simulated 1.1"),
            ],
            calibration: vec![sensor("imu"), sensor("lidar-front")],
            parts: vec![
                part(PartClass::MotorController, "drive"),
                part(PartClass::Sensor, "lidar-front"),
            ],
        }
    }

    fn capabilities(&self) -> Result<Capabilities, RoleError> {
        let most = i64::from(self.plan.max_speed_mm_per_s);
        let argument = |name: &str, least, most, required| ArgumentLimit {
            name: name.to_owned(),
            kind: ArgumentKind::Int { least, most },
            required,
        };
        let command = |name: &str, arguments| {
            Ok(CommandCapability {
                command: CommandName::new(name)?,
                arguments,
            })
        };
        let velocity = vec![
            argument("velocity_x_mm_per_s", -most, most, false),
            argument("velocity_y_mm_per_s", -most, most, false),
            argument("velocity_z_mm_per_s", -most, most, false),
            argument("duration_ms", 0, LONGEST_MS, false),
        ];
        let to = vec![
            argument("latitude_e7_deg", -900_000_000, 900_000_000, true),
            argument("longitude_e7_deg", -1_800_000_000, 1_800_000_000, true),
            argument("altitude_mm", -1_000_000, 10_000_000, false),
            argument("speed_mm_per_s", 1, most, false),
        ];
        let stop = |level, meaning: &str, at_rest_within_ms| StopCapability {
            level,
            meaning: meaning.to_owned(),
            at_rest_within_ms,
        };
        Ok(Capabilities {
            commands: vec![
                command("move.velocity", velocity)?,
                command("move.to", to)?,
                command("move.hold", Vec::new())?,
                command("mission.suspend", Vec::new())?,
                command("maintain.calibrate", Vec::new())?,
                command("maintain.clear_faults", Vec::new())?,
            ],
            stops: vec![
                stop(StopLevel::Hold, "brakes and stays under power", 1_000),
                stop(
                    StopLevel::ControlledOff,
                    "brakes, then takes the power off its drive",
                    1_000,
                ),
                stop(
                    StopLevel::PowerOff,
                    "takes the power off its drive at once and rolls out",
                    2_500,
                ),
            ],
        })
    }
}

impl PlatformDriver for SimulatedDriver {
    fn describe(&mut self) -> Result<Description, PortError> {
        Ok(Description {
            identity: PlatformIdentity {
                platform: PlatformType::Custom,
                model: "alcub3 simulated robot".to_owned(),
                serial: self.plan.serial.clone(),
            },
            inventory: self.inventory(),
            capabilities: self.capabilities()?,
        })
    }

    fn execute(&mut self, command: &PlatformCommand) -> Result<(), NotExecuted> {
        self.live();
        if self.body.is_empty() {
            return Err(refused("battery-empty", "charge it first"));
        }
        let goal = self.goal(command)?;
        if goal.is_some() && self.body.is_broken() {
            return Err(refused("fault", "it has a critical fault and does not move"));
        }
        {
            let mut stopped = lock(&self.stopped);
            if command.after_stops() < stopped.number {
                return Err(NotExecuted::Stopped);
            }
            stopped.in_force = None;
        }
        match goal {
            Some(goal) => self.body.set_goal(goal),
            None => self.maintain(command),
        }
        Ok(())
    }

    fn observe(&mut self) -> Result<Telemetry, PortError> {
        self.live();
        Ok(Telemetry {
            speed_mm_per_s: self.body.speed(),
            battery_permille: self.body.battery_permille(),
            position: Some(self.body.position()),
            payload: vec![Payload {
                name: "camera".to_owned(),
                mass_g: 350,
            }],
            faults: self.body.faults().to_vec(),
        })
    }
}

fn int(arguments: &Arguments, name: &str) -> Option<i64> {
    match arguments.get(name) {
        Some(Value::Int(value)) => Some(*value),
        _ => None,
    }
}

fn refused(code: &str, text: &str) -> NotExecuted {
    NotExecuted::Refused {
        code: code.to_owned(),
        text: text.to_owned(),
    }
}
