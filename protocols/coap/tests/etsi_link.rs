//! ETSI CoAP plug tests, `TD_COAP_LINK_*`, as the test descriptions of CoAP#4 have them. All of them
//! apply.

#![expect(clippy::unwrap_used, reason = "helpers of tests are not recognised as tests")]

mod plug;

use capmesh_coap::Code;
use capmesh_coap::block::{BlockSize, BlockValue, Download, Transfer, Upload};
use capmesh_coap::link_format::Links;
use capmesh_coap::message::MessageWriter;
use capmesh_coap::option::OptionNumber;
use capmesh_coap::server::ServerConfig;
use plug::site::targets;
use plug::world::{Seen, World, unlimited};

/// Asks `.well-known/core` with this query; checks code and Content-Format.
fn discover(world: &mut World, query: &str) -> Seen {
    let response = world.ask(Code::GET, |writer| {
        writer.path(".well-known/core").unwrap();
        if !query.is_empty() {
            writer.option(OptionNumber::URI_QUERY, query.as_bytes()).unwrap();
        }
    });
    assert_eq!(response.code(), Code::CONTENT, "{query}");
    assert_eq!(response.uint(OptionNumber::CONTENT_FORMAT), Some(40));
    response
}

fn discovered(query: &str) -> Vec<String> {
    targets(&discover(&mut World::new(), query).message())
}

fn at(path: &str) -> impl Fn(&mut MessageWriter<'_>) {
    move |writer| {
        writer.path(path).unwrap();
    }
}

#[test]
fn td_coap_link_01_discovery() {
    let block = BlockSize::at_most(128).unwrap();
    let mut world = World::with(unlimited(), ServerConfig { block, ..Default::default() });
    let first = discover(&mut world, "");
    let block = BlockValue::find(&first.message(), OptionNumber::BLOCK2).unwrap();
    assert!(block.is_some_and(BlockValue::more), "there are many resources");
    let transfer =
        Transfer::new(Upload::new(0, BlockSize::MAX), Download::new(4_000, BlockSize::MAX));
    let all = world.transfer(transfer, Code::GET, ".well-known/core", &[]).unwrap();
    let links: Vec<_> =
        Links::new(std::str::from_utf8(&all).unwrap()).map(Result::unwrap).collect();
    let expected: Vec<_> =
        world.site.routes().iter().map(|route| format!("/{}", route.path())).collect();
    assert_eq!(links.iter().map(|link| link.target).collect::<Vec<_>>(), expected);
    let obs = links.iter().find(|link| link.target == "/obs").unwrap();
    assert!(obs.param("obs").is_some());
}

#[test]
fn td_coap_link_02_a_resource_type() {
    assert_eq!(discovered("rt=Type1"), ["/type1", "/type3"]);
}

#[test]
fn td_coap_link_03_an_empty_prefix() {
    assert_eq!(discovered("rt=*"), ["/type1", "/type2", "/type3"]);
}

#[test]
fn td_coap_link_04_several_resource_types() {
    assert_eq!(discovered("rt=Type2"), ["/type1", "/type2"]);
}

#[test]
fn td_coap_link_05_an_interface_by_prefix() {
    assert_eq!(discovered("if=If*"), ["/if1", "/if2"]);
}

#[test]
fn td_coap_link_06_a_size() {
    assert_eq!(discovered("sz=*"), ["/large", "/large-update"]);
}

#[test]
fn td_coap_link_07_a_whole_target() {
    assert_eq!(discovered("href=/link1"), ["/link1"]);
}

#[test]
fn td_coap_link_08_a_target_by_prefix() {
    assert_eq!(discovered("href=/link*"), ["/link1", "/link2", "/link3"]);
}

#[test]
fn td_coap_link_09_a_hierarchy() {
    let mut world = World::new();
    let entry = discover(&mut world, "ct=40");
    assert_eq!(targets(&entry.message()), ["/path"]);
    let collection = world.ask(Code::GET, at("path"));
    assert_eq!(collection.uint(OptionNumber::CONTENT_FORMAT), Some(40));
    assert_eq!(targets(&collection.message()), ["/path/sub1", "/path/sub2"]);
    let member = world.ask(Code::GET, at("path/sub1"));
    assert_eq!((member.code(), member.payload()), (Code::CONTENT, &b"/path/sub1"[..]));
}
