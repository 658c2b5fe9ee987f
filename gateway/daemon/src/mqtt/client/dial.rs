//! From an address to a broker that has said hello.

use super::connection::{Connection, Stream};
use super::{ConnectReturnCode, Packet, Server, limits};
use rumqttc::tokio_rustls::TlsConnector;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;

/// Dials, says `hello`, and waits for the broker's answer, all of it not longer than [`limits::DIAL`].
///
/// # Errors
/// Why there is no line, for the log.
pub(super) async fn dial(server: Server, hello: Packet) -> Result<Connection, String> {
    let greeted = async {
        let stream = connect(&server).await?;
        let mut connection = Connection::new(stream);
        connection.put(&hello);
        loop {
            match connection.next().await? {
                Some(Packet::ConnAck(answer)) => {
                    if answer.code != ConnectReturnCode::Success {
                        return Err(format!("the broker says {:?}", answer.code));
                    }
                    connection.greeted(answer.properties.as_ref());
                    return Ok(connection);
                }
                None => {}
                Some(_) => return Err("that is not an MQTT broker".to_owned()),
            }
        }
    };
    let late = |_| format!("no answer in {} seconds", limits::DIAL.as_secs());
    tokio::time::timeout(limits::DIAL, greeted).await.map_err(late)?
}

async fn connect(server: &Server) -> Result<Box<dyn Stream>, String> {
    let (host, port) = (server.host.as_str(), server.port);
    let text = |error: std::io::Error| error.to_string();
    let stream = TcpStream::connect(format!("{host}:{port}")).await.map_err(text)?;
    stream.set_nodelay(true).map_err(text)?;
    let Some(tls) = &server.tls else { return Ok(Box::new(stream)) };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let name = ServerName::try_from(bare).map_err(|error| error.to_string())?.to_owned();
    let stream = TlsConnector::from(tls.clone()).connect(name, stream).await.map_err(text)?;
    Ok(Box::new(stream))
}
