//! Leases: promises to pushes in flight that what they were told is there stays there.
//!
//! Working state, not history: a restart forgets them, which costs a client a retry at most, because what
//! was never referred to yet also waits in the tables. The collector decides while it holds this state
//! still, and names what it is about to remove before it lets go; whoever asks for a lease on one of those
//! meanwhile is told that it is not there, which is what will be true in a moment.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use foldhash::{HashMap, HashSet};
use parking_lot::{Mutex, MutexGuard};
use supercargo_eventlog::Actor;
use supercargo_model::{Digest, Timestamp};
use supercargo_projections::tables::NameId;

use crate::Caller;

/// Most leases kept one by one. Past it nothing at all is collected until the last one given has run out:
/// memory stays bounded, and no promise is broken.
const LEASES_MAX: usize = 65_536;

/// Instead of a name's number: the lease is on a V1 image in whichever name or waiting room it stands. No name has it.
pub(crate) const ANYWHERE: NameId = NameId(0);

/// Who a lease is given to: the user, else the address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Principal {
    User(String),
    Address(IpAddr),
    /// The registry's own machine, without a network between.
    Local,
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Principal::User(name) => write!(f, "user/{name}"),
            Principal::Address(address) => write!(f, "address/{address}"),
            Principal::Local => f.write_str("local"),
        }
    }
}

impl Principal {
    pub(crate) fn of(caller: &Caller) -> Principal {
        match (&caller.actor, caller.origin.remote) {
            (Actor::User(name), _) => Principal::User(name.clone()),
            (_, Some(address)) => Principal::Address(address),
            _ => Principal::Local,
        }
    }
}

#[derive(Debug, Default)]
struct State {
    by_content: HashMap<(NameId, Digest), Vec<(Principal, Timestamp)>>,
    held: usize,
    /// Until when everything is leased, because there were too many to keep.
    everything_until: Option<Timestamp>,
    /// What the collector decided to remove in the commit that is under way.
    condemned: HashSet<(NameId, Digest)>,
    /// How often the collector decided to remove something, and was done with it.
    epoch: u64,
}

impl State {
    fn drop_expired(&mut self, now: Timestamp) {
        self.by_content.retain(|_, leases| {
            leases.retain(|(_, until)| *until > now);
            !leases.is_empty()
        });
        self.held = self.by_content.values().map(Vec::len).sum();
    }
}

/// All leases.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    state: Mutex<State>,
}

impl Leases {
    /// How often the collector began or ended removing something: unchanged between reading this and taking
    /// a lease, nothing read in between has vanished.
    pub(crate) fn epoch(&self) -> u64 {
        self.state.lock().epoch
    }

    /// Takes a lease, or renews it. `false` where the content is being removed right now, or may have been
    /// since `epoch`: look again, and do not promise what is not there then. The lease is taken even so.
    pub(crate) fn take(
        &self,
        content: (NameId, Digest),
        principal: &Principal,
        now: Timestamp,
        lasts: Duration,
        epoch: u64,
    ) -> Taken {
        let mut state = self.state.lock();
        let until = now.plus(lasts);
        match state.by_content.get_mut(&content) {
            Some(leases) => match leases.iter_mut().find(|(holder, _)| holder == principal) {
                Some((_, known)) => *known = until.max(*known),
                None => {
                    leases.push((principal.clone(), until));
                    state.held += 1;
                }
            },
            None => {
                state.by_content.insert(content, vec![(principal.clone(), until)]);
                state.held += 1;
            }
        }
        if state.held > LEASES_MAX {
            state.drop_expired(now);
            if state.held > LEASES_MAX {
                state.everything_until = state.everything_until.max(Some(until));
                state.by_content.clear();
                state.held = 0;
            }
        }
        if state.condemned.contains(&content) {
            Taken::Condemned
        } else if state.epoch != epoch {
            Taken::LookAgain(state.epoch)
        } else {
            Taken::Held
        }
    }

    /// The principal's manifest refers to these now: its leases on them have done their work.
    pub(crate) fn end(&self, contents: impl Iterator<Item = (NameId, Digest)>, principal: &Principal) {
        let mut state = self.state.lock();
        for content in contents {
            let Some(leases) = state.by_content.get_mut(&content) else { continue };
            let before = leases.len();
            leases.retain(|(holder, _)| holder != principal);
            let ended = before - leases.len();
            if leases.is_empty() {
                state.by_content.remove(&content);
            }
            state.held -= ended;
        }
    }

    /// Holds the leases still while the collector decides.
    pub(crate) fn still(&self) -> StillLeases<'_> {
        StillLeases { state: self.state.lock() }
    }

    /// The commit that removes what was condemned is over, whatever came of it. Whoever read before it and
    /// asks for a lease after it has to look again, so this counts too.
    pub(crate) fn acquit(&self) {
        let mut state = self.state.lock();
        if !state.condemned.is_empty() {
            state.condemned.clear();
            state.epoch += 1;
        }
    }

    /// As if all had run out.
    #[cfg(test)]
    pub(crate) fn forget_all(&self) {
        *self.state.lock() = State::default();
    }

    /// How many leases are held.
    pub(crate) fn held(&self) -> usize {
        self.state.lock().held
    }
}

/// What taking a lease found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// What was read before is so, and stays so.
    Held,
    /// Something was collected since; read again, with this epoch.
    LookAgain(u64),
    /// It is being removed right now.
    Condemned,
}

/// The leases, held still.
#[derive(Debug)]
pub(crate) struct StillLeases<'l> {
    state: MutexGuard<'l, State>,
}

impl StillLeases<'_> {
    /// Whether somebody was promised this content.
    pub(crate) fn leased(&self, content: (NameId, Digest), now: Timestamp) -> bool {
        self.state.everything_until.is_some_and(|until| until > now)
            || self
                .state
                .by_content
                .get(&content)
                .is_some_and(|leases| leases.iter().any(|(_, until)| *until > now))
    }

    /// Names what the commit under way removes, and lets go.
    pub(crate) fn condemn(mut self, contents: impl IntoIterator<Item = (NameId, Digest)>) {
        self.state.condemned.extend(contents);
        self.state.epoch += 1;
    }
}

#[cfg(test)]
mod tests;
