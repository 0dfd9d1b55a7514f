//! The certificate that a server makes for itself where nobody gave it one: signed by nobody else, so that clients must
//! be told to trust it.

use std::fs::Permissions;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cairn_gateway::server::tls::{Certificate, Files, is_host};
use cairn_storage::durable;
use cairn_storage::types::now_ms;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustix::system::uname;
use time::OffsetDateTime;

const CERTIFICATE_FILE: &str = "tls-certificate.pem";
const KEY_FILE: &str = "tls-key.pem";
/// What every data directory has.
const IDENTITY_FILE: &str = "cairn.json";
/// Anybody may read a certificate; the directory it is in is another matter.
const PUBLIC: u32 = 0o644;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Less than the 825 days that Apple's clients take.
const VALID_FOR: Duration = Duration::from_secs(2 * 365 * DAY.as_secs());
/// With so much left another one is made.
const RENEWED_BEFORE: Duration = Duration::from_secs(30 * DAY.as_secs());
const LOOK_EVERY: Duration = Duration::from_secs(12 * 60 * 60);

/// A certificate and its key in a directory of the server.
#[derive(Clone)]
pub struct SelfSigned {
    pub files: Files,
    /// Names and addresses.
    hosts: Vec<String>,
    /// The name of this machine, which containers change as they like: for its sake alone none is made anew.
    machine: String,
}

impl SelfSigned {
    /// In the first of these directories that has a certificate, or is one of Cairn's at least, which one whose disk is
    /// not there is not.
    ///
    /// # Errors
    /// There is no such directory; or there is no certificate, and none can be made.
    pub fn prepare(directories: &[PathBuf], listen: SocketAddr, domains: &[String]) -> Result<Self> {
        let present: Vec<_> = directories.iter().filter(|directory| is_ours(directory)).collect();
        let having = present.iter().find(|directory| directory.join(CERTIFICATE_FILE).exists());
        let chosen = having.or(present.first()).context("no directory is there to keep a certificate in")?;
        let own = Self::new(chosen, listen, domains)?;
        match own.make_where_needed() {
            Err(error) if Certificate::load(&own.files).is_ok() => {
                tracing::warn!(error = format!("{error:#}"), "the self-signed TLS certificate is not renewed");
            }
            made => made?,
        }
        Ok(own)
    }

    /// For this machine by its name and its loopback addresses, the address of S3, and its domains.
    ///
    /// # Errors
    /// The directory is not there.
    pub fn new(directory: &Path, listen: SocketAddr, domains: &[String]) -> Result<Self> {
        let directory = directory.canonicalize().with_context(|| format!("no directory {}", directory.display()))?;
        let files = Files { certificate: directory.join(CERTIFICATE_FILE), key: directory.join(KEY_FILE) };
        let mut hosts: Vec<_> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
        hosts.push(listen.ip().to_string());
        let machine = uname().nodename().to_string_lossy().into_owned();
        hosts.push(machine.clone());
        hosts.extend(domains.iter().cloned());
        // A wildcard for all of a top-level domain is good for nobody.
        hosts.extend(domains.iter().filter(|domain| domain.contains('.')).map(|domain| format!("*.{domain}")));
        hosts.retain(|host| is_host(&example(host)));
        hosts.sort_unstable();
        hosts.dedup();
        Ok(Self { files, hosts, machine })
    }

    /// Makes it, unless there is one that will be good for a while.
    ///
    /// # Errors
    /// It cannot be made or written; what is there is none, and may be somebody's; the disk is gone.
    pub fn make_where_needed(&self) -> Result<()> {
        if self.is_good() {
            return Ok(());
        }
        let directory = self.files.certificate.parent().unwrap_or(Path::new("."));
        ensure!(is_ours(directory), "{} is no directory of Cairn's, or its disk is gone", directory.display());
        if self.files.certificate.exists() && self.files.key.exists() {
            Certificate::load(&self.files).context("see to these files, or remove them")?;
        }
        let (certificate, key) = self.make().context("a self-signed certificate cannot be made")?;
        if !self.files.key.exists() && self.files.certificate.exists() {
            std::fs::remove_file(&self.files.certificate)?;
        }
        let write = |path: &Path, text: &str, mode| {
            durable::write_atomic(path, text.as_bytes(), mode)
                .with_context(|| format!("cannot write {}", path.display()))
        };
        write(&self.files.key, &key, durable::PRIVATE)?;
        write(&self.files.certificate, &certificate, PUBLIC)?;
        std::fs::set_permissions(&self.files.certificate, Permissions::from_mode(PUBLIC))?;
        tracing::info!(certificate = %self.files.certificate.display(), "a self-signed TLS certificate was made");
        Ok(())
    }

