//! The site's signed roster as the place where credentials are looked up.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test helpers")]

mod common;

use capmesh_session::edhoc::{
    ConnectionId, Credential, CredentialId, EphemeralKey, Identity, Initiator, MAX_MESSAGE,
    Message1, Transfer,
};
use capmesh_session::{Entry, Roster};
use capmesh_wire::cose::SigningKey;
use capmesh_wire::roster::{self, EntriesWriter, UnverifiedRoster};
use capmesh_wire::{Name, NodeId, PublicKey, Revision, Role};

fn key(n: u8) -> [u8; 32] {
    [n; 32]
}

fn public(n: u8) -> PublicKey {
    let (x, y) = Identity::public_point_of(&key(n)).unwrap();
    PublicKey { x, y }
}

/// The signed roster of a gateway and three nodes, the last of which has the longest name there is.
fn signed() -> Vec<u8> {
    let names = ["gate", "n1", "n2", "a-name-of-23-characters"];
    let mut credentials: Vec<_> = (1..)
        .zip(names)
        .map(|(n, name)| {
            let mut buf = [0; capmesh_wire::limits::CREDENTIAL];
            let key = public(n);
            let name = Name::new(name).unwrap();
            let len = capmesh_wire::Credential::encode(name, &key, &mut buf).unwrap();
            (key.id(), n, buf[..len].to_vec())
        })
        .collect();
    credentials.sort();
    let mut buf = vec![0; 1024];
    let mut entries = EntriesWriter::new(&mut buf);
    for (_, n, bytes) in &credentials {
        let role = if *n == 1 { Role::Gateway } else { Role::Node };
        let credential = capmesh_wire::Credential::parse(bytes).unwrap();
        entries.push(&roster::Entry { role, expires: 2_000_000_000, credential }).unwrap();
    }
    let head = entries.head(Name::new("site").unwrap(), Revision(1), 1_700_000_000);
    let mut out = vec![0; 2048];
    let site = SigningKey::from_bytes(&[42; 32]).unwrap();
    let len = entries.sign(&head, &site, &mut out).unwrap();
    out.truncate(len);
    out
}

fn find(roster: &impl Roster, id: &CredentialId<'_>) -> Option<Entry> {
    let kid = match *id {
        CredentialId::Kid(kid) | CredentialId::Value { kid: Some(kid), .. } => kid,
        CredentialId::Value { .. } => return None,
    };
    roster.find(kid).filter(|entry| id.is(&entry.credential))
}

#[test]
fn who_is_on_the_signed_roster_can_shake_hands() {
    let bytes = signed();
    let site = SigningKey::from_bytes(&[42; 32]).unwrap().public_key();
    let roster = UnverifiedRoster::parse(&bytes).unwrap().verify(&site).unwrap();
    let identity = |n| {
        let entry = Roster::find(&roster, public(n).id().as_bytes()).unwrap();
        assert_eq!(entry.id, NodeId::of_key(&public(n).x));
        Identity::new(&key(n), entry.credential).unwrap()
    };
    assert!(Roster::find(&roster, public(9).id().as_bytes()).is_none());
    assert!(Roster::find(&roster, &[1, 2, 3]).is_none());

    // The longest name leaves no room for sending the credential itself both ways.
    for (n, transfer) in
        [(2, Transfer::ByReference), (2, Transfer::ByValue), (4, Transfer::ByReference)]
    {
        let (initiator, responder) = (identity(n), identity(1));
        let mut rng = capmesh_coap::test_util::Dice::new(5);
        let mut buf = [0; MAX_MESSAGE];
        let c_i = ConnectionId::new(&[1]).unwrap();
        let c_r = ConnectionId::new(&[2]).unwrap();
        let (wait_2, len) =
            Initiator::start(EphemeralKey::generate(&mut rng), c_i, &mut buf).unwrap();
        let message_1 = Message1::parse(&buf[..len]).unwrap();
        let ephemeral = EphemeralKey::generate(&mut rng);
        let (wait_3, len) =
            message_1.answer(ephemeral, &responder, c_r, transfer, &mut buf).unwrap();
        let message_2 = wait_2.receive(&buf[..len]).unwrap();
        let entry = find(&roster, &message_2.credential_id().unwrap()).unwrap();
        assert_eq!(entry.role, Role::Gateway);
        let mut out = [0; MAX_MESSAGE];
        let (_, len) = message_2.verify(&entry.credential, &initiator, transfer, &mut out).unwrap();
        let message_3 = wait_3.receive(&out[..len]).unwrap();
        let entry = find(&roster, &message_3.credential_id().unwrap()).unwrap();
        assert_eq!((entry.role, entry.id), (Role::Node, public(n).id()));
        message_3.verify(&entry.credential).unwrap();
    }
}

/// The credential that the roster carries is the only one of its `kid` that is taken.
#[test]
fn another_credential_of_the_same_key_is_not_the_one_on_the_roster() {
    let bytes = signed();
    let roster = capmesh_wire::Roster::from_trusted(&bytes).unwrap();
    let listed = Roster::find(&roster, public(2).id().as_bytes()).unwrap().credential;
    let kid = listed.kid().unwrap();
    let other = Credential::from_public_key(&public(2).x, kid);
    assert_ne!(listed, other);
    let by_value = CredentialId::Value {
        ccs: other.as_bytes(),
        kid: Some(kid.as_bytes()),
        public_key: public(2).x,
    };
    assert!(find(&roster, &by_value).is_none());
}
