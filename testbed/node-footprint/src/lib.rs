//! A heap that counts, under the images of this package.
//!
//! Sizes are those that the allocator takes for a request: rounded up to its grain.
#![no_std]

use core::{
    alloc::{GlobalAlloc, Layout},
    cell::UnsafeCell,
    mem::MaybeUninit,
    ptr::{self, NonNull},
};
use footprint::{fail, report};
use linked_list_allocator::Heap;

/// Bytes that may be allocated.
const HEAP: usize = 512 * 1024;

/// What the allocator rounds up to: a hole holds its length and a pointer.
const GRAIN: usize = 2 * size_of::<usize>();

/// What somebody takes of the heap.
#[derive(Clone, Copy, Default)]
pub struct Usage {
    /// Bytes in use.
    pub live: usize,
    /// The most bytes in use since [`restart_peak`].
    pub peak: usize,
}

impl Usage {
    const NONE: Self = Self { live: 0, peak: 0 };

    fn add(&mut self, size: usize) {
        self.live += size;
        self.peak = self.peak.max(self.live);
    }

    fn subtract(&mut self, size: usize) {
        // What one party has allocated another one may free.
        self.live = self.live.saturating_sub(size);
    }
}

/// How many parties are counted apart.
const PARTIES: usize = 3;

struct State {
    heap: Heap,
    all: Usage,
    parties: [Usage; PARTIES],
    charged: usize,
    /// How far the heap has ever been in use: the peak and what lies fragmented below it.
    reached: usize,
}

impl State {
    fn add(&mut self, size: usize) {
        self.all.add(size);
        if let Some(party) = self.parties.get_mut(self.charged) {
            party.add(size);
        }
    }

    fn subtract(&mut self, size: usize) {
        self.all.subtract(size);
        if let Some(party) = self.parties.get_mut(self.charged) {
            party.subtract(size);
        }
    }
}

struct Counting(UnsafeCell<State>);

// SAFETY: there is one thread and no interrupt.
unsafe impl Sync for Counting {}

#[repr(align(8))]
struct Arena(UnsafeCell<MaybeUninit<[u8; HEAP]>>);

// SAFETY: as above; it is given to the allocator once.
unsafe impl Sync for Arena {}

static ARENA: Arena = Arena(UnsafeCell::new(MaybeUninit::uninit()));

#[global_allocator]
static ALLOCATOR: Counting = Counting(UnsafeCell::new(State {
    heap: Heap::empty(),
    all: Usage::NONE,
    parties: [Usage::NONE; PARTIES],
    charged: 0,
    reached: 0,
}));

const fn rounded(layout: Layout) -> usize {
    let size = layout.size().next_multiple_of(GRAIN);
    if size < GRAIN { GRAIN } else { size }
}

// SAFETY: memory comes from an allocator that keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: there is one thread, and the allocator does not call itself.
        let state = unsafe { &mut *self.0.get() };
        let Ok(place) = state.heap.allocate_first_fit(layout) else {
            report(b"heap.live", state.all.live as u32);
            report(b"heap.refused", layout.size() as u32);
            return ptr::null_mut();
        };
        state.add(rounded(layout));
        let end = place.as_ptr() as usize + rounded(layout) - ARENA.0.get() as usize;
        state.reached = state.reached.max(end);
        place.as_ptr()
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as above.
        let state = unsafe { &mut *self.0.get() };
        let Some(place) = NonNull::new(place) else { return };
        state.subtract(rounded(layout));
        // SAFETY: the caller's: it was allocated with this layout.
        unsafe { state.heap.deallocate(place, layout) };
    }
}

/// Sets the heap up.
pub fn init() {
    footprint::init();
    // SAFETY: nothing has been allocated, and nobody else uses the arena.
    unsafe {
        let state = &mut *ALLOCATOR.0.get();
        state.heap.init(ARENA.0.get().cast(), HEAP);
    }
}

/// Bytes in use.
pub fn live() -> usize {
    // SAFETY: there is one thread.
    unsafe { (*ALLOCATOR.0.get()).all.live }
}

/// The most bytes in use since [`restart_peak`].
pub fn peak() -> usize {
    // SAFETY: there is one thread.
    unsafe { (*ALLOCATOR.0.get()).all.peak }
}

/// Has a party pay for what is allocated from now on.
pub fn charge(party: usize) {
    // SAFETY: there is one thread.
    unsafe { (*ALLOCATOR.0.get()).charged = party };
}

/// What a party takes.
pub fn party(number: usize) -> Usage {
    // SAFETY: there is one thread.
    unsafe { (*ALLOCATOR.0.get()).parties.get(number).copied().unwrap_or_default() }
}

/// Forgets the peaks so far.
pub fn restart_peak() {
    // SAFETY: there is one thread.
    let state = unsafe { &mut *ALLOCATOR.0.get() };
    for usage in state.parties.iter_mut().chain([&mut state.all]) {
        usage.peak = usage.live;
    }
}

/// The length of the heap that was ever in use.
pub fn reached() -> usize {
    // SAFETY: there is one thread.
    unsafe { (*ALLOCATOR.0.get()).reached }
}

/// Does a step and reports its instructions, its stack, and what it left and took at most of the
/// heap.
pub fn step<T>(name: &[u8], work: impl FnOnce() -> T) -> T {
    let before = live();
    restart_peak();
    let (result, cost) = footprint::measure(work);
    footprint::report_cost(name, cost);
    report_part(name, b".heap", live().saturating_sub(before));
    report_part(name, b".heap_peak", peak().saturating_sub(before));
    result
}

/// Reports a figure whose name has two parts.
pub fn report_part(name: &[u8], part: &[u8], value: usize) {
    footprint::write(name);
    report(part, u32::try_from(value).unwrap_or(u32::MAX));
}

#[cortex_m_rt::exception]
unsafe fn HardFault(frame: &cortex_m_rt::ExceptionFrame) -> ! {
    // A panic is an undefined instruction here: the place says which one.
    report(b"fault.at", frame.pc());
    report(b"fault.called_from", frame.lr());
    fail(b"hard fault")
}
