//! Blobs that come in chunks.

use capmesh_registry_store::bounds;
use rand_core::{OsRng, RngCore};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Uploads at once: what they hold is at most this many times [`bounds::BLOB`].
pub(crate) const UPLOADS: usize = 16;

/// How long an upload may rest before another one may take its place.
const REST: Duration = Duration::from_secs(60);

/// Uploads that have begun and not ended.
#[derive(Debug, Default)]
pub(crate) struct Uploads(BTreeMap<String, Upload>);

#[derive(Debug)]
struct Upload {
    bytes: Vec<u8>,
    touched: Instant,
}

/// Why a chunk is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotTaken {
    /// There is no such upload.
    Unknown,
    /// It does not begin where the upload has got to, which is there.
    Offset(usize),
    /// The blob would be too large.
    TooLarge,
}

impl Uploads {
    pub(crate) const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Begins one, unless there are as many as there may be and none of them rests.
    pub(super) fn begin(&mut self, now: Instant) -> Option<String> {
        if self.0.len() >= UPLOADS {
            let rests = |upload: &Upload| now.saturating_duration_since(upload.touched) >= REST;
            let oldest = self.0.iter().filter(|(_, upload)| rests(upload));
            let oldest = oldest.min_by_key(|(_, upload)| upload.touched)?.0.clone();
            self.0.remove(&oldest);
        }
        let id = format!("{:016x}{:016x}", OsRng.next_u64(), OsRng.next_u64());
        self.0.insert(id.clone(), Upload { bytes: Vec::new(), touched: now });
        Some(id)
    }

    /// Takes a chunk, which begins at `start` if the client says so; returns how much there is.
    pub(super) fn append(
        &mut self,
        now: Instant,
        id: &str,
        start: Option<usize>,
        chunk: &[u8],
    ) -> Result<usize, NotTaken> {
        let upload = self.0.get_mut(id).ok_or(NotTaken::Unknown)?;
        let len = upload.bytes.len();
        if start.is_some_and(|start| start != len) {
            return Err(NotTaken::Offset(len));
        }
        if chunk.len() > bounds::BLOB - len {
            return Err(NotTaken::TooLarge);
        }
        upload.touched = now;
        upload.bytes.extend_from_slice(chunk);
        Ok(upload.bytes.len())
    }

    /// How much of one there is.
    pub(super) fn len(&self, id: &str) -> Option<usize> {
        self.0.get(id).map(|upload| upload.bytes.len())
    }

    /// Ends one, and gives what came.
    pub(super) fn end(&mut self, id: &str) -> Option<Vec<u8>> {
        self.0.remove(id).map(|upload| upload.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_come_in_order_and_to_a_bound() {
        let (mut uploads, now) = (Uploads::new(), Instant::now());
        let id = uploads.begin(now).unwrap();
        assert_eq!(uploads.append(now, &id, Some(0), b"ab"), Ok(2));
        assert_eq!(uploads.append(now, &id, Some(0), b"ab"), Err(NotTaken::Offset(2)));
        assert_eq!(uploads.append(now, &id, None, b"c"), Ok(3));
        let much = vec![0; bounds::BLOB - 2];
        assert_eq!(uploads.append(now, &id, None, &much), Err(NotTaken::TooLarge));
        assert_eq!(uploads.append(now, "0", None, b""), Err(NotTaken::Unknown));
        assert_eq!(uploads.end(&id).as_deref(), Some(&b"abc"[..]));
        assert_eq!((uploads.len(&id), uploads.end(&id)), (None, None));
    }

    #[test]
    fn one_that_rests_gives_way_when_there_are_too_many() {
        let (mut uploads, now) = (Uploads::new(), Instant::now());
        let ids: Vec<_> = (0..UPLOADS).map(|_| uploads.begin(now).unwrap()).collect();
        assert_eq!(uploads.begin(now), None);
        let later = now + REST;
        for id in ids.iter().skip(1) {
            uploads.append(later, id, None, b"").unwrap();
        }
        assert!(uploads.begin(later).is_some());
        assert_eq!(uploads.len(ids.first().unwrap()), None);
        assert_eq!(uploads.begin(later), None);
    }
}
