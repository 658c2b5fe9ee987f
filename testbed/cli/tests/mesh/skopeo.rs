//! The registry and a tool of other makers: skopeo pushes, lists and pulls a capsule.

use crate::machine::{Place, capsule};
use crate::registry::{REGISTRY, registry};
use capmesh::site::Site;
use capmesh_capsule::seal::Sealed;
use capmesh_registry::{Handle, oci};
use capmesh_wire::{CapsuleRef, Digest, Role};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// A file's name for what has this digest.
fn hex(digest: &Digest) -> String {
    digest.to_string().split_once(':').unwrap().1.to_owned()
}

/// Lays a capsule out as OCI says that images lie in a directory.
fn lay_out(directory: &Path, manifest: &[u8], module: &[u8]) -> Digest {
    let document = oci::document(manifest, module);
    let blobs = directory.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    for blob in [&document[..], manifest, module] {
        fs::write(blobs.join(hex(&Digest::of(blob))), blob).unwrap();
    }
    fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let digest = Digest::of(&document);
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [{
        "mediaType": oci::DOCUMENT,
        "digest": digest.to_string(),
        "size": document.len(),
        "annotations": {"org.opencontainers.image.ref.name": "1"},
    }]});
    fs::write(directory.join("index.json"), index.to_string()).unwrap();
    digest
}

fn skopeo(arguments: &[&str]) -> Output {
    Command::new("skopeo").arg("--insecure-policy").args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn skopeo_pushes_lists_and_pulls() {
    if Command::new("skopeo").arg("--version").output().is_err() {
        return capmesh_interop::peers::skip("skopeo", "Debian package skopeo");
    }
    let place = Place::new("skopeo");
    let mut site = Site::create(&place.site(), "bench").unwrap();
    site.make_member(REGISTRY, Role::Registry).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let registry = registry(&runtime, &place, &site);
    let sealed = capsule(&site, "unit-conversion");
    let name = sealed.manifest().unwrap().name.to_string();
    let at = format!("docker://{}/{name}", registry.http());

    let digest = lay_out(&place.join("layout"), &sealed.envelope, sealed.module());
    let from = format!("oci:{}:1", place.join("layout").display());
    let to = format!("{at}:1");
    stdout(&skopeo(&["copy", "--dest-tls-verify=false", "--preserve-digests", &from, &to]));

    let tags = stdout(&skopeo(&["list-tags", "--tls-verify=false", &at]));
    let tags: serde_json::Value = serde_json::from_str(&tags).unwrap();
    assert_eq!(tags["Tags"], serde_json::json!(["1"]));
    let raw = stdout(&skopeo(&["inspect", "--raw", "--tls-verify=false", &to]));
    assert_eq!(Digest::of(raw.as_bytes()), digest);

    let into = format!("oci:{}:1", place.join("pulled").display());
    stdout(&skopeo(&["copy", "--src-tls-verify=false", "--preserve-digests", &to, &into]));
    let blobs = place.join("pulled/blobs/sha256");
    for blob in [&sealed.envelope[..], sealed.module()] {
        assert_eq!(fs::read(blobs.join(hex(&Digest::of(blob)))).unwrap(), blob);
    }
    // What it pushed is what the mesh's own client pulls.
    let text = format!("{name}:1");
    let client = capmesh_registry::client::Client::new(&registry.http().to_string()).unwrap();
    let reference = CapsuleRef::try_from(text.as_str()).unwrap();
    let pulled = runtime.block_on(client.pull(&reference)).unwrap();
    assert_eq!((&pulled.manifest[..], &pulled.module[..]), (&sealed.envelope[..], sealed.module()));
    tampered(&place, &registry, &sealed, &at);
    runtime.block_on(registry.stop());
}

/// What nobody has signed so is refused, and skopeo says so.
fn tampered(place: &Place, registry: &Handle, sealed: &Sealed, at: &str) {
    let mut envelope = sealed.envelope.clone();
    *envelope.last_mut().unwrap() ^= 1;
    lay_out(&place.join("tampered"), &envelope, sealed.module());
    let from = format!("oci:{}:1", place.join("tampered").display());
    let to = format!("{at}:2");
    let output = skopeo(&["copy", "--dest-tls-verify=false", "--preserve-digests", &from, &to]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("manifest"), "{said}");
    assert_eq!(registry.usage().unwrap().capsules, 1);
}
