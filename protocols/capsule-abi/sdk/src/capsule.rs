//! What `#[capsule]` makes of an impl block.

/// A capsule. `#[capsule]` implements this: each method calls the handler that is meant.
///
/// Numbers are those of the manifest.
pub trait Capsule: Sized + 'static {
    /// The state of a fresh instance.
    const FRESH: Self;

    /// The version of the layout of its state, if `capsule.toml` gives one.
    const STATE_VERSION: Option<u16>;

    /// A fresh instance starts.
    fn start(&mut self) {}

    /// A message of `len` bytes arrived.
    fn message(&mut self, input: u32, len: u32) {
        let _ = (input, len);
    }

    /// A timer ran out.
    fn timer(&mut self, timer: u32) {
        let _ = timer;
    }

    /// A digital input changed.
    fn event(&mut self, source: u32, value: f64) {
        let _ = (source, value);
    }

    /// Somebody asks a resource, with a body of `len` bytes.
    fn request(&mut self, resource: u32, method: u32, len: u32) {
        let _ = (resource, method, len);
    }

    /// A request was answered, with a body of `len` bytes.
    fn reply(&mut self, request: u32, status: u32, len: u32) {
        let _ = (request, status, len);
    }

    /// A one-shot capsule runs, with arguments of `len` bytes.
    fn run(&mut self, len: u32) {
        let _ = len;
    }
}
