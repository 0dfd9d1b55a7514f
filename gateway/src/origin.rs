//! From where a request comes: its client's address, and whether the client spoke TLS. Pure.
//!
//! Anybody can write `X-Forwarded-For` and `X-Forwarded-Proto`: they are believed of proxies that the operator named,
//! and of no one else. RFC 7239's `Forwarded` is not: a proxy that writes the others passes on what a client wrote
//! there.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::HeaderMap;

use crate::policy::Network;

const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED_PROTO: &str = "x-forwarded-proto";

/// The most entries of `X-Forwarded-For` that are looked at, from its end: more proxies than stand in any row.
const MAX_ENTRIES: usize = 32;

/// Who is at the other end of a request's connection, among the request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    pub address: IpAddr,
    /// Whether the connection is TLS.
    pub secure: bool,
}

/// From where a request comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Of version 4 where it is one of version 4 that is written as one of version 6.
    pub address: IpAddr,
    /// Whether the client spoke TLS, to us or as far as a trusted proxy has said so.
    pub secure: bool,
}

impl Origin {
    /// Each proxy adds to `X-Forwarded-For` who connected to it, so that the client is the last address that is not a
    /// trusted proxy's; what stands before it, the client may have written itself. Where the list ends before, or goes
    /// on with what is no address, it is the farthest proxy's: an address that was seen, never one that was made up.
    ///
    /// Behind a trusted proxy `secure` takes `https` in each value of `X-Forwarded-Proto`. A proxy that adds to what it was given so tells of
    /// a hop in the clear, whichever it was, and a client can only say less of itself than holds.
    pub fn of(peer: Peer, headers: &HeaderMap, trusted: &[Network]) -> Self {
        let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
        let mut address = peer.address.to_canonical();
        if !is_trusted(address) {
            return Self { address, secure: peer.secure };
        }
        let mut hops = entries(headers, FORWARDED_FOR).rev().take(MAX_ENTRIES).map_while(as_address);
        while is_trusted(address) {
            let Some(before) = hops.next() else { break };
            address = before;
        }
        let is_tls = |scheme: &[u8]| scheme.eq_ignore_ascii_case(b"https");
        let mut schemes = entries(headers, FORWARDED_PROTO);
        let secure = schemes.next().is_some_and(is_tls) && schemes.all(is_tls);
        Self { address, secure }
    }
}

/// What a header lists, in order, on however many lines.
fn entries<'h>(headers: &'h HeaderMap, name: &str) -> impl DoubleEndedIterator<Item = &'h [u8]> {
    let lines = headers.get_all(name).into_iter();
    lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}

/// `203.0.113.7`, `203.0.113.7:567`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:567`.
fn as_address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?;
    let within = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let address = match within {
        Some(text) => text.parse::<Ipv6Addr>().ok().map(IpAddr::from),
        None => text.parse().ok().or_else(|| text.parse().ok().map(|with_port: SocketAddr| with_port.ip())),
    };
    address.as_ref().map(IpAddr::to_canonical)
}

#[cfg(test)]
#[path = "origin_test.rs"]
mod tests;
