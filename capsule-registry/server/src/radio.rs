//! The group of all CoAP nodes on a radio, to which capsules are said.
//!
//! One socket hears what is said to the group, bound to its address so that others on the machine may hear it,
//! too; another one says it. What comes to the first was sent to a group, whatever it is, and is not answered.

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockAddr, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use tokio::net::UdpSocket;

/// All CoAP nodes on the link, and on the network (RFC 7252 section 12.8), as nodes have them.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfd);
const ALL_NODES_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 1, 187);

/// The port of CoAP, at which groups are reached.
const PORT: u16 = 5683;

/// A radio and its group.
pub(crate) struct Radio {
    group: SocketAddr,
    hears: UdpSocket,
    says: UdpSocket,
    /// Where what is said here comes from: it comes back, as others on the machine are to hear it.
    own: SocketAddr,
}

impl Radio {
    /// Joins the group on an interface: that of IPv6, or that of IPv4 where there is none.
    pub(crate) fn join(interface: &str) -> io::Result<Self> {
        let index = index_of(interface)?;
        Self::join_v6(interface, index).or_else(|_| Self::join_v4(interface, index))
    }

    fn join_v6(interface: &str, index: u32) -> io::Result<Self> {
        let group = SocketAddr::V6(SocketAddrV6::new(ALL_NODES, PORT, 0, index));
        let (hears, says) = (bind(group)?, bind((Ipv6Addr::UNSPECIFIED, 0).into())?);
        hears.join_multicast_v6(&ALL_NODES, index)?;
        Self::new(interface, group, hears, says)
    }

    fn join_v4(interface: &str, index: u32) -> io::Result<Self> {
        let group = SocketAddr::from((ALL_NODES_V4, PORT));
        let (hears, says) = (bind(group)?, bind((Ipv4Addr::UNSPECIFIED, 0).into())?);
        hears.join_multicast_v4_n(&ALL_NODES_V4, &InterfaceIndexOrAddress::Index(index))?;
        Self::new(interface, group, hears, says)
    }

    fn new(interface: &str, group: SocketAddr, hears: Socket, says: Socket) -> io::Result<Self> {
        says.bind_device(Some(interface.as_bytes()))?;
        let hears = UdpSocket::from_std(hears.into())?;
        says.connect(&SockAddr::from(group))?;
        let says = UdpSocket::from_std(says.into())?;
        let own = says.local_addr()?;
        Ok(Self { group, hears, says, own })
    }

    /// The group.
    pub(crate) const fn group(&self) -> SocketAddr {
        self.group
    }

    /// Waits until something was said. An error shows when it is read.
    pub(crate) async fn readable(&self) {
        let _ = self.hears.readable().await;
    }

    /// What was said, and by whom; `None` if that was this side.
    pub(crate) fn hear(&self, buf: &mut [u8]) -> io::Result<Option<(usize, SocketAddr)>> {
        let (len, from) = self.hears.try_recv_from(buf)?;
        let is_own = (from.ip(), from.port()) == (self.own.ip(), self.own.port());
        Ok((!is_own).then_some((len, from)))
    }

    /// Says something. What the system does not take is lost, as on any link.
    pub(crate) fn say(&self, bytes: &[u8]) -> io::Result<usize> {
        self.says.try_send(bytes)
    }
}

fn index_of(interface: &str) -> io::Result<u32> {
    let text = std::fs::read_to_string(format!("/sys/class/net/{interface}/ifindex"));
    let index = text.ok().and_then(|text| text.trim().parse().ok());
    index.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "there is no such interface"))
}

fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}
