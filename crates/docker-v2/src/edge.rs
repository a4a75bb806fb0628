//! What must hold of every parser at the edge, whatever it is given: a function for each, which panics where it
//! does not hold. `fuzz/` runs them without end; the tests below run them within bounds, on stable Rust.
//!
//! What lives here: claims about parsers, and how raw bytes become their arguments. What does not: parsers.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use supercargo_access::token::SentToken;
use supercargo_access::{
    AUTHORIZATION_BYTES_MAX, Access, Bearer, BearerSettings, Credentials, Htpasswd, Resource, SCOPES_MAX,
    SigningKeys,
};
use supercargo_http::etag;
use supercargo_http::range::{self, Selection};
use supercargo_model::{
    Digest, Manifest, Pattern, Reference, RepoKey, RepoName, Tag, Timestamp, limits, media_type,
};

use crate::page::{PageRequest, next_link};
use crate::query::Query;
use crate::range::ChunkRange;
use crate::route::Route;
use crate::token::Asked;
use crate::{condition, manifests};

/// Makes claims about a parser, of one input.
pub type Claims = fn(&[u8]);

/// Every parser's claims, by the name of its fuzz target.
pub const ALL: [(&str, Claims); 14] = [
    ("names", names),
    ("digests", digests),
    ("paths", paths),
    ("queries", queries),
    ("ranges", ranges),
    ("etags", etags),
    ("media_types", media_types),
    ("manifests", manifests),
    ("patterns", patterns),
    ("authorizations", authorizations),
    ("scopes", scopes),
    ("tokens", tokens),
    ("logins", logins),
    ("htpasswd", htpasswd),
];

fn text(data: &[u8]) -> &str {
    match std::str::from_utf8(data) {
        Ok(text) => text,
        // What comes before is as good as any text.
        Err(broken) => std::str::from_utf8(&data[..broken.valid_up_to()]).unwrap_or_default(),
    }
}

/// The first line, and what follows it.
fn lines(data: &[u8]) -> (&[u8], &[u8]) {
    match data.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &[]),
    }
}

/// Repository keys, names and tags: taken as they are or not at all; none too long, none that a path, a key or a
/// header would give another meaning.
pub fn names(data: &[u8]) {
    let text = text(data);
    let harmless = |max: usize| {
        assert!(!text.is_empty() && text.len() <= max, "{text:?}");
        assert!(text.bytes().all(|b| b.is_ascii_graphic() && !b"%?#\"\\".contains(&b)), "{text:?}");
        assert!(text.split('/').all(|part| !part.is_empty() && part != "." && part != ".."), "{text:?}");
    };
    if let Ok(key) = RepoKey::parse(text) {
        assert_eq!(key.as_str(), text);
        harmless(limits::REPO_KEY_BYTES_MAX);
        assert!(!text.contains('/'));
    }
    if let Ok(name) = RepoName::parse(text) {
        assert_eq!(name.as_str(), text);
        harmless(limits::REPO_NAME_BYTES_MAX);
    }
    if let Ok(tag) = Tag::parse(text) {
        assert_eq!(tag.as_str(), text);
        harmless(limits::TAG_BYTES_MAX);
        assert!(!text.contains(['/', ':']));
    }
}

/// Digests and references: one text for each, read back as it is written.
pub fn digests(data: &[u8]) {
    let text = text(data);
    if let Ok(digest) = Digest::parse(text) {
        assert_eq!(digest.to_string(), text);
        assert_eq!(Digest::from_hash(digest.algorithm(), digest.hash_bytes()), Some(digest));
    }
    match Reference::parse(text) {
        Ok(reference @ Reference::Digest(_)) => {
            assert!(Digest::parse(text).is_ok());
            assert_eq!(reference.to_string(), text);
        }
        Ok(reference @ Reference::Tag(_)) => {
            assert!(Tag::parse(text).is_ok());
            assert_eq!(reference.to_string(), text);
        }
        Err(_) => assert!(Digest::parse(text).is_err() && Tag::parse(text).is_err()),
    }
}

/// Paths, in any method: what is asked for may be asked for again by the path that it is written as.
pub fn paths(data: &[u8]) {
    let path = text(data);
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::POST, Method::PATCH, Method::DELETE] {
        let Ok(route) = Route::parse(&method, path) else { continue };
        let written = match &route {
            Route::GetManifest { name, reference } => format!("/v2/{name}/manifests/{reference}"),
            Route::GetBlob { name, digest } => format!("/v2/{name}/blobs/{digest}"),
            Route::ListTags { name } => format!("/v2/{name}/tags/list"),
            Route::StartUpload { name } => format!("/v2/{name}/blobs/uploads/"),
            Route::AppendUpload { name, id } => format!("/v2/{name}/blobs/uploads/{id}"),
            Route::ListReferrers { name, digest } => format!("/v2/{name}/referrers/{digest}"),
            _ => continue,
        };
        assert_eq!(Route::parse(&method, &written).as_ref(), Ok(&route), "{path:?}");
    }
}