    /// Makes another one in time, for ever. Who serves it looks at the files.
    pub async fn renew(self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let own = self.clone();
            if let Ok(Err(error)) = tokio::task::spawn_blocking(move || own.make_where_needed()).await {
                tracing::warn!(error = format!("{error:#}"), "the self-signed TLS certificate is not renewed");
            }
        }
    }

    fn is_good(&self) -> bool {
        let until = now_ms() / 1000 + RENEWED_BEFORE.as_secs();
        Certificate::load(&self.files).is_ok_and(|certificate| {
            let mut hosts = self.hosts.iter().filter(|host| **host != self.machine);
            certificate.expires() > until && hosts.all(|host| certificate.is_for(&example(host)))
        })
    }

    /// In PEM: the certificate and its key.
    fn make(&self) -> Result<(String, String)> {
        let now = OffsetDateTime::from_unix_timestamp(i64::try_from(now_ms() / 1000)?)?;
        let mut certificate = CertificateParams::new(self.hosts.clone())?;
        certificate.distinguished_name.push(DnType::CommonName, "Cairn");
        certificate.is_ca = IsCa::ExplicitNoCa;
        certificate.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        // Clients' clocks may be behind.
        certificate.not_before = now - DAY;
        certificate.not_after = now + VALID_FOR;
        // The same key as before: of two files one alone is replaced, and no crash leaves two that do not go together.
        let key = match std::fs::read_to_string(&self.files.key) {
            Ok(key) => KeyPair::from_pem(&key)?,
            Err(error) if error.kind() == ErrorKind::NotFound => KeyPair::generate()?,
            Err(error) => return Err(error.into()),
        };
        Ok((certificate.self_signed(&key)?.pem(), key.serialize_pem()))
    }
}

/// Whether a directory is one of Cairn's, and there.
fn is_ours(directory: &Path) -> bool {
    directory.join(IDENTITY_FILE).is_file()
}

/// A host that a name of a certificate stands for.
fn example(host: &str) -> String {
    host.replace('*', "bucket")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn data_directory() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(IDENTITY_FILE), "{}").unwrap();
        dir
    }

    fn listen() -> SocketAddr {
        "192.0.2.7:9000".parse().unwrap()
    }

    #[test]
    fn it_is_made_once_for_this_machine_its_address_and_its_domains_with_a_key_for_the_owner() {
        let dir = data_directory();
        let domains = ["localhost", "s3.example.com", "no host"].map(str::to_owned);
        let own = SelfSigned::new(dir.path(), listen(), &domains).unwrap();
        own.make_where_needed().unwrap();
        let mode = |file: &Path| fs::metadata(file).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&own.files.key), mode(&own.files.certificate)), (0o600, 0o644));
        let certificate = Certificate::load(&own.files).unwrap();
        let host = uname().nodename().to_string_lossy().into_owned();
        for good in ["localhost", "127.0.0.1", "::1", "192.0.2.7", "s3.example.com", "b.s3.example.com", &host] {
            assert!(certificate.is_for(good), "{good}");
        }
        assert!(!certificate.is_for("example.com") && !certificate.is_for("192.0.2.8"));
        let text = fs::read(&own.files.certificate).unwrap();
        own.make_where_needed().unwrap();
        assert_eq!(fs::read(&own.files.certificate).unwrap(), text, "it is good still");
    }

    #[test]
    fn another_one_is_made_for_another_address_and_where_one_file_is_gone() {
        let dir = data_directory();
        let own = SelfSigned::new(dir.path(), listen(), &[]).unwrap();
        own.make_where_needed().unwrap();
        let other = SelfSigned::new(dir.path(), "192.0.2.8:9000".parse().unwrap(), &[]).unwrap();
        assert!(!other.is_good());
        let key = fs::read(&other.files.key).unwrap();
        other.make_where_needed().unwrap();
        assert!(other.is_good() && fs::read(&other.files.key).unwrap() == key, "with the key from before");
        fs::remove_file(&other.files.certificate).unwrap();
        other.make_where_needed().unwrap();
        assert!(other.is_good(), "after a crash between the two");
        fs::remove_file(&other.files.key).unwrap();
        assert!(!other.is_good());
        other.make_where_needed().unwrap();
        assert!(other.is_good());
    }

    #[test]
    fn nothing_is_written_where_no_disk_is_and_nothing_of_somebody_elses_is_replaced() {
        let (bare, there) = (tempfile::tempdir().unwrap(), data_directory());
        let directories = [bare.path().to_owned(), there.path().to_owned()];
        let own = SelfSigned::prepare(&directories, listen(), &[]).unwrap();
        assert_eq!(fs::read_dir(&bare).unwrap().count(), 0);
        // The same one, in whatever order.
        let other = data_directory();
        let again = [other.path().to_owned(), there.path().to_owned()];
        assert_eq!(SelfSigned::prepare(&again, listen(), &[]).unwrap().files, own.files);
        // The disk goes while the server runs.
        fs::remove_file(there.path().join(IDENTITY_FILE)).unwrap();
        fs::remove_file(&own.files.certificate).unwrap();
        assert!(own.make_where_needed().is_err() && !own.files.certificate.exists());
        assert!(SelfSigned::prepare(&directories, listen(), &[]).is_err());
        let broken = SelfSigned::prepare(&[other.path().to_owned()], listen(), &[]).unwrap();
        fs::write(&broken.files.key, "not a key").unwrap();
        assert!(broken.make_where_needed().is_err());
        assert_eq!(fs::read(&broken.files.key).unwrap(), b"not a key");
    }
}
