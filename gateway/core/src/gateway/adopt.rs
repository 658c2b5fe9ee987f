//! Taking nodes into the site.

use super::{Gateway, Purpose};
use crate::api::{self, Refusal, RefusalCode};
use crate::asks::{Answer, Request};
use crate::io::RequestId;
use crate::members::{Adoption, MembersError, Stage};
use crate::nodes::{Node, Record};
use capmesh_session::Peer;
use capmesh_wire::control::{Adopt, Command};
use capmesh_wire::{Bytes, Credential, ErrorCode, Instant, NodeId, Role, paths};
use core::time::Duration;

/// Adoptions at one time.
const ADOPTIONS: usize = 32;

/// How long a node may take: less than who asks waits for an answer, over HTTP 45 s.
const PATIENCE: Duration = Duration::from_secs(40);

/// How often it is looked whether a node has opened a session.
const LOOK: Duration = Duration::from_millis(20);

/// How often a node is asked that does not answer.
const AGAIN: Duration = Duration::from_millis(500);

impl Gateway {
    pub(super) fn begin_adoption(&mut self, now: Instant, request: RequestId, adopt: &api::Adopt) {
        let refused = self.may_adopt(adopt);
        if let Some(refusal) = refused {
            self.answer(request, Err(refusal));
            return;
        }
        self.adoptions.push(Adoption {
            request,
            claim: adopt.claim,
            address: adopt.address,
            name: adopt.name.clone(),
            labels: adopt.labels.clone(),
            stage: Stage::Claim,
            is_member: self.members.role(adopt.claim.node()) == Some(Role::Node),
            until: now + PATIENCE,
            ask_at: Some(now),
            refusal: None,
        });
    }

    fn may_adopt(&self, adopt: &api::Adopt) -> Option<Refusal> {
        let id = adopt.claim.node();
        if !self.members.has_key() {
            let help = "give the gateway the site's key, or adopt the node where the key is";
            return Some(refusal(MembersError::NoSiteKey).help(help));
        }
        if self.adoptions.len() >= ADOPTIONS {
            let said = "too many nodes are being adopted";
            return Some(Refusal::new(RefusalCode::Busy, said).retry_in(1_000));
        }
        if self.adoptions.iter().any(|adoption| adoption.node() == id) {
            return Some(Refusal::new(RefusalCode::Underway, "the node is being adopted already"));
        }
        let taken = self.nodes.iter().find(|node| node.record.name == adopt.name && node.id != id);
        taken.map(|taken| {
            let message = format!("{} is the name of {} already", adopt.name, taken.id);
            Refusal::new(RefusalCode::Conflict, message)
        })
    }

    pub(super) fn adoptions_timeout(&self) -> Option<Instant> {
        self.adoptions.iter().flat_map(|a| [Some(a.until), a.ask_at]).flatten().min()
    }

    pub(super) fn advance_adoptions(&mut self, now: Instant) {
        let mut at = 0;
        while let Some(adoption) = self.adoptions.get_mut(at) {
            if adoption.until <= now {
                let adoption = self.adoptions.remove(at);
                self.answer(adoption.request, Err(too_late(&adoption)));
                continue;
            }
            at += 1;
            if adoption.ask_at.is_none_or(|due| due > now) {
                continue;
            }
            let (id, to) = (adoption.node(), Peer::Anonymous(adoption.address));
            let (stage, claim) = (adoption.stage, adoption.claim);
            let asked = match stage {
                Stage::Greet if self.nodes.get(id).is_some_and(Node::is_up) => {
                    at -= 1;
                    self.adopted(now, id);
                    continue;
                }
                Stage::Greet => {
                    adoption.ask_at = Some(now + LOOK);
                    continue;
                }
                Stage::Claim => {
                    let mut request = Request::get(paths::CREDENTIAL);
                    request.query = Some(format!("c={claim}"));
                    Some((request, Purpose::Claim(id)))
                }
                Stage::Enrol(_) if !self.store.is_durable(self.members.token()) => {
                    adoption.ask_at = Some(now + Duration::from_millis(5));
                    continue;
                }
                Stage::Enrol(_) => {
                    let blob = self.offers.add(self.members.bytes(), true);
                    adoption.ask_at = Some(now);
                    if let Some(blob) = blob {
                        adoption.stage = Stage::Tell(id, blob);
                    }
                    at -= 1;
                    continue;
                }
                Stage::Tell(_, roster) => self.members.credential().ok().and_then(|site| {
                    let site = Bytes::new(&site)?;
                    let adopt = Adopt { site, roster, claim: Some(claim) };
                    let request = super::attend::command(&Command::Adopt(adopt))?;
                    Some((request, Purpose::Tell(id)))
                }),
            };
            let Some((request, purpose)) = asked else { continue };
            let sent = self.asks.send(now, &mut *self.link, to, request, purpose);
            if let Some(adoption) = self.adoptions.get_mut(at - 1) {
                adoption.ask_at = sent.is_err().then_some(now + AGAIN);
            }
        }
    }

