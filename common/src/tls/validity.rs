//! How long a certificate is valid, where metrics show it.

use metrics::{Unit, describe_gauge, gauge};
use rustls::pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

/// In seconds since 1970, as metrics have numbers; dates of the next millions of years are exact.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Validity {
    not_before: f64,
    not_after: f64,
}

impl Validity {
    /// Of a certificate with its chain behind it: from its own beginning to the first end of any of them. Not a number if one
    /// cannot be read, so that nothing is said of it rather than of the one before.
    pub(crate) fn of(chain: &[CertificateDer<'_>]) -> Self {
        let all: Option<Vec<_>> = chain.iter().map(read).collect();
        let earlier =
            |first: Self, next: Self| Self { not_after: first.not_after.min(next.not_after), ..first };
        let unknown = Self { not_before: f64::NAN, not_after: f64::NAN };
        all.and_then(|all| all.into_iter().reduce(earlier)).unwrap_or(unknown)
    }

    /// Shows it as `{component}_certificate_not_before_seconds` and `…_not_after_seconds`. `used_for` is what the certificate
    /// proves: `listener` to clients and callers, `fleet` to managers and nodes.
    pub(crate) fn show(self, component: &'static str, used_for: &'static str) {
        let ends = "When the certificate in use, or one of its chain, ends to be valid: seconds since 1970.";
        let begins = "When the certificate in use began to be valid: seconds since 1970.";
        for (edge, value, what) in [("after", self.not_after, ends), ("before", self.not_before, begins)] {
            let name = format!("{component}_certificate_not_{edge}_seconds");
            describe_gauge!(name.clone(), Unit::Seconds, what);
            gauge!(name, "used_for" => used_for).set(value);
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "see Validity")]
fn read(certificate: &CertificateDer<'_>) -> Option<Validity> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let validity = certificate.validity();
    let [not_before, not_after] =
        [validity.not_before, validity.not_after].map(|date| date.timestamp() as f64);
    Some(Validity { not_before, not_after })
}

#[cfg(test)]
mod tests {
    use rcgen::{Certificate, CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn valid(from: i32, to: i32) -> Certificate {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap()
    }

    #[test]
    fn a_chain_is_valid_until_the_first_of_it_ends() {
        let (own, issuer) = (valid(2020, 2040), valid(2010, 2030));
        let chain = [own.der().clone(), issuer.der().clone()];
        let second = |year| date_time_ymd(year, 1, 1).unix_timestamp() as f64;
        let edges = |chain: &[CertificateDer<'_>]| {
            let Validity { not_before, not_after } = Validity::of(chain);
            (not_before, not_after)
        };
        assert_eq!(edges(&chain[..1]), (second(2020), second(2040)));
        assert_eq!(edges(&chain), (second(2020), second(2030)));
        let broken = [chain[0].clone(), CertificateDer::from(&b"no certificate"[..])];
        assert!(edges(&broken).1.is_nan() && edges(&[]).1.is_nan());
    }
}
