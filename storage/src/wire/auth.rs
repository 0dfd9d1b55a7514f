//! How an internal request proves that its sender knows the cluster secret: HMAC-SHA256 over method, path and query,
//! time, nonce, context and the hash of the body. A chunk's body is not hashed a second time: its BLAKE3 is in the path.

use std::collections::HashSet;

use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderValue, Method};
use parking_lot::Mutex;
use rand::Rng;
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::context::Context;
use crate::cluster::Secret;
use crate::types::UnixMillis;

/// How far the clocks of sender and receiver may be apart, in milliseconds, with the time on the way.
pub const WINDOW_MS: u64 = 5 * 60 * 1000;
/// How many requests one generation of [`Replays`] remembers; there are two, of 16 bytes or so each entry.
const GENERATION: usize = 512 << 10;
/// Distinguishes this use of the secret, and this form of it, from any other.
const CONTEXT: &[u8] = b"cairn internal http 2\n";

const TIME: &str = "x-cairn-time";
const NONCE: &str = "x-cairn-nonce";
const BODY: &str = "x-cairn-body";
const CONTEXT_HEADER: &str = "x-cairn-context";
const SIGNATURE: &str = "x-cairn-signature";

/// Why a request is not answered. The client learns no more than that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    #[error("the request carries no proof")]
    Missing,
    #[error("the request is of another release of Cairn")]
    Release,
    #[error("the clocks are too far apart")]
    Skewed,
    #[error("the proof does not hold")]
    Wrong,
    #[error("the request was seen before")]
    Replayed,
}

/// What of a body is signed.
#[derive(Debug, Clone, Copy)]
pub enum SignedBody<'a> {
    /// These bytes.
    Small(&'a [u8]),
    /// A chunk, whose hash is in the path.
    Chunk,
}

impl SignedBody<'_> {
    /// In the form in which it travels and is signed.
    fn text(self) -> String {
        match self {
            Self::Small(bytes) => blake3::hash(bytes).to_hex().to_string(),
            Self::Chunk => "chunk".to_owned(),
        }
    }
}

/// Makes the proof for requests.
#[derive(Clone)]
pub struct Signer {
    key: Hmac<Sha256>,
}

impl Signer {
    pub fn new(secret: &Secret) -> Self {
        // HMAC takes a key of any length; the error cannot come up.
        let key = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap_or_else(|_| Hmac::new(&Default::default()));
        Self { key }
    }

    /// Adds the proof to the headers of a request that is sent at `now`. `target` is path and query.
    pub fn sign(
        &self,
        headers: &mut HeaderMap,
        method: &Method,
        target: &str,
        body: SignedBody<'_>,
        context: &Context,
        now: UnixMillis,
    ) {
        let (time, nonce, body) = (now.to_string(), hex::encode(rand::rng().random::<[u8; 12]>()), body.text());
        let context = context.text();
        let signature = hex::encode(self.signature(method, target, [&time, &nonce, &body, &context]));
        let all = [(TIME, time), (NONCE, nonce), (BODY, body), (CONTEXT_HEADER, context), (SIGNATURE, signature)];
        for (name, text) in all {
            // Digits and letters are always a valid value.
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.insert(name, value);
            }
        }
    }

    fn signature(&self, method: &Method, target: &str, headers: [&str; 4]) -> [u8; 32] {
        let mut mac = self.key.clone();
        mac.update(CONTEXT);
        // None of these can hold a line feed.
        for part in [method.as_str(), target].into_iter().chain(headers) {
            mac.update(part.as_bytes());
            mac.update(b"\n");
        }
        mac.finalize().into_bytes().into()
    }
}

/// Checks the proof of requests, and that each comes once only.
pub struct Verifier {
    signer: Signer,
    replays: Mutex<Replays>,
}

/// What a request that has proved itself said of its body and of its sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    body: String,
    pub context: Context,
}

impl Said {
    /// # Errors
    /// [`AuthError::Wrong`] where the body is another one.
    pub fn check(&self, body: SignedBody<'_>) -> Result<(), AuthError> {
        if self.body == body.text() { Ok(()) } else { Err(AuthError::Wrong) }
    }
}

impl Verifier {
    pub fn new(secret: &Secret) -> Self {
        Self { signer: Signer::new(secret), replays: Mutex::new(Replays::new(GENERATION)) }
    }

    /// Checks the proof in the headers, before anything of the body is read; the body is then to be checked against
    /// what this returns.
    ///
    /// # Errors
    /// See [`AuthError`].
    pub fn verify(
        &self,
        headers: &HeaderMap,
        method: &Method,
        target: &str,
        now: UnixMillis,
    ) -> Result<Said, AuthError> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).ok_or(AuthError::Missing);
        let (time, nonce, body) = (text(TIME)?, text(NONCE)?, text(BODY)?);
        let context = headers.get(CONTEXT_HEADER).and_then(|value| value.to_str().ok()).ok_or(AuthError::Release)?;
        let mut signature = [0; 32];
        hex::decode_to_slice(text(SIGNATURE)?, &mut signature).map_err(|_| AuthError::Missing)?;
        let expected = self.signer.signature(method, target, [time, nonce, body, context]);
        let time: UnixMillis = time.parse().map_err(|_| AuthError::Missing)?;
        if now.abs_diff(time) > WINDOW_MS {
            return Err(AuthError::Skewed);
        }
        if !bool::from(expected.ct_eq(&signature)) {
            return Err(AuthError::Wrong);
        }
        let said = Said { body: body.to_owned(), context: Context::parse(context).map_err(|_| AuthError::Release)? };
        let mut name = [0; 8];
        name.copy_from_slice(&expected[..8]);
        if !self.replays.lock().is_new(u64::from_le_bytes(name), time, now) {
            return Err(AuthError::Replayed);
        }
        Ok(said)
    }
}

