//! UDP: one socket for everybody, and one for each group of all CoAP nodes.

use crate::failure::{Failure, Kind};
use anyhow::{Context, anyhow};
use capmesh_coap::endpoint::Via;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use tokio::net::UdpSocket;

/// All CoAP nodes on the link, and on the network (RFC 7252 section 12.8).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfd);
const ALL_NODES_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 1, 187);

/// The port of CoAP, at which groups are reached.
const PORT: u16 = 5683;

/// The longest datagram that is read; longer ones are cut, and refused for that.
const LONGEST: usize = 2_048;

/// How many datagrams are taken from a socket before something else has its turn.
const BURST: usize = 64;

#[derive(Debug)]
pub(crate) struct Sockets {
    all: UdpSocket,
    groups: Vec<UdpSocket>,
    /// The interface of link-local groups.
    interface: u32,
    is_v6: bool,
}

impl Sockets {
    /// Opens the sockets. Groups that cannot be joined are left out, and the log says so.
    pub(crate) fn open(listen: SocketAddr, interface: Option<&str>) -> Result<Self, Failure> {
        let failed = |error| Failure::new(Kind::Address, error);
        let index = interface.map(index_of).transpose().map_err(failed)?;
        let all = match bind(listen, false) {
            // A machine without IPv6.
            Err(error)
                if listen.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
                    && error.kind() != io::ErrorKind::AddrInUse =>
            {
                tracing::warn!(%error, "no IPv6 here: listening to IPv4 only");
                bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, listen.port())), false)
            }
            result => result,
        };
        let all = all.with_context(|| format!("cannot listen at {listen}, see --listen"));
        let all = all.map_err(failed)?;
        let is_v6 = all.domain().is_ok_and(|domain| domain == Domain::IPV6);
        let mut groups = Vec::new();
        if let (Some(index), Some(name)) = (index, interface) {
            for (group, result) in join(&all, index, is_v6) {
                match result.and_then(into_tokio) {
                    Ok(socket) => groups.push(socket),
                    Err(error) => tracing::warn!(%error, %group, name, "cannot join the group"),
                }
            }
        }
        let all = into_tokio(all).context("cannot listen").map_err(failed)?;
        Ok(Self { all, groups, interface: index.unwrap_or_default(), is_v6 })
    }

    /// The group that nodes announce themselves to: the first that was joined.
    pub(crate) fn group(&self) -> Option<SocketAddr> {
        self.groups.first()?.local_addr().ok()
    }

    /// Where others reach it.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.all.local_addr()
    }

    /// Waits until something has come.
    pub(crate) async fn readable(&self) {
        let groups = async {
            match self.groups.as_slice() {
                [] => std::future::pending().await,
                [one] => one.readable().await,
                [one, two, ..] => tokio::select! {
                    ready = one.readable() => ready,
                    ready = two.readable() => ready,
                },
            }
        };
        // An error shows when the socket is read.
        let _ = tokio::select! { ready = self.all.readable() => ready, ready = groups => ready };
    }

    /// Hands what has come to `take`, a bounded number of datagrams.
    pub(crate) fn read(&self, mut take: impl FnMut(SocketAddr, Via, &[u8])) {
        let mut buf = [0; LONGEST];
        let groups = self.groups.iter().map(|group| (group, Via::Multicast));
        for (socket, via) in std::iter::once((&self.all, Via::Unicast)).chain(groups) {
            for _ in 0..BURST {
                match socket.try_recv_from(&mut buf) {
                    Ok((len, from)) => {
                        take(canonical(from), via, buf.get(..len).unwrap_or_default());
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // What an earlier datagram has met: the peer's port is closed, say.
                    Err(error) => tracing::debug!(%error, "receive"),
                }
            }
        }
    }

    /// Sends a datagram. What the kernel does not take is lost, as on any link.
    pub(crate) fn send(&self, to: SocketAddr, bytes: &[u8]) {
        let to = match to {
            SocketAddr::V4(v4) if self.is_v6 => {
                SocketAddr::V6(SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0))
            }
            SocketAddr::V6(v6) if v6.ip().is_multicast() && v6.scope_id() == 0 => {
                SocketAddr::V6(SocketAddrV6::new(*v6.ip(), v6.port(), 0, self.interface))
            }
            other => other,
        };
        if let Err(error) = self.all.try_send_to(bytes, to) {
            tracing::debug!(%error, %to, "send");
        }
    }
}

/// An IPv4 address as one, also where it came through a socket for IPv6.
fn canonical(from: SocketAddr) -> SocketAddr {
    match from.ip().to_canonical() {
        IpAddr::V4(v4) => SocketAddr::from((v4, from.port())),
        IpAddr::V6(_) => from,
    }
}

fn index_of(name: &str) -> anyhow::Result<u32> {
    let path = format!("/sys/class/net/{name}/ifindex");
    let text = std::fs::read_to_string(path);
    let index = text.ok().and_then(|text| text.trim().parse().ok());
    index.ok_or_else(|| {
        let entries = std::fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        anyhow!("there is no interface `{name}`; there are: {}", names.join(", "))
    })
}

fn bind(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(address.ip() != IpAddr::V6(Ipv6Addr::UNSPECIFIED))?;
    }
    socket.set_reuse_address(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

/// Joins the groups: a socket bound to a group's address gets what is sent to the group, and every
/// node on the machine gets its own copy.
fn join(all: &Socket, index: u32, is_v6: bool) -> Vec<(IpAddr, io::Result<Socket>)> {
    let v6 = || {
        all.set_multicast_if_v6(index)?;
        let address = SocketAddrV6::new(ALL_NODES, PORT, 0, index);
        let socket = bind(SocketAddr::V6(address), true)?;
        socket.join_multicast_v6(&ALL_NODES, index)?;
        Ok(socket)
    };
    let v4 = || {
        let socket = bind(SocketAddr::from((ALL_NODES_V4, PORT)), true)?;
        let interface = socket2::InterfaceIndexOrAddress::Index(index);
        socket.join_multicast_v4_n(&ALL_NODES_V4, &interface)?;
        Ok(socket)
    };
    let mut groups = vec![(IpAddr::V4(ALL_NODES_V4), v4())];
    if is_v6 {
        groups.insert(0, (IpAddr::V6(ALL_NODES), v6()));
    }
    groups
}

fn into_tokio(socket: Socket) -> io::Result<UdpSocket> {
    UdpSocket::from_std(socket.into())
}
