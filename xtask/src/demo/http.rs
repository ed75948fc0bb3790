//! As much of an HTTP client as the demo needs: one request a connection.
//!
//! Refuses TLS, redirects and answers of more than 64 MiB.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

const BODY_MAX: u64 = 64 << 20;
/// Longer than any wait that the demo asks the server for.
const PATIENCE: Duration = Duration::from_secs(120);

/// What to send.
pub struct Request<'a> {
    /// `GET`, `POST`, …
    pub method: &'a str,
    /// With the query.
    pub path: &'a str,
    /// The body's type; empty for none.
    pub content_type: &'a str,
    /// The body.
    pub body: &'a [u8],
}

/// What came back.
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Response {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// It is something else.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("not JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    /// Itself, if the status is one of success.
    ///
    /// # Errors
    /// The status is another; the text holds the body.
    pub fn ok(self) -> Result<Response> {
        if !(200..300).contains(&self.status) {
            bail!(
                "status {}: {}",
                self.status,
                String::from_utf8_lossy(&self.body)
            );
        }
        Ok(self)
    }
}

/// Sends a request and reads the answer.
///
/// # Errors
/// Nobody listens, or the answer is not HTTP.
pub fn send(address: SocketAddr, request: &Request<'_>) -> Result<Response> {
    let stream = TcpStream::connect(address).with_context(|| format!("nobody at {address}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut message = format!(
        "{} {} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n",
        request.method,
        request.path,
        request.body.len()
    );
    if !request.content_type.is_empty() {
        message.push_str(&format!("content-type: {}\r\n", request.content_type));
    }
    message.push_str("\r\n");
    let mut bytes = message.into_bytes();
    bytes.extend_from_slice(request.body);
    (&stream).write_all(&bytes)?;
    read(BufReader::new(stream))
}

/// A `GET` whose answer is JSON.
///
/// # Errors
/// As [`send`], or the status is not one of success.
pub fn get(address: SocketAddr, path: &str) -> Result<Value> {
    let request = Request {
        method: "GET",
        path,
        content_type: "",
        body: b"",
    };
    send(address, &request)?
        .ok()
        .with_context(|| format!("GET {path}"))?
        .json()
}

fn read(mut from: impl BufRead) -> Result<Response> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let status = line
        .split_whitespace()
        .nth(1)
        .and_then(|code| code.parse().ok())
        .with_context(|| format!("not HTTP: `{}`", line.trim_end()))?;
    let headers = read_headers(&mut from)?;
    let value = |name: &str| {
        let found = headers.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    };
    let mut body = Vec::new();
    if value("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
        read_chunks(&mut from, &mut body)?;
    } else {
        let length = value("content-length").and_then(|text| text.parse().ok());
        from.take(length.unwrap_or(BODY_MAX).min(BODY_MAX))
            .read_to_end(&mut body)?;
    }
    Ok(Response {
        status,
        headers,
        body,
    })
}

/// Reads header lines up to the empty one.
pub fn read_headers(from: &mut impl BufRead) -> Result<Vec<(String, String)>> {
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        from.take(16 << 10).read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            return Ok(headers);
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        if headers.len() > 200 {
            bail!("more than 200 headers");
        }
    }
}

fn read_chunks(from: &mut impl BufRead, body: &mut Vec<u8>) -> Result<()> {
    loop {
        let mut line = String::new();
        from.read_line(&mut line)?;
        let size = line.trim().split(';').next().unwrap_or_default();
        let size = u64::from_str_radix(size, 16).context("a chunk without a size")?;
        if size == 0 {
            return Ok(());
        }
        if body.len() as u64 + size > BODY_MAX {
            bail!("an answer of more than {BODY_MAX} bytes");
        }
        from.take(size).read_to_end(body)?;
        let mut end = [0; 2];
        from.read_exact(&mut end)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_in_each_form() {
        let check = |text: &str, status: u16, body: &str| {
            let answer = read(text.as_bytes()).expect("an answer");
            assert_eq!(answer.status, status);
            assert_eq!(String::from_utf8_lossy(&answer.body), body);
        };
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi!", 200, "hi");
        check(
            "HTTP/1.1 404 Not Found\r\n\r\nto the end",
            404,
            "to the end",
        );
        check(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n3;a=b\r\n!!!\r\n0\r\n\r\n",
            200,
            "hi!!!",
        );
        assert!(read("SSH-2.0\r\n".as_bytes()).is_err());
    }
}
