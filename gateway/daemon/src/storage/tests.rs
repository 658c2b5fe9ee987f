use super::*;
use capmesh_gateway::{Change, Publication, Table};
use std::time::Duration;

fn commit(token: u64, changes: &[(&str, Option<&str>)], publications: &[&str]) -> Arc<Commit> {
    Arc::new(Commit {
        token: Token(token),
        changes: changes
            .iter()
            .map(|(key, value)| Change {
                key: Key::new(Table::Counters, key),
                value: value.map(|value| value.as_bytes().to_vec()),
            })
            .collect(),
        publications: publications
            .iter()
            .map(|topic| Publication {
                topic: (*topic).to_owned(),
                qos: 1,
                ..Publication::default()
            })
            .collect(),
    })
}

async fn done(opened: &mut Opened, token: u64) {
    assert_eq!(opened.committed.recv().await, Some((Token(token), Ok(()))));
}

fn topics(outbox: &Outbox, after: i64) -> Vec<String> {
    let waiting = outbox.read(after, 100).unwrap();
    waiting.into_iter().map(|waiting| waiting.publication.topic).collect()
}

#[tokio::test]
async fn what_was_committed_is_there_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = Storage::open(directory.path()).unwrap();
    assert!(first.state.is_empty());
    first.storage.commit(commit(1, &[("a", Some("1")), ("b", Some("2"))], &["x", "y"]));
    first.storage.commit(commit(2, &[("a", Some("3")), ("b", None)], &["z"]));
    done(&mut first, 1).await;
    done(&mut first, 2).await;
    assert_eq!((first.outbox.waiting(), first.outbox.end()), (3, 3));
    first.closing.close();

    let second = Storage::open(directory.path()).unwrap();
    let state: Vec<_> = second.state.into_iter().collect();
    assert_eq!(state, [(Key::new(Table::Counters, "a"), b"3".to_vec())]);
    assert_eq!(topics(&second.outbox, 0), ["x", "y", "z"]);
    assert_eq!(topics(&second.outbox, 2), ["z"]);
    assert_eq!(second.outbox.waiting(), 3);
}

#[tokio::test]
async fn what_the_broker_has_leaves_the_outbox() {
    let directory = tempfile::tempdir().unwrap();
    let mut opened = Storage::open(directory.path()).unwrap();
    opened.storage.commit(commit(1, &[], &["x", "y", "z"]));
    done(&mut opened, 1).await;
    opened.storage.delivered(2);
    // The next commit takes it with it.
    opened.storage.commit(commit(2, &[], &["w"]));
    done(&mut opened, 2).await;
    assert_eq!(topics(&opened.outbox, 0), ["z", "w"]);
    assert_eq!(opened.outbox.waiting(), 2);
    // Without a commit, the end does.
    opened.storage.delivered(4);
    opened.closing.close();
    let opened = Storage::open(directory.path()).unwrap();
    assert_eq!((topics(&opened.outbox, 0).len(), opened.outbox.waiting()), (0, 0));
}

#[tokio::test]
async fn who_waits_for_the_outbox_is_woken() {
    let directory = tempfile::tempdir().unwrap();
    let mut opened = Storage::open(directory.path()).unwrap();
    let mut outbox = opened.outbox.clone();
    let waits = tokio::spawn(async move {
        outbox.reaches_beyond(0).await;
        outbox.end()
    });
    opened.storage.commit(commit(1, &[], &["x"]));
    done(&mut opened, 1).await;
    let woken = tokio::time::timeout(Duration::from_secs(10), waits).await;
    assert_eq!(woken.unwrap().unwrap(), 1);
}

#[test]
fn a_state_directory_has_one_gateway() {
    let directory = tempfile::tempdir().unwrap();
    let first = Storage::open(directory.path()).unwrap();
    let error = Storage::open(directory.path()).unwrap_err();
    assert!(matches!(error, StorageError::InUse(_)));
    assert!(error.to_string().contains("--state"), "{error}");
    first.closing.close();
    Storage::open(directory.path()).unwrap();
}

#[test]
fn a_table_of_a_newer_version_is_not_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    Storage::open(directory.path()).unwrap().closing.close();
    let file = directory.path().join(FILE);
    let connection = rusqlite::Connection::open(&file).unwrap();
    connection.execute("INSERT INTO state VALUES (250, x'00', x'00')", []).unwrap();
    drop(connection);
    let error = Storage::open(directory.path()).unwrap_err();
    assert!(error.to_string().contains("table 250"), "{error}");
}

/// How much is committed by a child process before and while it is killed.
const ROUNDS: usize = 12;

/// Commits without end and prints each number once it is durable; runs as a child process only.
#[tokio::test]
#[ignore = "the child process of the test below"]
async fn commits_until_it_is_killed() {
    use std::io::Write as _;
    let directory = std::env::var_os("CAPMESH_TEST_STATE").unwrap();
    let mut opened = Storage::open(Path::new(&directory)).unwrap();
    let first = opened.outbox.end().cast_unsigned() + 1;
    let mut out = std::io::stdout();
    for number in first.. {
        let (value, topic) = (number.to_string(), format!("t/{number}"));
        let mut commit = Arc::unwrap_or_clone(commit(
            number,
            &[("a", Some(&value)), ("b", Some(&value))],
            &[&topic],
        ));
        for publication in &mut commit.publications {
            // More than a page, so that a commit is not one write.
            publication.payload = vec![7; 10_000];
        }
        opened.storage.commit(commit.into());
        done(&mut opened, number).await;
        // The parent reads what it can; a broken pipe is the end as well.
        if writeln!(out, "durable {number}").and_then(|()| out.flush()).is_err() {
            return;
        }
    }
}

#[test]
fn a_kill_at_any_moment_loses_no_commit_and_halves_none() {
    use std::io::{BufRead as _, BufReader};
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for round in 0..ROUNDS {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture"])
            .arg("storage::tests::commits_until_it_is_killed")
            .env("CAPMESH_TEST_STATE", directory.path())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let number = |line: String| line.rsplit_once("durable ").map(|(_, n)| n.parse().unwrap());
        // Each round lets it do a little more, and kills it between two of its lines.
        for _ in 0..=round * 7 {
            acknowledged = lines.by_ref().find_map(|line| number(line.unwrap())).unwrap();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it had still written before it died counts too.
        acknowledged =
            lines.map_while(Result::ok).filter_map(number).last().unwrap_or(acknowledged);

        let opened = Storage::open(directory.path()).unwrap();
        let value = |key: &str| -> u64 {
            let bytes = &opened.state[&Key::new(Table::Counters, key)];
            std::str::from_utf8(bytes).unwrap().parse().unwrap()
        };
        assert_eq!(value("a"), value("b"), "a commit is whole");
        assert!(value("a") >= acknowledged, "{} is lost, {} is there", acknowledged, value("a"));
        assert_eq!(
            opened.outbox.end().cast_unsigned(),
            value("a"),
            "state and outbox belong together"
        );
        assert_eq!(opened.outbox.waiting(), value("a"));
        opened.closing.close();
    }
}
