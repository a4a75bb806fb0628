//! What the directory said, kept as long as its epoch stands: users with their groups, and permissions, compiled.
//!
//! The epoch is read first and the data after it, so what is kept is at least as new as the epoch that it is kept
//! under, and a change that anybody was told of is seen.

use std::sync::Arc;

use parking_lot::RwLock;
use quick_cache::sync::Cache;
use supercargo_model::account::{User, UserName};

use crate::{Directory, DirectoryError, Identity, KnownUser, Permissions};

/// How many users are kept.
const USERS_MAX: usize = 16 * 1024;

/// A user, as the directory has them.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) user: User,
    pub(crate) identity: Identity,
    epoch: u64,
}

pub(crate) struct Accounts {
    directory: Arc<dyn Directory>,
    users: Cache<UserName, Arc<Account>>,
    permissions: RwLock<Option<(u64, Arc<Permissions>)>>,
}

impl Accounts {
    pub(crate) fn new(directory: Arc<dyn Directory>) -> Accounts {
        Accounts { directory, users: Cache::new(USERS_MAX), permissions: RwLock::default() }
    }

    pub(crate) fn directory(&self) -> &dyn Directory {
        &*self.directory
    }

    /// A user. That there is none is not kept: anybody may ask for names that nobody has.
    pub(crate) fn user(&self, name: &UserName) -> Result<Option<Arc<Account>>, DirectoryError> {
        let epoch = self.directory.epoch();
        if let Some(account) = self.users.get(name).filter(|account| account.epoch == epoch) {
            return Ok(Some(account));
        }
        let Some(user) = self.directory.user(name)? else {
            self.users.remove(name);
            return Ok(None);
        };
        let groups = self.directory.groups(name)?;
        let identity = KnownUser { name: name.clone(), groups, administrator: user.administrator }.into();
        let account = Arc::new(Account { user, identity, epoch });
        self.users.insert(name.clone(), Arc::clone(&account));
        Ok(Some(account))
    }

    pub(crate) fn permissions(&self) -> Result<Arc<Permissions>, DirectoryError> {
        let epoch = self.directory.epoch();
        if let Some((of, permissions)) = &*self.permissions.read()
            && *of == epoch
        {
            return Ok(Arc::clone(permissions));
        }
        // Whoever comes meanwhile waits: compiling takes some milliseconds for thousands, and is done once.
        let mut kept = self.permissions.write();
        if let Some((of, permissions)) = &*kept
            && *of == epoch
        {
            return Ok(Arc::clone(permissions));
        }
        let (permissions, targets) = (self.directory.permissions()?, self.directory.targets()?);
        let permissions = Arc::new(Permissions::compile(&permissions, &targets));
        *kept = Some((epoch, Arc::clone(&permissions)));
        Ok(permissions)
    }
}
