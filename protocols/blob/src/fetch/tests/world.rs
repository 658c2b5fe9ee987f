//! Whole transfers in virtual time: peers that are slow, lie, lose, vanish and come back, storage
//! that is slow, and a reboot at any moment. Each run comes from a seed.

use super::*;
use crate::serve::{Answer, Held, Rate, ReadError, Request, Serve, Store, holdings};
use crate::testing::Random;
use std::collections::BTreeMap;

/// Blobs of up to 160 pieces.
type Fetcher = Fetch<u8, 5, 4, 6, 256, 2>;

/// How a peer behaves.
#[derive(Clone, Copy, Debug)]
struct Habit {
    /// Milliseconds there and back, at least and at most.
    delay: (u64, u64),
    /// Of a hundred answers, how many are lost.
    loses: u64,
    /// Of a hundred pieces, how many are wrong.
    lies: u64,
    /// Of a hundred answers, how many come twice.
    repeats: u64,
    /// Of a hundred pieces, how many it has at the start.
    has: u64,
    /// Whether it goes on and off.
    flickers: bool,
    /// Bytes of its blocks.
    block: usize,
    rank: u8,
}

const HONEST: Habit = Habit {
    delay: (20, 80),
    loses: 0,
    lies: 0,
    repeats: 0,
    has: 100,
    flickers: false,
    block: 256,
    rank: 0,
};

struct Peer {
    habit: Habit,
    has: BTreeSet<u16>,
    serve: Serve<u8>,
    up: bool,
}

enum Event {
    Answer {
        life: u32,
        peer: u8,
        piece: u16,
        offset: u16,
        result: Result<(Vec<u8>, bool), Refusal>,
    },
    Written {
        life: u32,
        piece: u16,
        offset: u32,
        bytes: Vec<u8>,
    },
    Read {
        life: u32,
        offset: u32,
        len: u16,
    },
    Flicker(u8),
    Reboot,
}

struct World {
    random: Random,
    stored: Stored,
    peers: Vec<Peer>,
    events: BTreeMap<(Instant, u32), Event>,
    order: u32,
    now: Instant,
    flash: Vec<u8>,
    /// What is recorded as written.
    journal: BTreeSet<u16>,
    /// Writes that a reboot tears.
    writing: BTreeMap<u16, (u32, Vec<u8>)>,
    fetch: Fetcher,
    /// Which run of the machine this is; answers to earlier ones are lost.
    life: u32,
    /// The longest time of a write, in milliseconds.
    write_time: u64,
}

struct View<'a>(&'a Stored, &'a BTreeSet<u16>);

impl Store for View<'_> {
    fn held(&self, _: &Digest) -> Held {
        if self.1.len() == usize::from(self.0.geometry.pieces()) {
            Held::Whole(self.0.geometry)
        } else {
            Held::Part(self.0.geometry)
        }
    }

    fn has(&self, _: &Digest, piece: u16) -> bool {
        self.1.contains(&piece)
    }

    fn read(&self, _: &Digest, offset: u32, buf: &mut [u8]) -> Result<(), ReadError> {
        buf.copy_from_slice(&self.0.bytes[offset as usize..][..buf.len()]);
        Ok(())
    }
}

impl World {
    fn new(seed: u64, size: usize, habits: &[Habit]) -> Self {
        let mut random = Random(seed);
        let stored = Stored::new(&noise(size, seed), 8);
        let peers = habits
            .iter()
            .map(|habit| Peer {
                habit: *habit,
                has: (0..stored.geometry.pieces())
                    .filter(|_| random.below(100) < habit.has)
                    .collect(),
                serve: Serve::new(Rate { interval: Duration::from_millis(30), burst: 10 }),
                up: true,
            })
            .collect();
        let fetch = Fetcher::new(T, config(), &stored.blob, 5).unwrap();
        let flash = vec![0xff; stored.bytes.len()];
        let mut world = Self {
            random,
            stored,
            peers,
            events: BTreeMap::new(),
            order: 0,
            now: T,
            flash,
            journal: BTreeSet::new(),
            writing: BTreeMap::new(),
            fetch,
            life: 0,
            write_time: 40,
        };
        for index in 0..world.peers.len() {
            world.introduce(index);
            if world.peers[index].habit.flickers {
                let after = world.random.below(5_000);
                world.after(after, Event::Flicker(u8::try_from(index).unwrap()));
            }
        }
        world
    }

    fn after(&mut self, millis: u64, event: Event) {
        self.order += 1;
        self.events.insert((self.now + Duration::from_millis(millis), self.order), event);
    }

