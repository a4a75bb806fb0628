//! An authority and a certificate of our own, for who has none: made in the data folder, and the certificate
//! made anew before it ends. Whoever trusted the authority once trusts every certificate that follows.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::time::{MissedTickBehavior, interval};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::TlsError;
use super::store::{self, Access};

/// How long the authority is valid. Clients were told of it by hand, so it is longer than most machines last.
const AUTHORITY_VALID: Duration = days(20 * 365);
/// How long a certificate is valid.
const CERTIFICATE_VALID: Duration = days(90);
/// How long before its end a certificate is replaced.
const RENEW_BEFORE: Duration = days(30);
/// How far a client's clock may be behind.
const CLOCKS_DIFFER: Duration = days(1);
/// How often it is looked whether it is time: by the wall's clock, which may be set.
const LOOK_EVERY: Duration = Duration::from_secs(3600);

/// Below the data folder.
const FOLDER: &str = "tls";
const AUTHORITY_FILE: &str = "ca.crt";
const AUTHORITY_KEY_FILE: &str = "ca.key";
/// Certificate and key, so that they are replaced in one.
const SERVER_FILE: &str = "server.pem";

const fn days(days: u64) -> Duration {
    Duration::from_secs(days * 24 * 3600)
}

/// The certificate of the authority that was made in a data folder, where one was.
pub(crate) fn authority_file(data: &Path) -> PathBuf {
    absolute(data.join(FOLDER).join(AUTHORITY_FILE))
}

fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

/// The authority and certificate in a data folder.
#[derive(Debug)]
pub(crate) struct SelfSigned {
    folder: PathBuf,
    names: Vec<String>,
}

