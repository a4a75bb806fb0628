//! Accounts at work in the server: the registry as a directory of them, the first administrator, and what is
//! written down from time to time.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use supercargo_access::oidc::{Provider, ProviderSettings};
use supercargo_access::{Authority, AuthoritySettings, Passwords, Secret, SessionKey, SigningKeys, token};
use supercargo_eventlog::event::TokenUse;
use supercargo_http::accounts::RegistryDirectory;
use supercargo_model::Timestamp;
use supercargo_model::account::{TokenKind, UserName};
use supercargo_registry::{Api, Caller, Registry};

use crate::failure::Failure;

/// Where signing keys lie, in the data folder.
const KEYS: &str = "keys";
/// What the first administrator is called.
const FIRST_ADMINISTRATOR: &str = "admin";
/// How often uses of tokens are recorded, and ended tokens removed.
const WRITE_DOWN_EVERY: Duration = Duration::from_secs(60);

/// The identity providers that are trusted. Reads the files of their authorities, and asks them nothing yet.
///
/// # Errors
/// [`Failure::Usage`] where one could never be trusted.
pub(crate) fn providers(settings: &[ProviderSettings]) -> Result<Vec<Provider>, Failure> {
    let wrong = |error: &dyn std::fmt::Display| Failure::Usage(format!("identity_providers: {error}"));
    let providers = Provider::all(settings.iter().cloned()).map_err(|error| wrong(&error))?;
    providers.iter().try_for_each(Provider::check_trust).map_err(|error| wrong(&error))?;
    Ok(providers)
}

/// Starts what finds out who somebody is. Blocks on the disk.
///
/// # Errors
/// [`Failure::Failed`] where the signing keys can't be read or made.
pub(crate) fn start(
    data: &Path,
    registry: &Arc<Registry>,
    providers: Vec<Provider>,
) -> Result<Arc<Authority>, Failure> {
    let keys = SigningKeys::open(&keys_folder(data)?).map_err(Failure::failed)?;
    let directory = Arc::new(RegistryDirectory(Arc::clone(registry)));
    let authority = Authority::start(directory, keys, AuthoritySettings::default());
    let authority = authority.map_err(Failure::failed)?;
    Ok(Arc::new(authority.with_providers(providers)))
}

/// The key of session tokens, which V1 clients are given with accounts and without. Blocks on the disk.
///
/// # Errors
/// [`Failure::Failed`] where it can't be read or made.
pub(crate) fn sessions(data: &Path) -> Result<Arc<SessionKey>, Failure> {
    SessionKey::open(&keys_folder(data)?).map(Arc::new).map_err(Failure::failed)
}

/// Where signing keys lie, for the server's user alone.
fn keys_folder(data: &Path) -> Result<PathBuf, Failure> {
    let folder = data.join(KEYS);
    match std::fs::DirBuilder::new().mode(0o700).create(&folder) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(Failure::Failed(format!("{}: {e}", folder.display())))
        }
        _ => Ok(folder),
    }
}

/// Makes the first administrator where there is none yet. `given` is the password in a file; without one it is
/// made up, and returned to be shown this once.
///
/// # Errors
/// A password that can't be taken; a user who has the name and is none; those of a commit.
pub(crate) async fn ensure_administrator(
    registry: &Registry,
    passwords: &Passwords,
    given: Option<&Path>,
) -> Result<Option<(UserName, Secret)>, Failure> {
    let users = registry.users()?;
    if users.iter().any(|(_, user)| user.administrator && !user.disabled) {
        return Ok(None);
    }
    // Who imports users does not mean that one of them be the administrator for having that name.
    if users.iter().any(|(name, _)| name.as_str() == FIRST_ADMINISTRATOR) {
        return Err(Failure::Usage(format!(
            "no user is an administrator: make {FIRST_ADMINISTRATOR} or another one (supercargo user configure \
             {FIRST_ADMINISTRATOR} --administrator true --data DIR)"
        )));
    }
    let password = match given {
        Some(file) => first_line(file)?,
        None => made_up()?,
    };
    let hash = supercargo_admin::accounts::hash(passwords, password.expose().to_owned()).await?;
    let name = UserName::parse(FIRST_ADMINISTRATOR).map_err(Failure::failed)?;
    registry.create_user(&Caller::system(Api::Startup), name.clone(), false, true, Some(hash)).await?;
    Ok(given.is_none().then_some((name, password)))
}

/// The first line of a file.
///
/// # Errors
/// [`Failure::Usage`] where it can't be read.
pub(crate) fn first_line(file: &Path) -> Result<Secret, Failure> {
    let text =
        std::fs::read_to_string(file).map_err(|e| Failure::Usage(format!("{}: {e}", file.display())))?;
    Ok(Secret::new(text.lines().next().unwrap_or_default()))
}

/// A password that nobody has to have chosen: the secret part of a token, cut to what can be typed.
///
/// # Errors
/// There are no random bytes.
pub(crate) fn made_up() -> Result<Secret, Failure> {
    const DIGITS: usize = 32;
    let minted = token::mint(TokenKind::Access, Timestamp::default()).map_err(Failure::failed)?;
    // Hexadecimal: 128 bits of chance.
    let secret = minted.text.expose().rsplit('_').next().unwrap_or_default();
    Ok(Secret::new(secret.get(..DIGITS).unwrap_or(secret)))
}

/// Writes down what is counted together, until the server stops.
pub(crate) async fn write_down(registry: Arc<Registry>, authority: Arc<Authority>) {
    let mut ticks = tokio::time::interval(WRITE_DOWN_EVERY);
    let caller = Caller::system(Api::Worker);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = registry.closing() => return,
        }
        let uses = authority.take_token_uses(registry.now());
        let uses: Vec<TokenUse> = uses.into_iter().map(|(token, at)| TokenUse { token, at }).collect();
        if !uses.is_empty()
            && let Err(error) = registry.record_token_uses(&caller, uses).await
        {
            tracing::warn!(%error, "uses of tokens were not recorded");
        }
        if let Err(error) = registry.remove_ended_tokens(&caller).await {
            tracing::warn!(%error, "tokens that have ended were not removed");
        }
    }
}
