use super::*;
use bytes::BytesMut;
use rumqttc::v5::mqttbytes::Error;
use rumqttc::v5::mqttbytes::v5::{ConnAck, ConnAckProperties};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A broker that does what a test wants.
struct Broker {
    stream: TcpStream,
    read: BytesMut,
}

impl Broker {
    async fn packet(&mut self) -> Packet {
        loop {
            match Packet::read(&mut self.read, None) {
                Ok(packet) => return packet,
                // A goodbye has nothing behind its head, which rumqttc writes and does not read.
                Err(Error::PayloadRequired) => {
                    return Packet::Disconnect(Disconnect::new(
                        DisconnectReasonCode::NormalDisconnection,
                    ));
                }
                Err(_) => {}
            }
            assert_ne!(self.stream.read_buf(&mut self.read).await.unwrap(), 0, "it has ended");
        }
    }

    async fn send(&mut self, packet: Packet) {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, None).unwrap();
        self.stream.write_all(&bytes).await.unwrap();
    }
}

fn publication(payload: &[u8]) -> Publication {
    Publication { topic: "t".to_owned(), payload: payload.to_vec(), ..Publication::default() }
}

/// A line that is up, its broker, and where what comes goes.
async fn line(
    receive_max: Option<u16>,
    longest: Option<u32>,
) -> (ClientLine, Broker, mpsc::Receiver<Incoming>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = Server { host: "127.0.0.1".to_owned(), port, credentials: None, tls: None };
    let (sender, incoming) = mpsc::channel(1);
    let mut line = Client::new(&server, "me", &publication(b"gone"), sender).dial();
    let answer = async {
        let stream = listener.accept().await.unwrap().0;
        let mut broker = Broker { stream, read: BytesMut::new() };
        assert!(matches!(broker.packet().await, Packet::Connect(_, Some(_), None)));
        let properties =
            ConnAckProperties { receive_max, max_packet_size: longest, ..properties_of_none() };
        let code = ConnectReturnCode::Success;
        let properties = Some(properties);
        broker.send(Packet::ConnAck(ConnAck { session_present: false, code, properties })).await;
        broker
    };
    let (up, broker) = tokio::join!(line.happening(), answer);
    let window = receive_max.unwrap_or(limits::WINDOW);
    assert_eq!(up, Happening::Up { window });
    (line, broker, incoming)
}

const fn properties_of_none() -> ConnAckProperties {
    ConnAckProperties {
        session_expiry_interval: None,
        receive_max: None,
        max_qos: None,
        retain_available: None,
        max_packet_size: None,
        assigned_client_identifier: None,
        topic_alias_max: None,
        reason_string: None,
        user_properties: Vec::new(),
        wildcard_subscription_available: None,
        subscription_identifiers_available: None,
        shared_subscription_available: None,
        server_keep_alive: None,
        response_information: None,
        server_reference: None,
        authentication_method: None,
        authentication_data: None,
    }
}

#[test]
fn a_packet_identifier_stands_for_the_newest_tag_that_has_it() {
    for last in [0_u64, 1, 1_023, 32_767, 32_768, 40_000, 65_536, 1 << 40] {
        for tag in last.saturating_sub(u64::from(limits::WINDOW))..=last {
            assert!((1..=PUBLISHED).contains(&packet_of(tag)));
            assert_eq!(tag_of(packet_of(tag), last), Some(tag), "{last}");
        }
    }
    // Identifiers that no publication has, or none yet.
    assert_eq!((tag_of(0, 9), tag_of(PUBLISHED + 1, 99_999), tag_of(100, 9)), (None, None, None));
}

