//! The imported functions of the contract, on the node's side.

use crate::outbox::{Entry, Outbox};
use alloc::vec::Vec;
use capmesh_capsule_abi::{Errno, MEMORY};
use capmesh_node::host::{Limits, Surroundings};
use wasmi::{Caller, Error, Extern, Func, Store, StoreLimits, StoreLimitsBuilder, TrapCode};

/// What the imported functions see of an instance.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) limiter: StoreLimits,
    pub(crate) outbox: Outbox,
    /// The payload of the event being handled.
    pub(crate) event: Vec<u8>,
    /// Whether the event being handled can be answered.
    pub(crate) can_respond: bool,
    pub(crate) time: i64,
    pub(crate) time_uncertainty: i64,
    /// State of the random number generator.
    pub(crate) random: u64,
    /// The number of the next request.
    pub(crate) next_request: u32,
    /// Each sensor's last sample, empty if there is none yet.
    pub(crate) samples: Vec<Vec<u8>>,
    surroundings: Surroundings,
    timers: u32,
}

impl Host {
    pub(crate) fn new(limits: &Limits, surroundings: Surroundings, seed: u64) -> Self {
        let size = |bytes: u32| usize::try_from(bytes).unwrap_or(usize::MAX);
        Self {
            limiter: StoreLimitsBuilder::new()
                .memory_size(size(limits.memory))
                .table_elements(size(limits.table_elements))
                .instances(1)
                .memories(1)
                .tables(1)
                .build(),
            outbox: Outbox::new(limits),
            event: Vec::new(),
            can_respond: false,
            time: 0,
            time_uncertainty: -1,
            random: seed,
            next_request: 0,
            samples: (0..surroundings.sensors).map(|_| Vec::new()).collect(),
            surroundings,
            timers: u32::from(limits.timers),
        }
    }

    /// SplitMix64 (Steele, Lea, Flood 2014): one word of state, which a snapshot carries.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn publish(&mut self, output: u32, record: &[u8]) -> Result<(), Errno> {
        let bounds = usize::try_from(output).ok().and_then(|i| self.surroundings.outputs.get(i));
        let &(least, most) = bounds.ok_or(Errno::Unknown)?;
        if !u32::try_from(record.len()).is_ok_and(|len| (least..=most).contains(&len)) {
            return Err(Errno::Schema);
        }
        self.outbox.push(record, |record| Entry::Publish { output, record })
    }

    fn request(&mut self, peer: u32, resource: u32, record: &[u8]) -> Result<u32, Errno> {
        if peer >= self.surroundings.peers {
            return Err(Errno::Unknown);
        }
        let number = self.next_request;
        let entry = |record| Entry::Request { peer, resource, number, record };
        self.outbox.push(record, entry)?;
        // Numbers stay positive, so that an error can be told from one.
        self.next_request = number.wrapping_add(1) & 0x7fff_ffff;
        Ok(number)
    }

    fn respond(&mut self, status: u32, record: &[u8]) -> Result<(), Errno> {
        if !self.can_respond {
            return Err(Errno::NotNow);
        }
        self.outbox.respond(status, record)
    }

    fn timer(&self, timer: u32) -> Result<(), Errno> {
        if timer < self.timers { Ok(()) } else { Err(Errno::Unknown) }
    }

    fn actuate(&mut self, actuator: u32, value: f64) -> Result<(), Errno> {
        if actuator >= self.surroundings.actuators {
            return Err(Errno::Unknown);
        }
        self.outbox.push(&[], |_| Entry::Actuate { actuator, value })
    }

    fn sample(&self, sensor: u32) -> Result<&[u8], Errno> {
        let sample = usize::try_from(sensor).ok().and_then(|i| self.samples.get(i));
        match sample.ok_or(Errno::Unknown)?.as_slice() {
            [] => Err(Errno::Empty),
            sample => Ok(sample),
        }
    }

    fn config(&self, key: u32) -> Result<&[u8], Errno> {
        let value = usize::try_from(key).ok().and_then(|i| self.surroundings.config.get(i));
        value.ok_or(Errno::Unknown)?.as_deref().ok_or(Errno::Empty)
    }
}

/// Fuel that a call of an imported function costs beside its instruction: about the time it takes in
/// units of an interpreted instruction, so that calls cannot be used to run for free.
const CALL_FUEL: u64 = 16;

/// How many bytes copied into or out of linear memory cost one unit of fuel.
const BYTES_PER_FUEL: u64 = 16;

type Called<'a> = Caller<'a, Host>;

/// Takes the price of a call that moves `bytes`. If it is more than what is left, the rest of this
/// slice is forfeit and the handler goes on in the next one.
fn charge(caller: &mut Called<'_>, bytes: u32) -> Result<(), Error> {
    let price = CALL_FUEL + u64::from(bytes) / BYTES_PER_FUEL;
    let left = caller.get_fuel()?.saturating_sub(price);
    caller.set_fuel(left)
}

/// Linear memory from `at` on, `len` bytes, and the host's state beside it.
fn memory<'a>(
    caller: &'a mut Called<'_>,
    at: i32,
    len: i32,
) -> Result<(&'a mut [u8], &'a mut Host), Error> {
    charge(caller, len.cast_unsigned())?;
    let Some(Extern::Memory(memory)) = caller.get_export(MEMORY) else {
        return Err(Error::from(TrapCode::MemoryOutOfBounds));
    };
    let (bytes, host) = memory.data_and_store_mut(caller);
    let start = usize::try_from(at.cast_unsigned()).ok();
    let len = usize::try_from(len.cast_unsigned()).ok();
    let range = start.zip(len).and_then(|(start, len)| Some(start..start.checked_add(len)?));
    let bytes = range.and_then(|range| bytes.get_mut(range));
    Ok((bytes.ok_or(Error::from(TrapCode::MemoryOutOfBounds))?, host))
}

