//! A node's storage: any content of flash, any sequence of changes, faults and power cuts. The
//! simulated flash enforces its rules; what was durable stays, what was not comes whole or not at all.

use crate::Feed;
use capmesh_node::flash::nor::{Nor, Tear};
use capmesh_node::flash::{Config, Done, ExtentId, Fault, Geometry, Op, Owner, Store, Ticket};
use capmesh_wire::BlobRef;
use std::collections::{BTreeMap, VecDeque};

const CONFIG: Config = Config {
    geometry: Geometry { sector: 256, unit: 4, page: 32, rewrites: true },
    log_sectors: 4,
    extent_sectors: 4,
    max_group: 100,
    max_records: 10,
    max_extents: 3,
    queue: 200,
    write: 64,
};

const ONCE: Config =
    Config { geometry: Geometry { sector: 512, unit: 8, page: 32, rewrites: false }, ..CONFIG };

/// How many operations may follow one another before that counts as a loop.
const MOST_AT_ONCE: usize = 2_000;

/// What a key is to be; `None` if it has no value.
type Change = ((u8, u32), Option<Vec<u8>>);

struct World<'a> {
    feed: Feed<'a>,
    config: Config,
    nor: Nor,
    store: Store,
    durable: BTreeMap<(u8, u32), Vec<u8>>,
    waiting: VecDeque<(Ticket, Change)>,
    extent: Option<ExtentId>,
}

/// Runs the input as a program.
pub fn run(data: &[u8]) {
    let mut feed = Feed::new(data);
    let config = [CONFIG, ONCE][feed.below(2)];
    let mut content = vec![0xff; config.bytes() as usize];
    for _ in 0..feed.below(4) {
        let at = usize::from(feed.word()) % content.len();
        for (to, from) in content.iter_mut().skip(at).zip(feed.bytes(200)) {
            *to = *from;
        }
    }
    let nor = Nor::with_content(config.geometry, content);
    let store = Store::mount(nor.bytes(), config);
    let durable = contents(&store, nor.bytes());
    let waiting = VecDeque::new();
    let mut world = World { feed, config, nor, store, durable, waiting, extent: None };
    while !world.feed.is_empty() {
        world.operate();
    }
    world.work(MOST_AT_ONCE);
    assert!(world.store.has_failed() || world.waiting.is_empty(), "it does not come to rest");
}

/// All records of the kinds that are used here.
fn contents(store: &Store, flash: &[u8]) -> BTreeMap<(u8, u32), Vec<u8>> {
    let all = (0..3).flat_map(|kind| {
        store.iter(flash, kind).map(move |(id, value)| ((kind, id), value.to_vec()))
    });
    all.collect()
}

impl World<'_> {
    fn operate(&mut self) {
        match self.feed.below(8) {
            0..3 => {
                let key = self.key();
                let value = self.feed.bytes(95).to_vec();
                if let Ok(ticket) = self.store.put(key.0, key.1, &value) {
                    self.waiting.push_back((ticket, (key, Some(value))));
                }
            }
            3 => {
                let (key, before) = (self.key(), self.store.waiting());
                if let Ok(ticket) = self.store.delete(key.0, key.1)
                    && self.store.waiting() > before
                {
                    self.waiting.push_back((ticket, (key, None)));
                }
            }
            4 => self.extents(),
            5 => {
                let most = self.feed.below(40);
                self.work(most);
            }
            6 => self.fail(),
            _ => self.cut(),
        }
    }

    fn key(&mut self) -> (u8, u32) {
        (self.feed.below(3) as u8, self.feed.below(4) as u32)
    }

    /// Makes, writes, ends and reads extents.
    fn extents(&mut self) {
        let flash = self.nor.bytes();
        let digest = capmesh_wire::Digest::of(&[1]);
        let blob =
            BlobRef { digest, size: u32::from(self.feed.word()), chunk_log2: 8, root: digest };
        let id = ExtentId(self.feed.below(4) as u32);
        match self.feed.below(4) {
            0 => {
                let _ = self.store.allocate(flash, &blob, Owner { kind: 0, id: 0 });
            }
            1 => {
                let offset = u32::from(self.feed.word());
                let _ = self.store.write(flash, id, offset, self.feed.bytes(70));
            }
            2 => {
                let piece = u16::from(self.feed.byte());
                let _ = self.store.write_piece(flash, id, piece, self.feed.bytes(70));
            }
            _ => {
                let _ = (self.store.bytes(flash, id), self.store.pieces(flash, id).count());
                self.extent = Some(id);
            }
        }
        // Nothing else is in these groups, so that the model of the records need not know them.
        let mut group = self.store.group();
        let changed = match self.feed.below(6) {
            0 => group.commit_extent(flash, id),
            1 => group.remove_extent(flash, id),
            2 => group.retire_extent(flash, id),
            _ => return,
        };
        if changed.is_ok() {
            let _ = group.submit();
        }
    }

    fn work(&mut self, most: usize) {
        for _ in 0..most {
            let Some(op) = self.store.poll(self.nor.bytes()) else { break };
            let result = self.nor.apply(op);
            self.flashed(result);
        }
        self.check();
    }

    fn flashed(&mut self, result: Result<(), Fault>) {
        let done = self.store.flashed(self.nor.bytes(), result);
        let Some(Done::Durable(ticket)) = done else { return };
        while let Some((_, change)) = self.waiting.pop_front_if(|(waits, _)| *waits <= ticket) {
            apply(&mut self.durable, change);
        }
    }

    fn tear(&mut self) -> Tear {
        match self.feed.below(4) {
            0 => Tear::Nothing,
            1 => Tear::Front(u32::from(self.feed.byte())),
            2 => Tear::Back(u32::from(self.feed.byte())),
            _ => Tear::Bits(u64::from(self.feed.word())),
        }
    }

    /// The next operation is torn, and the driver says so.
    fn fail(&mut self) {
        let tear = self.tear();
        let Some(op) = self.store.poll(self.nor.bytes()) else { return };
        self.nor.tear(op, tear);
        self.flashed(Err(Fault));
        self.check();
    }

    /// The power goes in the middle of the next operation, if there is one.
    fn cut(&mut self) {
        let tear = self.tear();
        if let Some(op) = self.store.poll(self.nor.bytes()) {
            let op = match op {
                Op::Erase { at } => Op::Erase { at },
                Op::Program { at, bytes } => Op::Program { at, bytes },
            };
            self.nor.tear(op, tear);
        }
        self.store = Store::mount(self.nor.bytes(), self.config);
        let found = contents(&self.store, self.nor.bytes());
        if found != self.durable
            && let Some((_, change)) = self.waiting.pop_front()
        {
            apply(&mut self.durable, change);
        }
        self.waiting.clear();
        assert_eq!(found, self.durable, "neither before nor after the change");
    }

    /// A frame that the driver has denied may be there all the same; it is written again.
    fn check(&self) {
        let found = contents(&self.store, self.nor.bytes());
        let mut next = self.durable.clone();
        if let Some((_, change)) = self.waiting.front() {
            apply(&mut next, change.clone());
        }
        assert!(found == self.durable || found == next, "{found:?} is not {:?}", self.durable);
    }
}

fn apply(durable: &mut BTreeMap<(u8, u32), Vec<u8>>, (key, value): Change) {
    match value {
        Some(value) => drop(durable.insert(key, value)),
        None => drop(durable.remove(&key)),
    }
}
