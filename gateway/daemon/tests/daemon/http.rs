//! The API over real connections, by the typed client and by hand; the gateway behind it is played.

use capmesh_client::api::{
    Adopt, Answer, Deploy, Done, Event, InstanceRef, MqttView, NodeView, PlanView, Refusal,
    RefusalCode, Request, SiteView,
};
use capmesh_client::{Client, Error};
use capmesh_gatewayd::calls::Calls;
use capmesh_gatewayd::config::Secret;
use capmesh_gatewayd::events::Events;
use capmesh_gatewayd::http::{Parts, Server};
use capmesh_gatewayd::storage::Storage;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const SITE: &str = r#"{"site":"garden","gateway":"gateway","gateway_id":"AAAAAAAAAAAAA","version":"0.1.0",
    "uptime_ms":1500,"has_site_key":true,"roster":3,"plan":2,"nodes":1,"online":1,"pipelines":0,
    "instances":0,"running":0,"mqtt":{"connected":true,"waiting":0,"most":100,"published":7,
    "superseded":0,"lost":0,"held_off":0,"taken":0,"refused":0}}"#;

/// An API whose gateway answers what a test says, and notes what it was asked.
struct Played {
    server: Server,
    events: Events,
    asked: Arc<Mutex<Vec<Request>>>,
    gateway: tokio::task::JoinHandle<()>,
    _directory: tempfile::TempDir,
}

fn site() -> SiteView {
    let mut json: serde_json::Value = serde_json::from_str(SITE).unwrap();
    let id = capmesh_wire::NodeId::from_bytes([7; 8]);
    json["gateway_id"] = id.to_string().into();
    serde_json::from_value(json).unwrap()
}

fn usual(request: &Request) -> Result<Answer, Refusal> {
    Ok(match request {
        Request::Site => Answer::Site(Box::new(site())),
        Request::Nodes => Answer::Nodes(Vec::new()),
        Request::Instances(_) => Answer::Instances(Vec::new()),
        Request::Pipelines => Answer::Pipelines(Vec::new()),
        Request::Topics => Answer::Topics(Vec::new()),
        Request::Migrations => Answer::Migrations(Vec::new()),
        Request::Log(_) => Answer::Log(Vec::new()),
        Request::Plan => {
            Answer::Plan(PlanView { revision: 2, rows: Vec::new(), cost: 0, optimal: true })
        }
        Request::Drain(on) if on.node == "n9" => {
            let refusal = Refusal::new(RefusalCode::UnknownNode, "no node is called n9");
            return Err(refusal.because("the site has n1").help("`capmesh node ls` lists them"));
        }
        _ => Answer::Done(Done { message: "done".to_owned() }),
    })
}

impl Played {
    async fn start(token: Option<&str>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let outbox = Storage::open(directory.path()).unwrap().outbox;
        let (calls, mut receiver) = Calls::new();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&asked);
        let gateway = tokio::spawn(async move {
            while let Some(call) = receiver.recv().await {
                let answer = usual(&call.request);
                notes.lock().unwrap().push(call.request);
                let _ = call.answer.send(answer);
            }
        });
        let events = Events::new();
        tokio::spawn(events.clone().run());
        let parts = Parts {
            calls,
            events: events.clone(),
            outbox,
            token: token.map(Secret::new),
            has_broker: true,
        };
        let server = Server::start(SocketAddr::from(([127, 0, 0, 1], 0)), parts).await.unwrap();
        Self { server, events, asked, gateway, _directory: directory }
    }

    fn client(&self, token: Option<&str>) -> Client {
        Client::new(&format!("http://{}", self.server.address()), token).unwrap()
    }

    fn last(&self) -> Request {
        self.asked.lock().unwrap().last().unwrap().clone()
    }

    /// Sends a request as it is; gives status and body.
    async fn raw(&self, head: &str, body: &str) -> (u16, String) {
        let text = self.exchange(head, body).await;
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
        let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
        (status.unwrap_or_default(), body.unwrap_or_default())
    }

    /// Sends a request as it is; gives the response as it is.
    async fn exchange(&self, head: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(self.server.address()).await.unwrap();
        let length = body.len();
        let host = if head.contains("Host:") { "" } else { "Host: localhost\r\n" };
        let (first, more) = head.split_once('\n').unwrap_or((head, ""));
        let request = format!(
            "{first} HTTP/1.1\r\n{host}Connection: close\r\nContent-Length: {length}\r\n{more}\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text).await;
        text
    }
}

