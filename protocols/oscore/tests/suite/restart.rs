//! Losing RAM (RFC 8613 section 7.5 and Appendix B.1).

use crate::common::{CLIENT, Owned, swap, written};
use capmesh_coap::message::Code;
use capmesh_coap::option::OptionNumber;
use capmesh_oscore::{
    Binding, Context, ProtectError, Replay, ReplayWindow, SequenceReservation, UnprotectError,
};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn get(echo: Option<&[u8]>) -> Owned {
    let options: Vec<_> = echo.map(|value| (OptionNumber::ECHO, value)).into_iter().collect();
    Owned::new(Code::GET, &options, b"")
}

/// A server after a restart: keys and sequence bound from flash, no replay window.
fn restarted_server(stored: u64) -> Context {
    let sequence = SequenceReservation::stored(stored, 8);
    let mut server = Context::restore(&swap(CLIENT), sequence, Replay::Lost).unwrap();
    server.confirm_sequence(server.sequence().wanted().unwrap());
    server
}

fn send(client: &mut Context, request: &Owned) -> (Owned, Binding) {
    written(|out| client.protect_request(request.view(), out)).unwrap()
}

fn challenge(server: &mut Context, outer: &Owned) -> Binding {
    let mut scratch = [0; 256];
    match server.unprotect_request(outer.view(), &mut scratch) {
        Err(UnprotectError::Unverified(binding)) => binding,
        other => unreachable!("{other:?}"),
    }
}

/// Appendix B.1.2: a protected 4.01 with an Echo option and a Partial IV, then the request again.
#[test]
fn echo_restores_the_replay_window() {
    let mut client = Context::derive(&CLIENT).unwrap();
    let before = send(&mut client, &get(None)).0;
    let mut server = restarted_server(40);
    assert_eq!(server.replay(), Replay::Lost);

    let (outer, mut binding) = send(&mut client, &get(None));
    let at_server = challenge(&mut server, &outer);
    let echo = server.echo().unwrap();
    assert_eq!(echo.as_bytes(), [40]);
    let unauthorized = [(OptionNumber::ECHO, echo.as_bytes())];
    let unauthorized = Owned::new(Code::UNAUTHORIZED, &unauthorized, b"");
    let (answer, ()) = written(|out| {
        // Even as an ordinary response it must not take the nonce of a request that may have been
        // answered before the restart.
        server.protect_response(&at_server, unauthorized.view(), out).map(|len| (len, ()))
    })
    .unwrap();
    assert_eq!(answer.view().option(OptionNumber::OSCORE), Some(&[1, 40][..]));
    let mut scratch = [0; 256];
    let inner = client.unprotect_response(&mut binding, answer.view(), &mut scratch).unwrap();
    assert_eq!(inner.code(), Code::UNAUTHORIZED);
    let echo = inner.option(OptionNumber::ECHO).unwrap().to_vec();

    // A wrong value is challenged again, also the right one with something behind.
    let (wrong, _) = send(&mut client, &get(Some(&[41])));
    challenge(&mut server, &wrong);
    let (wrong, _) = send(&mut client, &get(Some(&[40, 0])));
    challenge(&mut server, &wrong);

    let skipped = send(&mut client, &get(None)).0;
    let (verified, _) = send(&mut client, &get(Some(&echo)));
    let mut scratch = [0; 256];
    let (inner, at_server) = server.unprotect_request(verified.view(), &mut scratch).unwrap();
    assert_eq!(inner.as_bytes(), get(Some(&echo)).0);
    assert_eq!(server.echo(), None);
    // It was made after the restart, so its nonce has not answered anything yet.
    let answer = Owned::new(Code::CONTENT, &[], b"");
    let (answer, ()) =
        written(|out| server.protect_response(&at_server, answer.view(), out).map(|len| (len, ())))
            .unwrap();
    assert_eq!(answer.view().option(OptionNumber::OSCORE), Some(&[][..]));

    // Its Partial IV is the lower limit of the window.
    for old in [before, outer, skipped, verified] {
        let mut scratch = [0; 256];
        let refused = server.unprotect_request(old.view(), &mut scratch).unwrap_err();
        assert_eq!(refused, UnprotectError::Replay);
    }
    let (next, _) = send(&mut client, &get(None));
    assert!(server.unprotect_request(next.view(), &mut [0; 256]).is_ok());
}

/// A request from before the restart that carries an Echo value from before the restart.
#[test]
fn an_echo_from_before_the_restart_is_not_fresh() {
    let mut client = Context::derive(&CLIENT).unwrap();
    let mut first = restarted_server(40);
    let (outer, _) = send(&mut client, &get(None));
    let at_server = challenge(&mut first, &outer);
    let echo = first.echo().unwrap();
    let unauthorized = Owned::new(Code::UNAUTHORIZED, &[], b"");
    first.protect_response(&at_server, unauthorized.view(), &mut [0; 256]).unwrap();
    let (verified, _) = send(&mut client, &get(Some(echo.as_bytes())));

    // The second restart begins at the bound that had to be stored before the first challenge.
    let mut second = restarted_server(48);
    challenge(&mut second, &verified);
    assert_ne!(second.echo(), Some(echo));
}

/// The challenge needs a number, and the number a durable bound.
#[test]
fn a_challenge_waits_for_the_reservation() {
    let mut client = Context::derive(&CLIENT).unwrap();
    let sequence = SequenceReservation::stored(40, 8);
    let mut server = Context::restore(&swap(CLIENT), sequence, Replay::Lost).unwrap();
    let (outer, _) = send(&mut client, &get(None));
    let at_server = challenge(&mut server, &outer);
    let unauthorized = Owned::new(Code::UNAUTHORIZED, &[], b"");
    let mut out = [0; 256];
    let early = server.protect_response(&at_server, unauthorized.view(), &mut out);
    assert_eq!(early, Err(ProtectError::NotReserved));
    server.confirm_sequence(48);
    assert!(server.protect_response(&at_server, unauthorized.view(), &mut out).is_ok());
}

