//! A registry on sockets.

use crate::core::{Input, Lent, Output, Registry};
use crate::http;
use crate::radio::Radio;
use crate::shared::{Access, Shared, now as unix};
use capmesh_coap::endpoint::{self, Endpoint, Via};
use capmesh_registry_store::{
    Backend, Checker, Collected, Fault, Memory, Pushed, Refusal, Sqlite, Store, Usage, bounds,
};
use capmesh_session::edhoc::Identity;
use capmesh_session::{self as session, Entry, Replaceable, SecureEndpoint, Sessions};
use capmesh_wire::roster::{Untrusted, UnverifiedRoster};
use capmesh_wire::{CapsuleName, Instant, NodeId, PublicKey, Roster, Tag};
use rand_core::{OsRng, RngCore};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// The longest datagram: what IPv6 carries everywhere.
const MTU: usize = 1280;

/// Sessions with 128 peers, 16 handshakes at once.
type Link = SecureEndpoint<
    Sessions<Members, OsRng, 128, 16>,
    MTU,
    8,
    { 8 * (MTU + 4) },
    32,
    1,
    512,
    65_536,
>;

/// Bytes of stack while an endpoint is made, which is by value.
const STACK: usize = 64 << 20;

/// Datagrams that are taken before something else has its turn.
const BURST: usize = 64;

/// How long requests that are under way may take when it ends.
const LAST_REQUESTS: Duration = Duration::from_secs(3);

/// How often garbage is collected.
const COLLECT: Duration = Duration::from_secs(60 * 60);

/// The newest roster's file, in the state directory.
const ROSTER: &str = "roster";

/// What a registry is started with.
#[derive(Clone)]
pub struct Config {
    /// Where it keeps its state; in memory if nowhere.
    pub state: Option<PathBuf>,
    /// Where nodes and gateways reach it: UDP.
    pub listen: SocketAddr,
    /// Where people's tools reach it: TCP.
    pub http: SocketAddr,
    /// The interface of the radio on which it says capsules to all nodes at once, if it is on one: each part
    /// takes the air from all who hear it, and nodes on other links do not listen.
    pub radio: Option<String>,
    /// Who it is: a member of the site with the role of a registry.
    pub identity: Identity,
    /// The site's key, which signs rosters.
    pub site: PublicKey,
    /// A roster of the site. If the state has a newer one, that one counts.
    pub roster: Vec<u8>,
    /// What capsules are checked with when they are pushed.
    pub checker: Arc<dyn Checker>,
    /// What has to be known to push over HTTP: a bearer token, or the password of any user. Without
    /// it everybody may push who reaches the loopback, and nobody from elsewhere.
    pub token: Option<String>,
    /// Bytes that capsules may take.
    pub quota: u64,
    /// For how long a blob is kept that no tag and no lease refers to.
    pub grace: Duration,
}

impl Config {
    /// With the usual addresses and bounds, in memory.
    #[must_use]
    pub fn new(
        identity: Identity,
        site: PublicKey,
        roster: Vec<u8>,
        checker: Arc<dyn Checker>,
    ) -> Self {
        Self {
            state: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 5685)),
            http: SocketAddr::from(([127, 0, 0, 1], 5050)),
            radio: None,
            identity,
            site,
            roster,
            checker,
            token: None,
            quota: bounds::QUOTA,
            grace: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// Why a registry does not start.
#[derive(Debug)]
pub enum StartError {
    /// It cannot listen there.
    Listen(SocketAddr, io::Error),
    /// It cannot speak on this interface.
    Radio(String, io::Error),
    /// Its state cannot be used.
    State(PathBuf, String),
    /// The store has failed.
    Store(Fault),
    /// The roster is not the site's.
    Roster(Untrusted),
    /// The system has no thread for it.
    Thread(io::Error),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Listen(address, error) => write!(f, "cannot listen at {address}: {error}"),
            Self::Radio(name, error) => write!(f, "cannot speak on {name}: {error}"),
            Self::State(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Store(fault) => fault.fmt(f),
            Self::Roster(error) => write!(f, "the roster is not the site's: {error}"),
            Self::Thread(error) => write!(f, "cannot start: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<Fault> for StartError {
    fn from(fault: Fault) -> Self {
        Self::Store(fault)
    }
}

/// A registry that runs. It ends when this is dropped, or [stopped](Self::stop).
pub struct Handle {
    id: NodeId,
    mesh: SocketAddr,
    http: SocketAddr,
    shared: Arc<Shared>,
    rosters: mpsc::Sender<Vec<u8>>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("mesh", &self.mesh).field("http", &self.http).finish()
    }
}

impl Handle {
    /// Its id on the roster.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.id
    }

