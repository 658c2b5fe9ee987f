//! The load generator.

use crate::machine::processor_time;
use crate::servers::{GREETING, Running};
use capmesh_coap::message::{Kind, Message, MessageWriter};
use capmesh_coap::{Code, Token};
use capmesh_oscore::{Binding, Context, Parameters};
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

type Failed = Box<dyn std::error::Error>;

/// One of so many responses is looked at.
const SAMPLE: usize = 61;

/// How long a server may take to answer before it counts as gone.
const PATIENCE: Duration = Duration::from_secs(2);

/// How requests are protected.
pub(crate) enum Protection {
    Plain,
    /// With the client's end of a context that the server has.
    Oscore {
        secret: Vec<u8>,
        salt: Vec<u8>,
    },
}

/// What was measured.
pub(crate) struct Outcome {
    latencies: Vec<u32>,
    wall: Duration,
    server: Duration,
    generator: Duration,
}

impl Outcome {
    pub(crate) fn requests(&self) -> usize {
        self.latencies.len()
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.count() / self.wall.as_secs_f64()
    }

    /// How long one of so many requests took at most, in nanoseconds.
    pub(crate) fn latency(&self, quantile: f64) -> u32 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index below the length"
        )]
        let at = (self.count() * quantile) as usize;
        self.latencies.get(at).or(self.latencies.last()).copied().unwrap_or_default()
    }

    /// Processor time of the server for each request, in microseconds.
    pub(crate) fn server_micros(&self) -> f64 {
        self.server.as_secs_f64() * 1e6 / self.count()
    }

    /// How much of its core the generator used.
    pub(crate) fn generator_share(&self) -> f64 {
        self.generator.as_secs_f64() / self.wall.as_secs_f64()
    }

    fn count(&self) -> f64 {
        u32::try_from(self.latencies.len()).map_or(f64::INFINITY, f64::from)
    }
}

/// Keeps `outstanding` requests at the server for as long as `duration`, or until the `limit` of
/// requests made beforehand is used up.
pub(crate) fn run(
    server: &Running,
    outstanding: usize,
    duration: Duration,
    limit: usize,
) -> Result<Outcome, Failed> {
    let mut requests = Requests::prepare(&server.protection, limit)?;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(server.address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let (server_id, own_id) = (server.process.id(), std::process::id());
    let before = (processor_time(server_id)?, processor_time(own_id)?);

    let mut sent = Vec::with_capacity(limit);
    let mut latencies = Vec::with_capacity(limit);
    let mut samples = Vec::with_capacity(limit / SAMPLE + 1);
    let mut response = [0; 1500];
    let start = Instant::now();
    for _ in 0..outstanding {
        sent.push(start);
        socket.send(requests.get(sent.len() - 1))?;
    }
    let mut end = start;
    while latencies.len() < sent.len() {
        let len = socket.recv(&mut response).map_err(|error| {
            format!("after {} responses the server stopped: {error}", latencies.len())
        })?;
        end = Instant::now();
        let response = response.get(..len).unwrap_or_default();
        let Some(number) = answered(&socket, response)? else { continue };
        let since = sent.get(number).ok_or("a response to a request that was not sent")?;
        latencies.push(u32::try_from((end - *since).as_nanos()).unwrap_or(u32::MAX));
        if number % SAMPLE == 0 {
            samples.push((number, response.to_vec()));
        }
        if end - start < duration && sent.len() < limit {
            sent.push(end);
            socket.send(requests.get(sent.len() - 1))?;
        }
    }
    let after = (processor_time(server_id)?, processor_time(own_id)?);
    for (number, response) in samples {
        requests.check(number, &response)?;
    }
    latencies.sort_unstable();
    Ok(Outcome {
        latencies,
        wall: end - start,
        server: after.0 - before.0,
        generator: after.1 - before.1,
    })
}

/// Which request a datagram answers, if it does; a confirmable response is acknowledged.
fn answered(socket: &UdpSocket, datagram: &[u8]) -> Result<Option<usize>, Failed> {
    let &[first, code, high, low, ref rest @ ..] = datagram else { return Ok(None) };
    let is_confirmable = first & 0x30 == 0;
    if is_confirmable {
        socket.send(&[0x60, 0, high, low])?;
    }
    if code == 0 {
        return Ok(None);
    }
    if code >> 5 != 2 {
        return Err(format!("the server refused a request: {}", Code(code)).into());
    }
    let token: [u8; 4] = rest.first_chunk().copied().ok_or("a response with another token")?;
    Ok(usize::try_from(u32::from_be_bytes(token)).ok())
}

/// Requests, ready to be sent.
struct Requests {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    context: Option<(Context, Vec<Binding>)>,
}

impl Requests {
    fn prepare(protection: &Protection, limit: usize) -> Result<Self, Failed> {
        let context = match protection {
            Protection::Plain => None,
            Protection::Oscore { secret, salt } => Some(Context::derive(&Parameters {
                master_secret: secret,
                master_salt: salt,
                id_context: None,
                sender_id: &[0],
                recipient_id: &[1],
            })?),
        };
        let context = context.map(|context| (context, Vec::with_capacity(limit)));
        let mut requests = Self { bytes: Vec::new(), ends: Vec::with_capacity(limit), context };
        for number in 0..u32::try_from(limit)? {
            requests.add(number)?;
        }
        Ok(requests)
    }

    fn add(&mut self, number: u32) -> Result<(), Failed> {
        let (mut inner, mut outer) = ([0; 128], [0; 128]);
        let [.., high, low] = number.to_be_bytes();
        let id = u16::from_be_bytes([high, low]);
        let token = Token::new(&number.to_be_bytes()).ok_or("a token of 4 bytes")?;
        let mut writer = MessageWriter::new(&mut inner, Kind::Confirmable, Code::GET, id, token)?;
        writer.path("hello")?;
        let request = match &mut self.context {
            None => writer.as_message().as_bytes(),
            Some((context, bindings)) => {
                let (len, binding) = context.protect_request(writer.as_message(), &mut outer)?;
                bindings.push(binding);
                outer.get(..len).unwrap_or_default()
            }
        };
        self.bytes.extend_from_slice(request);
        self.ends.push(self.bytes.len());
        Ok(())
    }

    fn get(&self, number: usize) -> &[u8] {
        let start = number.checked_sub(1).and_then(|before| self.ends.get(before)).copied();
        let end = self.ends.get(number).copied().unwrap_or_default();
        self.bytes.get(start.unwrap_or_default()..end).unwrap_or_default()
    }

    /// Whether a response is what it should be.
    fn check(&mut self, number: usize, response: &[u8]) -> Result<(), Failed> {
        let outer = Message::parse(response)?;
        let mut scratch = [0; 1500];
        let inner = match &mut self.context {
            None => outer,
            Some((context, bindings)) => {
                let binding = bindings.get_mut(number).ok_or("a response without a request")?;
                context
                    .unprotect_response(binding, outer, &mut scratch)
                    .map_err(|error| format!("response {number}: {error}"))?
            }
        };
        let is_greeting = inner.payload().len() == GREETING.len();
        if inner.code() == Code::CONTENT && is_greeting {
            Ok(())
        } else {
            Err(format!("response {number} is {inner:?}").into())
        }
    }
}
