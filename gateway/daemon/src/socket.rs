//! UDP: one socket for everybody.

use socket2::{Domain, Protocol, SockAddr, Socket as Raw, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use tokio::net::UdpSocket;

/// The longest datagram that is read; longer ones are cut, and refused for that.
const LONGEST: usize = 2_048;

/// How many datagrams are taken before something else has its turn.
const BURST: usize = 256;

/// What the kernel may keep for a gateway that is busy, in bytes: some thousand datagrams. It gives less
/// if its own bound (`net.core.rmem_max`) is lower.
const KEPT: usize = 4 << 20;

/// A socket that listens and that nobody reads yet.
#[derive(Debug)]
pub(crate) struct Bound(Raw);

#[derive(Debug)]
pub(crate) struct Socket {
    socket: UdpSocket,
    is_v6: bool,
}

impl Bound {
    /// Listens at an address; all addresses of both versions if it is `[::]`.
    pub(crate) fn open(listen: SocketAddr) -> io::Result<Self> {
        let socket = match bind(listen) {
            // A machine without IPv6.
            Err(error)
                if listen.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
                    && error.kind() != io::ErrorKind::AddrInUse =>
            {
                tracing::warn!(%error, "no IPv6 here: listening to IPv4 only");
                bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, listen.port())))?
            }
            result => result?,
        };
        Ok(Self(socket))
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        let address = self.0.local_addr()?.as_socket();
        address.ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }

    /// Is read on the runtime that this is called on.
    pub(crate) fn attach(self) -> io::Result<Socket> {
        let is_v6 = self.0.domain()? == Domain::IPV6;
        Ok(Socket { socket: UdpSocket::from_std(self.0.into())?, is_v6 })
    }
}

impl Socket {
    /// Waits until something has come.
    pub(crate) async fn readable(&self) {
        // An error shows when the socket is read.
        let _ = self.socket.readable().await;
    }

    /// Hands what has come to `take`, a bounded number of datagrams.
    pub(crate) fn read(&self, mut take: impl FnMut(SocketAddr, &[u8])) {
        let mut buf = [0; LONGEST];
        let mut count = 0;
        for _ in 0..BURST {
            match self.socket.try_recv_from(&mut buf) {
                Ok((len, from)) => {
                    count += 1;
                    take(canonical(from), buf.get(..len).unwrap_or_default());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // What an earlier datagram has met: the peer's port is closed, say.
                Err(error) => tracing::debug!(%error, "receive"),
            }
        }
        metrics::counter!("capmesh_datagrams_in_total").increment(count);
    }

    /// Sends a datagram. What the kernel does not take is lost, as on any link.
    pub(crate) fn send(&self, to: SocketAddr, bytes: &[u8]) {
        let to = match to {
            SocketAddr::V4(v4) if self.is_v6 => {
                SocketAddr::V6(SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0))
            }
            other => other,
        };
        match self.socket.try_send_to(bytes, to) {
            Ok(_) => metrics::counter!("capmesh_datagrams_out_total").increment(1),
            Err(error) => tracing::debug!(%error, %to, "send"),
        }
    }
}

/// Where nodes reach what listens at `listen`: there, or, if that is every address, at the one that leads
/// out of this machine, and at the loopback if none does.
pub(crate) fn reached_at(listen: SocketAddr) -> SocketAddr {
    if !listen.ip().is_unspecified() {
        return listen;
    }
    // Connecting sends nothing; these addresses are set aside for documentation.
    let route = |from: IpAddr, to: IpAddr| -> io::Result<IpAddr> {
        let probe = std::net::UdpSocket::bind((from, 0))?;
        probe.connect((to, 9))?;
        Ok(probe.local_addr()?.ip())
    };
    let v4 = || route(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into());
    let v6 = || {
        let documentation = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
        route(Ipv6Addr::UNSPECIFIED.into(), documentation.into())
    };
    let found = v4().or_else(|_| v6()).unwrap_or(Ipv4Addr::LOCALHOST.into());
    SocketAddr::new(found, listen.port())
}

/// An IPv4 address as one, also where it came through a socket for IPv6.
fn canonical(from: SocketAddr) -> SocketAddr {
    match from.ip().to_canonical() {
        IpAddr::V4(v4) => SocketAddr::from((v4, from.port())),
        IpAddr::V6(_) => from,
    }
}

fn bind(address: SocketAddr) -> io::Result<Raw> {
    let socket = Raw::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(address.ip() != IpAddr::V6(Ipv6Addr::UNSPECIFIED))?;
    }
    socket.set_recv_buffer_size(KEPT)?;
    socket.set_send_buffer_size(KEPT)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_versions_reach_a_socket_for_all_addresses() {
        let bound = Bound::open(SocketAddr::from(([0; 16], 0))).unwrap();
        let port = bound.address().unwrap().port();
        let socket = bound.attach().unwrap();
        let other = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        other.send_to(b"hello", ("127.0.0.1", port)).unwrap();
        let mut got = Vec::new();
        while got.is_empty() {
            socket.readable().await;
            socket.read(|from, bytes| got.push((from, bytes.to_vec())));
        }
        assert_eq!(got, [(other.local_addr().unwrap(), b"hello".to_vec())]);
        socket.send(other.local_addr().unwrap(), b"there");
        let mut buf = [0; 16];
        assert_eq!(other.recv(&mut buf).unwrap(), 5);
    }

    #[test]
    fn an_address_that_is_named_is_the_one() {
        let named = SocketAddr::from(([127, 0, 0, 1], 5683));
        assert_eq!(reached_at(named), named);
        let any = reached_at(SocketAddr::from(([0; 16], 7)));
        assert!(any.port() == 7 && !any.ip().is_unspecified(), "{any}");
    }
}
