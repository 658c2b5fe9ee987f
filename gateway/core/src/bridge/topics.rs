//! The names of things at the broker.
//!
//! ```text
//! capmesh/<site>/gw/<gateway>/status                 online or offline; retained; the gateway's will
//! capmesh/<site>/gw/<gateway>/log                    lines, JSON
//! capmesh/<site>/node/<node>/status                  online or offline; retained
//! capmesh/<site>/node/<node>/state                   JSON; retained
//! capmesh/<site>/node/<node>/log                     lines, JSON
//! capmesh/<site>/node/<node>/cmd                     {"op":"reboot"}
//! capmesh/<site>/node/<node>/<capsule>/<output>      values, JSON
//! capmesh/<site>/node/<node>/<capsule>/<input>/set   values for the mesh, JSON
//! capmesh/<site>/topology                            JSON; retained
//! capmesh/<site>/bridge/request/<op>                 requests, JSON
//! capmesh/<site>/bridge/response/<op>                their answers, if they name no topic for them
//! homeassistant/device/capmesh_<site>_<node>/config  Home Assistant's discovery; retained
//! ```
//!
//! `<capsule>` is `pipeline--name`, and `pipeline--name--replica` for all replicas but the first. Names
//! have no two hyphens in a row, so that this says unambiguously which it is. Who wants values wherever
//! their capsule runs subscribes to `capmesh/<site>/node/+/<capsule>/<output>`.

/// Where an instance is in its pipeline, and on which node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The name of the node that hosts it.
    pub node: String,
    /// The pipeline.
    pub pipeline: String,
    /// What the pipeline calls it.
    pub name: String,
    /// Which of the replicas, from 0.
    pub replica: u8,
}

impl Place {
    /// `<capsule>` in topics.
    #[must_use]
    pub fn capsule(&self) -> String {
        let Self { pipeline, name, replica, .. } = self;
        match replica {
            0 => format!("{pipeline}--{name}"),
            _ => format!("{pipeline}--{name}--{replica}"),
        }
    }
}

/// What Home Assistant publishes its coming and going to.
pub(super) const HOME_ASSISTANT_STATUS: &str = "homeassistant/status";

/// The topics of a site.
#[derive(Clone, Debug)]
pub(super) struct Topics {
    base: String,
    site: String,
    gateway: String,
}

/// What a message that comes in is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meant<'t> {
    /// Home Assistant has come or gone.
    HomeAssistant,
    /// The operation that is requested.
    Request(&'t str),
    /// The node that is commanded.
    Command(&'t str),
    /// Something else: a value, if a wire begins there.
    Value,
}

impl Topics {
    pub(super) fn new(site: &str, gateway: &str) -> Self {
        let (site, gateway) = (site.to_owned(), gateway.to_owned());
        Self { base: format!("capmesh/{site}"), site, gateway }
    }

    pub(super) fn gateway_status(&self) -> String {
        format!("{}/gw/{}/status", self.base, self.gateway)
    }

    pub(super) fn gateway_log(&self) -> String {
        format!("{}/gw/{}/log", self.base, self.gateway)
    }

    pub(super) fn node(&self, node: &str, what: &str) -> String {
        format!("{}/node/{node}/{what}", self.base)
    }

    pub(super) fn value(&self, place: &Place, output: &str) -> String {
        format!("{}/node/{}/{}/{output}", self.base, place.node, place.capsule())
    }

    pub(super) fn set(&self, place: &Place, input: &str) -> String {
        format!("{}/set", self.value(place, input))
    }

    pub(super) fn topology(&self) -> String {
        format!("{}/topology", self.base)
    }

    pub(super) fn response(&self, op: &str) -> String {
        format!("{}/bridge/response/{op}", self.base)
    }

    /// What Home Assistant calls a node's device.
    pub(super) fn device(&self, node: &str) -> String {
        format!("capmesh_{}_{node}", self.site)
    }

    /// What Home Assistant calls the gateway's device. Names have no underscore: no node's is the same.
    pub(super) fn gateway_device(&self) -> String {
        format!("capmesh_{}_gw_{}", self.site, self.gateway)
    }

    pub(super) fn discovery(device: &str) -> String {
        format!("homeassistant/device/{device}/config")
    }

    /// What is to be subscribed whatever wires there are.
    pub(super) fn filters(&self) -> [String; 3] {
        [
            format!("{}/bridge/request/+", self.base),
            format!("{}/node/+/cmd", self.base),
            HOME_ASSISTANT_STATUS.to_owned(),
        ]
    }

    pub(super) fn meant<'t>(&self, topic: &'t str) -> Meant<'t> {
        if topic == HOME_ASSISTANT_STATUS {
            return Meant::HomeAssistant;
        }
        let rest = topic.strip_prefix(self.base.as_str()).and_then(|rest| rest.strip_prefix('/'));
        let mut parts = rest.unwrap_or_default().split('/');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("bridge"), Some("request"), Some(op), None) => Meant::Request(op),
            (Some("node"), Some(node), Some("cmd"), None) => Meant::Command(node),
            _ => Meant::Value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(replica: u8) -> Place {
        Place {
            node: "n03".to_owned(),
            pipeline: "city-air".to_owned(),
            name: "stats".to_owned(),
            replica,
        }
    }

    #[test]
    fn every_topic_of_the_tree() {
        let topics = Topics::new("s1", "gw1");
        for (topic, expected) in [
            (topics.gateway_status(), "capmesh/s1/gw/gw1/status"),
            (topics.gateway_log(), "capmesh/s1/gw/gw1/log"),
            (topics.node("n03", "state"), "capmesh/s1/node/n03/state"),
            (topics.value(&place(0), "summary"), "capmesh/s1/node/n03/city-air--stats/summary"),
            (topics.value(&place(2), "summary"), "capmesh/s1/node/n03/city-air--stats--2/summary"),
            (topics.set(&place(0), "limit"), "capmesh/s1/node/n03/city-air--stats/limit/set"),
            (topics.topology(), "capmesh/s1/topology"),
            (topics.response("drain"), "capmesh/s1/bridge/response/drain"),
            (
                Topics::discovery(&topics.device("n03")),
                "homeassistant/device/capmesh_s1_n03/config",
            ),
        ] {
            assert_eq!(topic, expected);
        }
    }

    #[test]
    fn what_comes_in_is_told_apart() {
        let topics = Topics::new("s1", "gw1");
        for (topic, meant) in [
            ("homeassistant/status", Meant::HomeAssistant),
            ("capmesh/s1/bridge/request/drain", Meant::Request("drain")),
            ("capmesh/s1/node/n03/cmd", Meant::Command("n03")),
            ("capmesh/s1/node/n03/city-air--stats/limit/set", Meant::Value),
            ("capmesh/s12/bridge/request/drain", Meant::Value),
            ("capmesh/s1/bridge/request/drain/now", Meant::Value),
            ("city/threshold", Meant::Value),
            ("", Meant::Value),
        ] {
            assert_eq!(topics.meant(topic), meant, "{topic}");
        }
    }
}
