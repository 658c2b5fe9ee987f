//! Which outside peers there are on this machine, and how to start them.

use crate::process::{Disappointment, Process};
use serde_json::{Value, json};
use std::env;
use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long a peer may take to start. An interpreter on a busy machine is slow.
pub const START: Duration = Duration::from_secs(30);

/// How long one answer of a peer may take. It covers the retransmissions of a lossy moment.
pub const ANSWER: Duration = Duration::from_secs(60);

/// An address of this machine's that no other test uses: Linux gives the whole of 127.0.0.0/8 to the
/// loopback interface, so that every test process has the well-known port to itself.
///
/// # Panics
/// If no address has port 5683 free.
#[must_use]
pub fn own_address() -> Ipv4Addr {
    let [.., high, low] = std::process::id().to_be_bytes();
    let free = |address: &Ipv4Addr| UdpSocket::bind((*address, 5683)).is_ok();
    (2..=254)
        .map(|last| Ipv4Addr::new(127, 1 + high % 254, low, last))
        .find(free)
        .expect("one of 253 loopback addresses has its CoAP port free")
}

/// A port of `address` that was free a moment ago, for programs that cannot say which one they took.
///
/// # Panics
/// If the address has no free port.
#[must_use]
pub fn free_port(address: Ipv4Addr) -> SocketAddr {
    let socket = UdpSocket::bind((address, 0)).expect("the address has a free port");
    socket.local_addr().expect("a bound socket has an address")
}

/// Says that a test cannot run here. Where `CI` is set that is a failure; elsewhere it is printed,
/// and noted in `target/interop-skipped.txt`, a line for each test.
///
/// # Panics
/// Where `CI` is `true`.
pub fn skip(peer: &str, how_to_get_it: &str) {
    let test = std::thread::current().name().unwrap_or("?").to_owned();
    let message = format!("SKIPPED {test}: {peer} is not installed ({how_to_get_it})");
    assert!(env::var("CI").as_deref() != Ok("true"), "{message}");
    eprintln!("{message}");
    let noted = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(root().join("target/interop-skipped.txt"))
        .and_then(|mut file| writeln!(file, "{message}"));
    if let Err(error) = noted {
        eprintln!("and that could not be noted: {error}");
    }
}

/// The repository's root.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A directory for this test's files, empty.
///
/// # Panics
/// If it cannot be made.
#[must_use]
pub fn scratch(test: &str) -> PathBuf {
    let directory = root().join("target/interop").join(format!("{test}-{}", std::process::id()));
    // Left by an earlier process of the same number.
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).expect("the target directory can be written to");
    directory
}

/// aiocoap with its Python, as `cargo xtask setup` installs them.
pub struct Aiocoap {
    python: PathBuf,
    sources: Option<PathBuf>,
}

impl Aiocoap {
    /// Finds it in the virtual environment at `CAPMESH_VENV`, or `.capmesh/venv`; `None`, with a
    /// [`skip`], if it is not there.
    ///
    /// # Panics
    /// If it is not there and `CI` is `true`.
    #[must_use]
    pub fn find() -> Option<Self> {
        let venv = env::var_os("CAPMESH_VENV").map(PathBuf::from);
        let python = venv.unwrap_or_else(|| root().join(".capmesh/venv")).join("bin/python");
        if !python.exists() {
            skip("aiocoap", "cargo xtask setup");
            return None;
        }
        let sources = fs::read_dir(root().join(".capmesh/aiocoap-src"))
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path().join("contrib/oscore-plugtest")))
            .find(|path| path.is_dir());
        Some(Self { python, sources })
    }

    /// The directory of its OSCORE plug test, which only its source distribution has; `None`, with
    /// a [`skip`], if it is not there.
    ///
    /// # Panics
    /// If it is not there and `CI` is `true`.
    #[must_use]
    pub fn plug_test(&self) -> Option<&Path> {
        if self.sources.is_none() {
            skip("aiocoap's OSCORE plug test", "cargo xtask setup");
        }
        self.sources.as_deref()
    }

    /// A command that runs `script` without the transports that no test here is about.
    #[must_use]
    pub fn command(&self, script: &Path) -> Command {
        let mut command = Command::new(&self.python);
        command
            .arg("-u")
            .arg(script)
            .env("AIOCOAP_CLIENT_TRANSPORT", "oscore:udp6")
            .env("AIOCOAP_SERVER_TRANSPORT", "oscore:udp6");
        command
    }

    /// Starts a server at `address` and waits until it answers.
    ///
    /// # Errors
    /// If it does not.
    pub fn serve(
        &self,
        address: SocketAddr,
        credentials: Option<&Path>,
    ) -> Result<Process, Disappointment> {
        let mut command = self.peer("serve", credentials);
        let server =
            Process::start("aiocoap server", command.args(["--bind", &address.to_string()]))?;
        server.wait_for("ready", START)?;
        Ok(server)
    }

    /// Starts a client that takes commands.
    ///
    /// # Errors
    /// If it does not start.
    pub fn drive(&self, credentials: Option<&Path>) -> Result<Driver, Disappointment> {
        let mut process = Process::start("aiocoap client", &mut self.peer("drive", credentials))?;
        process.next_line(START)?;
        Ok(Driver { process })
    }

    fn peer(&self, role: &str, credentials: Option<&Path>) -> Command {
        let mut command = self.command(&root().join("testbed/interop/peers/aiocoap_peer.py"));
        command.arg(role);
        if let Some(file) = credentials {
            command.arg("--credentials").arg(file);
        }
        command
    }
}

