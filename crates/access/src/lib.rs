//! Who somebody is, and what they may do.
//!
//! What lives here: whatever knows secrets (passwords, tokens, signing keys, identity providers), whatever slows
//! guessing down, and the decision whether an identity may do a thing to a name. What does not: the accounts and
//! permissions themselves, which the registry records and tells this crate through [`Directory`]; HTTP as a
//! server; clocks, since every call that depends on the time is told it.

mod accounts;
mod authority;
mod bearer;
mod credentials;
mod directory;
mod htpasswd;
mod identity;
mod key_file;
mod keys;
pub mod oidc;
mod password;
mod permissions;
mod scope;
mod secret;
mod session;
mod throttle;
pub mod token;
mod usage;
mod verified;

pub use authority::{
    Authority, AuthoritySettings, IssueError, Login, Method, PasswordUpgrade, Refused, TOKEN_USER,
    whole_seconds,
};
pub use bearer::{Bearer, BearerRefused, BearerSettings, IssuedBearer, Subject, VerifiedBearer, Vouched};
pub use credentials::{AUTHORIZATION_BYTES_MAX, Credentials, CredentialsError};
pub use directory::{Directory, DirectoryError, Targets};
pub use htpasswd::{Htpasswd, HtpasswdReason, HtpasswdRefused, HtpasswdUser, WeakKind};
pub use identity::{Identity, KnownUser};
pub use key_file::KeyError;
pub use keys::SigningKeys;
pub use password::{
    HashCost, HashRefused, PASSWORD_BYTES_MAX, PASSWORD_CHARS_MIN, PasswordError, PasswordRefused,
    PasswordSettings, Passwords, StartError, Verdict, check_hash, check_new_password,
};
pub use permissions::{Permissions, Rights};
pub use scope::{Access, Resource, SCOPES_MAX};
pub use secret::{NoRandom, Secret};
pub use session::{SESSION_LASTS, Session, SessionKey, SessionRefused};
pub use throttle::{Throttle, ThrottleSettings};
pub use usage::USES_COUNTED_TOGETHER;
