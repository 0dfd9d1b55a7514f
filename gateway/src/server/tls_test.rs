use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, date_time_ymd};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

use super::certificate::{element, not_after};
use super::*;
use crate::server::Limits;
use crate::server::stream::Stream;
use crate::server::tests::{LIVE, Server, is_closed, is_refused, read_answer, start_with};

/// Looks so often that a test need not wait.
const SOON: Duration = Duration::from_millis(20);

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

/// A directory with a certificate for some hosts, that has signed itself.
struct Issuer(TempDir);

impl Issuer {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn files(&self, name: &str) -> Files {
        Files { certificate: self.0.path().join(format!("{name}.crt")), key: self.0.path().join(format!("{name}.key")) }
    }

    fn issue(&self, name: &str, hosts: &[&str]) -> Files {
        self.issue_by(name, hosts, &KeyPair::generate().unwrap(), 2040)
    }

    fn issue_by(&self, name: &str, hosts: &[&str], key: &KeyPair, year: i32) -> Files {
        let mut wanted =
            CertificateParams::new(hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>()).unwrap();
        wanted.not_after = date_time_ymd(year, 2, 3);
        let files = self.files(name);
        fs::write(&files.key, key.serialize_pem()).unwrap();
        fs::write(&files.certificate, wanted.self_signed(key).unwrap().pem()).unwrap();
        files
    }
}

fn certificate_of(files: &Files) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(&files.certificate).unwrap()
}

/// Whom a client trusts, and what it offers.
fn connector(trusted: &[&Files], versions: &[&'static SupportedProtocolVersion], alpn: &[&str]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for files in trusted {
        roots.add(certificate_of(files)).unwrap();
    }
    let config = ClientConfig::builder_with_provider(provider()).with_protocol_versions(versions).unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

async fn connect(server: &Server, trusted: &[&Files], host: &str) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(server.address).await?;
    let host = ServerName::try_from(host.to_owned()).unwrap();
    connector(trusted, &[&TLS13, &TLS12], &[]).connect(host, stream).await
}

fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

async fn is_alive(stream: &mut TlsStream<TcpStream>) -> bool {
    stream.write_all(LIVE).await.unwrap();
    read_answer(stream).await.unwrap().starts_with("HTTP/1.1 200")
}

#[tokio::test]
async fn http_1_is_spoken_over_tls_1_2_and_1_3_whatever_else_a_client_offers() {
    let issuer = Issuer::new();
    let files = issuer.issue("one", &["localhost"]);
    let server = start_with(Limits::default(), Some(Tls::load(vec![files.clone()]).unwrap())).await;
    for (version, name) in [(&TLS12, rustls::ProtocolVersion::TLSv1_2), (&TLS13, rustls::ProtocolVersion::TLSv1_3)] {
        for alpn in [&[][..], &["http/1.1"], &["h2", "http/1.1"]] {
            let stream = TcpStream::connect(server.address).await.unwrap();
            let host = ServerName::try_from("localhost").unwrap();
            let mut stream = connector(&[&files], &[version], alpn).connect(host, stream).await.unwrap();
            assert_eq!(stream.get_ref().1.protocol_version(), Some(name));
            let agreed = stream.get_ref().1.alpn_protocol();
            assert_eq!(agreed, (!alpn.is_empty()).then_some(&b"http/1.1"[..]));
            assert!(is_alive(&mut stream).await && is_alive(&mut stream).await);
        }
    }
}

#[tokio::test]
async fn keys_of_every_kind_are_served() {
    let issuer = Issuer::new();
    let (rsa, ec) = (KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap(), KeyPair::generate().unwrap());
    for (key, label) in [(&rsa, None), (&rsa, Some("RSA PRIVATE KEY")), (&ec, None), (&ec, Some("EC PRIVATE KEY"))] {
        let files = issuer.issue_by("key", &["localhost"], key, 2040);
        if let Some(label) = label {
            // PKCS#8 is around the older forms: a version, an algorithm, and then the key.
            let der = key.serialize_der();
            let after = |part| element(part).unwrap().2;
            let (_, inner, _) = element(after(after(element(&der).unwrap().1))).unwrap();
            // As openssl has it, which says the curve first.
            let before =
                if key.is_compatible(&PKCS_RSA_SHA256) { String::new() } else { pem("EC PARAMETERS", b"curve") };
            fs::write(&files.key, before + &pem(label, inner)).unwrap();
        }
        let server = start_with(Limits::default(), Some(Tls::load(vec![files.clone()]).unwrap())).await;
        assert!(is_alive(&mut connect(&server, &[&files], "localhost").await.unwrap()).await, "{label:?}");
    }
}

