//! What a listener's connections are secured with, kept up to date.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::Acceptor;
use rustls::sign::SingleCertAndKey;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::TlsError;
use super::challenges::Challenges;
use super::client::Subject;
use super::files::{Files, Fingerprint};

/// The name of HTTP/2 in ALPN.
pub(crate) const ALPN_HTTP_2: &[u8] = b"h2";
/// The name of HTTP/1.1 in ALPN.
const ALPN_HTTP_1: &[u8] = b"http/1.1";

/// How often the files are looked at. Links and network file systems tell nobody of changes, so they are asked.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What new connections of a listener are secured with. Those that are open keep what they began with.
#[derive(Debug, Clone)]
pub(crate) struct Secure {
    /// None as long as nobody has given a certificate.
    config: watch::Receiver<Option<Arc<ServerConfig>>>,
    challenges: Option<Challenges>,
}

impl Secure {
    /// Reads the files, and goes on reading them when they change, until the runtime ends. Blocks.
    ///
    /// # Errors
    /// [`TlsError`] where they can't be used now, unless somebody will be asked for others. Later, what was read
    /// before stays.
    pub(crate) fn start(files: Files) -> Result<Secure, TlsError> {
        let provider = provider();
        let challenges = files.challenges.clone();
        // Before reading: a change meanwhile is found by the first look.
        let fingerprint = files.fingerprint();
        let config = match (config(&files, &provider), &challenges) {
            (Ok(config), _) => Some(config),
            (Err(error), Some(_)) => {
                tracing::info!(reason = %error, "there is no certificate yet");
                None
            }
            (Err(error), None) => return Err(error),
        };
        let (sender, receiver) = watch::channel(config);
        tokio::spawn(keep(files, fingerprint, provider, sender));
        Ok(Secure { config: receiver, challenges })
    }

    /// Shakes hands with a client. None where it only came for a proof, and has it.
    ///
    /// # Errors
    /// What the client did wrong, or that there is no certificate yet.
    pub(crate) async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> io::Result<Option<Box<TlsStream<S>>>> {
        let begun = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        if let Some(challenges) =
            self.challenges.as_ref().filter(|_| Challenges::asked_for(&begun.client_hello()))
        {
            let proof = challenges.of(&begun.client_hello());
            let proof = proof.ok_or_else(|| io::Error::other("nobody waits for a proof of that name"))?;
            begun.into_stream(proof).await?.shutdown().await?;
            return Ok(None);
        }
        let config = self.config.borrow().clone();
        let config = config.ok_or_else(|| io::Error::other("there is no certificate yet"))?;
        begun.into_stream(config).await.map(|stream| Some(Box::new(stream)))
    }
}

/// The cryptography that everything here is done with.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn config(files: &Files, provider: &Arc<CryptoProvider>) -> Result<Arc<ServerConfig>, TlsError> {
    let material = files.read(provider)?;
    let subject = Subject::of(&material.own.cert[0]);
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(provider)).with_safe_default_protocol_versions()?;
    let builder = match material.clients {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(material.own)));
    config.alpn_protocols = vec![ALPN_HTTP_2.to_vec(), ALPN_HTTP_1.to_vec()];
    // What a client needs to come back quickly is kept by the client, sealed. New files, new seal: nobody comes
    // back with what an authority vouched for that is no longer one.
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    match subject {
        Some(subject) if subject.has_ended() => {
            tracing::warn!(subject = subject.name, ended = %subject.ends, "the certificate has ended");
        }
        Some(subject) => {
            tracing::info!(subject = subject.name, ends = %subject.ends, "a certificate was read");
        }
        None => tracing::warn!("a certificate was read whose subject and end can't be told"),
    }
    Ok(Arc::new(config))
}

/// Looks at the files, and reads them once they have changed and then stayed the same for a while: a certificate
/// and its key are seldom written at the same moment.
async fn keep(
    files: Files,
    mut known: Fingerprint,
    provider: Arc<CryptoProvider>,
    sender: watch::Sender<Option<Arc<ServerConfig>>>,
) {
    let files = Arc::new(files);
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = None;
    loop {
        looks.tick().await;
        let looking = Arc::clone(&files);
        // A thread that panicked, or a runtime that ends: nobody is left to be told.
        let Ok(now) = tokio::task::spawn_blocking(move || looking.fingerprint()).await else { return };
        if now == known {
            before = None;
            continue;
        }
        if before.as_ref() != Some(&now) {
            before = Some(now);
            continue;
        }
        let (reading, with) = (Arc::clone(&files), Arc::clone(&provider));
        let read = tokio::task::spawn_blocking(move || config(&reading, &with));
        let Ok(read) = read.await else { return };
        match read {
            Ok(config) => {
                sender.send_replace(Some(config));
            }
            Err(error) => {
                tracing::error!(%error, "new certificate files are of no use; the old certificate stays");
            }
        }
        // Also where they were of no use: they are not read again, nor complained of, until they change.
        known = now;
        before = None;
        if sender.is_closed() {
            return;
        }
    }
}
