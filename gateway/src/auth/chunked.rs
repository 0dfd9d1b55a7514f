//! `aws-chunked` bodies: frames taken off, signatures of chunks and trailers checked. Reads no socket.
//!
//! Sources: Amazon S3 API Reference, "Transferring Payload in Multiple Chunks (Chunked Upload)" and "Signature
//! calculations for trailing headers (chunked uploads)".

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::error::AuthError;
use super::signature::{self, EMPTY_SHA256, Hex, Key, Scope};

/// Of the line before a chunk: a size, a signature, and room for what else may be there.
const MAX_LINE_BYTES: usize = 1024;
/// Of all that follows the last chunk.
const MAX_TRAILER_BYTES: usize = 8 * 1024;
const TRAILER_SIGNATURE: &str = "x-amz-trailer-signature";

/// An `aws-chunked` body, and how its chunks and trailers are to be checked. How long it is without its frames is said
/// by `x-amz-decoded-content-length`; to compare that with what the decoder gave out is the caller's job.
#[derive(Clone)]
pub struct ChunkedPayload {
    /// `None` for `STREAMING-UNSIGNED-PAYLOAD-TRAILER`.
    chain: Option<Box<Chain>>,
    /// `None` where trailers are not allowed.
    trailers: Option<Vec<HeaderName>>,
}

impl ChunkedPayload {
    pub(super) fn new(chain: Option<Chain>, trailers: Option<Vec<HeaderName>>) -> Self {
        Self { chain: chain.map(Box::new), trailers }
    }

    /// Whether each chunk carries a signature. If not, only a checksum in the trailers says that the bytes are right.
    pub fn is_signed(&self) -> bool {
        self.chain.is_some()
    }

    /// The trailers that the request's head promises, from `x-amz-trailer`. No others are accepted.
    pub fn trailers(&self) -> &[HeaderName] {
        self.trailers.as_deref().unwrap_or_default()
    }
}

impl std::fmt::Debug for ChunkedPayload {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChunkedPayload")
            .field("signed", &self.is_signed())
            .field("trailers", &self.trailers)
            .finish_non_exhaustive()
    }
}

/// The chain of signatures: each covers the one before it, and the first is the request's own.
#[derive(Clone)]
pub(super) struct Chain {
    key: Key,
    /// Time and scope: what all strings to sign of the chain have in common.
    context: String,
    previous: Hex,
}

impl Chain {
    pub(super) fn new(key: Key, timestamp: &str, scope: &Scope, seed: Hex) -> Self {
        Self { key, context: format!("{timestamp}\n{scope}"), previous: seed }
    }

    /// The signature of the next chunk, given the SHA-256 of its bytes.
    pub(super) fn sign_chunk(&mut self, hash: Sha256) -> Hex {
        self.sign("AWS4-HMAC-SHA256-PAYLOAD", &format!("{EMPTY_SHA256}\n{}", hex::encode(hash.finalize())))
    }

    /// The signature of the trailers, given their canonical form: `name:value\n` for each.
    pub(super) fn sign_trailers(&mut self, canonical: &[u8]) -> Hex {
        self.sign("AWS4-HMAC-SHA256-TRAILER", &signature::sha256_hex(canonical))
    }

    fn sign(&mut self, algorithm: &str, end: &str) -> Hex {
        let mut text = Vec::with_capacity(360);
        for (index, part) in
            [algorithm.as_bytes(), self.context.as_bytes(), self.previous.as_slice(), end.as_bytes()].iter().enumerate()
        {
            if index > 0 {
                text.push(b'\n');
            }
            text.extend_from_slice(part);
        }
        self.previous = signature::sign(&self.key, &text);
        self.previous
    }
}

