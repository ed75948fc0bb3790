//! The bearer token, and what a server without one still refuses.
//!
//! Refuses to keep the token itself: only its digest is in memory here.

use axum::http::{HeaderMap, header};
use stepwell_types::Digest;
use subtle::ConstantTimeEq as _;

use crate::Error;

/// A bearer token, kept as its SHA-256. Prints as nothing.
#[derive(Clone)]
pub struct Token(Digest);

impl Token {
    /// Takes a token of 8 to 1024 visible ASCII characters.
    /// # Errors
    /// `API0016`.
    pub fn new(secret: &str) -> Result<Token, Error> {
        let visible = secret.bytes().all(|b| b.is_ascii_graphic());
        if (8..=1024).contains(&secret.len()) && visible {
            Ok(Token(Digest::of(secret.as_bytes())))
        } else {
            Err(Error::WeakToken)
        }
    }

    /// Whether the request bears this token. Takes the same time whichever byte differs.
    /// Two `Authorization` headers are refused: a proxy before us may have read the other one.
    #[must_use]
    pub fn admits(&self, headers: &HeaderMap) -> bool {
        let mut given = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (given.next(), given.next()) else {
            return false;
        };
        let Some((scheme, given)) = value
            .as_bytes()
            .split_at_checked(7)
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "))
        else {
            return false;
        };
        debug_assert_eq!(scheme.len(), 7);
        Digest::of(given.trim_ascii()).0.ct_eq(&self.0.0).into()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Whether a server without a token may answer: the request names this machine
/// (so a name that an attacker points at loopback is refused), and no other web
/// site's page sent it (a browser says so).
#[must_use]
pub fn is_local(headers: &HeaderMap, authority: Option<&str>) -> bool {
    let host = headers.get(header::HOST).map(|h| h.to_str().unwrap_or("?"));
    let named_well = host.or(authority).is_none_or(is_local_host);
    let own_page = match headers.get("sec-fetch-site") {
        None => headers
            .get(header::ORIGIN)
            .is_none_or(|o| o.to_str().is_ok_and(is_local_origin)),
        Some(site) => ["same-origin", "none"].iter().any(|s| site == s),
    };
    named_well && own_page
}

fn is_local_origin(origin: &str) -> bool {
    origin
        .split_once("://")
        .is_some_and(|(_, host)| is_local_host(host))
}

fn is_local_host(host: &str) -> bool {
    if let Ok(ip) = host.parse::<std::net::IpAddr>() {
        return ip.is_loopback();
    }
    if let Ok(addr) = host.parse::<std::net::SocketAddr>() {
        return addr.ip().is_loopback();
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let name = name.to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || name == "[::1]"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_token(header: &str, want: bool) {
        let token = Token::new("correct-horse").unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, header.parse().unwrap());
        assert_eq!(token.admits(&headers), want, "{header}");
    }

    #[test]
    fn tokens() {
        check_token("Bearer correct-horse", true);
        check_token("bearer  correct-horse", true);
        check_token("Bearer correct-hors", false);
        check_token("Bearer correct-horsee", false);
        check_token("Bearer", false);
        check_token("Basic correct-horse", false);
        check_token("correct-horse", false);
        assert!(
            !Token::new("correct-horse")
                .unwrap()
                .admits(&HeaderMap::new())
        );
        for weak in [
            "",
            "short",
            "with space in it",
            "caf\u{e9}-caf\u{e9}-caf\u{e9}",
        ] {
            assert_eq!(Token::new(weak).err(), Some(Error::WeakToken), "{weak}");
        }
        let shown = format!("{:?}", Token::new("correct-horse").unwrap());
        assert!(!shown.contains("correct"), "{shown}");
    }

    #[test]
    fn two_headers_are_refused() {
        let token = Token::new("correct-horse").unwrap();
        for other in ["Bearer correct-horse", "Basic x"] {
            let mut headers = HeaderMap::new();
            headers.append(
                header::AUTHORIZATION,
                "Bearer correct-horse".parse().unwrap(),
            );
            assert!(token.admits(&headers));
            headers.append(header::AUTHORIZATION, other.parse().unwrap());
            assert!(!token.admits(&headers), "{other}");
        }
    }

    #[track_caller]
    fn check_local(headers: &[(&'static str, &str)], want: bool) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        assert_eq!(is_local(&map, None), want, "{headers:?}");
    }

    #[test]
    fn local_requests() {
        check_local(&[], true);
        check_local(&[("host", "127.0.0.1:7420")], true);
        check_local(&[("host", "localhost:7420")], true);
        check_local(&[("host", "app.localhost")], true);
        check_local(&[("host", "[::1]:7420")], true);
        check_local(&[("host", "evil.example:7420")], false);
        check_local(&[("host", "localhost.evil.example")], false);
        check_local(&[("host", "10.0.0.7:7420")], false);
        check_local(
            &[("host", "localhost"), ("sec-fetch-site", "cross-site")],
            false,
        );
        check_local(
            &[("host", "localhost"), ("sec-fetch-site", "same-origin")],
            true,
        );
        check_local(
            &[("host", "localhost"), ("origin", "https://evil.example")],
            false,
        );
        check_local(&[("host", "localhost"), ("origin", "null")], false);
        check_local(
            &[("host", "localhost"), ("origin", "http://localhost:1")],
            true,
        );
    }
}
