//! What happens to a mesh.

use super::workload::{Part, Pipeline};
use crate::Host;
use crate::net::{Way, Weather};
use crate::site::name;
use capmesh_node::flash::nor::Tear;
use std::fmt;
use std::time::Duration;

/// Something that happens to a mesh. One that cannot happen (a crash of a node that is off) does nothing, so
/// that every part of a script is a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A node loses power, in the middle of whatever its flash does.
    Crash {
        /// Which.
        node: Host,
        /// What becomes of the write on its way.
        tear: Tear,
    },
    /// A node has power again.
    Boot {
        /// Which.
        node: Host,
    },
    /// The gateway is killed, and starts again after a while.
    KillGateway {
        /// How long it is down.
        down: Duration,
    },
    /// The gateway is killed at a commit to come, and starts again after a while.
    DoomGateway {
        /// At which, counted from now; 1 is the next.
        commit: u64,
        /// When that commit is durable, and not before.
        is_durable: bool,
        /// How long it is down.
        down: Duration,
    },
    /// The registry is killed, and starts again after a while.
    KillRegistry {
        /// How long it is down.
        down: Duration,
    },
    /// The net is divided between these hosts and all others, besides what it is already.
    Partition {
        /// The hosts on one side.
        hosts: Vec<Host>,
        /// What does not come through.
        way: Way,
    },
    /// The net is whole again.
    Heal,
    /// What one host sends another waits until the clog is gone.
    Clog {
        /// The sender.
        from: Host,
        /// The receiver.
        to: Host,
        /// How long.
        lasts: Duration,
    },
    /// From now on all links are as bad as this.
    Weather(Weather),
    /// Datagrams of the past are sent once more.
    Replay {
        /// How many.
        count: u16,
    },
    /// Datagrams come that nobody in the mesh has made.
    Forge {
        /// To whom.
        to: Host,
        /// Whose address they bear.
        from: Host,
        /// What they are made of.
        seed: u64,
    },
    /// A node's clock runs fast or slow from now on.
    Drift {
        /// Which.
        node: Host,
        /// By so many parts of a million.
        ppm: i32,
    },
    /// The line to the MQTT broker breaks or comes back.
    Mqtt {
        /// Whether it is there.
        is_up: bool,
    },
    /// A message comes from the broker for an input.
    Message {
        /// The topic.
        topic: String,
        /// The number in it.
        number: u64,
    },
    /// A node joins the site.
    Join {
        /// Which.
        node: Host,
    },
    /// A node's key is revoked.
    Revoke {
        /// Which.
        node: Host,
    },
    /// Nothing new is put on a node, and what is there moves away.
    Drain {
        /// Which.
        node: Host,
    },
    /// A node takes instances again.
    Undrain {
        /// Which.
        node: Host,
    },
    /// A pipeline is deployed, or changed.
    Deploy(Box<Pipeline>),
    /// A pipeline is ended.
    Undeploy {
        /// Its name.
        pipeline: String,
    },
    /// An instance is moved.
    Migrate {
        /// Which.
        part: Part,
        /// The node that it goes to.
        to: Host,
    },
    /// An instance is started afresh.
    Restart {
        /// Which.
        part: Part,
    },
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash { node, tear } => write!(f, "{} loses power ({tear:?})", name(*node)),
            Self::Boot { node } => write!(f, "{} has power again", name(*node)),
            Self::KillGateway { down } => write!(f, "gateway killed for {down:?}"),
            Self::DoomGateway { commit, is_durable, down } => {
                let when = if *is_durable { "after" } else { "before" };
                write!(f, "gateway to be killed {when} commit +{commit}, for {down:?}")
            }
            Self::KillRegistry { down } => write!(f, "registry killed for {down:?}"),
            Self::Partition { hosts, way } => {
                let what = match way {
                    Way::Both => "nothing to or from",
                    Way::In => "nothing to",
                    Way::Out => "nothing from",
                };
                write!(f, "net divided: {what} {}", names(hosts))
            }
            Self::Heal => f.write_str("net whole"),
            Self::Clog { from, to, lasts } => {
                write!(f, "clog from {} to {} for {lasts:?}", name(*from), name(*to))
            }
            Self::Weather(Weather { loss, duplication, reordering, corruption, delay }) => write!(
                f,
                "links lose {loss}, double {duplication}, delay {reordering} and spoil {corruption} of 1,000; \
                 {delay:?} us more",
            ),
            Self::Replay { count } => write!(f, "{count} old datagrams once more"),
            Self::Forge { to, from, .. } => {
                write!(f, "forged datagrams to {} as from {}", name(*to), name(*from))
            }
            Self::Drift { node, ppm } => write!(f, "{}'s clock off by {ppm} ppm", name(*node)),
            Self::Mqtt { is_up: true } => f.write_str("MQTT up"),
            Self::Mqtt { is_up: false } => f.write_str("MQTT down"),
            Self::Message { topic, number } => write!(f, "MQTT message {number} to {topic}"),
            Self::Join { node } => write!(f, "{} joins", name(*node)),
            Self::Revoke { node } => write!(f, "{} revoked", name(*node)),
            Self::Drain { node } => write!(f, "{} drained", name(*node)),
            Self::Undrain { node } => write!(f, "{} undrained", name(*node)),
            Self::Deploy(pipeline) => write!(f, "deploy {pipeline}"),
            Self::Undeploy { pipeline } => write!(f, "undeploy {pipeline}"),
            Self::Migrate { part, to } => write!(f, "migrate {part} to {}", name(*to)),
            Self::Restart { part } => write!(f, "restart {part}"),
        }
    }
}

fn names(hosts: &[Host]) -> String {
    hosts.iter().map(|host| name(*host)).collect::<Vec<_>>().join(" ")
}