/// An aiocoap client that does what it is told, one thing after the other.
pub struct Driver {
    process: Process,
}

impl Driver {
    /// Gives a command and waits for its result; `peers/aiocoap_peer.py` says which there are.
    ///
    /// # Errors
    /// If no result comes.
    pub fn tell(&mut self, command: &Value) -> Result<Reply, Disappointment> {
        self.process.write_line(&command.to_string())?;
        let line = self.process.next_line(ANSWER)?;
        Ok(Reply(serde_json::from_str(&line).unwrap_or_else(|_| json!({ "error": line }))))
    }

    /// Sends a request without options or payload.
    ///
    /// # Errors
    /// If no result comes.
    pub fn request(&mut self, code: &str, uri: &str) -> Result<Reply, Disappointment> {
        self.tell(&json!({ "do": "request", "code": code, "uri": uri }))
    }
}

/// What an aiocoap client got.
#[derive(Debug)]
pub struct Reply(Value);

impl Reply {
    /// The response's code, as in "2.05", or what went wrong.
    #[must_use]
    pub fn code(&self) -> String {
        let text = |name: &str| self.0.get(name).and_then(Value::as_str).map(str::to_owned);
        text("error").or_else(|| text("code")).unwrap_or_else(|| format!("{:?}", self.0))
    }

    /// The payload, unless it is longer than 1,024 bytes.
    ///
    /// # Panics
    /// If it is longer.
    #[must_use]
    pub fn payload(&self) -> Vec<u8> {
        let digits = self.0.get("payload").and_then(Value::as_str).expect("the payload is short");
        unhex(digits)
    }

    /// The length of the payload, and its SHA-256 in hexadecimal digits.
    #[must_use]
    pub fn digest(&self) -> (u64, String) {
        let length = self.0.get("length").and_then(Value::as_u64).unwrap_or_default();
        let digest = self.0.get("sha256").and_then(Value::as_str).unwrap_or_default();
        (length, digest.into())
    }

    /// The value of an option, if it was there.
    #[must_use]
    pub fn option(&self, number: u16) -> Option<Vec<u8>> {
        let value = self.0.get("options")?.get(number.to_string())?.as_str()?;
        Some(unhex(value))
    }
}

fn unhex(digits: &str) -> Vec<u8> {
    let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|n| u8::try_from(n).ok());
    let (pairs, _) = digits.as_bytes().as_chunks::<2>();
    pairs.iter().filter_map(|&[high, low]| Some(nibble(high)? << 4 | nibble(low)?)).collect()
}

/// libcoap's command line programs.
pub struct Libcoap;

impl Libcoap {
    /// Finds them; `None`, with a [`skip`], if they are not installed.
    ///
    /// # Panics
    /// If they are not installed and `CI` is `true`.
    #[must_use]
    pub fn find() -> Option<Self> {
        let installed = |program: &str| {
            env::var_os("PATH")
                .is_some_and(|path| env::split_paths(&path).any(|dir| dir.join(program).exists()))
        };
        if installed("coap-client-notls") && installed("coap-server-notls") {
            return Some(Self);
        }
        skip("libcoap", "Debian package libcoap3-bin");
        None
    }

    /// A command for its client.
    #[must_use]
    pub fn client(&self) -> Command {
        Command::new("coap-client-notls")
    }

    /// Starts its server at `address`, with room for `dynamic` resources made by PUT.
    ///
    /// # Errors
    /// If it does not start or does not answer a ping.
    pub fn serve(&self, address: SocketAddr, dynamic: u8) -> Result<Process, Disappointment> {
        let server = Process::start(
            "libcoap server",
            Command::new("coap-server-notls")
                .args(["-A", &address.ip().to_string()])
                .args(["-p", &address.port().to_string()])
                .args(["-d", &dynamic.to_string()]),
        )?;
        await_ping(address);
        Ok(server)
    }
}

/// Pings `address` (RFC 7252 section 4.3) until it answers: the protocol says when a server is
/// ready.
///
/// # Panics
/// If it has not answered after [`START`].
pub fn await_ping(address: SocketAddr) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    socket.connect(address).expect("a loopback address can be connected to");
    socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout can be set");
    let deadline = std::time::Instant::now() + START;
    for id in 0u16.. {
        assert!(std::time::Instant::now() < deadline, "nothing answers at {address}");
        let [high, low] = id.to_be_bytes();
        // A port that nobody listens at refuses at once; what counts is the answer.
        if socket.send(&[0x40, 0, high, low]).is_err() {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        }
        let mut reset = [0; 16];
        match socket.recv(&mut reset) {
            Ok(4) if reset.first() == Some(&0x70) => return,
            _ => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}
