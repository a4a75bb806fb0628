//! Docker's tarsum: a checksum over the headers and contents of a layer's files and the image's JSON, which
//! doesn't depend on the order of the files or on compression (docker-v1, section 5.5; Docker's
//! `pkg/tarsum/tarsum_spec.md`).

use std::fmt;
use std::io::Read;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};
use supercargo_model::Digest;

use crate::stream::{Uncompressed, piece};
use crate::tar::{Entry, Tar};
use crate::{InspectLimits, LayerError, TarsumParseError};

/// What a tarsum is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TarsumVersion {
    /// `tarsum`: what clients send with a V1 push.
    V0,
    /// `tarsum.v1`: without times, and with extended attributes.
    V1,
}

impl TarsumVersion {
    const fn label(self) -> &'static str {
        match self {
            TarsumVersion::V0 => "tarsum",
            TarsumVersion::V1 => "tarsum.v1",
        }
    }
}

/// A tarsum with its version, as in `tarsum+sha256:…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tarsum {
    /// What it is over.
    pub version: TarsumVersion,
    /// Its hash, of SHA-256.
    pub digest: Digest,
}

impl Tarsum {
    /// Parses `tarsum+sha256:<hex>` and `tarsum.v1+sha256:<hex>`, the hash in 64 lower-case digits.
    ///
    /// # Errors
    /// [`TarsumParseError`] for everything else, also for other versions and hashes that Docker knows.
    pub fn parse(s: &str) -> Result<Tarsum, TarsumParseError> {
        // What is echoed never has another's length.
        let refused = || TarsumParseError(s.chars().take(128).collect());
        let (label, digest) = s.split_once('+').ok_or_else(refused)?;
        let version = [TarsumVersion::V0, TarsumVersion::V1]
            .into_iter()
            .find(|version| version.label() == label)
            .ok_or_else(refused)?;
        if !digest.starts_with("sha256:") {
            return Err(refused());
        }
        Ok(Tarsum { version, digest: Digest::parse(digest).map_err(|_| refused())? })
    }
}

impl FromStr for Tarsum {
    type Err = TarsumParseError;

    fn from_str(s: &str) -> Result<Self, TarsumParseError> {
        Tarsum::parse(s)
    }
}

impl fmt::Display for Tarsum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.version.label(), self.digest)
    }
}

/// Computes the tarsum of a stored layer and the JSON of its image (which may be empty).
///
/// Holds about 100 bytes for each entry of the layer.
///
/// # Errors
/// [`LayerError`], except `Write`.
pub fn tarsum(
    stored: impl Read,
    json: &[u8],
    version: TarsumVersion,
    limits: InspectLimits<'_>,
) -> Result<Tarsum, LayerError> {
    let mut tar = Tar::new(Uncompressed::new(stored, limits)?);
    let mut piece = piece();
    let mut sums = Vec::new();
    while let Some(entry) = tar.next_entry()? {
        if entry.sparse {
            return Err(LayerError::SparseFile);
        }
        let mut hash = Sha256::new();
        hash_header(&mut hash, &entry, version);
        loop {
            let read = tar.content(&mut piece)?;
            if read == 0 {
                break;
            }
            hash.update(&piece[..read]);
        }
        sums.push(EntrySum { sum: hash.finalize().into(), name: name_hash(&entry.name) });
    }

    let mut hash = Sha256::new();
    hash.update(json);
    for position in order(&sums) {
        hash.update(Digest::sha256(sums[position as usize].sum).hex());
    }
    Ok(Tarsum { version, digest: Digest::sha256(hash.finalize().into()) })
}

fn hash_header(hash: &mut Sha256, entry: &Entry, version: TarsumVersion) {
    let mut field = |key: &[u8], value: &[u8]| {
        hash.update(key);
        hash.update(value);
    };
    field(b"name", &entry.name);
    field(b"mode", entry.mode.to_string().as_bytes());
    field(b"uid", entry.uid.to_string().as_bytes());
    field(b"gid", entry.gid.to_string().as_bytes());
    field(b"size", entry.size.to_string().as_bytes());
    if version == TarsumVersion::V0 {
        field(b"mtime", entry.mtime.to_string().as_bytes());
    }
    field(b"typeflag", &[entry.typeflag]);
    field(b"linkname", &entry.linkname);
    field(b"uname", &entry.uname);
    field(b"gname", &entry.gname);
    field(b"devmajor", entry.devmajor.to_string().as_bytes());
    field(b"devminor", entry.devminor.to_string().as_bytes());
    if version == TarsumVersion::V1 {
        for (name, value) in &entry.xattrs {
            field(name, value);
        }
    }
}

/// What is kept of an entry.
struct EntrySum {
    sum: [u8; 32],
    /// So much of the name's hash that no two names share it by chance or by intent.
    name: [u8; 16],
}

