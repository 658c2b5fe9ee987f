//! Who observes what.

use crate::endpoint::ObservationId;
use crate::message::Message;
use crate::option::OptionNumber;
use core::time::Duration;
use heapless::Vec;

/// The longest request, in bytes and without its token, that can be answered anew for an observer.
/// One that is longer is answered once, as RFC 7641 section 4.1 allows.
pub const OBSERVE_REQUEST: usize = 96;

/// An observer that has neither registered nor acknowledged anything for so long makes way for another.
pub const SILENCE: Duration = Duration::from_secs(60);

/// One observer: its request is answered anew at every change.
#[derive(Clone, Debug)]
pub(super) struct Observer<P> {
    pub(super) id: ObservationId,
    pub(super) peer: P,
    /// The Content-Format that notifications have to be in (RFC 7641 section 4.2).
    pub(super) content_format: Option<u16>,
    request: Vec<u8, OBSERVE_REQUEST>,
    changed: bool,
}

impl<P> Observer<P> {
    /// An observer, unless its request is too long to be kept.
    pub(super) fn new(
        id: ObservationId,
        peer: P,
        content_format: Option<u16>,
        request: Message<'_>,
    ) -> Option<Self> {
        let mut kept = Vec::new();
        let mut header = [0; 4];
        header.copy_from_slice(request.as_bytes().get(..4)?);
        header[0] &= 0xf0; // no token
        let token = request.token().as_bytes().len();
        kept.extend_from_slice(&header).ok()?;
        kept.extend_from_slice(request.as_bytes().get(4 + token..)?).ok()?;
        Some(Self { id, peer, content_format, request: kept, changed: false })
    }

    /// The request, without its token.
    pub(super) fn request(&self) -> Option<Message<'_>> {
        Message::parse(&self.request).ok()
    }
}

/// At most `N` observers.
#[derive(Debug)]
pub(super) struct Observers<P, const N: usize> {
    all: Vec<Observer<P>, N>,
    /// Where to look for the next one that is marked, so that each has its turn.
    next: usize,
}

impl<P: Clone, const N: usize> Observers<P, N> {
    pub(super) const fn new() -> Self {
        Self { all: Vec::new(), next: 0 }
    }

    /// Adds an observer or renews it. Returns whether there was room.
    pub(super) fn insert(&mut self, observer: Observer<P>) -> bool {
        self.remove(observer.id);
        self.all.push(observer).is_ok()
    }

    pub(super) fn remove(&mut self, id: ObservationId) {
        if let Some(at) = self.all.iter().position(|observer| observer.id == id) {
            self.all.swap_remove(at);
        }
    }

    /// Marks those whose path, given in segments, is meant.
    pub(super) fn mark(&mut self, is_meant: &dyn Fn(&mut dyn Iterator<Item = &[u8]>) -> bool) {
        for Observer { request, changed, .. } in &mut self.all {
            if let Ok(request) = Message::parse(request) {
                *changed |= is_meant(&mut request.option_values(OptionNumber::URI_PATH));
            }
        }
    }

    /// Marks all.
    pub(super) fn mark_all(&mut self) {
        for observer in &mut self.all {
            observer.changed = true;
        }
    }

    /// Whether there is room for one more.
    pub(super) fn is_full(&self) -> bool {
        self.all.is_full()
    }

    /// What all observations are called.
    pub(super) fn ids(&self) -> impl Iterator<Item = ObservationId> {
        self.all.iter().map(|observer| observer.id)
    }

    /// Takes the mark from one that is marked.
    pub(super) fn next_changed(&mut self) -> Option<Observer<P>> {
        let from = self.next.min(self.all.len());
        let (before, after) = self.all.split_at_mut_checked(from)?;
        let mut turn = after.iter_mut().chain(before);
        let at = turn.position(|observer| core::mem::take(&mut observer.changed))?;
        let at = (from + at) % self.all.len();
        self.next = at + 1;
        self.all.get(at).cloned()
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }
}
