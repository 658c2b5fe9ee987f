//! The OCI distribution API, request by request.

use crate::site::{FACTS, Facts, module, sign};
use crate::world::{ask, client, reference, registry};
use capmesh_registry::oci;
use capmesh_wire::Digest;
use hyper::{Method, StatusCode};

#[tokio::test]
async fn it_says_what_it_is() {
    let registry = registry().await;
    let answer = ask(&registry, Method::GET, "/v2/", &[], b"").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("docker-distribution-api-version"), "registry/2.0");
    for (method, path, status) in [
        (Method::GET, "/", StatusCode::NOT_FOUND),
        (Method::DELETE, "/v2/", StatusCode::METHOD_NOT_ALLOWED),
        (Method::GET, "/v2/city/clean/manifests/1", StatusCode::NOT_FOUND),
        (Method::GET, "/v2/city/clean/tags/list", StatusCode::NOT_FOUND),
        (Method::GET, "/v2/City/tags/list", StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(ask(&registry, method, path, &[], b"").await.status, status, "{path}");
    }
    registry.stop().await;
}

#[tokio::test]
async fn a_blob_comes_in_chunks_in_order() {
    let registry = registry().await;
    let blob = module(9_000, 3);
    let digest = Digest::of(&blob);
    let begun = ask(&registry, Method::POST, "/v2/city/clean/blobs/uploads/", &[], b"").await;
    assert_eq!(begun.status, StatusCode::ACCEPTED);
    let at = begun.header("location").to_owned();
    for (range, chunk) in [("0-3999", &blob[..4_000]), ("4000-7999", &blob[4_000..8_000])] {
        let headers = [("content-range", range)];
        let sent = ask(&registry, Method::PATCH, &at, &headers, chunk).await;
        assert_eq!(sent.status, StatusCode::ACCEPTED, "{sent:?}");
    }
    // The same chunk again is out of order; where to go on is said.
    let headers = [("content-range", "4000-7999")];
    let again = ask(&registry, Method::PATCH, &at, &headers, &blob[4_000..8_000]).await;
    assert_eq!(
        (again.status, again.header("range")),
        (StatusCode::RANGE_NOT_SATISFIABLE, "0-7999")
    );
    let asked = ask(&registry, Method::GET, &at, &[], b"").await;
    assert_eq!((asked.status, asked.header("range")), (StatusCode::NO_CONTENT, "0-7999"));
    let end = format!("{at}?digest={}", digest.to_string().replace(':', "%3A"));
    let ended = ask(&registry, Method::PUT, &end, &[], &blob[8_000..]).await;
    assert_eq!(
        (ended.status, ended.header("docker-content-digest")),
        (StatusCode::CREATED, &*digest.to_string())
    );
    let path = ended.header("location").to_owned();
    let got = ask(&registry, Method::GET, &path, &[], b"").await;
    assert_eq!((got.status, got.body), (StatusCode::OK, blob.clone()));
    let head = ask(&registry, Method::HEAD, &path, &[], b"").await;
    assert_eq!((head.header("content-length"), head.body.len()), (&*blob.len().to_string(), 0));
    let gone = ask(&registry, Method::GET, &at, &[], b"").await;
    assert_eq!(gone.error().0, "BLOB_UPLOAD_UNKNOWN");
}

