//! What the robot's state says of all its adapters together.

use alcub3_trust_model::{
    FaultSeverity, Payload, PlatformType, Position, ReportedFault, SensorCalibration, SubsystemFirmware,
};

use super::driven::Seen;
use super::{AdapterTrouble, Telemetry};

/// All adapters' inventories and telemetry as one, as the robot's state takes them.
///
/// What an adapter in trouble said last stays, with the trouble as a critical fault beside it: its subsystem is the adapter's
/// name, its code the trouble's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PlatformSnapshot {
    /// What kind of machine the first adapter drives.
    pub platform: PlatformType,
    /// Firmware of all subsystems.
    pub firmware: Vec<SubsystemFirmware>,
    /// Calibration of all sensors.
    pub calibration: Vec<SensorCalibration>,
    /// All payload.
    pub payload: Vec<Payload>,
    /// All faults.
    pub faults: Vec<ReportedFault>,
    /// The greatest speed, in millimetres per second.
    pub speed_mm_per_s: u32,
    /// The least charge, in thousandths of full; none where no adapter told.
    pub battery_permille: u16,
    /// The first position that is known.
    pub position: Option<Position>,
}

impl PlatformSnapshot {
    pub(super) fn new() -> Self {
        Self {
            platform: PlatformType::Custom,
            firmware: Vec::new(),
            calibration: Vec::new(),
            payload: Vec::new(),
            faults: Vec::new(),
            speed_mm_per_s: 0,
            battery_permille: 1000,
            position: None,
        }
    }

    /// Adds what is known of one adapter more.
    pub(super) fn add(&mut self, name: &str, seen: Seen, trouble: Option<&AdapterTrouble>, is_first: bool) {
        if let Some(trouble) = trouble {
            self.fault(name, trouble.code());
        }
        if let Some(description) = seen.description {
            if is_first {
                self.platform = description.identity.platform;
            }
            for firmware in description.inventory.firmware {
                let twice = self
                    .firmware
                    .iter()
                    .any(|other| other.subsystem == firmware.subsystem);
                self.part(name, twice, |all| all.firmware.push(firmware));
            }
            for sensor in description.inventory.calibration {
                let twice = self.calibration.iter().any(|other| other.sensor == sensor.sensor);
                self.part(name, twice, |all| all.calibration.push(sensor));
            }
        }
        if let Some(telemetry) = seen.telemetry {
            self.add_telemetry(name, telemetry);
        }
    }

    fn add_telemetry(&mut self, name: &str, telemetry: Telemetry) {
        self.speed_mm_per_s = self.speed_mm_per_s.max(telemetry.speed_mm_per_s);
        self.battery_permille = self.battery_permille.min(telemetry.battery_permille);
        self.position = self.position.or(telemetry.position);
        for payload in telemetry.payload {
            let twice = self.payload.iter().any(|other| other.name == payload.name);
            self.part(name, twice, |all| all.payload.push(payload));
        }
        self.faults.extend(telemetry.faults);
    }

    /// Two adapters with a part of one name: a state holds one of them, so it says that there were two.
    fn part(&mut self, adapter: &str, twice: bool, add: impl FnOnce(&mut Self)) {
        if twice {
            self.fault(adapter, "adapter-part-twice");
        } else {
            add(self);
        }
    }

    fn fault(&mut self, subsystem: &str, code: &str) {
        self.faults.push(ReportedFault {
            subsystem: subsystem.to_owned(),
            code: code.to_owned(),
            severity: FaultSeverity::Critical,
        });
    }
}
