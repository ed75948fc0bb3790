//! A call's `query`: names and values, escaped and joined to the query that the URL has.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;
use serde_json::{Map, Value};
use stepwell_types::Failure;
use stepwell_types::limits::HTTP_URL_BYTES_MAX;

use super::request::invalid;

/// What a query is free of: all but RFC 3986's unreserved characters (section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A list gives its name once for each of its values.
///
/// # Errors
/// `Stepwell.HttpInvalidRequest`: a value that has no plain text, or a URL that gets too long.
pub(super) fn joined(mut url: Url, query: &Map<String, Value>) -> Result<Url, Failure> {
    let mut text = url.query().unwrap_or_default().to_owned();
    for (name, value) in query {
        let values = match value {
            Value::Array(all) => all.as_slice(),
            one => std::slice::from_ref(one),
        };
        for value in values {
            let value = match value {
                Value::String(text) => text.clone(),
                Value::Number(_) | Value::Bool(_) => value.to_string(),
                _ => {
                    let cause = format!(
                        "query parameter `{name}` must be a text, a number, a boolean or a list of them"
                    );
                    return Err(invalid(cause));
                }
            };
            if !text.is_empty() {
                text.push('&');
            }
            text.extend(utf8_percent_encode(name, RESERVED));
            text.push('=');
            text.extend(utf8_percent_encode(&value, RESERVED));
            if text.len() > HTTP_URL_BYTES_MAX {
                let cause = format!("the URL with its query is over {HTTP_URL_BYTES_MAX} bytes");
                return Err(invalid(cause));
            }
        }
    }
    if !query.is_empty() {
        url.set_query((!text.is_empty()).then_some(&text));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Url, joined};

    fn made(url: &str, query: &Value) -> Result<String, String> {
        let query = query.as_object().expect("an object");
        let made = joined(Url::parse(url).expect("a URL"), query);
        made.map(String::from).map_err(|f| f.cause.to_string())
    }

    #[test]
    fn names_and_values_are_escaped_and_joined() {
        let check = |url: &str, query: Value, expected: &str| {
            assert_eq!(made(url, &query).as_deref(), Ok(expected));
        };
        check("http://a/b", json!({}), "http://a/b");
        check(
            "http://a/b",
            json!({"q": "x y&z=#", "n": [1, true], "é/": "~"}),
            "http://a/b?q=x%20y%26z%3D%23&n=1&n=true&%C3%A9%2F=~",
        );
        check("http://a/b?c=1#d", json!({"q": 2}), "http://a/b?c=1&q=2#d");
        check("http://a/?", json!({"q": 2}), "http://a/?q=2");
        check("http://a/", json!({"q": []}), "http://a/");
        check(
            "http://a/",
            json!({"q": "\r\nHost: b"}),
            "http://a/?q=%0D%0AHost%3A%20b",
        );
    }

    #[test]
    fn what_has_no_text_or_no_end_is_refused() {
        for query in [json!({"q": null}), json!({"q": {}}), json!({"q": [[1]]})] {
            assert!(made("http://a/", &query).unwrap_err().contains("`q`"));
        }
        let long = json!({"q": vec![1; 10_000]});
        assert!(made("http://a/", &long).unwrap_err().contains("is over"));
    }
}
