//! Connections: headers with secrets that the configuration keeps, and the place that may see them.
//!
//! Refuses to lend them to a call to any other place. They are no part of a request's
//! digest: a secret that changes makes no replay diverge.

use std::collections::BTreeMap;

use http::header::{
    AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHORIZATION,
};
use reqwest::Url;
use stepwell_types::{Failure, Grants, Secret};

use crate::{Error, Journal};

/// One connection, as configured.
#[derive(Clone, Default)]
pub struct ConnectionOptions {
    /// Only calls to URLs of this origin whose path begins with this one's get the headers.
    pub url: String,
    /// Names and values. A call's own header of such a name is replaced.
    pub headers: BTreeMap<String, String>,
    /// The same, with values that nobody may see.
    pub secret_headers: BTreeMap<String, String>,
}

/// Headers whose values nobody may see, however they were configured.
static SECRET: [HeaderName; 3] = [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE];

/// A value may be a secret.
impl std::fmt::Debug for ConnectionOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.headers.keys().chain(self.secret_headers.keys());
        write!(f, "{} {:?}", self.url, names.collect::<Vec<_>>())
    }
}

/// What one connection lends, and where.
#[derive(Clone)]
pub(crate) struct Lent {
    place: Url,
    headers: HeaderMap,
    /// What of them must not come back in what a step tells.
    secrets: Vec<Secret>,
    /// The place is all of its origin.
    whole: bool,
}

impl Lent {
    /// Headers for the origin of a URL.
    pub(crate) fn to_origin(url: &Url, headers: HeaderMap) -> Lent {
        Lent {
            place: url.clone(),
            headers,
            secrets: Vec::new(),
            whole: true,
        }
    }

    /// Keeps back what the headers of the connection of this name say of secrets.
    pub(crate) fn conceal(&self, name: &str, journal: &Journal) {
        let name = format!("of connection {name}");
        for secret in &self.secrets {
            journal.conceal(&name, secret);
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

/// Whether a manifest names the connection that a call borrows. A flow without one may borrow each.
/// # Errors
/// `Stepwell.NotGranted`.
pub(crate) fn granted(grants: Option<&Grants>, name: Option<&str>) -> Result<(), Failure> {
    let (Some(grants), Some(name)) = (grants, name) else {
        return Ok(());
    };
    if grants.connections.iter().any(|known| **known == *name) {
        return Ok(());
    }
    let shown = crate::shown(name);
    Err(Failure::new(
        "Stepwell.NotGranted",
        format!(
            "the manifest does not grant connection {shown:?}; add it under `connections` and publish again"
        ),
    ))
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
            let (mut headers, mut secrets) = (HeaderMap::new(), Vec::new());
            let plain = options.headers.iter().map(|header| (false, header));
            let secret = options.secret_headers.iter().map(|header| (true, header));
            for (secret, (header, value)) in plain.chain(secret) {
                let parsed = HeaderName::from_bytes(header.as_bytes());
                let parsed = parsed.map_err(|_| bad(format!("{header:?} is no header name")))?;
                let mut value = HeaderValue::from_str(value.trim())
                    .map_err(|_| bad(format!("header {header:?} cannot be sent")))?;
                value.set_sensitive(true);
                if secret || SECRET.contains(&parsed) {
                    // The other side may tell the token alone of `Bearer TOKEN`.
                    let word = value.as_bytes().rsplit(|b| *b == b' ').next();
                    let parts = [Some(value.as_bytes()), word];
                    let parts = parts.into_iter().flatten();
                    secrets.extend(parts.map(|part| Secret::new(part.to_vec())));
                }
                headers.insert(parsed, value);
            }
            let lent = Lent {
                place,
                headers,
                secrets,
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
            secret_headers: BTreeMap::new(),
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

    #[test]
    fn what_a_connection_knows_and_others_need_not_is_kept_back() {
        let text = |pairs: &[(&str, &str)]| {
            let pairs = pairs
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
            pairs.collect()
        };
        let options = ConnectionOptions {
            url: "https://a.example/".into(),
            headers: text(&[
                ("authorization", "Bearer correct-horse"),
                ("x-client", "stepwell"),
            ]),
            secret_headers: text(&[("x-key", "battery-staple")]),
        };
        let all = BTreeMap::from([("billing".to_owned(), options)]);
        let connections = Connections::new(&all).expect("a connection");
        let url = Url::parse("https://a.example/x").expect("a URL");
        let lent = connections.lend(Some("billing"), &url).expect("its place");
        let journal = crate::journal::for_tests();
        lent.expect("headers").conceal("billing", &journal);
        let check = |text: &str, expected: &str| {
            assert_eq!(journal.hide(text.to_owned()), expected);
        };
        check("stepwell", "stepwell");
        check("got correct-horse", "got [secret of connection billing]");
        check("got battery-staple", "got [secret of connection billing]");
    }
}
