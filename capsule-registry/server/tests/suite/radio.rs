//! A registry on an interface on which it says capsules to all, with real sockets: a member asks it in a session,
//! and the group hears the module.

use crate::site::{self, FACTS, module, sign};
use crate::world::{REGISTRY, config, identity};
use capmesh_blob::mapping::Name;
use capmesh_coap::Code;
use capmesh_coap::endpoint::{self, Endpoint, Event, Output, Reliability, Via};
use capmesh_coap::server::Outbox as _;
use capmesh_registry::{Config, Handle, StartError, start};
use capmesh_session::{self as session, Entry, Link as _, Replaceable, SecureEndpoint, Sessions};
use capmesh_transfer::said::{Heard, Keys, Parts, read, write_ask, write_lacks};
use capmesh_wire::said::Lack;
use capmesh_wire::{CapsuleName, Digest, Instant, Manifest, Role, Roster, Tag, paths};
use rand_core::OsRng;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockAddr, Socket, Type};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::time::Duration;

const NODE: u8 = 3;
const V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfd);
const V4: Ipv4Addr = Ipv4Addr::new(224, 0, 1, 187);

/// The longest that anything takes.
const PATIENCE: Duration = Duration::from_secs(20);

type Link = Box<SecureEndpoint<Sessions<Members, OsRng, 2, 2>, 1_280, 2, 4_096, 2, 1, 8, 4_096>>;

#[derive(Default)]
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

fn roster() -> Vec<u8> {
    let always = |n, role| (n, role, u64::MAX);
    site::roster(&[
        always(1, Role::Publisher),
        always(REGISTRY, Role::Registry),
        always(NODE, Role::Node),
    ])
}

fn loopback() -> u32 {
    std::fs::read_to_string("/sys/class/net/lo/ifindex").unwrap().trim().parse().unwrap()
}

/// What hears the group on the loopback, by IPv6 and by IPv4, as far as there are either.
fn ears() -> Vec<Socket> {
    let bind = |address: SocketAddr| {
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&SockAddr::from(address))?;
        std::io::Result::Ok(socket)
    };
    let v6 = || {
        let socket = bind(SocketAddrV6::new(V6, 5683, 0, loopback()).into())?;
        socket.join_multicast_v6(&V6, loopback())?;
        std::io::Result::Ok(socket)
    };
    let v4 = || {
        let socket = bind((V4, 5683).into())?;
        socket.join_multicast_v4_n(&V4, &InterfaceIndexOrAddress::Index(loopback()))?;
        std::io::Result::Ok(socket)
    };
    [v6(), v4()].into_iter().flatten().collect()
}

/// A node that asks a registry in a session to say a blob. Returns what was answered.
fn ask_to_say(registry: &Handle, digest: &Digest, lacks: &[Lack]) -> Code {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let begun = std::time::Instant::now();
    let now = || Instant::from_micros(begun.elapsed().as_micros().try_into().unwrap());
    let sessions = session::Config::default();
    let sessions = Sessions::new(now(), sessions, identity(NODE), Members::default(), OsRng);
    let endpoint = Endpoint::new(endpoint::Config::default(), sessions, [1; 16]);
    let mut link: Link = Box::new(SecureEndpoint::new(endpoint));
    link.set_roster(now(), &Roster::from_trusted(&roster()).unwrap());
    let peer = link.introduce(now(), registry.id(), registry.mesh()).unwrap();
    let name = Name::of(digest);
    let mut room = [0; 64];
    let lacks = write_lacks(lacks, &mut room).unwrap();
    link.request(now(), peer, Reliability::Confirmable, Code::POST, &mut |writer| {
        writer.path(paths::BLOBS)?.path(name.as_str())?.payload(lacks)?;
        Ok(())
    })
    .unwrap();
    let (mut buf, mut scratch) = ([0; 1_280], [0; 1_280]);
    while begun.elapsed() < PATIENCE {
        while let Some(output) = link.poll(now(), &mut buf) {
            match output {
                Output::Transmit { to, len } => {
                    socket.send_to(&buf[..len], to).unwrap();
                }
                Output::Outcome(outcome) => panic!("{outcome:?}"),
            }
        }
        let Ok((len, from)) = socket.recv_from(&mut buf) else { continue };
        let event = link.handle(now(), from, Via::Unicast, &buf[..len], &mut scratch);
        if let Some(Event::Response { message, .. }) = event {
            return message.code();
        }
    }
    panic!("no answer");
}

