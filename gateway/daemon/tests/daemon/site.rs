//! A site's directory with a gateway on its roster.

use capmesh_keyfile::Key;
use capmesh_wire::roster::{EntriesWriter, Entry};
use capmesh_wire::{Credential, Name, Revision, Role};
use std::path::Path;

/// Makes a site with the members `gateway` and `operator`.
pub(crate) fn create(directory: &Path) {
    std::fs::create_dir_all(directory.join("keys")).unwrap();
    std::fs::write(directory.join("site.toml"), "name = \"garden\"\n").unwrap();
    let key = |name: &str| {
        let key = Key::generate();
        key.write_new(&directory.join("keys").join(name).with_extension("pem")).unwrap();
        key
    };
    let site = key("site");
    let members = [("gateway", Role::Gateway), ("operator", Role::Operator)];
    let credentials: Vec<_> =
        members.map(|(name, role)| (key(name).credential(name).unwrap(), role)).into();
    let mut entries: Vec<_> = credentials
        .iter()
        .map(|(bytes, role)| Entry {
            role: *role,
            expires: u64::MAX,
            credential: Credential::parse(bytes).unwrap(),
        })
        .collect();
    entries.sort_by_key(Entry::id);
    let mut buf = vec![0; 4_096];
    let mut writer = EntriesWriter::new(&mut buf);
    for entry in &entries {
        writer.push(entry).unwrap();
    }
    let head = writer.head(Name::new("garden").unwrap(), Revision(1), 1_700_000_000);
    let mut signed = vec![0; 4_096];
    let len = writer.sign(&head, &site.signing(), &mut signed).unwrap();
    std::fs::write(directory.join("roster"), &signed[..len]).unwrap();
}
