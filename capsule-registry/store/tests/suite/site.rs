//! A site with its publishers, and capsules that they sign.

use capmesh_blob::{Geometry, lay_out};
use capmesh_registry_store::{Backend, Basic, Push, Pushed, Refusal, Store, Trust};
use capmesh_wire::cose::SigningKey;
use capmesh_wire::manifest::{Capsule, Needs};
use capmesh_wire::roster::{EntriesWriter, Entry};
use capmesh_wire::{CapsuleName, Credential, Digest, Manifest, Name, Revision, Role, Roster, Tag};

/// When everything happens, unless a test says otherwise.
pub(crate) const NOW: u64 = 1_790_000_000;

pub(crate) fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32]).unwrap()
}

/// The first roster with these members: key, role, expiry.
pub(crate) fn roster(members: &[(u8, Role, u64)]) -> Vec<u8> {
    roster_of(members, 1, 99)
}

/// A roster of this version, signed by this key.
pub(crate) fn roster_of(members: &[(u8, Role, u64)], version: u32, by: u8) -> Vec<u8> {
    let credentials: Vec<Vec<u8>> = members
        .iter()
        .map(|(n, ..)| {
            let mut buf = [0; 128];
            let name = format!("m{n}");
            let len =
                Credential::encode(Name::new(&name).unwrap(), &key(*n).public_key(), &mut buf);
            buf[..len.unwrap()].to_vec()
        })
        .collect();
    let mut entries: Vec<Entry<'_>> = credentials
        .iter()
        .zip(members)
        .map(|(bytes, (_, role, expires))| Entry {
            role: *role,
            expires: *expires,
            credential: Credential::parse(bytes).unwrap(),
        })
        .collect();
    entries.sort_by_key(Entry::id);
    let mut buf = [0; 2_048];
    let mut writer = EntriesWriter::new(&mut buf);
    for entry in &entries {
        writer.push(entry).unwrap();
    }
    let head = writer.head(Name::new("site").unwrap(), Revision(version), NOW);
    let mut out = [0; 2_048];
    let len = writer.sign(&head, &key(by), &mut out).unwrap();
    out[..len].to_vec()
}

/// The roster of most tests: publisher 1, publisher 2 who has expired, node 3.
pub(crate) fn usual() -> Vec<u8> {
    roster(&[(1, Role::Publisher, u64::MAX), (2, Role::Publisher, NOW), (3, Role::Node, u64::MAX)])
}

/// A module of `len` bytes of which only the beginning is one.
pub(crate) fn module(len: usize, seed: u8) -> Vec<u8> {
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    module.extend((0_u32..).map(|i| i.to_le_bytes()[0].wrapping_mul(7) ^ seed).take(len));
    module
}

/// What a manifest says beside what it is about.
#[derive(Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) name: &'static str,
    pub(crate) sequence: u64,
    pub(crate) abi: u16,
    pub(crate) chunk_log2: u8,
    pub(crate) by: u8,
}

pub(crate) const FACTS: Facts =
    Facts { name: "city/clean", sequence: 1, abi: 1, chunk_log2: 10, by: 1 };

/// Signs a manifest of this module.
pub(crate) fn sign(module: &[u8], facts: Facts) -> Vec<u8> {
    let size = u32::try_from(module.len()).unwrap();
    let geometry = Geometry::new(size, facts.chunk_log2).unwrap();
    let mut stored = module.to_vec();
    stored.resize(geometry.stored_size() as usize, 0);
    let blob = lay_out(&mut stored, size, facts.chunk_log2).unwrap();
    let needs = Needs {
        memory: 65_536,
        ram: 80_000,
        fuel_per_second: 1_000,
        fuel_per_handler: 1_000,
        outbox_bytes: 256,
        outbox_entries: 4,
        timers: 0,
        table_elements: 0,
    };
    let manifest = Manifest {
        sequence: facts.sequence,
        name: CapsuleName::new(facts.name).unwrap(),
        module_digest: blob.digest,
        module_size: size,
        uri: None,
        capsule: Capsule::bare(
            Tag::new("1.0.0").unwrap(),
            facts.abi,
            facts.chunk_log2,
            blob.root,
            needs,
        ),
    };
    let mut buf = [0; 2_048];
    let len = manifest.sign(&key(facts.by), &mut buf).unwrap();
    buf[..len].to_vec()
}

/// Pushes manifest and module as what they are, under the usual name.
pub(crate) fn push<B: Backend>(
    store: &mut Store<B>,
    now: u64,
    (manifest, module): (&[u8], &[u8]),
    (name, tag): (&str, Option<&str>),
    document: &[u8],
) -> Result<Pushed, Refusal> {
    let roster = usual();
    let roster = Roster::from_trusted(&roster).unwrap();
    let checker = Basic { abis: vec![1] };
    let trust = Trust { roster: &roster, checker: &checker };
    let manifest = store.put_blob(now, manifest)?;
    let module = store.put_blob(now, module)?;
    let push = Push {
        name: CapsuleName::new(name)?,
        tag: tag.map(Tag::new).transpose()?,
        manifest,
        module,
        document,
        others: &[],
    };
    store.push(now, trust, &push)
}

/// What a tag of the usual name stands for.
pub(crate) fn tagged<B: Backend>(store: &Store<B>, tag: &str) -> Option<Digest> {
    let name = CapsuleName::new(FACTS.name).unwrap();
    store.resolve(name, Tag::new(tag).unwrap()).unwrap().map(|tagged| tagged.capsule())
}