    /// Where nodes and gateways reach it.
    #[must_use]
    pub const fn mesh(&self) -> SocketAddr {
        self.mesh
    }

    /// Where people's tools reach it.
    #[must_use]
    pub const fn http(&self) -> SocketAddr {
        self.http
    }

    /// Pushes a capsule without the detour of HTTP, by the same rules: for who runs gateway and registry
    /// in one process. It blocks for as long as signatures and disks take.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn push(
        &self,
        name: CapsuleName<'_>,
        tag: Tag<'_>,
        manifest: &[u8],
        module: &[u8],
    ) -> Result<Pushed, Refusal> {
        self.shared.push_whole(name, tag, manifest, module)
    }

    /// Gives it a newer roster; one that is not newer or not the site's changes nothing.
    pub async fn set_roster(&self, roster: Vec<u8>) {
        // It ends only with this handle.
        let _ = self.rosters.send(roster).await;
    }

    /// The roster that counts.
    #[must_use]
    pub fn roster(&self) -> Vec<u8> {
        self.shared.roster().to_vec()
    }

    /// How full it is.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn usage(&self) -> Result<Usage, Fault> {
        self.shared.store().usage()
    }

    /// Throws away what nothing refers to, and what came more than so long ago.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn collect(&self, grace: Duration) -> Result<Collected, Fault> {
        self.shared.store().collect(unix(), grace.as_secs())
    }

    /// Ends it, after the requests that are under way, unless they take long.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        for mut task in self.tasks.drain(..) {
            if tokio::time::timeout(LAST_REQUESTS, &mut task).await.is_err() {
                task.abort();
            }
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Starts a registry in this tokio runtime.
///
/// # Errors
/// If it cannot listen, or its state cannot be used.
pub async fn start(config: Config) -> Result<Handle, StartError> {
    let socket = UdpSocket::bind(config.listen).await;
    let socket = socket.map_err(|error| StartError::Listen(config.listen, error))?;
    let listener = TcpListener::bind(config.http).await;
    let listener = listener.map_err(|error| StartError::Listen(config.http, error))?;
    let address =
        |of: io::Result<SocketAddr>, asked| of.map_err(|error| StartError::Listen(asked, error));
    let mesh = address(socket.local_addr(), config.listen)?;
    let http = address(listener.local_addr(), config.http)?;
    let (backend, roster) = open(&config)?;
    let store = Store::open(backend, config.quota)?;
    let access = match config.token {
        Some(token) => Access::Token(token),
        None if http.ip().is_loopback() => Access::Everybody,
        None => Access::Nobody,
    };
    let shared = Arc::new(Shared::new(store, &roster, config.checker, access));
    let (mut registry, started) = machine(config.identity, config.site, roster)?;
    let radio = config
        .radio
        .as_deref()
        .map(|name| Radio::join(name).map_err(|error| StartError::Radio(name.to_owned(), error)));
    let radio = radio.transpose()?;
    if let Some(radio) = &radio {
        registry.speak(radio.group(), OsRng.next_u64());
    }
    let id = session::Link::own_id(registry.link());
    let (stop, stopped) = watch::channel(false);
    let (rosters, given) = mpsc::channel(4);
    let mesh_loop = MeshLoop {
        socket,
        radio,
        registry,
        shared: shared.clone(),
        started,
        state: config.state.clone(),
        given,
        stopped: stopped.clone(),
        grace: config.grace,
    };
    let mut until = stopped;
    let service = http::router(shared.clone()).into_make_service();
    let serve = axum::serve(listener, service).with_graceful_shutdown(async move {
        let _ = until.wait_for(|stopped| *stopped).await;
    });
    let tasks = vec![
        tokio::spawn(mesh_loop.run()),
        tokio::spawn(async move {
            if let Err(error) = serve.await {
                tracing::error!(%error, "HTTP");
            }
        }),
    ];
    tracing::info!(%mesh, %http, node = %id, "the registry has started");
    Ok(Handle { id, mesh, http, shared, rosters, stop, tasks })
}

