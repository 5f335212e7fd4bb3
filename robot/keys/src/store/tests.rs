//! The store alone on a chip: how much goes into one generation.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::anchored::{Change, KeyStore, Store};
use super::chip::StoreChip;
use super::seal::{RecordKey, RecordKind};
use crate::KeysError;
use crate::provisioning::nv_public;
use alcub3_crypto::tpm::template::PublicTemplate;
use alcub3_crypto::{Curve, HashAlg, Secret};
use alcub3_testkit::Swtpm;
use alcub3_tpm::ops::{Hierarchy, Key};
use alcub3_tpm::transport::{Counted, Counts};
use alcub3_tpm::{Auth, CommandCode, Lane, Tpm, TpmOptions};
use alcub3_trust_model::nv_map::{NvIndex, NvMap};
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

const MANY: u32 = 10_000;
const INCREMENT: CommandCode = CommandCode(0x134);

/// A chip with a storage root and a store's anchor, and a folder.
struct Bench {
    chip: StoreChip,
    counts: Counts,
    folder: TempDir,
    _swtpm: Swtpm,
}

impl Bench {
    fn new() -> Self {
        let swtpm = Swtpm::start().unwrap();
        let counted = Counted::new(swtpm.transport());
        let counts = counted.counts();
        let tpm = Tpm::start(Box::new(counted), TpmOptions::default()).unwrap();
        let nv = NvMap::new(HashAlg::Sha256).unwrap();
        let anchor = nv.spec(NvIndex::StoreAnchor);
        let made = tpm.run(Lane::Background, Duration::from_secs(30), move |chip| {
            let empty = Secret::from_slice(&[]);
            chip.nv_define(&empty, &nv_public(&anchor), &empty)?;
            chip.nv_increment(anchor.handle)?;
            let template = PublicTemplate::storage_parent(Curve::P256);
            chip.create_primary(Hierarchy::Owner, Auth::Empty, template.as_tpmt_bytes(), None, &[])
        });
        let storage_root = Key::from(made.unwrap().object);
        let bench = Self {
            chip: StoreChip {
                tpm,
                nv,
                storage_root,
            },
            counts,
            folder: TempDir::new().unwrap(),
            _swtpm: swtpm,
        };
        Store::create(&bench.path(), &bench.chip, 0).unwrap();
        bench
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    fn with<T>(&self, store: &KeyStore, work: impl FnOnce(&mut Store) -> crate::Result<T>) -> T {
        store.with(&self.path(), &self.chip, work).unwrap()
    }

    fn increments(&self) -> u64 {
        self.counts.of(INCREMENT)
    }
}

fn key(number: u32) -> RecordKey {
    RecordKey::new(RecordKind::ManagedKey, &number.to_be_bytes())
}

#[test]
fn ten_thousand_records_are_written_and_removed_as_one_generation_each() {
    let bench = Bench::new();
    let body = |number: u32| number.to_be_bytes().repeat(300);
    let all = |body: &dyn Fn(u32) -> Option<Vec<u8>>| -> Vec<Change> {
        (0..MANY).map(|number| (key(number), body(number))).collect()
    };
    let store = KeyStore::default();
    let before = bench.increments();
    bench.with(&store, |store| store.commit(all(&|n| Some(body(n))), &bench.chip));
    assert_eq!(bench.increments(), before + 1);

    // Another process finds them; one of them costs no command of the chip.
    store.close();
    let store = KeyStore::default();
    let count = bench.with(&store, |store| Ok(store.keys(RecordKind::ManagedKey).len()));
    assert_eq!(count, 10_000);
    let commands = bench.counts.total();
    let one = bench.with(&store, |store| store.get(&key(4_711)));
    assert_eq!((one, bench.counts.total()), (Some(body(4_711)), commands));

    bench.with(&store, |store| store.commit(all(&|_| None), &bench.chip));
    assert_eq!(bench.increments(), before + 2);
    store.close();
    let left = bench.with(&KeyStore::default(), |store| {
        Ok(store.keys(RecordKind::ManagedKey).len())
    });
    assert_eq!(left, 0);
}

#[test]
fn a_store_is_made_anew_in_place_of_what_is_there_and_the_old_one_is_refused() {
    let bench = Bench::new();
    let store = KeyStore::default();
    let change = vec![(key(1), Some(vec![1]))];
    bench.with(&store, |store| store.commit(change, &bench.chip));
    store.close();
    let old = std::fs::read(bench.path()).unwrap();
    Store::create(&bench.path(), &bench.chip, 1).unwrap();
    assert!(bench.with(&store, |store| store.get(&key(1))).is_none());
    store.close();
    std::fs::write(bench.path(), old).unwrap();
    let refused = store.with(&bench.path(), &bench.chip, |_| Ok(()));
    assert!(
        matches!(&refused, Err(KeysError::Store(error)) if error.code() == "store-rolled-back"),
        "{refused:?}"
    );
}