#[tokio::test]
async fn a_client_gets_the_certificate_for_the_host_that_it_asks_for_or_the_first() {
    let issuer = Issuer::new();
    let first = issuer.issue("first", &["first.example", "127.0.0.1", "unknown.example", "a.b.wild.example"]);
    let second = issuer.issue("second", &["second.example", "also.example"]);
    let wild = issuer.issue("wild", &["*.wild.example", "wild.example"]);
    let all = [&first, &second, &wild];
    let server = start_with(Limits::default(), Some(Tls::load(all.map(Clone::clone).to_vec()).unwrap())).await;
    for (host, expected) in [
        ("first.example", &first),
        ("second.example", &second),
        ("SECOND.example", &second),
        ("also.example", &second),
        ("wild.example", &wild),
        ("bucket.wild.example", &wild),
        // A wildcard is one label.
        ("a.b.wild.example", &first),
        ("unknown.example", &first),
        // An address is not asked for.
        ("127.0.0.1", &first),
    ] {
        let stream = connect(&server, &all, host).await.unwrap_or_else(|error| panic!("{host}: {error}"));
        assert_eq!(shown(&stream), certificate_of(expected), "{host}");
    }
}

/// Waits until a new connection is shown the certificate of these files.
async fn is_served(server: &Server, files: &Files) -> bool {
    for _ in 0..500 {
        if let Ok(stream) = connect(server, &[files], "localhost").await
            && shown(&stream) == certificate_of(files)
        {
            return true;
        }
        sleep(SOON).await;
    }
    false
}

#[tokio::test]
async fn a_new_certificate_is_taken_up_while_a_connection_goes_on_and_a_bad_one_is_not() {
    let issuer = Issuer::new();
    let files = issuer.issue("served", &["localhost"]);
    let tls = Tls::looking(vec![files.clone()], SOON).unwrap();
    let server = start_with(Limits::default(), Some(tls)).await;
    let mut open = connect(&server, &[&files], "localhost").await.unwrap();
    assert!(is_alive(&mut open).await);

    let renewed = issuer.issue("renewed", &["localhost"]);
    fs::copy(&renewed.key, &files.key).unwrap();
    fs::copy(&renewed.certificate, &files.certificate).unwrap();
    assert!(is_served(&server, &renewed).await);
    assert!(is_alive(&mut open).await, "it goes on with the old one");

    let other = issuer.issue("other", &["localhost"]);
    let expired = issuer.issue_by("expired", &["localhost"], &KeyPair::generate().unwrap(), 2001);
    let spoil: [&dyn Fn(); 4] = [
        &|| fs::write(&files.certificate, "no certificate").unwrap(),
        &|| assert!(fs::copy(&other.certificate, &files.certificate).is_ok()),
        &|| fs::remove_file(&files.certificate).unwrap(),
        &|| {
            fs::copy(&expired.key, &files.key).unwrap();
            fs::copy(&expired.certificate, &files.certificate).unwrap();
        },
    ];
    for spoil in spoil {
        spoil();
        sleep(SOON * 10).await;
        assert_eq!(shown(&connect(&server, &[&renewed], "localhost").await.unwrap()), certificate_of(&renewed));
    }

    fs::copy(&other.key, &files.key).unwrap();
    fs::copy(&other.certificate, &files.certificate).unwrap();
    assert!(is_served(&server, &other).await, "what was bad before is in nobody's way");
    assert!(is_alive(&mut open).await);
}

#[tokio::test]
async fn a_handshake_that_does_not_come_ends_the_connection() {
    let issuer = Issuer::new();
    let tls = Tls::load(vec![issuer.issue("one", &["localhost"])]).unwrap();
    let limits = Limits { head_timeout: Duration::from_millis(100), ..Limits::default() };
    let server = start_with(limits, Some(tls)).await;
    for begun in [&[][..], &[HANDSHAKE], &[HANDSHAKE, 3, 1, 1, 0, 1]] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(begun).await.unwrap();
        assert!(is_closed(&mut stream).await);
    }
}

#[tokio::test]
async fn who_shakes_no_hands_has_a_slot_and_neither_keeps_health_from_answering_nor_the_end_from_coming() {
    let issuer = Issuer::new();
    let files = issuer.issue("one", &["localhost"]);
    let limits = Limits { connections: 2, lane: 4, ..Limits::default() };
    let mut server = start_with(limits, Some(Tls::load(vec![files.clone()]).unwrap())).await;
    let mut silent = Vec::new();
    for _ in 0..10 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    assert!(is_alive(&mut connect(&server, &[&files], "localhost").await.unwrap()).await);
    let mut other = connect(&server, &[&files], "localhost").await.unwrap();
    other.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    is_refused(&mut other, "503", "SlowDown").await;
    server.stop.take().unwrap().send(()).unwrap();
    timeout(Duration::from_secs(5), server.running).await.unwrap().unwrap();
}