/// Opens the store, and finds the newest roster.
fn open(config: &Config) -> Result<(Box<dyn Backend>, Vec<u8>), StartError> {
    let verify = |bytes: &[u8]| {
        let roster = UnverifiedRoster::parse(bytes).map_err(Untrusted::Malformed)?;
        roster.verify(&config.site).map(|roster| roster.head().version)
    };
    let version = verify(&config.roster).map_err(StartError::Roster)?;
    let Some(state) = &config.state else {
        return Ok((Box::new(Memory::new()), config.roster.clone()));
    };
    let failed =
        |error: &dyn std::fmt::Display| StartError::State(state.clone(), error.to_string());
    std::fs::create_dir_all(state).map_err(|error| failed(&error))?;
    let backend = Sqlite::open(&state.join("registry.db")).map_err(|error| failed(&error))?;
    let roster = match std::fs::read(state.join(ROSTER)) {
        Ok(kept) if verify(&kept).is_ok_and(|kept| kept > version) => kept,
        _ => config.roster.clone(),
    };
    Ok((Box::new(backend), roster))
}

/// The members of the site, signed and verified.
#[derive(Debug, Default)]
struct Members(Vec<u8>);

impl session::Roster for Members {
    fn find(&self, kid: &[u8]) -> Option<Entry> {
        session::Roster::find(&Roster::from_trusted(&self.0).ok()?, kid)
    }
}

impl Replaceable for Members {
    fn replace(&mut self, roster: &Roster<'_>) {
        self.0 = roster.as_bytes().to_vec();
    }
}

type Machine = Box<Registry<Link>>;

/// Makes the machine, and says when its time began.
fn machine(
    identity: Identity,
    site: PublicKey,
    roster: Vec<u8>,
) -> Result<(Machine, std::time::Instant), StartError> {
    let make = move || {
        let (mut seed, mut key) = ([0; 16], [0; 16]);
        OsRng.fill_bytes(&mut seed);
        OsRng.fill_bytes(&mut key);
        let sessions = session::Config::for_host();
        let sessions = Sessions::new(Instant::ZERO, sessions, identity, Members::default(), OsRng);
        let endpoint = Endpoint::new(endpoint::Config::default(), sessions, seed);
        let link: Link = SecureEndpoint::new(endpoint);
        Registry::new(Instant::ZERO, link, site, &roster, key).map(Box::new)
    };
    let started = std::time::Instant::now();
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(make);
    let made = thread.map_err(StartError::Thread)?.join();
    let made = made.map_err(|_| StartError::Thread(io::Error::other("its thread panicked")))?;
    Ok((made.map_err(StartError::Roster)?, started))
}

/// The machine and its socket.
struct MeshLoop {
    socket: UdpSocket,
    radio: Option<Radio>,
    registry: Machine,
    shared: Arc<Shared>,
    started: std::time::Instant,
    state: Option<PathBuf>,
    given: mpsc::Receiver<Vec<u8>>,
    stopped: watch::Receiver<bool>,
    grace: Duration,
}

