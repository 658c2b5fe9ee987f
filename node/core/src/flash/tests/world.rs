//! A store on simulated flash, and a model of it.

use crate::flash::nor::{Nor, Tear};
use crate::flash::{
    Config, Done, Error, ExtentId, ExtentState, Geometry, Op, Owner, Store, Ticket,
};
use capmesh_blob::{Geometry as Pieces, lay_out};
use capmesh_wire::BlobRef;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::vec::Vec;

/// Small enough that everything happens often.
pub(super) const TINY: Config = Config {
    geometry: Geometry { sector: 512, unit: 4, page: 64, rewrites: true },
    log_sectors: 5,
    extent_sectors: 12,
    max_group: 140,
    max_records: 24,
    max_extents: 6,
    queue: 400,
    write: 256,
};

/// Flash whose units are programmed once and are long.
pub(super) const ONCE: Config = Config {
    geometry: Geometry { sector: 1024, unit: 16, page: 64, rewrites: false },
    extent_sectors: 12,
    ..TINY
};

pub(super) const OWNER: Owner = Owner { kind: 7, id: 8 };

/// SplitMix64.
#[derive(Clone)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(super) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// A blob as it is stored: chunks and pages.
#[derive(Clone, Debug)]
pub(super) struct Blob {
    pub(super) name: BlobRef,
    pub(super) pieces: Pieces,
    pub(super) stored: Vec<u8>,
}

impl Blob {
    pub(super) fn new(content: &[u8]) -> Self {
        let pieces = Pieces::new(content.len() as u32, 8).unwrap();
        let mut stored = content.to_vec();
        stored.resize(pieces.stored_size() as usize, 0xff);
        let name = lay_out(&mut stored, content.len() as u32, 8).unwrap();
        Self { name, pieces, stored }
    }

    pub(super) fn piece(&self, piece: u16) -> &[u8] {
        let at = self.pieces.offset(piece) as usize;
        &self.stored[at..][..usize::from(self.pieces.len(piece))]
    }
}

pub(super) type Key = (u8, u32);

#[derive(Clone, Debug)]
pub(super) struct ExtentModel {
    pub(super) state: ExtentState,
    pub(super) blob: Blob,
    pub(super) marked: BTreeSet<u16>,
    /// The piece that is being written.
    pub(super) writing: Option<u16>,
}

/// What is durable.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) records: BTreeMap<Key, Vec<u8>>,
    pub(super) extents: BTreeMap<u32, ExtentModel>,
}

/// A change in a group.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Put(Key, Vec<u8>),
    Delete(Key),
    Commit(ExtentId),
    Remove(ExtentId),
    Retire(ExtentId),
}

impl Model {
    pub(super) fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Put(key, value) => drop(self.records.insert(*key, value.clone())),
                Change::Delete(key) => drop(self.records.remove(key)),
                Change::Commit(id) => {
                    self.extents.get_mut(&id.0).unwrap().state = ExtentState::Whole;
                }
                Change::Remove(id) => drop(self.extents.remove(&id.0)),
                Change::Retire(id) => {
                    let is_gone = |e: &ExtentModel| e.state == ExtentState::Gone;
                    while self.extents.values().filter(|e| is_gone(e)).count()
                        >= usize::from(TINY.max_extents / 4)
                    {
                        let oldest = self.extents.iter().find(|(_, e)| is_gone(e)).unwrap();
                        let oldest = *oldest.0;
                        self.extents.remove(&oldest);
                    }
                    self.extents.get_mut(&id.0).unwrap().state = ExtentState::Gone;
                }
            }
        }
    }

    /// Whether the store holds this, and perhaps an extent that was just allocated.
    pub(super) fn is(&self, store: &Store, flash: &[u8], new: Option<u32>) -> bool {
        let kinds: BTreeSet<u8> = self.records.keys().map(|(kind, _)| *kind).chain(0..4).collect();
        let records: BTreeMap<Key, Vec<u8>> = kinds
            .iter()
            .flat_map(|kind| {
                store.iter(flash, *kind).map(move |(id, value)| ((*kind, id), value.to_vec()))
            })
            .collect();
        let ids = |id: &u32| Some(*id) != new || self.extents.contains_key(id);
        let found: Vec<u32> = store.extents(flash).map(|(id, _)| id.0).filter(ids).collect();
        records == self.records
            && found == self.extents.keys().copied().collect::<Vec<_>>()
            && self.extents.iter().all(|(id, model)| model.is(ExtentId(*id), store, flash))
    }
}

