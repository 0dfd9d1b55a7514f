//! The naming rules of S3.
//!
//! Source: Amazon S3 User Guide, "General purpose bucket naming rules".

use std::net::Ipv4Addr;

const PREFIXES: &[&str] = &["xn--", "sthree-", "amzn-s3-demo-"];
const SUFFIXES: &[&str] = &["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"];

/// Whether a new bucket may have this name: 3 to 63 letters, digits, dots and hyphens, in lower case; each label
/// between dots starts and ends with a letter or a digit; it is no IP address and has no reserved prefix or suffix.
pub(super) fn is_valid(name: &str) -> bool {
    let label_is_valid = |label: &str| {
        let bytes = label.as_bytes();
        let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        bytes.first().is_some_and(alphanumeric)
            && bytes.last().is_some_and(alphanumeric)
            && bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
    };
    (3..=63).contains(&name.len())
        && name.split('.').all(label_is_valid)
        && name.parse::<Ipv4Addr>().is_err()
        && !PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        && !SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}

#[cfg(test)]
mod tests {
    use super::is_valid;

    #[test]
    fn names_follow_the_rules_of_s3() {
        let longest = "a".repeat(63);
        for name in ["abc", "a1b", "1ab", "my-bucket", "my.bucket.name", "a--b", longest.as_str(), "192.168.5.4.5"] {
            assert!(is_valid(name), "{name}");
        }
        let too_long = "a".repeat(64);
        for name in [
            "",
            "a",
            "ab",
            too_long.as_str(),
            "Abc",
            "a_b",
            "abc-",
            "-abc",
            ".abc",
            "abc.",
            "a..b",
            "a.-b",
            "a-.b",
            "192.168.5.4",
            "xn--abc",
            "sthree-abc",
            "amzn-s3-demo-abc",
            "abc-s3alias",
            "abc--ol-s3",
            "abc.mrap",
            "abc--x-s3",
            "a b",
            "a/b",
            "café",
            "_cairn",
        ] {
            assert!(!is_valid(name), "{name}");
        }
    }
}
