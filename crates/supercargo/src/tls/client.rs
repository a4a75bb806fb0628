//! Whose a certificate is.

use rustls::pki_types::CertificateDer;
use supercargo_registry::ClientCertificate;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use x509_parser::time::ASN1Time;

/// What a certificate says of itself.
#[derive(Debug)]
pub(crate) struct Subject {
    /// The distinguished name, as text.
    pub(super) name: String,
    /// When it is no longer valid.
    pub(super) ends: ASN1Time,
}

impl Subject {
    /// Of a certificate that somebody else verified. None where it is none.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<Subject> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        Some(Subject { name: certificate.subject().to_string(), ends: certificate.validity().not_after })
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ends < ASN1Time::now()
    }
}

/// What a client's certificate says it is, once it was verified. None where it says nothing that can be read.
pub(crate) fn shown_by(certificate: &CertificateDer<'_>) -> Option<ClientCertificate> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let subject = certificate.subject();
    let common_name =
        subject.iter_common_name().next().and_then(|name| name.as_str().ok()).map(str::to_owned);
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let alternatives = alternatives.iter().flat_map(|names| &names.value.general_names);
    let alternative_names = alternatives
        .filter_map(|name| match name {
            GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
                Some((*name).to_owned())
            }
            _ => None,
        })
        .collect();
    Some(ClientCertificate { subject: subject.to_string(), common_name, alternative_names })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    #[test]
    fn a_certificate_says_whose_it_is() {
        let mut params = CertificateParams::new(vec!["host.example".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "robot");
        params.distinguished_name.push(DnType::OrganizationName, "Example");
        params.subject_alt_names.push(SanType::URI("spiffe://example/robot".try_into().unwrap()));
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let shown = shown_by(certificate.der()).unwrap();
        assert_eq!(shown.common_name.as_deref(), Some("robot"));
        assert!(shown.subject.contains("CN=robot") && shown.subject.contains("O=Example"), "{shown:?}");
        assert_eq!(shown.alternative_names, ["host.example", "spiffe://example/robot"]);
        assert!(shown_by(&CertificateDer::from(vec![1, 2, 3])).is_none());
    }
}
