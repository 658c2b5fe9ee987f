//! Snapshots: the state of a quiescent instance as its difference from a fresh one.
//!
//! Layout, integers as LEB128 unless said otherwise:
//! ```text
//! version          1 byte, 1
//! random           8 bytes, little-endian: state of the generator
//! next request
//! memory size      in bytes
//! global count     then for each mutable global in the order of its index:
//!   type           1 byte: 0 i32, 1 i64, 2 f32, 3 f64
//!   value          4 or 8 bytes, little-endian
//! runs, to the end:
//!   gap            bytes as in a fresh instance since the last run
//!   length         bytes that differ, followed by them
//! ```
//! The module itself is what a fresh instance is known from: a snapshot restores into an instance of
//! the same module, or of one with the same layout of its state (whose publisher says so). There, what
//! the older instance had not changed is as the newer module has it.

use crate::instance::Instance;
use alloc::vec::Vec;
use capmesh_capsule_abi::GLOBAL_PREFIX;
use capmesh_node::host::{RestoreError, SnapshotError};
use wasmi::{Extern, Global, Val};
use wasmparser::{DataKind, Operator, Parser, Payload};

const VERSION: u8 = 1;

/// Runs closer together than this are written as one: a run's head takes two bytes or more.
const MIN_GAP: usize = 4;

/// How much of a fresh instance's memory is compared at a time.
const WINDOW: usize = 256;

impl Instance {
    /// Appends the state to `out`, which may grow to `limit` bytes. `module` is the module that the
    /// instance was made from. The work grows with the size of linear memory.
    ///
    /// # Errors
    /// See [`SnapshotError`]; `out` is then to be thrown away.
    pub fn snapshot(
        &self,
        module: &[u8],
        out: &mut Vec<u8>,
        limit: usize,
    ) -> Result<(), SnapshotError> {
        if !self.is_quiescent() {
            return Err(SnapshotError::NotQuiescent);
        }
        let host = self.store.data();
        out.push(VERSION);
        out.extend_from_slice(&host.random.to_le_bytes());
        put(out, u64::from(host.next_request));
        let memory = self.memory.data(&self.store);
        put(out, memory.len() as u64);
        let globals = self.mutable_globals();
        put(out, globals.len() as u64);
        for (_, global) in globals {
            put_global(out, &global.get(&self.store));
        }
        let segments = data_segments(module).ok_or(SnapshotError::Module)?;
        put_runs(out, memory, &segments, limit)?;
        if out.len() > limit { Err(SnapshotError::TooLarge) } else { Ok(()) }
    }

    /// Puts the state of a snapshot into this instance, which must be fresh: [`Event::Start`](crate::Event::Start)
    /// not handled, and none to be given.
    ///
    /// # Errors
    /// See [`RestoreError`].
    pub fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError> {
        if !self.is_quiescent() {
            return Err(RestoreError::NotQuiescent);
        }
        let mut rest = Reader(snapshot);
        if rest.take::<1>()? != [VERSION] {
            return Err(RestoreError::Version);
        }
        let random = u64::from_le_bytes(rest.take()?);
        let next_request = u32::try_from(rest.number()?).map_err(|_| RestoreError::Malformed)?;
        let size = rest.size()?;
        let globals = self.mutable_globals();
        if rest.size()? != globals.len() {
            return Err(RestoreError::OtherModule);
        }
        let mut values = Vec::with_capacity(globals.len());
        for (_, global) in &globals {
            let value = rest.global()?;
            if value.ty() != global.ty(&self.store).content() {
                return Err(RestoreError::OtherModule);
            }
            values.push(value);
        }
        self.grow_to(size)?;
        for ((_, global), value) in globals.iter().zip(values) {
            global.set(&mut self.store, value).map_err(|_| RestoreError::OtherModule)?;
        }
        let (memory, host) = self.memory.data_and_store_mut(&mut self.store);
        host.random = random;
        host.next_request = next_request;
        let mut at = 0_usize;
        while !rest.0.is_empty() {
            at = at.checked_add(rest.size()?).ok_or(RestoreError::Malformed)?;
            let run = rest.size()?;
            let (bytes, after) = rest.0.split_at_checked(run).ok_or(RestoreError::Malformed)?;
            let end = at.checked_add(run).ok_or(RestoreError::Malformed)?;
            memory.get_mut(at..end).ok_or(RestoreError::Malformed)?.copy_from_slice(bytes);
            at = end;
            rest.0 = after;
        }
        Ok(())
    }

    /// Makes memory as large as it was at least: a newer version of the module may begin with more.
    fn grow_to(&mut self, size: usize) -> Result<(), RestoreError> {
        let missing = size.saturating_sub(self.memory_size());
        let pages = missing as u64 >> self.page_log2;
        if pages > 0 {
            let grown = self.memory.grow(&mut self.store, pages);
            grown.map_err(|_| RestoreError::OtherModule)?;
        }
        if self.memory_size() >= size { Ok(()) } else { Err(RestoreError::OtherModule) }
    }

