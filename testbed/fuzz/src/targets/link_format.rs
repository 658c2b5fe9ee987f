//! RFC 6690: reading links, filters, and writing links that have to be read again.

use capmesh_coap::link_format::{Attributes, Filter, LinkWriter, Links};

/// Reads the input as links; then takes it apart for a path and attributes, writes a link of them,
/// and reads that.
pub fn run(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else { return };
    for link in Links::new(text).flatten() {
        for (_, value) in link.params() {
            assert!(value.chars().count() <= text.len());
        }
    }
    let filter = Filter::parse(text);
    let parts: Vec<&str> = text.split('|').collect();
    let [resource_type, title, path @ ..] = parts.as_slice() else { return };
    let attributes = Attributes { resource_type, title, ..Attributes::default() };
    let _ = filter.matches(path, &attributes);
    let mut out = String::new();
    let mut all = |_: &[&str], _: &Attributes<'_>| true;
    let written = LinkWriter::new(&mut out, &mut all).link(path, &attributes);
    assert!(written.is_ok(), "a string takes everything");
    let links: Vec<_> = Links::new(&out).collect();
    let [Ok(link)] = links.as_slice() else { panic!("one link was written: {out}") };
    for (name, value) in [("rt", resource_type), ("title", title)] {
        let read: Option<String> = link.param(name).map(|value| value.chars().collect());
        assert_eq!(read.unwrap_or_default(), **value, "{out}");
    }
}
