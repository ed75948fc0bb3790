//! Request bodies, read within bounds of size and patience.
//!
//! Refuses a body as soon as it is known to be too large; `linger` sees to it that the
//! client gets to read so.

use std::time::Duration;

use axum::body::Body;
use axum::body::HttpBody as _;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use stepwell_types::Data;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::problem::Problem;
use crate::{Error, Options};

/// Bytes of work that are not worth another thread.
const FREE: usize = 64 << 10;
/// Bytes of each unfinished body that are not counted: those of very many are little, and what
/// comes in one piece needs no common room.
const UNCOUNTED: usize = 4 << 10;

/// A body that is read chunk by chunk.
pub(crate) struct Chunks {
    body: Body,
    left: u64,
    max: u64,
    idle: Duration,
    total: Duration,
    deadline: Instant,
}

/// What all bodies of one server share.
pub(crate) struct Bounds {
    idle: Duration,
    total: Duration,
    /// A permit is a byte that an unfinished body holds in memory.
    room: Semaphore,
}

impl Bounds {
    pub(crate) fn new(options: &Options) -> Bounds {
        let bytes = options.bodies_bytes_max.min(Semaphore::MAX_PERMITS);
        Bounds {
            idle: options.body_idle,
            total: options.body_total,
            room: Semaphore::new(bytes),
        }
    }
}

impl Chunks {
    /// Refuses at once when it is packed, or when the announced length is above `max` bytes.
    pub(crate) fn open(
        headers: &HeaderMap,
        body: Body,
        max: u64,
        bounds: &Bounds,
    ) -> Result<Chunks, Problem> {
        if let Some(coding) = packed(headers).filter(|_| !body.is_end_stream()) {
            return Err(Error::BodyPacked { coding }.into());
        }
        let announced = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|v| v.to_str().ok())
            .and_then(|v| v.parse::<u64>().ok());
        let chunks = Chunks {
            body,
            left: max,
            max,
            idle: bounds.idle,
            total: bounds.total,
            deadline: Instant::now() + bounds.total,
        };
        if announced.is_some_and(|n| n > max) {
            return Err(chunks.too_large());
        }
        Ok(chunks)
    }

    /// The next bytes; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            let until = (Instant::now() + self.idle).min(self.deadline);
            let frame = match tokio::time::timeout_at(until, self.body.frame()).await {
                Ok(None) => return Ok(None),
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(e))) => return Err(Error::BodyBroken(e.to_string()).into()),
                Err(_) => {
                    let (what, limit) = if until == self.deadline {
                        ("not all of it", self.total)
                    } else {
                        ("not a byte", self.idle)
                    };
                    let seconds = limit.as_secs();
                    return Err(Error::BodySlow { what, seconds }.into());
                }
            };
            // Trailers say nothing to us.
            let Ok(data) = frame.into_data() else {
                continue;
            };
            match self.left.checked_sub(data.len() as u64) {
                Some(left) => self.left = left,
                None => return Err(self.too_large()),
            }
            return Ok(Some(data));
        }
    }

    fn too_large(&self) -> Problem {
        Error::BodyTooLarge { max: self.max }.into()
    }
}

/// How a body is packed, if its headers say so.
fn packed(headers: &HeaderMap) -> Option<String> {
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    let packs = |coding: &[u8]| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity");
    let coding = codings.find(|value| packs(value.as_bytes().trim_ascii()))?;
    let text = String::from_utf8_lossy(coding.as_bytes());
    Some(text.chars().take(40).collect())
}

/// The whole body, at most `max` bytes.
pub(crate) async fn whole(
    headers: &HeaderMap,
    body: Body,
    max: usize,
    bounds: &Bounds,
) -> Result<Bytes, Problem> {
    let mut chunks = Chunks::open(headers, body, max as u64, bounds)?;
    let Some(first) = chunks.next().await? else {
        return Ok(Bytes::new());
    };
    if chunks.body.is_end_stream() {
        // A small body comes in one piece and is not copied.
        return Ok(first);
    }
    let mut all: Option<BytesMut> = None;
    let mut held: Option<SemaphorePermit<'_>> = None;
    let mut taken = UNCOUNTED;
    let mut hold = |length: usize| {
        let Some(more) = length.checked_sub(taken).filter(|more| *more > 0) else {
            return Ok(());
        };
        let bytes = u32::try_from(more).unwrap_or(u32::MAX);
        let permit = bounds.room.try_acquire_many(bytes);
        let permit = permit.map_err(|_| Error::BodiesFull)?;
        taken = length;
        match &mut held {
            Some(held) => held.merge(permit),
            None => held = Some(permit),
        }
        Ok::<(), Error>(())
    };
    // While the rest is on its way.
    hold(first.len())?;
    while let Some(more) = chunks.next().await? {
        hold(all.as_ref().map_or(first.len(), BytesMut::len) + more.len())?;
        all.get_or_insert_with(|| BytesMut::from(&first[..]))
            .extend_from_slice(&more);
    }
    Ok(all.map_or(first, BytesMut::freeze))
}

/// The body as text.
pub(crate) fn text(body: &Bytes) -> Result<&str, Problem> {
    std::str::from_utf8(body).map_err(|_| Error::NotText.into())
}