    /// The mutable globals by their index, as the packer has exported them.
    fn mutable_globals(&self) -> Vec<(u32, Global)> {
        let mut globals: Vec<_> = self
            .wasm
            .exports(&self.store)
            .filter_map(|export| {
                let index = export.name().strip_prefix(GLOBAL_PREFIX)?.parse().ok()?;
                match export.into_extern() {
                    Extern::Global(global) => Some((index, global)),
                    _ => None,
                }
            })
            .filter(|(_, global)| global.ty(&self.store).mutability() == wasmi::Mutability::Var)
            .collect();
        globals.sort_unstable_by_key(|(index, _)| *index);
        globals.dedup_by_key(|(index, _)| *index);
        globals
    }
}

/// Where a module's active data segments start and what they hold, in their order. `None` if the
/// bytes are not a module or a segment's place is not a constant.
fn data_segments(module: &[u8]) -> Option<Vec<(usize, &[u8])>> {
    let mut segments = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        let Payload::DataSection(section) = payload.ok()? else { continue };
        for segment in section {
            let segment = segment.ok()?;
            let DataKind::Active { offset_expr, .. } = segment.kind else { return None };
            let mut offset = offset_expr.get_operators_reader();
            let Ok(Operator::I32Const { value }) = offset.read() else { return None };
            segments.push((usize::try_from(value.cast_unsigned()).ok()?, segment.data));
        }
    }
    Some(segments)
}

/// Fills `window` with what a fresh instance's memory holds from `at` on.
fn fresh(window: &mut [u8], at: usize, segments: &[(usize, &[u8])]) {
    window.fill(0);
    for (start, data) in segments {
        let from = at.max(*start);
        let to = (at + window.len()).min(start.saturating_add(data.len()));
        if from < to {
            let bytes = data.get(from - start..to - start).unwrap_or_default();
            if let Some(place) = window.get_mut(from - at..to - at) {
                place.copy_from_slice(bytes);
            }
        }
    }
}

/// Appends the runs of bytes in which `memory` differs from a fresh instance's.
fn put_runs(
    out: &mut Vec<u8>,
    memory: &[u8],
    segments: &[(usize, &[u8])],
    limit: usize,
) -> Result<(), SnapshotError> {
    let mut initial = [0; WINDOW];
    // The run being collected, and where the last one that was written ended.
    let (mut run, mut written) = (0..0, 0);
    for (index, window) in memory.chunks(WINDOW).enumerate() {
        let at = index * WINDOW;
        let initial = initial.get_mut(..window.len()).unwrap_or_default();
        fresh(initial, at, segments);
        if initial == window {
            continue;
        }
        for (i, _) in window.iter().zip(initial.iter()).enumerate().filter(|(_, (a, b))| a != b) {
            let position = at + i;
            if run.is_empty() {
                run = position..position + 1;
            } else if position - run.end < MIN_GAP {
                run.end = position + 1;
            } else {
                put_run(out, memory, &run, &mut written, limit)?;
                run = position..position + 1;
            }
        }
    }
    if run.is_empty() { Ok(()) } else { put_run(out, memory, &run, &mut written, limit) }
}

fn put_run(
    out: &mut Vec<u8>,
    memory: &[u8],
    run: &core::ops::Range<usize>,
    written: &mut usize,
    limit: usize,
) -> Result<(), SnapshotError> {
    put(out, (run.start - *written) as u64);
    put(out, run.len() as u64);
    if out.len() + run.len() > limit {
        return Err(SnapshotError::TooLarge);
    }
    out.extend_from_slice(memory.get(run.clone()).unwrap_or_default());
    *written = run.end;
    Ok(())
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let [byte, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            out.push(byte & 0x7f);
            return;
        }
        out.push(byte | 0x80);
    }
}

fn put_global(out: &mut Vec<u8>, value: &Val) {
    match value {
        Val::I32(value) => {
            out.push(0);
            out.extend_from_slice(&value.to_le_bytes());
        }
        Val::I64(value) => {
            out.push(1);
            out.extend_from_slice(&value.to_le_bytes());
        }
        Val::F32(value) => {
            out.push(2);
            out.extend_from_slice(&value.to_bits().to_le_bytes());
        }
        Val::F64(value) => {
            out.push(3);
            out.extend_from_slice(&value.to_bits().to_le_bytes());
        }
        // Admission has refused mutable globals of any other type.
        _ => debug_assert!(false, "a mutable global that is not a number"),
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], RestoreError> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(RestoreError::Malformed)?;
        self.0 = rest;
        Ok(*bytes)
    }

    fn number(&mut self) -> Result<u64, RestoreError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.take()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(RestoreError::Malformed)
    }

    fn size(&mut self) -> Result<usize, RestoreError> {
        usize::try_from(self.number()?).map_err(|_| RestoreError::Malformed)
    }

    fn global(&mut self) -> Result<Val, RestoreError> {
        Ok(match self.take()? {
            [0] => Val::I32(i32::from_le_bytes(self.take()?)),
            [1] => Val::I64(i64::from_le_bytes(self.take()?)),
            [2] => Val::F32(f32::from_le_bytes(self.take()?).into()),
            [3] => Val::F64(f64::from_le_bytes(self.take()?).into()),
            _ => return Err(RestoreError::Malformed),
        })
    }
}
