//! The parts of the machine, as its kernel shows them: firmware tables, network interfaces, USB devices.
//!
//! Whoever is root on the robot can make the kernel show something else. The inventory finds exchanged parts; what it
//! was at enrolment and at each start is in the chip.

use crate::{AgentError, Result};
use alcub3_crypto::HashAlg;
use alcub3_trust_model::hardware::{Inventory, Part, PartClass, PartSource, is_placeholder};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const DMI: &str = "sys/class/dmi/id";
const NETWORK: &str = "sys/class/net";
const USB: &str = "sys/bus/usb/devices";
const DEVICE_TREE_SERIAL: &str = "proc/device-tree/serial-number";
/// Numbers in the firmware's tables (SMBIOS §7.2, §7.3), each with the class of part that it identifies.
const DMI_NUMBERS: [(PartClass, &str); 3] = [
    (PartClass::System, "product_serial"),
    (PartClass::System, "product_uuid"),
    (PartClass::Mainboard, "board_serial"),
];
/// The value of addr_assign_type for an address that the manufacturer gave (NET_ADDR_PERM).
const PERMANENT: &str = "0";
/// Longer serial numbers are taken by their digest.
const LONGEST: usize = 200;

/// The parts below a root folder: `/` on a robot.
///
/// # Errors
/// [`AgentError::Inventory`] where something is there and cannot be read: an inventory with holes compares with nothing.
pub fn of_machine(root: &Path) -> Result<Inventory> {
    let mut parts = firmware(root)?;
    parts.extend(network(root)?);
    parts.extend(usb(root)?);
    Ok(Inventory::new().with_all(parts)?)
}

fn part(class: PartClass, slot: &str, serial: &str) -> Option<Part> {
    (!is_placeholder(serial)).then(|| Part {
        class,
        slot: printable(slot),
        serial: printable(serial),
        source: PartSource::Machine,
    })
}

fn firmware(root: &Path) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    for (class, name) in DMI_NUMBERS {
        let serial = read(&root.join(DMI).join(name))?;
        parts.extend(serial.and_then(|serial| part(class, name, &serial)));
    }
    let serial = read(&root.join(DEVICE_TREE_SERIAL))?;
    parts.extend(serial.and_then(|serial| part(PartClass::System, "device_tree_serial", &serial)));
    Ok(parts)
}

/// Interfaces with a device behind them and an address that its manufacturer gave: no bridges, tunnels or containers'.
fn network(root: &Path) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    for interface in entries(&root.join(NETWORK))? {
        let device = interface.join("device");
        let permanent = read(&interface.join("addr_assign_type"))?.is_none_or(|kind| kind == PERMANENT);
        let address = read(&interface.join("address"))?.unwrap_or_default();
        let nothing = address.bytes().all(|byte| matches!(byte, b'0' | b':'));
        if device.exists() && permanent && !nothing {
            parts.extend(part(
                PartClass::NetworkInterface,
                &place(&interface, &device),
                &address,
            ));
        }
    }
    Ok(parts)
}

/// Where an interface sits: its device on the bus, which keeps its name when the interface is renamed.
fn place(interface: &Path, device: &Path) -> String {
    fs::read_link(device)
        .ok()
        .and_then(|target| file_name(&target))
        .or_else(|| file_name(interface))
        .unwrap_or_default()
}

/// Devices with a serial number, without the controllers' own entries (`usb1`) and the devices' interfaces (`1-1:1.0`).
fn usb(root: &Path) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    for device in entries(&root.join(USB))? {
        let slot = file_name(&device).unwrap_or_default();
        if slot.starts_with("usb") || slot.contains(':') {
            continue;
        }
        let Some(serial) = read(&device.join("serial"))?.filter(|serial| !is_placeholder(serial)) else {
            continue;
        };
        let vendor = read(&device.join("idVendor"))?.unwrap_or_default();
        let product = read(&device.join("idProduct"))?.unwrap_or_default();
        parts.extend(part(
            PartClass::UsbDevice,
            &slot,
            &format!("{vendor}:{product}:{serial}"),
        ));
    }
    Ok(parts)
}

fn file_name(path: &Path) -> Option<String> {
    path.file_name().map(|name| name.to_string_lossy().into_owned())
}

/// A folder's entries, in order; none where there is no such folder.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let listed = match fs::read_dir(folder) {
        Ok(listed) => listed,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(unreadable(folder, source)),
    };
    let mut paths = Vec::new();
    for entry in listed {
        paths.push(entry.map_err(|source| unreadable(folder, source))?.path());
    }
    paths.sort();
    Ok(paths)
}

/// A file's text without what pads it; none where there is no such file, or the kernel has nothing to say in it.
fn read(path: &Path) -> Result<Option<String>> {
    match fs::read(path) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            Ok(Some(text.trim_matches(['\0', ' ', '\n', '\t']).to_owned()))
        }
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => Ok(None),
        Err(source) => Err(unreadable(path, source)),
    }
}

fn unreadable(path: &Path, source: std::io::Error) -> AgentError {
    AgentError::Inventory {
        path: path.to_owned(),
        source,
    }
}

/// The text as a record holds it: a device chooses its own serial number, and may choose any bytes.
fn printable(text: &str) -> String {
    if text.len() > LONGEST || text.chars().any(char::is_control) {
        format!("sha256:{}", HashAlg::Sha256.digest(&[text.as_bytes()]).to_hex())
    } else {
        text.to_owned()
    }
}
