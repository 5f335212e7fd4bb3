//! EFI_SIGNATURE_LIST: what the databases of secure boot hold (UEFI §32.4.1).

use crate::cursor::Cursor;
use crate::event_log::describe::hex;
use alcub3_crypto::HashAlg;
use serde::Serialize;

/// EFI_CERT_X509_GUID, in the byte order of UEFI.
const X509: [u8; 16] = [
    0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72,
];
/// EFI_CERT_SHA256_GUID.
const SHA256: [u8; 16] = [
    0x26, 0x16, 0xc4, 0xc1, 0x4c, 0x50, 0x92, 0x40, 0xac, 0xa9, 0x41, 0xf9, 0x36, 0x93, 0x43, 0x28,
];
/// Bytes of a list's head: type, list size, header size, signature size.
const HEAD_BYTES: usize = 28;
/// Bytes of an entry's owner.
const OWNER_BYTES: usize = 16;
/// The most entries of a database; the longest dbx has some hundreds.
const MAX_ENTRIES: usize = 16_384;

/// One entry of a database.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignatureEntry {
    /// A certificate, by the SHA-256 of its DER.
    Certificate(String),
    /// The SHA-256 of an image.
    ImageSha256(String),
    /// Another kind, by the SHA-256 of its bytes.
    Other(String),
}

/// What a database holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SignatureDatabase {
    /// Its entries, in order.
    pub entries: Vec<SignatureEntry>,
}

impl SignatureDatabase {
    /// The database of exactly these bytes; an empty one is empty. `None` for anything else.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut database = Self::default();
        let mut cursor = Cursor::new(bytes);
        while !cursor.rest().is_empty() {
            database.list(&mut cursor)?;
        }
        Some(database)
    }

    fn list(&mut self, cursor: &mut Cursor<'_>) -> Option<()> {
        let kind: [u8; 16] = cursor.take(16).ok()?.try_into().ok()?;
        let mut size = || usize::try_from(cursor.u32_le().ok()?).ok();
        let (list_size, header_size, signature_size) = (size()?, size()?, size()?);
        let body = cursor.take(list_size.checked_sub(HEAD_BYTES)?).ok()?;
        let signatures = body.get(header_size..)?;
        let data_size = signature_size.checked_sub(OWNER_BYTES).filter(|size| *size > 0)?;
        if signatures.len() % signature_size != 0 || (kind == SHA256 && data_size != HashAlg::Sha256.size()) {
            return None;
        }
        for signature in signatures.chunks_exact(signature_size) {
            if self.entries.len() >= MAX_ENTRIES {
                return None;
            }
            let data = signature.get(OWNER_BYTES..)?;
            let of_data = || HashAlg::Sha256.digest(&[data]).to_hex();
            self.entries.push(match kind {
                X509 => SignatureEntry::Certificate(of_data()),
                SHA256 => SignatureEntry::ImageSha256(hex(data)),
                _ => SignatureEntry::Other(of_data()),
            });
        }
        Some(())
    }
}
