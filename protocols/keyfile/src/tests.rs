use super::*;

/// A file that is removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("capmesh-keys-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Self(path)
    }

    fn holding(name: &str, text: &str) -> Self {
        let scratch = Self::new(name);
        std::fs::write(&scratch.0, text).unwrap();
        scratch
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Written by `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256` (3.0); the scalar is
/// what `openssl pkey -text` shows of it.
const OPENSSL: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgdM5gCbeOS+vJT3E7
RJcB9DG75dBQQYdA/+yQ1GYknJShRANCAASNj8hHhDd9yscHLCv5+2+s9sqxEqKK
BOoAcL8c9jQ6FIZ3xkDk/fakGva6cw3Ce7o9wjxCcN1iwj6wuzfVqDTH
-----END PRIVATE KEY-----
";
const SCALAR: &str = "74ce6009b78e4bebc94f713b449701f431bbe5d050418740ffec90d466249c94";

#[test]
fn what_is_written_is_read_and_is_nobody_elses() {
    let file = Scratch::new("written");
    let key = Key::generate();
    key.write_new(&file.0).unwrap();
    let again = Key::read(&file.0).unwrap();
    assert_eq!(again.scalar(), key.scalar());
    assert_eq!(again.public(), key.signing().public_key());
    assert_ne!(Key::generate().scalar(), key.scalar());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&file.0).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let other = Key::generate();
    assert!(matches!(other.write_new(&file.0), Err(KeyError::Exists(_))));
    assert_eq!(Key::read(&file.0).unwrap().scalar(), key.scalar(), "it was not overwritten");
}

#[test]
fn keys_of_openssl_are_read() {
    let file = Scratch::holding("openssl", OPENSSL);
    let key = Key::read(&file.0).unwrap();
    assert_eq!(hex(&*key.scalar()), SCALAR);
    assert_eq!(
        std::str::from_utf8(key.0.to_pkcs8_pem(LineEnding::LF).unwrap().as_bytes()),
        Ok(OPENSSL)
    );
}

#[test]
fn what_is_no_key_is_named() {
    let broken = OPENSSL.replacen("M", "N", 1);
    for (text, found) in [
        ("hello", None),
        ("-----BEGIN EC PRIVATE KEY-----", Some("SEC1")),
        ("-----BEGIN PUBLIC KEY-----", Some("a public key")),
        (broken.as_str(), Some("damaged")),
    ] {
        let file = Scratch::holding("broken", text);
        let error = Key::read(&file.0).unwrap_err().to_string();
        assert!(error.contains("not a P-256 private key in PEM (PKCS#8)"), "{error}");
        assert!(found.is_none_or(|found| error.contains(found)), "{error}");
    }
    let missing = Scratch::new("missing");
    assert!(matches!(Key::read(&missing.0), Err(KeyError::Io(..))));
}

#[test]
fn a_credential_carries_name_and_key() {
    let key = Key::generate();
    let bytes = key.credential("city").unwrap();
    let credential = Credential::parse(&bytes).unwrap();
    assert_eq!((credential.subject().as_str(), credential.public_key()), ("city", key.public()));
    assert!(key.credential("City Hall").is_err());
}

#[test]
fn a_key_does_not_show_its_scalar() {
    let key = Key::generate();
    let shown = format!("{key:?}");
    assert!(shown.contains(&key.id().to_string()));
    assert!(!shown.contains(&hex(&*key.scalar())));
}
