//! The store.

use crate::admit::{self, Good, Push, Pushed, Trust};
use crate::backend::{Backend, Change, Fault, Record, Table};
use crate::bounds;
use crate::records::{self, Capsule, Document, Info, Tagged};
use crate::refusal::Refusal;
use crate::serve::MANIFEST_LOG2;
use capmesh_wire::{CapsuleName, Digest, Tag};

/// Capsules by their digests and tags. See the [crate](crate).
#[derive(Debug)]
pub struct Store<B: Backend = Box<dyn Backend>> {
    backend: B,
    quota: u64,
    used: u64,
}

/// How full a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Blobs, documents among them.
    pub blobs: usize,
    /// Capsules.
    pub capsules: usize,
    /// Bytes of blobs and their pages.
    pub bytes: u64,
    /// Bytes that there may be.
    pub quota: u64,
}

impl Backend for Box<dyn Backend> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        (**self).get(table, key)
    }

    fn read(&self, table: Table, key: &[u8], offset: u32, buf: &mut [u8]) -> Result<bool, Fault> {
        (**self).read(table, key, offset, buf)
    }

    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Record>, Fault> {
        (**self).scan(table, prefix)
    }

    fn count(&self, table: Table) -> Result<usize, Fault> {
        (**self).count(table)
    }

    fn commit(&mut self, changes: Vec<Change>) -> Result<(), Fault> {
        (**self).commit(changes)
    }
}