/// Takes the frames off an `aws-chunked` body. Keeps no more of it than one line, however it is cut into pieces.
///
/// The bytes of a signed chunk are handed out as they come, before its signature is checked: whoever takes them makes
/// nothing visible before [`Decoder::finish`] has said that all is well.
///
/// What clients do differently is accepted: `\n` for `\r\n` at the end of a line, no line end or several of them after
/// the last chunk or trailer, a blank line before the trailers, further parameters in a chunk's line.
pub struct Decoder {
    payload: ChunkedPayload,
    state: State,
    /// The beginning of a line whose end has not come yet.
    line: Vec<u8>,
    /// Of the chunk that is being read, where chunks are signed.
    hash: Sha256,
    /// What the chunk that is being read says its signature is.
    claimed: Vec<u8>,
    trailer_bytes: usize,
    trailers: HeaderMap,
    trailer_signature: Option<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before a chunk's line.
    Line,
    /// In a chunk, with so many bytes of it to come.
    Data { left: u64 },
    /// Between a chunk's bytes and the line end after them.
    DataEnd,
    /// After the last chunk's line.
    Trailers,
    /// There was an error; nothing is accepted any more.
    Failed,
}

impl Decoder {
    pub fn new(payload: ChunkedPayload) -> Self {
        Self {
            payload,
            state: State::Line,
            line: Vec::new(),
            hash: Sha256::new(),
            claimed: Vec::new(),
            trailer_bytes: 0,
            trailers: HeaderMap::new(),
            trailer_signature: None,
        }
    }

    /// Takes the next piece of the body. Appends what is the object's to `out`, without copying it. After an error
    /// every further call is an error too.
    pub fn push(&mut self, input: Bytes, out: &mut Vec<Bytes>) -> Result<(), AuthError> {
        let result = self.advance(input, out);
        if result.is_err() {
            self.state = State::Failed;
        }
        result
    }