/// Runs `work` over so many bytes: elsewhere if that would hold up the loop.
pub(crate) async fn over<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    if bytes <= FREE {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Error::Internal.into())
}

/// The body as JSON, checked and kept as it came but for blanks around it: a file ends with a line, and
/// says the same as what was typed. `{}` when it is empty.
pub(crate) async fn data(body: Bytes) -> Result<Data, Problem> {
    over(body.len(), move || checked(&body)).await?
}

fn checked(body: &Bytes) -> Result<Data, Problem> {
    let text = text(body)?;
    let said = text.trim_ascii();
    if said.is_empty() {
        return Ok(Data::empty_object());
    }
    // With all of it, so that the place of what is wrong is right.
    Data::check(text).map_err(|e| Problem::from(Error::BadJson(e.to_string())))?;
    Ok(Data::from_valid_text(said))
}

/// The body as one of our shapes; its default when it is empty.
pub(crate) fn shape<T: serde::de::DeserializeOwned + Default>(body: &Bytes) -> Result<T, Problem> {
    let text = text(body)?;
    if text.trim_ascii().is_empty() {
        return Ok(T::default());
    }
    fields(text)
}

/// A text as one of our shapes.
pub(crate) fn fields<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Problem> {
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
    use std::sync::Arc;

    use tokio::sync::Notify;

    use super::*;

    #[track_caller]
    fn check(body: &[u8], want: Result<&str, &str>) {
        let got = checked(&Bytes::copy_from_slice(body));
        match (got, want) {
            (Ok(d), Ok(want)) => assert_eq!(d.text(), want),
            (Err(p), Err(want)) => assert_eq!(p.code, want),
            (got, want) => panic!("{body:?}: got {got:?}, want {want:?}"),
        }
    }

    /// A body that sends `chunks` pieces of 64 KiB, `gap` apart, and then ends or hangs. Tells `stuck` when
    /// it hangs: then all of them were taken in.
    fn slow(chunks: usize, gap: Duration, stuck: Option<Arc<Notify>>) -> Body {
        let pieces = futures_util::stream::unfold(0, move |sent| {
            let stuck = stuck.clone().filter(|_| sent == chunks);
            async move {
                if let Some(stuck) = stuck {
                    stuck.notify_one();
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep(gap).await;
                let piece = Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; FREE]));
                (sent < chunks).then_some((piece, sent + 1))
            }
        });
        Body::from_stream(pieces)
    }

    async fn read(bounds: &Bounds, body: Body) -> Result<usize, &'static str> {
        let read = whole(&HeaderMap::new(), body, 32 << 20, bounds).await;
        read.map(|b| b.len()).map_err(|p| p.code)
    }

    #[tokio::test]
    async fn unfinished_bodies_are_bounded_in_sum() {
        // Long enough for the busiest machine: this is not about time.
        let long = Duration::from_secs(600);
        let bounds = Bounds::new(&Options {
            bodies_bytes_max: 3 * FREE,
            body_idle: long,
            body_total: long,
            ..Options::new(0)
        });
        let quick = |chunks| slow(chunks, Duration::from_millis(1), None);
        assert_eq!(read(&bounds, quick(3)).await, Ok(3 * FREE));
        assert_eq!(read(&bounds, quick(4)).await, Err("API0018"));
        let stuck = Arc::new(Notify::new());
        let hangs = slow(2, Duration::ZERO, Some(Arc::clone(&stuck)));
        let mut hung = Box::pin(read(&bounds, hangs));
        tokio::select! {
            ended = &mut hung => panic!("it did not hang: {ended:?}"),
            () = stuck.notified() => {}
        }
        assert_eq!(read(&bounds, quick(1)).await, Ok(FREE));
        assert_eq!(
            read(&bounds, quick(2)).await,
            Err("API0018"),
            "its room is taken"
        );
        drop(hung);
        assert_eq!(
            read(&bounds, quick(3)).await,
            Ok(3 * FREE),
            "the room is back"
        );
    }

    #[tokio::test]
    async fn unfinished_bodies_are_bounded_in_time() {
        let idle = Bounds::new(&Options {
            body_idle: Duration::from_millis(50),
            ..Options::new(0)
        });
        let hangs = slow(1, Duration::ZERO, Some(Arc::default()));
        assert_eq!(read(&idle, hangs).await, Err("API0014"), "it hung");
        // Each byte comes in time, the whole doesn't.
        let brief = Bounds::new(&Options {
            body_total: Duration::from_millis(300),
            ..Options::new(0)
        });
        let dripped = slow(100, Duration::from_millis(20), None);
        assert_eq!(read(&brief, dripped).await, Err("API0014"));
    }

    #[test]
    fn payloads() {
        check(b"", Ok("{}"));
        check(b" \n", Ok("{}"));
        check(b"{\"b\":1.10,\"a\":2}", Ok("{\"b\":1.10,\"a\":2}"));
        check(b"\n[ 1 ]\r\n", Ok("[ 1 ]"));
        check(b"{} {}", Err("API0005"));
        check(b"nul", Err("API0005"));
        check(b"\xff", Err("API0010"));
        check("[".repeat(10_000).as_bytes(), Err("API0005"));
    }
}
