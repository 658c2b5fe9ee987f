//! Two endpoints joined by memory: the client's first request brings about a handshake, the second
//! one finds the session there.

use capmesh_coap::endpoint::{Event, Output};
use capmesh_session::{
    Entry,
    edhoc::{Credential, Identity, Kid},
};
use capmesh_wire::{Instant, NodeId, Role};
use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use footprint::{Cost, Place, fail, measure, must, report, report_cost, text};

use crate::node::{self, Board, MTU, Peers};

static ROSTER: Place<[Entry; 2]> = Place::new();
static CLIENT: Place<Board> = Place::new();
static SERVER: Place<Board> = Place::new();

/// A party: its endpoint, where it is, and what its calls cost.
struct Party {
    board: &'static mut Board,
    address: SocketAddr,
    /// Of all calls together; the stack is that of the deepest.
    spent: Cost,
    /// The longest call.
    longest: u32,
    /// Whether the response to its request has come.
    answered: bool,
}

/// Reports what handshake and requests cost.
pub fn measure_endpoints() {
    let (client, server) = (identity(1), identity(2));
    let entry = |identity: &Identity, role| Entry {
        id: id(identity),
        credential: identity.credential().clone(),
        role,
        expires: u64::MAX,
    };
    let roster: &[Entry] =
        ROSTER.fill(|| [entry(&client, Role::Node), entry(&server, Role::Gateway)]);
    let server_id = id(&server);

    let mut client = party(&CLIENT, client, roster, 1);
    let mut server = party(&SERVER, server, roster, 2);
    if !node::introduce(client.board, server_id, server.address) {
        fail(text!("introduction"));
    }
    exchange(&mut client, &mut server, server_id);
    report_party(text!("first_get.client"), text!("first_get.client.longest_call"), &client);
    report_party(text!("first_get.server"), text!("first_get.server.longest_call"), &server);
    for party in [&mut client, &mut server] {
        party.spent = Cost::default();
        party.longest = 0;
    }
    exchange(&mut client, &mut server, server_id);
    report_party(text!("next_get.client"), text!("next_get.client.longest_call"), &client);
    report_party(text!("next_get.server"), text!("next_get.server.longest_call"), &server);

    report(text!("endpoint.bytes"), size_of::<Board>() as u32);
    report(text!("idle_session.bytes"), (size_of::<Peers<5>>() - size_of::<Peers<4>>()) as u32);
}

fn report_party(name: &[u8], longest: &[u8], party: &Party) {
    report_cost(name, party.spent);
    report(longest, party.longest);
}

fn identity(number: u8) -> Identity {
    let private_key = [number; 32];
    let public_key = must(Identity::public_key_of(&private_key).ok(), text!("public key"));
    let kid = must(Kid::new(NodeId::of_key(&public_key).as_bytes()), text!("kid"));
    let credential = Credential::from_public_key(&public_key, kid);
    must(Identity::new(&private_key, credential).ok(), text!("identity"))
}

fn id(identity: &Identity) -> NodeId {
    NodeId::of_key(identity.credential().public_key())
}

fn party(
    place: &'static Place<Board>,
    identity: Identity,
    roster: &'static [Entry],
    number: u8,
) -> Party {
    let (board, cost) = measure(|| node::start(place, identity, roster, number));
    report_cost(text!("start"), cost);
    let address = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, u16::from(number)));
    let address = SocketAddr::new(address, 5683);
    Party { board, address, spent: Cost::default(), longest: 0, answered: false }
}

/// One request and its answer.
fn exchange(client: &mut Party, server: &mut Party, server_id: NodeId) {
    let now = Instant::ZERO;
    client.answered = false;
    let peer = must(client.board.security().peer(server_id), text!("peer"));
    let (asked, cost) = measure(|| node::request(client.board, now, peer));
    client.count(cost);
    if !asked {
        fail(text!("request"));
    }
    // A handshake takes four datagrams, the request two more; neither needs the clock.
    for _ in 0..8 {
        carry(client, server, now);
        carry(server, client, now);
    }
    if !client.answered {
        fail(text!("no response"));
    }
}

/// Carries everything that one party has to send now to the other.
fn carry(from: &mut Party, to: &mut Party, now: Instant) {
    let mut datagram = [0; MTU];
    loop {
        let (output, cost) = measure(|| node::poll(from.board, now, &mut datagram));
        from.count(cost);
        match output {
            Some(Output::Transmit { len, .. }) => {
                to.take(now, from.address, must(datagram.get(..len), text!("datagram")));
            }
            Some(Output::Outcome(_)) => fail(text!("outcome")),
            None => return,
        }
    }
}

impl Party {
    fn count(&mut self, cost: Cost) {
        self.spent.instructions += cost.instructions;
        self.spent.stack = self.spent.stack.max(cost.stack);
        self.longest = self.longest.max(cost.instructions);
    }

    fn take(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        let mut scratch = [0; MTU];
        let (event, cost) = measure(|| node::handle(self.board, now, from, datagram, &mut scratch));
        self.count(cost);
        match event {
            Some(Event::Request { responder, .. }) => {
                let (answered, cost) = measure(|| node::respond(self.board, now, responder));
                self.count(cost);
                if !answered {
                    fail(text!("respond"));
                }
            }
            Some(Event::Response { .. }) => self.answered = true,
            None => {}
        }
    }
}
