//! Keys in small numbers: how a working state keeps them.
//!
//! A digest takes 65 bytes and stands in a dozen keys; a working state keeps it once and numbers it, and so
//! the keys in its maps are a few bytes that are copied, hashed and compared at once. Numbers are given in
//! the order of first sight and mean nothing outside: stored keys ([`crate::tables`]) have none of them.

use std::hash::Hash;

use foldhash::fast::RandomState;
use indexmap::IndexSet;
use supercargo_model::account::{Grant, GroupName, PermissionTargetName, TokenId, UserName};
use supercargo_model::{Digest, ImageId, RepoKey, RepoName, Tag, Timestamp};

use crate::tables::{Counter, NameId, Source, Wait};

#[derive(Debug)]
struct Numbered<T>(IndexSet<T, RandomState>);

impl<T> Default for Numbered<T> {
    fn default() -> Numbered<T> {
        Numbered(IndexSet::default())
    }
}

impl<T: Hash + Eq + Clone> Numbered<T> {
    #[expect(clippy::expect_used, reason = "four thousand million keys do not fit into memory")]
    fn number(&mut self, item: &T) -> u32 {
        let index = match self.0.get_index_of(item) {
            Some(index) => index,
            None => self.0.insert_full(item.clone()).0,
        };
        u32::try_from(index).expect("a working state is smaller than that")
    }

    fn item(&self, number: u32) -> T {
        self.0[number as usize].clone()
    }

    /// About how many bytes of memory they take, where an item takes so many besides its own size.
    fn bytes(&self, beside: usize) -> usize {
        self.0.len() * (size_of::<(T, u64, usize)>() + beside)
    }
}

/// Digests, numbered. A fold packs the few digests of its event over and over, so those that came last are
/// found without hashing.
#[derive(Debug, Default)]
struct Digests {
    all: Numbered<Digest>,
    recent: [Option<(Digest, u32)>; RECENT],
}

/// Digests that are remembered as recent, at most: those of one image and its manifest.
const RECENT: usize = 32;

impl Digests {
    fn number(&mut self, digest: &Digest) -> u32 {
        let recent = &mut self.recent[usize::from(digest.hash_bytes()[0]) % RECENT];
        match recent {
            Some((known, number)) if known == digest => *number,
            _ => {
                let number = self.all.number(digest);
                *recent = Some((*digest, number));
                number
            }
        }
    }
}

/// A key, or a part of one, that has a packed form. Packed keys are equal where the keys are; their order
/// is none that anybody may rely on.
#[doc(hidden)]
pub trait Pack: Sized {
    type Packed: Copy + Eq + Ord + Hash + std::fmt::Debug + Send;
    fn pack(&self, numbers: &mut Numbers) -> Self::Packed;
    fn unpack(packed: Self::Packed, numbers: &Numbers) -> Self;
}

macro_rules! packs_as_itself {
    ($($part:ty),*) => {$(
        impl Pack for $part {
            type Packed = $part;
            fn pack(&self, _: &mut Numbers) -> $part {
                *self
            }
            fn unpack(packed: $part, _: &Numbers) -> $part {
                packed
            }
        }
    )*};
}

packs_as_itself!(Counter, NameId, Timestamp, TokenId, Wait, u64, [u8; 16], [u8; 20]);

/// About what a name, a path or the like takes besides what points to it.
const TEXT_BYTES: usize = 64;

macro_rules! packs_as_number {
    ($($field:ident: $part:ty),* $(,)?) => {
        /// What numbers stand for. Its hashes are keyed: clients choose what is in it.
        #[derive(Debug, Default)]
        #[doc(hidden)]
        pub struct Numbers {
            digests: Digests,
            $($field: Numbered<$part>,)*
        }

        impl Numbers {
            /// About how many bytes of memory they take.
            pub(crate) fn bytes(&self) -> usize {
                self.digests.all.bytes(0) $(+ self.$field.bytes(TEXT_BYTES))*
            }
        }

        $(impl Pack for $part {
            type Packed = u32;
            fn pack(&self, numbers: &mut Numbers) -> u32 {
                numbers.$field.number(self)
            }
            fn unpack(number: u32, numbers: &Numbers) -> $part {
                numbers.$field.item(number)
            }
        })*
    };
}

