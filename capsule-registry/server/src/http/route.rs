//! What a path and a query ask for.

use super::error::ApiError;
use crate::shared::Reference;
use capmesh_wire::{CapsuleName, Digest, Tag};

/// What a path asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target<'a> {
    /// Whether this is a registry.
    Base,
    /// The names.
    Catalog,
    /// The tags of a name.
    Tags(CapsuleName<'a>),
    /// A blob: they are shared by all names.
    Blob(Digest),
    /// Where uploads begin.
    Uploads(CapsuleName<'a>),
    /// An upload.
    Upload(CapsuleName<'a>, &'a str),
    /// A document.
    Manifest(CapsuleName<'a>, Reference<'a>),
}

impl<'a> Target<'a> {
    pub(super) fn parse(path: &'a str) -> Result<Self, ApiError> {
        let unknown = || ApiError::unknown("UNSUPPORTED", "there is no such path");
        let rest = path.strip_prefix("/v2").ok_or_else(unknown)?;
        let rest = match rest.strip_prefix('/') {
            Some("") => return Ok(Self::Base),
            Some("_catalog") => return Ok(Self::Catalog),
            Some(rest) => rest,
            None if rest.is_empty() => return Ok(Self::Base),
            None => return Err(unknown()),
        };
        let (before, last) = rest.rsplit_once('/').ok_or_else(unknown)?;
        if let Some(of) = rest.strip_suffix("/tags/list") {
            return Ok(Self::Tags(name(of)?));
        }
        if let Some(of) = rest.strip_suffix("/blobs/uploads") {
            return Ok(Self::Uploads(name(of)?));
        }
        if let Some(of) = before.strip_suffix("/blobs/uploads") {
            let of = name(of)?;
            return Ok(if last.is_empty() { Self::Uploads(of) } else { Self::Upload(of, last) });
        }
        if let Some(of) = before.strip_suffix("/blobs") {
            name(of)?;
            return Ok(Self::Blob(digest(last)?));
        }
        if let Some(of) = before.strip_suffix("/manifests") {
            let reference = if last.contains(':') {
                Reference::Digest(digest(last)?)
            } else {
                let tag = Tag::new(last).map_err(|error| ApiError::bad("TAG_INVALID", error))?;
                Reference::Tag(tag)
            };
            return Ok(Self::Manifest(name(of)?, reference));
        }
        Err(unknown())
    }
}

fn name(text: &str) -> Result<CapsuleName<'_>, ApiError> {
    CapsuleName::new(text).map_err(|error| ApiError::bad("NAME_INVALID", error))
}

fn digest(text: &str) -> Result<Digest, ApiError> {
    text.parse().map_err(|_| ApiError::bad("DIGEST_INVALID", format_args!("{text} is no SHA-256")))
}

/// A query: arguments separated by `&`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query<'a>(pub(super) &'a str);

impl Query<'_> {
    /// The value of an argument, without percent-encoding.
    pub(super) fn get(self, name: &str) -> Option<String> {
        let mut arguments = self.0.split('&').filter_map(|argument| argument.split_once('='));
        let (_, value) = arguments.find(|(key, _)| *key == name)?;
        let mut text = Vec::new();
        let mut bytes = value.bytes();
        while let Some(byte) = bytes.next() {
            text.push(match byte {
                b'%' => {
                    let digits = [bytes.next()?, bytes.next()?];
                    u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
                }
                b'+' => b' ',
                other => other,
            });
        }
        String::from_utf8(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever comes is refused or means what it says: what is parsed leads back to its path.
        #[test]
        fn any_path_and_query_is_taken_or_refused(
            path in "(/v2)?(/(manifests|blobs|uploads|tags|list|_catalog|[a-z0-9:.%-]{0,8}|\\PC{0,4})){0,6}",
            query in "[a-z0-9=&%+]{0,40}|\\PC{0,20}",
        ) {
            if let Ok(Target::Manifest(name, Reference::Tag(tag))) = Target::parse(&path) {
                prop_assert_eq!(&path, &format!("/v2/{name}/manifests/{tag}"));
            }
            if let Ok(Target::Upload(name, id)) = Target::parse(&path) {
                prop_assert_eq!(&path, &format!("/v2/{name}/blobs/uploads/{id}"));
            }
            for (argument, _) in query.split('&').filter_map(|pair| pair.split_once('=')) {
                let _ = Query(&query).get(argument);
            }
        }
    }

    #[test]
    fn paths_say_what_they_ask_for() {
        let name = CapsuleName::new("city/clean").unwrap();
        let digest = Digest::of(b"");
        for (path, target) in [
            ("/v2/".to_owned(), Target::Base),
            ("/v2".to_owned(), Target::Base),
            ("/v2/_catalog".to_owned(), Target::Catalog),
            ("/v2/city/clean/tags/list".to_owned(), Target::Tags(name)),
            (format!("/v2/city/clean/blobs/{digest}"), Target::Blob(digest)),
            ("/v2/city/clean/blobs/uploads/".to_owned(), Target::Uploads(name)),
            ("/v2/city/clean/blobs/uploads".to_owned(), Target::Uploads(name)),
            ("/v2/city/clean/blobs/uploads/0a".to_owned(), Target::Upload(name, "0a")),
            (
                "/v2/city/clean/manifests/1.0".to_owned(),
                Target::Manifest(name, Reference::Tag(Tag::new("1.0").unwrap())),
            ),
            (
                format!("/v2/city/clean/manifests/{digest}"),
                Target::Manifest(name, Reference::Digest(digest)),
            ),
        ] {
            assert_eq!(Target::parse(&path).unwrap(), target, "{path}");
        }
        for path in [
            "/",
            "/v1/",
            "/v2x",
            "/v2/city",
            "/v2/City/tags/list",
            "/v2/manifests/1",
            "/v2/city/blobs/sha256:00",
            "/v2/city/manifests/UPPER",
            "/v2/a/b/c",
        ] {
            assert!(Target::parse(path).is_err(), "{path}");
        }
    }

    #[test]
    fn queries_are_decoded() {
        let query = Query("digest=sha256%3A00&n=5&x=%4&y=%zz&last");
        assert_eq!(query.get("digest").as_deref(), Some("sha256:00"));
        assert_eq!(query.get("n").as_deref(), Some("5"));
        for absent in ["x", "y", "last", "none"] {
            assert_eq!(query.get(absent), None);
        }
    }
}
