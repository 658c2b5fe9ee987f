//! What ties responses to their request.

use crate::header::PIV_LEN;

/// The Partial IV of a request, and on the client's side how fresh its last notification was.
///
/// One belongs to each request for as long as responses may come or go. It is bound to the
/// [`Context`](crate::Context) that made it; used with another one, nothing decrypts at the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// 0 before any response; 1 after one without a Partial IV, which counts as the oldest; the
    /// Notification Number of RFC 8613 section 4.1.3.5.2 plus 2 after that.
    newest: u64,
    piv: [u8; PIV_LEN],
    observe: bool,
}

impl Binding {
    pub(crate) const fn new(piv: u64, observe: bool) -> Self {
        let [_, _, _, a, b, c, d, e] = piv.to_be_bytes();
        Self { newest: 0, piv: [a, b, c, d, e], observe }
    }

    /// The Partial IV of the request.
    #[must_use]
    pub const fn partial_iv(&self) -> u64 {
        let [a, b, c, d, e] = self.piv;
        u64::from_be_bytes([0, 0, 0, a, b, c, d, e])
    }

    /// Whether the request carried an Observe option.
    #[must_use]
    pub const fn is_observe(&self) -> bool {
        self.observe
    }

    /// Whether a response with this Partial IV is fresher than all that were accepted.
    pub(crate) const fn is_fresh(&self, piv: Option<u64>) -> bool {
        rank(piv) > self.newest
    }

    pub(crate) const fn accept(&mut self, piv: Option<u64>) {
        self.newest = rank(piv);
    }
}

const fn rank(piv: Option<u64>) -> u64 {
    match piv {
        None => 1,
        Some(piv) => piv + 2,
    }
}