packs_as_number! {
    repositories: RepoKey,
    names: RepoName,
    tags: Tag,
    texts: String,
    users: UserName,
    groups: GroupName,
    grants: Grant,
    image_ids: ImageId,
    permission_targets: PermissionTargetName,
}

impl Pack for Digest {
    type Packed = u32;
    fn pack(&self, numbers: &mut Numbers) -> u32 {
        numbers.digests.number(self)
    }
    fn unpack(number: u32, numbers: &Numbers) -> Digest {
        numbers.digests.all.item(number)
    }
}

/// [`Source`], packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[doc(hidden)]
pub enum PackedSource {
    Tag(u32),
    Manifest(u32),
}

impl Pack for Source {
    type Packed = PackedSource;
    fn pack(&self, numbers: &mut Numbers) -> PackedSource {
        match self {
            Source::Tag(tag) => PackedSource::Tag(tag.pack(numbers)),
            Source::Manifest(digest) => PackedSource::Manifest(digest.pack(numbers)),
        }
    }
    fn unpack(packed: PackedSource, numbers: &Numbers) -> Source {
        match packed {
            PackedSource::Tag(number) => Source::Tag(Tag::unpack(number, numbers)),
            PackedSource::Manifest(number) => Source::Manifest(Digest::unpack(number, numbers)),
        }
    }
}

macro_rules! packs_by_parts {
    ($($part:ident $index:tt),*) => {
        impl<$($part: Pack),*> Pack for ($($part,)*) {
            type Packed = ($($part::Packed,)*);
            fn pack(&self, numbers: &mut Numbers) -> Self::Packed {
                ($(self.$index.pack(numbers),)*)
            }
            fn unpack(packed: Self::Packed, numbers: &Numbers) -> Self {
                ($($part::unpack(packed.$index, numbers),)*)
            }
        }
    };
}

packs_by_parts!(A 0, B 1);
packs_by_parts!(A 0, B 1, C 2);
packs_by_parts!(A 0, B 1, C 2, D 3);

#[cfg(test)]
mod tests {
    use super::*;

    fn comes_back<K: Pack + PartialEq + std::fmt::Debug>(key: &K, numbers: &mut Numbers) {
        let packed = key.pack(numbers);
        assert_eq!(K::unpack(packed, numbers), *key);
        assert_eq!(key.pack(numbers), packed);
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        let mut numbers = Numbers::default();
        let numbers = &mut numbers;
        // More than are remembered as recent, and of the same first byte.
        let digests = (0..40).map(|byte| {
            let mut hash = [7; 32];
            hash[31] = byte;
            Digest::sha256(hash)
        });
        for digest in digests.clone().chain([Digest::sha512([7; 64])]).chain(digests) {
            comes_back(&digest, numbers);
        }
        assert_eq!(numbers.digests.all.0.len(), 41);
        let (a, b) = (Digest::sha256([1; 32]), Digest::sha512([1; 64]));
        let tag: Tag = "latest".parse().unwrap();
        for source in [Source::Tag(tag.clone()), Source::Manifest(b)] {
            comes_back(&(NameId(7), a, source), numbers);
        }
        comes_back(&(Wait::Pending, Timestamp::from_micros(-5), NameId(3), b), numbers);
        comes_back(&(NameId(9), tag, 4_u64), numbers);
        // The same text is one thing as a user and another as a group.
        let (user, group) = (UserName::parse("docs").unwrap(), GroupName::parse("docs").unwrap());
        comes_back(&(user.clone(), group.clone()), numbers);
        comes_back(&(group, user), numbers);
    }
}
