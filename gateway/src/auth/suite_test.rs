//! The general SigV4 test suite that AWS publishes: requests and their signatures, as facts. Each is signed and verified
//! here both ways, with the path normalised or not as the case says.

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::sign::{self, Credentials, Unsigned};
use super::{Parsed, RequestHead, Rules, parse};

const CREDENTIALS: Credentials =
    Credentials { access_key: "AKIDEXAMPLE", secret_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY" };
/// 2015-08-30T12:36:00Z
const NOW_MS: u64 = 1_440_938_160_000;
const SHORT_TOKEN: &str = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267";
const LONG_TOKEN: &str = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";

struct Case {
    name: &'static str,
    normalise: bool,
    method: &'static str,
    /// As it is in the request line.
    target: &'static str,
    /// Without the host. A folded line is given in one.
    headers: &'static [(&'static str, &'static str)],
    /// Signed by its hash.
    body: &'static str,
    session_token: &'static str,
    /// The signature in the header, and that of the presigned URL, good for an hour; empty where none is published.
    header_signature: &'static str,
    query_signature: &'static str,
}

#[allow(clippy::too_many_arguments, reason = "a row of a table")]
fn case(
    name: &'static str,
    normalise: bool,
    method: &'static str,
    target: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
    session_token: &'static str,
    header_signature: &'static str,
    query_signature: &'static str,
) -> Case {
    Case { name, normalise, method, target, headers, body, session_token, header_signature, query_signature }
}

#[rustfmt::skip]
fn cases() -> Vec<Case> {
    vec![
        case("get-header-key-duplicate", true, "GET", "/", &[("My-Header1", "value2"), ("My-Header1", "value2"), ("My-Header1", "value1")], "", "", "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea", "3349ee0b81b4b589da0ff28a395c3591e04de515651dd74f298fa992d1507a97"),
        case("get-header-value-multiline", true, "GET", "/", &[("My-Header1", "value1   value2      value3")], "", "", "cfd34249e4b1c8d6b91ef74165d41a32e5fab3306300901bb65a51a73575eefd", "e6f5def831211aca02987a44b96826706278c7bc078112ae0263659c5b2f2d56"),
        case("get-header-value-order", true, "GET", "/", &[("My-Header1", "value4"), ("My-Header1", "value1"), ("My-Header1", "value3"), ("My-Header1", "value2")], "", "", "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01", "313720e71ca6202fdcfa9b20f88de01a4eb0638a83c833b1c184359a4eda864e"),
        case("get-header-value-trim", true, "GET", "/", &[("My-Header1", " value1"), ("My-Header2", " \"a   b   c\"")], "", "", "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736", "e7bb0fd515e125e1aec2ecc4c0c17484fb06f6846b927c35e46005dd3df3acd4"),
        case("get-relative-normalized", true, "GET", "/example/..", &[], "", "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31", "e93c787ed7f371d5c6b165c1b38ede9550f4dce4144713e844b25b7192d3865d"),
        case("get-relative-relative-normalized", true, "GET", "/example1/example2/../..", &[], "", "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31", "e93c787ed7f371d5c6b165c1b38ede9550f4dce4144713e844b25b7192d3865d"),
        case("get-relative-relative-unnormalized", false, "GET", "/example1/example2/../..", &[], "", "", "dc33e0856fd4baca4d7aa2146c38958283844764f38c74252a333df5e613003b", "b45db0bfd1cf15003493b733e33aa208dd981bd0e63037a6ed953f71d2118a16"),
        case("get-relative-unnormalized", false, "GET", "/example/..", &[], "", "", "eca7ead57bb5aa5c8e28007acd4ff04e1ff9a0ff3b237ec1554a184887ff9282", "cbcb213b928a077e43275df47b500f1dfaa864ab3f5a18f6b95f4ff0938167ee"),
        case("get-slash-dot-slash-normalized", true, "GET", "/./", &[], "", "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31", "e93c787ed7f371d5c6b165c1b38ede9550f4dce4144713e844b25b7192d3865d"),
        case("get-slash-dot-slash-unnormalized", false, "GET", "/./", &[], "", "", "68714168e6557f8f2de0ef956fc24dc2593a4bd2961f8df51898d8a134695145", "a9b13e8f3484d9505bf1a6f347219f8f35b0fe8f128ceea597efc146a3dfe90c"),
        case("get-slash-normalized", true, "GET", "//", &[], "", "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31", "e93c787ed7f371d5c6b165c1b38ede9550f4dce4144713e844b25b7192d3865d"),
        case("get-slash-pointless-dot-normalized", true, "GET", "/./example", &[], "", "", "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5", "35034b1a0bdd969f346975386daf8aedfd4976573b8348cf4f67eaa41c5857de"),
        case("get-slash-pointless-dot-unnormalized", false, "GET", "/./example", &[], "", "", "beb03f223f7deae4146464f06e29eebbee9c8afbe15c290cf07aa8b119e14cff", "72b11f16d9530b18204bfb71f2d6ab085894c0ed8d352730a6e76234c58b5e10"),
        case("get-slash-unnormalized", false, "GET", "//", &[], "", "", "c88bcd3d312d75078c0cd961d6deae3f4c754924b01669efcfcb439fd5e5b76e", "b2a9542809db687769200f56a844a03f2bd0291d6eb90232d5101c6a579446cd"),
        case("get-slashes-normalized", true, "GET", "//example//", &[], "", "", "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84", "c1834e8fb0307243711f0f907f6ab7311ed300d87f13792d7ee4da89ab93e082"),
        case("get-slashes-unnormalized", false, "GET", "//example//", &[], "", "", "87cca117541a147f6df867677d98a7d80dff226d2bfca9e4ffa899665623c7e5", "822a5a9ba28072c5ab2bb4a6307d0c88276d40e49fec6b724c03fb4d4ba60fc2"),
        case("get-space-normalized", true, "GET", "/example space/", &[], "", "", "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741", "7a1f416954786484c9824d93c1f26ef64acb9b1b6c9154d08c9f07d0e394abf6"),
        case("get-space-unnormalized", false, "GET", "/example space/", &[], "", "", "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741", "7a1f416954786484c9824d93c1f26ef64acb9b1b6c9154d08c9f07d0e394abf6"),
        case("get-unreserved", true, "GET", "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", &[], "", "", "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f", "95968482db1b9e0fadef6efc1bd24689f77c77d9ef56919c96a28cc92e0d6005"),
        case("get-utf8", true, "GET", "/ሴ", &[], "", "", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85", "10eae3f14a260bd3911cc6d008d3c576d143b05b62f09782a7a4b37f52178e44"),
        case("get-vanilla-empty-query-key", true, "GET", "/?Param1=value1", &[], "", "", "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb", "49096700cbbaa5753443850f40df10f904fc2fdb544dc9512203cc77c471a9de"),
        case("get-vanilla-query-order-encoded", true, "GET", "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1", &[], "", "", "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac", "c5f1848ceec943ac2ca68ee720460c23aaae30a2300586597ada94c4a65e4787"),
        case("get-vanilla-query-order-key-case", true, "GET", "/?Param2=value2&Param1=value1", &[], "", "", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500", "86012e2c9ad4d77369f5d81c11f75158aae4f895a085212cc6d3f923d300bed5"),
        case("get-vanilla-query-unreserved", true, "GET", "/?-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", &[], "", "", "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197", "8e76a88a7433637b12778d5592799b29ad21ecd6cf6325051c21d86f0acda2bf"),
        case("get-vanilla-query", true, "GET", "/", &[], "", "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31", "e93c787ed7f371d5c6b165c1b38ede9550f4dce4144713e844b25b7192d3865d"),
        case("get-vanilla-utf8-query", true, "GET", "/?ሴ=bar", &[], "", "", "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04", "0bdd809b1519ac4f0c1dc3540e2cc46bd0c7f778eda408b2ebf3b913d21ff600"),
        case("get-vanilla-with-session-token", true, "GET", "/", &[], "", SHORT_TOKEN, "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8", "7ff2b50b376cb4d151970630573d6291dc128cc5c2a12ffb237f73cc53f67b6c"),
        case("get-vanilla", true, "GET", "/", &[], "", "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31", "e93c787ed7f371d5c6b165c1b38ede9550f4dce4144713e844b25b7192d3865d"),
        case("post-header-key-case", true, "POST", "/", &[], "", "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b", "2ce6e6d2e0cf2f9d1b55fafec88cd20574c31dc2e7631979f71ba2310083e95b"),
        case("post-header-key-sort", true, "POST", "/", &[("My-Header1", "value1")], "", "", "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c", "c09d07e0d55871f10f2a6d350d994acf6825a3cae70673d7def55616e6119dd7"),
        case("post-header-value-case", true, "POST", "/", &[("My-Header1", "VALUE1")], "", "", "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d", "0698bc9e4f7f9139065ba2909c0e99da257e8e2a42492a097bcd46d792391fed"),
        case("post-sts-header-after", true, "POST", "/", &[], "", "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b", "2ce6e6d2e0cf2f9d1b55fafec88cd20574c31dc2e7631979f71ba2310083e95b"),
        case("post-sts-header-before", true, "POST", "/", &[], "", LONG_TOKEN, "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead", "46c2e3c63c1dbe7d39f8ada16fe7f001c1f56c5791441565323677f96308871c"),
        case("post-vanilla-empty-query-value", true, "POST", "/?Param1=value1", &[], "", "", "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11", "a9ef26247f293bffe40eeff86a0480ba8c14d31503b2e0c3399e3a16bf1a3682"),
        case("post-vanilla-query", true, "POST", "/?Param1=value1", &[], "", "", "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11", "a9ef26247f293bffe40eeff86a0480ba8c14d31503b2e0c3399e3a16bf1a3682"),
        case("post-vanilla", true, "POST", "/", &[], "", "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b", "2ce6e6d2e0cf2f9d1b55fafec88cd20574c31dc2e7631979f71ba2310083e95b"),
        case("post-x-www-form-urlencoded-parameters", true, "POST", "/", &[("Content-Type", "application/x-www-form-urlencoded; charset=utf-8"), ("Content-Length", "13")], "Param1=value1", "", "328d1b9eaadca9f5818ef05e8392801e091653bafec24fcab71e7344e7f51422", "0dbeb9b026c7b6675f266b8427efec9b4fa8b1f6ef1477d717aea231106eab4d"),
        case("post-x-www-form-urlencoded", true, "POST", "/", &[("Content-Type", "application/x-www-form-urlencoded"), ("Content-Length", "13")], "Param1=value1", "", "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b", "89a40deed0f26f9461242825a082d2222717248abc7ab41f552ad84a94ad46e9"),
        case("get-special-character", true, "GET", "/example/$delete", &[], "", "", "a853c9b21b528b19643d00910d35b83a10c366a10833ceefb45edd6c80e40f27", ""),
        case("get-vanilla-query-order-value", true, "GET", "/?Param1=value2&Param1=value1", &[], "", "", "5772eed61e12b33fae39ee5e7012498b51d56abc0abb7c60486157bd471c4694", ""),
        case("get-vanilla-query-order-key", true, "GET", "/?Param1=value2&Param1=Value1", &[], "", "", "eedbc4e291e521cf13422ffca22be7d2eb8146eecf653089df300a15b2382bd1", ""),
    ]
}

impl Case {
    fn path_and_query(&self) -> (&'static str, &'static str) {
        self.target.split_once('?').unwrap_or((self.target, ""))
    }

    fn method(&self) -> Method {
        self.method.parse().unwrap()
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("example.amazonaws.com"));
        for (name, value) in self.headers {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static(value));
        }
        headers
    }

    fn body_hash(&self) -> String {
        sign::payload_hash(self.body.as_bytes())
    }

    fn rules(&self) -> Rules {
        Rules {
            service: "service".to_owned(),
            normalise_path: self.normalise,
            assumed_body_hash: Some(self.body_hash()),
            ..Rules::s3("us-east-1")
        }
    }
}

fn accepts(head: &RequestHead, rules: &Rules, name: &str) -> bool {
    match parse(head, rules, NOW_MS) {
        Ok(Parsed::Signed(signed)) => {
            assert_eq!(signed.access_key(), CREDENTIALS.access_key, "{name}");
            signed.verify(CREDENTIALS.secret_key).is_ok()
        }
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn each_case_is_signed_and_verified_in_the_header() {
    for case in cases() {
        let (raw_path, raw_query) = case.path_and_query();
        let (method, mut headers, rules) = (case.method(), case.headers(), case.rules());
        if !case.session_token.is_empty() {
            headers.insert("x-amz-security-token", HeaderValue::from_static(case.session_token));
        }
        if !case.body.is_empty() {
            headers.insert("x-amz-content-sha256", HeaderValue::from_str(&case.body_hash()).unwrap());
        }
        let request = Unsigned { method: &method, raw_path, raw_query, headers: &headers };
        let added = sign::sign_headers(&request, &case.body_hash(), CREDENTIALS, &rules, NOW_MS).unwrap();
        let (_, authorization) = added.last().unwrap();
        let signature = authorization.to_str().unwrap().rsplit('=').next().unwrap();
        assert_eq!(signature, case.header_signature, "{}", case.name);

        headers.extend(added);
        let head = RequestHead { method: &method, raw_path, raw_query, headers: &headers, bucket_of_host: "" };
        assert!(accepts(&head, &rules, case.name), "{}", case.name);
    }
}

#[test]
fn each_case_is_presigned_and_verified_in_the_query() {
    for case in cases().into_iter().filter(|case| !case.query_signature.is_empty()) {
        let (raw_path, raw_query) = case.path_and_query();
        let (method, headers, rules) = (case.method(), case.headers(), case.rules());
        let mut raw_query = raw_query.to_owned();
        if !case.session_token.is_empty() {
            raw_query = format!("X-Amz-Security-Token={}", sign::uri_encode(case.session_token));
        }
        let request = Unsigned { method: &method, raw_path, raw_query: &raw_query, headers: &headers };
        let query = sign::presign(&request, CREDENTIALS, &rules, NOW_MS, 3600);
        assert_eq!(query.rsplit('=').next().unwrap(), case.query_signature, "{}", case.name);

        let head = RequestHead { method: &method, raw_path, raw_query: &query, headers: &headers, bucket_of_host: "" };
        assert!(accepts(&head, &rules, case.name), "{}", case.name);
    }
}

#[test]
fn a_signature_of_the_normalised_path_does_not_hold_for_the_path_as_it_is() {
    let mut tried = 0;
    for case in cases().into_iter().filter(|case| case.normalise && case.target.contains("/.")) {
        let (method, mut headers, rules) = (case.method(), case.headers(), case.rules());
        let request = Unsigned { method: &method, raw_path: case.target, raw_query: "", headers: &headers };
        let added = sign::sign_headers(&request, &case.body_hash(), CREDENTIALS, &rules, NOW_MS).unwrap();
        headers.extend(added);
        let head = RequestHead {
            method: &method,
            raw_path: case.target,
            raw_query: "",
            headers: &headers,
            bucket_of_host: "",
        };
        assert!(accepts(&head, &rules, case.name));
        assert!(!accepts(&head, &Rules { normalise_path: false, ..rules }, case.name), "{}", case.name);
        tried += 1;
    }
    assert!(tried >= 4);
}
