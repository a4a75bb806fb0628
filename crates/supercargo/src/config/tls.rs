//! The `[tls]` section: where certificates come from, and what clients have to show.

use std::path::{Path, PathBuf};

use rustls::pki_types::ServerName;
use serde::{Deserialize, Serialize};

use super::listen::ListenTls;

/// What https listeners have in common. An empty path is none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tls {
    /// A file with the certificate and what is between it and its authority, PEM.
    pub(crate) certificate: PathBuf,
    /// A file with the certificate's private key, PEM.
    pub(crate) key: PathBuf,
    /// Whether an authority and a certificate are made in the data folder.
    pub(crate) self_signed: bool,
    /// Names that the made certificate is good for, beside this machine's own.
    pub(crate) san: Vec<String>,
    /// A file with the authorities of clients' certificates, PEM.
    pub(crate) client_ca: PathBuf,
    /// Whether clients show certificates.
    pub(crate) client_auth: ClientAuth,
    pub(crate) acme: Acme,
}

/// An authority that is asked for certificates (RFC 8555). An empty text or path is none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Acme {
    /// The host names of the certificate.
    pub(crate) domains: Vec<String>,
    /// Where the authority may write to.
    pub(crate) contact: Vec<String>,
    /// The URL of the authority's directory.
    pub(crate) directory: String,
    /// The folder of the account and the certificate.
    pub(crate) cache: PathBuf,
    /// A file with who signed for the directory's own server, PEM, where this machine does not know.
    pub(crate) ca: PathBuf,
}

/// Whether clients show certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ClientAuth {
    /// They are not asked for one.
    #[default]
    None,
    /// They are asked, and may have none. One that is shown must be good.
    Optional,
    /// Without a good one there is no connection.
    Required,
}

/// Where a certificate comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source<'a> {
    /// Files that somebody else keeps.
    Files {
        /// The certificate's.
        certificate: &'a Path,
        /// Its key's.
        key: &'a Path,
    },
    /// It is made here.
    SelfSigned,
    /// An authority is asked for it.
    Acme,
}

/// What a listener needs to speak https.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Https<'a> {
    /// Where its certificate comes from.
    pub(crate) source: Source<'a>,
    /// What its clients show.
    pub(crate) client_auth: ClientAuth,
    /// The authorities of what they show. Some wherever they are asked.
    pub(crate) client_ca: Option<&'a Path>,
}

/// A key that is wrong, and what to do.
type Wrong = (&'static str, String);

impl Tls {
    /// Where certificates come from, if anybody said.
    ///
    /// # Errors
    /// The key that is wrong, where it was said twice or by half.
    pub(crate) fn source(&self) -> Result<Option<Source<'_>>, Wrong> {
        let files = pair(&self.certificate, &self.key).map_err(|key| match key {
            "key" => ("tls.certificate", "name its key, too: tls.key".to_owned()),
            _ => ("tls.key", "name its certificate, too: tls.certificate".to_owned()),
        })?;
        let made = self.self_signed.then_some((Source::SelfSigned, "tls.self_signed"));
        let asked = (!self.acme.domains.is_empty()).then_some((Source::Acme, "tls.acme.domains"));
        let read = files.map(|(certificate, key)| (Source::Files { certificate, key }, "tls.certificate"));
        let mut said = [read, made, asked].into_iter().flatten();
        match (said.next(), said.next()) {
            (Some((_, one)), Some((_, other))) => {
                Err((other, format!("{one} is set, too: a certificate comes from one place")))
            }
            (one, _) => Ok(one.map(|(source, _)| source)),
        }
    }

    /// What a listener speaks https with.
    ///
    /// # Errors
    /// The key that is wrong, where that does not fit together.
    pub(crate) fn for_listener<'a>(&'a self, own: &'a ListenTls) -> Result<Https<'a>, Wrong> {
        let files = pair(&own.certificate, &own.key)
            .map_err(|key| ("listen", format!("a listener's own certificate lacks its tls.{key}")))?;
        let source = match files {
            Some((certificate, key)) => Source::Files { certificate, key },
            None => self.source()?.ok_or_else(|| {
                let why = "an https listener needs a certificate: set tls.certificate and tls.key, or \
                           tls.acme.domains to have an authority asked for one, or tls.self_signed = true \
                           (--self-signed) to have one made";
                ("listen", why.to_owned())
            })?,
        };
        let (key, client_auth) = match own.client_auth {
            Some(client_auth) => ("listen", client_auth),
            None => ("tls.client_auth", self.client_auth),
        };
        let client_ca = path(&own.client_ca).or_else(|| path(&self.client_ca));
        match client_auth {
            ClientAuth::None if path(&own.client_ca).is_some() => Err((
                "listen",
                "a listener with a client_ca asks for certificates: set its client_auth".to_owned(),
            )),
            ClientAuth::None => Ok(Https { source, client_auth, client_ca: None }),
            _ if client_ca.is_none() => Err((key, "name the clients' authorities: tls.client_ca".to_owned())),
            _ => Ok(Https { source, client_auth, client_ca }),
        }
    }

    /// What must hold whether a listener uses it or not.
    ///
    /// # Errors
    /// The key that is wrong.
    pub(crate) fn check(&self) -> Result<(), Wrong> {
        self.source()?;
        for name in &self.san {
            let plain = name.strip_prefix("*.").unwrap_or(name);
            if ServerName::try_from(plain).is_err() {
                return Err(("tls.san", format!("{name:?} is neither a host name nor an address")));
            }
        }
        if !self.san.is_empty() && !self.self_signed {
            return Err(("tls.san", "names are for a certificate that is made: tls.self_signed".to_owned()));
        }
        self.acme.check()
    }
}

impl Acme {
    fn check(&self) -> Result<(), Wrong> {
        if self.domains.is_empty() {
            return match *self == Acme::default() {
                true => Ok(()),
                false => {
                    Err(("tls.acme", "name the host names of the certificate: tls.acme.domains".to_owned()))
                }
            };
        }
        for domain in &self.domains {
            if !matches!(ServerName::try_from(domain.as_str()), Ok(ServerName::DnsName(_))) {
                return Err((
                    "tls.acme.domains",
                    format!("{domain:?} is no host name: wildcards and addresses can't be had this way"),
                ));
            }
        }
        if !self.directory.starts_with("https://") {
            return Err((
                "tls.acme.directory",
                "name the authority's directory, a URL that begins with https://".to_owned(),
            ));
        }
        Ok(())
    }
}

fn path(path: &Path) -> Option<&Path> {
    (!path.as_os_str().is_empty()).then_some(path)
}

/// Both or none; else which is missing.
fn pair<'a>(certificate: &'a Path, key: &'a Path) -> Result<Option<(&'a Path, &'a Path)>, &'static str> {
    match (path(certificate), path(key)) {
        (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
        (None, None) => Ok(None),
        (Some(_), None) => Err("key"),
        (None, Some(_)) => Err("certificate"),
    }
}