impl ExtentModel {
    fn is(&self, id: ExtentId, store: &Store, flash: &[u8]) -> bool {
        let found = store.extent(flash, id).unwrap();
        assert_eq!((found.blob, found.owner), (self.blob.name, OWNER));
        let stored = |offset: u32, len: u32| store.stored(flash, id, offset, len);
        let is_there = |piece: &u16| {
            let (at, len) = (self.blob.pieces.offset(*piece), self.blob.pieces.len(*piece));
            stored(at, u32::from(len)) == Some(self.blob.piece(*piece))
        };
        let pieces: BTreeSet<u16> = store.pieces(flash, id).collect();
        found.state == self.state
            && match self.state {
                ExtentState::Gone => pieces.is_empty() && stored(0, 1).is_none(),
                ExtentState::Whole => (0..self.blob.pieces.pieces()).all(|piece| is_there(&piece)),
                ExtentState::Partial => {
                    let perhaps = |piece: &u16| Some(*piece) == self.writing;
                    assert!(pieces.iter().all(is_there), "a piece is marked and not there");
                    pieces.is_superset(&self.marked) && pieces.difference(&self.marked).all(perhaps)
                }
            }
    }
}

/// A store, its flash and its model.
pub(super) struct World {
    pub(super) nor: Nor,
    pub(super) store: Store,
    pub(super) model: Model,
    pub(super) waiting: VecDeque<(Ticket, Vec<Change>)>,
    pub(super) allocating: Option<(ExtentId, Blob)>,
    pub(super) writing: Option<ExtentId>,
}

impl World {
    pub(super) fn new(config: Config) -> Self {
        Self::on(Nor::new(config.geometry, config.bytes()), config)
    }

    pub(super) fn on(nor: Nor, config: Config) -> Self {
        let store = Store::mount(nor.bytes(), config);
        Self {
            store,
            nor,
            model: Model::default(),
            waiting: VecDeque::new(),
            allocating: None,
            writing: None,
        }
    }

    pub(super) fn submit(&mut self, changes: Vec<Change>) -> Result<Ticket, Error> {
        let flash = self.nor.bytes();
        let waiting = self.store.waiting();
        let mut group = self.store.group();
        for change in &changes {
            match change {
                Change::Put((kind, id), value) => group.put(*kind, *id, value)?,
                Change::Delete((kind, id)) => group.delete(*kind, *id)?,
                Change::Commit(id) => group.commit_extent(flash, *id)?,
                Change::Remove(id) => group.remove_extent(flash, *id)?,
                Change::Retire(id) => group.retire_extent(flash, *id)?,
            }
        }
        let ticket = group.submit()?;
        if self.store.waiting() > waiting {
            self.waiting.push_back((ticket, changes));
        }
        Ok(ticket)
    }

    pub(super) fn put(&mut self, key: Key, value: &[u8]) -> Result<Ticket, Error> {
        self.submit(std::vec![Change::Put(key, value.to_vec())])
    }

    pub(super) fn delete(&mut self, key: Key) -> Result<Ticket, Error> {
        self.submit(std::vec![Change::Delete(key)])
    }

    pub(super) fn allocate(&mut self, blob: Blob) -> Result<ExtentId, Error> {
        let id = self.store.allocate(self.nor.bytes(), &blob.name, OWNER)?;
        self.allocating = Some((id, blob));
        Ok(id)
    }

    pub(super) fn write_piece(&mut self, id: ExtentId, piece: u16) -> Result<(), Error> {
        let model = self.model.extents.get_mut(&id.0).ok_or(Error::NoExtent)?;
        let bytes = model.blob.piece(piece);
        self.store.write_piece(self.nor.bytes(), id, piece, bytes)?;
        model.writing = Some(piece);
        self.writing = Some(id);
        Ok(())
    }