/// After an orderly stop the stored window goes on.
#[test]
fn a_stored_window_goes_on() {
    let mut client = Context::derive(&CLIENT).unwrap();
    let mut server = Context::derive(&swap(CLIENT)).unwrap();
    let requests: Vec<_> = (0..3).map(|_| send(&mut client, &get(None)).0).collect();
    for seen in [0, 2] {
        assert!(server.unprotect_request(requests[seen].view(), &mut [0; 256]).is_ok());
    }
    let Replay::Known(window) = server.replay() else { unreachable!("it is new") };
    let (edge, seen) = window.to_parts();
    let replay = Replay::Known(ReplayWindow::from_parts(edge, seen));
    let sequence = SequenceReservation::stored(8, 8);
    let mut server = Context::restore(&swap(CLIENT), sequence, replay).unwrap();
    for (at, expected) in [(0, false), (1, true), (2, false)] {
        let mut scratch = [0; 256];
        let opened = server.unprotect_request(requests[at].view(), &mut scratch);
        assert_eq!(opened.is_ok(), expected);
    }
}

/// What happens to a context in a run.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// It sends a request.
    Request,
    /// It answers this request of the peer's, seldom the first time.
    Answer(usize),
    /// It answers with a Partial IV of its own.
    Notify(usize),
    /// Storage catches up.
    Store,
    /// The power fails; storage may have caught up just before.
    Restart { stored: bool },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Request),
        4 => (0_usize..8).prop_map(Step::Answer),
        2 => (0_usize..8).prop_map(Step::Notify),
        3 => Just(Step::Store),
        2 => any::<bool>().prop_map(|stored| Step::Restart { stored }),
    ]
}

/// A server that stores its bound late, loses power at any time, and answers whatever it has a
/// binding for, again and again.
struct Device {
    context: Context,
    durable: u64,
    step: u32,
    bindings: Vec<Binding>,
    /// Who made the Partial IV of each nonce, and the Partial IV.
    nonces: BTreeSet<(&'static str, u64)>,
}

impl Device {
    fn restore(durable: u64, step: u32) -> Context {
        let sequence = SequenceReservation::stored(durable, step);
        let replay = if durable == 0 { Replay::Known(ReplayWindow::EMPTY) } else { Replay::Lost };
        Context::restore(&swap(CLIENT), sequence, replay).unwrap()
    }

    fn store(&mut self) {
        if let Some(bound) = self.context.sequence().wanted() {
            self.durable = bound;
            self.context.confirm_sequence(bound);
        }
    }

    /// Opens a fresh request of the client's, with an Echo if the device asks for it.
    fn receive(&mut self, client: &mut Context) {
        let echo = self.context.echo();
        let request = get(echo.as_ref().map(|echo| echo.as_bytes()));
        let (outer, _) = send(client, &request);
        let mut scratch = [0; 256];
        let (_, binding) = self.context.unprotect_request(outer.view(), &mut scratch).unwrap();
        self.bindings.push(binding);
    }

    fn sent(&mut self, outer: &[u8], request_piv: Option<u64>) {
        let outer = Owned(outer.to_vec());
        let header = capmesh_oscore::CoseHeader::of(&outer.view()).unwrap().unwrap();
        let nonce = match (header.partial_iv, request_piv) {
            (Some(piv), _) => ("device", piv),
            (None, Some(piv)) => ("client", piv),
            (None, None) => unreachable!("a request without Partial IV"),
        };
        assert!(self.nonces.insert(nonce), "{nonce:?} twice");
    }

    fn respond(&mut self, at: usize, notify: bool) {
        let at = self.bindings.len().checked_sub(1 + at % self.bindings.len().max(1));
        let Some(binding) = at.map(|at| self.bindings[at]) else { return };
        let content = Owned::new(Code::CONTENT, &[], b"");
        let mut out = [0; 256];
        let sealed = if notify {
            self.context.protect_notification(&binding, content.view(), &mut out)
        } else {
            self.context.protect_response(&binding, content.view(), &mut out)
        };
        match sealed {
            Ok(len) => self.sent(&out[..len], Some(binding.partial_iv())),
            Err(error) => assert_eq!(error, ProtectError::NotReserved),
        }
    }
}

proptest! {
    /// No (key, nonce) protects two messages, whatever is answered how often and whenever the power
    /// fails. Bindings even survive restarts here, which no real caller could manage.
    #[test]
    fn no_nonce_is_used_twice(
        steps in prop::collection::vec(step(), 1..120),
        reserve in 1_u32..9,
    ) {
        let mut client = Context::derive(&CLIENT).unwrap();
        let context = Device::restore(0, reserve);
        let (bindings, nonces) = (Vec::new(), BTreeSet::new());
        let mut device = Device { context, durable: 0, step: reserve, bindings, nonces };
        let mut out = [0; 256];
        for step in steps {
            match step {
                Step::Request => match device.context.protect_request(get(None).view(), &mut out) {
                    Ok((len, _)) => device.sent(&out[..len], None),
                    Err(error) => prop_assert_eq!(error, ProtectError::NotReserved),
                },
                Step::Answer(at) => {
                    if at % 3 == 0 {
                        device.receive(&mut client);
                    }
                    device.respond(at, false);
                }
                Step::Notify(at) => device.respond(at, true),
                Step::Store => device.store(),
                Step::Restart { stored } => {
                    if stored {
                        device.store();
                    }
                    device.context = Device::restore(device.durable, device.step);
                }
            }
        }
    }
}
