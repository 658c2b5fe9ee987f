//! Pushing and pulling with the client, what is refused, and what survives.

use crate::site::{self, FACTS, Facts, module, sign};
use crate::world::{ask, client, config, members, reference, registry};
use capmesh_registry::client::{Client, Error};
use capmesh_registry::{StartError, start};
use capmesh_wire::{Digest, Role};
use hyper::{Method, StatusCode};
use std::net::SocketAddr;
use std::time::Duration;

#[tokio::test]
async fn what_is_pushed_is_pulled() {
    let registry = registry().await;
    let module = module(40_000, 1);
    let manifest = sign(&module, FACTS);
    let client = client(&registry);
    let to = reference("city/clean:1.0");
    let digest = client.push(&to, &manifest, &module).await.unwrap();
    assert_eq!(digest, Digest::of(&manifest));
    // Once more, without sending what is there.
    client.push(&to, &manifest, &module).await.unwrap();
    let pulled = client.pull(&to).await.unwrap();
    assert_eq!((pulled.manifest, pulled.module), (manifest, module));
    let unknown = client.pull(&reference("city/clean:2")).await;
    assert!(matches!(unknown, Err(Error::Refused(StatusCode::NOT_FOUND, _))), "{unknown:?}");
    registry.stop().await;
}

#[tokio::test]
async fn refusals_say_why() {
    let registry = registry().await;
    let client = client(&registry);
    let good = module(500, 0);
    let newer = sign(&good, Facts { sequence: 5, ..FACTS });
    client.push(&reference("city/clean:1"), &newer, &good).await.unwrap();
    let other = sign(&good, Facts { name: "city/other", ..FACTS });
    let text = b"no module at all, and yet signed".to_vec();
    let mut changed = sign(&good, Facts { sequence: 6, ..FACTS });
    *changed.last_mut().unwrap() ^= 1;
    for (manifest, module, words) in [
        (sign(&good, Facts { sequence: 4, ..FACTS }), &good, "lower than 5"),
        (sign(&good, Facts { by: 7, ..FACTS }), &good, "not on the site's roster"),
        (sign(&good, Facts { by: 50, ..FACTS }), &good, "not a publisher"),
        (sign(&text, FACTS), &text, "WebAssembly"),
        (sign(&good, Facts { abi: 9, ..FACTS }), &good, "version 9"),
        (other, &good, "pushed as `city/clean`"),
        (changed, &good, "manifest"),
        (newer.clone(), &text, "bytes"),
    ] {
        let refused = client.push(&reference("city/clean:1"), &manifest, module).await.unwrap_err();
        assert!(refused.to_string().contains(words), "{words}: {refused}");
    }
    let pulled = client.pull(&reference("city/clean:1")).await.unwrap();
    assert_eq!(pulled.manifest, newer);
}

#[tokio::test]
async fn capsules_tags_and_roster_survive_a_restart() {
    let state = tempfile::tempdir().unwrap();
    let module = module(5_000, 0);
    let manifest = sign(&module, FACTS);
    let registry = start(config(Some(state.path()))).await.unwrap();
    client(&registry).push(&reference("city/clean:1"), &manifest, &module).await.unwrap();
    // A roster without the publisher, and one that somebody else has signed.
    let newer = site::roster_of(&members()[1..], 2, 99);
    let forged = site::roster_of(&members(), 3, 98);
    registry.set_roster(newer.clone()).await;
    registry.set_roster(forged).await;
    while registry.roster() != newer {
        tokio::task::yield_now().await;
    }
    registry.stop().await;

    let registry = start(config(Some(state.path()))).await.unwrap();
    assert_eq!(registry.roster(), newer, "the older one does not count any more");
    let pulled = client(&registry).pull(&reference("city/clean:1")).await.unwrap();
    assert_eq!(pulled.module, module);
    let refused = client(&registry).push(&reference("city/clean:2"), &manifest, &module).await;
    assert!(refused.unwrap_err().to_string().contains("not on the site's roster"));
    assert_eq!(registry.usage().unwrap().capsules, 1);
    assert_eq!(registry.collect(Duration::ZERO).unwrap().blobs, 0);
}

#[tokio::test]
async fn from_elsewhere_a_token_is_needed_to_push() {
    let any = SocketAddr::from(([0, 0, 0, 0], 0));
    let module = module(500, 0);
    let manifest = sign(&module, FACTS);
    let to = reference("city/clean:1");
    let with = |token: Option<&str>| {
        let token = token.map(str::to_owned);
        start(capmesh_registry::Config { http: any, token, ..config(None) })
    };
    let at = |registry: &capmesh_registry::Handle| {
        Client::new(&format!("127.0.0.1:{}", registry.http().port())).unwrap()
    };
    let closed = with(None).await.unwrap();
    let refused = at(&closed).push(&to, &manifest, &module).await;
    assert!(matches!(refused, Err(Error::Refused(StatusCode::FORBIDDEN, _))), "{refused:?}");
    let open = with(Some("secret")).await.unwrap();
    for client in [at(&open), at(&open).with_token("secre".into())] {
        let refused = client.push(&to, &manifest, &module).await;
        assert!(matches!(refused, Err(Error::Refused(StatusCode::UNAUTHORIZED, _))), "{refused:?}");
    }
    at(&open).with_token("secret".into()).push(&to, &manifest, &module).await.unwrap();
    assert_eq!(at(&open).pull(&to).await.unwrap().module, module);
    let bearer = [("authorization", "Bearer secret")];
    let path = "/v2/city/clean/manifests/1";
    let untagged = ask(&open, Method::DELETE, path, &bearer, b"").await;
    assert_eq!(untagged.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn what_keeps_it_from_starting_is_said() {
    let registry = registry().await;
    let taken = capmesh_registry::Config { http: registry.http(), ..config(None) };
    let why = start(taken).await.unwrap_err();
    assert!(why.to_string().contains(&registry.http().to_string()), "{why}");
    let forged = site::roster_of(&members(), 1, 98);
    let forged = capmesh_registry::Config { roster: forged, ..config(None) };
    assert!(matches!(start(forged).await, Err(StartError::Roster(_))));
    let nowhere = start(config(Some(std::path::Path::new("/dev/null/x")))).await;
    assert!(matches!(nowhere, Err(StartError::State(..))));
    assert!(matches!(Client::new("registry"), Err(Error::Address(_))));
    let nobody = Client::new("127.0.0.1:1").unwrap().pull(&reference("a:1")).await;
    assert!(matches!(nobody, Err(Error::Unreachable(..))));
    let roles = site::roster(&[(50, Role::Registry, u64::MAX)]);
    assert!(start(capmesh_registry::Config { roster: roles, ..config(None) }).await.is_ok());
}

#[tokio::test]
async fn a_page_in_a_browser_cannot_push() {
    let registry = registry().await;
    let path = format!("/v2/city/clean/blobs/uploads/?digest={}", Digest::of(b"x"));
    let origin = [("origin", "http://example.org"), ("content-type", "text/plain")];
    let refused = ask(&registry, Method::POST, &path, &origin, b"x").await;
    assert_eq!((refused.status, refused.error().0.as_str()), (StatusCode::FORBIDDEN, "DENIED"));
    assert_eq!(registry.usage().unwrap().blobs, 0);
}
