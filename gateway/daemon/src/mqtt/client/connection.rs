//! Packets over a stream of bytes, both ways through buffers.

use super::{Packet, PingReq, limits};
use bytes::{Buf, BytesMut};
use rumqttc::v5::mqttbytes::Error;
use rumqttc::v5::mqttbytes::v5::ConnAckProperties;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::{Instant, Sleep};

/// Bytes that wait to be written; one packet may go beyond.
const WAITING: usize = 256 << 10;

/// Bytes that are read at a time.
const READ: usize = 64 << 10;

/// What bytes go over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection to a broker.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    out: BytesMut,
    /// What was handed to the stream may not be sent yet.
    unflushed: bool,
    read: BytesMut,
    /// Publications that the broker takes before it acknowledges the first of them.
    pub(super) window: u16,
    /// The longest packet that the broker takes.
    longest: Option<u32>,
    keep_alive: Duration,
    ping: Pin<Box<Sleep>>,
    /// Something was asked for by a ping, and nothing has come since.
    is_silent: bool,
    /// It ends once everything is written.
    closing: bool,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    Done,
    NoRoom,
    /// It is longer than the broker takes: left out.
    TooLong,
}

impl Connection {
    pub(super) fn new(stream: Box<dyn Stream>) -> Self {
        Self {
            stream,
            out: BytesMut::new(),
            unflushed: false,
            read: BytesMut::new(),
            window: limits::WINDOW,
            longest: None,
            keep_alive: limits::KEEP_ALIVE,
            ping: Box::pin(tokio::time::sleep(limits::KEEP_ALIVE)),
            is_silent: false,
            closing: false,
        }
    }

    /// What the broker has said about itself.
    pub(super) fn greeted(&mut self, properties: Option<&ConnAckProperties>) {
        let Some(properties) = properties else { return };
        let window = properties.receive_max.unwrap_or(limits::WINDOW);
        self.window = window.clamp(1, limits::WINDOW);
        self.longest = properties.max_packet_size;
        if let Some(seconds) = properties.server_keep_alive.filter(|seconds| *seconds > 0) {
            self.keep_alive = limits::KEEP_ALIVE.min(Duration::from_secs(u64::from(seconds)));
            self.ping.as_mut().reset(Instant::now() + self.keep_alive);
        }
    }

    /// Whether a packet may be put.
    pub(super) fn has_room(&self) -> bool {
        self.out.len() < WAITING && !self.closing
    }

    /// Puts a packet behind those that wait to be written.
    pub(super) fn put(&mut self, packet: &Packet) -> Put {
        if !self.has_room() {
            return Put::NoRoom;
        }
        let len = self.out.len();
        if packet.write(&mut self.out, self.longest).is_err() {
            self.out.truncate(len);
            return Put::TooLong;
        }
        Put::Done
    }

    /// Nothing more is put: the connection ends once everything is written.
    pub(super) const fn close(&mut self) {
        self.closing = true;
    }

    /// What comes next; `None` if nothing has, but there may be room where there was none. Writes what
    /// waits, once there is nothing left that was read. May be dropped and called again without losing
    /// anything.
    ///
    /// # Errors
    /// Why the connection is over.
    pub(super) async fn next(&mut self) -> Result<Option<Packet>, String> {
        match Packet::read(&mut self.read, Some(limits::PACKET)) {
            Ok(packet) => return Ok(Some(packet)),
            Err(Error::InsufficientBytes(_)) => {}
            Err(error) => return Err(error.to_string()),
        }
        poll_fn(|context| self.poll(context)).await.map_err(|error| error.to_string())?;
        Ok(None)
    }

    /// Writes until there is room for a packet.
    pub(super) async fn make_room(&mut self) -> io::Result<()> {
        poll_fn(|context| match self.poll_write(context) {
            Poll::Pending if !self.has_room() => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(())),
        })
        .await
    }

    /// Writes what waits for as long as it is let; ends only if that fails.
    pub(super) async fn write(&mut self) -> io::Error {
        poll_fn(|context| match self.poll_write(context) {
            Poll::Ready(Err(error)) => Poll::Ready(error),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        })
        .await
    }

    /// Writes and reads. An error is the end of the connection.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let had_room = self.has_room();
        if let Poll::Ready(result) = self.poll_write(context) {
            result?;
            if self.closing {
                return Poll::Ready(Err(io::Error::other("goodbye")));
            }
        }
        if let Poll::Ready(len) = self.poll_read(context) {
            self.is_silent = false;
            let ended = || Err(io::Error::other("the broker has closed the connection"));
            return Poll::Ready(if len? == 0 { ended() } else { Ok(()) });
        }
        if !had_room && self.has_room() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.ping.as_mut().poll(context));
        if self.is_silent {
            return Poll::Ready(Err(io::Error::other("the broker does not answer")));
        }
        self.is_silent = true;
        self.ping.as_mut().reset(Instant::now() + self.keep_alive);
        let put = Packet::PingReq(PingReq).write(&mut self.out, None);
        Poll::Ready(put.map(drop).map_err(io::Error::other))
    }

    /// Ready once everything is written.
    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.out.has_remaining() {
            let len = ready!(Pin::new(&mut self.stream).poll_write(context, &self.out))?;
            if len == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out.advance(len);
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(context))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Gives how many bytes have come; none, if the broker has ended the connection.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // A packet that is longer is read in parts.
        self.read.reserve(READ);
        pin!(self.stream.read_buf(&mut self.read)).poll(context)
    }
}
