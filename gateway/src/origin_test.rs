use http::{HeaderName, HeaderValue};

use super::*;

/// Two networks of proxies, one of each version.
fn trusted() -> Vec<Network> {
    ["10.0.0.0/24", "fd00::/16"].map(|text| Network::parse(text).unwrap()).to_vec()
}

fn headers(name: &str, lines: &[&[u8]]) -> HeaderMap {
    let name: HeaderName = name.parse().unwrap();
    lines.iter().map(|line| (name.clone(), HeaderValue::from_bytes(line).unwrap())).collect()
}

fn peer(address: &str) -> Peer {
    Peer { address: address.parse().unwrap(), secure: false }
}

/// The client's address where the peer is a proxy or not, and these are the lines of `X-Forwarded-For`.
fn address(from: &str, lines: &[&[u8]]) -> String {
    Origin::of(peer(from), &headers(FORWARDED_FOR, lines), &trusted()).address.to_string()
}

fn secure(lines: &[&[u8]]) -> bool {
    Origin::of(peer("10.0.0.1"), &headers(FORWARDED_PROTO, lines), &trusted()).secure
}

#[test]
fn the_client_is_the_last_address_that_is_no_trusted_proxys() {
    let table: &[(&str, &[&[u8]], &str)] = &[
        // One that is no proxy is believed nothing.
        ("203.0.113.7", &[], "203.0.113.7"),
        ("203.0.113.7", &[b"10.0.0.1"], "203.0.113.7"),
        ("203.0.113.7", &[b"198.51.100.1, 10.0.0.1"], "203.0.113.7"),
        ("10.0.1.1", &[b"198.51.100.1"], "10.0.1.1"),
        // One proxy, and a row of them.
        ("10.0.0.1", &[b"203.0.113.7"], "203.0.113.7"),
        ("10.0.0.2", &[b"203.0.113.7, 10.0.0.1"], "203.0.113.7"),
        ("10.0.0.2", &[b"203.0.113.7,10.0.0.3 ,\t10.0.0.1"], "203.0.113.7"),
        ("10.0.0.2", &[b"203.0.113.7, fd00::1"], "203.0.113.7"),
        // What a client has written stands before what a proxy has.
        ("10.0.0.1", &[b"198.51.100.1, 203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", &[b"10.0.0.9, 203.0.113.7"], "203.0.113.7"),
        ("10.0.0.2", &[b"10.0.0.9, 198.51.100.1, 203.0.113.7, 10.0.0.1"], "203.0.113.7"),
        ("10.0.0.1", &[b"garbage, 203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", &[b", 203.0.113.7"], "203.0.113.7"),
        // A proxy that nobody trusts is the client, whatever it says of others.
        ("10.0.0.1", &[b"198.51.100.1, 192.0.2.1"], "192.0.2.1"),
        // Lines are one list.
        ("10.0.0.1", &[b"198.51.100.1", b"203.0.113.7"], "203.0.113.7"),
        ("10.0.0.2", &[b"198.51.100.1, 203.0.113.7", b"10.0.0.1"], "203.0.113.7"),
        ("10.0.0.1", &[b"10.0.0.9", b"198.51.100.1", b"203.0.113.7"], "203.0.113.7"),
        // Proxies all the way: the farthest.
        ("10.0.0.1", &[], "10.0.0.1"),
        ("10.0.0.1", &[b"10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        // Version 6, in every spelling.
        ("fd00::1", &[b"2001:DB8:0::7"], "2001:db8::7"),
        ("fd00::1", &[b"2001:db8::7, 10.0.0.1"], "2001:db8::7"),
        ("2001:db8::1", &[b"203.0.113.7"], "2001:db8::1"),
        ("10.0.0.1", &[b"[2001:db8::7]"], "2001:db8::7"),
        ("10.0.0.1", &[b"[2001:db8::7]:567"], "2001:db8::7"),
        ("10.0.0.1", &[b"203.0.113.7:567"], "203.0.113.7"),
        ("10.0.0.2", &[b"203.0.113.7:567, 10.0.0.1:80"], "203.0.113.7"),
        // Version 4 within version 6 is version 4, the peer's too.
        ("::ffff:203.0.113.7", &[b"198.51.100.1"], "203.0.113.7"),
        ("::ffff:10.0.0.1", &[b"203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", &[b"::ffff:203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", &[b"[::ffff:203.0.113.7]:567"], "203.0.113.7"),
        ("10.0.0.2", &[b"203.0.113.7, ::ffff:10.0.0.1"], "203.0.113.7"),
    ];
    for (peer, lines, expected) in table {
        let shown: Vec<_> = lines.iter().map(|line| String::from_utf8_lossy(line)).collect();
        assert_eq!(address(peer, lines), *expected, "{peer} {shown:?}");
    }
}

#[test]
fn what_is_no_address_ends_the_walk_at_the_farthest_proxy() {
    for garbage in [
        &b""[..],
        b" ",
        b",",
        b"unknown",
        b"_hidden",
        b"client.example.com",
        b"203.0.113",
        b"203.0.113.007",
        b"203.0.113.7:",
        b"203.0.113.7:65536",
        b"203.0.113.7:80:80",
        b"203.0.113.7/32",
        b"203.0.113.7 203.0.113.8",
        b"[203.0.113.7]",
        b"[203.0.113.7]:80",
        b"[2001:db8::7",
        b"2001:db8::7]",
        b"[2001:db8::7]80",
        b"[[2001:db8::7]]",
        b"[]",
        b"2001:db8::7%eth0",
        b"\"203.0.113.7\"",
        b"for=203.0.113.7",
        b"203.0.113.7\xa0",
        b"\xff\xfe",
    ] {
        let shown = String::from_utf8_lossy(garbage);
        assert_eq!(address("10.0.0.1", &[garbage]), "10.0.0.1", "{shown}");
        assert_eq!(address("10.0.0.1", &[b"198.51.100.1", garbage]), "10.0.0.1", "{shown}");
        assert_eq!(address("10.0.0.1", &[b"198.51.100.1", garbage, b"10.0.0.2"]), "10.0.0.2", "{shown}");
        assert_eq!(address("10.0.0.1", &[garbage, b"203.0.113.7, 10.0.0.2"]), "203.0.113.7", "{shown}");
    }
}

#[test]
fn a_long_list_is_read_from_its_end_and_no_farther_than_any_row_of_proxies_goes() {
    let proxies = |count: usize| format!("203.0.113.7{}", ", 10.0.0.2".repeat(count));
    assert_eq!(address("10.0.0.1", &[proxies(MAX_ENTRIES - 1).as_bytes()]), "203.0.113.7");
    assert_eq!(address("10.0.0.1", &[proxies(MAX_ENTRIES).as_bytes()]), "10.0.0.2");
    let mut lines = vec![&b"10.0.0.2"[..]; 1_000];
    lines[0] = b"203.0.113.7";
    assert_eq!(address("10.0.0.1", &lines), "10.0.0.2");
    let made_up = "198.51.100.1,".repeat(5_000) + "203.0.113.7";
    assert_eq!(address("10.0.0.1", &[made_up.as_bytes()]), "203.0.113.7");
    assert_eq!(address("10.0.0.1", &["1".repeat(60_000).as_bytes()]), "10.0.0.1");
}

#[test]
fn a_client_spoke_tls_where_a_trusted_proxy_says_so_and_nobody_else_contradicts() {
    for lines in [&[&b"https"[..]][..], &[b"HTTPS"], &[b" Https\t"], &[b"https, https"], &[b"https", b"https"]] {
        assert!(secure(lines), "{lines:?}");
    }
    for lines in [
        &[][..],
        &[&b""[..]],
        &[b"http"],
        &[b"https, http"],
        &[b"http, https"],
        &[b"https", b"http"],
        &[b"http", b"https"],
        &[b"https,"],
        &[b"https", b""],
        &[b"https:"],
        &[b"httpss"],
        &[b"https http"],
        &[b"\"https\""],
        &[b"\xff"],
    ] {
        assert!(!secure(lines), "{lines:?}");
    }
}

#[test]
fn nobody_is_believed_where_no_proxy_is_named_nor_one_that_is_not() {
    let mut said = headers(FORWARDED_PROTO, &[b"https"]);
    said.extend(headers(FORWARDED_FOR, &[b"198.51.100.1"]));
    for from in ["127.0.0.1", "10.0.0.1", "203.0.113.7", "::1"] {
        let peer = peer(from);
        let expected = Origin { address: peer.address, secure: false };
        assert_eq!(Origin::of(peer, &said, &[]), expected);
        let others = [Network::parse("192.0.2.0/24").unwrap()];
        assert_eq!(Origin::of(peer, &said, &others), expected);
    }
}

#[test]
fn forwarded_is_believed_of_nobody() {
    let said = headers("forwarded", &[b"for=198.51.100.1;proto=https"]);
    let peer = peer("10.0.0.1");
    assert_eq!(Origin::of(peer, &said, &trusted()), Origin { address: peer.address, secure: false });
}

#[test]
fn tls_to_us_is_the_clients_where_no_trusted_proxy_stands_between() {
    let spoke = |from: &str, said: &[&[u8]]| {
        let peer = Peer { secure: true, ..peer(from) };
        Origin::of(peer, &headers(FORWARDED_PROTO, said), &trusted()).secure
    };
    assert!(spoke("203.0.113.7", &[]));
    assert!(spoke("203.0.113.7", &[b"http"]), "who is no proxy says nothing of itself");
    assert!(spoke("10.0.0.1", &[b"https"]));
    assert!(!spoke("10.0.0.1", &[b"http"]), "the proxy speaks TLS, and its client does not");
    assert!(!spoke("10.0.0.1", &[]), "nor is known of a client of which it says nothing");
}
