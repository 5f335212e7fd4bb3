//! The store itself: records that are believed because the chip vouches for them and has counted their generation.

use super::chip::StoreChip;
use super::error::StoreError;
use super::file::{Row, StoreFile};
use super::seal::{RecordKey, RecordKind, Seal, Tags, row};
use crate::Result;
use alcub3_trust_model::managed_key::StoreHeader;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A change of one record: its new body, or its removal.
pub(super) type Change = (RecordKey, Option<Vec<u8>>);

/// An open store.
#[derive(Debug)]
pub(crate) struct Store {
    file: StoreFile,
    seal: Arc<Seal>,
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

    /// Makes an empty store in place of one that was given up or lost. Every key anchor moves, so that no key of it works
    /// again, and the generation moves by two: it may have had the next one already.
    ///
    /// Commands: 12 NV_Extend, 1 NV_Increment, and those of [`Self::create`].
    pub(crate) fn start_over(path: &Path, chip: &StoreChip) -> Result<()> {
        chip.move_key_anchors()?;
        chip.count()?;
        Self::create(path, chip, 1)
    }

    /// Opens a store: reads and checks the whole of it, then that it is the generation the chip has counted.
    ///
    /// Commands: 1 Load, 1 HMAC, 1 NV_Read, a flush; 1 NV_Increment where a crash came between a commit and its count. None
    /// of the first, second and last where the MAC key is known already.
    fn open(path: &Path, chip: &StoreChip, known: &KnownSeal) -> Result<Self> {
        let file = StoreFile::open(path)?;
        let header = StoreHeader::from_canonical(&file.header()?)
            .map_err(|error| StoreError::edited(format!("its header ({error})")))?;
        let seal = known.of(&header, chip)?;
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

/// The MAC key that this process derived first, with the key in the chip that it came from. A store that is put in the
/// place of the first one meanwhile does not replace it.
#[derive(Clone, Default)]
struct KnownSeal(Arc<Mutex<Option<Derived>>>);

type Derived = (StoreHeader, Arc<Seal>);

impl KnownSeal {
    fn lock(&self) -> MutexGuard<'_, Option<Derived>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self) -> Option<Arc<Seal>> {
        self.lock().as_ref().map(|(_, seal)| seal.clone())
    }

    /// The MAC key of a store. Commands: 1 Load, 1 HMAC, a flush; none where it is the known one.
    fn of(&self, header: &StoreHeader, chip: &StoreChip) -> Result<Arc<Seal>> {
        let same = |of: &StoreHeader| of.public == header.public && of.private == header.private;
        if let Some((of, seal)) = self.lock().as_ref()
            && same(of)
        {
            return Ok(seal.clone());
        }
        let seal = Arc::new(chip.derive_for(header)?);
        self.lock().get_or_insert_with(|| (header.clone(), seal.clone()));
        Ok(seal)
    }

    fn forget(&self) {
        *self.lock() = None;
    }
}

/// The store of a robot, opened when it is first needed: a robot whose store is refused can still be stopped.
#[derive(Clone, Default)]
pub(crate) struct KeyStore {
    open: Arc<Mutex<Option<Store>>>,
    known: KnownSeal,
}

impl KeyStore {
    fn lock(&self) -> MutexGuard<'_, Option<Store>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store's MAC key, which also vouches for the files of missions beside it. A store whose content is refused still
    /// has it; one whose header is not what this robot wrote has none.
    pub(crate) fn seal(&self, path: &Path, chip: &StoreChip) -> Result<Arc<Seal>> {
        if let Some(known) = self.known.get() {
            return Ok(known);
        }
        let opened = self.with(path, chip, |_| Ok(()));
        match (self.known.get(), opened) {
            (Some(known), _) => Ok(known),
            (None, Err(error)) => Err(error),
            (None, Ok(())) => Err(StoreError::edited("its header").into()),
        }
    }

    /// Works on the open store. After a failure that is not a refusal of the work itself the store is read anew, so that
    /// nothing in memory outlives what the disk or the chip says.
    pub(super) fn with<T>(
        &self,
        path: &Path,
        chip: &StoreChip,
        work: impl FnOnce(&mut Store) -> Result<T>,
    ) -> Result<T> {
        let mut slot = self.lock();
        let mut store = match slot.take() {
            Some(store) => store,
            None => Store::open(path, chip, &self.known)?,
        };
        let done = work(&mut store);
        if !matches!(&done, Err(crate::KeysError::Store(_))) {
            *slot = Some(store);
        }
        done
    }

    /// Closes the file, so that it can be taken away.
    pub(crate) fn close(&self) {
        *self.lock() = None;
    }

    /// Replaces the store while nobody works on it.
    pub(super) fn replace(&self, make: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut slot = self.lock();
        *slot = None;
        make()?;
        self.known.forget();
        Ok(())
    }
}

impl fmt::Debug for KeyStore {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("KeyStore")
    }
}