#[tokio::test]
async fn http_in_the_clear_is_told_that_the_port_speaks_https() {
    let issuer = Issuer::new();
    let server =
        start_with(Limits::default(), Some(Tls::load(vec![issuer.issue("one", &["localhost"])]).unwrap())).await;
    for request in [&b"GET /b/k HTTP/1.1\r\nhost: localhost\r\n\r\n"[..], LIVE, b"\x80\x2e\x01garbage\r\n\r\n"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        is_refused(&mut stream, "400", "BadRequest").await;
        assert!(is_closed(&mut stream).await);
    }
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"PUT /b/k HTTP/1.1\r\nhost: localhost\r\ncontent-length: 8388608\r\n\r\n").await.unwrap();
    for _ in 0..128 {
        stream.write_all(&[0; 64 << 10]).await.unwrap();
    }
    let answer = read_answer(&mut stream).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("HTTPS"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_upload_is_sent_whole_over_tls_and_its_answer_is_read() {
    let issuer = Issuer::new();
    let files = issuer.issue("one", &["localhost"]);
    let server = start_with(Limits::default(), Some(Tls::load(vec![files.clone()]).unwrap())).await;
    for _ in 0..4 {
        let mut stream = connect(&server, &[&files], "localhost").await.unwrap();
        stream.write_all(b"PUT /b/k HTTP/1.1\r\nhost: localhost\r\ncontent-length: 16777216\r\n\r\n").await.unwrap();
        for _ in 0..256 {
            stream.write_all(&[0; 64 << 10]).await.unwrap();
        }
        let answer = read_answer(&mut stream).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 403") && answer.ends_with("</Error>"), "{answer}");
        // With the end that TLS has, not cut off.
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_client_that_takes_nothing_over_tls_ends_the_connection() {
    let issuer = Issuer::new();
    let files = issuer.issue("one", &["localhost"]);
    let tls = Tls::load(vec![files.clone()]).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for flushes in [false, true] {
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let opening = tls.open(Socket::new(stream, 1, Duration::from_millis(500)));
        let host = ServerName::try_from("localhost").unwrap();
        let (opened, client) = tokio::join!(opening, connector(&[&files], &[&TLS13], &[]).connect(host, client));
        let (opened, _client) = (opened.unwrap(), client.unwrap());
        assert!(opened.secure);
        let mut stream = Stream::new(opened.stream, 1, Arc::default(), Box::new(|_| bytes::Bytes::new()));
        let writing = async {
            loop {
                // Of a piece that fits between HTTP and TLS only the flush notices that it does not leave.
                stream.write_all(&[0; 1 << 10]).await?;
                if flushes {
                    stream.flush().await?;
                }
            }
        };
        let ended: io::Result<()> = timeout(Duration::from_secs(20), writing).await.unwrap();
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_name() {
    let issuer = Issuer::new();
    let (good, other) = (issuer.issue("good", &["localhost"]), issuer.issue("other", &["localhost"]));
    let text = |path: &Path| fs::read_to_string(path).unwrap();
    let (certificate, key) = (text(&good.certificate), text(&good.key));
    let cut = pem("CERTIFICATE", &certificate_of(&good)[..100]);
    for (spoilt_certificate, spoilt_key, wrong, why) in [
        (Some(""), None, "bad.crt", "no certificate"),
        (Some("garbage"), None, "bad.crt", "no certificate"),
        (Some(key.as_str()), None, "bad.crt", "no certificate"),
        (Some("-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n"), None, "bad.crt", ""),
        (Some("-----BEGIN CERTIFICATE-----\nAAAA\n"), None, "bad.crt", ""),
        (Some(cut.as_str()), None, "bad.crt", ""),
        (None, Some(""), "bad.key", "no private key"),
        (None, Some(certificate.as_str()), "bad.key", "no private key"),
        (None, Some(pem("ENCRYPTED PRIVATE KEY", b"secret").as_str()), "bad.key", "password"),
        (None, Some(pem("PRIVATE KEY", b"no key").as_str()), "bad.key", ""),
        (None, Some(text(&other.key).as_str()), "bad.key", "not the key of"),
    ] {
        let bad = issuer.files("bad");
        fs::write(&bad.certificate, spoilt_certificate.unwrap_or(&certificate)).unwrap();
        fs::write(&bad.key, spoilt_key.unwrap_or(&key)).unwrap();
        let error = Certificate::load(&bad).unwrap_err().to_string();
        assert!(error.contains(&format!("{wrong}: ")) && error.contains(why), "{error}");
    }
    let missing = Files { key: issuer.0.path().join("missing.key"), ..good };
    assert!(Certificate::load(&missing).unwrap_err().to_string().contains("missing.key: No such file"));
}

#[test]
fn the_time_of_expiry_is_read_in_both_of_its_forms() {
    let issuer = Issuer::new();
    let key = KeyPair::generate().unwrap();
    for (year, seconds) in [(1999, 918_000_000), (2049, 2_495_923_200), (2050, 2_527_459_200), (2140, 5_367_513_600)] {
        let files = issuer.issue_by("one", &["localhost"], &key, year);
        assert_eq!(Certificate::load(&files).unwrap().expires(), seconds, "{year}");
    }
}

#[test]
fn bytes_that_are_no_certificate_have_no_time_of_expiry() {
    let issuer = Issuer::new();
    let der = certificate_of(&issuer.issue("one", &["localhost"])).to_vec();
    for at in 0..der.len() {
        let _ = not_after(&der[..at]);
        for bit in 0..8 {
            let mut flipped = der.clone();
            flipped[at] ^= 1 << bit;
            let _ = not_after(&flipped);
        }
    }
    assert_eq!(not_after(b""), None);
}
