//! TLS listeners.

use std::fs;

use exporter::tls::acceptor;

#[test]
fn what_is_wrong_with_a_certificate_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
    let error = || acceptor(&certificate, &key).map(drop).unwrap_err().to_string();
    assert!(
        error().starts_with(&format!("{}: not a usable PEM certificate: ", certificate.display()))
    );

    fs::write(&certificate, "hello").unwrap();
    assert_eq!(
        error(),
        format!("{}: not a usable PEM certificate: there is none in it", certificate.display())
    );

    let one = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(&certificate, one.cert.pem()).unwrap();
    fs::write(&key, "hello").unwrap();
    assert!(error().starts_with(&format!("{}: not a usable PEM private key: ", key.display())));

    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(&key, other.signing_key.serialize_pem()).unwrap();
    assert!(error().contains("can't be used: "), "{}", error());

    fs::write(&key, one.signing_key.serialize_pem()).unwrap();
    assert!(acceptor(&certificate, &key).is_ok());
}
