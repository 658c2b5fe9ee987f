//! States of instances that the gateway keeps, so that they can go on elsewhere when their nodes are lost.

use crate::store::{Key, Store, Table};
use capmesh_blob::fetch::{Config, Fetch, Holdings, Input};
use capmesh_coap::Message;
use capmesh_coap::block::BlockSize;
use capmesh_coap::endpoint::{ExchangeId, Outcome};
use capmesh_session::{Link, Peer};
use capmesh_transfer::Fetcher;
use capmesh_wire::{BlobRef, Digest, Epoch, InstanceId, Instant};
use std::collections::BTreeMap;

/// Bytes of a checkpoint: a board's RAM.
const LIMIT: u32 = 128 << 10;

/// Bytes of all checkpoints.
const ALL: usize = 64 << 20;

/// Checkpoints that are fetched at one time.
const FETCHES: usize = 16;

/// A checkpoint that is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) epoch: Epoch,
    pub(crate) capsule: Digest,
    pub(crate) state: Vec<u8>,
}

struct Fetching {
    instance: InstanceId,
    epoch: Epoch,
    capsule: Digest,
    blob: BlobRef,
    fetcher: Box<Fetcher<Peer, 4, 1, 2, 1024, 1>>,
    stored: Vec<u8>,
}

/// All checkpoints, and those on their way.
#[derive(Default)]
pub(crate) struct Checkpoints {
    kept: BTreeMap<InstanceId, Checkpoint>,
    bytes: usize,
    fetching: Vec<Fetching>,
}

impl Checkpoints {
    /// Takes one that was durable.
    pub(crate) fn resume(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let instance = InstanceId(u32::from_be_bytes(key.try_into().ok()?));
        let (epoch, rest) = value.split_first_chunk::<4>()?;
        let (capsule, state) = rest.split_first_chunk::<{ Digest::LEN }>()?;
        let epoch = Epoch(u32::from_be_bytes(*epoch));
        let capsule = Digest::from_bytes(*capsule);
        self.bytes += state.len();
        self.kept.insert(instance, Checkpoint { epoch, capsule, state: state.to_vec() });
        Some(())
    }

    pub(crate) fn get(&self, instance: InstanceId) -> Option<&Checkpoint> {
        self.kept.get(&instance)
    }

    /// Forgets those of instances that are no more.
    pub(crate) fn retain(&mut self, store: &mut Store, is_there: impl Fn(InstanceId) -> bool) {
        let gone: Vec<_> = self.kept.keys().filter(|id| !is_there(**id)).copied().collect();
        gone.into_iter().for_each(|id| self.forget(store, id));
        self.fetching.retain(|fetching| is_there(fetching.instance));
    }

    /// Forgets that of an instance that begins afresh, and the one that is on its way.
    pub(crate) fn forget(&mut self, store: &mut Store, id: InstanceId) {
        if let Some(old) = self.kept.remove(&id) {
            self.bytes -= old.state.len();
            store.delete(Key::new(Table::Checkpoints, id.0.to_be_bytes()));
        }
        self.fetching.retain(|fetching| fetching.instance != id);
    }

    /// Fetches a checkpoint from the node that has taken it. It is left out if there is no room.
    pub(crate) fn fetch(
        &mut self,
        now: Instant,
        (instance, epoch, capsule): (InstanceId, Epoch, Digest),
        blob: &BlobRef,
        from: Peer,
        mtu: usize,
        seed: u32,
    ) {
        let known = self.fetching.iter().any(|fetching| fetching.instance == instance);
        let size = usize::try_from(blob.size).unwrap_or(usize::MAX);
        let is_full = self.fetching.len() >= FETCHES || self.bytes.saturating_add(size) > ALL;
        if known || is_full || blob.size > LIMIT {
            return;
        }
        let Ok(fetch) = Fetch::new(now, Config::default(), blob, seed) else { return };
        let Ok(stored) = usize::try_from(fetch.geometry().stored_size()) else { return };
        let block = BlockSize::at_most(mtu.saturating_sub(128)).unwrap_or(BlockSize::MIN);
        let mut fetcher = Box::new(Fetcher::new(fetch, blob.digest, block));
        fetcher.handle(now, Input::PeerUp { peer: from, rank: 0, holdings: Holdings::Whole });
        let (blob, stored) = (*blob, vec![0; stored]);
        self.fetching.push(Fetching { instance, epoch, capsule, blob, fetcher, stored });
    }

    pub(crate) fn response(&mut self, now: Instant, exchange: ExchangeId, m: Message<'_>) -> bool {
        self.fetching.iter_mut().any(|fetching| fetching.fetcher.response(now, exchange, m))
    }

    pub(crate) fn outcome(&mut self, now: Instant, outcome: &Outcome) -> bool {
        self.fetching.iter_mut().any(|fetching| fetching.fetcher.outcome(now, outcome))
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.fetching.iter().filter_map(|fetching| fetching.fetcher.poll_timeout()).min()
    }

    /// Goes on with what is on its way. What has come whole is kept, durably.
    pub(crate) fn poll(&mut self, now: Instant, link: &mut dyn Link, store: &mut Store) {
        let mut at = 0;
        while let Some(fetching) = self.fetching.get_mut(at) {
            // The fetcher takes an outbox, which a link is.
            let mut out: &mut dyn Link = link;
            let ended = fetching.fetcher.poll_into(now, &mut out, &mut fetching.stored);
            let Some(ended) = ended else {
                at += 1;
                continue;
            };
            let mut fetching = self.fetching.swap_remove(at);
            if ended.is_ok() {
                let size = usize::try_from(fetching.blob.size).unwrap_or(usize::MAX);
                fetching.stored.truncate(size);
                self.keep(store, fetching);
            }
        }
    }

    fn keep(&mut self, store: &mut Store, fetching: Fetching) {
        let Fetching { instance, epoch, capsule, stored: state, .. } = fetching;
        let mut value = epoch.0.to_be_bytes().to_vec();
        value.extend(capsule.as_bytes());
        value.extend(&state);
        store.put(Key::new(Table::Checkpoints, instance.0.to_be_bytes()), value);
        self.bytes += state.len();
        if let Some(old) = self.kept.insert(instance, Checkpoint { epoch, capsule, state }) {
            self.bytes -= old.state.len();
        }
    }
}

impl core::fmt::Debug for Checkpoints {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Checkpoints({}, {} on their way)", self.kept.len(), self.fetching.len())
    }
}