/// The hash of a name as Docker compares names.
fn name_hash(name: &[u8]) -> [u8; 16] {
    let name = name.strip_prefix(b"./").unwrap_or(name);
    let name = name.strip_suffix(b"/").unwrap_or(name);
    let hash: [u8; 32] = Sha256::digest(name).into();
    let mut short = [0; 16];
    short.copy_from_slice(&hash[..16]);
    short
}

/// The order that sums are hashed in: by sum, but those of one name as they stand in the tar.
///
/// Docker sorts with both rules in one comparison. Where other sums lie between those of one name, that is no
/// order, and what comes of it depends on the sorting; here they take each other's places then.
fn order(sums: &[EntrySum]) -> Vec<u32> {
    // No more than the limit of entries, which is such a number.
    let len = u32::try_from(sums.len()).unwrap_or(u32::MAX);
    let mut order: Vec<u32> = (0..len).collect();
    order.sort_unstable_by_key(|&position| (sums[position as usize].sum, position));

    let mut places = vec![0u32; sums.len()];
    for (place, &position) in (0..).zip(&order) {
        places[position as usize] = place;
    }
    let mut by_name = order.clone();
    by_name.sort_unstable_by_key(|&position| (sums[position as usize].name, position));
    let same_name = |a: &u32, b: &u32| sums[*a as usize].name == sums[*b as usize].name;
    for group in by_name.chunk_by(same_name).filter(|group| group.len() > 1) {
        let mut held: Vec<u32> = group.iter().map(|&position| places[position as usize]).collect();
        held.sort_unstable();
        for (&place, &position) in held.iter().zip(group) {
            order[place as usize] = position;
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{
        ByteByByte, COMPRESSIONS, HeaderBytes, JSON_A, JSON_B, LAYER_A, LAYER_A_BZIP2, LAYER_A_XZ,
        LAYER_A_ZSTD, LAYER_B, TarBytes, compress, decode, gunzip, limits,
    };

    const TARSUM_A: &str = "tarsum+sha256:256b050b18c9cb679677ef0c1009c27623ef29a4adfa055e4a33d5119b91e3f0";
    const TARSUM_B: &str = "tarsum+sha256:35ec3567378f6f1b10101404aae2b87d06ca46042d4f1a649c32a216f0cdfcd1";

    fn of(tar: &[u8], version: TarsumVersion) -> String {
        tarsum(tar, b"", version, limits()).unwrap().to_string()
    }

    #[test]
    fn known_layers_have_their_known_tarsums() {
        let plain = gunzip(&decode(LAYER_A));
        let stored = [LAYER_A, LAYER_A_BZIP2, LAYER_A_XZ, LAYER_A_ZSTD].map(decode);
        for stored in stored.iter().chain([&plain]) {
            let sum = tarsum(stored.as_slice(), JSON_A.as_bytes(), TarsumVersion::V0, limits()).unwrap();
            assert_eq!(sum.to_string(), TARSUM_A);
            let slow = ByteByByte::new(stored.as_slice());
            assert_eq!(tarsum(slow, JSON_A.as_bytes(), TarsumVersion::V0, limits()).unwrap(), sum);
        }
        let sum = tarsum(decode(LAYER_B).as_slice(), JSON_B.as_bytes(), TarsumVersion::V0, limits());
        assert_eq!(sum.unwrap().to_string(), TARSUM_B);
    }

    /// The cases of Docker's own tests that need none of its files.
    #[test]
    fn sums_are_those_of_dockers_tests() {
        let file = HeaderBytes::new("file.txt", b'0', 0);
        let users = |name: &str| {
            let mut header = HeaderBytes::new(name, b'0', 4);
            header.set(108, b"0001750").set(116, b"0001750").set(265, b"slartibartfast").set(297, b"users");
            header
        };
        let xattrs = |records: &[(&str, &str)]| {
            TarBytes::default().pax(records).entry(&users("xattrs.txt"), b"test").end()
        };
        let mut zeros = HeaderBytes::new("/testdata0", 0, 1024 * 1024);
        zeros.set(100, b"0000755");
        let cases = [
            (
                TarBytes::default().entry(&file, b"").end(),
                TarsumVersion::V0,
                "tarsum+sha256:626c4a2e9a467d65c33ae81f7f3dedd4de8ccaee72af73223c4bc4718cbc7bbd",
            ),
            (
                TarBytes::default().entry(&file, b"").end(),
                TarsumVersion::V1,
                "tarsum.v1+sha256:6ffd43a1573a9913325b4918e124ee982a99c0f3cba90fc032a65f5e20bdd465",
            ),
            (
                TarBytes::default().entry(&users("another.txt"), b"test").end(),
                TarsumVersion::V1,
                "tarsum.v1+sha256:b38166c059e11fb77bef30bf16fba7584446e80fcc156ff46d47e36c5305d8ef",
            ),
            (
                xattrs(&[("SCHILY.xattr.user.key1", "value1"), ("SCHILY.xattr.user.key2", "value2")]),
                TarsumVersion::V1,
                "tarsum.v1+sha256:4cc2e71ac5d31833ab2be9b4f7842a14ce595ec96a37af4ed08f87bc374228cd",
            ),
            (
                xattrs(&[("SCHILY.xattr.user.key2", "value2"), ("SCHILY.xattr.user.KEY1", "value1")]),
                TarsumVersion::V1,
                "tarsum.v1+sha256:65f4284fa32c0d4112dd93c3637697805866415b570587e4fd266af241503760",
            ),
            (
                xattrs(&[("SCHILY.xattr.user.NOT", "CALCULATED")]),
                TarsumVersion::V0,
                "tarsum+sha256:c12bb6f1303a9ddbf4576c52da74973c00d14c109bcfa76b708d5da1154a07fa",
            ),
            // With the type that old writers give a file, which old readers keep.
            (
                TarBytes::default().entry(&zeros, &vec![0; 1024 * 1024]).end(),
                TarsumVersion::V0,
                "tarsum+sha256:8bf12d7e67c51ee2e8306cba569398b1b9f419969521a12ffb9d8875e8836738",
            ),
            (
                TarBytes::default().end(),
                TarsumVersion::V0,
                "tarsum+sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            ),
            (
                Vec::new(),
                TarsumVersion::V0,
                "tarsum+sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            ),
        ];
        for (tar, version, expected) in cases {
            assert_eq!(of(&tar, version), expected);
        }
    }

    #[test]
    fn order_of_files_matters_only_where_they_share_a_name() {
        let tar = |files: &[(&str, &str)]| {
            let tar = files
                .iter()
                .fold(TarBytes::default(), |tar, (name, content)| tar.file(name, content.as_bytes()));
            of(&tar.end(), TarsumVersion::V0)
        };
        assert_eq!(tar(&[("a", "1"), ("b", "2"), ("c", "3")]), tar(&[("c", "3"), ("a", "1"), ("b", "2")]));
        // Which file is the one that counts depends on their order.
        assert_ne!(tar(&[("a", "1"), ("a", "2")]), tar(&[("a", "2"), ("a", "1")]));
        assert_ne!(tar(&[("a", "1"), ("./a", "2")]), tar(&[("./a", "2"), ("a", "1")]));
        assert_ne!(tar(&[("a", "1")]), tar(&[("a", "1"), ("a", "1")]));
    }

    #[test]
    fn everything_that_a_version_covers_changes_the_sum() {
        let with = |change: &dyn Fn(&mut HeaderBytes)| {
            let mut header = HeaderBytes::new("file", b'0', 4);
            change(&mut header);
            TarBytes::default().entry(&header, b"test").end()
        };
        let base = with(&|_| {});
        let time = with(&|header| {
            header.set(136, b"00000000001");
        });
        assert_ne!(of(&base, TarsumVersion::V0), of(&time, TarsumVersion::V0));
        assert_eq!(of(&base, TarsumVersion::V1), of(&time, TarsumVersion::V1));
        for (at, field) in [
            (0, "fil2"),
            (100, "0000001"),
            (108, "0000001"),
            (116, "0000001"),
            (157, "x"),
            (265, "x"),
            (297, "x"),
        ] {
            let other = with(&|header| {
                header.set(at, field.as_bytes());
            });
            for version in [TarsumVersion::V0, TarsumVersion::V1] {
                assert_ne!(of(&base, version), of(&other, version), "{at}");
            }
        }
        let xattr = TarBytes::default().pax(&[("SCHILY.xattr.user.a", "b")]).file("file", b"test").end();
        assert_eq!(of(&base, TarsumVersion::V0), of(&xattr, TarsumVersion::V0));
        assert_ne!(of(&base, TarsumVersion::V1), of(&xattr, TarsumVersion::V1));
        let json = tarsum(base.as_slice(), b"{}", TarsumVersion::V0, limits()).unwrap();
        assert_ne!(of(&base, TarsumVersion::V0), json.to_string());
    }

    #[test]
    fn sparse_file_has_no_tarsum() {
        let tar = TarBytes::default().pax(&[("GNU.sparse.major", "1")]).file("file", b"0\n").end();
        let error = tarsum(tar.as_slice(), b"", TarsumVersion::V0, limits()).unwrap_err();
        assert!(matches!(error, LayerError::SparseFile));
    }

    #[test]
    fn entries_are_limited() {
        let tar = TarBytes::default().file("a", b"").file("b", b"").end();
        let limited =
            |entries| tarsum(tar.as_slice(), b"", TarsumVersion::V0, InspectLimits { entries, ..limits() });
        assert!(limited(2).is_ok());
        assert!(matches!(limited(1), Err(LayerError::TooManyEntries { limit: 1 })));
    }

    #[test]
    fn damage_behind_the_tar_is_noticed() {
        let stored = decode(LAYER_A);
        for len in 3..stored.len() {
            let cut = tarsum(&stored[..len], b"", TarsumVersion::V0, limits());
            assert!(matches!(cut, Err(LayerError::Unreadable { .. })), "{len}");
        }
    }

    #[test]
    fn texts_are_parsed_and_printed_back() {
        for text in [TARSUM_A, &TARSUM_B.replace("tarsum", "tarsum.v1")] {
            assert_eq!(Tarsum::parse(text).unwrap().to_string(), text);
        }
        let long = "é".repeat(1000);
        for text in [
            "",
            "+",
            "tarsum",
            "tarsum+sha256:",
            &TARSUM_A.replace("tarsum", "tarsum.dev"),
            &TARSUM_A.replace("tarsum", "tarsum.v0"),
            &TARSUM_A.replace("sha256", "md5"),
            &TARSUM_A.replace("sha256", "sha512"),
            &format!("tarsum+sha512:{}", "0f".repeat(64)),
            &TARSUM_A.to_uppercase(),
            &TARSUM_A[..TARSUM_A.len() - 1],
            &format!("{TARSUM_A} "),
            &TARSUM_A.replace("tarsum+", ""),
            &long,
        ] {
            let error = Tarsum::parse(text).unwrap_err();
            assert!(error.to_string().len() < 400, "{error}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..3000),
            compression in proptest::sample::select(&COMPRESSIONS[..]),
        ) {
            let _ = tarsum(bytes.as_slice(), b"", TarsumVersion::V1, limits());
            let _ = tarsum(compress(compression, &bytes).as_slice(), b"", TarsumVersion::V1, limits());
        }

        #[test]
        fn sum_is_that_of_the_specification(
            files in proptest::collection::vec(
                ("[a-c]{1,3}/?", 0..0o7777u32, 0..100u64, proptest::collection::vec(any::<u8>(), 0..2000)),
                0..8,
            ),
            compression in proptest::sample::select(&COMPRESSIONS[..]),
        ) {
            let mut tar = TarBytes::default();
            let mut sums = std::collections::BTreeMap::new();
            for (name, mode, time, content) in &files {
                if sums.contains_key(name.trim_end_matches('/')) {
                    continue;
                }
                let mut header = HeaderBytes::new(name, b'0', content.len());
                header.set(100, format!("{mode:07o}").as_bytes()).set(136, format!("{time:011o}").as_bytes());
                tar = tar.entry(&header, content);
                let head = format!(
                    "name{name}mode{mode}uid0gid0size{}mtime{time}typeflag0linknameunamegnamedevmajor0devminor0",
                    content.len()
                );
                let sum: [u8; 32] = Sha256::new().chain_update(head).chain_update(content).finalize().into();
                sums.insert(name.trim_end_matches('/'), Digest::sha256(sum).hex());
            }
            let mut sums: Vec<String> = sums.into_values().collect();
            sums.sort();
            let expected: [u8; 32] = Sha256::new().chain_update("{}").chain_update(sums.concat()).finalize().into();
            let stored = compress(compression, &tar.end());
            let sum = tarsum(stored.as_slice(), b"{}", TarsumVersion::V0, limits()).unwrap();
            prop_assert_eq!(sum.digest, Digest::sha256(expected));
        }

        #[test]
        fn order_is_by_sum_and_within_a_name_by_place(
            entries in proptest::collection::vec((0..4u8, 0..6u8), 0..12),
        ) {
            let sums: Vec<EntrySum> = entries
                .iter()
                .map(|&(name, sum)| EntrySum { sum: [sum; 32], name: [name; 16] })
                .collect();
            let order = order(&sums);
            let mut places = order.clone();
            places.sort_unstable();
            prop_assert!(places.iter().copied().eq(0..entries.len() as u32));
            for (i, &a) in order.iter().enumerate() {
                for &b in &order[i + 1..] {
                    let (earlier, later) = (&sums[a as usize], &sums[b as usize]);
                    if earlier.name == later.name {
                        prop_assert!(a < b);
                    } else {
                        let shared = |of: &EntrySum| sums.iter().filter(|other| other.name == of.name).count() > 1;
                        prop_assert!(shared(earlier) || shared(later) || earlier.sum <= later.sum);
                    }
                }
            }
        }
    }
}
