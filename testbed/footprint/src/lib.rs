//! The board under the footprint images: figures to the host, instructions, stack.
//!
//! It runs on the emulated mps2-an385 with `-icount shift=4`, where every instruction takes 16 ns of
//! the board's time: a counter of the board counts instructions. Figures go to the host as lines
//! `name value` by semihosting.
//!
//! Deliberately absent: formatting by `core::fmt`, which would be most of an empty image.
#![no_std]

use core::{
    arch::asm,
    cell::UnsafeCell,
    mem::MaybeUninit,
    panic::PanicInfo,
    ptr::{self, addr_of},
    sync::atomic::{AtomicBool, Ordering},
};

/// The counter of the board's I/O block, and the register that divides its clock of 25 MHz.
const COUNTER: *mut u32 = 0x4002_8018 as *mut u32;
const PRESCALE: *mut u32 = 0x4002_801c as *mut u32;

/// Semihosting operations.
const SYS_WRITE0: u32 = 0x04;
const SYS_EXIT: u32 = 0x18;
const APPLICATION_EXIT: u32 = 0x2_0026;
const RUN_TIME_ERROR: u32 = 0x2_0023;

/// What unused stack is filled with.
const PAINT: u32 = 0xc5c5_c5c5;

unsafe extern "C" {
    /// The end of static data: the lowest word the stack may reach.
    static __sheap: u32;
    static _stack_start: u32;
}

/// A static place for a value that is made at run time, once.
pub struct Place<T> {
    taken: AtomicBool,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: the value is handed out once, to the one who fills the place.
unsafe impl<T> Sync for Place<T> {}

impl<T> Place<T> {
    /// An empty place.
    pub const fn new() -> Self {
        Self { taken: AtomicBool::new(false), value: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    /// Fills the place; a second time ends the run.
    #[inline(always)]
    pub fn fill(&'static self, make: impl FnOnce() -> T) -> &'static mut T {
        // There is one thread and no interrupt.
        if self.taken.load(Ordering::Relaxed) {
            fail(text!("place is taken"));
        }
        self.taken.store(true, Ordering::Relaxed);
        // SAFETY: nobody else has or gets a reference to the value.
        unsafe { (*self.value.get()).write(make()) }
    }
}

impl<T> Default for Place<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Text with a name in the image, so that it counts as what measures and not as what is measured.
#[macro_export]
macro_rules! text {
    ($text:literal) => {{
        static TEXT: [u8; $text.len()] = $crate::bytes($text);
        &TEXT[..]
    }};
}

/// The bytes of a text that is `N` bytes long.
pub const fn bytes<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(text.as_bytes());
    bytes
}

/// The value, or the end of the run.
pub fn must<T>(value: Option<T>, what: &[u8]) -> T {
    value.unwrap_or_else(|| fail(what))
}

/// Starts the counter.
pub fn init() {
    // SAFETY: registers of this board, used by nothing else.
    unsafe { PRESCALE.write_volatile(0) };
}

/// The counter: two fifths of the instructions executed, see [`instructions`].
fn ticks() -> u32 {
    // SAFETY: a register of this board, free to read.
    unsafe { COUNTER.read_volatile() }
}

/// Instructions in so many ticks: 40 ns at 16 ns each.
const fn instructions(ticks: u32) -> u32 {
    ticks / 2 * 5 + ticks % 2 * 2
}

/// What a piece of work cost.
#[derive(Clone, Copy, Default)]
pub struct Cost {
    /// Instructions, to within three.
    pub instructions: u32,
    /// Bytes of stack below the caller's frame.
    pub stack: u32,
}

/// Does the work and measures it.
#[inline(never)]
pub fn measure<T>(work: impl FnOnce() -> T) -> (T, Cost) {
    let top = paint();
    let start = ticks();
    let result = call(work);
    let spent = ticks().wrapping_sub(start);
    (result, Cost { instructions: instructions(spent), stack: top - lowest() })
}

/// Measures the stack of what is done while it is there, below the frame that it was begun in: for what
/// makes a value in that frame, which [`measure`] would have to hand out.
pub struct Depth(u32);

impl Depth {
    /// Begins to measure.
    #[inline(always)]
    pub fn begin() -> Self {
        Self(paint())
    }

    /// Bytes of stack since.
    #[inline(always)]
    pub fn reached(self) -> u32 {
        self.0 - lowest()
    }
}

/// Keeps the work's frame below the one that [`measure`] counts from.
#[inline(never)]
fn call<T>(work: impl FnOnce() -> T) -> T {
    work()
}

/// Fills the unused stack; returns where it begins.
#[inline(never)]
fn paint() -> u32 {
    let top: u32;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, sp", out(reg) top, options(nomem, nostack)) };
    let mut word = addr_of!(__sheap) as u32;
    // This function's own frame is left alone; it has no room for more than a few words.
    while word < top - 64 {
        // SAFETY: between static data and the stack pointer nothing is in use, and this image has
        // no interrupts.
        unsafe { ptr::write_volatile(word as *mut u32, PAINT) };
        word += 4;
    }
    top
}

/// The lowest word that is not as [`paint`] left it.
fn lowest() -> u32 {
    let mut word = addr_of!(__sheap) as u32;
    // SAFETY: memory of the stack, below what is in use; a word that has been used ends the loop.
    while word < addr_of!(_stack_start) as u32
        && unsafe { ptr::read_volatile(word as *const u32) } == PAINT
    {
        word += 4;
    }
    word
}

/// Tells the host a figure.
pub fn report(name: &[u8], value: u32) {
    write(name);
    write(text!(" "));
    let mut digits = [0; 10];
    let mut at = digits.len();
    let mut rest = value;
    loop {
        at -= 1;
        if let Some(digit) = digits.get_mut(at) {
            *digit = b'0' + (rest % 10) as u8;
        }
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    write(digits.get(at..).unwrap_or_default());
    write(text!("\n"));
}

/// Tells the host what a piece of work cost, as two figures.
pub fn report_cost(name: &[u8], cost: Cost) {
    write(name);
    report(text!(".instructions"), cost.instructions);
    write(name);
    report(text!(".stack"), cost.stack);
}

/// Tells the host a part of a line.
pub fn write(text: &[u8]) {
    for chunk in text.chunks(31) {
        let mut line = [0; 32];
        for (to, from) in line.iter_mut().zip(chunk) {
            *to = *from;
        }
        semihosting(SYS_WRITE0, line.as_ptr() as u32);
    }
}

/// Ends the run.
pub fn exit() -> ! {
    stop(APPLICATION_EXIT)
}

/// Ends the run: something did not go as it has to.
pub fn fail(what: &[u8]) -> ! {
    write(text!("failed: "));
    write(what);
    write(text!("\n"));
    stop(RUN_TIME_ERROR)
}

fn stop(reason: u32) -> ! {
    semihosting(SYS_EXIT, reason);
    loop {}
}

fn semihosting(operation: u32, argument: u32) {
    // SAFETY: the host reads what the argument points to, a string that ends with a zero byte for
    // the one operation that takes a pointer, and returns.
    unsafe {
        asm!("bkpt 0xab", inout("r0") operation => _, in("r1") argument, options(nostack));
    }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    fail(text!("panic"))
}
