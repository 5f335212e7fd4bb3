//! The links on the robot's disk: a file each, written new, flushed and renamed.

use super::OfflineError;
use crate::{AgentError, Result};
use alcub3_attestation::offline::Chain;
use alcub3_crypto::{Digest, HashAlg};
use alcub3_keys::StateFolder;
use alcub3_trust_model::canonical::{DecodeError, Encoder, Reader};

const FOLDER: &str = "offline";
const ANCHOR: &str = "offline-anchor.cbor";
const ANCHOR_DOMAIN: &str = "alcub3/robot-offline-anchor/v1";
const VERSION: u64 = 1;

/// What is kept and follows each other.
#[derive(Default)]
pub(super) struct Kept {
    /// What stands before the first link.
    pub(super) anchor: Option<Digest>,
    pub(super) links: Vec<Vec<u8>>,
    /// The chain of them.
    pub(super) chain: Option<Chain>,
}

impl Kept {
    /// Reads what is kept, and names the files that do not belong to it: from the first on that does not follow. What a removal
    /// that was cut short left does not begin at the first link.
    pub(super) fn load(folder: &StateFolder) -> Result<(Self, Vec<String>)> {
        let names = folder.list(FOLDER)?;
        let mut kept = Self::default();
        for (at, name) in names.iter().enumerate() {
            let link = folder.read(&format!("{FOLDER}/{name}"))?.unwrap_or_default();
            if *name != file_name(at as u64) || !kept.follows(link) {
                return Ok((kept, names.into_iter().skip(at).collect()));
            }
        }
        Ok((kept, Vec::new()))
    }

    fn follows(&mut self, link: Vec<u8>) -> bool {
        let mut chain = match &self.chain {
            Some(chain) => chain.clone(),
            None => match Chain::before(&link) {
                Ok(chain) => chain,
                Err(_) => return false,
            },
        };
        let before = chain.head();
        if chain.follow(&link).is_err() {
            return false;
        }
        self.anchor.get_or_insert(before);
        self.chain = Some(chain);
        self.links.push(link);
        true
    }

    pub(super) fn bytes(&self) -> usize {
        self.links.iter().map(Vec::len).sum()
    }

    pub(super) fn full(&self) -> OfflineError {
        OfflineError::Full {
            links: self.links.len(),
            bytes: self.bytes(),
        }
    }

    pub(super) fn put(folder: &StateFolder, index: u64, link: &[u8]) -> Result<()> {
        Ok(folder.write(&format!("{FOLDER}/{}", file_name(index)), link)?)
    }

    /// Removes files, the first of them first.
    pub(super) fn remove(folder: &StateFolder, names: &[String]) -> Result<()> {
        let names: Vec<String> = names.iter().map(|name| format!("{FOLDER}/{name}")).collect();
        Ok(folder.remove_all(FOLDER, &names)?)
    }

    pub(super) fn remove_all(folder: &StateFolder) -> Result<()> {
        Self::remove(folder, &folder.list(FOLDER)?)
    }

    /// What the next queue begins behind.
    pub(super) fn anchor(folder: &StateFolder) -> Result<Option<Digest>> {
        let Some(bytes) = folder.read(ANCHOR)? else {
            return Ok(None);
        };
        let anchor = decode_anchor(&bytes).map_err(|source| AgentError::Record { name: ANCHOR, source })?;
        Ok(Some(anchor))
    }

    pub(super) fn put_anchor(folder: &StateFolder, anchor: &Digest) -> Result<()> {
        let mut out = Encoder::structure(ANCHOR_DOMAIN, VERSION, 1);
        out.u64(2).digest(anchor);
        Ok(folder.write(ANCHOR, &out.finish())?)
    }
}

fn decode_anchor(bytes: &[u8]) -> std::result::Result<Digest, DecodeError> {
    let mut reader = Reader::new(ANCHOR_DOMAIN, bytes);
    let r = &mut reader;
    let mut fields = r.structure(ANCHOR_DOMAIN, VERSION)?;
    fields.key(r, 2, "anchor")?;
    let anchor = r.digest("anchor")?;
    fields.finish(r)?;
    r.finish()?;
    if anchor.alg() == HashAlg::Sha256 {
        Ok(anchor)
    } else {
        Err(r.fault("anchor", alcub3_trust_model::canonical::Fault::Value))
    }
}

fn file_name(index: u64) -> String {
    format!("{index:08}.link")
}
