//! Wires and other things that a command names in one word.

use capmesh_wire::manifest::Capsule;
use capmesh_wire::plan::{Delivery, Inbound, Outbound, Overflowing, PeerBinding};
use capmesh_wire::{InstanceId, Name, NodeId};

/// What is known of the capsule that a command is about: with its file its ports have names.
pub(super) type Known<'a> = Option<&'a Capsule<'a>>;

/// `INPUT=NODE/INSTANCE/OUTPUT[:every]`
pub(super) fn inbound(text: &str, known: Known<'_>) -> Result<Inbound, String> {
    let (here, there, delivery, policy) = split(text)?;
    if policy.is_some() {
        return Err("what to do when it is full is the sender's to say, on its --to".into());
    }
    let (node, instance, output) = far_end(there)?;
    let input = number(here, known, "input", |capsule, name| Some(capsule.input(name)?.0))?;
    Ok(Inbound { input, node, instance, output, delivery })
}

/// `OUTPUT=NODE/INSTANCE/INPUT[:every][:POLICY]`
pub(super) fn outbound(text: &str, known: Known<'_>) -> Result<Outbound, String> {
    let (here, there, delivery, policy) = split(text)?;
    let (node, instance, input) = far_end(there)?;
    let output = number(here, known, "output", |capsule, name| Some(capsule.output(name)?.0))?;
    let overflow = policy.unwrap_or(match delivery {
        Delivery::Every => Overflowing::PauseProducer,
        _ => Overflowing::DropOldest,
    });
    Ok(Outbound { output, node, instance, input, delivery, overflow })
}

/// `PEER=NODE/INSTANCE`
pub(super) fn peer(text: &str, known: Known<'_>) -> Result<PeerBinding, String> {
    let (here, there) = text.split_once('=').ok_or("not PEER=NODE/INSTANCE")?;
    let (node, instance) = there.split_once('/').ok_or("not PEER=NODE/INSTANCE")?;
    let peer = number(here, known, "peer", |capsule, name| {
        (0..=u8::MAX).zip(capsule.peers.iter()).find(|(_, peer)| peer.name == name).map(|(n, _)| n)
    })?;
    Ok(PeerBinding { peer, node: parse_node(node)?, instance: parse_instance(instance)? })
}

pub(super) fn parse_node(text: &str) -> Result<NodeId, String> {
    text.parse().map_err(|error| format!("`{text}` is no node: {error}"))
}

pub(super) fn parse_instance(text: &str) -> Result<InstanceId, String> {
    text.parse().map(InstanceId).map_err(|_| format!("`{text}` is no instance: a number"))
}

type Wire<'t> = (&'t str, &'t str, Delivery, Option<Overflowing>);

fn split(text: &str) -> Result<Wire<'_>, String> {
    const FORM: &str =
        "not HERE=NODE/INSTANCE/THERE, with `:every` behind it if nothing may be lost";
    let (here, there) = text.split_once('=').ok_or(FORM)?;
    let mut parts = there.split(':');
    let there = parts.next().ok_or(FORM)?;
    let (mut delivery, mut policy) = (Delivery::Latest, None);
    for word in parts {
        match word {
            "latest" => delivery = Delivery::Latest,
            "every" => delivery = Delivery::Every,
            "drop-oldest" => policy = Some(Overflowing::DropOldest),
            "drop-newest" => policy = Some(Overflowing::DropNewest),
            "pause-producer" => policy = Some(Overflowing::PauseProducer),
            _ => {
                return Err(format!(
                    "`{word}` is none of latest, every, drop-oldest, drop-newest, pause-producer"
                ));
            }
        }
    }
    Ok((here, there, delivery, policy))
}

/// The far end is numbered: what its ports are called is in another capsule.
fn far_end(text: &str) -> Result<(NodeId, InstanceId, u8), String> {
    let mut parts = text.split('/');
    let (Some(node), Some(instance), Some(port), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(format!("`{text}` is not NODE/INSTANCE/NUMBER"));
    };
    let port =
        port.parse().map_err(|_| format!("`{port}` is not the number of an input or output"))?;
    Ok((parse_node(node)?, parse_instance(instance)?, port))
}

fn number(
    text: &str,
    known: Known<'_>,
    kind: &str,
    find: impl FnOnce(&Capsule<'_>, Name<'_>) -> Option<u8>,
) -> Result<u8, String> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let capsule = known.ok_or(format!(
        "`{text}` is a name: give the capsule's file rather than its digest, or the {kind}'s number"
    ))?;
    let name = Name::new(text).ok();
    name.and_then(|name| find(capsule, name)).ok_or(format!("the capsule has no {kind} `{text}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = "aaaaaaaaaaaac";

    #[test]
    fn wires_are_read() {
        let node: NodeId = NODE.parse().unwrap();
        let instance = InstanceId(7);
        let wire = inbound(&format!("0={NODE}/7/1:every"), None);
        let expected = Inbound { input: 0, node, instance, output: 1, delivery: Delivery::Every };
        assert_eq!(wire, Ok(expected));
        let wire = outbound(&format!("2={NODE}/7/1:every:drop-newest"), None).unwrap();
        assert_eq!((wire.delivery, wire.overflow), (Delivery::Every, Overflowing::DropNewest));
        let wire = outbound(&format!("2={NODE}/7/1"), None).unwrap();
        assert_eq!((wire.delivery, wire.overflow), (Delivery::Latest, Overflowing::DropOldest));
        let wire = outbound(&format!("2={NODE}/7/1:every"), None).unwrap();
        assert_eq!(wire.overflow, Overflowing::PauseProducer);
        let binding = peer(&format!("1={NODE}/7"), None);
        assert_eq!(binding, Ok(PeerBinding { peer: 1, node, instance }));
    }

    #[test]
    fn what_is_no_wire_is_explained() {
        for (text, words) in [
            ("0", "not HERE="),
            ("0=aaaaaaaaaaaac/7", "not NODE/INSTANCE/NUMBER"),
            ("0=here/7/0", "`here` is no node"),
            ("0=aaaaaaaaaaaac/x/0", "`x` is no instance"),
            ("0=aaaaaaaaaaaac/1/out", "`out` is not the number"),
            ("0=aaaaaaaaaaaac/1/0:sometimes", "`sometimes` is none of"),
            ("0=aaaaaaaaaaaac/1/0:drop-oldest", "the sender's"),
            ("in=aaaaaaaaaaaac/1/0", "give the capsule's file"),
        ] {
            let error = inbound(text, None).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