impl SelfSigned {
    /// Sees that there are an authority and a certificate for this machine and `more` names, which are host
    /// names and addresses. Blocks.
    ///
    /// # Errors
    /// [`TlsError`] where they can't be made or kept.
    pub(crate) fn prepare(data: &Path, more: &[String]) -> Result<SelfSigned, TlsError> {
        let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let own = ["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned(), machine];
        let mut names: Vec<String> = Vec::new();
        for name in own.iter().chain(more) {
            // A machine may have been given a name that no certificate can hold.
            let possible = rustls::pki_types::ServerName::try_from(name.trim_start_matches("*.")).is_ok();
            if possible && !names.contains(name) {
                names.push(name.clone());
            }
        }
        let made = SelfSigned { folder: data.join(FOLDER), names };
        made.ensure(SystemTime::now())?;
        Ok(made)
    }

    /// The authority's certificate.
    pub(crate) fn authority(&self) -> PathBuf {
        absolute(self.folder.join(AUTHORITY_FILE))
    }

    /// The file with certificate and key.
    pub(crate) fn server(&self) -> PathBuf {
        self.folder.join(SERVER_FILE)
    }

    /// What the certificate is good for.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// Makes the certificate anew before it ends, until the runtime does. Who serves it sees that the file has
    /// changed.
    pub(crate) async fn keep(self) {
        let this = Arc::new(self);
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let looking = Arc::clone(&this);
            match tokio::task::spawn_blocking(move || looking.ensure(SystemTime::now())).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "the certificate could not be made anew"),
                Err(_) => return,
            }
        }
    }

    /// Makes what is missing, has ended or soon will, or is for other names.
    fn ensure(&self, now: SystemTime) -> Result<(), TlsError> {
        store::make_folder(&self.folder)?;
        let authority = match self.known_authority(now) {
            Some(authority) => authority,
            None => self.make_authority(now)?,
        };
        if !self.is_good(&authority.certificate, now) {
            self.make_certificate(&authority, now)?;
        }
        Ok(())
    }

    /// The authority in the folder, where it can sign a certificate that begins now.
    fn known_authority(&self, now: SystemTime) -> Option<Authority> {
        let pem = std::fs::read_to_string(self.folder.join(AUTHORITY_FILE)).ok()?;
        let key = std::fs::read_to_string(self.folder.join(AUTHORITY_KEY_FILE)).ok()?;
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
        let (_, parsed) = X509Certificate::from_der(&certificate).ok()?;
        let key = KeyPair::from_pem(&key).ok()?;
        let is_pair = parsed.public_key().subject_public_key.data == key.public_key_raw();
        let lasts = remaining(&parsed, now)? > CERTIFICATE_VALID;
        if !is_pair || !lasts {
            tracing::warn!(folder = %self.folder.display(), "the authority has ended or is no pair: a new one is made");
            return None;
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key).ok()?;
        Some(Authority { issuer, certificate })
    }

    fn make_authority(&self, now: SystemTime) -> Result<Authority, TlsError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        // Authorities of two machines, or of one machine's two data folders, must not have the same name:
        // clients look them up by it.
        let machine =
            self.names.iter().find(|name| name.as_str() != "localhost" && name.parse::<IpAddr>().is_err());
        let number: String =
            key.public_key_raw().iter().rev().take(4).map(|byte| format!("{byte:02x}")).collect();
        let machine = machine.map_or("localhost", String::as_str);
        params.distinguished_name.push(DnType::OrganizationName, "Supercargo");
        // The standard gives a common name 64 characters.
        let name: String = format!("{number} at {machine}").chars().take(64).collect();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = (now - CLOCKS_DIFFER).into();
        params.not_after = (now + AUTHORITY_VALID).into();
        let certificate = params.self_signed(&key)?;
        // The key first: without it the certificate is of no use, and is made again.
        self.write(AUTHORITY_KEY_FILE, &key.serialize_pem(), Access::OwnerAlone)?;
        self.write(AUTHORITY_FILE, &certificate.pem(), Access::Everybody)?;
        tracing::info!(file = %self.authority().display(), "an authority was made");
        Ok(Authority { certificate: certificate.der().clone(), issuer: Issuer::new(params, key) })
    }

    fn make_certificate(&self, authority: &Authority, now: SystemTime) -> Result<(), TlsError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(self.names.clone())?;
        params.distinguished_name.push(DnType::CommonName, "Supercargo");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = (now - CLOCKS_DIFFER).into();
        params.not_after = (now + CERTIFICATE_VALID).into();
        let certificate = params.signed_by(&key, &authority.issuer)?;
        self.write(
            SERVER_FILE,
            &format!("{}{}", certificate.pem(), key.serialize_pem()),
            Access::OwnerAlone,
        )?;
        tracing::info!(names = self.names.join(", "), "a certificate was made");
        Ok(())
    }

    /// Whether there is a certificate with its key, by this authority, for all names, that lasts.
    fn is_good(&self, authority: &CertificateDer<'_>, now: SystemTime) -> bool {
        let Ok(pem) = std::fs::read_to_string(self.server()) else { return false };
        let Ok(certificate) = CertificateDer::from_pem_slice(pem.as_bytes()) else { return false };
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).ok();
        let Some(key) = key.and_then(|key| KeyPair::try_from(&key).ok()) else { return false };
        let (Ok((_, certificate)), Ok((_, authority))) =
            (X509Certificate::from_der(&certificate), X509Certificate::from_der(authority))
        else {
            return false;
        };
        certificate.issuer() == authority.subject()
            && certificate.public_key().subject_public_key.data == key.public_key_raw()
            && remaining(&certificate, now).is_some_and(|remaining| remaining > RENEW_BEFORE)
            && names_of(&certificate) == self.expected_names()
    }

    fn expected_names(&self) -> Option<Vec<SanType>> {
        Some(CertificateParams::new(self.names.clone()).ok()?.subject_alt_names)
    }

    fn write(&self, name: &str, text: &str, access: Access) -> Result<(), TlsError> {
        store::write(&self.folder, name, text, access)
    }
}

/// Who signs.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

/// How long a certificate is valid from `now`. None where it is not.
pub(super) fn remaining(certificate: &X509Certificate<'_>, now: SystemTime) -> Option<Duration> {
    let ends = u64::try_from(certificate.validity().not_after.timestamp()).ok()?;
    (SystemTime::UNIX_EPOCH + Duration::from_secs(ends)).duration_since(now).ok()
}

