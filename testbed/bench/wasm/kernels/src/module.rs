//! What all modules have in common.

use core::{cell::UnsafeCell, panic::PanicInfo};

/// State of a module.
pub(crate) struct Static<T>(UnsafeCell<T>);

// SAFETY: a module has one thread.
unsafe impl<T> Sync for Static<T> {}

impl<T> Static<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// # Safety
    /// Handlers run one at a time; each may ask for each static once.
    #[expect(clippy::mut_from_ref, reason = "that is what the caller answers for")]
    pub(crate) unsafe fn get(&self) -> &mut T {
        // SAFETY: the caller's.
        unsafe { &mut *self.0.get() }
    }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
