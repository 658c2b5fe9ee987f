//! Which faults a seed has at all, and how often.

use super::fork;
use std::fmt;
use std::time::Duration;

/// A kind of trouble. Each is on or off for a whole run, by chance: what needs the absence of one fault to
/// show (a queue that only fills where nothing is lost) is found as well as what needs many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Nodes lose power.
    Crash,
    /// The gateway is killed at any time.
    Gateway,
    /// The gateway is killed just before or after a commit.
    Commit,
    /// The registry is killed.
    Registry,
    /// The net is divided.
    Partition,
    /// What one host sends another waits.
    Clog,
    /// Links lose, double, delay and spoil datagrams.
    Weather,
    /// Old datagrams come again.
    Replay,
    /// Datagrams come that nobody has made.
    Forge,
    /// Clocks drift.
    Drift,
    /// The MQTT broker is away.
    Mqtt,
    /// Capsules trap, loop and want too much memory.
    Hostile,
    /// Nodes join.
    Join,
    /// Nodes are revoked.
    Revoke,
    /// Nodes are drained.
    Drain,
    /// Instances are moved.
    Migrate,
    /// Pipelines come and go.
    Deploy,
    /// Capsules get new versions.
    Update,
    /// Instances are started afresh.
    Restart,
}

impl Kind {
    /// Each of them.
    pub const ALL: [Self; 19] = [
        Self::Crash,
        Self::Gateway,
        Self::Commit,
        Self::Registry,
        Self::Partition,
        Self::Clog,
        Self::Weather,
        Self::Replay,
        Self::Forge,
        Self::Drift,
        Self::Mqtt,
        Self::Hostile,
        Self::Join,
        Self::Revoke,
        Self::Drain,
        Self::Migrate,
        Self::Deploy,
        Self::Update,
        Self::Restart,
    ];

    /// What it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Gateway => "gateway",
            Self::Commit => "commit",
            Self::Registry => "registry",
            Self::Partition => "partition",
            Self::Clog => "clog",
            Self::Weather => "weather",
            Self::Replay => "replay",
            Self::Forge => "forge",
            Self::Drift => "drift",
            Self::Mqtt => "mqtt",
            Self::Hostile => "hostile",
            Self::Join => "join",
            Self::Revoke => "revoke",
            Self::Drain => "drain",
            Self::Migrate => "migrate",
            Self::Deploy => "deploy",
            Self::Update => "update",
            Self::Restart => "restart",
        }
    }

    /// The kind with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Which kinds of trouble there are in a run, and how far apart they come on average.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swarm {
    on: Vec<(Kind, Duration)>,
}

/// How far apart trouble of a kind comes on average, where it comes most often and most rarely.
const NEAR: Duration = Duration::from_secs(4);
const FAR: Duration = Duration::from_secs(128);

impl Swarm {
    /// Draws which kinds are on: each of them in about half of all runs; in one run of 16 none, and in one
    /// all. Trouble of a kind comes once in 4 to 128 seconds, each power of two as likely.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut dice = fork(seed, "swarm");
        let all = match dice.below(16) {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        };
        let mut on = Vec::new();
        for kind in Kind::ALL {
            let is_on = dice.below(2) == 0;
            let octaves = (FAR.as_secs() / NEAR.as_secs()).ilog2();
            let apart = NEAR * (1 << dice.below(u64::from(octaves) + 1));
            if all.unwrap_or(is_on) {
                on.push((kind, apart));
            }
        }
        Self { on }
    }

    /// Without some kinds.
    #[must_use]
    pub fn without(mut self, kinds: &[Kind]) -> Self {
        self.on.retain(|(kind, _)| !kinds.contains(kind));
        self
    }

    /// How far apart trouble of this kind comes; `None` if there is none.
    #[must_use]
    pub fn apart(&self, kind: Kind) -> Option<Duration> {
        self.on.iter().find(|(of, _)| *of == kind).map(|(_, apart)| *apart)
    }

    /// Whether there is trouble of this kind.
    #[must_use]
    pub fn has(&self, kind: Kind) -> bool {
        self.apart(kind).is_some()
    }

    /// The kinds that there are.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> {
        self.on.iter().map(|(kind, _)| *kind)
    }
}

impl fmt::Display for Swarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.on.is_empty() {
            return f.write_str("calm");
        }
        for (place, (kind, apart)) in self.on.iter().enumerate() {
            let gap = if place == 0 { "" } else { ", " };
            write!(f, "{gap}{} every {} s", kind.name(), apart.as_secs())?;
        }
        Ok(())
    }
}
