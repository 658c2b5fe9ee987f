//! EDHOC, OSCORE and CoAP in both roles: two parties in one image.
#![no_std]
#![no_main]

use capmesh_coap::{
    message::{Code, Kind, Message, MessageWriter, Token},
    option::OptionNumber,
};
use capmesh_oscore::{Context, Parameters};
use capmesh_session::edhoc::{
    Completed, ConnectionId, Credential, EphemeralKey, Identity, Initiator, Kid, Message1, Transfer,
};
use cortex_m_rt::entry;
use footprint::{Cost, exit, fail, init, measure, report, report_cost};
use rand_core::{CryptoRng, RngCore};

#[entry]
fn main() -> ! {
    init();
    let (client, server) = handshake();
    oscore(&client, &server);
    exit()
}

/// A generator good enough to measure with.
struct Weak(u32);

impl RngCore for Weak {
    fn next_u32(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.0
    }

    fn next_u64(&mut self) -> u64 {
        u64::from(self.next_u32()) << 32 | u64::from(self.next_u32())
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        for byte in out {
            *byte = (self.next_u32() >> 24) as u8;
        }
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(out);
        Ok(())
    }
}

impl CryptoRng for Weak {}

/// The value, or the end of the run.
fn must<T>(value: Option<T>, what: &str) -> T {
    value.unwrap_or_else(|| fail(what))
}

fn party(private_key: [u8; 32], kid: u8) -> Identity {
    let public = must(Identity::public_key_of(&private_key).ok(), "public key");
    let credential = Credential::from_public_key(&public, must(Kid::new(&[kid]), "kid"));
    must(Identity::new(&private_key, credential).ok(), "identity")
}

/// A whole EDHOC handshake; returns what the initiator and the responder end up with.
fn handshake() -> (Completed, Completed) {
    let mut rng = Weak(1);
    let (client, server) = (party([1; 32], 1), party([2; 32], 2));
    let (c_i, c_r) = (must(ConnectionId::new(&[1]), "C_I"), must(ConnectionId::new(&[2]), "C_R"));
    let (mut wire, mut reply) = ([0; 256], [0; 256]);

    let (started, mut initiator) =
        measure(|| Initiator::start(EphemeralKey::generate(&mut rng), c_i, &mut wire).ok());
    let (awaits_2, len) = must(started, "message_1");
    let message_1 = must(wire.get(..len), "message_1");

    let (answered, mut responder) = measure(|| {
        let message_1 = Message1::parse(message_1).ok()?;
        let ephemeral = EphemeralKey::generate(&mut rng);
        message_1.answer(ephemeral, &server, c_r, Transfer::ByReference, &mut reply).ok()
    });
    let (mut awaits_3, len) = must(answered, "message_2");
    let message_2 = must(reply.get(..len), "message_2");

    let (verified, cost) = measure(|| {
        let message_2 = awaits_2.receive(message_2).ok()?;
        message_2.verify(server.credential(), &client, Transfer::ByReference, &mut wire).ok()
    });
    add(&mut initiator, cost);
    let (client_done, len) = must(verified, "message_3");
    let message_3 = must(wire.get(..len), "message_3");

    let (verified, cost) =
        measure(|| awaits_3.receive(message_3).ok()?.verify(client.credential()).ok());
    add(&mut responder, cost);
    report_cost("edhoc_initiator", initiator);
    report_cost("edhoc_responder", responder);
    (client_done, must(verified, "verification"))
}

fn add(sum: &mut Cost, cost: Cost) {
    sum.instructions += cost.instructions;
    sum.stack = sum.stack.max(cost.stack);
}

fn context(completed: &Completed) -> (Context, Cost) {
    let (context, cost) = measure(|| {
        let keys = completed.oscore_keys();
        Context::derive(&Parameters {
            master_secret: &keys.master_secret,
            master_salt: &keys.master_salt,
            id_context: None,
            sender_id: keys.sender_id.as_bytes(),
            recipient_id: keys.recipient_id.as_bytes(),
        })
        .ok()
    });
    (must(context, "OSCORE context"), cost)
}

/// A request with 64 bytes of payload and its answer, each protected and unprotected.
fn oscore(client: &Completed, server: &Completed) {
    let (mut client, cost) = context(client);
    report_cost("derive_context", cost);
    let (mut server, _) = context(server);
    let (mut plain, mut sealed, mut opened) = ([0; 256], [0; 256], [0; 256]);

    let message = must(message(&mut plain, Code::POST), "request");
    let (result, cost) = measure(|| client.protect_request(message, &mut sealed).ok());
    report_cost("protect_64", cost);
    let (len, mut binding) = must(result, "protected request");

    let outer =
        must(sealed.get(..len).and_then(|bytes| Message::parse(bytes).ok()), "outer request");
    let (result, cost) = measure(|| server.unprotect_request(outer, &mut opened).ok());
    report_cost("unprotect_64", cost);
    let (inner, asked) = must(result, "unprotected request");
    if inner.payload().len() != 64 {
        fail("request's payload");
    }

    let message = must(self::message(&mut plain, Code::CONTENT), "response");
    let (result, cost) = measure(|| server.protect_response(&asked, message, &mut sealed).ok());
    report_cost("protect_response_64", cost);
    let len = must(result, "protected response");

    let outer =
        must(sealed.get(..len).and_then(|bytes| Message::parse(bytes).ok()), "outer response");
    let (result, cost) =
        measure(|| client.unprotect_response(&mut binding, outer, &mut opened).is_ok());
    report_cost("unprotect_response_64", cost);
    if !result {
        fail("unprotected response");
    }
    report("context.bytes", size_of::<Context>() as u32);
}

fn message(buf: &mut [u8], code: Code) -> Option<Message<'_>> {
    let mut writer = MessageWriter::new(buf, Kind::Confirmable, code, 1, Token::EMPTY).ok()?;
    if code.is_request() {
        writer.option(OptionNumber::URI_PATH, b"sensors").ok()?;
    }
    writer.payload(&[7; 64]).ok()?;
    Some(writer.into_message())
}
