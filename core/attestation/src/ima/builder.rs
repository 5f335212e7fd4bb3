//! Makes measurement lists as a kernel would, for tests, tours and fuzzing.

use super::{Entry, ImaLog, ORIGINAL_NAME_BYTES, Template};
use crate::pcr::PcrValues;
use alcub3_crypto::{Digest, HashAlg};
use alcub3_trust_model::pcr_map::{BOOT, IMA};

/// A measurement list in the making, in the binary form with template hashes of SHA-1.
#[derive(Debug, Clone, Default)]
pub struct ListBuilder {
    bytes: Vec<u8>,
}

impl ListBuilder {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The first entry of a kernel that found these boot PCRs. PCRs without a value count as zero.
    pub fn boot_aggregate(&mut self, bank: HashAlg, boot: &PcrValues) -> &mut Self {
        let mut hasher = bank.hasher();
        for pcr in BOOT {
            let value = boot.value(bank, pcr).copied();
            hasher.update(value.unwrap_or(Digest::zero(bank)).as_bytes());
        }
        self.file("boot_aggregate", &hasher.finish())
    }

    /// A file that was measured (`ima-ng`).
    pub fn file(&mut self, name: &str, digest: &Digest) -> &mut Self {
        let digest = [digest.alg().name().as_bytes(), b":\0", digest.as_bytes()].concat();
        self.entry(
            Template::ImaNg,
            &[&digest, &[name.as_bytes(), &[0]].concat()],
            false,
        )
    }

    /// A file that was open for writing when it was measured.
    pub fn violation(&mut self, name: &str) -> &mut Self {
        let digest = [b"sha256:\0".as_slice(), &[0; 32]].concat();
        self.entry(
            Template::ImaNg,
            &[&digest, &[name.as_bytes(), &[0]].concat()],
            true,
        )
    }

    /// An entry of these fields; the first template's name goes without a zero byte.
    pub fn entry(&mut self, template: Template, fields: &[&[u8]], violation: bool) -> &mut Self {
        let mut data = Vec::new();
        for (number, field) in fields.iter().enumerate() {
            if !(template.is_original() && number == 0) {
                data.extend_from_slice(&length(field));
            }
            data.extend_from_slice(field);
        }
        let hash = match fields {
            _ if violation => Digest::zero(HashAlg::Sha1),
            [digest, name] if template.is_original() => {
                let mut padded = name.to_vec();
                padded.resize(ORIGINAL_NAME_BYTES, 0);
                HashAlg::Sha1.digest(&[digest, &padded])
            }
            _ => HashAlg::Sha1.digest(&[&data]),
        };
        let name = template.name().as_bytes();
        self.bytes.extend_from_slice(&u32::from(IMA).to_le_bytes());
        self.bytes.extend_from_slice(hash.as_bytes());
        self.bytes.extend_from_slice(&length(name));
        self.bytes.extend_from_slice(name);
        if !template.is_original() {
            self.bytes.extend_from_slice(&length(&data));
        }
        self.bytes.extend_from_slice(&data);
        self
    }

    /// The list so far.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What a kernel would have extended into a bank, in order; empty where the list is none.
    #[must_use]
    pub fn extends(&self, bank: HashAlg) -> Vec<Digest> {
        let extended = |entry: Entry<'_>| super::TemplateHashing::OfBank.extended(&entry, bank);
        ImaLog::parse(&self.bytes).map_or_else(|_| Vec::new(), |log| log.entries().map(extended).collect())
    }
}

fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes()
}
