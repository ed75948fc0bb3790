//! What of an HTTP call can never be sent, as far as it is literal: its method, URL, headers
//! and time.
//!
//! Refuses to judge what comes from the data: that is the bridge's.

use http::header::{HeaderName, HeaderValue};
use serde_json::Value;
use stepwell_types::limits::{
    HTTP_HEADERS_REFUSED, HTTP_METHODS, HTTP_TIMEOUT_MS_MAX, HTTP_URL_BYTES_MAX,
};
use url::Url;

use crate::diagnostic::{Report, code};
use crate::document::{At, Tree};
use crate::slip;
use crate::substitute::unfilled;

/// Reports a method that no call has.
pub(crate) fn method(report: &mut Report, at: &At<'_, '_>) {
    let Tree::Text(text) = &at.node.tree else {
        return;
    };
    if !HTTP_METHODS.contains(&&**text) {
        let message = format!("{:?} is no method of an HTTP call", crate::path::clip(text));
        let hint = match HTTP_METHODS.iter().find(|m| m.eq_ignore_ascii_case(text)) {
            Some(method) => format!("did you mean {method:?}?"),
            None => format!("a method is one of {}", HTTP_METHODS.join(", ")),
        };
        report.error_hint(at, code::BAD_VALUE, message, Some(hint));
    }
}

/// Reports a URL that leads nowhere. Its text is not repeated: it may hold a secret.
pub(crate) fn url(report: &mut Report, at: &At<'_, '_>) {
    let Tree::Text(text) = &at.node.tree else {
        return;
    };
    if text.len() > HTTP_URL_BYTES_MAX {
        let message = format!("the URL has more than {HTTP_URL_BYTES_MAX} bytes");
        report.error(at, code::BAD_VALUE, message);
        return;
    }
    let (message, hint) = match Url::parse(text) {
        Err(e) => {
            let meant = slip::expression(at, text, report.cloudflow)
                .or_else(|| Some(report.advice.set(unfilled(text)?)));
            let begins = || "a URL begins with http:// or https://".to_owned();
            report.error_hint(
                at,
                code::BAD_VALUE,
                format!("this is no URL: {e}"),
                Some(meant.unwrap_or_else(begins)),
            );
            return;
        }
        Ok(url) if !matches!(url.scheme(), "http" | "https") => (
            format!(
                "a call to {}: cannot be made",
                crate::path::clip(url.scheme())
            ),
            "a URL begins with http:// or https://",
        ),
        Ok(url) if !url.username().is_empty() || url.password().is_some() => (
            "credentials in a URL would end up in logs".to_owned(),
            "use an Authorization header, or a connection of the server's configuration",
        ),
        Ok(_) => return,
    };
    report.error_hint(at, code::BAD_VALUE, message, Some(hint.to_owned()));
}

/// Reports headers that cannot be sent; `computed` says which values come from the data.
pub(crate) fn headers(
    report: &mut Report,
    at: &At<'_, '_>,
    computed: &dyn Fn(&str, &Value) -> bool,
) {
    let mut seen: Vec<String> = Vec::new();
    for member in at.members() {
        let value = member.value.value();
        let from_data = computed(&member.name, &value);
        let name = match member.name.strip_suffix(".$") {
            Some(name) if from_data => name,
            _ => &*member.name,
        };
        let place = at.member_name(member);
        let shown = crate::path::clip(name);
        let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
            let message = format!("{shown:?} cannot be the name of a header");
            let hint = Some("letters, digits and - are safe".to_owned());
            report.error_hint(&place, code::BAD_VALUE, message, hint);
            continue;
        };
        if HTTP_HEADERS_REFUSED.contains(&parsed.as_str()) {
            let message = format!("the header {shown:?} belongs to the connection");
            let hint = Some("leave it out: it is made when the call is sent".to_owned());
            report.error_hint(&place, code::BAD_VALUE, message, hint);
        }
        if seen.iter().any(|s| s == parsed.as_str()) {
            let message = format!("the header {shown:?} is given twice");
            report.error(&place, code::BAD_VALUE, message);
        }
        seen.push(parsed.as_str().to_owned());
        let sent = match &value {
            Value::String(text) => HeaderValue::from_str(text).is_ok(),
            _ => true,
        };
        if !from_data && !sent {
            let message = format!("the header {shown:?} has characters that cannot be sent");
            report.error(&at.member(member), code::BAD_VALUE, message);
        }
    }
}

/// Reports a time that no call has.
pub(crate) fn timeout_ms(report: &mut Report, at: &At<'_, '_>) {
    if matches!(at.node.tree, Tree::Number(_)) {
        crate::check::integer(report, at, 1, HTTP_TIMEOUT_MS_MAX);
    }
}
