//! A client of the broker that notes when which count came.

use crate::client;
use crate::site::{Failed, PATIENCE};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What came, and when.
pub(crate) struct Listener(Arc<Mutex<Vec<(Instant, u64)>>>);

impl Listener {
    /// Subscribes, and listens in a thread of its own until the broker ends.
    pub(crate) fn start(broker: u16, filter: &str) -> Result<Self, Failed> {
        let mut reader = client::subscribe(broker, filter)?;
        let came = Arc::<Mutex<Vec<_>>>::default();
        let notes = Arc::clone(&came);
        std::thread::Builder::new().name("listener".to_owned()).spawn(move || {
            while let Ok((kind, body)) = client::packet(&mut reader) {
                if kind & 0xf0 != 0x30 {
                    continue;
                }
                let Ok((_, payload)) = client::published(&body) else { return };
                let Ok(count) = client::number(payload, b"\"count\":") else { return };
                notes.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), count));
            }
        })?;
        Ok(Self(came))
    }

    fn came(&self) -> MutexGuard<'_, Vec<(Instant, u64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until so many have come.
    pub(crate) fn wait(&self, count: usize) -> Result<(), Failed> {
        let begun = Instant::now();
        while self.came().len() < count {
            if begun.elapsed() > PATIENCE {
                return Err("no counts come".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The longest time without a message between two instants, the ends included.
    pub(crate) fn longest(&self, from: Instant, to: Instant) -> Duration {
        let came = self.came();
        let times = came.iter().map(|(at, _)| *at).filter(|at| (from..to).contains(at));
        let mut longest = Duration::ZERO;
        let mut before = from;
        for at in times.chain([to]) {
            longest = longest.max(at.saturating_duration_since(before));
            before = at;
        }
        longest
    }

    /// That each count has come once and in order; how many came.
    pub(crate) fn check(&self) -> Result<u64, Failed> {
        let came = self.came();
        for ((_, count), expected) in came.iter().zip(0..) {
            if *count != expected {
                return Err(format!("{count} came where {expected} had to").into());
            }
        }
        Ok(u64::try_from(came.len())?)
    }
}
