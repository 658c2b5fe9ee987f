//! Mosquitto, on a port of its own.

use crate::site::Failed;
use capmesh_interop::process::Process;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long a broker may take to start.
const START: Duration = Duration::from_secs(10);

/// A broker that runs until this is dropped.
pub(crate) struct Broker {
    pub(crate) process: Process,
    pub(crate) port: u16,
}

/// Starts Mosquitto as Debian packages it, with its defaults but for what keeps it from dropping messages
/// behind a slow subscriber.
pub(crate) fn start(directory: &Path) -> Result<Broker, Failed> {
    let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let file = directory.join("mosquitto.conf");
    let config = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n\
         max_queued_messages 0\n"
    );
    std::fs::write(&file, config)?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut paths: Vec<_> = std::env::split_paths(&path).collect();
    // Where Debian has it; not every user's PATH does.
    paths.push("/usr/sbin".into());
    let found = paths.into_iter().map(|path| path.join("mosquitto")).find(|path| path.is_file());
    let program = found.ok_or("mosquitto is not installed (apt-get install mosquitto)")?;
    let process = Process::start("mosquitto", Command::new(program).arg("-c").arg(&file))
        .map_err(|error| error.to_string())?;
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if begun.elapsed() > START {
            return Err("mosquitto does not start".into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(Broker { process, port })
}
