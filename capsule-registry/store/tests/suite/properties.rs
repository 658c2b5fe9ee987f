//! Both backends behave alike, and a power cut leaves the state before a change or behind it.

use crate::site::{FACTS, Facts, NOW, module, push, sign};
use capmesh_registry_store::{Backend, Memory, Sqlite, Store, Table};
use capmesh_wire::{CapsuleName, Digest, Tag};
use proptest::prelude::*;
use std::path::Path;

/// What may be done to a store.
#[derive(Clone, Debug)]
enum Step {
    Blob(u8),
    Push { capsule: u8, tag: Option<u8> },
    Untag(u8),
    Lease { capsule: u8, holder: u8, seconds: u64 },
    Collect { seconds: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let capsule = 0_u8..6;
    let step = prop_oneof![
        1 => (0_u8..4).prop_map(Step::Blob),
        5 => (capsule.clone(), proptest::option::weighted(0.8, 0_u8..3))
            .prop_map(|(capsule, tag)| Step::Push { capsule, tag }),
        1 => (0_u8..3).prop_map(Step::Untag),
        1 => (capsule, 0_u8..3, 0_u64..200)
            .prop_map(|(capsule, holder, seconds)| Step::Lease { capsule, holder, seconds }),
        1 => (0_u64..200).prop_map(|seconds| Step::Collect { seconds }),
    ];
    proptest::collection::vec(step, 1..24)
}

/// Manifest and module of one of a few capsules: modules are shared, sequence numbers differ.
fn capsule(n: u8) -> (Vec<u8>, Vec<u8>) {
    let module = module(600, n / 2);
    let name = if n.is_multiple_of(3) { "city/other" } else { FACTS.name };
    let manifest = sign(&module, Facts { sequence: u64::from(n), chunk_log2: 8, name, ..FACTS });
    (manifest, module)
}

/// Does a step, and says what came of it.
fn take<B: Backend>(store: &mut Store<B>, now: u64, step: &Step) -> String {
    let tag = |n: u8| format!("t{n}");
    let name = |n: u8| if n.is_multiple_of(3) { "city/other" } else { FACTS.name };
    match step {
        Step::Blob(n) => format!("{:?}", store.put_blob(now, &[*n; 300])),
        Step::Push { capsule: n, tag: to } => {
            let (manifest, module) = capsule(*n);
            let to = to.map(tag);
            let blobs = (&manifest[..], &module[..]);
            format!("{:?}", push(store, now, blobs, (name(*n), to.as_deref()), &[*n]))
        }
        Step::Untag(n) => {
            let (name, tag) = (CapsuleName::new(FACTS.name).unwrap(), tag(*n));
            format!("{:?}", store.untag(now, name, Tag::new(&tag).unwrap()))
        }
        Step::Lease { capsule: n, holder, seconds } => {
            let digest = Digest::of(&capsule(*n).0);
            format!("{:?}", store.lease(&digest, &[*holder; 8], now + seconds))
        }
        Step::Collect { seconds } => format!("{:?}", store.collect(now, *seconds)),
    }
}

/// Every record there is.
fn everything<B: Backend>(backend: &B) -> Vec<(Table, Vec<u8>, Vec<u8>)> {
    let records = |table: Table| {
        let found = backend.scan(table, &[]).unwrap();
        assert_eq!(backend.count(table), Ok(found.len()));
        found.into_iter().map(move |(key, value)| (table, key, value))
    };
    Table::ALL.into_iter().flat_map(records).collect()
}

fn copy(from: &Path, to: &Path, wal: usize) {
    std::fs::copy(from.join("r.db"), to.join("r.db")).unwrap();
    let bytes = std::fs::read(from.join("r.db-wal")).unwrap();
    std::fs::write(to.join("r.db-wal"), &bytes[..wal.min(bytes.len())]).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn memory_and_sqlite_are_alike(steps in steps()) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("r.db");
        let quota = 8_000;
        let mut memory = Store::open(Memory::new(), quota).unwrap();
        let mut sqlite = Store::open(Sqlite::open(&path).unwrap(), quota).unwrap();
        for (now, step) in (NOW..).step_by(30).zip(&steps) {
            prop_assert_eq!(take(&mut memory, now, step), take(&mut sqlite, now, step));
            prop_assert_eq!(memory.usage(), sqlite.usage());
        }
        prop_assert_eq!(everything(memory.backend()), everything(sqlite.backend()));
        // What counts against the quota is what there is.
        drop(sqlite);
        let reopened = Store::open(Sqlite::open(&path).unwrap(), quota).unwrap();
        prop_assert_eq!(memory.usage(), reopened.usage());
    }

    /// The file and the first bytes of its log are what a power cut leaves.
    #[test]
    fn a_power_cut_leaves_a_whole_state(steps in steps(), cuts in proptest::collection::vec(0.0..1.0, 4)) {
        let directory = tempfile::tempdir().unwrap();
        let mut store =
            Store::open(Sqlite::open(&directory.path().join("r.db")).unwrap(), 8_000).unwrap();
        let mut states = vec![everything(store.backend())];
        for (now, step) in (NOW..).step_by(30).zip(&steps) {
            // A push is three transactions: two blobs, and the capsule.
            if let Step::Push { capsule: n, .. } = step {
                let (manifest, module) = capsule(*n);
                for blob in [manifest, module] {
                    let _ = store.put_blob(now, &blob);
                    states.push(everything(store.backend()));
                }
            }
            take(&mut store, now, step);
            states.push(everything(store.backend()));
        }
        let wal = std::fs::metadata(directory.path().join("r.db-wal")).unwrap().len();
        for cut in cuts {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is no more than a file is long")]
            let wal = (wal as f64 * cut) as usize;
            let left = tempfile::tempdir().unwrap();
            copy(directory.path(), left.path(), wal);
            let store = Store::open(Sqlite::open(&left.path().join("r.db")).unwrap(), 8_000).unwrap();
            let found = everything(store.backend());
            prop_assert!(states.contains(&found), "no state that ever was, at byte {}", wal);
        }
    }
}
