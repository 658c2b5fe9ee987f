//! Rendering a whole representation while keeping one block of it.

use super::etag::{ETag, ETagHasher};
use super::length;
use core::fmt;

/// Takes a complete representation and keeps only a window of it, so that a server needs neither
/// the whole of it in memory nor any state between two blocks: for each block that a client asks
/// for, the representation is rendered again. The total length and a hash for the entity-tag are
/// computed on the way, which is how the client notices a change between two blocks.
///
/// The work of a request is that of rendering the representation once; writing cannot fail.
#[derive(Debug)]
pub struct Windowed<'w> {
    window: &'w mut [u8],
    start: u32,
    total: u32,
    hash: ETagHasher,
    /// Where the whole representation is kept as well, if it cannot be rendered again.
    whole: Option<&'w mut [u8]>,
}

impl<'w> Windowed<'w> {
    /// Keeps the bytes from `start` on, as many as `window` holds.
    #[must_use]
    pub const fn new(window: &'w mut [u8], start: u32) -> Self {
        Self { window, start, total: 0, hash: ETagHasher::new(), whole: None }
    }

    /// Also keeps everything from the first byte on in `whole`, as much as that holds.
    #[must_use]
    pub const fn keeping(mut self, whole: &'w mut [u8]) -> Self {
        self.whole = Some(whole);
        self
    }

    /// Appends to the representation.
    pub fn write(&mut self, bytes: &[u8]) {
        self.hash.write(bytes);
        if let Some(whole) = &mut self.whole {
            copy_overlap(whole, 0, bytes, self.total);
        }
        copy_overlap(self.window, self.start, bytes, self.total);
        self.total = self.total.saturating_add(length(bytes.len()));
    }

    /// Appends `len` bytes that lie in storage: `read` is given an offset among them and where to
    /// put them, for what falls into the window, and is not called if nothing does. The entity-tag
    /// covers no more than their number, so name what can change with
    /// [`Reply::etag`](crate::server::Reply::etag).
    ///
    /// # Errors
    /// What `read` says. What was written is no longer good then.
    pub fn write_with<E>(
        &mut self,
        len: u32,
        read: impl FnOnce(u32, &mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.hash.write(&len.to_be_bytes());
        self.whole = None;
        let skip = self.start.saturating_sub(self.total);
        let into = self.total.saturating_sub(self.start) as usize;
        let wanted = len.saturating_sub(skip) as usize;
        self.total = self.total.saturating_add(len);
        match self.window.get_mut(into..) {
            Some(window) if wanted > 0 && !window.is_empty() => {
                let wanted = wanted.min(window.len());
                window.get_mut(..wanted).map_or(Ok(()), |window| read(skip, window))
            }
            _ => Ok(()),
        }
    }

    /// Starts over with nothing written.
    pub fn clear(&mut self) {
        self.total = 0;
        self.hash = ETagHasher::new();
    }

    /// How many bytes have been written.
    #[must_use]
    pub const fn total(&self) -> u32 {
        self.total
    }

    /// The offset at which the window starts.
    #[must_use]
    pub const fn start(&self) -> u32 {
        self.start
    }

    /// What was written within the window.
    #[must_use]
    pub fn kept(&self) -> &[u8] {
        let len = self.total.saturating_sub(self.start) as usize;
        self.window.get(..len).unwrap_or(self.window)
    }

    /// The window as a buffer, for those who write a block by themselves.
    #[cfg(feature = "coap-handler")]
    pub(crate) const fn buffer(&mut self) -> &mut [u8] {
        self.window
    }

    /// Takes the bytes at `range` of the [buffer](Self::buffer) for all that was written.
    #[cfg(feature = "coap-handler")]
    pub(crate) fn keep(&mut self, range: core::ops::Range<usize>) {
        if range.start <= range.end && range.end <= self.window.len() {
            self.total = length(range.len());
            self.window.copy_within(range, 0);
        }
    }

    /// Whether something was written behind the window.
    #[must_use]
    pub fn more(&self) -> bool {
        self.total > self.start.saturating_add(length(self.window.len()))
    }

    /// Whether everything that was written has been kept from the first byte on.
    #[must_use]
    pub fn is_whole_kept(&self) -> bool {
        self.whole.as_ref().is_some_and(|whole| length(whole.len()) >= self.total)
    }

    /// An entity-tag of what was written.
    #[must_use]
    pub fn etag(&self) -> ETag {
        self.hash.tag()
    }
}

impl fmt::Write for Windowed<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.write(s.as_bytes());
        Ok(())
    }
}

/// Copies the part of `bytes` (at `at` of the representation) that falls into `window` (at `start`).
fn copy_overlap(window: &mut [u8], start: u32, bytes: &[u8], at: u32) {
    let skip = start.saturating_sub(at) as usize;
    let into = at.saturating_sub(start) as usize;
    let (Some(bytes), Some(window)) = (bytes.get(skip..), window.get_mut(into..)) else { return };
    let len = bytes.len().min(window.len());
    if let (Some(to), Some(from)) = (window.get_mut(..len), bytes.get(..len)) {
        to.copy_from_slice(from);
    }
}
