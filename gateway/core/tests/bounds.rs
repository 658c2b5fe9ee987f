//! What a gateway keeps for a shell that asks much and takes nothing has bounds.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use capmesh_gateway::api::{Label, RefusalCode, Request};
use capmesh_gateway::endpoint::{self, MTU, Size};
use capmesh_gateway::{
    Commit, Config, EVENTS, Gateway, Input, Key, Keys, OUTPUTS, Output, REQUESTS, RequestId, Table,
    nodes::Record,
};
use capmesh_session::edhoc::{Credential, Identity};
use capmesh_wire::cose::SigningKey;
use capmesh_wire::{Instant, Name, NodeId, limits};
use rand_core::{CryptoRng, RngCore};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Numbers that need not be random here.
struct Count(u64);

impl RngCore for Count {
    fn next_u32(&mut self) -> u32 {
        self.next_u64().try_into().unwrap_or(7)
    }

    fn next_u64(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        out.fill_with(|| self.next_u64().to_le_bytes()[0]);
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(out);
        Ok(())
    }
}

impl CryptoRng for Count {}

const NOW: Instant = Instant::ZERO;

/// A gateway that has adopted `n1`.
fn gateway() -> Gateway {
    let scalar = [1; 32];
    let key = || SigningKey::from_bytes(&scalar).unwrap();
    let mut buf = [0; limits::CREDENTIAL];
    let name = Name::new("gw").unwrap();
    let len = capmesh_wire::Credential::encode(name, &key().public_key(), &mut buf).unwrap();
    let identity = Identity::new(&scalar, Credential::parse(&buf[..len]).unwrap()).unwrap();
    let record = Record { name: "n1".to_owned(), ..Record::default() };
    let node = NodeId::from_bytes([7; NodeId::LEN]);
    let state = [(Key::new(Table::Nodes, node.as_bytes()), minicbor::to_vec(record).unwrap())];
    let link = endpoint::make(NOW, identity, Count(0), Size::Small);
    let keys = Keys { gateway: key(), site: None };
    Gateway::new(NOW, Config::new("site", "gw"), link, keys, [3; 32], BTreeMap::from(state))
}

/// Making an endpoint takes more stack than a test's thread has.
fn with_stack(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(test).unwrap();
    thread.join().unwrap();
}

/// Everything that the gateway gives, but commits, which are gathered: none of them is answered.
fn take(gateway: &mut Gateway, commits: &mut Vec<Arc<Commit>>) -> Vec<Output<'static>> {
    let (mut outputs, mut buf) = (Vec::new(), [0; MTU]);
    while let Some(output) = gateway.poll(NOW, &mut buf) {
        match output {
            Output::Commit(commit) => commits.push(commit),
            Output::Answer { id, result } => outputs.push(Output::Answer { id, result }),
            Output::Event(event) => outputs.push(Output::Event(event)),
            Output::Missed => outputs.push(Output::Missed),
            Output::Transmit { .. } | Output::Publish(_) | Output::Subscribe(_) => {}
        }
    }
    outputs
}

fn answered(outputs: &[Output<'_>]) -> BTreeSet<u64> {
    let id = |output: &Output<'_>| match output {
        Output::Answer { id, .. } => Some(id.0),
        _ => None,
    };
    outputs.iter().filter_map(id).collect()
}

#[test]
fn requests_that_wait_for_a_commit_are_bounded_and_those_beyond_may_come_again() {
    with_stack(|| {
        let (mut gateway, mut commits) = (gateway(), Vec::new());
        take(&mut gateway, &mut commits);
        let label = |number: u64| {
            let (node, add) = ("n1".to_owned(), vec![format!("l{}", number % 2)]);
            Request::Label(Label { node, add, remove: Vec::new() })
        };
        let most = REQUESTS as u64;
        for number in 0..most + 3 {
            let request = label(number);
            gateway.handle(NOW, Input::Request { id: RequestId(number), request: &request });
            let outputs = take(&mut gateway, &mut commits);
            let refused = outputs.iter().find_map(|output| match output {
                Output::Answer { id, result: Err(refusal) } => Some((*id, refusal)),
                _ => None,
            });
            assert_eq!(refused.is_some(), number >= most, "{number}: {refused:?}");
            if let Some((id, refusal)) = refused {
                assert_eq!((id, refusal.code), (RequestId(number), RefusalCode::Busy));
                assert!(refusal.retry_ms.is_some(), "{refusal:?}");
            }
        }
        // Once it is durable, all are answered, and there is room again.
        let mut done = BTreeSet::new();
        while let Some(commit) = commits.pop() {
            gateway.handle(NOW, Input::Committed { token: commit.token, result: Ok(()) });
            done.extend(answered(&take(&mut gateway, &mut commits)));
        }
        assert_eq!(done, (0..most).collect());
        let request = label(0);
        gateway.handle(NOW, Input::Request { id: RequestId(0), request: &request });
        assert!(answered(&take(&mut gateway, &mut commits)).is_empty(), "it was taken");
    });
}

#[test]
fn answers_that_nobody_takes_are_bounded() {
    with_stack(|| {
        let mut gateway = gateway();
        let many = OUTPUTS as u64 + 500;
        for number in 0..many {
            let id = RequestId(number);
            gateway.handle(NOW, Input::Request { id, request: &Request::Plan });
        }
        let outputs = take(&mut gateway, &mut Vec::new());
        assert_eq!(answered(&outputs), (0..OUTPUTS as u64).collect());
    });
}

#[test]
fn events_that_nobody_takes_are_left_out_and_that_is_said() {
    with_stack(|| {
        let (mut gateway, mut commits) = (gateway(), Vec::new());
        take(&mut gateway, &mut commits);
        for number in 0..EVENTS as u64 + 100 {
            let (node, add) = ("n1".to_owned(), vec![format!("l{}", number % 2)]);
            let request = Request::Label(Label { node, add, remove: Vec::new() });
            gateway.handle(NOW, Input::Request { id: RequestId(number), request: &request });
        }
        let outputs = take(&mut gateway, &mut commits);
        let events = outputs.iter().filter(|output| matches!(output, Output::Event(_))).count();
        assert_eq!(events, EVENTS);
        assert_eq!(outputs.last(), Some(&Output::Missed));
        assert!(!take(&mut gateway, &mut commits).contains(&Output::Missed), "it is said once");
    });
}
