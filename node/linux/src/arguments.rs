//! What can be said on the command line.

use anyhow::{Context, bail};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How a node is started. What changes nothing else than this one start is said here, the rest may be
/// said in the environment, too.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Where the node keeps everything; made if it is not there
    #[arg(long, value_name = "DIR", default_value = "capmesh-node", env = "CAPMESH_STATE")]
    pub state: PathBuf,

    /// What people call it: letters, digits and hyphens, 23 at most [default: this machine's name]
    #[arg(long, value_name = "NAME", env = "CAPMESH_NAME")]
    pub name: Option<String>,

    /// Where to listen; port 0 takes any that is free. [::] listens to IPv4, too
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:5683", env = "CAPMESH_LISTEN")]
    pub listen: SocketAddr,

    /// Find neighbours by multicast on this interface (eth0, say); without it, only by what the
    /// gateway says
    #[arg(long, value_name = "NAME", env = "CAPMESH_INTERFACE")]
    pub interface: Option<String>,

    /// Bytes of flash: for capsules, snapshots and documents. It cannot be changed later
    #[arg(long, value_name = "SIZE", default_value = "8M", value_parser = size, env = "CAPMESH_FLASH")]
    pub flash: u32,

    /// Bytes of RAM that capsules may take
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = size, env = "CAPMESH_RAM")]
    pub ram: u32,

    /// Fuel per second that capsules may use; an instruction costs about one
    #[arg(long, value_name = "COUNT", default_value = "100M", value_parser = count, env = "CAPMESH_FUEL")]
    pub fuel: u32,

    /// Instances of capsules that may be there at once, 64 at most
    #[arg(long, value_name = "COUNT", default_value = "32", env = "CAPMESH_INSTANCES",
          value_parser = clap::value_parser!(u8).range(1..=64))]
    pub instances: u8,

    /// What board it says it is, for people and for placement
    #[arg(long, value_name = "NAME", default_value = "linux", env = "CAPMESH_BOARD")]
    pub board: String,

    /// Leave this machine's own sensors out
    #[arg(long, env = "CAPMESH_NO_SENSORS")]
    pub no_sensors: bool,

    /// Seconds between two samples of a sensor, also between two replayed rows
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds, env = "CAPMESH_EVERY")]
    pub every: Duration,

    /// Play recorded rows as a sensor: its name, a file of SenML (JSON, or CSV with JSON in its last
    /// column), and the schema of the samples. Each field takes the value of its name; `value` takes
    /// that of the sensor's name. Begins anew at the end of the file
    #[arg(long, value_name = "NAME=ROWS,SCHEMA")]
    pub replay: Vec<String>,

    /// Show what this machine can sense, with the schema files for it, and do nothing else
    #[arg(long)]
    pub show_sensors: bool,

    /// Leave it to the kernel when flash reaches the disk: faster, safe against kill -9, not against a
    /// power cut
    #[arg(long, env = "CAPMESH_NO_SYNC")]
    pub no_sync: bool,

    /// End when standard input does, for programs that start nodes and want none to outlive them
    #[arg(long)]
    pub while_stdin: bool,
}

/// A recording that is played as a sensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replay {
    pub(crate) name: String,
    pub(crate) rows: PathBuf,
    pub(crate) schema: PathBuf,
}

impl Arguments {
    /// The recordings.
    pub(crate) fn replays(&self) -> anyhow::Result<Vec<Replay>> {
        let parse = |text: &String| {
            let parts = text.split_once('=');
            let parts = parts.and_then(|(name, files)| Some((name, files.rsplit_once(',')?)));
            let Some((name, (rows, schema))) = parts else {
                bail!("`--replay {text}`: what is meant is NAME=ROWS,SCHEMA");
            };
            capmesh_wire::Name::new(name)
                .with_context(|| format!("`--replay {text}`: `{name}` is no name"))?;
            Ok(Replay { name: name.into(), rows: rows.into(), schema: schema.into() })
        };
        self.replay.iter().map(parse).collect()
    }
}

/// A number of bytes: `512K` is 512 * 1024.
fn size(text: &str) -> Result<u32, String> {
    scaled(text, 1_024)
}

/// A number: `500K` is 500,000.
fn count(text: &str) -> Result<u32, String> {
    scaled(text, 1_000)
}

fn scaled(text: &str, thousand: u32) -> Result<u32, String> {
    let (digits, scale) = match text.strip_suffix(['K', 'k']) {
        Some(digits) => (digits, Some(thousand)),
        None => match text.strip_suffix('M') {
            Some(digits) => (digits, thousand.checked_mul(thousand)),
            None => (text, Some(1)),
        },
    };
    let value: Option<u32> = digits.parse().ok();
    let value = value.zip(scale).and_then(|(value, scale)| value.checked_mul(scale));
    value.ok_or_else(|| "a number below 4G, with K or M behind it if you like".into())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|value| Duration::try_from_secs_f64(value).ok());
    seconds
        .filter(|seconds| *seconds >= Duration::from_millis(1))
        .ok_or_else(|| "a number of seconds, 0.001 at least".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_counts_have_their_own_thousand() {
        assert_eq!((size("512K"), count("512K")), (Ok(524_288), Ok(512_000)));
        assert_eq!((size("8M"), count("2M")), (Ok(8 << 20), Ok(2_000_000)));
        assert_eq!(size("4096"), Ok(4_096));
        for wrong in ["", "K", "-1", "1G", "4096M", "1.5M"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_are_seconds() {
        assert_eq!(seconds("0.1"), Ok(Duration::from_millis(100)));
        for wrong in ["0", "-1", "x", "1e30"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
