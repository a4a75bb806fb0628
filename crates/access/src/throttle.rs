//! Slowing down who guesses passwords.
//!
//! Failures are counted in three ways: for a user from one address, for a user from anywhere, and for an address
//! whoever it asks for. Past some, each further failure doubles the time until the next try is looked at. Failures
//! are forgiven one by one as time goes by.
//!
//! A user who logged in from an address lately is answerable there for what happens there alone, so nobody can lock
//! a user out from elsewhere, nor a neighbour behind the same address. Only passwords are counted: nobody guesses
//! 256 bits of a token, and a forgotten job with a revoked one must not lock out the machine that it runs on.
//!
//! What is looked at already when a wait begins is still answered: no more guesses than fit the queue of passwords.
//!
//! Memory is bounded. What is counted has a place under a keyed hash; when there are too many, those with the least
//! against them go first. So who cycles through names or addresses pushes out others who failed once, and would have
//! to fail as often, in every place, as those whose record they want gone.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use supercargo_model::Timestamp;

use crate::NoRandom;
use crate::secret::ProcessKey;

/// How failures are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThrottleSettings {
    /// Failures of a user from one address before tries are slowed down.
    pub free_per_pair: u32,
    /// Failures of a user from anywhere.
    pub free_per_user: u32,
    /// Failures from an address, whoever it asks for. Many people may share one.
    pub free_per_address: u32,
    /// The wait after the first failure too many. Each further one doubles it.
    pub first_wait: Duration,
    /// The longest wait.
    pub longest_wait: Duration,
    /// How long it takes until one failure is forgiven.
    pub forgiven_after: Duration,
    /// How long a login makes its address a place where the user is known.
    pub known_for: Duration,
    /// How many are remembered in each way. One takes about 150 bytes.
    pub places: usize,
}

impl Default for ThrottleSettings {
    fn default() -> ThrottleSettings {
        ThrottleSettings {
            free_per_pair: 5,
            free_per_user: 20,
            free_per_address: 50,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(10 * 60),
            forgiven_after: Duration::from_secs(10 * 60),
            known_for: Duration::from_secs(24 * 60 * 60),
            places: 16 * 1024,
        }
    }
}

/// Counts failures, and says who has to wait.
#[derive(Debug)]
pub struct Throttle {
    key: ProcessKey,
    settings: ThrottleSettings,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    pairs: Table,
    users: Table,
    addresses: Table,
    /// Where users logged in lately.
    known: Table,
}

/// The places of one try.
struct Places {
    pair: Place,
    user: Place,
    address: Place,
}

impl Throttle {
    /// Nothing is counted yet.
    ///
    /// # Errors
    /// There are no random bytes.
    pub fn new(settings: ThrottleSettings) -> Result<Throttle, NoRandom> {
        let table = || Table::new(settings.places);
        let state = State { pairs: table(), users: table(), addresses: table(), known: table() };
        Ok(Throttle { key: ProcessKey::draw()?, settings, state: Mutex::new(state) })
    }

    /// Says whether a try may be looked at. `user` is what was sent, which need not be a name that anybody has.
    ///
    /// # Errors
    /// How long to wait.
    pub fn check(&self, user: &str, address: IpAddr, now: Timestamp) -> Result<(), Duration> {
        let places = self.places(user, address);
        let state = self.state.lock();
        let mut blocked_until = state.pairs.blocked_until(places.pair);
        if !state.known.holds(places.pair, now) {
            let elsewhere =
                state.users.blocked_until(places.user).max(state.addresses.blocked_until(places.address));
            blocked_until = blocked_until.max(elsewhere);
        }
        match blocked_until {
            Some(until) if now < until => Err(between(now, until)),
            _ => Ok(()),
        }
    }

    /// Counts a failure. Says how long the next try has to wait, if it has to.
    pub fn failed(&self, user: &str, address: IpAddr, now: Timestamp) -> Option<Duration> {
        let places = self.places(user, address);
        let settings = &self.settings;
        let mut state = self.state.lock();
        let waits = [
            state.pairs.fail(places.pair, settings.free_per_pair, settings, now),
            state.users.fail(places.user, settings.free_per_user, settings, now),
            state.addresses.fail(places.address, settings.free_per_address, settings, now),
        ];
        waits.into_iter().flatten().max()
    }

    /// Notes a login: what the pair has failed is forgiven, and the address is one where the user is known.
    pub fn succeeded(&self, user: &str, address: IpAddr, now: Timestamp) {
        let pair = self.places(user, address).pair;
        let mut state = self.state.lock();
        state.pairs.remove(pair);
        let until = now.plus(self.settings.known_for);
        // A client that logs in with each request moves this now and then, not each time.
        if !state.known.holds(pair, now.plus(self.settings.known_for / 2)) {
            state.known.put(pair, Entry { forgotten_at: until, blocked_until: None }, now);
        }
    }

