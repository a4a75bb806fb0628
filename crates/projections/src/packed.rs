//! Keys as the working state holds them: with a number in place of each digest.
//!
//! A digest takes 65 bytes and stands in most keys, several times over for each event. Kept once and numbered,
//! it makes keys of a few bytes, which is most of what folding a log in memory costs: what fits into the
//! processor's caches.

use std::hash::Hash;

use foldhash::fast::RandomState;
use indexmap::IndexSet;
use supercargo_model::{Digest, Tag, Timestamp};

use crate::tables::{NameId, Source, Wait};

/// Digests by number, in the order they were first met. The hash is keyed: clients choose what their manifests
/// refer to.
#[derive(Debug, Default)]
#[doc(hidden)]
pub struct Digests {
    all: IndexSet<Digest, RandomState>,
    /// What was asked for last: an event is about few digests, each of them in several tables.
    last: Option<(Digest, u32)>,
}

impl Digests {
    fn number(&mut self, digest: &Digest) -> u32 {
        if let Some((last, number)) = &self.last
            && last == digest
        {
            return *number;
        }
        let (place, _) = self.all.insert_full(*digest);
        // A batch is bounded far below that; numbers that met again would mix up rows.
        let number = u32::try_from(place).unwrap_or_else(|_| unreachable!("four billion digests in memory"));
        self.last = Some((*digest, number));
        number
    }

    fn digest(&self, number: u32) -> Digest {
        // Numbers come from `number` alone.
        self.all[number as usize]
    }
}

/// A key with digests in it.
#[doc(hidden)]
pub trait Pack: Sized {
    /// The same with their numbers.
    type Packed: Clone + Eq + Hash + std::fmt::Debug + Send;

    fn pack(&self, digests: &mut Digests) -> Self::Packed;
    fn unpack(packed: &Self::Packed, digests: &Digests) -> Self;
}

impl Pack for Digest {
    type Packed = u32;

    fn pack(&self, digests: &mut Digests) -> u32 {
        digests.number(self)
    }

    fn unpack(packed: &u32, digests: &Digests) -> Digest {
        digests.digest(*packed)
    }
}

impl Pack for (Digest, NameId) {
    type Packed = (u32, NameId);

    fn pack(&self, digests: &mut Digests) -> (u32, NameId) {
        (digests.number(&self.0), self.1)
    }

    fn unpack(packed: &(u32, NameId), digests: &Digests) -> (Digest, NameId) {
        (digests.digest(packed.0), packed.1)
    }
}

impl Pack for (NameId, Digest) {
    type Packed = (NameId, u32);

    fn pack(&self, digests: &mut Digests) -> (NameId, u32) {
        (self.0, digests.number(&self.1))
    }

    fn unpack(packed: &(NameId, u32), digests: &Digests) -> (NameId, Digest) {
        (packed.0, digests.digest(packed.1))
    }
}

impl Pack for (Wait, Timestamp, NameId, Digest) {
    type Packed = (Wait, Timestamp, NameId, u32);

    fn pack(&self, digests: &mut Digests) -> Self::Packed {
        (self.0, self.1, self.2, digests.number(&self.3))
    }

    fn unpack(packed: &Self::Packed, digests: &Digests) -> Self {
        (packed.0, packed.1, packed.2, digests.digest(packed.3))
    }
}

/// [`Source`], packed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[doc(hidden)]
pub enum PackedSource {
    Tag(Tag),
    Manifest(u32),
}

impl Pack for (NameId, Digest, Source) {
    type Packed = (NameId, u32, PackedSource);

    fn pack(&self, digests: &mut Digests) -> Self::Packed {
        let source = match &self.2 {
            Source::Tag(tag) => PackedSource::Tag(tag.clone()),
            Source::Manifest(digest) => PackedSource::Manifest(digests.number(digest)),
        };
        (self.0, digests.number(&self.1), source)
    }

    fn unpack(packed: &Self::Packed, digests: &Digests) -> Self {
        let source = match &packed.2 {
            PackedSource::Tag(tag) => Source::Tag(tag.clone()),
            PackedSource::Manifest(number) => Source::Manifest(digests.digest(*number)),
        };
        (packed.0, digests.digest(packed.1), source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked() {
        let mut digests = Digests::default();
        let (a, b) = (Digest::sha256([1; 32]), Digest::sha512([1; 64]));
        for digest in [a, b, a] {
            let packed = digest.pack(&mut digests);
            assert_eq!(Digest::unpack(&packed, &digests), digest);
        }
        assert_eq!(digests.all.len(), 2);
        let tag: Tag = "latest".parse().unwrap();
        for source in [Source::Tag(tag), Source::Manifest(b)] {
            let key = (NameId(7), a, source);
            let packed = key.pack(&mut digests);
            assert_eq!(<(NameId, Digest, Source)>::unpack(&packed, &digests), key);
        }
        let key = (Wait::Pending, Timestamp::from_micros(-5), NameId(3), b);
        assert_eq!(<(Wait, Timestamp, NameId, Digest)>::unpack(&key.pack(&mut digests), &digests), key);
        let key = (b, NameId(9));
        assert_eq!(<(Digest, NameId)>::unpack(&key.pack(&mut digests), &digests), key);
        let key = (NameId(9), a);
        assert_eq!(<(NameId, Digest)>::unpack(&key.pack(&mut digests), &digests), key);
    }
}