    fn introduce(&mut self, index: usize) {
        let peer = u8::try_from(index).unwrap();
        let rank = self.peers[index].habit.rank;
        let holdings = if self.random.below(2) == 0 && self.peers[index].habit.has == 100 {
            Holdings::Whole
        } else {
            Holdings::Unknown
        };
        self.fetch.handle(self.now, Input::PeerUp { peer, rank, holdings });
    }

    /// Runs until the machine says that it has ended, or for an hour.
    fn run(&mut self) -> Result<(), Failure> {
        for _ in 0..200_000 {
            if let Some(result) = self.drain() {
                return result;
            }
            let timer = self.fetch.poll_timeout().expect("it has not ended");
            match self.events.first_key_value().map(|(key, _)| *key) {
                Some(key) if key.0 <= timer => {
                    self.now = self.now.max(key.0);
                    let event = self.events.remove(&key).unwrap();
                    self.happen(event);
                }
                _ => self.now = timer,
            }
        }
        panic!("it does not end");
    }

    fn drain(&mut self) -> Option<Result<(), Failure>> {
        while let Some(output) = self.fetch.poll(self.now) {
            match output {
                Output::Request { peer, piece, offset } => self.ask(peer, piece, offset),
                Output::Write { piece, offset, bytes } => {
                    assert_eq!(bytes, self.stored.piece(piece), "unverified bytes");
                    let bytes = bytes.to_vec();
                    self.writing.insert(piece, (offset, bytes.clone()));
                    let (life, time) = (self.life, self.random.below(self.write_time));
                    self.after(time, Event::Written { life, piece, offset, bytes });
                }
                Output::Read { offset, len } => {
                    let (life, time) = (self.life, self.random.below(3));
                    self.after(time, Event::Read { life, offset, len });
                }
                Output::Done => return Some(Ok(())),
                Output::Failed(failure) => return Some(Err(failure)),
                Output::Cancel { .. } | Output::Dropped { .. } | Output::Stalled { .. } => {}
            }
        }
        None
    }

    fn ask(&mut self, index: u8, piece: u16, offset: u16) {
        let peer = &mut self.peers[usize::from(index)];
        let habit = peer.habit;
        if !peer.up || self.random.below(100) < habit.loses {
            return;
        }
        let digest = self.stored.blob.digest;
        let view = View(&self.stored, &peer.has);
        let whole = match peer.serve.answer(self.now, index, &Request { digest, piece }, &view) {
            Answer::Piece { offset, len } => {
                let mut bytes = vec![0; usize::from(len)];
                view.read(&digest, offset, &mut bytes).unwrap();
                Ok(bytes)
            }
            Answer::Holdings(held) => Ok(holdings(&view, &digest, held).collect()),
            Answer::NotFound => Err(Refusal::NotFound),
            Answer::Gone => Err(Refusal::Gone),
            Answer::Busy { seconds } => Err(Refusal::Busy(Duration::from_secs(seconds.into()))),
        };
        let result = whole.map(|bytes| {
            let rest = &bytes[usize::from(offset).min(bytes.len())..];
            let mut buf = rest[..rest.len().min(habit.block)].to_vec();
            let last = buf.len() == rest.len();
            if piece != HOLDINGS && self.random.below(100) < habit.lies {
                match self.random.below(3) {
                    0 => buf.truncate(buf.len() / 2),
                    1 => buf.push(1),
                    _ => buf[0] ^= 1,
                }
            }
            (buf, last)
        });
        let copies = 1 + u64::from(self.random.below(100) < habit.repeats);
        for _ in 0..copies {
            let time = habit.delay.0 + self.random.below(habit.delay.1 - habit.delay.0 + 1);
            let (life, result) = (self.life, result.clone());
            self.after(time, Event::Answer { life, peer: index, piece, offset, result });
        }
    }

