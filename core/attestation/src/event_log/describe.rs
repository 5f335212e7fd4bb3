//! Short readable descriptions of event data. Best effort: nothing is decided by them.

use super::{Event, EventType, agent::AgentEvent};
use crate::cursor::{Cursor, Short};
use core::fmt::Write as _;

/// Characters a description has at most.
const LIMIT: usize = 160;

pub(crate) fn describe(event: &Event<'_>) -> String {
    let structured = match event.event_type {
        EventType::EFI_VARIABLE_DRIVER_CONFIG
        | EventType::EFI_VARIABLE_BOOT
        | EventType::EFI_VARIABLE_BOOT2
        | EventType::EFI_VARIABLE_AUTHORITY => variable(event.data).ok(),
        EventType::EFI_PLATFORM_FIRMWARE_BLOB => firmware_blob(event.data).ok(),
        EventType::EFI_BOOT_SERVICES_APPLICATION
        | EventType::EFI_BOOT_SERVICES_DRIVER
        | EventType::EFI_RUNTIME_SERVICES_DRIVER => image(event.data).ok(),
        EventType::EVENT_TAG => AgentEvent::decode(event.data).ok().map(|agent| agent.to_string()),
        _ => None,
    };
    structured
        .or_else(|| text(event.data))
        .unwrap_or_else(|| short_hex(event.data))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        })
}

fn short_hex(bytes: &[u8]) -> String {
    match bytes.get(..32) {
        Some(start) if bytes.len() > 32 => format!("{}… ({} bytes)", hex(start), bytes.len()),
        _ => hex(bytes),
    }
}

/// UTF-8 or UTF-16LE text without control characters, `None` for anything else.
fn text(bytes: &[u8]) -> Option<String> {
    let narrow = bytes.strip_suffix(&[0]).unwrap_or(bytes);
    let utf8 = core::str::from_utf8(narrow)
        .ok()
        .filter(|text| is_readable(text))
        .map(str::to_owned);
    utf8.or_else(|| utf16(bytes))
        .map(|text| text.chars().take(LIMIT).collect())
}

fn utf16(bytes: &[u8]) -> Option<String> {
    let (pairs, odd) = bytes.as_chunks::<2>();
    if !odd.is_empty() {
        return None;
    }
    let units: Vec<u16> = pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
    let text = String::from_utf16(&units).ok()?;
    Some(text.trim_end_matches('\0').to_owned()).filter(|text| is_readable(text) && text.is_ascii())
}

fn is_readable(text: &str) -> bool {
    text.len() > 2 && !text.chars().any(|c| c.is_control() && c != '\n' && c != '\t')
}

/// `UEFI_VARIABLE_DATA` (PFP §10.2.6): GUID, name length in characters, data length, name, data.
fn variable(data: &[u8]) -> Result<String, Short> {
    let mut cursor = Cursor::new(data);
    let guid = guid(&mut cursor)?;
    let wrong = Short {
        needed: data.len(),
        left: data.len(),
    };
    let name_units = usize::try_from(cursor.u64_le()?).map_err(|_| wrong)?;
    let value_bytes = usize::try_from(cursor.u64_le()?).map_err(|_| wrong)?;
    let name = cursor.take(name_units.checked_mul(2).ok_or(wrong)?)?;
    let value = cursor.take(value_bytes)?;
    let name = utf16(name).unwrap_or_else(|| short_hex(name));
    let shown = if value.len() <= 8 {
        hex(value)
    } else {
        format!("{} bytes", value.len())
    };
    Ok(format!("{name} ({guid}) = {shown}"))
}

fn guid(cursor: &mut Cursor<'_>) -> Result<String, Short> {
    let (a, b, c) = (cursor.u32_le()?, cursor.u16_le()?, cursor.u16_le()?);
    let (d, e) = (cursor.u16_be()?, cursor.take(6)?);
    Ok(format!("{a:08x}-{b:04x}-{c:04x}-{d:04x}-{}", hex(e)))
}

fn firmware_blob(data: &[u8]) -> Result<String, Short> {
    let mut cursor = Cursor::new(data);
    let (base, length) = (cursor.u64_le()?, cursor.u64_le()?);
    Ok(format!("firmware at {base:#x}, {length} bytes"))
}

fn image(data: &[u8]) -> Result<String, Short> {
    let mut cursor = Cursor::new(data);
    let (base, length) = (cursor.u64_le()?, cursor.u64_le()?);
    cursor.take(8)?;
    let path_length = cursor.u64_le()?;
    let path = file_path(cursor.rest()).unwrap_or_else(|| format!("device path of {path_length} bytes"));
    Ok(format!("image at {base:#x}, {length} bytes: {path}"))
}

/// The file name in a UEFI device path, if it has one (UEFI 2.10 §10.3.5.4: type 4, subtype 4).
fn file_path(path: &[u8]) -> Option<String> {
    let mut cursor = Cursor::new(path);
    while let (Ok(kind), Ok(subtype), Ok(length)) = (cursor.u8(), cursor.u8(), cursor.u16_le()) {
        let node = cursor.take(usize::from(length).checked_sub(4)?).ok()?;
        if (kind, subtype) == (4, 4) {
            return utf16(node);
        }
    }
    None
}