    fn adoption(&mut self, id: NodeId) -> Option<&mut Adoption> {
        self.adoptions.iter_mut().find(|adoption| adoption.node() == id)
    }

    fn end_adoption(&mut self, id: NodeId, result: Result<api::Answer, Refusal>) {
        let Some(at) = self.adoptions.iter().position(|adoption| adoption.node() == id) else {
            return;
        };
        let adoption = self.adoptions.remove(at);
        if let Stage::Tell(_, blob) = adoption.stage {
            self.offers.remove(&blob.digest);
        }
        self.answer(adoption.request, result);
    }

    fn adopted(&mut self, now: Instant, id: NodeId) {
        let view = self.node_view(now, id).map(|view| api::Answer::Node(Box::new(view)));
        let done = view.unwrap_or_else(|| api::Answer::done("the node belongs to the site now"));
        self.end_adoption(id, Ok(done));
        self.nodes.touch(now, id);
        self.node_changed(now, id);
    }

    /// A node has shown its credential, or not.
    pub(super) fn claim_answered(&mut self, now: Instant, id: NodeId, answer: &Answer) {
        let Some(adoption) = self.adoption(id) else { return };
        if answer.code.is_none() {
            adoption.ask_at = Some(now + AGAIN);
            return;
        }
        let (claim, address) = (adoption.claim, adoption.address);
        let credential = Credential::parse(&answer.body).ok().filter(|_| answer.is_success());
        let shown = credential.filter(|credential| credential.public_key().claim() == claim);
        let Some(credential) = shown else {
            let message =
                format!("the node at {address} is not the one that has printed this claim");
            let help =
                "compare the claim with what the node prints, and the address with where it is";
            let refusal = Refusal::new(RefusalCode::ClaimMismatch, message).help(help);
            self.end_adoption(id, Err(refusal));
            return;
        };
        let unix = self.unix_millis(now).unwrap_or_default() / 1_000;
        if let Err(error) = self.members.enrol(&mut self.store, unix, credential, Role::Node) {
            self.end_adoption(id, Err(refusal(error)));
            return;
        }
        let Some(adoption) = self.adoption(id) else { return };
        adoption.stage = Stage::Enrol(id);
        adoption.ask_at = Some(now);
        let record = Record {
            name: adoption.name.clone(),
            address: Some(address.to_string()),
            labels: adoption.labels.clone(),
            draining: false,
        };
        // Its session, if there is one, goes with it to where it is now.
        self.link.relocate(id, address);
        if self.nodes.keep(now, &mut self.store, id, record).is_none() {
            let said = "the site has as many nodes as a gateway can look after";
            self.end_adoption(id, Err(Refusal::new(RefusalCode::Busy, said)));
        }
    }

    /// A node has taken the site, or not.
    pub(super) fn tell_answered(&mut self, now: Instant, id: NodeId, answer: &Answer) {
        let Some(adoption) = self.adoption(id) else { return };
        if answer.is_success() {
            self.adopted(now, id);
            return;
        }
        let (code, retry) = answer.problem();
        adoption.refusal = answer.code.map(|_| code);
        if answer.code.is_some() && code == ErrorCode::WrongState && adoption.is_member {
            adoption.ask_at = Some(now);
            let told = core::mem::replace(&mut adoption.stage, Stage::Greet);
            if let Stage::Tell(_, blob) = told {
                self.offers.remove(&blob.digest);
            }
            self.nodes.touch(now, id);
            return;
        }
        let name = adoption.name.clone();
        if answer.code.is_some() && retry.is_none() && self.nodes.get(id).is_none_or(|n| !n.is_up())
        {
            self.end_adoption(id, Err(Refusal::node_refused(&name, code)));
            return;
        }
        let wait = retry.map_or(AGAIN, |ms| Duration::from_millis(u64::from(ms)));
        if let Some(adoption) = self.adoption(id) {
            adoption.ask_at = Some(now + wait);
        }
    }
}

fn too_late(adoption: &Adoption) -> Refusal {
    let address = adoption.address;
    let mut refusal = if adoption.stage == Stage::Greet {
        let message =
            format!("the node at {address} belongs to a site, and does not know this one");
        let help = "if it is another site's, start it with an empty state directory";
        Refusal::new(RefusalCode::Timeout, message).help(help)
    } else {
        let help = "is the node running, and is that its address? It prints both at its start";
        let message = format!("no node answers at {address}");
        Refusal::new(RefusalCode::Timeout, message).help(help)
    };
    refusal.node_said = adoption.refusal;
    refusal
}

/// Why the roster does not change, as a refusal.
pub(super) fn refusal(error: MembersError) -> Refusal {
    let code = match error {
        MembersError::NoSiteKey => RefusalCode::NoSiteKey,
        MembersError::Full => RefusalCode::Busy,
        MembersError::Unknown => RefusalCode::UnknownNode,
        MembersError::NotARoster => RefusalCode::Internal,
    };
    Refusal::new(code, error.to_string())
}
