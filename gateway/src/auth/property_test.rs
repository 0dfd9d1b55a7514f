//! Properties of the canonical form: both sides agree on it, it follows a slow and simple model, and nothing that is
//! signed can be changed unseen.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use proptest::prelude::*;

use super::canonical::Canonical;
use super::sign::{self, Credentials, Unsigned};
use super::{AuthError, Parsed, RequestHead, Rules, parse};

const CREDENTIALS: Credentials = Credentials { access_key: "key/with/slashes", secret_key: "a secret" };
const NOW_MS: u64 = 1_700_000_000_000;
const HASH: &str = "UNSIGNED-PAYLOAD";
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[derive(Debug, Clone)]
struct Sent {
    method: Method,
    path: String,
    query: String,
    headers: HeaderMap,
}

impl Sent {
    fn unsigned(&self) -> Unsigned<'_> {
        Unsigned { method: &self.method, raw_path: &self.path, raw_query: &self.query, headers: &self.headers }
    }

    fn sign(mut self) -> Self {
        let added = sign::sign_headers(&self.unsigned(), HASH, CREDENTIALS, &Rules::s3("us-east-1"), NOW_MS).unwrap();
        self.headers.extend(added);
        self
    }

    fn presign(mut self) -> Self {
        self.query = sign::presign(&self.unsigned(), CREDENTIALS, &Rules::s3("us-east-1"), NOW_MS, 60);
        self
    }

    fn verify(&self) -> Result<(), AuthError> {
        let head = RequestHead {
            method: &self.method,
            raw_path: &self.path,
            raw_query: &self.query,
            headers: &self.headers,
            bucket_of_host: "",
        };
        match parse(&head, &Rules::s3("us-east-1"), NOW_MS)? {
            Parsed::Signed(signed) => {
                assert_eq!(signed.access_key(), CREDENTIALS.access_key);
                signed.verify(CREDENTIALS.secret_key).map(drop)
            }
            Parsed::Anonymous(_) => panic!("the signature was not seen"),
        }
    }
}

/// Text as it may be in a request line: escaped or not, well or badly.
fn raw(without: &'static str) -> impl Strategy<Value = String> {
    let character = prop_oneof![
        4 => proptest::char::range('!', '~'),
        1 => Just('%'), 1 => Just('+'), 1 => Just('/'), 1 => Just('.'), 1 => Just('é'),
    ];
    let piece = prop_oneof![
        character.prop_map(String::from),
        any::<u8>().prop_map(|byte| format!("%{byte:02X}")),
        any::<u8>().prop_map(|byte| format!("%{byte:02x}")),
    ];
    prop::collection::vec(piece, 0..20)
        .prop_map(move |pieces| pieces.concat().replace(['?', '#'], "").replace(without, ""))
}

fn query() -> impl Strategy<Value = String> {
    prop::collection::vec(raw("&"), 0..6).prop_map(|pieces| pieces.join("&"))
}

fn headers() -> impl Strategy<Value = HeaderMap> {
    let name =
        prop::sample::select(vec!["x-amz-meta-a", "x-amz-meta-b", "range", "content-type", "x-amz-acl", "expect"]);
    let value = "[ -~\t]{0,12}";
    prop::collection::vec((name, value), 0..8).prop_map(|pairs| {
        let mut headers = HeaderMap::from_iter([(http::header::HOST, HeaderValue::from_static("localhost:9000"))]);
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(&value).unwrap());
        }
        headers
    })
}

fn requests() -> impl Strategy<Value = Sent> {
    let method = prop::sample::select(vec![Method::GET, Method::PUT, Method::POST, Method::DELETE, Method::HEAD]);
    (method, raw("\0"), query(), headers()).prop_map(|(method, path, query, headers)| Sent {
        method,
        path: format!("/{path}"),
        query,
        headers,
    })
}

/// The canonical request as the documentation spells it out, without a thought for speed.
fn model(sent: &Sent, signed: &[String]) -> String {
    let decode = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
    let encode = |bytes: &[u8]| percent_encode(bytes, UNRESERVED).to_string();
    let path = encode(&decode(&sent.path)).replace("%2F", "/");
    let mut pairs: Vec<(String, String)> = sent
        .query
        .split('&')
        .filter(|piece| !piece.is_empty())
        .map(|piece| piece.split_once('=').unwrap_or((piece, "")))
        .map(|(name, value)| (encode(&decode(&name.replace('+', "%20"))), encode(&decode(&value.replace('+', "%20")))))
        .collect();
    pairs.sort();
    let query: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    let lines: Vec<String> = signed
        .iter()
        .map(|name| {
            let values: Vec<String> = sent
                .headers
                .get_all(name)
                .iter()
                .map(|value| value.to_str().unwrap().split_whitespace().collect::<Vec<_>>().join(" "))
                .collect();
            format!("{name}:{}\n", values.join(","))
        })
        .collect();
    let (method, query, lines, list) = (&sent.method, query.join("&"), lines.concat(), signed.join(";"));
    format!("{method}\n{path}\n{query}\n{lines}\n{list}\n{HASH}")
}

