//! Accounts (the REST reference, "Security" and "Security Configuration JSON"): users, groups, permission targets and
//! API keys. Tokens are in [`crate::token`].

pub(crate) mod api_key;
pub(crate) mod groups;
pub(crate) mod targets;
pub(crate) mod users;

use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use supercargo_access::{Authority, Secret};
use supercargo_http::accounts;
use supercargo_model::account::PasswordHash;

use crate::Surface;
use crate::error::{Code, Failure};

impl Surface {
    /// Who knows of accounts.
    ///
    /// # Errors
    /// A conflict, where the server has none: what is changed of them would change nothing.
    pub(crate) fn accounts(&self) -> Result<&Arc<Authority>, Failure> {
        self.settings.authority.as_ref().ok_or_else(|| {
            let message = "this server has no accounts: start it with --accounts, or set accounts = true";
            Failure::new(Code::Conflict).message(message)
        })
    }

    /// The hash of a password that somebody chose.
    async fn hash(&self, password: Secret) -> Result<PasswordHash, Failure> {
        Ok(accounts::hash(self.accounts()?.passwords(), password).await?)
    }
}

/// A body of JSON. Members that mean nothing here are passed over.
pub(crate) fn body<T: DeserializeOwned>(sent: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(sent).map_err(|e| Failure::invalid(format!("the body can't be read: {e}")))
}

/// A password on its way, which nothing shows.
#[derive(Deserialize)]
#[serde(from = "String")]
struct Sent(Secret);

impl From<String> for Sent {
    fn from(text: String) -> Sent {
        Sent(Secret::new(text))
    }
}

/// The name in a body, if there is one, is that of the path.
fn same_name(sent: Option<&str>, path: &str) -> Result<(), Failure> {
    match sent.filter(|sent| *sent != path) {
        Some(sent) => {
            Err(Failure::invalid(format!("the name in the body is {sent:?}, and {path:?} in the path")))
        }
        None => Ok(()),
    }
}
