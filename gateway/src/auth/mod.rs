//! Who sent this request, and is its body what was signed? Pure: no clock, no network, no lookup of its own.

/// How the body of a request is to be read and checked. (To be completed.)
#[derive(Debug, Clone)]
pub enum Payload {
    /// `UNSIGNED-PAYLOAD`: the bytes as they come.
    Unsigned,
    /// The SHA-256 of the whole body, as signed.
    Sha256([u8; 32]),
}
