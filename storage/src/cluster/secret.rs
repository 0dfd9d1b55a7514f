//! The cluster secret and the root credentials: given by the operator, or made at the first start and kept in every
//! data directory, so that the loss of the first disk does not lose them. Never logged.

use std::path::{Path, PathBuf};

use rand::Rng;
use zeroize::Zeroizing;

use super::StartError;
use crate::durable;

/// The file that holds the cluster secret, as one line of text.
pub const SECRET_FILE: &str = "cluster-secret";
/// The file that holds the root credentials, as lines of `NAME=VALUE`.
pub const ROOT_FILE: &str = "root-credentials";
/// The shortest secret that is taken, in bytes.
pub const MIN_SECRET_LEN: usize = 16;
/// No file of secrets is longer, in bytes.
const MAX_LEN: u64 = 4096;
const ROOT_HEADER: &str = "# The root credentials of this Cairn cluster. Format 1.";
const ACCESS_KEY: &str = "CAIRN_ROOT_ACCESS_KEY";
const SECRET_KEY: &str = "CAIRN_ROOT_SECRET_KEY";

/// What the nodes and gateways of a cluster prove to each other that they know.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// # Errors
    /// [`StartError::SecretTooShort`]. White space around it does not count.
    pub fn new(text: &str) -> Result<Self, StartError> {
        let text = text.trim();
        if text.len() < MIN_SECRET_LEN {
            return Err(StartError::SecretTooShort);
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// 256 random bits.
    pub fn random() -> Self {
        Self(Zeroizing::new(hex::encode(rand::rng().random::<[u8; 32]>())))
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The keys of the root user.
#[derive(Clone, PartialEq, Eq)]
pub struct RootCredentials {
    pub access_key: String,
    pub secret_key: Zeroizing<String>,
}

impl RootCredentials {
    pub fn new(access_key: &str, secret_key: &str) -> Self {
        Self { access_key: access_key.to_owned(), secret_key: Zeroizing::new(secret_key.to_owned()) }
    }

    /// In the form that S3 clients know: 20 characters, and 40.
    pub fn random() -> Self {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let mut rng = rand::rng();
        let letters: String = (0..16).map(|_| char::from(LETTERS[rng.random_range(0..LETTERS.len())])).collect();
        Self::new(&format!("CARN{letters}"), &hex::encode(rng.random::<[u8; 20]>()))
    }

    fn to_text(&self) -> Zeroizing<String> {
        let (access_key, secret_key) = (&self.access_key, &*self.secret_key);
        Zeroizing::new(format!("{ROOT_HEADER}\n{ACCESS_KEY}={access_key}\n{SECRET_KEY}={secret_key}\n"))
    }

    fn from_text(text: &str) -> Option<Self> {
        let value = |name: &str| {
            text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('=')).filter(|it| !it.is_empty())
        };
        Some(Self::new(value(ACCESS_KEY)?, value(SECRET_KEY)?))
    }
}

impl std::fmt::Debug for RootCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RootCredentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// The cluster secret: what was given, else what the directories keep, else a new one, which they keep from now on.
///
/// # Errors
/// [`StartError::Directory`] where no directory could keep it.
pub fn cluster_secret(directories: &[PathBuf], given: Option<Secret>) -> Result<Secret, StartError> {
    if let Some(given) = given {
        return Ok(given);
    }
    let secret = kept_cluster_secret(directories).unwrap_or_else(Secret::random);
    keep(directories, SECRET_FILE, &Zeroizing::new(format!("{}\n", &*secret.0)))?;
    Ok(secret)
}

/// The cluster secret that the directories keep, if they do.
pub fn kept_cluster_secret(directories: &[PathBuf]) -> Option<Secret> {
    first_kept(directories, SECRET_FILE, |text| Secret::new(text).ok())
}

/// The root credentials, found in the same way, and whether they were made just now: only where `make` says so.
///
/// # Errors
/// [`StartError::Directory`] where no directory could keep them.
pub fn root_credentials(
    directories: &[PathBuf],
    given: Option<RootCredentials>,
    make: bool,
) -> Result<(Option<RootCredentials>, bool), StartError> {
    if let Some(given) = given {
        return Ok((Some(given), false));
    }
    let kept = first_kept(directories, ROOT_FILE, RootCredentials::from_text);
    let made = kept.is_none() && make;
    let credentials = kept.or_else(|| made.then(RootCredentials::random));
    if let Some(credentials) = &credentials {
        keep(directories, ROOT_FILE, &credentials.to_text())?;
    }
    Ok((credentials, made))
}

fn first_kept<T>(directories: &[PathBuf], name: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
    directories.iter().find_map(|directory| parse(&read(&directory.join(name))?))
}

fn read(path: &Path) -> Option<Zeroizing<String>> {
    if std::fs::metadata(path).ok()?.len() > MAX_LEN {
        return None;
    }
    std::fs::read_to_string(path).ok().map(Zeroizing::new)
}

/// Writes the text to every directory that has another one. One that keeps it is enough.
fn keep(directories: &[PathBuf], name: &str, text: &str) -> Result<(), StartError> {
    let mut kept = false;
    let mut failure = None;
    for directory in directories {
        let path = directory.join(name);
        if read(&path).is_some_and(|there| *there == text) {
            kept = true;
            continue;
        }
        match durable::write_atomic(&path, text.as_bytes(), 0o600) {
            Ok(()) => kept = true,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a secret could not be kept in a data directory");
                failure = Some(StartError::io(path, &error));
            }
        }
    }
    match failure {
        Some(failure) if !kept => Err(failure),
        _ => Ok(()),
    }
}