#[tokio::test]
async fn a_blob_that_is_not_what_it_is_called_is_refused() {
    let registry = registry().await;
    let digest = Digest::of(b"one");
    let path = format!("/v2/city/clean/blobs/uploads/?digest={digest}");
    let wrong = ask(&registry, Method::POST, &path, &[], b"another").await;
    assert_eq!(
        (wrong.status, wrong.error().0.as_str()),
        (StatusCode::BAD_REQUEST, "DIGEST_INVALID")
    );
    let path = format!("/v2/city/clean/blobs/{digest}");
    assert_eq!(ask(&registry, Method::GET, &path, &[], b"").await.error().0, "BLOB_UNKNOWN");
    let large = vec![0; (4 << 20) + 1];
    let begun = ask(&registry, Method::POST, "/v2/city/clean/blobs/uploads/", &[], b"").await;
    let at = begun.header("location").to_owned();
    let refused = ask(&registry, Method::PATCH, &at, &[], &large).await;
    assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);
    let cancelled = ask(&registry, Method::DELETE, &at, &[], b"").await;
    assert_eq!(cancelled.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_manifest_is_given_back_byte_for_byte() {
    let registry = registry().await;
    let module = module(3_000, 0);
    let manifest = sign(&module, FACTS);
    client(&registry).push(&reference("city/clean:1"), &manifest, &module).await.unwrap();
    // Another tool writes the same with spaces.
    let value: serde_json::Value =
        serde_json::from_slice(&oci::document(&manifest, &module)).unwrap();
    let pretty = serde_json::to_vec_pretty(&value).unwrap();
    let digest = Digest::of(&pretty);
    let headers = [("content-type", oci::DOCUMENT)];
    let put = ask(&registry, Method::PUT, "/v2/city/clean/manifests/2", &headers, &pretty).await;
    assert_eq!(
        (put.status, put.header("docker-content-digest")),
        (StatusCode::CREATED, &*digest.to_string())
    );
    for at in ["2".to_owned(), digest.to_string()] {
        let path = format!("/v2/city/clean/manifests/{at}");
        let got = ask(&registry, Method::GET, &path, &[], b"").await;
        assert_eq!((got.header("content-type"), &got.body), (oci::DOCUMENT, &pretty));
        let head = ask(&registry, Method::HEAD, &path, &[], b"").await;
        assert_eq!(head.header("docker-content-digest"), digest.to_string());
    }
    let path = format!("/v2/city/other/manifests/{digest}");
    assert_eq!(ask(&registry, Method::GET, &path, &[], b"").await.status, StatusCode::NOT_FOUND);
    let path = format!("/v2/city/clean/manifests/{}", Digest::of(b""));
    let wrong = ask(&registry, Method::PUT, &path, &headers, &pretty).await;
    assert_eq!(wrong.error().0, "DIGEST_INVALID");
    let mut sized = value;
    sized["layers"][0]["size"] = 1.into();
    let sized = serde_json::to_vec(&sized).unwrap();
    let wrong = ask(&registry, Method::PUT, "/v2/city/clean/manifests/3", &headers, &sized).await;
    assert_eq!(wrong.error().0, "SIZE_INVALID");
}

#[tokio::test]
async fn names_and_tags_are_listed_in_pages() {
    let registry = registry().await;
    for name in ["city/a", "city/b", "city/c"] {
        let module = module(500, name.as_bytes()[5]);
        let manifest = sign(&module, Facts { name, ..FACTS });
        for tag in ["1", "1.1", "2"] {
            let to = format!("{name}:{tag}");
            client(&registry).push(&reference(&to), &manifest, &module).await.unwrap();
        }
    }
    let first = ask(&registry, Method::GET, "/v2/_catalog?n=2", &[], b"").await;
    assert_eq!(first.json()["repositories"], serde_json::json!(["city/a", "city/b"]));
    let next =
        first.header("link").strip_prefix('<').unwrap().split_once('>').unwrap().0.to_owned();
    let rest = ask(&registry, Method::GET, &next, &[], b"").await;
    assert_eq!(rest.json()["repositories"], serde_json::json!(["city/c"]));
    assert!(!rest.headers.contains_key("link"));
    let tags = ask(&registry, Method::GET, "/v2/city/a/tags/list", &[], b"").await;
    assert_eq!(tags.json(), serde_json::json!({"name": "city/a", "tags": ["1", "1.1", "2"]}));
    let gone = ask(&registry, Method::DELETE, "/v2/city/a/manifests/1", &[], b"").await;
    assert_eq!(gone.status, StatusCode::ACCEPTED);
    let name = capmesh_wire::CapsuleName::new("city/a").unwrap();
    assert_eq!(client(&registry).tags(name).await.unwrap(), ["1.1", "2"]);
}
