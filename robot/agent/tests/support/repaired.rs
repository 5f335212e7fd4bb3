//! A robot that is repaired: its machine has a board and a USB device, its lidar was declared.
#![allow(dead_code, unreachable_pub)]

use crate::support::{self, Life, NOW_MS};
use alcub3_agent::{DeclaredAnew, ProvisionRequest, inventory, provision};
use alcub3_keys::StateFolder;
use alcub3_trust_model::SessionId;
use alcub3_trust_model::hardware::{HardwareVerdict, Part, PartClass, PartSource};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Files by their names.
pub type Files = BTreeMap<PathBuf, Vec<u8>>;

pub const STICK: &str = "sys/bus/usb/devices/1-3/serial";

pub fn lidar(serial: &str) -> Part {
    Part {
        class: PartClass::Sensor,
        slot: "lidar".to_owned(),
        serial: serial.to_owned(),
        source: PartSource::Declared,
    }
}

pub fn new_lidar(serial: &str) -> DeclaredAnew {
    DeclaredAnew {
        parts: vec![lidar(serial)],
        gone: Vec::new(),
    }
}

pub fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A robot with certificates, whose machine has a board and a USB device and whose lidar was declared.
pub struct Repaired {
    pub life: Life,
    pub machine: TempDir,
}

impl Repaired {
    pub fn new() -> Self {
        let machine = TempDir::new().unwrap();
        write(machine.path(), "sys/class/dmi/id/board_serial", "BOARD-1\n");
        write(machine.path(), STICK, "camera 1\n");
        let mut life = Life::blank();
        let request = ProvisionRequest {
            inventory: inventory::of_machine(machine.path())
                .unwrap()
                .with(lidar("L-1"))
                .unwrap(),
            ..support::request(&life.authority)
        };
        let state = StateFolder::open(life.folder.path()).unwrap();
        provision(&life.tpm, &state, &request, &mut life.authority).unwrap();
        drop(state);
        life.open();
        life.create_identity().unwrap();
        Self { life, machine }
    }

    pub fn measured(&self) -> HardwareVerdict {
        let root = self.machine.path();
        self.life.robot().measure_hardware(Some(root), NOW_MS).unwrap()
    }

    pub fn ask(&mut self, declared: &DeclaredAnew) -> (Vec<u8>, SessionId) {
        let root = self.machine.path().to_owned();
        self.life.ask_replacement(Some(&root), declared).unwrap()
    }

    /// One person approves what the robot found; gives the answer.
    pub fn approved(&mut self, declared: &DeclaredAnew) -> Vec<u8> {
        let (request, session) = self.ask(declared);
        self.life
            .authority
            .approve_replacement(&request, session)
            .unwrap()
    }

    pub fn audit(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.life.path().join("audit.log")).unwrap_or_default())
            .into_owned()
    }
}

/// Every file of a state folder that says what the robot is made of.
pub fn identity_files(folder: &Path) -> Files {
    let names = [
        "robot.cbor",
        "hardware.cbor",
        "hardware-next.cbor",
        "replacement.cbor",
        "identity/initial.cbor",
        "identity/initial-next.cbor",
        "identity/local.cbor",
        "identity/local-next.cbor",
    ];
    names
        .iter()
        .filter_map(|name| Some((PathBuf::from(name), fs::read(folder.join(name)).ok()?)))
        .collect()
}

pub fn put_files(folder: &Path, files: &Files) {
    for name in identity_files(folder).into_keys() {
        fs::remove_file(folder.join(name)).unwrap();
    }
    for (name, content) in files {
        fs::write(folder.join(name), content).unwrap();
    }
}
