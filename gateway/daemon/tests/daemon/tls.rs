//! Encrypted lines to a broker of another maker, which asks who the gateway is.

use crate::common::{PATIENCE, Pump, has_mosquitto, is_there, port, publication};
use capmesh_gatewayd::config::{Mqtt, Target};
use capmesh_gatewayd::mqtt::Server;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// A certificate and its key, as PEM.
struct Pair {
    certificate: PathBuf,
    key: PathBuf,
}

/// Makes a certificate: an authority's own if nobody signs it.
fn make(directory: &Path, name: &str, by: Option<&Pair>) -> Pair {
    let file = |end: &str| directory.join(format!("{name}.{end}"));
    let pair = Pair { certificate: file("pem"), key: file("key") };
    let mut command = Command::new("openssl");
    command
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-days", "2", "-subj", &format!("/CN={name}")])
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .arg("-keyout")
        .arg(&pair.key)
        .arg("-out")
        .arg(&pair.certificate);
    if let Some(by) = by {
        command.arg("-CA").arg(&by.certificate).arg("-CAkey").arg(&by.key);
        command.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    pair
}

/// Mosquitto, which speaks TLS only and wants to see a certificate of `authority`'s.
struct Broker {
    child: Child,
    said: std::sync::mpsc::Receiver<String>,
}

impl Broker {
    fn start(directory: &Path, port: u16, own: &Pair, authority: &Pair) -> Self {
        let config = directory.join("tls.conf");
        // Started by root, it would become somebody who cannot read the key.
        let text = format!(
            "user root\nlistener {port} 127.0.0.1\nallow_anonymous true\nrequire_certificate true\n\
             cafile {}\ncertfile {}\nkeyfile {}\n",
            authority.certificate.display(),
            own.certificate.display(),
            own.key.display(),
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(&config).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let (sender, said) = std::sync::mpsc::channel();
        std::thread::spawn(move || lines.for_each(|line| drop(sender.send(line))));
        let broker = Self { child, said };
        broker.wait_said("running");
        broker
    }

    fn wait_said(&self, words: &str) {
        let begun = Instant::now();
        loop {
            let left = PATIENCE.saturating_sub(begun.elapsed());
            let line = self.said.recv_timeout(left).unwrap_or_else(|_| panic!("no {words:?}"));
            if line.contains(words) {
                return;
            }
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn server(port: u16, authority: &Pair, own: &Pair) -> Server {
    let config = Mqtt {
        broker: Target::try_from(format!("mqtts://127.0.0.1:{port}")).unwrap(),
        ca: Some(authority.certificate.clone()),
        certificate: Some(own.certificate.clone()),
        key: Some(own.key.clone()),
        ..Mqtt::default()
    };
    Server::external(&config).unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encrypted_line_stands_between_those_who_trust_each_other_only() {
    if !has_mosquitto() || !is_there("OpenSSL", "openssl", "apt-get install openssl") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    let authority = make(place, "authority", None);
    let own = make(place, "broker", Some(&authority));
    let gateway = make(place, "gateway", Some(&authority));
    let (stranger, port) = (make(place, "stranger", None), port());
    let broker = Broker::start(place, port, &own, &authority);

    let state = |name: &str| {
        let path = place.join(name);
        std::fs::create_dir(&path).unwrap();
        path
    };
    let mut pump = Pump::start(&state("good"), &server(port, &authority, &gateway));
    pump.wait_up(true).await;
    pump.commit(vec![publication("test/tls", "1", false)]).await;
    pump.wait_empty().await;

    // A broker of somebody's whom the gateway does not trust, and the other way round.
    for (name, server, refusal) in [
        ("wary", server(port, &stranger, &gateway), "unknown ca"),
        (
            "unknown",
            server(port, &authority, &make(place, "other", Some(&stranger))),
            "verify failed",
        ),
    ] {
        let mut pump = Pump::start(&state(name), &server);
        pump.commit(vec![publication("test/tls", "2", false)]).await;
        broker.wait_said(refusal);
        assert_eq!(pump.opened.outbox.waiting(), 1, "{name}: nothing is said to it");
        pump.task.abort();
    }
}