#[tokio::test]
async fn the_client_asks_and_is_answered() {
    let played = Played::start(None).await;
    let client = played.client(None);
    assert_eq!(client.site().await.unwrap(), site());
    assert_eq!(client.nodes().await.unwrap(), Vec::<NodeView>::new());
    assert_eq!(client.plan().await.unwrap().revision, 2);
    assert_eq!(client.undeploy("city").await.unwrap().message, "done");
    assert!(matches!(played.last(), Request::Undeploy(on) if on.pipeline == "city"));
    let another = client.deploy(Deploy { text: String::new(), file: None, dry_run: true }).await;
    assert!(another.unwrap_err().to_string().contains("not understood"));
}

#[tokio::test]
async fn a_refusal_comes_with_code_cause_and_what_to_do() {
    let played = Played::start(None).await;
    let error = played.client(None).drain("n9").await.unwrap_err();
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        ("unknown-node", "no node is called n9")
    );
    assert_eq!(error.causes(), ["the site has n1"]);
    assert_eq!(error.help(), Some("`capmesh node ls` lists them"));
    assert!(!error.is_worth_retrying());
    // What breaks a grammar does not get as far as the gateway.
    let error = played.client(None).drain("N 9").await.unwrap_err();
    assert_eq!(error.code(), "malformed");
}

#[tokio::test]
async fn who_is_not_there_is_named() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = Client::new(&format!("http://{free}"), None).unwrap();
    let error = client.site().await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }));
    assert!(error.to_string().contains(&free.to_string()) && error.help().is_some());
    // The gateway has ended, the server has not.
    let played = Played::start(None).await;
    played.gateway.abort();
    let error = played.client(None).site().await.unwrap_err();
    assert!(error.is_worth_retrying(), "{error:?}");
    assert_eq!(played.raw("GET /healthz", "").await.0, 503);
}

