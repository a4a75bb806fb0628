//! Who a request comes from, once that is known.

use std::fmt;
use std::sync::Arc;

use supercargo_model::account::{GroupName, UserName};

/// Who a request comes from. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// Nobody in particular.
    Anonymous,
    /// A user.
    User(Arc<KnownUser>),
}

/// A user who has proved who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownUser {
    /// The name.
    pub name: UserName,
    /// The groups that the directory and, where one vouched for the user, an identity provider count them among;
    /// sorted, each once.
    pub groups: Vec<GroupName>,
    /// Whether they may do everything.
    pub administrator: bool,
}

impl Identity {
    /// The user's name, if it is a user.
    pub fn name(&self) -> Option<&UserName> {
        self.user().map(|user| &user.name)
    }

    /// The user, if it is one.
    pub fn user(&self) -> Option<&KnownUser> {
        match self {
            Identity::Anonymous => None,
            Identity::User(user) => Some(user),
        }
    }

    /// Whether it may do everything.
    pub fn is_administrator(&self) -> bool {
        self.user().is_some_and(|user| user.administrator)
    }
}

impl From<KnownUser> for Identity {
    fn from(mut user: KnownUser) -> Identity {
        user.groups.sort_unstable();
        user.groups.dedup();
        Identity::User(Arc::new(user))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Identity::Anonymous => f.write_str("anonymous"),
            Identity::User(user) => fmt::Display::fmt(&user.name, f),
        }
    }
}
