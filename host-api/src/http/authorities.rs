//! Certificates of authorities that the configuration trusts beside the system's.
//!
//! Refuses what is no certificate when the server starts, not when a call needs it.

use reqwest::Certificate;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::Error;

/// Most certificates of all files together.
const CERTIFICATES_MAX: usize = 10_000;

/// Checked certificates.
#[derive(Clone, Default)]
pub(crate) struct Authorities(Vec<Certificate>);

impl Authorities {
    /// Reads PEM texts, each with the name of its file.
    /// # Errors
    /// `HOST0010`.
    pub(crate) fn parse(files: &[(String, String)]) -> Result<Authorities, Error> {
        let mut all = Vec::new();
        for (file, text) in files {
            let bad = |detail: String| Error::BadAuthority {
                file: file.clone(),
                detail,
            };
            let before = all.len();
            for found in CertificateDer::pem_slice_iter(text.as_bytes()) {
                let found = found.map_err(|e| bad(e.to_string()))?;
                let certificate = Certificate::from_der(&found);
                all.push(certificate.map_err(|e| bad(e.to_string()))?);
                // The client itself would pass over what it cannot use.
                let usable = RootCertStore::empty().add(found);
                usable.map_err(|e| bad(e.to_string()))?;
            }
            if all.len() == before {
                return Err(bad("it has no certificate in PEM form".to_owned()));
            }
            if all.len() > CERTIFICATES_MAX {
                return Err(bad(format!("more than {CERTIFICATES_MAX} certificates")));
            }
        }
        Ok(Authorities(all))
    }

    /// For a client that is made.
    pub(crate) fn certificates(&self) -> Vec<Certificate> {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_refused_with_its_file() {
        for text in [
            "",
            "hello",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "-----BEGIN CERTIFICATE-----\n???\n-----END CERTIFICATE-----\n",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ] {
            let files = [("ca.pem".to_owned(), text.to_owned())];
            let refused = Authorities::parse(&files).map(|_| ()).expect_err(text);
            assert_eq!(refused.code(), "HOST0010");
            assert!(refused.to_string().contains("ca.pem"), "{refused}");
        }
    }
}