    fn places(&self, user: &str, address: IpAddr) -> Places {
        let network = network(address);
        let mark = |way: &[u8], parts: [&[u8]; 2]| {
            let mark = self.key.mark(&[way, parts[0], parts[1]]);
            let mut place = [0; 16];
            place.copy_from_slice(&mark[..16]);
            Place::from_le_bytes(place)
        };
        Places {
            pair: mark(b"pair", [user.as_bytes(), &network]),
            user: mark(b"user", [user.as_bytes(), b""]),
            address: mark(b"address", [b"", &network]),
        }
    }
}

/// What one customer of a network provider holds: an IPv4 address, or 64 bits of an IPv6 address.
fn network(address: IpAddr) -> Vec<u8> {
    match address.to_canonical() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets()[..8].to_vec(),
    }
}

/// Where something is counted: a keyed hash, so that nobody can look for collisions, and long enough for none.
type Place = u128;

#[derive(Debug, Clone, Copy)]
struct Entry {
    /// When there is nothing left to remember. Each failure moves it by what it takes to be forgiven.
    forgotten_at: Timestamp,
    blocked_until: Option<Timestamp>,
}

/// At most so many entries; what is forgotten first goes first.
#[derive(Debug)]
struct Table {
    entries: HashMap<Place, Entry, RandomState>,
    by_end: BTreeSet<(Timestamp, Place)>,
    places: usize,
}

impl Table {
    fn new(places: usize) -> Table {
        Table { entries: HashMap::default(), by_end: BTreeSet::new(), places: places.max(1) }
    }

    fn blocked_until(&self, place: Place) -> Option<Timestamp> {
        self.entries.get(&place).and_then(|entry| entry.blocked_until)
    }

    fn holds(&self, place: Place, at: Timestamp) -> bool {
        self.entries.get(&place).is_some_and(|entry| at < entry.forgotten_at)
    }

    fn fail(
        &mut self,
        place: Place,
        free: u32,
        settings: &ThrottleSettings,
        now: Timestamp,
    ) -> Option<Duration> {
        let before = self.entries.get(&place).map_or(now, |entry| entry.forgotten_at.max(now));
        let forgotten_at = before.plus(settings.forgiven_after);
        // How many failures are not forgiven yet, the one that is just forgiven among them.
        let each = settings.forgiven_after.as_micros().max(1);
        let failures = between(now, forgotten_at).as_micros().div_ceil(each);
        let wait = u32::try_from(failures.saturating_sub(u128::from(free)))
            .unwrap_or(u32::MAX)
            .checked_sub(1)
            .map(|doublings| {
                let factor = 2_u32.saturating_pow(doublings);
                settings.first_wait.saturating_mul(factor).min(settings.longest_wait)
            });
        let blocked_until = wait.map(|wait| now.plus(wait));
        self.put(place, Entry { forgotten_at, blocked_until }, now);
        wait
    }

    fn put(&mut self, place: Place, entry: Entry, now: Timestamp) {
        self.remove(place);
        // What is over goes when something comes, so an attack leaves nothing behind for ever.
        while let Some(&(end, first)) = self.by_end.first()
            && (end <= now || self.entries.len() >= self.places)
        {
            self.remove(first);
        }
        self.entries.insert(place, entry);
        self.by_end.insert((entry.forgotten_at, place));
    }

    fn remove(&mut self, place: Place) {
        if let Some(entry) = self.entries.remove(&place) {
            self.by_end.remove(&(entry.forgotten_at, place));
        }
    }
}

