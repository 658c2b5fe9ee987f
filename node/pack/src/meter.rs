//! Counting what is allocated: how a prediction of RAM is made, and how it is checked.
//!
//! A program that measures makes [`Meter`] its allocator:
//!
//! ```
//! #[global_allocator]
//! static METER: capmesh_capsule::meter::Meter = capmesh_capsule::meter::Meter;
//!
//! capmesh_capsule::meter::restart_peak();
//! let before = capmesh_capsule::meter::live();
//! let block = vec![0_u8; 1000];
//! assert_eq!(capmesh_capsule::meter::live() - before, 1000);
//! drop(block);
//! assert_eq!(capmesh_capsule::meter::peak() - before, 1000);
//! ```
//!
//! Each thread counts for itself, so that what others do meanwhile does not show.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// The system's allocator, counting the bytes that are asked of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meter;

/// Bytes that this thread has allocated and not freed, less what it freed for others. Always zero in
/// a program whose allocator is another one.
#[must_use]
pub fn live() -> isize {
    LIVE.get()
}

/// The most that [`live`] was since [`restart_peak`].
#[must_use]
pub fn peak() -> isize {
    PEAK.get()
}

/// Lets the peak begin anew at what is live now.
pub fn restart_peak() {
    PEAK.set(LIVE.get());
}

/// Whether this program counts.
#[must_use]
pub fn is_installed() -> bool {
    let before = live();
    let block = std::hint::black_box(Box::new(0_u64));
    let counts = live() != before;
    drop(block);
    counts
}

fn count(bytes: usize, sign: isize) {
    // An allocation is never longer than `isize::MAX`.
    let change = sign * isize::try_from(bytes).unwrap_or(isize::MAX);
    let now = LIVE.get().wrapping_add(change);
    LIVE.set(now);
    PEAK.set(PEAK.get().max(now));
}

#[expect(unsafe_code, reason = "an allocator is; this one only counts")]
// SAFETY: every call goes to the system's allocator as it is. Counting touches two cells of the
// thread, which need no allocation and no destructor.
unsafe impl GlobalAlloc for Meter {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: the caller keeps the contract of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(layout.size(), -1);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, 1);
        count(layout.size(), -1);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