/// The requests that were seen lately, by the head of their signature. Bounded: what is forgotten before its time
/// takes along the right of equally old requests to be taken.
struct Replays {
    generation: usize,
    young: HashSet<u64>,
    old: HashSet<u64>,
    /// The newest time among each.
    young_newest: UnixMillis,
    old_newest: UnixMillis,
    /// When `young` was begun.
    begun: UnixMillis,
    /// Requests of this time and before were forgotten.
    forgotten: UnixMillis,
}

impl Replays {
    fn new(generation: usize) -> Self {
        Self {
            generation,
            young: HashSet::new(),
            old: HashSet::new(),
            young_newest: 0,
            old_newest: 0,
            begun: 0,
            forgotten: 0,
        }
    }

    fn is_new(&mut self, name: u64, time: UnixMillis, now: UnixMillis) -> bool {
        if self.young.len() >= self.generation || now.saturating_sub(self.begun) > 2 * WINDOW_MS {
            // What is older than the window is refused without this.
            self.forgotten = self.forgotten.max(self.old_newest.min(now));
            self.old = std::mem::take(&mut self.young);
            self.old_newest = std::mem::take(&mut self.young_newest);
            self.begun = now;
        }
        if time <= self.forgotten || self.old.contains(&name) || !self.young.insert(name) {
            return false;
        }
        self.young_newest = self.young_newest.max(time);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = 1_700_000_000_000;

    fn verifier() -> Verifier {
        Verifier::new(&Secret::new("a secret of the cluster").unwrap())
    }

    fn check(verifier: &Verifier, headers: &HeaderMap, target: &str, body: &[u8], now: u64) -> Result<(), AuthError> {
        verifier.verify(headers, &Method::POST, target, now)?.check(SignedBody::Small(body))
    }

    fn signed(secret: &str, body: &[u8]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let signer = Signer::new(&Secret::new(secret).unwrap());
        signer.sign(&mut headers, &Method::POST, "/v1/raft?x=1", SignedBody::Small(body), &Context::default(), NOW);
        headers
    }

    #[test]
    fn a_signed_request_is_taken_once() {
        let verifier = verifier();
        let headers = signed("a secret of the cluster", b"body");
        assert_eq!(check(&verifier, &headers, "/v1/raft?x=1", b"body", NOW + 1000), Ok(()));
        assert_eq!(check(&verifier, &headers, "/v1/raft?x=1", b"body", NOW + 1000), Err(AuthError::Replayed));
    }

    #[test]
    fn another_secret_target_body_or_time_is_refused() {
        let verifier = verifier();
        let headers = signed("a secret of the cluster", b"body");
        assert_eq!(check(&verifier, &headers, "/v1/raft?x=2", b"body", NOW), Err(AuthError::Wrong));
        assert_eq!(check(&verifier, &headers, "/v1/raft?x=1", b"bodY", NOW), Err(AuthError::Wrong));
        let said = Verifier::new(&Secret::new("a secret of the cluster").unwrap());
        let said = said.verify(&headers, &Method::POST, "/v1/raft?x=1", NOW).unwrap();
        assert_eq!(said.check(SignedBody::Chunk), Err(AuthError::Wrong));
        let later = NOW + WINDOW_MS + 1;
        assert_eq!(check(&verifier, &headers, "/v1/raft?x=1", b"body", later), Err(AuthError::Skewed));
        let other = signed("a secret of another one", b"body");
        assert_eq!(check(&verifier, &other, "/v1/raft?x=1", b"body", NOW), Err(AuthError::Wrong));
        assert_eq!(check(&verifier, &HeaderMap::new(), "/v1/raft?x=1", b"body", NOW), Err(AuthError::Missing));
    }

    #[test]
    fn what_is_said_of_the_sender_is_signed() {
        let mut headers = signed("a secret of the cluster", b"body");
        let other = Context { cluster: Some(Default::default()), ..Context::default() };
        headers.insert(CONTEXT_HEADER, HeaderValue::try_from(other.text()).unwrap());
        assert_eq!(check(&verifier(), &headers, "/v1/raft?x=1", b"body", NOW), Err(AuthError::Wrong));
        headers.remove(CONTEXT_HEADER);
        assert_eq!(check(&verifier(), &headers, "/v1/raft?x=1", b"body", NOW), Err(AuthError::Release));
    }

    #[test]
    fn what_had_to_be_forgotten_cannot_be_replayed() {
        let mut replays = Replays::new(4);
        for name in 0..20 {
            assert!(replays.is_new(name, NOW + name, NOW + name));
        }
        for name in 0..20 {
            assert!(!replays.is_new(name, NOW + name, NOW + 30), "{name}");
        }
        assert!(replays.young.len() + replays.old.len() <= 8);
        assert!(replays.is_new(100, NOW + 31, NOW + 31));
    }
}
