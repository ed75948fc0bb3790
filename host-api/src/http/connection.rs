//! Connections: headers with secrets that the configuration keeps, and the place that may see them.
//!
//! Refuses to lend them to a call to any other place. They are no part of a request's
//! digest: a secret that changes makes no replay diverge.

use std::collections::BTreeMap;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::Url;
use stepwell_types::Failure;

use crate::Error;

/// One connection, as configured.
#[derive(Clone, Default)]
pub struct ConnectionOptions {
    /// Only calls to URLs of this origin whose path begins with this one's get the headers.
    pub url: String,
    /// Names and values. A call's own header of such a name is replaced.
    pub headers: BTreeMap<String, String>,
}

/// A value may be a secret.
impl std::fmt::Debug for ConnectionOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}", self.url, self.headers.keys())
    }
}

/// What one connection lends, and where.
#[derive(Clone)]
pub(crate) struct Lent {
    place: Url,
    headers: HeaderMap,
    /// The place is all of its origin.
    whole: bool,
}

impl Lent {
    /// Headers for the origin of a URL.
    pub(crate) fn to_origin(url: &Url, headers: HeaderMap) -> Lent {
        Lent {
            place: url.clone(),
            headers,
            whole: true,
        }
    }

    /// Whether a URL lies in the place. One that spells `/`, `\` or `.` by code does not:
    /// the far side may read a way out of it.
    fn covers(&self, url: &Url) -> bool {
        if self.whole {
            return url.origin() == self.place.origin();
        }
        let Some(rest) = url
            .path()
            .strip_prefix(self.place.path().trim_end_matches('/'))
        else {
            return false;
        };
        let coded = rest.to_ascii_lowercase();
        url.origin() == self.place.origin()
            && (rest.is_empty() || rest.starts_with('/'))
            && !["%2f", "%5c", "%2e"].iter().any(|c| coded.contains(c))
    }

    /// A hop's headers: with the lent ones while it stays in the place.
    pub(crate) fn over(&self, url: &Url, own: &HeaderMap) -> HeaderMap {
        let mut headers = own.clone();
        if self.covers(url) {
            for (name, value) in &self.headers {
                headers.insert(name.clone(), value.clone());
            }
        }
        headers
    }
}

/// All connections, checked.
pub(crate) struct Connections(BTreeMap<String, Lent>);

impl Connections {
    /// # Errors
    /// `HOST0005`.
    pub(crate) fn new(all: &BTreeMap<String, ConnectionOptions>) -> Result<Connections, Error> {
        let one = |(name, options): (&String, &ConnectionOptions)| {
            let bad = |detail: String| Error::BadConnection {
                name: name.clone(),
                detail,
            };
            let place = super::request::url(&options.url).map_err(|f| bad(f.cause.to_string()))?;
            let mut headers = HeaderMap::new();
            for (header, value) in &options.headers {
                let parsed = HeaderName::from_bytes(header.as_bytes());
                let parsed = parsed.map_err(|_| bad(format!("{header:?} is no header name")))?;
                let mut value = HeaderValue::from_str(value.trim())
                    .map_err(|_| bad(format!("header {header:?} cannot be sent")))?;
                value.set_sensitive(true);
                headers.insert(parsed, value);
            }
            let lent = Lent {
                place,
                headers,
                whole: false,
            };
            Ok((name.clone(), lent))
        };
        all.iter()
            .map(one)
            .collect::<Result<_, Error>>()
            .map(Connections)
    }

    /// What the call's connection lends to it.
    /// # Errors
    /// `Stepwell.HttpDenied`: there is no such connection, or the call goes elsewhere.
    pub(crate) fn lend(&self, name: Option<&str>, url: &Url) -> Result<Option<&Lent>, Failure> {
        let Some(name) = name else { return Ok(None) };
        let denied = |cause: String| Failure::new("Stepwell.HttpDenied", cause);
        let Some(lent) = self.0.get(name) else {
            return Err(denied(format!(
                "the server has no connection {:?}; name it in [connections] of its configuration",
                crate::shown(name)
            )));
        };
        if !lent.covers(url) {
            return Err(denied(format!(
                "the connection {name:?} is for {} alone",
                lent.place
            )));
        }
        Ok(Some(lent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_lent_to_their_place_alone() {
        let options = ConnectionOptions {
            url: "https://a.example/v1/".into(),
            headers: BTreeMap::from([("Authorization".into(), "Bearer s\n".into())]),
        };
        let all = BTreeMap::from([("billing".to_owned(), options)]);
        let connections = Connections::new(&all).expect("a connection");
        let check = |name: Option<&str>, url: &str, expected: Result<usize, ()>| {
            let url = Url::parse(url).expect("a URL");
            let got = connections
                .lend(name, &url)
                .map(|lent| lent.map_or(0, |lent| lent.over(&url, &HeaderMap::new()).len()));
            assert_eq!(got.map_err(|_| ()), expected, "{url}");
        };
        check(None, "https://b.example/", Ok(0));
        check(Some("billing"), "https://a.example/v1/x", Ok(1));
        check(Some("billing"), "https://a.example/v1", Ok(1));
        check(Some("billing"), "https://a.example/v10", Err(()));
        check(Some("billing"), "https://a.example/v1/../v2", Err(()));
        check(Some("billing"), "https://a.example/v1/..%2fv2", Err(()));
        check(Some("billing"), "https://a.example/v1/%2e%2e%5Cv2", Err(()));
        check(Some("billing"), "http://a.example/v1/x", Err(()));
        check(Some("billing"), "https://b.example/v1/x", Err(()));
        check(Some("other"), "https://a.example/v1/x", Err(()));
        assert!(!format!("{all:?}").contains("Bearer"));
    }
}
