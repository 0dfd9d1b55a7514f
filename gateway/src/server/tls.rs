//! TLS below HTTP: which certificate is served, and that a new one is taken up while connections go on.
//!
//! HTTP/1.1 alone is offered. All that bounds a connection (what it may send, what it is told in S3's form, how it ends)
//! is bound to that one.

mod certificate;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cairn_storage::types::now_ms;
use parking_lot::RwLock;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, ServerConfig};

pub use self::certificate::{Certificate, Files, is_host};
use super::socket::{Duplex, Socket};

/// The type of the first record of every connection with TLS (RFC 8446, section 5.1): a handshake.
const HANDSHAKE: u8 = 0x16;

/// How often the files are looked at. What is new is taken up when two looks have seen the same.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// For so long before its expiry a certificate is warned of, and how often.
const EXPIRY_NOTICE_SECONDS: u64 = 14 * DAY.as_secs();
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{}: {problem}", file.display())]
    File { file: PathBuf, problem: String },
    #[error("TLS cannot be spoken here: {0}")]
    Library(#[from] rustls::Error),
}

impl TlsError {
    fn file(file: &Path, problem: &dyn ToString) -> Self {
        Self::File { file: file.to_owned(), problem: problem.to_string() }
    }
}

/// The certificates of a port.
pub struct Tls {
    config: Arc<ServerConfig>,
    served: Arc<Served>,
    look_every: Duration,
    /// Of what was read at the start.
    begun_with: Fingerprint,
}

/// What a connection turned out to be.
pub(super) struct Opened {
    pub stream: Box<dyn Duplex>,
    /// Whether the client speaks TLS.
    pub secure: bool,
}

impl Tls {
    /// Serves these certificates: of them the first one that is good for the host which a client asks for, else the
    /// first of all.
    ///
    /// # Errors
    /// A file is not what it should be.
    pub fn load(files: Vec<Files>) -> Result<Arc<Self>, TlsError> {
        Self::looking(files, LOOK_EVERY)
    }

    fn looking(files: Vec<Files>, look_every: Duration) -> Result<Arc<Self>, TlsError> {
        let begun_with = fingerprint(&files);
        let certificates = files.iter().map(Certificate::load).collect::<Result<Vec<_>, _>>()?;
        let served = Arc::new(Served { files, certificates: RwLock::new(certificates) });
        let config = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        let mut config = config.with_no_client_auth().with_cert_resolver(served.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec(), b"http/1.0".to_vec()];
        Ok(Arc::new(Self { config: Arc::new(config), served, look_every, begun_with }))
    }

    /// Shakes hands with a client, if that is what it begins with.
    pub(super) async fn open(&self, socket: Socket) -> io::Result<Opened> {
        match socket.peek().await? {
            None => Err(io::ErrorKind::UnexpectedEof.into()),
            Some(HANDSHAKE) => {
                let stream = TlsAcceptor::from(self.config.clone()).accept(socket).await?;
                Ok(Opened { stream: Box::new(stream), secure: true })
            }
            Some(_) => Ok(Opened { stream: Box::new(socket), secure: false }),
        }
    }

    /// Takes up new files and warns of what expires, for ever. Connections that are open do not notice.
    pub(super) async fn watch(self: Arc<Self>) {
        let (mut tried, mut seen) = (self.begun_with, self.begun_with);
        let mut refused = self.begun_with;
        let mut next_notice = Instant::now();
        self.in_background(Served::show).await;
        loop {
            if Instant::now() >= next_notice {
                self.served.warn_of_expiry();
                next_notice = Instant::now() + DAY;
            }
            tokio::time::sleep(self.look_every).await;
            let Some(found) = self.in_background(|served| fingerprint(&served.files)).await else { continue };
            // They are not written all at once: the key may be new already, and its certificate not yet.
            let is_settled = std::mem::replace(&mut seen, found) == found;
            if !is_settled || found == tried {
                continue;
            }
            let reloaded = self.in_background(Served::reload).await;
            // What is refused is tried again: a file may be read the next time, and a clock put right.
            let is_new = std::mem::replace(&mut refused, found) != found;
            match reloaded {
                None | Some(Err(_)) if !is_new => {}
                None => tracing::warn!("the new TLS certificates could not be read"),
                Some(Ok(())) => {
                    tried = found;
                    metrics::counter!("cairn_s3_tls_reloads_total", "outcome" => "taken").increment(1);
                    tracing::info!("the TLS certificates were read anew");
                    self.in_background(Served::show).await;
                    next_notice = Instant::now();
                }
                Some(Err(error)) => {
                    metrics::counter!("cairn_s3_tls_reloads_total", "outcome" => "refused").increment(1);
                    tracing::warn!(%error, "a new TLS certificate is of no use; the one from before is served on");
                    self.in_background(Served::show).await;
                }
            }
        }
    }

