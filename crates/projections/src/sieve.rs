//! What a long fold knows without looking: that a key was never written.
//!
//! Most of what a log says is new, and to find in the tables that something is not there costs as much as
//! finding it. A Bloom filter of fixed size answers most of those questions from memory.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use redb::StorageError;

use crate::changes::Changes;
use crate::working::{Base, Stored};

/// 16 MiB: with ten million keys, one question in fifty is asked of the tables for nothing.
const WORDS: usize = 1 << 21;

/// Keys that may have been written. It never forgets one, and takes some for written that were not. A fresh one
/// is for tables in which nothing is written yet.
#[derive(Debug)]
pub struct Sieve {
    bits: Box<[u64]>,
    hasher: RandomState,
    empty: bool,
}

impl Default for Sieve {
    fn default() -> Sieve {
        Sieve { bits: vec![0; WORDS].into_boxed_slice(), hasher: RandomState::default(), empty: true }
    }
}

impl Sieve {
    /// Two places, each a word and a bit in it.
    fn places(&self, key: &[u8]) -> [(usize, u64); 2] {
        let hash = self.hasher.hash_one(key);
        [hash as u32, (hash >> 32) as u32].map(|half| (half as usize / 64 % WORDS, 1 << (half % 64)))
    }

    pub(crate) fn insert(&mut self, key: &[u8]) {
        for (word, bit) in self.places(key) {
            self.bits[word] |= bit;
        }
        self.empty = false;
    }

    /// All keys that are written or removed.
    pub(crate) fn insert_all(&mut self, changes: &Changes) {
        changes.iter().for_each(|(key, _)| self.insert(key));
    }

    fn may_hold(&self, key: &[u8]) -> bool {
        self.places(key).into_iter().all(|(word, bit)| self.bits[word] & bit != 0)
    }
}

/// Tables that are asked only for what may be there.
#[derive(Debug)]
pub struct Sieved<'t> {
    pub(crate) table: Stored<'t>,
    pub(crate) sieve: Sieve,
}

impl Base for Sieved<'_> {
    fn get<R>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Result<Option<R>, StorageError> {
        if self.sieve.may_hold(key) { Base::get(&self.table, key, read) } else { Ok(None) }
    }

    fn scan(
        &self,
        start: &[u8],
        end: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StorageError> {
        Base::scan(&self.table, start, end, visit)
    }

    fn is_empty(&self) -> bool {
        self.sieve.empty
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_inserted_may_be_there_and_hardly_anything_else() {
        let mut sieve = Sieve::default();
        let key = |number: u64| number.to_be_bytes();
        (0..10_000).for_each(|number| sieve.insert(&key(number)));
        assert!((0..10_000).all(|number| sieve.may_hold(&key(number))));
        let wrong = (10_000..20_000).filter(|number| sieve.may_hold(&key(*number))).count();
        assert!(wrong < 10, "{wrong} of 10 000");
    }
}
