//! Answers that cannot change, or whose change this process sees.

use super::chip_info::ChipInfo;
use super::keys::PersistentKey;
use super::nv_public::NvPublic;
use crate::random_health::RandomHealth;
use alcub3_crypto::tpm::Name;
use std::collections::HashMap;
use std::sync::Arc;

/// Verified-approval tickets kept at most; each is below 100 bytes.
const MAX_TICKETS: usize = 256;

/// What this process has learnt of the chip.
#[derive(Default)]
pub(crate) struct Cache {
    pub(super) persistent: HashMap<u32, PersistentKey>,
    pub(super) nv: HashMap<u32, NvPublic>,
    pub(super) info: Option<Arc<ChipInfo>>,
    pub(super) health: RandomHealth,
    tickets: HashMap<TicketKey, Vec<u8>>,
}

/// Which approval a ticket is for: the key's Name and the digest it signed.
pub(super) type TicketKey = (Name, Vec<u8>);

impl Cache {
    pub(super) fn ticket(&self, key: &TicketKey) -> Option<&Vec<u8>> {
        self.tickets.get(key)
    }

    pub(super) fn keep_ticket(&mut self, key: TicketKey, ticket: Vec<u8>) {
        if self.tickets.len() >= MAX_TICKETS {
            self.tickets.clear();
        }
        self.tickets.insert(key, ticket);
    }

    pub(super) fn forget_ticket(&mut self, key: &TicketKey) {
        self.tickets.remove(key);
    }

    /// After a reset: an index with CLEAR_STCLEAR is unwritten again, so its Name changed.
    pub(crate) fn forget_volatile(&mut self) {
        self.nv.clear();
    }

    /// After TPM2_Clear: the owner's and the endorsement hierarchy's objects, indices and proofs are gone.
    pub(super) fn forget_hierarchies(&mut self) {
        self.persistent.clear();
        self.nv.clear();
        self.tickets.clear();
    }
}