/// From one moment to a later one; nothing, if it is not later.
fn between(from: Timestamp, to: Timestamp) -> Duration {
    let micros = to.as_micros().saturating_sub(from.as_micros());
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);
    const SETTINGS: ThrottleSettings = ThrottleSettings {
        free_per_pair: 3,
        free_per_user: 5,
        free_per_address: 8,
        first_wait: Duration::from_secs(1),
        longest_wait: Duration::from_secs(60),
        forgiven_after: Duration::from_secs(600),
        known_for: Duration::from_secs(86_400),
        places: 100,
    };

    fn throttle() -> Throttle {
        Throttle::new(SETTINGS).unwrap()
    }

    fn address(n: u32) -> IpAddr {
        IpAddr::V4((0x0a00_0000 + n).into())
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn some_failures_are_free_and_then_each_doubles_the_wait() {
        let throttle = throttle();
        let here = address(1);
        for _ in 0..3 {
            assert_eq!(throttle.failed("ann", here, START), None);
            assert_eq!(throttle.check("ann", here, START), Ok(()));
        }
        let mut now = START;
        for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(throttle.failed("ann", here, now), Some(seconds(wait)));
            assert_eq!(throttle.check("ann", here, now), Err(seconds(wait)));
            now = now.plus(seconds(wait));
            assert_eq!(throttle.check("ann", here, now), Ok(()));
        }
    }

    #[test]
    fn failures_are_forgiven_one_by_one() {
        let throttle = throttle();
        let here = address(1);
        for _ in 0..4 {
            throttle.failed("ann", here, START);
        }
        let later = START.plus(seconds(600));
        assert_eq!(throttle.failed("ann", here, later), Some(seconds(1)), "four less one, and one");
        let much_later = START.plus(seconds(6000));
        assert_eq!(throttle.failed("ann", here, much_later), None);
    }

    #[test]
    fn a_login_forgives_the_pair_alone() {
        let throttle = throttle();
        for n in 0..3 {
            throttle.failed("ann", address(n), START);
            throttle.failed("ann", address(n), START);
        }
        assert!(
            throttle.check("ann", address(9), START).is_err(),
            "the user is attacked from many addresses"
        );
        throttle.succeeded("ann", address(0), START);
        assert_eq!(throttle.check("ann", address(0), START), Ok(()));
        assert!(throttle.check("ann", address(9), START).is_err());
    }

    #[test]
    fn who_logged_in_lately_is_not_locked_out_by_others() {
        let throttle = throttle();
        let home = address(1);
        throttle.succeeded("ann", home, START);
        // From elsewhere against the user, and from the same address against others.
        for n in 0..50 {
            throttle.failed("ann", address(100 + n), START);
            throttle.failed(&format!("user{n}"), home, START);
        }
        assert!(throttle.check("ann", address(7), START).is_err());
        assert!(throttle.check("bob", home, START).is_err());
        assert_eq!(throttle.check("ann", home, START), Ok(()));
        // What happens there under their name counts.
        for _ in 0..4 {
            throttle.failed("ann", home, START);
        }
        assert!(throttle.check("ann", home, START).is_err());
        // And a day without a login is too long.
        let late = START.plus(SETTINGS.known_for);
        for n in 0..50 {
            throttle.failed("ann", address(100 + n), late);
        }
        assert!(throttle.check("ann", home, late).is_err());
    }

    #[test]
    fn an_ipv6_customer_is_one_address_and_a_mapped_one_is_ipv4() {
        let throttle = throttle();
        for n in 0..20 {
            throttle.failed(&format!("user{n}"), format!("2001:db8:1:2::{n:x}").parse().unwrap(), START);
        }
        assert!(throttle.check("ann", "2001:db8:1:2:ffff::1".parse().unwrap(), START).is_err());
        assert!(throttle.check("ann", "2001:db8:1:3::1".parse().unwrap(), START).is_ok());
        for _ in 0..4 {
            throttle.failed("ann", "::ffff:10.0.0.1".parse().unwrap(), START);
        }
        assert!(throttle.check("ann", address(1), START).is_err());
    }

    #[test]
    fn cycling_through_names_and_addresses_neither_grows_it_nor_clears_a_record() {
        let throttle = throttle();
        for _ in 0..6 {
            throttle.failed("ann", address(1), START);
        }
        assert!(throttle.check("ann", address(2), START).is_err(), "the user");
        throttle.succeeded("bob", address(3), START);
        for n in 0..10_000 {
            throttle.failed(&format!("user{n}"), address(1000 + n), START);
        }
        assert!(throttle.check("ann", address(1), START).is_err());
        assert!(throttle.check("ann", address(2), START).is_err());
        let state = throttle.state.lock();
        for table in [&state.pairs, &state.users, &state.addresses, &state.known] {
            assert!(table.entries.len() <= SETTINGS.places);
            assert_eq!(table.entries.len(), table.by_end.len());
        }
        assert_eq!(state.known.entries.len(), 1, "failures push out no login");
    }

    proptest! {
        /// Whatever happens, nobody waits longer than the longest wait, and the tables agree with themselves.
        #[test]
        fn waits_and_memory_are_bounded(
            steps in prop::collection::vec((0_u32..20, 0_u32..20, 0_u8..3, 0_u64..1000), 0..300),
        ) {
            let throttle = Throttle::new(ThrottleSettings { places: 5, ..SETTINGS }).unwrap();
            let mut now = START;
            for (user, from, what, pause) in steps {
                let (user, from) = (format!("u{user}"), address(from));
                now = now.plus(seconds(pause));
                match what {
                    0 => throttle.succeeded(&user, from, now),
                    _ => drop(throttle.failed(&user, from, now)),
                }
                if let Err(wait) = throttle.check(&user, from, now) {
                    prop_assert!(what != 0 && !wait.is_zero() && wait <= SETTINGS.longest_wait);
                }
                let state = throttle.state.lock();
                for table in [&state.pairs, &state.users, &state.addresses, &state.known] {
                    prop_assert!(table.entries.len() <= 5);
                    prop_assert_eq!(table.entries.len(), table.by_end.len());
                }
            }
        }
    }
}