proptest! {
    #[test]
    fn the_canonical_form_is_that_of_the_documentation(sent in requests()) {
        let mut signed: Vec<String> = sent.headers.keys().map(|name| name.as_str().to_owned()).collect();
        signed.sort();
        let canonical = Canonical {
            method: sent.method.as_str(),
            raw_path: &sent.path,
            normalise_path: false,
            raw_query: &sent.query,
            skip_parameter: None,
            headers: &sent.headers,
            signed_headers: &signed.join(";"),
            body_hash: HASH,
        };
        let forms = canonical.forms();
        prop_assert_eq!(String::from_utf8_lossy(&forms.canonical), model(&sent, &signed));

        // The form as sent is no other request's canonical form: where it is canonical, it is this one's.
        let lines = String::from_utf8_lossy(&forms.canonical).into_owned();
        let mut lines = lines.split('\n').skip(1);
        let again = Canonical { raw_path: lines.next().unwrap(), raw_query: lines.next().unwrap(), ..canonical }.forms();
        prop_assert_eq!(again.canonical, forms.canonical);
        prop_assert!(again.as_sent.is_none());
    }

    #[test]
    fn what_is_signed_is_accepted(sent in requests()) {
        let signed = sent.sign();
        prop_assert_eq!(signed.verify(), Ok(()), "{:?}", signed);
    }

    #[test]
    fn what_is_presigned_is_accepted(sent in requests()) {
        let presigned = sent.presign();
        prop_assert_eq!(presigned.verify(), Ok(()), "{:?}", presigned);
    }

    #[test]
    fn nothing_signed_can_be_changed(sent in requests(), what in 0..5, place: prop::sample::Index, by in 1u8..=255) {
        let signed = sent.sign();
        let mut other = signed.clone();
        match what {
            0 => other.method = Method::PATCH,
            1 => other.path.push('x'),
            2 => other.query.push_str("&added"),
            3 => {
                let names: Vec<_> = signed.headers.keys().cloned().collect();
                let name = &names[place.index(names.len())];
                // A number is the least that can change: white space at the ends does not count.
                let value = format!("{}{by}", other.headers[name].to_str().unwrap());
                other.headers.insert(name, HeaderValue::from_str(&value).unwrap());
            }
            _ => {
                let mut path = signed.path.clone().into_bytes();
                let place = place.index(path.len());
                path[place] = b'!' + (path[place].wrapping_add(by) & 63);
                prop_assume!(path.first() == Some(&b'/'));
                let Ok(path) = String::from_utf8(path) else { return Ok(()) };
                let decoded = |path: &str| percent_decode_str(path).collect::<Vec<u8>>();
                prop_assume!(decoded(&path) != decoded(&signed.path));
                other.path = path;
            }
        }
        prop_assert!(other.verify().is_err(), "{:?}\n{:?}", signed, other);
    }

    #[test]
    fn any_changed_character_of_the_authorization_is_refused(
        sent in requests(),
        place: prop::sample::Index,
        to in proptest::char::range('!', '~'),
    ) {
        let mut signed = sent.sign();
        let mut value = signed.headers["authorization"].to_str().unwrap().to_owned().into_bytes();
        let place = place.index(value.len());
        prop_assume!(value[place] != to as u8);
        // A comma and a space do the same, and the key is the caller's to look up.
        prop_assume!(!matches!(value[place], b' ' | b',') && !value[..place].ends_with(b"Credential=key/with/slashe"));
        value[place] = to as u8;
        let text = String::from_utf8(value).unwrap();
        prop_assume!(text.contains("Credential=key/with/slashes/") && !text.to_ascii_lowercase().contains(&authorization_of(&signed)));
        signed.headers.insert("authorization", HeaderValue::from_str(&text).unwrap());
        prop_assert!(signed.verify().is_err(), "{}", text);
    }

    #[test]
    fn random_heads_never_panic(
        path in raw("\0"),
        pairs in prop::collection::vec((prop::sample::select(NAMES), raw("&")), 0..9),
        authorization in raw("\0"),
        date in "[ -~]{0,30}",
        prefix in prop::sample::select(vec!["", "AWS ", "AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA256 Credential=/////,SignedHeaders=host,Signature="]),
    ) {
        let query: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut headers = HeaderMap::new();
        for (name, value) in [("authorization", format!("{prefix}{authorization}")), ("x-amz-date", date)] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        for headers in [headers, HeaderMap::new()] {
            let head = RequestHead { method: &Method::GET, raw_path: &path, raw_query: &query.join("&"), headers: &headers, bucket_of_host: "" };
            if let Ok(Parsed::Signed(signed)) = parse(&head, &Rules::s3("us-east-1"), NOW_MS) {
                prop_assert!(signed.verify("other").is_err());
            }
        }
    }
}

/// The authorization in lower case: what is listed in it may be of either case.
fn authorization_of(sent: &Sent) -> String {
    sent.headers["authorization"].to_str().unwrap().to_ascii_lowercase()
}

const NAMES: &[&str] = &[
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
    "x-amz-meta-a",
    "Signature",
];
