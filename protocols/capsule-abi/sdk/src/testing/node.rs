//! The node that a test's capsule runs on: what the contract says of each imported function, for
//! typed calls that cannot name what is not there.

use crate::answer::Pending;
use capmesh_capsule_abi::Errno;
use std::collections::BTreeMap;

/// Something that a handler asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// A message on an output.
    Publish {
        /// The output's number.
        output: u32,
        /// The record.
        record: Vec<u8>,
    },
    /// A request to another capsule.
    Request {
        /// The peer's number.
        peer: u32,
        /// The number of its resource.
        resource: u32,
        /// The request's own number.
        number: u32,
        /// The record.
        record: Vec<u8>,
    },
    /// A timer is to run out.
    SetTimer {
        /// The timer's number.
        timer: u32,
        /// In how many microseconds.
        micros: u64,
    },
    /// A timer is to be forgotten.
    CancelTimer {
        /// The timer's number.
        timer: u32,
    },
    /// An actuator is to be set.
    Actuate {
        /// The actuator's number.
        actuator: u32,
        /// To what.
        value: f64,
    },
    /// A line of the log.
    Log {
        /// 0 error, 1 warning, 2 info, 3 debug.
        level: u32,
        /// The line.
        text: String,
    },
}

/// State of a node with one capsule.
#[derive(Debug)]
pub(crate) struct Node {
    /// The payload of the event being handled.
    pub(crate) event: Vec<u8>,
    pub(crate) can_respond: bool,
    pub(crate) response: Option<(u32, Vec<u8>)>,
    pub(crate) effects: Vec<Effect>,
    /// Bytes and entries that one handler may leave.
    pub(crate) room: (usize, usize),
    pub(crate) time: i64,
    pub(crate) uncertainty: i64,
    pub(crate) seed: u64,
    pub(crate) next_request: u32,
    pub(crate) samples: BTreeMap<u32, Vec<u8>>,
    pub(crate) config: BTreeMap<u32, Vec<u8>>,
    pub(crate) pending: Pending,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            event: Vec::new(),
            can_respond: false,
            response: None,
            effects: Vec::new(),
            room: (4096, 64),
            time: 0,
            uncertainty: -1,
            seed: 0,
            next_request: 0,
            samples: BTreeMap::new(),
            config: BTreeMap::new(),
            pending: Pending::NONE,
        }
    }
}

impl Node {
    fn push(&mut self, bytes: usize, effect: Effect) -> Result<u32, Errno> {
        let (room, entries) = self.room;
        if bytes > room || entries == 0 {
            return Err(Errno::Full);
        }
        self.room = (room - bytes, entries - 1);
        self.effects.push(effect);
        Ok(0)
    }

    pub(crate) fn read(&self, offset: u32, dst: &mut [u8]) -> u32 {
        let rest = self.event.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(dst.len());
        for (to, from) in dst.iter_mut().zip(rest) {
            *to = *from;
        }
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    pub(crate) fn publish(&mut self, output: u32, record: &[u8]) -> Result<u32, Errno> {
        self.push(record.len(), Effect::Publish { output, record: record.to_vec() })
    }

    pub(crate) fn request(
        &mut self,
        peer: u32,
        resource: u32,
        record: &[u8],
    ) -> Result<u32, Errno> {
        let number = self.next_request;
        let record = record.to_vec();
        self.push(record.len(), Effect::Request { peer, resource, number, record })?;
        self.next_request = number.wrapping_add(1) & 0x7fff_ffff;
        Ok(number)
    }

    pub(crate) fn respond(&mut self, status: u32, record: &[u8]) -> Result<u32, Errno> {
        if !self.can_respond {
            return Err(Errno::NotNow);
        }
        if record.len() > self.room.0 {
            return Err(Errno::Full);
        }
        self.response = Some((status, record.to_vec()));
        Ok(0)
    }

    pub(crate) fn set_timer(&mut self, timer: u32, micros: i64) -> Result<u32, Errno> {
        self.push(0, Effect::SetTimer { timer, micros: micros.max(0).cast_unsigned() })
    }

    pub(crate) fn cancel_timer(&mut self, timer: u32) -> Result<u32, Errno> {
        self.push(0, Effect::CancelTimer { timer })
    }

    pub(crate) fn actuate(&mut self, actuator: u32, value: f64) -> Result<u32, Errno> {
        self.push(0, Effect::Actuate { actuator, value })
    }

    pub(crate) fn sensor(&self, sensor: u32, dst: &mut [u8]) -> Result<u32, Errno> {
        give(self.samples.get(&sensor), dst)
    }

    pub(crate) fn config(&self, key: u32, dst: &mut [u8]) -> Result<u32, Errno> {
        give(self.config.get(&key), dst)
    }

    pub(crate) fn log(&mut self, level: u32, text: &[u8]) {
        let text = String::from_utf8_lossy(text).into_owned();
        // A line that finds no room is lost, as on a node.
        let _ = self.push(text.len(), Effect::Log { level, text });
    }

    /// SplitMix64, as on a node: equal seeds give equal numbers.
    pub(crate) fn random(&mut self) -> i64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).cast_signed()
    }
}

fn give(value: Option<&Vec<u8>>, dst: &mut [u8]) -> Result<u32, Errno> {
    let value = value.ok_or(Errno::Empty)?;
    dst.get_mut(..value.len()).ok_or(Errno::TooShort)?.copy_from_slice(value);
    u32::try_from(value.len()).map_err(|_| Errno::TooShort)
}
