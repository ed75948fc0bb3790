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

/// All connections, checked.
pub(crate) struct Connections(BTreeMap<String, (Url, HeaderMap)>);

impl Connections {
    /// # Errors
    /// `HOST0005`.
    pub(crate) fn new(all: &BTreeMap<String, ConnectionOptions>) -> Result<Connections, Error> {
        let one = |(name, options): (&String, &ConnectionOptions)| {
            let bad = |detail: String| Error::BadConnection {
                name: name.clone(),
                detail,
            };
            let url = super::request::url(&options.url).map_err(|f| bad(f.cause.to_string()))?;
            let mut headers = HeaderMap::new();
            for (header, value) in &options.headers {
                let parsed = HeaderName::from_bytes(header.as_bytes());
                let parsed = parsed.map_err(|_| bad(format!("{header:?} is no header name")))?;
                let mut value = HeaderValue::from_str(value.trim())
                    .map_err(|_| bad(format!("header {header:?} cannot be sent")))?;
                value.set_sensitive(true);
                headers.insert(parsed, value);
            }
            Ok((name.clone(), (url, headers)))
        };
        all.iter()
            .map(one)
            .collect::<Result<_, Error>>()
            .map(Connections)
    }

    /// Adds a connection's headers to those of a call.
    /// # Errors
    /// `Stepwell.HttpDenied`: there is no such connection, or the call goes elsewhere.
    pub(crate) fn lend(
        &self,
        name: Option<&str>,
        url: &Url,
        headers: &mut HeaderMap,
    ) -> Result<(), Failure> {
        let Some(name) = name else { return Ok(()) };
        let denied = |cause: String| Failure::new("Stepwell.HttpDenied", cause);
        let Some((place, lent)) = self.0.get(name) else {
            return Err(denied(format!(
                "the server has no connection {name:?}; name it in [connections] of its configuration"
            )));
        };
        let within = url
            .path()
            .strip_prefix(place.path().trim_end_matches('/'))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if url.origin() != place.origin() || !within {
            return Err(denied(format!(
                "the connection {name:?} is for {place} alone"
            )));
        }
        for (name, value) in lent {
            headers.insert(name.clone(), value.clone());
        }
        Ok(())
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
            let mut headers = HeaderMap::new();
            let url = Url::parse(url).expect("a URL");
            let got = connections.lend(name, &url, &mut headers);
            assert_eq!(
                got.map(|()| headers.len()).map_err(|_| ()),
                expected,
                "{url}"
            );
        };
        check(None, "https://b.example/", Ok(0));
        check(Some("billing"), "https://a.example/v1/x", Ok(1));
        check(Some("billing"), "https://a.example/v1", Ok(1));
        check(Some("billing"), "https://a.example/v10", Err(()));
        check(Some("billing"), "https://a.example/v1/../v2", Err(()));
        check(Some("billing"), "http://a.example/v1/x", Err(()));
        check(Some("billing"), "https://b.example/v1/x", Err(()));
        check(Some("other"), "https://a.example/v1/x", Err(()));
        assert!(!format!("{all:?}").contains("Bearer"));
    }
}
