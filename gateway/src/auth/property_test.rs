//! The properties of `fuzz`, of heads that are made from nothing.

use http::HeaderValue;
use proptest::prelude::*;

use super::fuzz::{self, KEY, NOW_MS};

/// Text as it may be in a request line: escaped or not, well or badly.
fn raw(without: &'static [char]) -> impl Strategy<Value = String> {
    let character = prop_oneof![
        4 => proptest::char::range('!', '~'),
        1 => Just('%'), 1 => Just('+'), 1 => Just('/'), 1 => Just('.'), 1 => Just('é'),
    ];
    let piece = prop_oneof![
        4 => character.prop_map(String::from),
        3 => (b' '..=b'~').prop_map(|byte| format!("%{byte:02X}")),
        1 => any::<u8>().prop_map(|byte| format!("%{byte:02x}")),
    ];
    // What no server's parser lets through.
    let never = ['?', '#', '<', '>', '`', '\\', '^', '"'];
    prop::collection::vec(piece, 0..20).prop_map(move |pieces| pieces.concat().replace(never, "").replace(without, ""))
}

/// A head, as the fuzz targets read one.
fn heads() -> impl Strategy<Value = Vec<u8>> {
    let method = prop::sample::select(vec!["GET", "PUT", "POST", "DELETE", "HEAD"]);
    let query = prop::collection::vec(raw(&['&']), 0..6).prop_map(|pieces| pieces.join("&"));
    let name =
        prop::sample::select(vec!["x-amz-meta-a", "x-amz-meta-b", "range", "content-type", "x-amz-acl", "expect"]);
    let headers = prop::collection::vec((name, "[ -~\t]{0,12}"), 0..8)
        .prop_map(|pairs| pairs.into_iter().map(|(name, value)| format!("\n{name}: {value}")).collect::<String>());
    (method, raw(&[]), query, headers).prop_map(|(method, path, query, headers)| {
        format!("{method} /{path}?{query}\nhost: localhost:9000{headers}").into_bytes()
    })
}

proptest! {
    #[test]
    fn the_properties_of_signatures_hold(head in heads(), script in prop::collection::vec(any::<u8>(), 0..30)) {
        let input = [&head[..], b"\0", &script].concat();
        prop_assert!(fuzz::canonical_request(&input), "it is read");
        for target in [fuzz::sigv4_header, fuzz::sigv4_query, fuzz::sigv2_header, fuzz::sigv2_query] {
            target(&input);
        }
    }

    #[test]
    fn any_changed_character_of_the_authorization_is_refused(
        head in heads(),
        place: prop::sample::Index,
        to in proptest::char::range('!', '~'),
    ) {
        let Some(mut head) = fuzz::unsigned(&head) else { return Ok(()) };
        fuzz::sign(&mut head, "UNSIGNED-PAYLOAD");
        let signed = head.headers["authorization"].to_str().unwrap().to_owned();
        let mut value = signed.clone().into_bytes();
        let place = place.index(value.len());
        prop_assume!(value[place] != to as u8);
        // A comma and a space do the same.
        prop_assume!(!matches!(value[place], b' ' | b','));
        value[place] = to as u8;
        let text = String::from_utf8(value).unwrap();
        // The key is the caller's to look up; what is listed may be of either case.
        prop_assume!(text.contains(&format!("Credential={KEY}/")) && !text.eq_ignore_ascii_case(&signed));
        head.headers.insert("authorization", HeaderValue::from_str(&text).unwrap());
        prop_assert!(fuzz::is_ours(&head, "", NOW_MS).is_err(), "{}", text);
    }
}
