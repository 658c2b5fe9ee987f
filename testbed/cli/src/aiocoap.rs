//! A member's key and a node's credential as aiocoap reads them: any CoAP client that knows EDHOC
//! will do, and this one is widely used.

use crate::site::{Site, credential_of};
use anyhow::{Context as _, Result};
use capmesh_wire::Credential;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Writes a COSE_Key with the private key of `member` and a file of credentials for talking to all
/// nodes whose address is known, and returns the path of the latter:
/// `aiocoap-client --credentials FILE coap://...`.
///
/// # Errors
/// If there is no such key here, or the files cannot be written.
pub fn export(site: &Site, member: &str, directory: &Path) -> Result<PathBuf> {
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    // aiocoap wants paths that hold wherever it is started.
    let directory = fs::canonicalize(directory)?;
    let key_file = directory.join(format!("{member}.cosekey"));
    let key = site.key(member)?;
    write_secret(&key_file, &cose_key(&key.scalar()))?;
    let own = notation(&credential_of(site.roster(), key.id())?);
    let mut entries = Vec::new();
    for node in site.members() {
        let Some(address) = node.address else { continue };
        let peer = notation(&credential_of(site.roster(), node.id)?);
        entries.push(format!(
            "\"coap://{address}/*\": {{\"edhoc-oscore\": {{\"suite\": 2, \"method\": 3, \
             \"own_cred_style\": \"by-key-id\",\n  \"own_cred\": {own},\n  \
             \"private_key_file\": {key_file:?},\n  \"peer_cred\": {peer}}}}}"
        ));
    }
    let file = directory.join(format!("{member}.diag"));
    let text = format!("{{\n{}\n}}\n", entries.join(",\n"));
    fs::write(&file, text).with_context(|| file.display().to_string())?;
    Ok(file)
}

/// `{1: 2, -1: 1, -4: scalar}`: a COSE_Key on P-256, private part only (RFC 9053 section 7.1.1).
fn cose_key(scalar: &[u8; 32]) -> Vec<u8> {
    let mut bytes = vec![0xa3, 0x01, 0x02, 0x20, 0x01, 0x23, 0x58, 0x20];
    bytes.extend_from_slice(scalar);
    bytes
}

/// A credential in diagnostic notation (RFC 8949 section 8).
fn notation(credential: &Credential<'_>) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let key = credential.public_key();
    format!(
        "{{14: {{2: {:?}, 8: {{1: {{1: 2, 2: h'{}', -1: 1, -2: h'{}', -3: h'{}'}}}}}}}}",
        credential.subject().as_str(),
        hex(credential.id().as_bytes()),
        hex(&key.x),
        hex(&key.y)
    )
}

fn write_secret(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(bytes)
    };
    write().with_context(|| path.display().to_string())
}
