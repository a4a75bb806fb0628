//! Random numbers that come out the same for the same seed, on every machine. Not for secrets.

/// A splitmix64 generator: small, fast, and with no bad seeds.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The generator that a seed gives.
    pub const fn from_seed(seed: u64) -> Random {
        Random(seed)
    }

    /// A generator with a seed that nobody chose, or the one in the variable `SUPERCARGO_TEST_SEED`. The
    /// seed is printed, so that a failed run can be had again.
    pub fn from_environment(test: &str) -> Random {
        let seed = match std::env::var("SUPERCARGO_TEST_SEED") {
            Ok(text) => text.parse().unwrap_or_else(|_| panic!("SUPERCARGO_TEST_SEED={text} is no number")),
            Err(_) => {
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
                u64::try_from(now.as_nanos() & u128::from(u64::MAX)).unwrap()
            }
        };
        eprintln!("{test}: SUPERCARGO_TEST_SEED={seed}");
        Random(seed)
    }

    /// Any number.
    #[expect(clippy::should_implement_trait, reason = "endless, and drawn from one by one")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 up to and without `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// An index of a collection of `len` entries, which is not 0.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap()
    }

    /// True `n` times in `of`.
    pub fn chance(&mut self, n: u64, of: u64) -> bool {
        self.below(of) < n
    }

    /// Bytes that do not compress.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        for piece in bytes.chunks_mut(8) {
            piece.copy_from_slice(&self.next().to_le_bytes()[..piece.len()]);
        }
        bytes
    }

    /// A generator for a part of the work, whose numbers do not depend on what else is drawn from this one.
    #[must_use]
    pub fn fork(&mut self) -> Random {
        Random(self.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_everywhere() {
        let mut random = Random::from_seed(42);
        assert_eq!(random.next(), 13_679_457_532_755_275_413);
        assert_eq!(Random::from_seed(7).bytes(11), Random::from_seed(7).bytes(11));
        assert_ne!(Random::from_seed(7).bytes(11), Random::from_seed(8).bytes(11));
    }
}
