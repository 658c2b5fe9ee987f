//! `keygen` and `sign`.

use super::{Failure, read, write};
use crate::seal;
use capmesh_keyfile::Key;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

/// Make a publisher's key.
///
/// Writes a P-256 private key in PEM (PKCS#8), readable by its owner only, and beside it, with the
/// ending `.ccs`, the credential to put on a site's roster with the role `publisher`. A key that is
/// there already is not overwritten.
#[derive(Debug, Args)]
pub struct Keygen {
    /// Where the key goes.
    #[arg(default_value = "publisher.pem")]
    file: PathBuf,
    /// The publisher's name: 1 to 23 small letters, digits and dashes.
    #[arg(long, default_value = "publisher")]
    name: String,
}

impl Keygen {
    pub(crate) fn run(self, json: bool) -> Result<(), Failure> {
        let key = Key::generate();
        let name = &self.name;
        let credential = key
            .credential(name)
            .map_err(|error| Failure::Given(format!("`{name}` is no name: {error}")))?;
        key.write_new(&self.file)?;
        let public = self.file.with_extension("ccs");
        write(&public, &credential)?;
        if json {
            let [key_file, public] = [&self.file, &public].map(|path| path.display().to_string());
            println!(
                "{}",
                json!({ "id": key.id().to_string(), "key": key_file, "credential": public })
            );
            return Ok(());
        }
        println!("{}: the private key of {}; keep it to yourself", self.file.display(), key.id());
        println!("{}: its credential, for rosters", public.display());
        Ok(())
    }
}

/// Sign a capsule with another key.
///
/// The manifest stays as it is but for the signature; the capsule gets another digest, as that covers
/// the signature.
#[derive(Debug, Args)]
pub struct Sign {
    /// The capsule, as `build` writes it.
    file: PathBuf,
    /// The private key (PEM).
    #[arg(long, env = "CAPMESH_KEY")]
    key: PathBuf,
    /// Where the result goes; over the capsule itself if absent.
    #[arg(long, short)]
    out: Option<PathBuf>,
}

impl Sign {
    pub(crate) fn run(self, json: bool) -> Result<(), Failure> {
        let key = Key::read(&self.key)?;
        let sealed =
            seal::open(&read(&self.file)?).map_err(|error| Failure::given(&self.file, error))?;
        let sealed = sealed.resign(&key.signing()).map_err(|e| Failure::given(&self.file, e))?;
        let out = self.out.as_ref().unwrap_or(&self.file);
        write(out, &sealed.bundle())?;
        if json {
            let (file, publisher) = (out.display().to_string(), key.id().to_string());
            let digest = sealed.digest().to_string();
            println!("{}", json!({ "file": file, "publisher": publisher, "digest": digest }));
            return Ok(());
        }
        println!("{}: signed by {}, now {}", out.display(), key.id(), sealed.digest());
        Ok(())
    }
}
