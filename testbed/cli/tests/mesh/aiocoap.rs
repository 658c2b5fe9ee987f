//! aiocoap as the operator's client: a CoAP library of others that knows nothing of capsules.

use crate::controller::{At, Client};
use crate::machine::Place;
use capmesh::operator::Response;
use capmesh::site::Site;
use capmesh_coap::Code;
use capmesh_interop::peers::{Aiocoap, Driver};
use serde_json::json;
use std::time::Duration;

pub(crate) struct Outsider(Driver);

impl Outsider {
    /// Starts it with the key of `member`; `None` where it is not installed.
    pub(crate) fn start(place: &Place, site: &Site, member: &str) -> Option<Self> {
        let aiocoap = Aiocoap::find()?;
        let file = capmesh::aiocoap::export(site, member, &place.join("aiocoap")).unwrap();
        Some(Self(aiocoap.drive(Some(&file)).unwrap()))
    }
}

impl Client for Outsider {
    fn ask(
        &mut self,
        node: At,
        code: Code,
        path: &str,
        body: Option<(u16, &[u8])>,
    ) -> Result<Response, String> {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let method = match code {
            Code::GET => "GET",
            Code::PUT => "PUT",
            Code::POST => "POST",
            other => panic!("{other} is not used here"),
        };
        let uri = format!("coap://{}/{path}", node.address);
        let mut command = json!({ "do": "request", "code": method, "uri": uri });
        if let Some((format, body)) = body {
            command["payload"] = json!(hex(body));
            command["options"] = json!({ "content_format": format });
        }
        let reply = self.0.tell(&command).map_err(|error| error.to_string())?;
        let dotted = reply.code();
        let code = dotted.split_once('.').and_then(|(class, detail)| {
            let (class, detail): (u8, u8) = (class.parse().ok()?, detail.parse().ok()?);
            Some(Code(class << 5 | detail))
        });
        Ok(Response { code: code.ok_or(dotted)?, body: reply.payload() })
    }

    fn pause(&mut self, time: Duration) {
        std::thread::sleep(time);
    }
}
