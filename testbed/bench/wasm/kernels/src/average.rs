//! A capsule of the usual size: the mean of the last sixteen samples.

use crate::module::Static;

#[link(wasm_import_module = "capmesh1")]
unsafe extern "C" {
    fn read(offset: u32, dst: *mut u8, len: u32) -> i32;
    fn publish(output: u32, src: *const u8, len: u32) -> i32;
}

struct Window {
    samples: [f32; 16],
    sum: f32,
    at: usize,
    count: usize,
    record: [u8; 4],
}

static WINDOW: Static<Window> =
    Static::new(Window { samples: [0.0; 16], sum: 0.0, at: 0, count: 0, record: [0; 4] });

/// Takes a sample and publishes the mean.
#[unsafe(no_mangle)]
extern "C" fn message(_input: u32, len: u32) {
    // SAFETY: once in this handler.
    let window = unsafe { WINDOW.get() };
    // SAFETY: the record has room for its length.
    if len != 4 || unsafe { read(0, window.record.as_mut_ptr(), 4) } != 4 {
        return;
    }
    let sample = f32::from_le_bytes(window.record);
    let Some(slot) = window.samples.get_mut(window.at) else { return };
    window.sum += sample - *slot;
    *slot = sample;
    window.at = (window.at + 1) % 16;
    window.count = (window.count + 1).min(16);
    window.record = (window.sum / window.count as f32).to_le_bytes();
    // SAFETY: the node reads the record, which is there.
    unsafe { publish(0, window.record.as_ptr(), 4) };
}