impl MeshLoop {
    fn now(&self) -> Instant {
        let micros = self.started.elapsed().as_micros();
        Instant::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    async fn run(mut self) {
        let mut collect = tokio::time::interval(COLLECT);
        collect.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.handle(Input::Wall(unix()));
        loop {
            self.drain();
            let until = self.registry.poll_timeout();
            let until = until.map(|at| at.saturating_since(self.now()));
            tokio::select! {
                biased;
                _ = self.stopped.changed() => return,
                Some(roster) = self.given.recv() => self.handle(Input::Roster(&roster)),
                // An error shows when the socket is read.
                _ = self.socket.readable() => self.receive(),
                () = heard(self.radio.as_ref()) => self.hear(),
                _ = collect.tick() => self.collect(),
                () = wait(until) => {}
            }
        }
    }

    fn handle(&mut self, input: Input<'_>) {
        let now = self.now();
        let mut store = self.shared.store();
        self.registry.handle(now, &Lent::new(&mut *store, unix()), input);
    }

    fn receive(&mut self) {
        let mut buf = [0; MTU + 1];
        for _ in 0..BURST {
            match self.socket.try_recv_from(&mut buf) {
                Ok((len, from)) => {
                    let bytes = buf.get(..len).unwrap_or_default();
                    self.handle(Input::Datagram { from, via: Via::Unicast, bytes });
                    self.drain();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // What an earlier datagram has met: the peer's port is closed, say.
                Err(error) => tracing::debug!(%error, "receive"),
            }
        }
    }

    /// Takes what was said on the radio.
    fn hear(&mut self) {
        let mut buf = [0; MTU + 1];
        for _ in 0..BURST {
            let Some(radio) = &self.radio else { return };
            match radio.hear(&mut buf) {
                Ok(Some((len, from))) => {
                    let bytes = buf.get(..len).unwrap_or_default();
                    self.handle(Input::Datagram { from, via: Via::Multicast, bytes });
                    self.drain();
                }
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => tracing::debug!(%error, "hear"),
            }
        }
    }

    fn drain(&mut self) {
        let (now, mut buf) = (self.now(), [0; MTU]);
        loop {
            let output = {
                let mut store = self.shared.store();
                self.registry.poll(now, &Lent::new(&mut *store, unix()), &mut buf)
            };
            let Some(output) = output else { return };
            match output {
                // A datagram that is not sent is a datagram lost, which the endpoint expects.
                Output::Transmit { to, bytes } => {
                    let sent = match &self.radio {
                        Some(radio) if radio.group() == to => radio.say(bytes),
                        _ => self.socket.try_send_to(bytes, to),
                    };
                    if let Err(error) = sent {
                        tracing::debug!(%error, %to, "send");
                    }
                }
                Output::Roster(roster) => {
                    self.shared.set_roster(&roster);
                    if let Some(Err(error)) =
                        self.state.as_deref().map(|state| keep(state, &roster))
                    {
                        tracing::error!(%error, "the roster is not kept");
                    }
                }
            }
        }
    }

    fn collect(&mut self) {
        self.handle(Input::Wall(unix()));
        let shared = self.shared.clone();
        let grace = self.grace.as_secs();
        tokio::task::spawn_blocking(move || match shared.store().collect(unix(), grace) {
            Ok(Collected { blobs: 0, .. }) => {}
            Ok(Collected { blobs, bytes, .. }) => tracing::info!(blobs, bytes, "collected"),
            Err(fault) => tracing::error!(%fault, "collecting"),
        });
    }
}

/// Writes the roster so that there is the old or the new one at any time.
fn keep(state: &std::path::Path, roster: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    let new = state.join("roster.new");
    let mut file = std::fs::File::create(&new)?;
    file.write_all(roster)?;
    file.sync_all()?;
    std::fs::rename(&new, state.join(ROSTER))
}

/// Waits until something was said on the radio.
async fn heard(radio: Option<&Radio>) {
    match radio {
        Some(radio) => radio.readable().await,
        None => std::future::pending().await,
    }
}

/// Waits as long as there is nothing to do; gives others a turn if there is something at once.
async fn wait(until: Option<Duration>) {
    match until {
        None => std::future::pending().await,
        Some(Duration::ZERO) => tokio::task::yield_now().await,
        Some(until) => tokio::time::sleep(until).await,
    }
}