/// Queries and pages: a page is never longer than it may be, and its link is a header that leads to what it says.
pub fn queries(data: &[u8]) {
    let raw = text(data);
    let query = Query::parse(Some(raw));
    for key in ["digest", "mount", "from", "tag", "artifactType", "digest-algorithm"] {
        assert_eq!(query.get(key), query.get_all(key).next().filter(|value| !value.is_empty()));
    }
    let Ok(page) = PageRequest::parse(&query) else { return };
    assert!(page.n <= limits::PAGE_ENTRIES_MAX);
    let filter = query.get("artifactType").map(|kind| ("artifactType", kind));
    let Some(last) = page.last else { return };
    let link = next_link("/v2/a/tags/list", page.n, last, filter);
    assert!(HeaderValue::from_str(&link).is_ok(), "{link:?}");
    let target = link.strip_prefix("</v2/a/tags/list?").and_then(|rest| rest.strip_suffix(">; rel=\"next\""));
    let next = Query::parse(target);
    assert_eq!(PageRequest::parse(&next), Ok(page), "{link}");
    assert_eq!(next.get("artifactType"), query.get("artifactType"), "{link}");
}

/// Both kinds of range: what is served lies within the blob, and a chunk has an end. The first eight bytes are
/// the blob's size.
pub fn ranges(data: &[u8]) {
    let Some((size, header)) = data.split_first_chunk() else { return };
    let (size, header) = (u64::from_le_bytes(*size), text(header));
    if let Selection::Part(range) = range::select(header, size) {
        assert!(range.start < range.end && range.end <= size, "{header:?} {size}");
    }
    if let Some(chunk) = ChunkRange::parse(header) {
        assert!(chunk.start.checked_add(chunk.length).is_some(), "{header:?}");
    }
}

/// Conditions: a tag that is listed is found, by itself and in the condition. A line is a header.
pub fn etags(data: &[u8]) {
    let etag = HeaderValue::from_static("\"x\"");
    for name in [header::IF_MATCH, header::IF_NONE_MATCH, header::IF_RANGE] {
        let headers = header_lines(&name, data);
        let cached = etag::is_cached(&headers, &etag);
        assert!(!cached || name == header::IF_NONE_MATCH);
        let _ = etag::range_applies(&headers, &etag);
        if let Ok(condition) = condition::read(&headers) {
            assert_eq!(condition.matches.is_some(), headers.contains_key(header::IF_MATCH));
            assert_eq!(condition.matches_none.is_some(), headers.contains_key(header::IF_NONE_MATCH));
        }
    }
}

fn header_lines(name: &HeaderName, data: &[u8]) -> HeaderMap {
    let values = data.split(|byte| *byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok());
    values.map(|value| (name.clone(), value)).collect()
}

/// Media types, from Content-Type and Accept: what is taken is short, fit for a header, and taken again as it is.
pub fn media_types(data: &[u8]) {
    if let Ok(read) = media_type::parse(text(data)) {
        assert!(read.len() <= limits::MEDIA_TYPE_BYTES_MAX);
        assert!(HeaderValue::from_str(&read).is_ok());
        assert_eq!(media_type::parse(&read).as_ref(), Ok(&read));
    }
    let _ = manifests::knows_no_index(&header_lines(&header::ACCEPT, data));
    let (sent, body) = lines(data);
    let headers = header_lines(&header::CONTENT_TYPE, sent);
    if let Ok(read) = manifests::pushed_media_type(&headers, &bytes::Bytes::copy_from_slice(body)) {
        assert_eq!(media_type::parse(&read).as_ref(), Ok(&read));
    }
}

/// Manifests: within bounds, and a signed one is the sum of its parts. The first line is the media type.
pub fn manifests(data: &[u8]) {
    let (media_type, bytes) = lines(data);
    let Ok((manifest, payload)) = Manifest::parse(text(media_type), bytes) else { return };
    assert_eq!(manifest.size, payload.len() as u64);
    assert!(payload.len() <= bytes.len());
    match &manifest.signed {
        Some(signed) => assert_eq!(signed.join(&payload), bytes),
        None => assert_eq!(payload, bytes),
    }
    let references = usize::from(manifest.config.is_some()) + manifest.layers.len() + manifest.children.len();
    assert!(references <= limits::MANIFEST_REFERENCES_MAX);
    let _ = manifest.listed_artifact_type();
}

/// Patterns: read back as they are written; one without stars matches itself alone. The second line is what is
/// matched.
pub fn patterns(data: &[u8]) {
    let (pattern, matched) = lines(data);
    let (written, matched) = (text(pattern), text(matched));
    let Ok(pattern) = Pattern::parse(written) else { return };
    assert_eq!(pattern.as_str(), written);
    let matches = pattern.matches(matched);
    if !written.contains('*') {
        assert_eq!(matches, written == matched);
    }
    assert!(Pattern::everything().matches(matched));
}

