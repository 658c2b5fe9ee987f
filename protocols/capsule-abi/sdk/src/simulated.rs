//! The node as a capsule sees it in a test: one for each thread, lent by the
//! [`Harness`](crate::testing::Harness) whose handler runs.

use crate::answer::Pending;
use crate::testing::node::Node;
use capmesh_capsule_abi::Errno;
use std::cell::RefCell;

thread_local! {
    static NODE: RefCell<Option<Box<Node>>> = const { RefCell::new(None) };
}

/// Runs `handler` on `node`, which gets back what the handler has done to it.
pub(crate) fn on(node: &mut Box<Node>, handler: impl FnOnce()) {
    /// Takes the node back, after a panic as well.
    struct Lent<'n>(&'n mut Box<Node>);
    impl Drop for Lent<'_> {
        fn drop(&mut self) {
            if let Some(node) = NODE.with_borrow_mut(Option::take) {
                *self.0 = node;
            }
        }
    }
    let lent = Lent(node);
    NODE.with_borrow_mut(|current| {
        assert!(current.is_none(), "a handler runs inside another one");
        *current = Some(std::mem::take(lent.0));
    });
    handler();
}

fn with<T>(with: impl FnOnce(&mut Node) -> T) -> T {
    NODE.with_borrow_mut(|node| {
        #[expect(clippy::expect_used, reason = "a test that does this cannot go on")]
        with(node.as_mut().expect("capsules call their node from handlers only"))
    })
}

fn code(result: Result<u32, Errno>) -> i32 {
    result.map_or_else(Errno::code, u32::cast_signed)
}

pub(crate) fn read(offset: u32, dst: &mut [u8]) -> u32 {
    with(|node| node.read(offset, dst))
}

pub(crate) fn publish(output: u32, src: &[u8]) -> i32 {
    code(with(|node| node.publish(output, src)))
}

pub(crate) fn request(peer: u32, resource: u32, src: &[u8]) -> i32 {
    code(with(|node| node.request(peer, resource, src)))
}

pub(crate) fn respond(status: u32, src: &[u8]) -> i32 {
    code(with(|node| node.respond(status, src)))
}

pub(crate) fn set_timer(timer: u32, micros: i64) -> i32 {
    code(with(|node| node.set_timer(timer, micros)))
}

pub(crate) fn cancel_timer(timer: u32) -> i32 {
    code(with(|node| node.cancel_timer(timer)))
}

pub(crate) fn sensor(sensor: u32, dst: &mut [u8]) -> i32 {
    code(with(|node| node.sensor(sensor, dst)))
}

pub(crate) fn actuate(actuator: u32, value: f64) -> i32 {
    code(with(|node| node.actuate(actuator, value)))
}

pub(crate) fn config(key: u32, dst: &mut [u8]) -> i32 {
    code(with(|node| node.config(key, dst)))
}

pub(crate) fn time() -> i64 {
    with(|node| node.time)
}

pub(crate) fn time_uncertainty() -> i64 {
    with(|node| node.uncertainty)
}

pub(crate) fn random() -> i64 {
    with(Node::random)
}

pub(crate) fn log(level: u32, src: &[u8]) {
    with(|node| node.log(level, src));
}

pub(crate) fn with_pending<T>(f: impl FnOnce(&mut Pending) -> T) -> T {
    with(|node| f(&mut node.pending))
}

pub(crate) fn with_line<T>(with: impl FnOnce(&mut [u8; crate::log::LINE]) -> T) -> T {
    with(&mut [0; crate::log::LINE])
}