fn errno(result: Result<(), Errno>) -> i32 {
    result.map_or_else(Errno::code, |()| 0)
}

/// Copies a whole value to a buffer in linear memory, or says that it does not fit.
fn give(value: Result<&[u8], Errno>, buffer: &mut [u8]) -> i32 {
    let copy = |value: &[u8]| {
        buffer.get_mut(..value.len()).ok_or(Errno::TooShort)?.copy_from_slice(value);
        i32::try_from(value.len()).map_err(|_| Errno::TooShort)
    };
    value.and_then(copy).unwrap_or_else(Errno::code)
}

fn read(mut caller: Called<'_>, offset: i32, dst: i32, len: i32) -> Result<i32, Error> {
    let (buffer, host) = memory(&mut caller, dst, len)?;
    let rest = usize::try_from(offset.cast_unsigned()).ok().and_then(|at| host.event.get(at..));
    let rest = rest.unwrap_or_default();
    let count = rest.len().min(buffer.len());
    for (to, from) in buffer.iter_mut().zip(rest) {
        *to = *from;
    }
    Ok(i32::try_from(count).unwrap_or(i32::MAX))
}

fn publish(mut caller: Called<'_>, output: i32, src: i32, len: i32) -> Result<i32, Error> {
    let (record, host) = memory(&mut caller, src, len)?;
    Ok(errno(host.publish(output.cast_unsigned(), record)))
}

fn request(
    mut caller: Called<'_>,
    peer: i32,
    resource: i32,
    src: i32,
    len: i32,
) -> Result<i32, Error> {
    let (record, host) = memory(&mut caller, src, len)?;
    let number = host.request(peer.cast_unsigned(), resource.cast_unsigned(), record);
    Ok(number.map_or_else(Errno::code, u32::cast_signed))
}

fn respond(mut caller: Called<'_>, status: i32, src: i32, len: i32) -> Result<i32, Error> {
    let (record, host) = memory(&mut caller, src, len)?;
    Ok(errno(host.respond(status.cast_unsigned(), record)))
}

fn set_timer(mut caller: Called<'_>, timer: i32, micros: i64) -> Result<i32, Error> {
    charge(&mut caller, 0)?;
    let (timer, micros) = (timer.cast_unsigned(), micros.max(0).cast_unsigned());
    let host = caller.data_mut();
    let set = host.timer(timer);
    Ok(errno(set.and_then(|()| host.outbox.push(&[], |_| Entry::SetTimer { timer, micros }))))
}

fn cancel_timer(mut caller: Called<'_>, timer: i32) -> Result<i32, Error> {
    charge(&mut caller, 0)?;
    let timer = timer.cast_unsigned();
    let host = caller.data_mut();
    let known = host.timer(timer);
    Ok(errno(known.and_then(|()| host.outbox.push(&[], |_| Entry::CancelTimer { timer }))))
}

fn sensor(mut caller: Called<'_>, sensor: i32, dst: i32, len: i32) -> Result<i32, Error> {
    let (buffer, host) = memory(&mut caller, dst, len)?;
    Ok(give(host.sample(sensor.cast_unsigned()), buffer))
}

fn actuate(mut caller: Called<'_>, actuator: i32, value: f64) -> Result<i32, Error> {
    charge(&mut caller, 0)?;
    Ok(errno(caller.data_mut().actuate(actuator.cast_unsigned(), value)))
}

fn config(mut caller: Called<'_>, key: i32, dst: i32, len: i32) -> Result<i32, Error> {
    let (buffer, host) = memory(&mut caller, dst, len)?;
    Ok(give(host.config(key.cast_unsigned()), buffer))
}

fn time(mut caller: Called<'_>) -> Result<i64, Error> {
    charge(&mut caller, 0)?;
    Ok(caller.data().time)
}

fn time_uncertainty(mut caller: Called<'_>) -> Result<i64, Error> {
    charge(&mut caller, 0)?;
    Ok(caller.data().time_uncertainty)
}

fn random(mut caller: Called<'_>) -> Result<i64, Error> {
    charge(&mut caller, 0)?;
    Ok(caller.data_mut().random().cast_signed())
}

/// A line that finds the outbox full is lost; the lines before it say where the capsule was.
fn log(mut caller: Called<'_>, level: i32, src: i32, len: i32) -> Result<(), Error> {
    let (text, host) = memory(&mut caller, src, len)?;
    let level = level.cast_unsigned().min(3);
    let _ = host.outbox.push(text, |text| Entry::Log { level, text });
    Ok(())
}

/// Makes the contract's function of this name in an instance's store, where it can be imported.
/// Nothing of it stays behind: a table of all functions would cost each node 1.5 KB of RAM.
pub(crate) fn import(store: &mut Store<Host>, name: &str) -> Option<Func> {
    macro_rules! find {
        ($($function:ident),*) => {
            match name {
                $(stringify!($function) => Func::wrap(store, $function),)*
                _ => return None,
            }
        };
    }
    Some(find!(
        read,
        publish,
        request,
        respond,
        set_timer,
        cancel_timer,
        sensor,
        actuate,
        config,
        time,
        time_uncertainty,
        random,
        log
    ))
}
