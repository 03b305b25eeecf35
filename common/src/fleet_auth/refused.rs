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
        Error::InvalidCertificate(error) => format!("its certificate is not accepted: {error}"),
        Error::NoCertificatesPresented => "it shows no certificate".to_owned(),
        Error::AlertReceived(
            AlertDescription::AccessDenied
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRequired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::UnsupportedCertificate,
        ) => format!("it does not accept our proof ({tls}): has it the same fleet key or authority?"),
        Error::InvalidMessage(_) => "it does not speak TLS: has it the same --fleet-auth?".to_owned(),
        other => format!("no TLS connection: {other}"),
    };
    io::Error::new(error.kind(), what)
}
