//! A blob that is said to all on the link: listening, and saying what is lacking.
//!
//! See [`capmesh_transfer::said`]. Who wants a blob waits for a short time whether somebody else is the first
//! to ask, then asks one who has it, in a session, and all. What comes is put together here, and goes to
//! the transfer as if a peer had answered it: verified, written and marked as everything else.
//!
//! # When it asks
//! As soon as nothing was heard for a while: who lacks parts of pieces that were said sooner, and the sooner
//! the more it lacks; who wants to go on with the next pieces only when nobody lacks any. Who hears another one ask
//! waits for what comes of that. If nobody answers, it asks in a session again, and then fetches for itself. Who
//! comes late goes on with the others and asks for what it lacks when they have done.
//!
//! # Bounds
//! [`WINDOW`] pieces of up to 2 KB wait for their parts, of which memory is taken with the first part.

#[cfg(test)]
mod tests;

use alloc::vec;
use alloc::vec::Vec;
use capmesh_transfer::said::{CROWD, Keys, PIECE, Parts, write_ask};
use capmesh_wire::said::{Ask, Lack, Part, Tag};
use capmesh_wire::{Digest, Instant, limits};
use core::time::Duration;

/// Pieces that are put together at a time: as many as a transfer asks for.
pub(crate) const WINDOW: usize = crate::download::WINDOW;

const _: () = assert!(WINDOW <= limits::LACKS);

/// Pieces that are said together, before it is asked for more.
const BLOCK: u16 = 8;

const _: () = assert!(BLOCK as usize <= WINDOW);

/// For how long nothing is heard when the one who spoke has come to an end.
const SILENCE: Duration = Duration::from_millis(22);

/// How long the air is free at least before somebody asks: longer than between the parts of a registry.
const QUIET: Duration = Duration::from_millis(9);

/// How much longer those wait who lack nothing of what was said.
const GO_ON: Duration = Duration::from_millis(45);

/// How long an answer takes, at most: that of a registry which leaves it to nodes first.
const ANSWER: Duration = Duration::from_millis(170);

/// How long it takes until somebody speaks who has to be asked in a session first.
const SESSION: Duration = Duration::from_millis(700);

/// How long it takes until all have heard that they are to have it.
const ALL: Duration = Duration::from_millis(200);

/// Over how long those who want it spread their first request, for each of them: so that one or two begin in
/// the time that a handshake takes.
const BEGIN: Duration = Duration::from_millis(60);

/// Fewer are helped one by one.
const FEW: u8 = 4;

/// Of so many at most.
const OTHERS: u8 = 32;

/// How often in a row nobody may answer before somebody is asked in a session.
const UNHEARD: u8 = 3;

/// How often somebody is asked in a session before the blob is fetched without listening.
const SESSIONS: u8 = 3;

/// How a node listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Company {
    /// Nodes that may want the same.
    pub(crate) others: u8,
    /// Whether this one has begun it, and has a session with one who has the blob.
    pub(crate) is_first: bool,
    /// Whether somebody has said something lately: others have begun, and may have it.
    pub(crate) is_lively: bool,
}

impl Company {
    /// How many parts are asked for beyond what is lacking: another one lacks more.
    fn margin(self) -> u8 {
        if self.others < FEW { 0 } else { 1 + self.others.min(OTHERS) / 12 }
    }

