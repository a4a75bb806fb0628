//! When tokens were last used: gathered here, and taken by the registry now and then to be recorded.

use std::collections::HashMap;
use std::time::Duration;

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use supercargo_model::Timestamp;
use supercargo_model::account::{Token, TokenId};

/// Uses of one token within this time are one.
pub const USES_COUNTED_TOGETHER: Duration = Duration::from_secs(10 * 60);

/// Uses of tokens, each token's at most once in [`USES_COUNTED_TOGETHER`].
#[derive(Debug, Default)]
pub(crate) struct TokenUses(Mutex<Uses>);

#[derive(Debug, Default)]
struct Uses {
    /// To be recorded.
    waiting: HashMap<TokenId, Timestamp, RandomState>,
    /// Taken to be recorded, and not too long ago to matter.
    taken: HashMap<TokenId, Timestamp, RandomState>,
}

impl TokenUses {
    /// Notes a use. Only tokens that exist come here, so there are never more of them.
    pub(crate) fn note(&self, id: TokenId, token: &Token, now: Timestamp) {
        let recent = |at: &Timestamp| now < at.plus(USES_COUNTED_TOGETHER);
        if token.used_at.as_ref().is_some_and(recent) {
            return;
        }
        let mut uses = self.0.lock();
        if uses.taken.get(&id).is_none_or(|at| !recent(at)) {
            uses.waiting.entry(id).or_insert(now);
        }
    }

    /// Takes what was noted since the last time.
    pub(crate) fn take(&self, now: Timestamp) -> Vec<(TokenId, Timestamp)> {
        let mut uses = self.0.lock();
        uses.taken.retain(|_, at| now < at.plus(USES_COUNTED_TOGETHER));
        let waiting = std::mem::take(&mut uses.waiting);
        uses.taken.extend(&waiting);
        waiting.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use supercargo_model::account::{TokenKind, UserName};

    use super::*;

    #[test]
    fn uses_close_to_each_other_are_recorded_once() {
        let start = Timestamp::from_micros(1_700_000_000_000_000);
        let after = |minutes: u64| start.plus(Duration::from_secs(60 * minutes));
        let (uses, id) = (TokenUses::default(), TokenId::from_u128(1));
        let mut token = Token {
            user: UserName::parse("ann").unwrap(),
            kind: TokenKind::Access,
            description: String::new(),
            secret_sha256: [0; 32],
            issued_at: start,
            expires_at: None,
            used_at: None,
        };
        uses.note(id, &token, start);
        uses.note(id, &token, after(1));
        assert_eq!(uses.take(after(2)), [(id, start)]);
        // It is not recorded yet, so the token does not say so.
        uses.note(id, &token, after(3));
        assert_eq!(uses.take(after(4)), []);
        uses.note(id, &token, after(10));
        assert_eq!(uses.take(after(10)), [(id, after(10))]);
        // After a restart, the token says so.
        let uses = TokenUses::default();
        token.used_at = Some(after(10));
        uses.note(id, &token, after(19));
        assert_eq!(uses.take(after(19)), []);
        uses.note(id, &token, after(20));
        assert_eq!(uses.take(after(20)), [(id, after(20))]);
        assert!(uses.0.lock().waiting.is_empty());
    }
}
