//! The store itself: records that are believed because the chip vouches for them and has counted their generation.

use super::chip::StoreChip;
use super::error::StoreError;
use super::file::{Row, StoreFile};
use super::seal::{RecordKey, RecordKind, Seal, Tags, row};
use crate::Result;
use alcub3_trust_model::managed_key::StoreHeader;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// A change of one record: its new body, or its removal.
pub(super) type Change = (RecordKey, Option<Vec<u8>>);

/// An open store.
#[derive(Debug)]
pub(crate) struct Store {
    file: StoreFile,
    seal: Seal,
    header: StoreHeader,
    tags: Tags,
    /// The chip is known to have counted the header's generation.
    counted: bool,
}

impl Store {
    /// Makes an empty store in place of what is there, `ahead` generations after what the chip has counted: 0 for a chip
    /// that never had one, 1 so that no store of before is ever taken for it.
    ///
    /// Commands: 1 Create, 1 Load, 1 HMAC, 1 NV_Read, a flush.
    pub(crate) fn create(path: &Path, chip: &StoreChip, ahead: u64) -> Result<()> {
        let (public, private) = chip.make_key()?;
        let seal = chip.derive(&public, &private)?;
        let generation = chip.counted()?.saturating_add(ahead);
        let header = StoreHeader {
            generation,
            content: seal.content(generation, &Tags::new()),
            public,
            private,
        };
        Ok(StoreFile::create(path, &header.to_canonical())?)
    }

    /// Opens a store: reads and checks the whole of it, then that it is the generation the chip has counted.
    ///
    /// Commands: 1 Load, 1 HMAC, 1 NV_Read, a flush; 1 NV_Increment where a crash came between a commit and its count.
    fn open(path: &Path, chip: &StoreChip) -> Result<Self> {
        let file = StoreFile::open(path)?;
        let header = StoreHeader::from_canonical(&file.header()?)
            .map_err(|error| StoreError::edited(format!("its header ({error})")))?;
        let seal = chip.derive_for(&header)?;
        let mut tags = Tags::new();
        file.each(|key, row| {
            let key = RecordKey::from_bytes(key);
            let (tag, _) = seal
                .open(&key, row)
                .ok_or_else(|| StoreError::edited(key.to_string()))?;
            tags.insert(key, tag);
            Ok(())
        })?;
        if seal.content(header.generation, &tags) != header.content {
            return Err(StoreError::edited(
                "its content (a record was taken away, added or put back in an older form)",
            )
            .into());
        }
        let mut store = Self {
            file,
            seal,
            header,
            tags,
            counted: false,
        };
        store.settle(chip)?;
        Ok(store)
    }

    /// Makes sure that the chip has counted the present generation.
    fn settle(&mut self, chip: &StoreChip) -> Result<()> {
        if self.counted {
            return Ok(());
        }
        let (store, chip_has) = (self.header.generation, chip.counted()?);
        match store.checked_sub(chip_has) {
            Some(0) => {}
            Some(1) => chip.count()?,
            _ => {
                return Err(StoreError::RolledBack {
                    store,
                    chip: chip_has,
                }
                .into());
            }
        }
        self.counted = true;
        Ok(())
    }

    /// Commits changes as the next generation: all of them or none, durably. Commands: 1 NV_Increment.
    ///
    /// Where the increment fails the change is made and not acknowledged; the next use of the store counts it.
    pub(super) fn commit(&mut self, changes: Vec<Change>, chip: &StoreChip) -> Result<()> {
        self.settle(chip)?;
        let generation = self.header.generation.saturating_add(1);
        let mut tags = self.tags.clone();
        let rows: Vec<Row> = changes
            .into_iter()
            .map(|(key, body)| self.row(&mut tags, generation, key, body))
            .collect();
        let header = StoreHeader {
            generation,
            content: self.seal.content(generation, &tags),
            ..self.header.clone()
        };
        self.file.commit(&header.to_canonical(), &rows)?;
        (self.header, self.tags, self.counted) = (header, tags, false);
        chip.count()?;
        self.counted = true;
        Ok(())
    }

    fn row(&self, tags: &mut Tags, generation: u64, key: RecordKey, body: Option<Vec<u8>>) -> Row {
        let Some(body) = body else {
            tags.remove(&key);
            return (key, None);
        };
        let tag = self.seal.record(&key, generation, &body);
        tags.insert(key.clone(), tag);
        (key, Some(row(generation, &tag, &body)))
    }

    /// The body of a record. What is read must still be what was read when the store was opened, or written since.
    pub(super) fn get(&self, key: &RecordKey) -> Result<Option<Vec<u8>>> {
        let Some(expected) = self.tags.get(key) else {
            return Ok(None);
        };
        let row = self.file.row(key)?.unwrap_or_default();
        match self.seal.open(key, &row) {
            Some((tag, body)) if tag == *expected => Ok(Some(body.to_vec())),
            _ => Err(StoreError::edited(key.to_string()).into()),
        }
    }

    /// The keys of all records of a kind, in order.
    pub(super) fn keys(&self, kind: RecordKind) -> Vec<RecordKey> {
        self.tags.keys().filter(|key| key.is_of(kind)).cloned().collect()
    }
}

/// The store of a robot, opened when it is first needed: a robot whose store is refused can still be stopped.
#[derive(Clone, Default)]
pub(crate) struct KeyStore(Arc<Mutex<Option<Store>>>);

impl KeyStore {
    /// Works on the open store. After a failure that is not a refusal of the work itself the store is read anew, so that
    /// nothing in memory outlives what the disk or the chip says.
    pub(super) fn with<T>(
        &self,
        path: &Path,
        chip: &StoreChip,
        work: impl FnOnce(&mut Store) -> Result<T>,
    ) -> Result<T> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut store = match slot.take() {
            Some(store) => store,
            None => Store::open(path, chip)?,
        };
        let done = work(&mut store);
        if !matches!(&done, Err(crate::KeysError::Store(_))) {
            *slot = Some(store);
        }
        done
    }

    /// Closes the file, so that it can be taken away.
    pub(crate) fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Replaces the store while nobody works on it.
    pub(super) fn replace(&self, make: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *slot = None;
        make()
    }
}

impl fmt::Debug for KeyStore {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("KeyStore")
    }
}