#[tokio::test]
async fn publications_are_acknowledged_by_their_tags() {
    let (mut line, mut broker, _incoming) = line(Some(20), None).await;
    assert!(line.publish(&publication(b"volatile"), None));
    for tag in 0..3 {
        assert!(line.publish(&publication(&[b'0' + u8::try_from(tag).unwrap()]), Some(tag)));
    }
    let answer = async {
        assert!(matches!(broker.packet().await, Packet::Publish(p) if p.qos == QoS::AtMostOnce));
        for _ in 0..3 {
            let Packet::Publish(publish) = broker.packet().await else { panic!() };
            let mut ack = PubAck::new(publish.pkid, None);
            if publish.payload == "1" {
                ack.reason = PubAckReason::QuotaExceeded;
            }
            broker.send(Packet::PubAck(ack)).await;
        }
    };
    let hear = async {
        for expected in 0..3 {
            let Happening::Acknowledged { tag, refused } = line.happening().await else { panic!() };
            assert_eq!((tag, refused.is_some()), (expected, expected == 1));
        }
    };
    tokio::join!(answer, hear);
}

#[tokio::test]
async fn a_buffer_that_is_full_says_so_and_when_there_is_room_again() {
    let (mut line, mut broker, _incoming) = line(None, None).await;
    let large = publication(&[b'x'; 100_000]);
    let mut count = 0;
    while line.publish(&large, None) {
        count += 1;
        assert!(count < 100, "it is bounded");
    }
    let read = async {
        for _ in 0..count {
            assert!(matches!(broker.packet().await, Packet::Publish(_)));
        }
    };
    let (happening, ()) = tokio::join!(line.happening(), read);
    assert_eq!(happening, Happening::Sent);
    assert!(line.publish(&large, None));
}

#[tokio::test]
async fn what_is_longer_than_the_broker_takes_counts_as_refused() {
    let (mut line, mut broker, _incoming) = line(None, Some(100)).await;
    assert!(line.publish(&publication(&[b'x'; 200]), Some(0)));
    assert!(line.publish(&publication(b"short"), Some(1)));
    let refused = line.happening().await;
    assert!(matches!(refused, Happening::Acknowledged { tag: 0, refused: Some(_) }), "{refused:?}");
    let answer = async {
        let Packet::Publish(publish) = broker.packet().await else { panic!() };
        assert_eq!(publish.payload, "short");
        broker.send(Packet::PubAck(PubAck::new(publish.pkid, None))).await;
    };
    let (taken, ()) = tokio::join!(line.happening(), answer);
    assert_eq!(taken, Happening::Acknowledged { tag: 1, refused: None });
}

#[tokio::test]
async fn what_comes_is_acknowledged_once_the_gateway_has_taken_it() {
    let (mut line, mut broker, mut incoming) = line(None, None).await;
    for packet in 1..=2 {
        let mut publish = Publish::new("set", QoS::AtLeastOnce, vec![packet], None);
        publish.pkid = packet.into();
        broker.send(Packet::Publish(publish)).await;
    }
    let take = async {
        // There is room for one: the other is not acknowledged before that one is taken.
        assert!(matches!(broker.packet().await, Packet::PubAck(ack) if ack.pkid == 1));
        assert_eq!(incoming.recv().await.unwrap().payload, [1][..]);
        assert!(matches!(broker.packet().await, Packet::PubAck(ack) if ack.pkid == 2));
        assert_eq!(incoming.recv().await.unwrap().payload, [2][..]);
        drop(broker);
    };
    let (happening, ()) = tokio::join!(line.happening(), take);
    assert!(matches!(happening, Happening::Ended(_)), "{happening:?}");
}

#[tokio::test]
async fn goodbye_is_said_before_the_end() {
    let (mut line, mut broker, _incoming) = line(None, None).await;
    assert!(line.publish(&publication(b"last"), None));
    line.close();
    assert!(!line.publish(&publication(b"too late"), None));
    let hear = async {
        assert!(matches!(broker.packet().await, Packet::Publish(_)));
        assert!(matches!(broker.packet().await, Packet::Disconnect(_)));
    };
    let (happening, ()) = tokio::join!(line.happening(), hear);
    assert_eq!(happening, Happening::Ended("goodbye".to_owned()));
}