/// Authorization headers: what is taken is what was sent, and fit for a line of a log.
pub fn authorizations(data: &[u8]) {
    let Ok(credentials) = Credentials::parse(data) else { return };
    assert!(data.len() <= AUTHORIZATION_BYTES_MAX);
    match credentials {
        Credentials::Basic { user, password } => {
            assert!(!user.contains(|c: char| c == ':' || c.is_control()));
            let sent = format!("Basic {}", STANDARD.encode(format!("{user}:{}", password.expose())));
            // One without padding may have been shorter than it may be.
            if sent.len() > AUTHORIZATION_BYTES_MAX {
                return;
            }
            let again = Credentials::parse(sent.as_bytes());
            let Ok(Credentials::Basic { user: user_again, password: password_again }) = again else {
                panic!("{sent} is not taken");
            };
            assert_eq!((user_again, password_again.expose()), (user, password.expose()));
        }
        Credentials::Bearer(token) => {
            assert!(!token.expose().is_empty() && token.expose().bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }
}

/// Scopes: never more than there may be, one for each resource, and read back as they are written.
pub fn scopes(data: &[u8]) {
    let all = Access::parse_all(text(data).lines());
    assert!(all.len() <= SCOPES_MAX);
    for (at, access) in all.iter().enumerate() {
        assert!(all[..at].iter().all(|other| other.resource != access.resource));
        if let Resource::Repository { .. } = &access.resource {
            assert_eq!(Access::parse(&access.to_string()).as_ref(), Some(access));
        }
    }
}

/// Tokens of both kinds: no text is a bearer token that was not signed here.
pub fn tokens(data: &[u8]) {
    static BEARER: OnceLock<Bearer> = OnceLock::new();
    let bearer = BEARER.get_or_init(|| {
        let keys = SigningKeys::ephemeral().unwrap_or_else(|error| panic!("{error}"));
        Bearer::new(keys, BearerSettings::default())
    });
    let text = text(data);
    assert!(bearer.verify(text, "registry", Timestamp::default()).is_err());
    if SentToken::parse(text).is_some() {
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
    }
}

/// What the token endpoint is asked, as a query or a form: nothing that was not there.
pub fn logins(data: &[u8]) {
    let text = text(data);
    let asked = Asked::parse(text);
    assert!(asked.scopes.len() <= text.split('&').count());
    assert!(Access::parse_all(asked.scopes.iter().map(String::as_str)).len() <= SCOPES_MAX);
}

/// htpasswd files: each line is a user, or refused, or neither, in their order.
pub fn htpasswd(data: &[u8]) {
    let text = text(data);
    let read = Htpasswd::parse(text);
    let mut lines: Vec<usize> = read.users.iter().map(|user| user.line).collect();
    lines.extend(read.refused.iter().map(|refused| refused.line));
    lines.sort_unstable();
    assert!(lines.windows(2).all(|pair| pair[0] < pair[1]), "{lines:?}");
    assert!(lines.first().is_none_or(|first| *first > 0));
    assert!(lines.last().is_none_or(|last| *last <= text.lines().count()));
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    fn fuzz() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
    }

    /// Inputs worth beginning with, as the fuzzer does too.
    fn seeds(target: &str) -> Vec<Vec<u8>> {
        let folder = fuzz().join("seeds").join(target);
        let files = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
        files.sort();
        files.iter().map(|file| std::fs::read(file).unwrap()).collect()
    }

    #[test]
    fn every_parser_is_fuzzed() {
        let targets: Vec<String> = std::fs::read_dir(fuzz().join("fuzz_targets"))
            .unwrap()
            .map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        for (name, claims) in ALL {
            assert!(targets.iter().any(|target| target == name), "{name}");
            let seeds = seeds(name);
            assert!(seeds.len() > 2, "{name}");
            seeds.iter().for_each(|seed| claims(seed));
        }
    }

    /// A change of a seed: bytes at a place go, and others come.
    #[derive(Debug, Clone)]
    struct Edit {
        at: Index,
        removed: usize,
        added: Vec<u8>,
    }

    impl Edit {
        fn apply(&self, data: &mut Vec<u8>) {
            let start = self.at.index(data.len() + 1);
            let end = (start + self.removed).min(data.len());
            data.splice(start..end, self.added.iter().copied());
        }
    }

    /// What parsers look at, more often than any byte.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let telling = prop::sample::select(&b"/.-_:%*+=&?,;\"\\{}[] \n0aA9"[..]);
        prop::collection::vec(prop_oneof![3 => telling, 1 => any::<u8>()], 0..6)
    }

    fn edit() -> impl Strategy<Value = Edit> {
        (any::<Index>(), 0..6_usize, bytes()).prop_map(|(at, removed, added)| Edit { at, removed, added })
    }

    proptest! {
        #[test]
        fn what_is_nearly_right_is_no_surprise(
            which in any::<Index>(),
            seed in any::<Index>(),
            edits in prop::collection::vec(edit(), 0..6),
        ) {
            let (name, claims) = ALL[which.index(ALL.len())];
            let mut data = seed.get(&seeds(name)).clone();
            edits.iter().for_each(|edit| edit.apply(&mut data));
            claims(&data);
        }

        #[test]
        fn what_is_anything_is_no_surprise(data in prop::collection::vec(any::<u8>(), 0..200)) {
            for (_, claims) in ALL {
                claims(&data);
            }
        }
    }
}
