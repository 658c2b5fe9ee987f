//! Retained messages, in memory for reading and in SQLite for the next start.
//!
//! A message counts as retained once it is written; the thread that writes puts what waits into one
//! transaction.

use super::limits;
use crate::sqlite::{self, SchemaError, Synchronous};
use async_trait::async_trait;
use rmqtt::codec::types::Publish as Packet;
use rmqtt::codec::v5::PublishProperties;
use rmqtt::retain::{DefaultRetainStorage, RetainStorage};
use rmqtt::types::{From, Id, Publish, QoS, Retain, TopicFilter, TopicName};
use rusqlite::{Connection, Row};
use std::fmt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::oneshot;

const MIGRATIONS: &[&str] = &["
    CREATE TABLE retained (
        topic TEXT PRIMARY KEY,
        payload BLOB NOT NULL,
        qos INTEGER NOT NULL,
        is_text INTEGER NOT NULL,
        content_type TEXT,
        response_topic TEXT,
        correlation BLOB,
        expires INTEGER
    ) WITHOUT ROWID;
"];

/// How many messages share a write at most.
const GROUP: usize = 256;

/// Why retained messages cannot be kept.
#[derive(Debug)]
pub enum RetainError {
    /// The database cannot be used.
    Schema(SchemaError),
    /// There is no thread.
    Thread(std::io::Error),
}

impl fmt::Display for RetainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Schema(error) => write!(f, "{error}"),
            Self::Thread(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for RetainError {}

impl<E: Into<SchemaError>> std::convert::From<E> for RetainError {
    fn from(error: E) -> Self {
        Self::Schema(error.into())
    }
}

/// What is kept of a message. An empty payload says that nothing is.
struct Kept {
    topic: String,
    payload: Vec<u8>,
    qos: u8,
    is_text: bool,
    content_type: Option<String>,
    response_topic: Option<String>,
    correlation: Option<Vec<u8>>,
    /// Seconds since 1970.
    expires: Option<i64>,
}

pub(super) struct Retained {
    tree: DefaultRetainStorage,
    writer: Mutex<mpsc::Sender<(Kept, oneshot::Sender<()>)>>,
}

impl Retained {
    pub(super) async fn open(file: &Path) -> Result<Self, RetainError> {
        let connection = sqlite::open(file, Synchronous::Normal, MIGRATIONS)?;
        connection.execute("DELETE FROM retained WHERE expires <= ?1", [now()])?;
        let tree = DefaultRetainStorage::new();
        for kept in all(&connection)? {
            let left = kept.expires.map(|at| Duration::from_secs(at.abs_diff(now())));
            let topic = TopicName::from(kept.topic.as_str());
            if let Err(error) = tree.set_with_timeout(&topic, retain(kept), left).await {
                tracing::warn!(%error, %topic, "a retained message is left out");
            }
        }
        let (writer, work) = mpsc::channel();
        let thread = std::thread::Builder::new().name("retained".to_owned());
        thread.spawn(move || write(connection, &work)).map_err(RetainError::Thread)?;
        Ok(Self { tree, writer: Mutex::new(writer) })
    }
}

#[async_trait]
impl RetainStorage for Retained {
    fn enable(&self) -> bool {
        true
    }

    fn need_sync(&self) -> bool {
        false
    }

    async fn set(
        &self,
        topic: &TopicName,
        retain: Retain,
        expiry: Option<Duration>,
    ) -> rmqtt::Result<()> {
        let is_new = self.tree.get_message(topic).await?.is_empty();
        let is_full = usize::try_from(self.count().await).is_ok_and(|n| n >= limits::RETAINED);
        if is_new && is_full && !retain.publish.payload.is_empty() {
            self.tree.remove_expired_messages().await;
            tracing::warn!(%topic, "too many retained messages: not kept");
            return Ok(());
        }
        let kept = kept(topic, &retain, expiry);
        self.tree.set_with_timeout(topic, retain, expiry).await?;
        let (done, is_done) = oneshot::channel();
        let sent = self.writer.lock().map(|writer| writer.send((kept, done)).is_ok());
        if sent.unwrap_or_default() {
            // A write that failed is in the log.
            let _ = is_done.await;
        }
        Ok(())
    }

    async fn get(&self, filter: &TopicFilter) -> rmqtt::Result<Vec<(TopicName, Retain)>> {
        self.tree.get_message(filter).await
    }

    async fn count(&self) -> isize {
        RetainStorage::count(&self.tree).await
    }

    async fn max(&self) -> isize {
        RetainStorage::max(&self.tree).await
    }
}

fn kept(topic: &TopicName, retain: &Retain, expiry: Option<Duration>) -> Kept {
    let properties = retain.publish.properties.clone().unwrap_or_default();
    let seconds = |left: Duration| i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
    Kept {
        topic: topic.to_string(),
        payload: retain.publish.payload.to_vec(),
        qos: retain.publish.qos.value(),
        is_text: properties.is_utf8_payload,
        content_type: properties.content_type.map(|text| text.to_string()),
        response_topic: properties.response_topic.map(|text| text.to_string()),
        correlation: properties.correlation_data.map(|bytes| bytes.to_vec()),
        expires: expiry.map(|left| now().saturating_add(seconds(left))),
    }
}

fn retain(kept: Kept) -> Retain {
    let properties = PublishProperties {
        is_utf8_payload: kept.is_text,
        content_type: kept.content_type.map(Into::into),
        response_topic: kept.response_topic.map(Into::into),
        correlation_data: kept.correlation.map(Into::into),
        ..PublishProperties::default()
    };
    let packet = Packet {
        dup: false,
        retain: true,
        qos: QoS::try_from(kept.qos).unwrap_or(QoS::AtMostOnce),
        topic: kept.topic.into(),
        packet_id: None,
        payload: kept.payload.into(),
        properties: Some(properties),
    };
    let publish = Publish::from(packet).create_time(now().saturating_mul(1_000));
    Retain { msg_id: None, from: From::from_system(Id::from(1, "retained".into())), publish }
}

fn all(connection: &Connection) -> rusqlite::Result<Vec<Kept>> {
    let mut statement = connection.prepare(
        "SELECT topic, payload, qos, is_text, content_type, response_topic, correlation, expires
         FROM retained",
    )?;
    let kept = |row: &Row<'_>| {
        Ok(Kept {
            topic: row.get(0)?,
            payload: row.get(1)?,
            qos: row.get(2)?,
            is_text: row.get(3)?,
            content_type: row.get(4)?,
            response_topic: row.get(5)?,
            correlation: row.get(6)?,
            expires: row.get(7)?,
        })
    };
    statement.query_map([], kept)?.collect()
}

/// The thread that writes, until there is nobody left who could ask it to.
fn write(mut connection: Connection, work: &mpsc::Receiver<(Kept, oneshot::Sender<()>)>) {
    while let Ok(first) = work.recv() {
        let mut group = vec![first];
        group.extend(work.try_iter().take(GROUP - 1));
        if let Err(error) = transact(&mut connection, &group) {
            tracing::error!(%error, "cannot write retained messages");
        }
        for (_, done) in group {
            let _ = done.send(());
        }
    }
}

fn transact(
    connection: &mut Connection,
    group: &[(Kept, oneshot::Sender<()>)],
) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for (kept, _) in group {
        if kept.payload.is_empty() {
            let mut delete = transaction.prepare_cached("DELETE FROM retained WHERE topic = ?1")?;
            delete.execute([&kept.topic])?;
            continue;
        }
        let mut insert = transaction.prepare_cached(
            "INSERT OR REPLACE INTO retained (topic, payload, qos, is_text, content_type,
             response_topic, correlation, expires) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?;
        insert.execute((
            &kept.topic,
            &kept.payload,
            kept.qos,
            kept.is_text,
            &kept.content_type,
            &kept.response_topic,
            &kept.correlation,
            kept.expires,
        ))?;
    }
    transaction.commit()
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
