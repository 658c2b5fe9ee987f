//! Figures for Prometheus.

use capmesh_gateway::api::SiteView;
use metrics::gauge;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::sync::OnceLock;

/// Figures are counted once in a process, however many gateways it runs.
static FIGURES: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Seconds: from a write on a fast disk to one on a card that is full.
const SECONDS: &[f64] = &[0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

/// Begins to count.
pub(crate) fn install() {
    figures();
}

fn figures() -> Option<&'static PrometheusHandle> {
    let install = || {
        let seconds = Matcher::Suffix("_seconds".to_owned());
        let builder = PrometheusBuilder::new().set_buckets_for_metric(seconds, SECONDS).ok()?;
        // Somebody else counts already: then there is nothing to show here.
        let handle = builder.install_recorder().ok()?;
        describe();
        Some(handle)
    };
    FIGURES.get_or_init(install).as_ref()
}

fn describe() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_gauge!("capmesh_nodes", "Nodes on the roster");
    describe_gauge!("capmesh_nodes_online", "Nodes that answer");
    describe_gauge!("capmesh_pipelines", "Pipelines");
    describe_gauge!("capmesh_instances", "Instances that are to run");
    describe_gauge!("capmesh_instances_running", "Instances that run");
    describe_gauge!("capmesh_uptime_seconds", Unit::Seconds, "Since the start of the gateway");
    describe_gauge!("capmesh_mqtt_up", "Whether there is a line to the MQTT broker");
    describe_gauge!("capmesh_outbox_waiting", "Messages that wait for the MQTT broker");
    describe_gauge!("capmesh_messages_from_mesh", "Messages of the mesh that were published");
    describe_gauge!("capmesh_messages_to_mesh", "Messages of the broker that were passed on");
    describe_gauge!("capmesh_messages_lost", "Messages of `latest` wires that did not arrive");
    describe_counter!("capmesh_mqtt_published_total", "Publications handed to the MQTT broker");
    describe_counter!("capmesh_mqtt_dropped_total", "Publications of the moment without a line");
    describe_counter!("capmesh_mqtt_refused_total", "Publications that the broker refused");
    describe_counter!("capmesh_mqtt_connects_total", "Lines to the MQTT broker that came up");
    describe_counter!("capmesh_datagrams_in_total", "Datagrams that came");
    describe_counter!("capmesh_datagrams_out_total", "Datagrams that were sent");
    describe_histogram!("capmesh_commit_seconds", Unit::Seconds, "How long durable writes take");
}

/// All figures as text.
pub(crate) fn render(site: &SiteView, waiting: u64) -> String {
    let Some(figures) = figures() else { return String::new() };
    gauge!("capmesh_nodes").set(site.nodes);
    gauge!("capmesh_nodes_online").set(site.online);
    gauge!("capmesh_pipelines").set(site.pipelines);
    gauge!("capmesh_instances").set(site.instances);
    gauge!("capmesh_instances_running").set(site.running);
    gauge!("capmesh_uptime_seconds").set(seconds(site.uptime_ms));
    gauge!("capmesh_outbox_waiting").set(float(waiting));
    gauge!("capmesh_messages_from_mesh").set(float(site.mqtt.published));
    gauge!("capmesh_messages_to_mesh").set(float(site.mqtt.taken));
    gauge!("capmesh_messages_lost").set(float(site.mqtt.lost));
    figures.run_upkeep();
    figures.render()
}

fn seconds(millis: u64) -> f64 {
    std::time::Duration::from_millis(millis).as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus counts in floating point")]
fn float(count: u64) -> f64 {
    count as f64
}
