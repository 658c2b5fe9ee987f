//! Who is who in EDHOC: keys and credentials in files, in the formats that aiocoap reads.

use crate::store::{create_pair, hex, write_secret};
use capmesh_session::edhoc::{Credential, Identity};
use capmesh_wire::{Name, PublicKey};
use minicbor::{Decoder, Encoder};
use rand_core::{OsRng, RngCore};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The two parties of a pair, as their files are called.
const PARTIES: [&str; 2] = ["server", "client"];

/// Makes the keys and credentials of a server and of a client in `directory`, for EDHOC and for
/// OSCORE with a shared context, and the files that let aiocoap take either part. `origin` is where
/// aiocoap would serve, as in `coap://127.0.0.1`.
///
/// # Errors
/// If a file cannot be written, or is there already.
pub fn create(directory: &Path, origin: &str) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    // aiocoap wants paths that hold wherever it is started.
    let directory = fs::canonicalize(directory)?;
    let mut credentials = Vec::new();
    for name in PARTIES {
        let key = private_key();
        let (x, y) = Identity::public_point_of(&key).map_err(io::Error::other)?;
        write_secret(&key_file(&directory, name), &cose_key(&key).map_err(io::Error::other)?)?;
        let public = PublicKey { x, y };
        fs::write(credential_file(&directory, name), ccs(name, &public)?)?;
        let notation = format!(
            "{{14: {{2: {name:?}, 8: {{1: {{1: 2, 2: h'{}', -1: 1, -2: h'{}', -3: h'{}'}}}}}}}}",
            hex(public.id().as_bytes()),
            hex(&x),
            hex(&y)
        );
        credentials.push(notation);
    }
    let [server, client] = credentials.as_slice() else { return Ok(()) };
    let (server_context, client_context) =
        (directory.join("oscore-server"), directory.join("oscore-client"));
    create_pair(&server_context, &client_context)?;
    let files = [
        (
            "aiocoap-client-edhoc.diag",
            party("coap://*", client, &key_file(&directory, "client"), server, ""),
        ),
        (
            "aiocoap-client-edhoc-separate.diag",
            party(
                "coap://*",
                client,
                &key_file(&directory, "client"),
                server,
                ", \"use_combined_edhoc\": false",
            ),
        ),
        (
            "aiocoap-server-edhoc.diag",
            format!(
                "{{\n{},\n{}\n}}\n",
                own(&format!("{origin}/*"), server, &key_file(&directory, "server")),
                known(":client", client)
            ),
        ),
        ("aiocoap-client-oscore.diag", shared("coap://*", &client_context)),
        ("aiocoap-server-oscore.diag", shared(":client", &server_context)),
    ];
    for (name, text) in files {
        fs::write(directory.join(name), text)?;
    }
    Ok(())
}

/// Loads a party's key and credential.
///
/// # Errors
/// If they are not there or do not belong together.
pub fn identity(directory: &Path, name: &str) -> io::Result<Identity> {
    let path = key_file(directory, name);
    let key = read_cose_key(&fs::read(&path).map_err(|error| explain(&path, &error))?).ok_or_else(
        || explain(&path, &io::Error::other("not a COSE_Key with a P-256 private key")),
    )?;
    Identity::new(&key, credential(directory, name)?).map_err(|error| explain(&path, &error))
}

/// Loads a party's credential.
///
/// # Errors
/// If it is not there or not a CWT Claims Set.
pub fn credential(directory: &Path, name: &str) -> io::Result<Credential> {
    let path = credential_file(directory, name);
    let bytes = fs::read(&path).map_err(|error| explain(&path, &error))?;
    Credential::parse(&bytes).map_err(|error| explain(&path, &error))
}

fn key_file(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.cosekey"))
}

fn credential_file(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.ccs"))
}

fn explain(path: &Path, error: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {error}", path.display()))
}

/// Random bytes that are a private key of P-256, as nearly all are.
fn private_key() -> [u8; 32] {
    let mut key = [0; 32];
    loop {
        OsRng.fill_bytes(&mut key);
        if Identity::public_key_of(&key).is_ok() {
            return key;
        }
    }
}

type Encoded = Result<Vec<u8>, minicbor::encode::Error<std::convert::Infallible>>;

/// `{1: 2, -1: 1, -4: d}`: a COSE_Key on P-256, private part only.
fn cose_key(key: &[u8; 32]) -> Encoded {
    let mut encoder = Encoder::new(Vec::new());
    encoder.map(3)?.u8(1)?.u8(2)?.i8(-1)?.u8(1)?.i8(-4)?.bytes(key)?;
    Ok(encoder.into_writer())
}

fn read_cose_key(bytes: &[u8]) -> Option<[u8; 32]> {
    let mut decoder = Decoder::new(bytes);
    let pairs = decoder.map().ok()??;
    let mut key = None;
    for _ in 0..pairs {
        match decoder.i8().ok()? {
            -4 => key = decoder.bytes().ok()?.try_into().ok(),
            _ => decoder.skip().ok()?,
        }
    }
    key
}

/// The credential of the party called `name`. Both sides hash these bytes, and aiocoap makes the same
/// ones from the notation in its credentials file.
fn ccs(name: &str, key: &PublicKey) -> io::Result<Vec<u8>> {
    let name = Name::new(name).map_err(io::Error::other)?;
    let mut buf = [0; capmesh_wire::limits::CREDENTIAL];
    let len = capmesh_wire::Credential::encode(name, key, &mut buf).map_err(io::Error::other)?;
    Ok(buf.get(..len).unwrap_or_default().to_vec())
}

/// An entry for a client: its own credential and the server's.
fn party(uri: &str, own: &str, key: &Path, peer: &str, more: &str) -> String {
    format!(
        "{{\n{uri:?}: {{\"edhoc-oscore\": {{\"suite\": 2, \"method\": 3, \
         \"own_cred_style\": \"by-key-id\",\n  \"own_cred\": {own},\n  \
         \"private_key_file\": {key:?},\n  \"peer_cred\": {peer}{more}}}}}\n}}\n"
    )
}

/// An entry for a server: its own credential.
fn own(uri: &str, own: &str, key: &Path) -> String {
    format!(
        "{uri:?}: {{\"edhoc-oscore\": {{\"suite\": 2, \"method\": 3, \
         \"own_cred_style\": \"by-key-id\",\n  \"own_cred\": {own},\n  \
         \"private_key_file\": {key:?}}}}}"
    )
}

/// An entry for a server: a credential that it knows.
fn known(name: &str, peer: &str) -> String {
    format!(
        "{name:?}: {{\"edhoc-oscore\": {{\"suite\": 2, \"method\": 3,\n  \"peer_cred\": {peer}}}}}"
    )
}

/// An entry for either side: the directory of a shared context.
fn shared(uri: &str, context: &Path) -> String {
    format!("{{{uri:?}: {{\"oscore\": {{\"basedir\": {context:?}}}}}}}\n")
}