impl<B: Backend> Store<B> {
    /// A store of what there is in `backend`, in which blobs may take `quota` bytes.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn open(backend: B, quota: u64) -> Result<Self, Fault> {
        let mut used = 0;
        for (_, value) in backend.scan(Table::Info, &[])? {
            used += records::read::<Info>(&value)?.used();
        }
        Ok(Self { backend, quota, used })
    }

    /// Keeps a blob; if it is here, notes that it is wanted. It is collected if no capsule refers to it
    /// when the grace time is over.
    ///
    /// # Errors
    /// If it is too large, or there is no room.
    pub fn put_blob(&mut self, now: u64, bytes: &[u8]) -> Result<Digest, Refusal> {
        let digest = Digest::of(bytes);
        if self.touch(now, &digest)?.is_none() {
            let changes = self.new_blob(now, &digest, bytes, bounds::BLOB, "blob")?;
            self.commit(changes)?;
            self.used += bytes.len() as u64;
        }
        Ok(digest)
    }

    /// The size of a blob if it is here, which is kept for another grace time: whoever asks is about
    /// to push something that refers to it.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn touch(&mut self, now: u64, digest: &Digest) -> Result<Option<u32>, Fault> {
        let Some(info) = self.info(digest)? else { return Ok(None) };
        if info.added < now {
            let value = records::write(&Info { added: now, ..info })?;
            self.commit(vec![Change::Put(Table::Info, key(digest), value)])?;
        }
        Ok(Some(info.size))
    }

    /// A blob.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, Fault> {
        self.backend.get(Table::Bytes, digest.as_bytes())
    }

    /// Admits a capsule whose blobs are here, keeps its document, and moves the tag.
    ///
    /// # Errors
    /// Why not; then nothing has changed.
    pub fn push(&mut self, now: u64, trust: Trust<'_>, push: &Push<'_>) -> Result<Pushed, Refusal> {
        let envelope = self.needed(&push.manifest)?;
        let module = self.needed(&push.module)?;
        let good = admit::examine(now, trust, push.name, &envelope, &module)?;
        for other in push.others {
            self.info(other)?.ok_or(Refusal::Missing(*other))?;
        }
        let known = self.capsule(&push.manifest)?.is_some();
        let mut changes = Vec::new();
        if !known {
            self.admit(now, push, &good, &mut changes)?;
        }
        let mut added = self.cut(&push.manifest, MANIFEST_LOG2, &[], &mut changes)?;
        added += self.cut(&push.module, good.module.chunk_log2, &good.pages, &mut changes)?;
        let document = Digest::of(push.document);
        added += self.document(now, push, &document, &mut changes)?;
        self.room(added)?;
        if let Some(tag) = push.tag {
            let sequence = good.manifest.sequence;
            self.tag(now, push, tag, sequence, &document, &mut changes)?;
        }
        self.commit(changes)?;
        self.used += added;
        Ok(Pushed { capsule: push.manifest, document, known })
    }

    /// What a tag stands for.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn resolve(&self, name: CapsuleName<'_>, tag: Tag<'_>) -> Result<Option<Tagged>, Fault> {
        Ok(self.last_tagged(name, tag)?.filter(|tagged| !tagged.gone))
    }

    /// What a tag has stood for, the newest first.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn history(&self, name: CapsuleName<'_>, tag: Tag<'_>) -> Result<Vec<Tagged>, Fault> {
        let records = self.backend.scan(Table::History, &history_key(name, tag, None))?;
        records.iter().rev().map(|(_, value)| records::read(value)).collect()
    }

    /// Takes a tag away. Says whether there was one.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn untag(&mut self, now: u64, name: CapsuleName<'_>, tag: Tag<'_>) -> Result<bool, Fault> {
        let Some(tagged) = self.resolve(name, tag)? else { return Ok(false) };
        let revision = tagged.revision.saturating_add(1);
        let gone = Tagged { revision, since: now, gone: true, ..tagged };
        let mut changes = Vec::new();
        self.move_tag(name, tag, &gone, &mut changes)?;
        self.commit(changes)?;
        Ok(true)
    }

    /// The tags of a name, in order.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn tags(&self, name: CapsuleName<'_>) -> Result<Vec<String>, Fault> {
        let prefix = [name.as_str().as_bytes(), &[0]].concat();
        let mut tags = Vec::new();
        for (key, value) in self.backend.scan(Table::Tag, &prefix)? {
            let tag = key.get(prefix.len()..).and_then(|tag| std::str::from_utf8(tag).ok());
            if let (Some(tag), false) = (tag, records::read::<Tagged>(&value)?.gone) {
                tags.push(tag.to_owned());
            }
        }
        Ok(tags)
    }

    /// The names of which a capsule was ever admitted, in order.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn names(&self) -> Result<Vec<String>, Fault> {
        let names = self.backend.scan(Table::Sequence, &[])?;
        Ok(names.into_iter().filter_map(|(name, _)| String::from_utf8(name).ok()).collect())
    }

    /// What is known of an admitted capsule.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn capsule(&self, manifest: &Digest) -> Result<Option<Capsule>, Fault> {
        let value = self.backend.get(Table::Capsule, manifest.as_bytes())?;
        value.map(|value| records::read(&value)).transpose()
    }

    /// The capsule that a document describes, by the digest of its manifest.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn described(&self, document: &Digest) -> Result<Option<Digest>, Fault> {
        let value = self.backend.get(Table::Document, document.as_bytes())?;
        let document = value.map(|value| records::read::<Document>(&value)).transpose()?;
        Ok(document.map(|document| Digest::from_bytes(document.capsule)))
    }

    /// Keeps a capsule for `holder` until then, whatever becomes of its tags. One that would run out
    /// later is left as it is.
    ///
    /// # Errors
    /// If the capsule is not here, or there are too many leases.
    pub fn lease(&mut self, capsule: &Digest, holder: &[u8; 8], until: u64) -> Result<(), Refusal> {
        self.capsule(capsule)?.ok_or(Refusal::Missing(*capsule))?;
        let key = [capsule.as_bytes().as_slice(), holder].concat();
        let held = self.backend.get(Table::Lease, &key)?;
        let held = held.map(|value| records::read::<u64>(&value)).transpose()?;
        if held.is_some_and(|held| held >= until) {
            return Ok(());
        }
        if held.is_none() {
            self.bound(Table::Lease, bounds::LEASES, "leases")?;
        }
        let value = records::write(&until)?;
        Ok(self.commit(vec![Change::Put(Table::Lease, key, value)])?)
    }

    /// How full it is.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn usage(&self) -> Result<Usage, Fault> {
        let blobs = self.backend.count(Table::Info)?;
        let capsules = self.backend.count(Table::Capsule)?;
        Ok(Usage { blobs, capsules, bytes: self.used, quota: self.quota })
    }

    /// What records lie in.
    pub const fn backend(&self) -> &B {
        &self.backend
    }

    pub(crate) fn info(&self, digest: &Digest) -> Result<Option<Info>, Fault> {
        let value = self.backend.get(Table::Info, digest.as_bytes())?;
        value.map(|value| records::read(&value)).transpose()
    }

    pub(crate) fn commit(&mut self, changes: Vec<Change>) -> Result<(), Fault> {
        self.backend.commit(changes)
    }

    pub(crate) const fn give_back(&mut self, bytes: u64) {
        self.used = self.used.saturating_sub(bytes);
    }

    fn needed(&self, digest: &Digest) -> Result<Vec<u8>, Refusal> {
        self.blob(digest)?.ok_or(Refusal::Missing(*digest))
    }

    const fn room(&self, needed: u64) -> Result<(), Refusal> {
        let left = self.quota.saturating_sub(self.used);
        if needed > left { Err(Refusal::Quota { needed, left }) } else { Ok(()) }
    }

    fn bound(&self, table: Table, most: usize, what: &'static str) -> Result<(), Refusal> {
        if self.backend.count(table)? < most { Ok(()) } else { Err(Refusal::Full { what, most }) }
    }

    /// The records of a blob that is not here.
    fn new_blob(
        &self,
        now: u64,
        digest: &Digest,
        bytes: &[u8],
        most: usize,
        what: &'static str,
    ) -> Result<Vec<Change>, Refusal> {
        let size = u32::try_from(bytes.len()).ok().filter(|_| bytes.len() <= most);
        let size = size.ok_or(Refusal::TooLarge { what, size: bytes.len(), most })?;
        self.room(u64::from(size))?;
        self.bound(Table::Info, bounds::BLOBS, "blobs")?;
        let info = Info { size, added: now, chunk_log2: None, pages: 0 };
        Ok(vec![
            Change::Put(Table::Info, key(digest), records::write(&info)?),
            Change::Put(Table::Bytes, key(digest), bytes.to_vec()),
        ])
    }

    /// The records of a capsule that is good and new.
    fn admit(
        &self,
        now: u64,
        push: &Push<'_>,
        good: &Good<'_>,
        changes: &mut Vec<Change>,
    ) -> Result<(), Refusal> {
        let manifest = &good.manifest;
        let name = push.name.as_str().as_bytes();
        let newest = self.backend.get(Table::Sequence, name)?;
        match newest.map(|value| records::read::<u64>(&value)).transpose()? {
            None => self.bound(Table::Sequence, bounds::NAMES, "names")?,
            Some(newest) if manifest.sequence < newest => {
                return Err(Refusal::RolledBack { sequence: manifest.sequence, newest });
            }
            Some(_) => {}
        }
        changes.push(Change::Put(
            Table::Sequence,
            name.to_vec(),
            records::write(&manifest.sequence)?,
        ));
        let capsule = Capsule {
            name: push.name.to_string(),
            sequence: manifest.sequence,
            module: *good.module.digest.as_bytes(),
            publisher: *good.publisher.as_bytes(),
            admitted: now,
        };
        changes.push(Change::Put(Table::Capsule, key(&push.manifest), records::write(&capsule)?));
        Ok(())
    }

    /// Makes a blob one that nodes can fetch; returns the bytes that this takes of the quota.
    fn cut(
        &self,
        digest: &Digest,
        chunk_log2: u8,
        pages: &[u8],
        changes: &mut Vec<Change>,
    ) -> Result<u64, Refusal> {
        let info = self.info(digest)?.ok_or(Refusal::Missing(*digest))?;
        match info.chunk_log2 {
            Some(held) if held == chunk_log2 => return Ok(0),
            Some(held) => return Err(Refusal::CutOtherwise { held }),
            None => {}
        }
        let size = u32::try_from(pages.len()).unwrap_or(u32::MAX);
        let info = Info { chunk_log2: Some(chunk_log2), pages: size, ..info };
        changes.push(Change::Put(Table::Info, key(digest), records::write(&info)?));
        if size > 0 {
            changes.push(Change::Put(Table::Pages, key(digest), pages.to_vec()));
        }
        Ok(u64::from(size))
    }

    /// The records of a document.
    fn document(
        &self,
        now: u64,
        push: &Push<'_>,
        document: &Digest,
        changes: &mut Vec<Change>,
    ) -> Result<u64, Refusal> {
        let mut refers = vec![push.manifest, push.module];
        for other in push.others {
            if !refers.contains(other) {
                refers.push(*other);
            }
        }
        if refers.len() > bounds::REFERENCES {
            return Err(Refusal::Full { what: "references", most: bounds::REFERENCES });
        }
        let refers = refers.iter().map(|digest| (*digest.as_bytes()).into()).collect();
        let record = Document { capsule: *push.manifest.as_bytes(), refers };
        changes.push(Change::Put(Table::Document, key(document), records::write(&record)?));
        if self.info(document)?.is_some() {
            return Ok(0);
        }
        let (most, what) = (bounds::DOCUMENT, "document");
        changes.append(&mut self.new_blob(now, document, push.document, most, what)?);
        Ok(push.document.len() as u64)
    }

    /// The records of a tag that comes to stand for this capsule.
    fn tag(
        &self,
        now: u64,
        push: &Push<'_>,
        tag: Tag<'_>,
        sequence: u64,
        document: &Digest,
        changes: &mut Vec<Change>,
    ) -> Result<(), Refusal> {
        let (capsule, document) = (*push.manifest.as_bytes(), *document.as_bytes());
        let mut revision = 1;
        match self.last_tagged(push.name, tag)? {
            None => {
                let all = [push.name.as_str().as_bytes(), &[0]].concat();
                if self.backend.scan(Table::Tag, &all)?.len() >= bounds::TAGS {
                    return Err(Refusal::Full { what: "tags", most: bounds::TAGS });
                }
            }
            Some(held) => {
                if !held.gone && (held.capsule, held.document) == (capsule, document) {
                    return Ok(());
                }
                let before = self.capsule(&held.capsule())?.filter(|_| !held.gone);
                if let Some(before) = before.filter(|before| sequence < before.sequence) {
                    return Err(Refusal::RolledBack { sequence, newest: before.sequence });
                }
                revision = held.revision.saturating_add(1);
            }
        }
        let tagged = Tagged { capsule, document, revision, since: now, gone: false };
        Ok(self.move_tag(push.name, tag, &tagged, changes)?)
    }

    fn last_tagged(&self, name: CapsuleName<'_>, tag: Tag<'_>) -> Result<Option<Tagged>, Fault> {
        let value = self.backend.get(Table::Tag, &tag_key(name, tag))?;
        value.map(|value| records::read(&value)).transpose()
    }

    /// The records of a tag that moves, without what is too old to be remembered.
    fn move_tag(
        &self,
        name: CapsuleName<'_>,
        tag: Tag<'_>,
        tagged: &Tagged,
        changes: &mut Vec<Change>,
    ) -> Result<(), Fault> {
        let value = records::write(tagged)?;
        changes.push(Change::Put(Table::Tag, tag_key(name, tag), value.clone()));
        let old = self.backend.scan(Table::History, &history_key(name, tag, None))?;
        let too_many = (old.len() + 1).saturating_sub(bounds::HISTORY);
        let forgotten = old.into_iter().take(too_many);
        changes.extend(forgotten.map(|(key, _)| Change::Delete(Table::History, key)));
        let key = history_key(name, tag, Some(tagged.revision));
        changes.push(Change::Put(Table::History, key, value));
        Ok(())
    }
}

fn key(digest: &Digest) -> Vec<u8> {
    digest.as_bytes().to_vec()
}

fn tag_key(name: CapsuleName<'_>, tag: Tag<'_>) -> Vec<u8> {
    [name.as_str().as_bytes(), &[0], tag.as_str().as_bytes()].concat()
}

fn history_key(name: CapsuleName<'_>, tag: Tag<'_>, revision: Option<u32>) -> Vec<u8> {
    let mut key = tag_key(name, tag);
    key.push(0);
    key.extend(revision.iter().flat_map(|revision| revision.to_be_bytes()));
    key
}
