//! ETSI CoAP plug tests, `TD_COAP_BLOCK_*`, as the test descriptions of CoAP#4 have them. All of them
//! apply. Where they leave a choice to the server, this one assembles bodies (2.31, M set) rather
//! than take blocks by themselves.

#![expect(
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    reason = "helpers of tests are not recognised as tests"
)]

mod plug;

use capmesh_coap::Code;
use capmesh_coap::block::{BlockSize, BlockValue, Download, Transfer, Upload};
use capmesh_coap::option::OptionNumber;
use capmesh_coap::server::ServerConfig;
use plug::site::text;
use plug::world::{Seen, Side, World, unlimited};

const BLOCK1: OptionNumber = OptionNumber::BLOCK1;
const BLOCK2: OptionNumber = OptionNumber::BLOCK2;

fn size(bytes: usize) -> BlockSize {
    BlockSize::at_most(bytes).unwrap()
}

fn world(server: usize) -> World {
    let server = ServerConfig { block: size(server), ..ServerConfig::default() };
    World::with(unlimited(), server)
}

fn block(seen: &Seen, number: OptionNumber) -> Option<BlockValue> {
    BlockValue::find(&seen.message(), number).unwrap()
}

/// What a get of blocks asks for, and each pair of datagrams that it is made of.
fn pairs(world: &World) -> Vec<(Seen, Seen)> {
    let (requests, responses): (Vec<_>, Vec<_>) =
        world.seen.iter().cloned().partition(|seen| seen.by == Side::Client);
    assert_eq!(requests.len(), responses.len());
    requests.into_iter().zip(responses).collect()
}

/// Checks that blocks `from` to the end of a body of `total` bytes came as asked for, in `act`.
fn check_block2(pairs: &[(Seen, Seen)], code: Code, mut at: u32, total: u32, act: BlockSize) {
    for (request, response) in pairs {
        let end = (at + act.bytes()).min(total);
        let asked = block(request, BLOCK2).unwrap();
        assert_eq!((asked.offset(), asked.more(), asked.size()), (at, false, act));
        assert_eq!(response.code(), code);
        let got = block(response, BLOCK2).unwrap();
        assert_eq!((got.num(), got.more(), got.size()), (asked.num(), end < total, act));
        assert_eq!(response.payload().len() as u32, end - at);
        at = end;
    }
    assert_eq!(at, total);
}

fn get_large(world: &mut World, download: Download) {
    let transfer = Transfer::new(Upload::new(0, BlockSize::MAX), download);
    let got = world.transfer(transfer, Code::GET, "large", &[]);
    assert_eq!(got, Ok(text(2_000)));
}

#[test]
fn td_coap_block_01_get_with_early_negotiation() {
    for (des, theirs) in [(64, 1024), (1024, 64), (256, 256)] {
        let mut world = world(theirs);
        get_large(&mut world, Download::new(3_000, size(des)).early());
        let pairs = pairs(&world);
        let (first, first_response) = &pairs[0];
        assert_eq!(block(first, BLOCK2), BlockValue::new(0, false, size(des)));
        let act = size(des.min(theirs));
        assert_eq!(block(first_response, BLOCK2), BlockValue::new(0, true, act));
        assert_eq!(first_response.payload().len() as u32, act.bytes());
        check_block2(&pairs[1..], Code::CONTENT, act.bytes(), 2_000, act);
    }
}

#[test]
fn td_coap_block_02_get_with_late_negotiation() {
    for (ours, des) in [(64, 256), (1024, 256), (256, 256)] {
        let mut world = world(des);
        get_large(&mut world, Download::new(3_000, size(ours)));
        let pairs = pairs(&world);
        assert_eq!(block(&pairs[0].0, BLOCK2), None);
        assert_eq!(block(&pairs[0].1, BLOCK2), BlockValue::new(0, true, size(des)));
        assert_eq!(pairs[0].1.payload().len(), des);
        check_block2(&pairs[1..], Code::CONTENT, des as u32, 2_000, size(des.min(ours)));
    }
}

