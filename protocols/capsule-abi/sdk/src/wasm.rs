//! The node as a capsule on it sees it: the imports of the contract.
#![expect(unsafe_code, reason = "the contract's functions are foreign")]

use crate::answer::Pending;
use core::cell::UnsafeCell;

mod imports {
    #[link(wasm_import_module = "capmesh1")]
    unsafe extern "C" {
        pub(crate) fn read(offset: u32, dst: *mut u8, len: usize) -> u32;
        pub(crate) fn publish(output: u32, src: *const u8, len: usize) -> i32;
        pub(crate) fn request(peer: u32, resource: u32, src: *const u8, len: usize) -> i32;
        pub(crate) fn respond(status: u32, src: *const u8, len: usize) -> i32;
        pub(crate) safe fn set_timer(timer: u32, micros: i64) -> i32;
        pub(crate) safe fn cancel_timer(timer: u32) -> i32;
        pub(crate) fn sensor(sensor: u32, dst: *mut u8, len: usize) -> i32;
        pub(crate) safe fn actuate(actuator: u32, value: f64) -> i32;
        pub(crate) fn config(key: u32, dst: *mut u8, len: usize) -> i32;
        pub(crate) safe fn time() -> i64;
        pub(crate) safe fn time_uncertainty() -> i64;
        pub(crate) safe fn random() -> i64;
        pub(crate) fn log(level: u32, src: *const u8, len: usize);
    }
}

pub(crate) use imports::{actuate, cancel_timer, random, set_timer, time, time_uncertainty};

// SAFETY of every block below: the pointer and the length are those of a slice, the node reads
// (`src`) or writes (`dst`) no further, and it keeps neither.

pub(crate) fn read(offset: u32, dst: &mut [u8]) -> u32 {
    unsafe { imports::read(offset, dst.as_mut_ptr(), dst.len()) }
}

pub(crate) fn publish(output: u32, src: &[u8]) -> i32 {
    unsafe { imports::publish(output, src.as_ptr(), src.len()) }
}

pub(crate) fn request(peer: u32, resource: u32, src: &[u8]) -> i32 {
    unsafe { imports::request(peer, resource, src.as_ptr(), src.len()) }
}

pub(crate) fn respond(status: u32, src: &[u8]) -> i32 {
    unsafe { imports::respond(status, src.as_ptr(), src.len()) }
}

pub(crate) fn sensor(sensor: u32, dst: &mut [u8]) -> i32 {
    unsafe { imports::sensor(sensor, dst.as_mut_ptr(), dst.len()) }
}

pub(crate) fn config(key: u32, dst: &mut [u8]) -> i32 {
    unsafe { imports::config(key, dst.as_mut_ptr(), dst.len()) }
}

pub(crate) fn log(level: u32, src: &[u8]) {
    unsafe { imports::log(level, src.as_ptr(), src.len()) }
}

/// A static of a capsule's. There is one thread, and handlers do not nest.
#[derive(Debug)]
pub struct State<T>(UnsafeCell<T>);

// SAFETY: A capsule has one thread: the contract knows no threads, and admission refuses shared
// memories.
unsafe impl<T> Sync for State<T> {}

impl<T> State<T> {
    /// The state of a fresh instance.
    #[must_use]
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Lends the value.
    ///
    /// # Safety
    /// Nothing may hold what another call lends.
    #[expect(clippy::mut_from_ref, reason = "that is what the contract on callers is for")]
    pub unsafe fn lend(&self) -> &mut T {
        // SAFETY: The caller keeps to the rule above.
        unsafe { &mut *self.0.get() }
    }
}

static PENDING: State<Pending> = State::new(Pending::NONE);

pub(crate) fn with_pending<T>(with: impl FnOnce(&mut Pending) -> T) -> T {
    // SAFETY: The closures that come here use nothing but their argument.
    with(unsafe { PENDING.lend() })
}

static LINE: State<[u8; crate::log::LINE]> = State::new([0; crate::log::LINE]);

/// Lends the buffer for a line of the log, and empties it afterwards: what is left in memory would
/// be in every snapshot. It is lent to one line at a time.
pub(crate) fn with_line<T>(with: impl FnOnce(&mut [u8; crate::log::LINE]) -> T) -> T {
    // SAFETY: `log!` evaluates what it shows before it comes here.
    let line = unsafe { LINE.lend() };
    let result = with(line);
    line.fill(0);
    result
}

/// A panic ends the handler, and says nothing: the node names the trap, and text would be most of a
/// capsule.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