    /// Does one operation, after `before` has seen it.
    pub(super) fn step_with(
        &mut self,
        before: &mut dyn FnMut(&Self, Op<'_>),
    ) -> Option<Option<Done>> {
        let mut bytes = Vec::new();
        let op = match self.store.poll(self.nor.bytes())? {
            Op::Erase { at } => Op::Erase { at },
            Op::Program { at, bytes: page } => {
                bytes.extend_from_slice(page);
                Op::Program { at, bytes: &bytes }
            }
        };
        before(self, op);
        let result = self.nor.apply(op);
        let done = self.store.flashed(self.nor.bytes(), result);
        self.note(done);
        Some(done)
    }

    pub(super) fn step(&mut self) -> Option<Option<Done>> {
        self.step_with(&mut |_, _| {})
    }

    /// Runs until there is nothing to do, and says how many operations that took.
    pub(super) fn settle(&mut self) -> usize {
        (0..)
            .take_while(|n| {
                assert!(*n < 20_000, "it does not come to rest");
                self.step().is_some()
            })
            .count()
    }

    pub(super) fn note(&mut self, done: Option<Done>) {
        match done {
            None => {}
            Some(Done::Durable(ticket)) => {
                let (expected, changes) = self.waiting.pop_front().expect("something waits");
                assert_eq!(expected, ticket);
                self.model.apply(&changes);
            }
            Some(Done::Ready(id)) => {
                let (expected, blob) = self.allocating.take().expect("one is allocated");
                assert_eq!(expected, id);
                let state = ExtentState::Partial;
                let marked = BTreeSet::new();
                let model = ExtentModel { state, blob, marked, writing: None };
                self.model.extents.insert(id.0, model);
            }
            Some(Done::AllocateFailed(_)) => self.allocating = None,
            Some(Done::Written(id)) => {
                assert_eq!(self.writing.take(), Some(id));
                let model = self.model.extents.get_mut(&id.0).expect("it exists");
                model.marked.extend(model.writing.take());
            }
            Some(Done::WriteFailed(id)) => {
                self.writing = None;
                self.model.extents.get_mut(&id.0).expect("it exists").writing = None;
            }
        }
    }

    pub(super) fn check(&self) {
        let new = self.allocating.as_ref().map(|(id, _)| id.0);
        assert!(self.model.is(&self.store, self.nor.bytes(), new), "the store is not its model");
    }

    /// What is there after a power cut in the middle of `op`: the state before, or that with the
    /// first group that waits.
    pub(super) fn cut(&self, op: Op<'_>, tear: Tear) -> Self {
        let mut nor = self.nor.clone();
        nor.tear(op, tear);
        let mut after = Self::on(nor, *self.store.config());
        let new = self.allocating.as_ref();
        let mut next = self.model.clone();
        if let Some((_, changes)) = self.waiting.front() {
            next.apply(changes);
        }
        let is = |model: &Model| model.is(&after.store, after.nor.bytes(), new.map(|(id, _)| id.0));
        after.model = if is(&self.model) {
            self.model.clone()
        } else if is(&next) {
            next
        } else {
            panic!("{tear:?} of {op:?} leaves something else");
        };
        // Its model goes on from what was found.
        let found: Vec<_> = after.store.extents(after.nor.bytes()).map(|(id, _)| id).collect();
        for id in found {
            let marked = after.store.pieces(after.nor.bytes(), id).collect();
            let fresh = || ExtentModel {
                state: ExtentState::Partial,
                blob: new.unwrap().1.clone(),
                marked: BTreeSet::new(),
                writing: None,
            };
            let model = after.model.extents.entry(id.0).or_insert_with(fresh);
            model.writing = None;
            if model.state == ExtentState::Partial {
                model.marked = marked;
            }
        }
        after.check();
        after.check_sectors();
        after
    }

    /// Every sector belongs to one extent or is free.
    pub(super) fn check_sectors(&self) {
        let config = self.store.config();
        let taken: u32 =
            self.store.extents(self.nor.bytes()).map(|(_, e)| u32::from(e.sectors)).sum();
        let free = self.store.usage(self.nor.bytes()).extents_free / config.geometry.sector;
        assert_eq!(taken + free, u32::from(config.extent_sectors), "a sector is lost");
    }
}
