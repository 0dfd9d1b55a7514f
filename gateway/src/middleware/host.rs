//! The host of a request, taken once: it names the bucket, and it is signed, so that there must be no second one that
//! says something else.

use http::{HeaderValue, Version, header, request};

use crate::error::{Code, S3Error};

/// The host that the request is for, as it was sent. After it the headers hold exactly this one, which is what a
/// signature covers. Empty only for a request of HTTP/1.0 that names none.
///
/// # Errors
/// `BadRequest` for several `Host` headers, for none in HTTP/1.1, for one that cannot be a host, and for one that
/// differs from the authority of an absolute URI (RFC 9112, 3.2).
pub(super) fn take(head: &mut request::Parts) -> Result<String, S3Error> {
    let mut given = head.headers.get_all(header::HOST).iter();
    let (first, second) = (given.next(), given.next());
    if second.is_some() {
        return Err(bad("The request has more than one Host header."));
    }
    let first = first.map(|host| host.to_str().map_err(|_| bad("The Host header is not valid."))).transpose()?;
    let authority = head.uri.authority().map(|authority| authority.as_str());
    let host = match (authority, first) {
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => {
            return Err(bad("The Host header and the host of the request's URI differ."));
        }
        (_, Some(host)) => host,
        (_, None) if head.version == Version::HTTP_11 => return Err(bad("The request has no Host header.")),
        (Some(authority), None) => authority,
        (None, None) => return Ok(String::new()),
    };
    if host.is_empty() || !host.bytes().all(may_be_in_a_host) {
        return Err(bad("The Host header is not valid."));
    }
    let (host, value) = (host.to_owned(), HeaderValue::from_str(host).map_err(|_| bad("The host is not valid."))?);
    head.headers.insert(header::HOST, value);
    Ok(host)
}

/// Names, addresses and a port; never the user of a URI, nor white space, which a signature would not tell apart.
fn may_be_in_a_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'[' | b']')
}

fn bad(problem: &str) -> S3Error {
    S3Error::with(Code::BadRequest, problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take_from(version: Version, uri: &str, hosts: &[&str]) -> Result<(String, usize), Code> {
        let mut request = http::Request::builder().version(version).uri(uri);
        for host in hosts {
            request = request.header("host", *host);
        }
        let (mut head, ()) = request.body(()).unwrap().into_parts();
        let host = take(&mut head).map_err(|error| error.code)?;
        Ok((host, head.headers.get_all("host").iter().count()))
    }

    #[test]
    fn there_is_one_host_or_the_request_is_refused() {
        let of_1_1 = |uri, hosts: &[&str]| take_from(Version::HTTP_11, uri, hosts);
        assert_eq!(of_1_1("/b/k", &["localhost:9000"]), Ok(("localhost:9000".to_owned(), 1)));
        assert_eq!(of_1_1("http://b.localhost/k", &["B.localhost"]), Ok(("B.localhost".to_owned(), 1)));
        for (uri, hosts) in [
            ("/b/k", &[][..]),
            ("http://b.localhost/k", &[]),
            ("/b/k", &["localhost", "localhost"]),
            ("/b/k", &["a.localhost", "b.localhost"]),
            ("http://b.localhost/k", &["a.localhost"]),
            ("http://b.localhost/k", &["b.localhost:80"]),
            ("http://u@b.localhost/k", &["b.localhost"]),
            ("http://u@b.localhost/k", &["u@b.localhost"]),
            ("/b/k", &[""]),
            ("/b/k", &["b.localhost/x"]),
            ("/b/k", &["b  .localhost"]),
            ("/b/k", &["a.localhost,b.localhost"]),
        ] {
            assert_eq!(of_1_1(uri, hosts), Err(Code::BadRequest), "{uri} {hosts:?}");
        }
    }

    #[test]
    fn http_1_0_may_name_none_and_what_its_uri_names_is_signed() {
        let of_1_0 = |uri, hosts: &[&str]| take_from(Version::HTTP_10, uri, hosts);
        assert_eq!(of_1_0("/b/k", &[]), Ok((String::new(), 0)));
        assert_eq!(of_1_0("http://b.localhost/k", &[]), Ok(("b.localhost".to_owned(), 1)));
        assert_eq!(of_1_0("http://b.localhost/k", &["a.localhost"]), Err(Code::BadRequest));
    }
}
