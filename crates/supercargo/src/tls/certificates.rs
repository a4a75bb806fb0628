//! Where the listeners' certificates come from: files that somebody else keeps, what is made here, what an
//! authority gives. Each comes to files in the end.

use std::net::SocketAddr;
use std::path::Path;

use super::TlsError;
use super::acme::Acme;
use super::files::{ClientAuthority, Files};
use super::self_signed::SelfSigned;
use super::server::{Secure, provider};
use super::trust::Trust;
use crate::config::tls::{ClientAuth, Https, Source, Tls};

/// The certificates that this server sees to.
#[derive(Debug)]
pub(crate) struct Certificates {
    made: Option<SelfSigned>,
    asked: Option<Acme>,
}

impl Certificates {
    /// Sees whether a listener could be secured, as far as that is somebody else's business. Changes nothing.
    /// Blocks.
    ///
    /// # Errors
    /// [`TlsError`], as [`Files::read`] gives it.
    pub(crate) fn check(https: &Https<'_>) -> Result<(), TlsError> {
        match https.source {
            Source::Files { certificate, key } => {
                files_of(https, Files::new(certificate, key)).read(&provider()).map(drop)
            }
            Source::SelfSigned | Source::Acme => Ok(()),
        }
    }

    /// Makes what is to be made here, in the data folder. Blocks.
    ///
    /// # Errors
    /// [`TlsError`] where that can't be made or kept.
    pub(crate) fn prepare(data: &Path, tls: &Tls) -> Result<Certificates, TlsError> {
        let source = tls.source().ok().flatten();
        let made = match source {
            Some(Source::SelfSigned) => Some(SelfSigned::prepare(data, &tls.san)?),
            _ => None,
        };
        let asked = match source {
            Some(Source::Acme) => Some(Acme::prepare(data, &tls.acme)?),
            _ => None,
        };
        Ok(Certificates { made, asked })
    }

    /// What a listener is secured with. Blocks.
    ///
    /// # Errors
    /// [`TlsError`], as [`Secure::start`] gives it.
    pub(crate) fn secure(&self, https: &Https<'_>) -> Result<Secure, TlsError> {
        let files = match (https.source, &self.made, &self.asked) {
            (Source::Files { certificate, key }, ..) => Files::new(certificate, key),
            (Source::SelfSigned, Some(made), _) => Files::new(&made.server(), &made.server()),
            (Source::Acme, _, Some(asked)) => asked.files(),
            // Only where this was prepared for another configuration.
            (Source::SelfSigned, None, _) | (Source::Acme, _, None) => return Err(TlsError::NoSource),
        };
        Secure::start(files_of(https, files))
    }

    /// What clients have to be told of listeners with a certificate that was made here. None where none was.
    pub(crate) fn trust(&self, listeners: Vec<SocketAddr>) -> Option<Trust> {
        let made = self.made.as_ref()?;
        Some(Trust { authority: made.authority(), names: made.names().to_vec(), listeners })
    }

    /// Sees to it that there is a new certificate before one ends, until the runtime does.
    pub(crate) fn keep(self) {
        if let Some(made) = self.made {
            tokio::spawn(made.keep());
        }
        if let Some(asked) = self.asked {
            tokio::spawn(asked.keep());
        }
    }
}

/// The files of a listener, with its clients' authorities.
fn files_of(https: &Https<'_>, files: Files) -> Files {
    let clients = https.client_ca.map(|file| ClientAuthority {
        file: file.to_owned(),
        optional: https.client_auth == ClientAuth::Optional,
    });
    Files { clients, ..files }
}