/// What was said of a piece until all of it has come.
fn hear(ears: &[Socket], keys: &Keys, piece: u16, size: usize) -> Vec<u8> {
    let begun = std::time::Instant::now();
    let (mut parts, mut bytes) = (None, Vec::new());
    while begun.elapsed() < PATIENCE {
        for ear in ears {
            ear.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            let mut buf = [0; 1_280];
            let Ok(len) = std::io::Read::read(&mut &*ear, &mut buf) else { continue };
            // Others on this machine may use the group, too.
            let Some(Heard::Part(part)) = read(&buf[..len]) else { continue };
            assert!(len <= 94, "it fits a frame");
            let mut room = [0; 128];
            let Some(text) = keys.open_part(&part, &mut room) else { continue };
            if part.piece == piece {
                let new = || Parts::new(part.of, text.len().try_into().unwrap());
                let parts = parts.get_or_insert_with(new);
                bytes.resize(parts.room(), 0);
                parts.keep(part.number, text, &mut bytes);
                if parts.lacking() == 0 {
                    return parts.solve(&mut bytes).unwrap()[..size].to_vec();
                }
            }
        }
    }
    panic!("it was not said");
}

fn with_radio(radio: Option<&str>) -> Config {
    Config { radio: radio.map(str::to_owned), roster: roster(), ..config(None) }
}

/// A registry that holds a capsule, and its module and manifest.
async fn holding(radio: Option<&str>) -> (Handle, Vec<u8>, Vec<u8>) {
    let registry = start(with_radio(radio)).await.unwrap();
    let module = module(3_000, 7);
    let manifest = sign(&module, FACTS);
    let name = CapsuleName::new(FACTS.name).unwrap();
    registry.push(name, Tag::new("1").unwrap(), &manifest, &module).unwrap();
    (registry, module, manifest)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_on_a_radio_says_what_a_member_asks_for_to_all() {
    let ears = ears();
    let (registry, module, manifest) = holding(Some("lo")).await;
    let blob = capmesh_wire::UnverifiedManifest::parse(&manifest).unwrap().claims().module();
    let keys = Keys::new(&blob.digest, &blob.root);
    let registry = tokio::task::spawn_blocking(move || {
        let first = [Lack { piece: 0, parts: u8::MAX }];
        assert_eq!(ask_to_say(&registry, &blob.digest, &first), Code::CHANGED);
        assert_eq!(hear(&ears, &keys, 0, 1_024), module[..1_024]);
        // Who hears only the group asks it, too.
        let mut buf = [0; 128];
        let second = [Lack { piece: 1, parts: u8::MAX }];
        let len = write_ask(&keys, &second, [5; 8], 1, &mut buf).unwrap();
        for ear in &ears {
            let group = ear.local_addr().unwrap().as_socket().unwrap();
            let any = if group.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let mouth = Socket::from(UdpSocket::bind(any).unwrap());
            mouth.bind_device(Some(b"lo")).unwrap();
            let _ = mouth.send_to(&buf[..len], &SockAddr::from(group));
        }
        assert_eq!(hear(&ears, &keys, 1, 1_024), module[1_024..2_048]);
        registry
    })
    .await
    .unwrap();
    registry.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_on_no_radio_says_so() {
    let (registry, _, manifest) = holding(None).await;
    let digest = Manifest::digest(&manifest);
    let registry = tokio::task::spawn_blocking(move || {
        let lacks = [Lack { piece: 0, parts: u8::MAX }];
        assert_eq!(ask_to_say(&registry, &digest, &lacks), Code::METHOD_NOT_ALLOWED);
        registry
    })
    .await
    .unwrap();
    registry.stop().await;
}

#[tokio::test]
async fn a_radio_that_there_is_not_is_a_mistake() {
    match start(with_radio(Some("lowpan99"))).await {
        Err(StartError::Radio(name, _)) => assert_eq!(name, "lowpan99"),
        other => panic!("{other:?}"),
    }
}
