//! What a certificate calls its holder.

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// The DNS names, in small letters, and then the URIs of a certificate's subject alternative name. Its subject is left
/// out: a common name is free text; and so is what stands for a URI without being one, which could pass for a DNS name that
/// the authority never looked at. A certificate that cannot be read has none.
pub(super) fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok(certificate) = EndEntityCert::try_from(certificate) else { return Vec::new() };
    let dns = certificate.valid_dns_names().map(str::to_ascii_lowercase);
    let uris = certificate.valid_uri_names().filter(|uri| uri.contains("://"));
    dns.chain(uris.map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    #[test]
    fn dns_names_and_uris_are_names_and_nothing_else_is() {
        let mut params = CertificateParams::new(vec!["Checkout.Shop".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "admin");
        params.subject_alt_names.push(SanType::URI("spiffe://shop/ns/a".try_into().unwrap()));
        params.subject_alt_names.push(SanType::URI("admin.shop".try_into().unwrap()));
        params.subject_alt_names.push(SanType::Rfc822Name("a@shop".try_into().unwrap()));
        params.subject_alt_names.push(SanType::IpAddress([10, 0, 0, 1].into()));
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        assert_eq!(names(certificate.der()), ["checkout.shop", "spiffe://shop/ns/a"]);
        assert!(names(&CertificateDer::from(&b"no certificate"[..])).is_empty());
    }
}
