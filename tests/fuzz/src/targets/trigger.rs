//! HTTP triggers: the endpoint of a flow, and a request that may match it.
//!
//! Lines: endpoint, path, query, content type, body. Refuses bytes that are no UTF-8 but in the body.

use stepwell_trigger::http::{Request, start};
use stepwell_trigger::pattern::Endpoint;

/// Words of patterns and requests.
pub const WORDS: &[&str] = &[
    "POST ",
    "GET ",
    "async ",
    "/{",
    "}",
    "%2F",
    "%",
    "%FF",
    "a=b&",
    "+",
    ";",
    "=",
    "application/json",
    "text/plain; charset=utf-8",
    "//",
    "..",
];

/// Parses, matches, and makes a start of it.
pub fn run(data: &[u8]) {
    let mut lines = data.splitn(5, |b| *b == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (endpoint, path, query, kind, body) = (line(), line(), line(), line(), line());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let Ok(endpoint) = Endpoint::parse(&text(endpoint)) else {
        return;
    };
    let path = text(path);
    let Ok(Some(parameters)) = endpoint.pattern.captures(&path) else {
        return;
    };
    let query = text(query);
    let request = Request {
        method: endpoint.method,
        path: &path,
        parameters: &parameters,
        query: &query,
        headers: &[
            ("content-type", kind),
            ("idempotency-key", query.as_bytes()),
        ],
        body,
    };
    if let Ok(made) = start("f".into(), &request) {
        let input = serde_json::from_str::<serde_json::Value>(made.input.text());
        let input = input.expect("an input is JSON");
        assert_eq!(input["path"], path.as_str());
    }
}

/// Requests that match.
pub fn seeds() -> Vec<Vec<u8>> {
    [
        "POST /photos\n/photos\nnotify=x\nimage/png\n\u{1}\u{2}",
        "async PUT /o/{id}/{part}\n/o/7/a%20b\na=1&a=2&b=%C3%A4\napplication/json\n{\"a\":[1]}",
        "GET /{x}\n/y\n\n\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