    /// Files may be on a disk that hangs.
    async fn in_background<T: Send + 'static>(&self, work: impl FnOnce(&Served) -> T + Send + 'static) -> Option<T> {
        let served = self.served.clone();
        tokio::task::spawn_blocking(move || work(&served)).await.ok()
    }
}

/// The library that reqwest has chosen, too.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

#[derive(Debug)]
struct Served {
    files: Vec<Files>,
    certificates: RwLock<Vec<Certificate>>,
}

impl Served {
    /// Replaces those that are good. One that is not keeps no other from it; the first such is the error.
    fn reload(&self) -> Result<(), TlsError> {
        let mut problem = Ok(());
        for (place, files) in self.files.iter().enumerate() {
            let loaded = Certificate::load(files).and_then(|new| match new.expires <= now_seconds() {
                true => Err(TlsError::file(&files.certificate, &"it has expired already")),
                false => Ok(new),
            });
            match loaded {
                Ok(new) => {
                    if let Some(served) = self.certificates.write().get_mut(place) {
                        *served = new;
                    }
                }
                Err(error) => problem = problem.and(Err(error)),
            }
        }
        problem
    }

    fn show(&self) {
        for Certificate { files, expires, .. } in &*self.certificates.read() {
            certificate::warn_of_readers(&files.key);
            let name = files.certificate.display().to_string();
            metrics::gauge!("cairn_s3_tls_certificate_expiry_timestamp_seconds", "certificate" => name)
                .set(*expires as f64);
        }
    }

    fn warn_of_expiry(&self) {
        for Certificate { files, expires, .. } in &*self.certificates.read() {
            let (certificate, left) = (files.certificate.display(), expires.saturating_sub(now_seconds()));
            if left == 0 {
                tracing::warn!(%certificate, "the TLS certificate has expired: clients refuse it");
            } else if left < EXPIRY_NOTICE_SECONDS {
                tracing::warn!(%certificate, hours = left / 3600, "the TLS certificate expires soon");
            }
        }
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let certificates = self.certificates.read();
        let host = hello.server_name();
        let of_host = |certificate: &&Certificate| host.is_some_and(|host| certificate.is_for(host));
        // Of several for one host the client may know the algorithm of some only, and one may have expired.
        let fits = |certificate: &&Certificate| {
            certificate.expires > now_seconds()
                && certificate.key.key.choose_scheme(hello.signature_schemes()).is_some()
        };
        let named = certificates.iter().filter(of_host).find(fits).or_else(|| certificates.iter().find(of_host));
        named.or(certificates.first()).map(|certificate| certificate.key.clone())
    }
}

type Fingerprint = blake3::Hash;

/// Of what the files hold, or of why they cannot be read.
fn fingerprint(files: &[Files]) -> Fingerprint {
    let mut hasher = blake3::Hasher::new();
    for path in files.iter().flat_map(|files| [&files.certificate, &files.key]) {
        let bytes = certificate::read(path).unwrap_or_else(|error| error.to_string().into_bytes());
        hasher.update(&(bytes.len() as u64).to_le_bytes()).update(&bytes);
    }
    hasher.finalize()
}

fn now_seconds() -> u64 {
    now_ms() / 1000
}

#[cfg(test)]
#[path = "tls_test.rs"]
mod tests;
