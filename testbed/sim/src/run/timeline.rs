//! What happened, for people.

use super::Failure;
use crate::Host;
use crate::event::Event;
use crate::site::name;
use capmesh_node::trace::Trace;
use capmesh_wire::Instant;
use std::collections::BTreeSet;
use std::fmt::Write;

/// Lines about one instance, at most: the last ones.
const LINES: usize = 60;

/// Instances and hosts that are shown, at most.
const SHOWN: usize = 4;

/// What happened to those that a failure is about: a sequence for each instance, and one for each host that
/// it is about; the last lines of each. The script's actions are in all of them.
#[must_use]
pub fn timeline(history: &[(Instant, Event)], failure: &Failure) -> String {
    let mut text = String::new();
    let instances: BTreeSet<u32> = failure.instances.iter().copied().collect();
    for instance in instances.iter().take(SHOWN) {
        let _ = writeln!(text, "instance {instance}:");
        let hosts = hosts_of(history, *instance);
        let is_about = |event: &Event| {
            event.instance() == Some(*instance)
                || event.host().is_some_and(|host| hosts.contains(&host)) && is_of_power(event)
        };
        lines(&mut text, history, is_about);
    }
    let hosts: BTreeSet<Host> = failure.hosts.iter().copied().collect();
    for host in hosts.iter().filter(|_| instances.is_empty()).take(SHOWN) {
        let _ = writeln!(text, "{}:", name(*host));
        lines(&mut text, history, |event| event.host() == Some(*host) && !is_datagram(event));
    }
    if instances.is_empty() && hosts.is_empty() {
        let _ = writeln!(text, "everybody:");
        lines(&mut text, history, |event| !is_datagram(event));
    }
    text
}

/// Everything that happened, a line each.
pub fn trace(history: &[(Instant, Event)], mut line: impl FnMut(&str)) {
    for (at, event) in history {
        line(&format!("{:>14.6}  {event}", seconds(*at)));
    }
}

/// The nodes that an instance was ever on or on its way to.
fn hosts_of(history: &[(Instant, Event)], instance: u32) -> BTreeSet<Host> {
    let about = history.iter().filter(|(_, event)| event.instance() == Some(instance));
    about.filter_map(|(_, event)| event.host()).collect()
}

fn lines(text: &mut String, history: &[(Instant, Event)], is_about: impl Fn(&Event) -> bool) {
    let shown = |event: &Event| is_about(event) && !is_end(event) || is_of_script(event);
    let all: Vec<_> = history.iter().filter(|(_, event)| shown(event)).collect();
    let left_out = all.len().saturating_sub(LINES);
    if left_out > 0 {
        let _ = writeln!(text, "      ... {left_out} lines before; --trace FILE has all");
    }
    for (at, event) in all.into_iter().skip(left_out) {
        let who = event.host().map_or_else(String::new, name);
        let _ = writeln!(text, "  {:>13.6} s  {who:<9} {event}", seconds(*at));
    }
    text.push('\n');
}

fn seconds(at: Instant) -> f64 {
    at.as_micros() as f64 / 1e6
}

const fn is_of_script(event: &Event) -> bool {
    matches!(event, Event::Done { .. } | Event::Healed { .. })
}

const fn is_of_power(event: &Event) -> bool {
    matches!(event, Event::Booted { .. } | Event::Crashed { .. } | Event::Reachable { .. })
}

const fn is_datagram(event: &Event) -> bool {
    matches!(
        event,
        Event::Sent { .. } | Event::Lost { .. } | Event::Arrived { .. } | Event::Sealed { .. }
    )
}

/// That a handler ended well goes without saying.
const fn is_end(event: &Event) -> bool {
    matches!(event, Event::Node { trace: Trace::Ends { trap: None, .. }, .. })
}
