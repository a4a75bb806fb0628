//! The tree of folders and files that people see of a repository: what a path is, where tags, manifests and V1 images
//! stand in it, and what a path can stand for.
//!
//! The layout goes by what a tag points at:
//!
//! ```text
//! <name>/<tag>/manifest.json                         of a tag on a manifest; list.manifest.json of one on an index
//! <name>/<tag>/sha256__<hex>                         its config and layers
//! <name>/sha256:<hex>/…                              the same, of a manifest without tags
//! repositories/<namespace>/<name>/<tag>/tag.json     of a tag on a V1 image
//! repositories/<namespace>/<name>/_index_images.json
//! .images/<first 2 of id>/<id>/{json.json,layer.tar,ancestry.json,_checksum.json}
//! ```
//!
//! Pure: what of it is there is for the registry to say.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::v1::V1Name;
use crate::{Digest, ImageId, ParseError, RepoName, Tag, limits};

/// The folder of V1 images.
pub const IMAGES: &str = ".images";
/// The folder of V1 names.
pub const V1_NAMES: &str = "repositories";
/// A manifest.
pub const MANIFEST: &str = "manifest.json";
/// A manifest that lists others.
pub const INDEX: &str = "list.manifest.json";
/// What a tag on a V1 image says of itself.
pub const V1_TAG: &str = "tag.json";
/// The images of a V1 name.
pub const V1_INDEX: &str = "_index_images.json";
/// A V1 image's JSON.
pub const IMAGE_JSON: &str = "json.json";
/// A V1 image's layer.
pub const IMAGE_LAYER: &str = "layer.tar";
/// The ids of a V1 image and of those that it was made from.
pub const IMAGE_ANCESTRY: &str = "ancestry.json";
/// The checksums of a V1 image.
pub const IMAGE_CHECKSUM: &str = "_checksum.json";
/// The files of a V1 image, in order.
pub const IMAGE_FILES: [&str; 4] = [IMAGE_CHECKSUM, IMAGE_ANCESTRY, IMAGE_JSON, IMAGE_LAYER];

/// A path in a repository's tree: components joined by `/`, without one at the beginning or the end. The empty path is
/// the repository itself. None is `.` or `..` or holds a control character.
///
/// In the order of a walk: a folder before what is in it, and that before the folder's next sibling.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TreePath(Arc<str>);

impl TreePath {
    /// The repository itself.
    pub fn root() -> TreePath {
        TreePath(Arc::from(""))
    }