    /// Over how long those who lack something spread what they say.
    fn spread(self) -> Duration {
        Duration::from_millis(u64::from(self.others.min(OTHERS)) * 3)
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Say {
    /// Ask somebody in a session: for the nth time.
    InSession(usize),
    /// This datagram is to go to all.
    ToAll(usize),
    /// Nobody says it.
    GiveUp,
}

/// A piece that is put together.
#[derive(Debug)]
struct Piece {
    number: u16,
    /// Nothing before its first part has come.
    parts: Option<Parts>,
    bytes: Vec<u8>,
    is_whole: bool,
}

impl Piece {
    const fn new(number: u16) -> Self {
        Self { number, parts: None, bytes: Vec::new(), is_whole: false }
    }

    fn lack(&self) -> Lack {
        let parts = self.parts.as_ref().map_or(u8::MAX, Parts::lacking);
        Lack { piece: self.number, parts }
    }
}

/// A blob that is listened to.
#[derive(Debug)]
pub(crate) struct Listener {
    keys: Keys,
    digest: Digest,
    root: Digest,
    company: Company,
    pieces: Vec<Piece>,
    /// When to ask, if nothing is heard until then.
    at: Instant,
    /// Somebody has said something of it.
    is_heard: bool,
    /// How many of its pieces are chunks: pages have higher numbers, and come first.
    chunks: u16,
    /// The last chunk that somebody has said a part of.
    reached: Option<u16>,
    /// A piece that others have come to, who are too far ahead to wait for this one.
    ahead: Option<u16>,
    /// What was asked without an answer.
    unheard: u8,
    /// How often somebody was asked in a session since a part was heard.
    in_session: u8,
    /// Somebody who was asked in a session has not refused.
    has_begun: bool,
    /// The next request is to be made in a session, too.
    wants_session: bool,
    random: u64,
}

impl Listener {
    /// Begins to listen. `seed` makes it differ from all others: of its numbers are the nonces of requests.
    pub(crate) fn new(
        now: Instant,
        (digest, root, chunks): (&Digest, &Digest, u16),
        company: Company,
        seed: u64,
    ) -> Self {
        let mut listener = Self {
            keys: Keys::new(digest, root),
            digest: *digest,
            root: *root,
            company,
            pieces: Vec::new(),
            at: now,
            is_heard: false,
            chunks,
            reached: None,
            ahead: None,
            unheard: 0,
            in_session: 0,
            has_begun: false,
            wants_session: company.is_first || !company.is_lively,
            random: seed,
        };
        // So that one or two begin in the time that a handshake takes.
        let (least, spread) = match company {
            Company { is_first: true, .. } => (SILENCE + GO_ON + company.spread(), Duration::ZERO),
            Company { is_lively: true, .. } if listener.is_document() => {
                (SILENCE, company.spread())
            }
            Company { is_lively: true, .. } => {
                (SILENCE + GO_ON + company.spread() * 2, company.spread())
            }
            Company { others, .. } => (ALL, BEGIN * u32::from(others.min(OTHERS))),
        };
        listener.at = now + least + listener.below(spread);
        listener
    }

    /// The blob, by its digest and its root.
    pub(crate) const fn blob(&self) -> (Digest, Digest) {
        (self.digest, self.root)
    }

    /// Whether this one has asked in a session and was not refused.
    pub(crate) const fn is_first(&self) -> bool {
        self.has_begun
    }

    /// These pieces are waited for, and no others. The first that are new are added.
    pub(crate) fn want(&mut self, pieces: impl Iterator<Item = u16> + Clone) {
        self.pieces.retain(|piece| pieces.clone().any(|wanted| wanted == piece.number));
        for number in pieces {
            if self.pieces.len() < WINDOW && !self.pieces.iter().any(|piece| piece.number == number)
            {
                let at = self.pieces.partition_point(|piece| piece.number < number);
                self.pieces.insert(at, Piece::new(number));
            }
        }
    }

    /// The piece that others have come to, if they are so far ahead that this one goes on with them, and brings
    /// what it lacks before that afterwards: with others who came late.
    pub(crate) const fn take_ahead(&mut self) -> Option<u16> {
        self.ahead.take()
    }

    /// A piece whose parts have all come.
    pub(crate) fn whole(&mut self) -> Option<(u16, &[u8])> {
        let piece = self.pieces.iter_mut().find(|piece| piece.is_whole)?;
        let number = piece.number;
        let bytes = piece.parts.as_mut().and_then(|parts| parts.solve(&mut piece.bytes));
        Some((number, bytes.unwrap_or_default()))
    }

    /// A piece was taken, or has to come anew.
    pub(crate) fn forget(&mut self, number: u16) {
        self.pieces.retain(|piece| piece.number != number);
    }

    /// A part was said by somebody. The work is that of opening it.
    pub(crate) fn heard_part(&mut self, now: Instant, part: &Part<'_>) {
        // As long as what came, which fits a datagram.
        let mut room = vec![0; part.sealed.len()];
        let Some(text) = self.keys.open_part(part, &mut room) else {
            return self.heard_another(now, part.blob);
        };
        (self.is_heard, self.unheard, self.in_session, self.wants_session) = (true, 0, 0, false);
        if part.piece < self.chunks {
            self.reached = self.reached.max(Some(part.piece));
            self.follow(part.piece);
        }
        if let Some(piece) = self.pieces.iter_mut().find(|piece| piece.number == part.piece) {
            keep(piece, part, text);
        }
        self.at = now + self.patience();
    }

    /// Somebody has asked for parts.
    pub(crate) fn heard_ask(&mut self, now: Instant, ask: &Ask<'_>) {
        let mut room = [0; capmesh_wire::said::LACK * limits::LACKS];
        let Some(lacks) = self.keys.open_ask(ask, &mut room) else {
            return self.heard_another(now, ask.blob);
        };
        if let Some(piece) = Lack::parse(lacks).and_then(|lacks| lacks.map(|it| it.piece).min()) {
            self.follow(piece);
        }
        if self.company.is_first && !self.has_begun && !self.is_heard {
            // It is this one's to begin.
            return;
        }
        let first = !core::mem::replace(&mut self.is_heard, true);
        let wait = if first { SESSION } else { ANSWER };
        self.count_unheard();
        let more = if self.is_next() { self.patience() } else { Duration::ZERO };
        let spread = self.company.spread();
        self.at = self.at.max(now + wait + more + self.below(spread));
    }

    /// Others have come to this piece. Who waits for none that is so far goes on with them.
    fn follow(&mut self, piece: u16) {
        let last = self.pieces.last().map(|piece| piece.number);
        if piece < self.chunks && last.is_some_and(|last| last < piece) {
            self.ahead = Some(piece);
        }
    }

    /// Something else was said, by somebody who may want this next: nobody goes on without the others. Manifests
    /// come before everything else.
    fn heard_another(&mut self, now: Instant, blob: Tag) {
        if blob != self.keys.tag() && !self.is_document() && self.is_next() {
            self.at = self.at.max(now + self.patience());
        }
        self.give_way(now);
    }

    /// Something was sent to all. Of a crowd, who asks while the air is not free is not heard in time to keep others
    /// from it.
    pub(crate) fn give_way(&mut self, now: Instant) {
        if self.company.others > CROWD {
            let spread = self.company.spread();
            self.at = self.at.max(now + QUIET + self.below(spread / 4));
        }
    }

    fn is_document(&self) -> bool {
        self.digest == self.root && self.chunks <= 1
    }

    /// Whether nothing was said yet of the pieces that it lacks, as far as it knows.
    fn is_next(&self) -> bool {
        !self.pieces.iter().any(|piece| !piece.is_whole && self.is_begun(&piece.lack()))
    }

    /// Whether something was said of a piece, as far as it knows.
    fn is_begun(&self, lack: &Lack) -> bool {
        lack.parts < u8::MAX
            || self.reached.is_some_and(|reached| {
                // Pages were all said before the first chunk was.
                lack.piece >= self.chunks || lack.piece <= reached
            })
    }

    /// What is to be said now. A datagram for all is written to `buf`, with this number.
    pub(crate) fn poll(&mut self, now: Instant, id: u16, buf: &mut [u8]) -> Option<Say> {
        if self.at > now || self.pieces.is_empty() {
            return None;
        }
        if self.wants_session {
            if self.in_session >= SESSIONS {
                return Some(Say::GiveUp);
            }
            let turn = self.in_session;
            (self.wants_session, self.has_begun, self.unheard) = (false, true, 0);
            self.in_session += 1;
            return Some(Say::InSession(turn.into()));
        }
        let lacks = self.lacks();
        if lacks.is_empty() {
            // Everything is on its way to flash.
            self.at = now + SILENCE;
            return None;
        }
        self.count_unheard();
        let spread = self.company.spread();
        let wait = if self.is_heard { ANSWER } else { SESSION };
        self.at = now + wait * u32::from(self.unheard.min(UNHEARD)) + self.below(spread);
        // Nobody else's nonce under this key, which all share who want the blob, and another one each time:
        // that is all that CCM asks of it. Who foresees it, as one can from the last, learns when this node
        // is to ask next, and has no key to seal anything with.
        let salt = self.roll().to_be_bytes();
        let mut asked = lacks;
        for lack in &mut asked {
            lack.parts = lack.parts.saturating_add(self.company.margin());
        }
        write_ask(&self.keys, &asked, salt, id, buf).map(Say::ToAll)
    }

    /// Somebody has asked. It counts until a part is heard.
    const fn count_unheard(&mut self) {
        self.unheard = self.unheard.saturating_add(1);
        if self.unheard >= UNHEARD {
            self.wants_session = true;
        }
    }

    /// What is lacking of what was said; if that is nothing, of the pieces that are to be said together next.
    pub(crate) fn lacks(&self) -> heapless::Vec<Lack, { limits::LACKS }> {
        let lacking = || self.pieces.iter().filter(|piece| !piece.is_whole).map(Piece::lack);
        let begun = || lacking().filter(|lack| self.is_begun(lack));
        let part = begun().filter(|lack| lack.parts < u8::MAX);
        let block = lacking().next().map(|lack| lack.piece / BLOCK);
        let next = lacking().filter(|lack| Some(lack.piece / BLOCK) == block);
        let mut lacks: heapless::Vec<_, { limits::LACKS }> = part.take(limits::LACKS).collect();
        if lacks.is_empty() {
            lacks.extend(begun().take(limits::LACKS));
        }
        if lacks.is_empty() {
            lacks.extend(next.take(limits::LACKS));
        }
        lacks
    }

    /// Who was asked in a session does not say it. The next one is asked: at once if nobody else may have begun,
    /// since the other one never says anything.
    pub(crate) fn refused(&mut self, now: Instant, is_never: bool) {
        (self.wants_session, self.has_begun) = (!self.is_heard || self.unheard >= UNHEARD, false);
        let others = BEGIN * u32::from(self.company.others.min(OTHERS));
        self.at = if is_never { now } else { now + SESSION + self.below(others) };
    }

    /// When to poll again although nothing was heard.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        (!self.pieces.is_empty()).then_some(self.at)
    }

    /// For how long nothing may be heard before it asks.
    fn patience(&mut self) -> Duration {
        let spread = self.company.spread();
        let lacks = self.lacks();
        let most = lacks.iter().filter(|lack| lack.parts < u8::MAX).map(|lack| lack.parts).max();
        if self.is_next() {
            // Others may have come further.
            let new = if self.reached.is_none() { spread } else { Duration::ZERO };
            return SILENCE + GO_ON + new + self.below(spread / 2);
        }
        let least = u32::from(8 - most.unwrap_or(8).min(8));
        SILENCE + spread / 48 * least + self.below(spread / 4)
    }

    fn roll(&mut self) -> u64 {
        self.random =
            self.random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        self.random ^ self.random >> 29
    }

    fn below(&mut self, below: Duration) -> Duration {
        below * u32::try_from(self.roll() >> 48).unwrap_or_default() / (1 << 16)
    }
}

/// Adds a part to its piece. Those of another size begin anew: somebody else speaks now.
fn keep(piece: &mut Piece, part: &Part<'_>, text: &[u8]) {
    if piece.is_whole {
        return;
    }
    if !piece.parts.as_ref().is_some_and(|parts| parts.are(part.of, text.len())) {
        let size = u16::try_from(text.len()).unwrap_or(u16::MAX);
        let parts = Parts::new(part.of, size);
        if parts.room() > PIECE + 2 + usize::from(size) {
            return;
        }
        piece.bytes = vec![0; parts.room()];
        piece.parts = Some(parts);
    }
    if let Some(parts) = &mut piece.parts {
        parts.keep(part.number, text, &mut piece.bytes);
        piece.is_whole = parts.lacking() == 0;
    }
}