/// Checks the blocks of a request body of `total` bytes, the last response's code apart.
fn check_block1(pairs: &[(Seen, Seen)], total: u32, des: BlockSize, act: BlockSize, last: Code) {
    let (mut at, mut size) = (0, des);
    for (request, response) in pairs {
        let end = (at + size.bytes()).min(total);
        let sent = block(request, BLOCK1).unwrap();
        assert_eq!((sent.offset(), sent.more(), sent.size()), (at, end < total, size));
        assert_eq!(request.payload().len() as u32, end - at);
        assert_eq!(response.code(), if end < total { Code::CONTINUE } else { last });
        let answer = block(response, BLOCK1).unwrap();
        assert_eq!((answer.num(), answer.more(), answer.size()), (sent.num(), end < total, act));
        (at, size) = (end, act);
    }
    assert_eq!(at, total);
}

#[test]
fn td_coap_block_03_put() {
    for (des, theirs) in [(64, 1024), (1024, 64), (128, 128)] {
        let mut world = world(theirs);
        let body = text(1_500);
        let transfer = Transfer::new(Upload::of(&body, size(des)), Download::new(100, size(64)));
        assert_eq!(world.transfer(transfer, Code::PUT, "large-update", &body), Ok(Vec::new()));
        let act = size(des.min(theirs));
        check_block1(&pairs(&world), 1_500, size(des), act, Code::CHANGED);
        assert_eq!(world.site.large_update.text, Some(body));
    }
}

#[test]
fn td_coap_block_04_post_that_creates() {
    let mut world = world(64);
    let body = text(700);
    let transfer = Transfer::new(Upload::of(&body, size(256)), Download::new(100, size(64)));
    assert_eq!(world.transfer(transfer, Code::POST, "large-create", &body), Ok(Vec::new()));
    let pairs = pairs(&world);
    check_block1(&pairs, 700, size(256), size(64), Code::CREATED);
    let location = pairs.last().unwrap().1.texts(OptionNumber::LOCATION_PATH);
    assert_eq!(location, ["large-create", "0"]);
    let transfer = Transfer::new(Upload::new(0, size(64)), Download::new(1_000, size(64)));
    assert_eq!(world.transfer(transfer, Code::GET, "large-create/0", &[]), Ok(body));
}

#[test]
fn td_coap_block_05_post_both_ways() {
    for (up, theirs, down) in [(64, 128, 64), (128, 64, 512), (256, 256, 256)] {
        let mut world = world(theirs);
        let body = text(1_000);
        let transfer = Transfer::new(Upload::of(&body, size(up)), Download::new(2_000, size(down)));
        let reversed: Vec<u8> = body.iter().copied().rev().collect();
        assert_eq!(world.transfer(transfer, Code::POST, "large-post", &body), Ok(reversed));
        assert_eq!(world.site.large_post.calls, 1);
        let pairs = pairs(&world);
        let is_upload = |pair: &(Seen, Seen)| block(&pair.0, BLOCK1).is_some();
        let (ups, downs) = pairs.split_at(pairs.iter().take_while(|pair| is_upload(pair)).count());
        check_block1(ups, 1_000, size(up), size(up.min(theirs)), Code::CHANGED);
        let first = &ups.last().unwrap().1;
        assert_eq!(block(first, BLOCK2), BlockValue::new(0, true, size(theirs)));
        assert_eq!(first.payload().len(), theirs);
        assert!(downs.iter().all(|(request, _)| request.payload().is_empty()));
        let act = size(down.min(theirs));
        check_block2(downs, Code::CHANGED, theirs as u32, 1_000, act);
    }
}

#[test]
fn td_coap_block_06_get_in_blocks_of_16_bytes() {
    let mut world = world(1024);
    get_large(&mut world, Download::new(3_000, size(16)).early());
    let pairs = pairs(&world);
    assert_eq!(pairs.len(), 125);
    check_block2(&pairs, Code::CONTENT, 0, 2_000, size(16));
}
