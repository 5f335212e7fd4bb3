//! What an enrolment record says of a robot's maker, for people and for programs.

use alcub3_fleet_protocol::origin::Origin;
use serde_json::{Value, json};

const NOT_SHOWN: &str = "nothing proven";

/// For programs: null for what was not proven.
pub(crate) fn json(origin: &Origin) -> Value {
    let device = origin.device.as_ref().map(|device| {
        json!({
            "certificate_sha256": device.certificate.to_hex(), "common_name": device.common_name, "serial": device.serial,
            "hardware_module": device.hardware_module, "revocation_checked": device.revocation_checked,
        })
    });
    let platform = origin.platform.as_ref().map(|platform| {
        json!({
            "certificate_sha256": platform.certificate.to_hex(), "manufacturer": platform.manufacturer,
            "model": platform.model, "version": platform.version, "serial": platform.serial,
            "revocation_checked": platform.revocation_checked,
        })
    });
    json!({"device": device, "platform": platform})
}

/// Which device the initial attestation key's certificate states.
pub(crate) fn device(origin: &Origin) -> String {
    let stated = origin.device.as_ref().map(|device| {
        let texts = [&device.common_name, &device.serial, &device.hardware_module];
        joined(&texts, device.revocation_checked)
    });
    stated.unwrap_or_else(|| NOT_SHOWN.to_owned())
}

/// Which machine the platform certificate states.
pub(crate) fn platform(origin: &Origin) -> String {
    let stated = origin.platform.as_ref().map(|platform| {
        let texts = [&platform.manufacturer, &platform.model, &platform.serial];
        joined(&texts, platform.revocation_checked)
    });
    stated.unwrap_or_else(|| NOT_SHOWN.to_owned())
}

/// The serial number of the machine, where one is proven.
pub(crate) fn machine(origin: &Origin) -> String {
    let device = origin.device.as_ref();
    let device = device.map(|device| [&device.serial, &device.hardware_module]);
    let platform = origin
        .platform
        .as_ref()
        .map(|platform| [&platform.serial, &platform.model]);
    let mut stated = device.into_iter().chain(platform).flatten();
    stated.find(|text| !text.is_empty()).cloned().unwrap_or_default()
}

fn joined(texts: &[&String], revocation_checked: bool) -> String {
    let stated: Vec<&str> = texts
        .iter()
        .map(|text| text.as_str())
        .filter(|text| !text.is_empty())
        .collect();
    let revocation = if revocation_checked {
        ""
    } else {
        " (revocation not checked)"
    };
    format!("{}{revocation}", stated.join(", "))
}