#[tokio::test]
async fn paths_say_the_same_as_requests() {
    let played = Played::start(None).await;
    let instance = |text: &str| text.parse::<InstanceRef>().unwrap();
    let (status, body) = played.raw("GET /api/v1/nodes", "").await;
    assert_eq!((status, body.as_str()), (200, r#"{"nodes":[]}"#));

    assert_eq!(played.raw("GET /api/v1/instances?node=n1", "").await.0, 200);
    assert!(
        matches!(played.last(), Request::Instances(which) if which.node.as_deref() == Some("n1"))
    );
    assert_eq!(played.raw("GET /api/v1/log?lines=5&level=warning", "").await.0, 200);
    assert!(matches!(played.last(), Request::Log(query) if query.lines == Some(5)));

    let toml = "[pipeline]\nname = \"a\"\n";
    let (status, _) = played.raw("POST /api/v1/pipelines?dry_run=true&file=a.toml", toml).await;
    assert_eq!(status, 200);
    let Request::Deploy(deploy) = played.last() else { panic!() };
    assert_eq!((deploy.text.as_str(), deploy.dry_run), (toml, true));
    assert_eq!(deploy.file.as_deref(), Some("a.toml"));

    let (status, _) =
        played.raw("POST /api/v1/instances/city%2Fclean%2F0/migrate", r#"{"to":"n2"}"#).await;
    assert_eq!(status, 200);
    let Request::Migrate(migrate) = played.last() else { panic!() };
    assert_eq!((migrate.instance, migrate.to.as_str()), (instance("city/clean/0"), "n2"));

    assert_eq!(played.raw("POST /api/v1/nodes/n1/drain", "").await.0, 200);
    assert!(matches!(played.last(), Request::Drain(on) if on.node == "n1"));
    assert_eq!(played.raw("DELETE /api/v1/pipelines/city", "").await.0, 200);
    assert!(matches!(played.last(), Request::Undeploy(_)));
}

#[tokio::test]
async fn what_is_wrong_is_refused_as_json() {
    let played = Played::start(None).await;
    let long = "x".repeat(capmesh_client::api::limits::REQUEST + 1);
    for (head, body, status, code) in [
        ("POST /api/v1/requests", "{", 400, "malformed"),
        ("POST /api/v1/requests", r#"{"op":"drain","nod":"n1"}"#, 400, "malformed"),
        ("GET /api/v1/log?lines=a", "", 400, "malformed"),
        ("GET /api/v1/nothing", "", 404, "not-found"),
        ("POST /api/v1/nodes/n1/explode", "", 404, "not-found"),
        ("GET /nothing.js", "", 404, "not-found"),
        ("POST /api/v1/nodes/n9/drain", "", 404, "unknown-node"),
        ("POST /api/v1/pipelines", &long, 413, "too-large"),
    ] {
        let (got, text) = played.raw(head, body).await;
        let refusal: Refusal =
            serde_json::from_str(&text).unwrap_or_else(|_| panic!("{head}: {text}"));
        assert_eq!((got, refusal.code.name()), (status, code), "{head}: {text}");
    }
}

#[tokio::test]
async fn the_page_is_served_and_may_load_nothing_from_elsewhere() {
    let played = Played::start(Some("hush")).await;
    let (status, page) = played.raw("GET /", "").await;
    assert_eq!(status, 200);
    let script = page.split('"').find(|part| part.ends_with(".js")).unwrap();
    let script = script.trim_start_matches("./").trim_start_matches('/');
    assert_eq!(played.raw(&format!("GET /{script}"), "").await.0, 200);
    let head = played.exchange("GET /", "").await;
    assert!(head.contains("content-security-policy: default-src 'self'"), "{head}");
}

#[tokio::test]
async fn only_who_knows_the_token_gets_in() {
    let played = Played::start(Some("hush")).await;
    for token in [None, Some("another")] {
        let client = played.client(token);
        assert_eq!(client.site().await.unwrap_err().code(), "unauthenticated");
        assert_eq!(client.events().await.unwrap_err().code(), "unauthenticated");
    }
    assert!(played.asked.lock().unwrap().is_empty());
    played.client(Some("hush")).site().await.unwrap();
    played.client(Some("hush")).events().await.unwrap();
    assert_eq!(played.raw("GET /metrics", "").await.0, 401);
    assert_eq!(played.raw("GET /api/v1/site?access_token=hush", "").await.0, 401);
    assert_eq!(played.raw("GET /healthz", "").await.0, 200);
}

#[tokio::test]
async fn pages_of_others_cannot_use_a_browser_of_this_machine() {
    let played = Played::start(None).await;
    let (status, text) = played.raw("GET /api/v1/site\nHost: evil.example:8080\r\n", "").await;
    assert_eq!(status, 403, "{text}");
    let head = "POST /api/v1/nodes/n1/drain\nOrigin: http://evil.example\r\n";
    assert_eq!(played.raw(head, "").await.0, 403);
    assert!(played.asked.lock().unwrap().is_empty());
    let head = "POST /api/v1/nodes/n1/drain\nOrigin: http://localhost\r\n";
    assert_eq!(played.raw(head, "").await.0, 200);
    for host in ["127.0.0.1:1", "[::1]:8080", "localhost:9"] {
        let head = format!("GET /api/v1/site\nHost: {host}\r\n");
        assert_eq!(played.raw(&head, "").await.0, 200, "{host}");
    }
}

#[tokio::test]
async fn events_begin_with_what_there_is() {
    let played = Played::start(None).await;
    let mut events = played.client(None).events().await.unwrap();
    assert_eq!(events.next().await.unwrap(), Some(Event::Mqtt(site().mqtt)));
    assert!(matches!(events.next().await.unwrap(), Some(Event::Plan(_))));
    let changed = MqttView { published: 8, ..site().mqtt };
    played.events.push(Event::Mqtt(MqttView { published: 1, ..changed }));
    played.events.push(Event::Mqtt(changed));
    assert_eq!(events.next().await.unwrap(), Some(Event::Mqtt(changed)));
    played.server.close().await;
    assert_eq!(events.next().await.unwrap(), None, "the end of the server ends the stream");
}

#[tokio::test]
async fn watchers_are_bounded() {
    let played = Played::start(None).await;
    let client = played.client(None);
    let mut watchers = Vec::new();
    let refused = loop {
        match client.events().await {
            Ok(events) => watchers.push(events),
            Err(error) => break error,
        }
        assert!(watchers.len() <= 64);
    };
    assert_eq!((refused.code(), refused.is_worth_retrying()), ("busy", true));
    // Who has gone makes room.
    watchers.clear();
    let again = async {
        while client.events().await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), again).await.unwrap();
}

#[tokio::test]
async fn it_says_how_it_is() {
    let played = Played::start(None).await;
    assert_eq!(played.raw("GET /healthz", "").await, (200, "ok\n".to_owned()));
    assert_eq!(played.raw("GET /readyz", "").await, (200, "ready\n".to_owned()));
    let (status, text) = played.raw("GET /metrics", "").await;
    assert_eq!(status, 200);
    assert!(
        text.contains("capmesh_nodes_online 1") && text.contains("# HELP capmesh_nodes "),
        "{text}"
    );
}

#[tokio::test]
async fn a_node_is_adopted_by_its_claim() {
    let played = Played::start(None).await;
    let claim = capmesh_wire::Claim::of_key(&[1; 32]);
    let adopt = Adopt {
        claim,
        address: SocketAddr::from(([127, 0, 0, 1], 5683)),
        name: "n1".to_owned(),
        labels: Vec::new(),
    };
    let json = serde_json::to_string(&adopt).unwrap();
    assert_eq!(played.raw("POST /api/v1/nodes", &json).await.0, 200);
    assert_eq!(played.last(), Request::Adopt(adopt));
}
