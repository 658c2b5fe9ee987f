//! EDHOC behind its guard: messages of strangers at every stage, and real ones that were changed.

use crate::Feed;
use capmesh_coap::test_util::Dice;
use capmesh_session::edhoc::{
    AwaitMessage2, AwaitMessage3, ConnectionId, Credential, EphemeralKey, ErrorMessage, Identity,
    Initiator, Kid, Message1, Transfer,
};
use capmesh_wire::NodeId;
use std::sync::OnceLock;

/// One of two parties.
pub(crate) fn identity(number: u8) -> &'static Identity {
    static PARTIES: OnceLock<[Identity; 2]> = OnceLock::new();
    let party = |number: u8| {
        let key = [number + 1; 32];
        let x = Identity::public_key_of(&key).expect("a scalar");
        let kid = Kid::new(NodeId::of_key(&x).as_bytes()).expect("short enough");
        Identity::new(&key, Credential::from_public_key(&x, kid)).expect("they belong together")
    };
    let [first, second] = PARTIES.get_or_init(|| [party(0), party(1)]);
    if number == 0 { first } else { second }
}

fn id(byte: u8) -> ConnectionId {
    ConnectionId::new(&[byte]).expect("one byte")
}

fn initiator() -> (AwaitMessage2, Vec<u8>) {
    let mut out = [0; 192];
    let key = EphemeralKey::generate(&mut Dice::new(1));
    let (wait, len) = Initiator::start(key, id(5), &mut out).expect("it fits");
    (wait, out[..len].to_vec())
}

fn responder(message_1: &[u8]) -> Option<(AwaitMessage3, Vec<u8>)> {
    let mut out = [0; 192];
    let key = EphemeralKey::generate(&mut Dice::new(2));
    let message_1 = Message1::parse(message_1).ok()?;
    let answered = message_1.answer(key, identity(1), id(7), Transfer::ByReference, &mut out);
    answered.ok().map(|(wait, len)| (wait, out[..len].to_vec()))
}

/// What a drawn message of some stage does to the side that gets it. The handshake up to there is
/// real.
pub fn run(data: &[u8]) {
    let mut feed = Feed::new(data);
    match feed.below(8) {
        0 => drop(responder(feed.rest())),
        1 => drop(ErrorMessage::parse(feed.rest())),
        stage => later(&mut feed, stage),
    }
}

fn later(feed: &mut Feed<'_>, stage: usize) {
    let (wait_2, message_1) = initiator();
    match stage {
        2 => return drop(wait_2.receive(feed.rest())),
        3 => return drop(responder(&feed.mutated(&message_1))),
        _ => {}
    }
    let (wait_3, message_2) = responder(&message_1).expect("message_1 is real");
    let mut out = [0; 192];
    if stage == 4 {
        let changed = feed.mutated(&message_2);
        if let Ok(read) = wait_2.receive(&changed) {
            let verified =
                read.verify(identity(1).credential(), identity(0), Transfer::ByReference, &mut out);
            assert!(verified.is_err() || changed == message_2, "a changed message_2 verified");
        }
        return;
    }
    let read = wait_2.receive(&message_2).expect("message_2 is real");
    let verified =
        read.verify(identity(1).credential(), identity(0), Transfer::ByReference, &mut out);
    let (keys, len) = verified.expect("message_2 is real");
    let message_3 = out[..len].to_vec();
    match stage {
        5 => drop(wait_3.receive(feed.rest())),
        6 => {
            let changed = feed.mutated(&message_3);
            if let Ok(read) = wait_3.receive(&changed) {
                let verified = read.verify(identity(0).credential());
                assert!(verified.is_err() || changed == message_3, "a changed message_3 verified");
            }
        }
        _ => {
            let read = wait_3.receive(&message_3).expect("message_3 is real");
            let theirs = read.verify(identity(0).credential()).expect("message_3 is real");
            let len = theirs.compose_message_4(&mut out).expect("it fits");
            let changed = feed.mutated(&out[..len]);
            let verified = keys.verify_message_4(&changed);
            assert!(verified.is_err() || changed == out[..len], "a changed message_4 verified");
        }
    }
}
