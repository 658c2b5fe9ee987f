//! The way to a broker of another maker: Debian's Mosquitto, killed and started again.

use crate::common::{
    Mosquitto, PATIENCE, Pump, Subscriber, has_mosquitto, port, publication, server,
};
use capmesh_gateway::Publication;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Publications that must arrive whatever happens.
const MANY: u32 = 3_000;

/// A publication of its own topic, retained, so that it does not matter when somebody subscribes.
fn numbered(number: u32) -> Publication {
    publication(&format!("test/every/{number}"), &number.to_string(), true)
}

/// Collects what is numbered until there is enough.
async fn collect(
    subscriber: Subscriber,
    seen: &Arc<Mutex<BTreeSet<u32>>>,
    is_enough: impl Fn(&BTreeSet<u32>) -> bool + Send + 'static,
) {
    let seen = Arc::clone(seen);
    let reading = tokio::task::spawn_blocking(move || {
        subscriber.wait_for(|line| {
            let number = line.rsplit_once(' ').and_then(|(_, text)| text.parse::<u32>().ok());
            let mut seen = seen.lock().unwrap();
            seen.extend(number.filter(|_| line.starts_with("test/every/")));
            is_enough(&seen)
        });
    });
    reading.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_the_broker_loses_nothing() {
    if !has_mosquitto() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let port = port();
    let mut pump = Pump::start(directory.path(), &server(port));
    // Nobody listens yet: everything waits.
    for batch in 0..10 {
        pump.commit((batch * 100..batch * 100 + 100).map(numbered).collect()).await;
    }
    assert_eq!(pump.opened.outbox.waiting(), 1_000);

    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let broker = Mosquitto::start(directory.path(), port);
    pump.wait_up(true).await;
    for n in 1_000..2_000 {
        pump.commit(vec![numbered(n)]).await;
    }
    pump.wait_empty().await;
    let subscriber = Subscriber::start(port, &["-t", "test/#"]);
    collect(subscriber, &seen, |seen| seen.len() == 2_000).await;

    // Killed while publications are on their way.
    for n in 2_000..2_500 {
        pump.commit(vec![numbered(n)]).await;
    }
    drop(broker);
    pump.wait_up(false).await;
    for n in 2_500..MANY {
        pump.commit(vec![numbered(n)]).await;
    }
    // What the killed broker had acknowledged went with it: the next one is to have the rest.
    let waiting = pump.opened.outbox.read(0, 5_000).unwrap();
    let number = |text: &[u8]| -> u32 { std::str::from_utf8(text).unwrap().parse().unwrap() };
    let rest: BTreeSet<u32> = waiting.iter().map(|w| number(&w.publication.payload)).collect();
    assert!(rest.len() >= 500 && (2_500..MANY).all(|n| rest.contains(&n)), "it keeps them");
    seen.lock().unwrap().clear();
    let _broker = Mosquitto::start(directory.path(), port);
    let subscriber = Subscriber::start(port, &["-t", "test/#"]);
    collect(subscriber, &seen, move |seen| rest.is_subset(seen)).await;
    pump.wait_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_acknowledged_is_published_after_a_restart() {
    if !has_mosquitto() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let port = port();
    let mut pump = Pump::start(directory.path(), &server(port));
    pump.commit((0..50).map(|n| publication("test/kept", &n.to_string(), true)).collect()).await;
    let mut expired = publication("test/expired", "1", true);
    expired.expiry = Some(0);
    pump.commit(vec![expired]).await;
    // As if the process had ended: nobody says goodbye.
    pump.task.abort();
    assert!(pump.task.await.unwrap_err().is_cancelled());
    pump.opened.closing.close();

    let _broker = Mosquitto::start(directory.path(), port);
    let pump = Pump::start(directory.path(), &server(port));
    pump.wait_empty().await;
    let kept = Subscriber::start(port, &["-t", "test/#"]);
    assert_eq!(kept.wait_for(|line| line.starts_with("test/")), "test/kept 49");
    pump.mqtt.close();
    let offline = kept.wait_for(|line| line.starts_with("test/status"));
    assert_eq!(offline, "test/status offline");
    tokio::time::timeout(PATIENCE, pump.task).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_says_so_when_the_gateway_is_gone() {
    if !has_mosquitto() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let port = port();
    let _broker = Mosquitto::start(directory.path(), port);
    let subscriber = Subscriber::start(port, &["-t", "test/#"]);
    let mut pump = Pump::start(directory.path(), &server(port));
    pump.wait_up(true).await;
    pump.task.abort();
    let will = tokio::task::spawn_blocking(move || {
        subscriber.wait_for(|line| line.starts_with("test/status"))
    });
    assert_eq!(will.await.unwrap(), "test/status offline");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_for_comes_also_after_the_broker_was_away() {
    if !has_mosquitto() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let port = port();
    let broker = Mosquitto::start(directory.path(), port);
    let mut pump = Pump::start(directory.path(), &server(port));
    pump.mqtt.subscribe(vec!["in/#".to_owned(), "old/#".to_owned()]);
    pump.wait_up(true).await;
    drop(broker);
    pump.wait_up(false).await;
    pump.mqtt.subscribe(vec!["in/#".to_owned(), "new/#".to_owned()]);
    let _broker = Mosquitto::start(directory.path(), port);
    pump.wait_up(true).await;
    // A large one, which the library would refuse by itself; published until the subscription stands.
    let payload = "x".repeat(100_000);
    let file = directory.path().join("payload");
    std::fs::write(&file, &payload).unwrap();
    let publish = |topic: &str| {
        std::process::Command::new("mosquitto_pub")
            .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-q", "1", "-t", topic])
            .args(["-V", "5", "-D", "publish", "response-topic", "answers", "-f"])
            .arg(&file)
            .status()
            .unwrap()
    };
    let mut topics = BTreeSet::new();
    while topics.len() < 2 {
        assert!(
            publish("old/a").success() && publish("in/a").success() && publish("new/a").success()
        );
        while let Ok(Some(incoming)) =
            tokio::time::timeout(Duration::from_millis(200), pump.incoming.recv()).await
        {
            assert_eq!(incoming.payload.len(), payload.len());
            assert_eq!(incoming.response_topic.as_deref(), Some("answers"));
            topics.insert(incoming.topic);
        }
    }
    assert_eq!(topics.into_iter().collect::<Vec<_>>(), ["in/a", "new/a"]);
}

#[tokio::test]
async fn without_a_line_nothing_volatile_waits() {
    let directory = tempfile::tempdir().unwrap();
    let pump = Pump::start(directory.path(), &server(port()));
    for n in 0..20_000 {
        pump.mqtt.publish(publication("test/now", &n.to_string(), false));
    }
    pump.mqtt.close();
    tokio::time::timeout(PATIENCE, pump.task).await.unwrap().unwrap();
}
