//! Structures in events' data: variables, device paths, partition tables.

use crate::cursor::Cursor;
use crate::event_log::describe::hex;
use serde::Serialize;

/// EFI_GLOBAL_VARIABLE, in the byte order of UEFI.
const GLOBAL: [u8; 16] = [
    0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c,
];
/// EFI_IMAGE_SECURITY_DATABASE_GUID.
const SECURITY_DATABASE: [u8; 16] = [
    0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f,
];
/// `EFI PART`.
const GPT_SIGNATURE: &[u8] = b"EFI PART";
/// Bytes of a GPT header and of a partition entry (UEFI §5.3.2, §5.3.3).
const GPT_HEADER_BYTES: usize = 92;
const GPT_ENTRY_BYTES: usize = 128;
/// The most partitions of a table.
const MAX_PARTITIONS: usize = 1024;

/// UEFI_VARIABLE_DATA (PFP §10.2.6).
pub(super) struct Variable<'a> {
    guid: [u8; 16],
    pub(super) name: String,
    pub(super) value: &'a [u8],
}

impl Variable<'_> {
    pub(super) fn is_global(&self) -> bool {
        self.guid == GLOBAL
    }

    /// PK and KEK are global variables, db and dbx are of the image security database (UEFI §32.6).
    pub(super) fn is_of_secure_boot(&self, name: &str) -> bool {
        match name {
            "db" | "dbx" => self.guid == SECURITY_DATABASE,
            _ => self.is_global(),
        }
    }
}

/// The variable of exactly these bytes.
pub(super) fn variable(data: &[u8]) -> Option<Variable<'_>> {
    let mut cursor = Cursor::new(data);
    let guid = cursor.take(16).ok()?.try_into().ok()?;
    let name_units = usize::try_from(cursor.u64_le().ok()?).ok()?;
    let value_bytes = usize::try_from(cursor.u64_le().ok()?).ok()?;
    let name = cursor.take(name_units.checked_mul(2)?).ok()?;
    let value = cursor.take(value_bytes).ok()?;
    cursor.rest().is_empty().then_some(())?;
    Some(Variable {
        guid,
        name: utf16_text(name)?,
        value,
    })
}

/// UTF-16LE text up to its final zero; nothing for what is none, or for an empty one.
pub(super) fn utf16_text(bytes: &[u8]) -> Option<String> {
    let (pairs, odd) = bytes.as_chunks::<2>();
    let units: Vec<u16> = pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
    let text = String::from_utf16(units.strip_suffix(&[0]).unwrap_or(&units)).ok()?;
    // Two bytes of narrow text make one wide character too, which no firmware writes.
    let plain = text
        .chars()
        .all(|c| c.is_ascii() && (!c.is_control() || c.is_ascii_whitespace()));
    (odd.is_empty() && plain && !text.is_empty()).then_some(text)
}

/// The file of a UEFI_IMAGE_LOAD_EVENT's device path (PFP §10.2.3; UEFI §10.3.5.4: type 4, subtype 4), where it has one.
pub(super) fn file_path(data: &[u8]) -> Option<String> {
    let mut cursor = Cursor::new(data);
    cursor.take(24).ok()?;
    let length = usize::try_from(cursor.u64_le().ok()?).ok()?;
    let mut path = Cursor::new(cursor.take(length).ok()?);
    while let (Ok(kind), Ok(subtype), Ok(length)) = (path.u8(), path.u8(), path.u16_le()) {
        let node = path.take(usize::from(length).checked_sub(4)?).ok()?;
        if (kind, subtype) == (4, 4) {
            return utf16_text(node);
        }
    }
    None
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GptPartition {
    /// Its type's GUID, in hexadecimal as UEFI writes the bytes.
    pub kind: String,
    /// Its own GUID.
    pub id: String,
    /// Its first and last block.
    pub blocks: (u64, u64),
}

/// A partition table as it was measured (UEFI_GPT_DATA, PFP §10.2.5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GptTable {
    /// The disk's GUID.
    pub disk: String,
    /// Its partitions that are in use.
    pub partitions: Vec<GptPartition>,
}

impl GptTable {
    /// The table of exactly these bytes.
    pub(super) fn parse(data: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(data);
        let header = cursor.take(GPT_HEADER_BYTES).ok()?;
        let disk = header
            .strip_prefix(GPT_SIGNATURE)
            .and_then(|_| header.get(56..72))?;
        let count = usize::try_from(cursor.u64_le().ok()?).ok()?;
        let entries = cursor.rest();
        if count > MAX_PARTITIONS || entries.len() != count.checked_mul(GPT_ENTRY_BYTES)? {
            return None;
        }
        let partitions = entries.chunks_exact(GPT_ENTRY_BYTES).map(partition);
        Some(Self {
            disk: hex(disk),
            partitions: partitions.collect::<Option<_>>()?,
        })
    }
}

fn partition(entry: &[u8]) -> Option<GptPartition> {
    let mut cursor = Cursor::new(entry);
    Some(GptPartition {
        kind: hex(cursor.take(16).ok()?),
        id: hex(cursor.take(16).ok()?),
        blocks: (cursor.u64_le().ok()?, cursor.u64_le().ok()?),
    })
}
