//! Slow work (files, processes) off the loop, without naming a runtime.
//!
//! Refuses to be used per step: a thread is made for each piece of work, which is
//! fine for uploads and first loads.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use crate::Error;

/// Runs `work` on a thread of its own and waits for it without blocking.
///
/// # Errors
/// `BOX0010` when no thread can be made or the work panicked.
pub(crate) async fn offload<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let (send, receive) = oneshot::channel();
    std::thread::Builder::new()
        .name("stepwell-modules".into())
        .spawn(move || {
            // Nobody may be waiting any more.
            let _ = send.send(work());
        })
        .map_err(Error::folder("start a thread"))?;
    receive.await.map_err(|_| Error::Folder {
        action: "finish its work",
        detail: "the thread died".into(),
    })?
}

/// Pending once: what follows isn't done in the first poll, which must be quick.
pub(crate) struct StepAside(bool);

impl StepAside {
    pub(crate) fn new() -> StepAside {
        StepAside(false)
    }
}

impl Future for StepAside {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.0 {
            return Poll::Ready(());
        }
        self.0 = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
