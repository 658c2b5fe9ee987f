//! What has changed, for whoever watches: gathered, and given out ten times a second.
//!
//! Of several changes of one thing between two times only the last is given. So what is kept is bounded
//! by how many things there are, watchers cost next to nothing while nothing changes, and a watcher that
//! is slow is let go rather than waited for: it comes again and is shown everything.

use capmesh_gateway::api::{Event, Gone};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::broadcast;

/// How often changes are given out.
const EVERY: Duration = Duration::from_millis(100);

/// Lines of the log that are given out at a time; of more, the oldest are left out.
const LINES: usize = 200;

/// How far a watcher may be behind, in times: some seconds.
const BEHIND: usize = 64;

/// What a watcher is given when changes are missing: its stream ends.
pub const MISSED: &str = "";

/// Gathers changes and gives them out.
#[derive(Clone, Debug)]
pub struct Events {
    gathered: Arc<Mutex<Gathered>>,
    out: broadcast::Sender<Arc<str>>,
}

/// The thing that an event is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum About {
    Node(String),
    Instance(u32),
    Pipeline(String),
    Topic(String),
    Migration(u32, u32),
    Plan,
    Mqtt,
}

#[derive(Debug, Default)]
struct Gathered {
    /// In the order of their last change; `None` where a later one took its place.
    things: Vec<Option<Event>>,
    places: HashMap<About, usize>,
    lines: Vec<Event>,
}

impl Events {
    /// Nothing has changed yet.
    #[must_use]
    pub fn new() -> Self {
        Self { gathered: Arc::default(), out: broadcast::channel(BEHIND).0 }
    }

    /// Something has changed.
    pub fn push(&self, event: Event) {
        if self.is_watched() {
            self.gathered.lock().unwrap_or_else(PoisonError::into_inner).push(event);
        }
    }

    /// Changes are missing: whoever watches is let go, comes again, and is shown everything.
    pub fn missed(&self) {
        *self.gathered.lock().unwrap_or_else(PoisonError::into_inner) = Gathered::default();
        // Nobody watches any more.
        let _ = self.out.send(MISSED.into());
    }

    /// Whether anybody watches.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.out.receiver_count() > 0
    }

    /// Begins to watch: what changes from now on, as server-sent events.
    #[must_use]
    pub fn watch(&self) -> broadcast::Receiver<Arc<str>> {
        self.out.subscribe()
    }

    /// Gives changes out until nobody can push any more.
    pub async fn run(self) {
        let mut every = tokio::time::interval(EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            let gathered =
                std::mem::take(&mut *self.gathered.lock().unwrap_or_else(PoisonError::into_inner));
            let text = gathered.text();
            if !text.is_empty() {
                // Nobody watches any more.
                let _ = self.out.send(text.into());
            }
        }
    }
}

impl Default for Events {
    fn default() -> Self {
        Self::new()
    }
}

impl Gathered {
    fn push(&mut self, event: Event) {
        let Some(about) = about(&event) else {
            if self.lines.len() >= LINES {
                self.lines.remove(0);
            }
            return self.lines.push(event);
        };
        let before = self.places.insert(about, self.things.len());
        if let Some(before) = before.and_then(|place| self.things.get_mut(place)) {
            *before = None;
        }
        self.things.push(Some(event));
        // Things that change all the time leave gaps: closed when there are more gaps than things.
        if self.things.len() > 2 * self.places.len() + LINES {
            self.close_gaps();
        }
    }

    fn close_gaps(&mut self) {
        self.things.retain(Option::is_some);
        let places = self.things.iter().flatten().filter_map(about).zip(0..);
        self.places = places.collect();
    }

    fn text(&self) -> String {
        let events = self.things.iter().flatten().chain(&self.lines);
        events.fold(String::new(), |mut text, event| {
            write_event(&mut text, event);
            text
        })
    }
}

/// Writes an event as a server-sent one.
pub(crate) fn write_event(text: &mut String, event: &Event) {
    let Ok(data) = serde_json::to_string(event) else { return };
    // JSON has no line ends outside of its texts, and escapes those inside.
    let _ = write!(text, "event: {}\ndata: {data}\n\n", event.name());
}

/// What an event is about; nothing, if each counts.
fn about(event: &Event) -> Option<About> {
    Some(match event {
        Event::Node(node) => About::Node(node.name.clone()),
        Event::Instance(instance) => About::Instance(instance.instance),
        Event::Pipeline(pipeline) => About::Pipeline(pipeline.name.clone()),
        Event::Plan(_) => About::Plan,
        Event::Migration(migration) => About::Migration(migration.instance, migration.epoch),
        Event::Value(value) => About::Topic(value.topic.clone()),
        Event::Mqtt(_) => About::Mqtt,
        Event::Gone(Gone::Node(name)) => About::Node(name.clone()),
        Event::Gone(Gone::Instance(instance)) => About::Instance(*instance),
        Event::Gone(Gone::Pipeline(name)) => About::Pipeline(name.clone()),
        Event::Gone(Gone::Topic(name)) => About::Topic(name.clone()),
        Event::Log(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use capmesh_gateway::api::MqttView;

    fn gone(node: &str) -> Event {
        Event::Gone(Gone::Node(node.to_owned()))
    }

    fn mqtt(published: u64) -> Event {
        Event::Mqtt(MqttView { published, ..MqttView::default() })
    }

    fn gathered(events: impl IntoIterator<Item = Event>) -> Gathered {
        let mut gathered = Gathered::default();
        events.into_iter().for_each(|event| gathered.push(event));
        gathered
    }

    #[test]
    fn the_last_change_of_a_thing_is_given_in_its_place() {
        let text = gathered([mqtt(1), gone("a"), mqtt(2), gone("b"), gone("a")]).text();
        let names: Vec<_> = text.lines().filter(|line| line.starts_with("data")).collect();
        assert_eq!(names.len(), 3, "{text}");
        assert!(names[0].contains("\"published\":2"), "{text}");
        assert!(names[1].contains("\"b\"") && names[2].contains("\"a\""), "{text}");
    }

    #[test]
    fn what_changes_all_the_time_does_not_pile_up() {
        let mut all = gathered((0..100_000).map(mqtt));
        assert!(all.things.len() < 1_000);
        assert!(all.text().contains("\"published\":99999"));
        all.push(gone("a"));
        assert_eq!(all.text().matches("data: ").count(), 2);
    }

    #[tokio::test]
    async fn watchers_are_let_go_when_changes_are_missing() {
        let events = Events::new();
        let mut watcher = events.watch();
        events.push(gone("forgotten"));
        events.missed();
        assert_eq!(&*watcher.recv().await.unwrap(), MISSED);
        let running = tokio::spawn(events.clone().run());
        events.push(gone("after"));
        assert!(!watcher.recv().await.unwrap().contains("forgotten"));
        running.abort();
    }

    #[tokio::test]
    async fn watchers_get_what_changes_after_they_came() {
        let events = Events::new();
        events.push(gone("before"));
        let running = tokio::spawn(events.clone().run());
        let mut watcher = events.watch();
        events.push(gone("after"));
        let text = watcher.recv().await.unwrap();
        assert_eq!(&*text, "event: gone\ndata: {\"gone\":{\"node\":\"after\"}}\n\n");
        running.abort();
    }
}