    fn happen(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Answer { life, peer, piece, offset, result } if life == self.life => {
                match result {
                    Ok((bytes, last)) => {
                        self.fetch
                            .handle(now, Input::Part { peer, piece, offset, bytes: &bytes, last });
                    }
                    Err(refusal) => self.fetch.handle(now, Input::Refused { peer, piece, refusal }),
                }
            }
            Event::Written { life, piece, offset, bytes } if life == self.life => {
                self.flash[offset as usize..][..bytes.len()].copy_from_slice(&bytes);
                self.journal.insert(piece);
                self.writing.remove(&piece);
                self.fetch.handle(now, Input::Written { piece });
            }
            Event::Read { life, offset, len } if life == self.life => {
                let bytes = &self.flash[offset as usize..][..usize::from(len)];
                self.fetch.handle(now, Input::Read { offset, bytes });
            }
            Event::Answer { .. } | Event::Written { .. } | Event::Read { .. } => {}
            Event::Flicker(peer) => {
                let up = !self.peers[usize::from(peer)].up;
                self.peers[usize::from(peer)].up = up;
                // Half of the time nobody notices.
                match (up, self.random.below(2)) {
                    (true, _) => self.introduce(usize::from(peer)),
                    (false, 0) => self.fetch.handle(now, Input::PeerDown { peer }),
                    _ => {}
                }
                let time = 500 + self.random.below(20_000);
                self.after(time, Event::Flicker(peer));
            }
            Event::Reboot => self.reboot(),
        }
    }

    fn reboot(&mut self) {
        self.life += 1;
        for (offset, bytes) in std::mem::take(&mut self.writing).into_values() {
            let torn = usize::try_from(self.random.below(bytes.len() as u64)).unwrap();
            self.flash[offset as usize..][..torn].copy_from_slice(&bytes[..torn]);
        }
        let trust = match self.random.below(3) {
            0 => Trust::Nothing,
            _ => Trust::Recorded,
        };
        // Now and then the last erased block takes its neighbour along.
        if self.random.below(4) == 0 && !self.journal.is_empty() {
            let nth = usize::try_from(self.random.below(self.journal.len() as u64)).unwrap();
            let piece = *self.journal.iter().nth(nth).unwrap();
            let at = self.stored.geometry.offset(piece) as usize;
            self.flash[at] ^= 0x80;
        }
        let blob = self.stored.blob;
        self.fetch = Fetcher::new(self.now, config(), &blob, self.life)
            .unwrap()
            .resume(self.journal.iter().copied(), trust);
        for index in 0..self.peers.len() {
            if self.peers[index].up {
                self.introduce(index);
            }
        }
    }

    fn finishes(mut self, seed: u64) {
        let result = self.run();
        assert_eq!(result, Ok(()), "seed {seed}, {:?}", self.fetch.counters());
        assert!(self.stored.is_in(&self.flash), "seed {seed}");
    }
}

fn some_habit(random: &mut Random) -> Habit {
    let mut habit = HONEST;
    habit.rank = u8::try_from(random.below(2)).unwrap();
    habit.block = 16 << random.below(5);
    for _ in 0..=random.below(3) {
        match random.below(7) {
            0 => habit.delay = (1_000, 6_000),
            1 => habit.loses = 30,
            2 => habit.loses = 100,
            3 => habit.lies = 10 + random.below(91),
            4 => habit.has = random.below(100),
            5 => habit.flickers = true,
            _ => habit.repeats = 50,
        }
    }
    habit
}

#[test]
fn one_good_peer_among_bad_ones_is_enough_whenever_the_power_fails() {
    for seed in 0..150 {
        let mut random = Random(seed);
        let mut habits = vec![HONEST];
        habits[0].rank = u8::try_from(random.below(2)).unwrap();
        habits[0].loses = random.below(2) * 30;
        habits[0].repeats = 20;
        for _ in 0..random.below(4) {
            habits.push(some_habit(&mut random));
        }
        let size = usize::try_from(random.below(33_000)).unwrap();
        let mut world = World::new(seed, size, &habits);
        for _ in 0..random.below(4) {
            let at = random.below(8_000);
            world.after(at, Event::Reboot);
        }
        world.finishes(seed);
    }
}

#[test]
fn peers_that_have_a_part_each_are_enough() {
    for seed in 0..60 {
        let mut habits = [Habit { has: 60, ..HONEST }; 4];
        habits[3] = Habit { has: 100, rank: 1, loses: 30, ..HONEST };
        World::new(seed, 20_000, &habits).finishes(seed);
    }
}

#[test]
fn with_nobody_good_every_run_ends_all_the_same() {
    let mut failed = 0;
    for seed in 0..80 {
        let mut random = Random(seed);
        let habits: Vec<_> = (0..3)
            .map(|_| Habit { lies: 30 + random.below(71), ..some_habit(&mut random) })
            .collect();
        let mut world = World::new(seed, 10_000, &habits);
        match world.run() {
            Ok(()) => assert!(world.stored.is_in(&world.flash)),
            Err(failure) => {
                assert_eq!(failure, Failure::NoProgress, "seed {seed}");
                failed += 1;
            }
        }
    }
    assert!(failed > 20, "{failed}");
}

#[test]
fn several_peers_are_faster_than_one() {
    let slow = Habit { delay: (300, 300), ..HONEST };
    let time = |peers: usize| {
        let mut world = World::new(1, 30_000, &[slow; 4][..peers]);
        world.write_time = 5;
        world.run().unwrap();
        world.now.saturating_since(T).as_millis()
    };
    let (one, three) = (time(1), time(3));
    assert!(three * 10 < one * 8, "{three} ms against {one} ms");
}
