//! Request bodies, read within bounds of size and patience.
//!
//! Refuses a body as soon as it is known to be too large; what the client still
//! sends is thrown away for a while, so that it gets to read the answer.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use stepwell_types::Data;

use crate::Error;
use crate::problem::Problem;

/// How long, in all, an unwanted body is thrown away.
const DISCARD: Duration = Duration::from_secs(20);

/// A body that is read chunk by chunk.
pub(crate) struct Chunks {
    body: Body,
    left: u64,
    max: u64,
    idle: Duration,
}

impl Chunks {
    /// Refuses at once when the announced length is above `max` bytes.
    pub(crate) async fn open(
        headers: &HeaderMap,
        body: Body,
        max: u64,
        idle: Duration,
    ) -> Result<Chunks, Problem> {
        let announced = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|v| v.to_str().ok())
            .and_then(|v| v.parse::<u64>().ok());
        let chunks = Chunks {
            body,
            left: max,
            max,
            idle,
        };
        if announced.is_some_and(|n| n > max) {
            return Err(chunks.too_large().await);
        }
        Ok(chunks)
    }

    /// The next bytes; `None` at the end.
    pub(crate) async fn next(mut self) -> Result<Option<(Chunks, Bytes)>, Problem> {
        loop {
            let frame = match tokio::time::timeout(self.idle, self.body.frame()).await {
                Ok(None) => return Ok(None),
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(e))) => return Err(Error::BodyBroken(e.to_string()).into()),
                Err(_) => {
                    let seconds = self.idle.as_secs();
                    return Err(Error::BodySlow { seconds }.into());
                }
            };
            // Trailers say nothing to us.
            let Ok(data) = frame.into_data() else {
                continue;
            };
            match self.left.checked_sub(data.len() as u64) {
                Some(left) => self.left = left,
                None => return Err(self.too_large().await),
            }
            return Ok(Some((self, data)));
        }
    }

    /// Throws the rest away, within bounds. Closing the socket at once would make
    /// the client's system drop our answer unread.
    pub(crate) async fn discard(mut self) {
        let all = async { while let Some(Ok(_)) = self.body.frame().await {} };
        let _ = tokio::time::timeout(DISCARD, all).await;
    }

    async fn too_large(self) -> Problem {
        let max = self.max;
        self.discard().await;
        Error::BodyTooLarge { max }.into()
    }
}

/// The whole body, at most `max` bytes.
pub(crate) async fn whole(
    headers: &HeaderMap,
    body: Body,
    max: usize,
    idle: Duration,
) -> Result<Bytes, Problem> {
    let chunks = Chunks::open(headers, body, max as u64, idle).await?;
    let Some((mut chunks, first)) = chunks.next().await? else {
        return Ok(Bytes::new());
    };
    // A small body comes in one piece and is not copied.
    let mut all: Option<BytesMut> = None;
    while let Some((rest, more)) = chunks.next().await? {
        chunks = rest;
        all.get_or_insert_with(|| BytesMut::from(&first[..]))
            .extend_from_slice(&more);
    }
    Ok(all.map_or(first, BytesMut::freeze))
}

/// The body as text.
pub(crate) fn text(body: &Bytes) -> Result<&str, Problem> {
    std::str::from_utf8(body).map_err(|_| Error::NotText.into())
}

/// The body as JSON, checked and kept as it came; `{}` when it is empty.
pub(crate) fn data(body: &Bytes) -> Result<Data, Problem> {
    let text = text(body)?;
    if text.trim_ascii().is_empty() {
        return Ok(Data::empty_object());
    }
    Data::parse(text).map_err(|e| Error::BadJson(e.to_string()).into())
}

/// The body as one of our shapes; its default when it is empty.
pub(crate) fn shape<T: serde::de::DeserializeOwned + Default>(body: &Bytes) -> Result<T, Problem> {
    let text = text(body)?;
    if text.trim_ascii().is_empty() {
        return Ok(T::default());
    }
    serde_json::from_str(text).map_err(|e| {
        if e.is_data() {
            Error::BadFields(e.to_string()).into()
        } else {
            Error::BadJson(e.to_string()).into()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &[u8], want: Result<&str, &str>) {
        let got = data(&Bytes::copy_from_slice(body));
        match (got, want) {
            (Ok(d), Ok(want)) => assert_eq!(d.text(), want),
            (Err(p), Err(want)) => assert_eq!(p.code, want),
            (got, want) => panic!("{body:?}: got {got:?}, want {want:?}"),
        }
    }

    #[test]
    fn payloads() {
        check(b"", Ok("{}"));
        check(b" \n", Ok("{}"));
        check(b"{\"b\":1.10,\"a\":2}", Ok("{\"b\":1.10,\"a\":2}"));
        check(b"{} {}", Err("API0005"));
        check(b"nul", Err("API0005"));
        check(b"\xff", Err("API0010"));
        check("[".repeat(10_000).as_bytes(), Err("API0005"));
    }
}