    /// Parses the text.
    ///
    /// # Errors
    /// [`ParseError::TreePath`].
    pub fn parse(s: &str) -> Result<TreePath, ParseError> {
        let component = |part: &str| !part.is_empty() && part != "." && part != "..";
        let valid = s.len() <= limits::TREE_PATH_BYTES_MAX
            && !s.contains(char::is_control)
            && (s.is_empty() || s.split('/').all(component));
        if valid { Ok(TreePath(Arc::from(s))) } else { Err(ParseError::TreePath(ParseError::clip(s))) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the repository itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The last component; nothing for the root.
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, name)| name)
    }

    /// The folder that it is in; none for the root.
    pub fn parent(&self) -> Option<TreePath> {
        if self.is_root() {
            return None;
        }
        Some(TreePath(Arc::from(self.0.rsplit_once('/').map_or("", |(parent, _)| parent))))
    }

    /// The components, from the root on.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|component| !component.is_empty())
    }

    /// How many components it has.
    pub fn depth(&self) -> usize {
        self.components().count()
    }

    /// What is called so in this folder.
    ///
    /// # Errors
    /// As [`TreePath::parse`].
    pub fn join(&self, name: &str) -> Result<TreePath, ParseError> {
        if self.is_root() { TreePath::parse(name) } else { TreePath::parse(&format!("{self}/{name}")) }
    }

    /// Whether it is the other one or in a folder that is at or below it.
    pub fn is_at_or_below(&self, other: &TreePath) -> bool {
        other.is_root()
            || self
                .0
                .strip_prefix(other.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// What a folder of this path can be the folder of: all that its text allows, whether or not it is there.
    pub fn meanings(&self) -> Vec<Meaning> {
        let mut found = Vec::new();
        if let Some(rest) = self.0.strip_prefix(IMAGES).and_then(|rest| rest.strip_prefix('/')) {
            if let Some((_, id)) = rest.split_once('/')
                && let Ok(id) = ImageId::parse(id)
                && self.0.as_ref() == image_folder(&id)
            {
                found.push(Meaning::Image(id));
            }
            return found;
        }
        if let Ok(name) = RepoName::parse(&self.0) {
            found.push(Meaning::Name(name));
        }
        if let Some((name, last)) = named(&self.0) {
            match Tag::parse(last) {
                Ok(tag) => found.push(Meaning::Tag(name, tag)),
                Err(_) => found.extend(Digest::parse(last).map(|digest| Meaning::Untagged(name, digest))),
            }
        }
        if let Some(rest) = self.0.strip_prefix(V1_NAMES).and_then(|rest| rest.strip_prefix('/')) {
            found.extend(shown_so(rest).map(Meaning::V1Name));
            if let Some((shown, last)) = rest.rsplit_once('/')
                && let Ok(tag) = Tag::parse(last)
            {
                found.extend(shown_so(shown).map(|name| Meaning::V1Tag(name, tag.clone())));
            }
        }
        found
    }
}

/// What stands before the last slash, if it is a name, and what stands behind it.
fn named(text: &str) -> Option<(RepoName, &str)> {
    let (name, last) = text.rsplit_once('/')?;
    Some((RepoName::parse(name).ok()?, last))
}

/// The names that V1 clients are shown so.
fn shown_so(text: &str) -> impl Iterator<Item = RepoName> + use<> {
    let name = V1Name::parse(text).ok().filter(|name| name.shown() == text);
    name.map(|name| name.written().cloned().collect::<Vec<_>>()).into_iter().flatten()
}

impl Ord for TreePath {
    fn cmp(&self, other: &TreePath) -> Ordering {
        self.components().cmp(other.components())
    }
}

impl PartialOrd for TreePath {
    fn partial_cmp(&self, other: &TreePath) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl FromStr for TreePath {
    type Err = ParseError;

    fn from_str(s: &str) -> Result<TreePath, ParseError> {
        TreePath::parse(s)
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// What a folder can be the folder of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Meaning {
    /// A name, with its tags on manifests.
    Name(RepoName),
    /// A tag on a manifest.
    Tag(RepoName, Tag),
    /// A manifest without tags.
    Untagged(RepoName, Digest),
    /// A name, with its tags on V1 images. Of two names that are shown the same, `library/x` comes first.
    V1Name(RepoName),
    /// A tag on a V1 image.
    V1Tag(RepoName, Tag),
    /// A V1 image.
    Image(ImageId),
}

impl Meaning {
    /// The name that it belongs to; none for an image, which belongs to all that hold it.
    pub fn repo_name(&self) -> Option<&RepoName> {
        match self {
            Meaning::Name(name)
            | Meaning::Tag(name, _)
            | Meaning::Untagged(name, _)
            | Meaning::V1Name(name)
            | Meaning::V1Tag(name, _) => Some(name),
            Meaning::Image(_) => None,
        }
    }

    /// The folder's path.
    pub fn folder(&self) -> String {
        match self {
            Meaning::Name(name) => name.to_string(),
            Meaning::Tag(name, tag) => tag_folder(name, tag),
            Meaning::Untagged(name, digest) => untagged_folder(name, digest),
            Meaning::V1Name(name) => v1_folder(name),
            Meaning::V1Tag(name, tag) => v1_tag_folder(name, tag),
            Meaning::Image(id) => image_folder(id),
        }
    }
}

/// The folder of a tag on a manifest.
pub fn tag_folder(name: &RepoName, tag: &Tag) -> String {
    format!("{name}/{tag}")
}

/// The folder of a manifest without tags.
pub fn untagged_folder(name: &RepoName, digest: &Digest) -> String {
    format!("{name}/{digest}")
}

/// The folder of a name's tags on V1 images.
pub fn v1_folder(name: &RepoName) -> String {
    format!("{V1_NAMES}/{}", V1Name::of(name).shown())
}

/// The folder of a tag on a V1 image.
pub fn v1_tag_folder(name: &RepoName, tag: &Tag) -> String {
    format!("{}/{tag}", v1_folder(name))
}

/// The folder of a V1 image.
pub fn image_folder(id: &ImageId) -> String {
    format!("{IMAGES}/{:02x}/{id}", id.as_bytes()[0])
}

/// What a config or layer is called beside its manifest.
pub fn blob_file(digest: &Digest) -> String {
    format!("{}__{}", digest.algorithm(), digest.hex())
}

/// The blob that is called so.
pub fn blob_of_file(file: &str) -> Option<Digest> {
    let (algorithm, hex) = file.split_once("__")?;
    Digest::parse(&format!("{algorithm}:{hex}")).ok()
}

/// The beginnings of what blobs are called.
pub const BLOB_FILES: [&str; 2] = ["sha256__", "sha512__"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::parse(text).unwrap()
    }

    #[test]
    fn a_path_is_names_joined_by_slashes() {
        for good in ["", "a", "a/b.c/sha256:00", ".images", "repositories/library/x", "é ö/~"] {
            assert_eq!(path(good).as_str(), good);
        }
        let long = "x".repeat(limits::TREE_PATH_BYTES_MAX + 1);
        for bad in ["/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "a\0", "a\nb", "\u{7f}", &long] {
            assert!(TreePath::parse(bad).is_err(), "{bad:?} passed");
        }
    }

    #[test]
    fn parts_of_a_path() {
        let whole = path("a/b/c");
        assert_eq!((whole.name(), whole.depth()), ("c", 3));
        assert_eq!(whole.parent(), Some(path("a/b")));
        assert_eq!(path("a").parent(), Some(TreePath::root()));
        assert_eq!((TreePath::root().parent(), TreePath::root().name()), (None, ""));
        assert_eq!(path("a/b").join("c").unwrap(), whole);
        assert!(path("a").join("..").is_err() && path("a").join("").is_err());
        assert!(whole.is_at_or_below(&path("a/b")) && whole.is_at_or_below(&whole));
        assert!(whole.is_at_or_below(&TreePath::root()) && !path("ab").is_at_or_below(&path("a")));
    }

    #[test]
    fn folders_come_before_what_is_in_them_and_that_before_their_siblings() {
        let mut paths = ["a-b", "a/b", "a", "a.b/c", "", "a.b", "a/b/c"].map(path);
        paths.sort();
        assert_eq!(paths, ["", "a", "a/b", "a/b/c", "a-b", "a.b", "a.b/c"].map(path));
    }

    #[test]
    fn a_folder_is_what_its_text_allows() {
        let name = |text: &str| RepoName::parse(text).unwrap();
        let tag = |text: &str| Tag::parse(text).unwrap();
        let hex = "ab".repeat(32);
        let digest = Digest::parse(&format!("sha256:{hex}")).unwrap();
        for (text, meanings) in [
            ("", vec![]),
            ("a", vec![Meaning::Name(name("a"))]),
            ("a/b", vec![Meaning::Name(name("a/b")), Meaning::Tag(name("a"), tag("b"))]),
            ("a/B", vec![Meaning::Tag(name("a"), tag("B"))]),
            (&format!("a/sha256:{hex}"), vec![Meaning::Untagged(name("a"), digest)]),
            ("repositories", vec![Meaning::Name(name("repositories"))]),
            ("repositories/library/X", vec![Meaning::Tag(name("repositories/library"), tag("X"))]),
            (
                "repositories/library/x/1_0",
                vec![
                    Meaning::Name(name("repositories/library/x/1_0")),
                    Meaning::Tag(name("repositories/library/x"), tag("1_0")),
                    Meaning::V1Name(name("library/x/1_0")),
                    Meaning::V1Tag(name("library/x"), tag("1_0")),
                    Meaning::V1Tag(name("x"), tag("1_0")),
                ],
            ),
            (&format!(".images/ab/{hex}"), vec![Meaning::Image(ImageId::parse(&hex).unwrap())]),
            (&format!(".images/ac/{hex}"), vec![]),
            (".images/ab", vec![]),
            (".images", vec![]),
            (".imagesx/ab", vec![]),
        ] {
            assert_eq!(path(text).meanings(), meanings, "{text:?}");
        }
    }

    #[test]
    fn a_name_alone_stands_with_those_of_the_library() {
        assert_eq!(v1_folder(&"x".parse().unwrap()), "repositories/library/x");
        assert_eq!(v1_folder(&"a/b/c".parse().unwrap()), "repositories/a/b/c");
        assert_eq!(path("repositories/x").meanings(), {
            [
                Meaning::Name("repositories/x".parse().unwrap()),
                Meaning::Tag("repositories".parse().unwrap(), "x".parse().unwrap()),
            ]
        });
    }

    #[test]
    fn blobs_are_called_by_their_digests() {
        let digest = Digest::sha512([7; 64]);
        assert_eq!(blob_of_file(&blob_file(&digest)), Some(digest));
        for none in ["manifest.json", "sha256__12", "sha256:12", "__", "sha256__", "md5__00"] {
            assert_eq!(blob_of_file(none), None, "{none}");
        }
    }

    fn name() -> impl Strategy<Value = RepoName> {
        "(library/|repositories/)?[a-z][a-z0-9]{0,3}(/[a-z0-9]{1,3}){0,2}".prop_map(|s| s.parse().unwrap())
    }

    fn meaning() -> impl Strategy<Value = Meaning> {
        let tag = || "[A-Za-z0-9_][A-Za-z0-9._-]{0,4}".prop_map(|s| Tag::parse(&s).unwrap());
        prop_oneof![
            name().prop_map(Meaning::Name),
            (name(), tag()).prop_map(|(name, tag)| Meaning::Tag(name, tag)),
            (name(), any::<[u8; 32]>())
                .prop_map(|(name, hash)| Meaning::Untagged(name, Digest::sha256(hash))),
            name().prop_map(Meaning::V1Name),
            (name(), tag()).prop_map(|(name, tag)| Meaning::V1Tag(name, tag)),
            any::<[u8; 32]>().prop_map(|id| Meaning::Image(ImageId::from_bytes(id))),
        ]
    }

    proptest! {
        #[test]
        fn every_folder_means_what_it_is_the_folder_of(meaning in meaning()) {
            let path = path(&meaning.folder());
            prop_assert!(path.meanings().contains(&meaning), "{path:?}");
            prop_assert!(path.meanings().iter().all(|other| other.folder() == path.as_str()));
        }

        #[test]
        fn any_text_is_a_path_or_refused(text in "\\PC{0,40}|[a-z./\\x00-\\x1f]{0,20}") {
            if let Ok(path) = TreePath::parse(&text) {
                let joined = path.components().try_fold(TreePath::root(), |at, part| at.join(part)).unwrap();
                prop_assert_eq!(&joined, &path);
                prop_assert_eq!(path.components().count(), path.depth());
                path.meanings();
            }
        }

        /// The order of a walk: below a folder, nothing comes between.
        #[test]
        fn what_is_in_a_folder_follows_it(mut paths in proptest::collection::vec("[ab.-]{1,2}(/[ab.-]{1,2}){0,3}", 2..12)) {
            paths.retain(|text| TreePath::parse(text).is_ok());
            let mut paths: Vec<TreePath> = paths.iter().map(|text| path(text)).collect();
            paths.sort();
            for folder in &paths {
                let below: Vec<usize> = (0..paths.len()).filter(|at| paths[*at].is_at_or_below(folder)).collect();
                prop_assert!(below.windows(2).all(|pair| pair[1] == pair[0] + 1));
            }
        }
    }
}
