//! What two that do not agree are told, in words of our own settings.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

/// The same error, saying what is to be looked at if TLS is what failed.
pub(super) fn explained(error: io::Error) -> io::Error {
    let Some(tls) = error.get_ref().and_then(|error| error.downcast_ref::<Error>()) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                io::Error::new(error.kind(), "it broke the handshake off: has it the same --fleet-auth?")
            }
            _ => error,
        };
    };
    let what = match tls {
        Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure) => {
            "it has not our fleet key".to_owned()
        }
        Error::InvalidCertificate(error) => {
            format!("its certificate is not accepted: {}", certificate(error))
        }
        Error::NoCertificatesPresented => "it shows no certificate".to_owned(),
        Error::AlertReceived(
            AlertDescription::AccessDenied
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRequired
            | AlertDescription::CertificateUnknown
            | AlertDescription::DecryptError
            | AlertDescription::UnknownCA
            | AlertDescription::UnsupportedCertificate,
        ) => format!("it does not accept our proof ({tls}): has it the same fleet key or authority?"),
        Error::InvalidMessage(_) => "it does not speak TLS: has it the same --fleet-auth?".to_owned(),
        other => format!("no TLS connection: {other}"),
    };
    io::Error::new(error.kind(), what)
}

/// The same every time, so that what is said again and again is known for what it is.
fn certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet".to_owned()
        }
        CertificateError::UnknownIssuer => "it is of another authority".to_owned(),
        CertificateError::BadSignature => "its authority did not sign it".to_owned(),
        other => other.to_string(),
    }
}