    fn advance(&mut self, mut input: Bytes, out: &mut Vec<Bytes>) -> Result<(), AuthError> {
        while !input.is_empty() {
            match self.state {
                State::Line => {
                    let line = self.take_line(&mut input, MAX_LINE_BYTES, AuthError::MalformedChunk("a long line"))?;
                    if let Some(line) = line {
                        self.begin_chunk(without_end(&line))?;
                    }
                }
                State::Data { left } => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                    let piece = input.split_to(here);
                    if self.payload.is_signed() {
                        self.hash.update(&piece);
                    }
                    out.push(piece);
                    // `here` is at most `left`, which is 64 bits wide.
                    let left = left - here as u64;
                    self.state = State::Data { left };
                    if left == 0 {
                        self.end_chunk()?;
                        self.state = State::DataEnd;
                    }
                }
                State::DataEnd => {
                    let problem = AuthError::MalformedChunk("a chunk is longer than it says");
                    match self.take_line(&mut input, 2, problem.clone())? {
                        Some(line) if line == b"\r\n" => self.state = State::Line,
                        Some(_) => return Err(problem),
                        None => {}
                    }
                }
                State::Trailers => {
                    let room = MAX_TRAILER_BYTES - self.trailer_bytes;
                    let line = self.take_line(&mut input, room, AuthError::MalformedTrailer("too long"))?;
                    if let Some(line) = line {
                        self.trailer_bytes += line.len();
                        self.take_trailer(without_end(&line))?;
                    }
                }
                State::Failed => return Err(AuthError::Truncated),
            }
        }
        Ok(())
    }

    /// Takes a line off the input, its end with it: at most `max` bytes. `None` where its end has not come yet.
    fn take_line(&mut self, input: &mut Bytes, max: usize, too_long: AuthError) -> Result<Option<Vec<u8>>, AuthError> {
        let room = max.saturating_sub(self.line.len());
        let end = input.iter().take(room).position(|byte| *byte == b'\n');
        match end {
            Some(end) => {
                self.line.extend_from_slice(&input.split_to(end + 1));
                Ok(Some(std::mem::take(&mut self.line)))
            }
            None if input.len() >= room => Err(too_long),
            None => {
                self.line.extend_from_slice(&std::mem::take(input));
                Ok(None)
            }
        }
    }

    /// `10000;chunk-signature=...`: a size in hexadecimal, and parameters.
    fn begin_chunk(&mut self, line: &[u8]) -> Result<(), AuthError> {
        let mut parts = line.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let size = parts.next().and_then(parse_size).ok_or(AuthError::MalformedChunk("a chunk without a size"))?;
        if self.payload.is_signed() {
            let signature = parts
                .find_map(|part| part.strip_prefix(b"chunk-signature="))
                .ok_or(AuthError::MalformedChunk("a chunk without a signature"))?;
            self.claimed.clear();
            self.claimed.extend_from_slice(signature);
        }
        if size == 0 {
            self.end_chunk()?;
            self.state = State::Trailers;
        } else {
            self.state = State::Data { left: size };
        }
        Ok(())
    }

    fn end_chunk(&mut self) -> Result<(), AuthError> {
        let hash = std::mem::take(&mut self.hash);
        match &mut self.payload.chain {
            Some(chain) => matching(&chain.sign_chunk(hash), &self.claimed),
            None => Ok(()),
        }
    }

    /// `name:value`. Blank lines are passed over: the body has an end of its own.
    fn take_trailer(&mut self, line: &[u8]) -> Result<(), AuthError> {
        if line.is_empty() {
            return Ok(());
        }
        let Some(declared) = &self.payload.trailers else {
            return Err(AuthError::MalformedTrailer("none was to be expected"));
        };
        if self.trailer_signature.is_some() {
            return Err(AuthError::MalformedTrailer("something follows the signature"));
        }
        let malformed = AuthError::MalformedTrailer("a line is no header");
        let colon = line.iter().position(|byte| *byte == b':').ok_or_else(|| malformed.clone())?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let name = HeaderName::from_bytes(name).map_err(|_| malformed.clone())?;
        if name == TRAILER_SIGNATURE && self.payload.is_signed() {
            self.trailer_signature = Some(value.to_vec());
            return Ok(());
        }
        if !declared.contains(&name) {
            return Err(AuthError::MalformedTrailer("one that was not declared"));
        }
        let value = HeaderValue::from_bytes(value).map_err(|_| malformed)?;
        if self.trailers.insert(name, value).is_some() {
            return Err(AuthError::MalformedTrailer("one is there twice"));
        }
        Ok(())
    }

    /// Says that the body has ended. The trailers that it gives back are as declared, and signed where chunks are.
    ///
    /// Errors: the body ended before its last chunk, a declared trailer is not there, or the trailers' signature is
    /// not the right one.
    pub fn finish(mut self) -> Result<HeaderMap, AuthError> {
        if self.state != State::Trailers {
            return Err(AuthError::Truncated);
        }
        // The last line may have come without an end, or with half of one.
        let line = std::mem::take(&mut self.line);
        self.take_trailer(without_end(&line))?;
        let Some(declared) = &self.payload.trailers else {
            return Ok(self.trailers);
        };
        if declared.iter().any(|name| !self.trailers.contains_key(name)) {
            return Err(AuthError::MalformedTrailer("a declared one is missing"));
        }
        if let Some(chain) = &mut self.payload.chain {
            let claimed = self.trailer_signature.ok_or(AuthError::MalformedTrailer("the signature is missing"))?;
            matching(&chain.sign_trailers(&canonical_trailers(&self.trailers)), &claimed)?;
        }
        Ok(self.trailers)
    }
}

fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Each trailer as `name:value\n`, sorted by name.
fn canonical_trailers(trailers: &HeaderMap) -> Vec<u8> {
    let mut sorted: Vec<_> = trailers.iter().collect();
    sorted.sort_unstable_by_key(|(name, _)| name.as_str());
    let mut out = Vec::new();
    for (name, value) in sorted {
        out.extend_from_slice(name.as_str().as_bytes());
        out.push(b':');
        out.extend_from_slice(value.as_bytes());
        out.push(b'\n');
    }
    out
}

fn matching(expected: &Hex, claimed: &[u8]) -> Result<(), AuthError> {
    if bool::from(expected.as_slice().ct_eq(claimed)) { Ok(()) } else { Err(AuthError::BodySignatureDoesNotMatch) }
}

/// 1 to 16 hexadecimal digits.
fn parse_size(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    digits.iter().try_fold(0, |size, digit| Some(size << 4 | u64::from(char::from(*digit).to_digit(16)?)))
}

#[cfg(any(test, feature = "fuzzing"))]
#[path = "chunked_fuzz.rs"]
pub(crate) mod target;

#[cfg(test)]
#[path = "chunked_test.rs"]
mod tests;
