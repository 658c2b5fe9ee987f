//! Nodes as processes, and what they are given.

use crate::controller::At;
use crate::process::Process;
use capmesh::site::Site;
use capmesh_capsule::seal::{self, Sealed};
use capmesh_wire::Claim;
use capmesh_wire::cbor::Writer;
use capmesh_wire::schema::{Fields, PayloadWriter, Value};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The command, and what it is: `capmesh`.
pub(crate) const CAPMESH: &str = env!("CARGO_BIN_EXE_capmesh");

/// A test's directory, which is removed with it.
pub(crate) struct Place(PathBuf);

impl Place {
    pub(crate) fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("capmesh-mesh-{}-{test}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn site(&self) -> PathBuf {
        self.0.join("site")
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A node's process.
pub(crate) struct Machine {
    name: String,
    process: Process,
    address: SocketAddr,
    claim: String,
    state: PathBuf,
    /// What it is told beside the usual.
    more: Vec<String>,
}

impl Machine {
    /// Starts a node that is new, on a port of its own.
    pub(crate) fn start(place: &Place, name: &str) -> Self {
        Self::start_with(place, name, &[])
    }

    /// The same with more arguments.
    pub(crate) fn start_with(place: &Place, name: &str, more: &[&str]) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (state, more) = (place.join(name), more.iter().map(|&word| word.to_owned()).collect());
        let (process, address, claim) = launch(&state, name, any, &more);
        Self { name: name.into(), process, address, claim, state, more }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn claim(&self) -> Claim {
        self.claim.parse().unwrap()
    }

    /// Ends it without a warning.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it on what it left behind.
    pub(crate) fn start_again(&mut self) {
        let (process, address, _) = launch(&self.state, &self.name, self.address, &self.more);
        assert_eq!(address, self.address);
        self.process = process;
    }

    /// Puts it on the roster, as a person does.
    pub(crate) fn adopt(&self, place: &Place) -> At {
        let address = self.address.to_string();
        command(place, &["direct", "adopt", &self.claim, "--at", &address]);
        let (id, address) = Site::open(&place.site()).unwrap().node(&self.name).unwrap();
        At { id, address }
    }

    /// Ends it without a warning, and starts it on what it left behind.
    pub(crate) fn kill_and_restart(&mut self) {
        self.kill();
        self.start_again();
    }
}

fn launch(
    state: &Path,
    name: &str,
    listen: SocketAddr,
    more: &Vec<String>,
) -> (Process, SocketAddr, String) {
    let mut process = Process::spawn(
        Command::new(CAPMESH)
            .args(["node", "run", "--name", name, "--listen", &listen.to_string()])
            .arg("--no-sensors")
            .args(more)
            .arg("--state")
            .arg(state)
            .stdout(Stdio::piped()),
    );
    let mut lines = BufReader::new(process.output()).lines();
    let (mut address, mut claim) = (None, None);
    while address.is_none() || claim.is_none() {
        let line = lines.next().expect("the node says where it is").unwrap();
        match line.split_once(' ') {
            Some(("listening", text)) => address = Some(text.parse().unwrap()),
            Some(("claim", text)) => claim = Some(text.to_owned()),
            _ => {}
        }
    }
    // What else it says is read, so that it never waits for a reader.
    std::thread::spawn(move || lines.for_each(drop));
    (process, address.unwrap(), claim.unwrap())
}

/// Runs the command in the site, and returns what it prints.
pub(crate) fn command(place: &Place, arguments: &[&str]) -> String {
    let output = Command::new(CAPMESH).arg("--site").arg(place.site()).args(arguments).output();
    let output = output.unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "capmesh {arguments:?}: {text}");
    String::from_utf8(output.stdout).unwrap()
}

/// An example capsule, signed by the site's publisher.
pub(crate) fn capsule(site: &Site, name: &str) -> Sealed {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/capsules/dist");
    let path = dist.join(format!("{name}.capsule"));
    let file = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let key = site.key(capmesh::site::PUBLISHER).unwrap().signing();
    seal::open(&file).unwrap().resign(&key).unwrap()
}

/// A configuration: a value for each field, in their order.
pub(crate) fn config(fields: Fields<'_>, values: &[Option<Value<'_>>]) -> Vec<u8> {
    let mut buf = [0; 256];
    let mut writer = Writer::new(&mut buf);
    let mut payload = PayloadWriter::new(fields, &mut writer).unwrap();
    for value in values {
        payload.value(value.unwrap_or(Value::Absent)).unwrap();
    }
    payload.finish().unwrap();
    writer.written().to_vec()
}