/// The names in a certificate, as the library that makes them has them. None where there is one of a kind
/// that it was not made with.
pub(super) fn names_of(certificate: &X509Certificate<'_>) -> Option<Vec<SanType>> {
    let names = certificate.subject_alternative_name().ok()??;
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(SanType::DnsName((*name).try_into().ok()?)),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let address = v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)).ok()?;
            Some(SanType::IpAddress(address))
        }
        _ => None,
    };
    names.value.general_names.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn made(folder: &Path, more: &[&str], now: SystemTime) -> SelfSigned {
        let names =
            ["localhost", "127.0.0.1", "::1"].iter().chain(more).map(|name| (*name).to_owned()).collect();
        let made = SelfSigned { folder: folder.join(FOLDER), names };
        made.ensure(now).unwrap();
        made
    }

    fn files(made: &SelfSigned) -> (String, String) {
        let read = |name| std::fs::read_to_string(made.folder.join(name)).unwrap();
        (read(AUTHORITY_FILE), read(SERVER_FILE))
    }

    #[test]
    fn a_certificate_is_made_once_and_anew_before_it_ends_by_the_same_authority() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let first = files(&made(folder.path(), &["host.example"], now));
        assert_eq!(files(&made(folder.path(), &["host.example"], now + days(59))), first);
        let later = files(&made(folder.path(), &["host.example"], now + days(61)));
        assert_eq!(later.0, first.0);
        assert_ne!(later.1, first.1);
        // Not before the clocks of clients can have come so far.
        let certificate = CertificateDer::from_pem_slice(later.1.as_bytes()).unwrap();
        let (_, certificate) = X509Certificate::from_der(&certificate).unwrap();
        assert_eq!(
            remaining(&certificate, now + days(61)).unwrap().as_secs() / 3600,
            days(90).as_secs() / 3600 - 1
        );
        assert!(certificate.validity().not_before.timestamp() > 0);
    }

    #[test]
    fn other_names_need_another_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let first = files(&made(folder.path(), &[], now));
        let second = files(&made(folder.path(), &["*.example", "10.1.2.3"], now));
        assert_eq!(first.0, second.0);
        assert_ne!(first.1, second.1);
        assert_eq!(files(&made(folder.path(), &["*.example", "10.1.2.3"], now)), second);
    }

    #[test]
    fn keys_are_nobody_elses() {
        let folder = tempfile::tempdir().unwrap();
        let made = made(folder.path(), &[], SystemTime::now());
        let mode = |name| std::fs::metadata(made.folder.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(
            [mode(AUTHORITY_KEY_FILE), mode(SERVER_FILE), mode(AUTHORITY_FILE)],
            [0o600, 0o600, 0o644]
        );
    }

    #[test]
    fn what_is_missing_or_broken_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let first = files(&made(folder.path(), &[], now));
        let at = |name: &str| folder.path().join(FOLDER).join(name);
        std::fs::write(at(SERVER_FILE), "not PEM").unwrap();
        let second = files(&made(folder.path(), &[], now));
        assert_eq!(first.0, second.0);
        assert!(second.1.contains("PRIVATE KEY"));
        // Without its key an authority can't sign, and what it signed goes with it.
        std::fs::remove_file(at(AUTHORITY_KEY_FILE)).unwrap();
        let third = files(&made(folder.path(), &[], now));
        assert_ne!(second.0, third.0);
        assert_ne!(second.1, third.1);
        let certificate = CertificateDer::from_pem_slice(third.1.as_bytes()).unwrap();
        let authority = CertificateDer::from_pem_slice(third.0.as_bytes()).unwrap();
        let (_, certificate) = X509Certificate::from_der(&certificate).unwrap();
        let (_, authority) = X509Certificate::from_der(&authority).unwrap();
        assert_eq!(certificate.issuer(), authority.subject());
    }

    #[test]
    fn an_authority_that_ends_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let first = files(&made(folder.path(), &[], now));
        let later = files(&made(folder.path(), &[], now + AUTHORITY_VALID - days(10)));
        assert_ne!(first.0, later.0);
    }
}
