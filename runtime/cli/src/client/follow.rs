//! The live tail: server-sent events, resumed when the connection breaks.

use std::time::Duration;

use serde_json::Value;

use super::{Remote, show};
use crate::exit::{Exit, Trouble};
use crate::output;

/// How often a broken tail is taken up again before it is given up.
const TRIES: u32 = 10;
/// Largest event that is taken, in bytes.
const EVENT_BYTES_MAX: usize = 128 << 20;

/// Shows events from `after` on until the execution has ended.
pub fn follow(remote: &Remote, id: &str, after: u64, data: bool) -> Result<Exit, Trouble> {
    remote.runtime.block_on(async {
        let mut last = after;
        let mut broken = 0;
        loop {
            match stream(remote, id, data, &mut last, &mut broken).await {
                Ok(Some(status)) => {
                    let well = status == "SUCCEEDED";
                    if !remote.json {
                        output::remark(&format!("{id} ended: {status}"));
                    }
                    return Ok(if well { Exit::Ok } else { Exit::Failed });
                }
                // The server went away, most likely to come back.
                Ok(None) => {}
                Err(trouble) if trouble.exit == Exit::Unreachable && broken > 0 => {
                    if broken >= TRIES {
                        return Err(trouble);
                    }
                }
                Err(trouble) => return Err(trouble),
            }
            broken += 1;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    })
}

/// One connection's events. `Some`: the status at the end.
async fn stream(
    remote: &Remote,
    id: &str,
    data: bool,
    last: &mut u64,
    broken: &mut u32,
) -> Result<Option<String>, Trouble> {
    let request = remote
        .get(&["executions", id, "events"])
        .header("accept", "text/event-stream")
        .header("last-event-id", last.to_string());
    let mut response = remote.send(request).await?;
    let kind = response.headers().get("content-type");
    if !kind.is_some_and(|k| k.as_bytes().starts_with(b"text/event-stream")) {
        return Err(remote.stranger("its answer is no stream of events"));
    }
    let mut buffer = Vec::new();
    // A connection that breaks is taken up again by the caller.
    while let Ok(Some(bytes)) = response.chunk().await {
        buffer.extend_from_slice(&bytes);
        if buffer.len() > EVENT_BYTES_MAX {
            return Err(Trouble::system(
                "the server sent an event that is too large",
            ));
        }
        while let Some(event) = next_event(&mut buffer) {
            *broken = 0;
            match event.kind.as_str() {
                "end" => {
                    let end: Value = super::parse(&event.data)?;
                    return Ok(output::field(&end, "status").or(Some(String::new())));
                }
                "error" => return Err(super::refusal(500, &super::parse(&event.data)?)),
                _ => show_event(remote, &event, data)?,
            }
            if let Some(id) = event.id {
                *last = id;
            }
        }
    }
    Ok(None)
}

fn show_event(remote: &Remote, event: &Event, data: bool) -> Result<(), Trouble> {
    if remote.json {
        output::print_json_line(&event.data);
    } else {
        output::print(&show::event(&super::parse(&event.data)?, data));
    }
    Ok(())
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Event {
    id: Option<u64>,
    kind: String,
    data: String,
}

/// Takes one whole event with data from the front of the buffer.
fn next_event(buffer: &mut Vec<u8>) -> Option<Event> {
    loop {
        let end = buffer.windows(2).position(|w| w == b"\n\n")?;
        let block: Vec<u8> = buffer.drain(..end + 2).collect();
        let text = String::from_utf8_lossy(&block);
        let mut event = Event::default();
        let mut lines = 0;
        for line in text.lines() {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "id" => event.id = value.parse().ok(),
                "event" => value.clone_into(&mut event.kind),
                "data" => {
                    if lines > 0 {
                        event.data.push('\n');
                    }
                    event.data.push_str(value);
                    lines += 1;
                }
                // Comments keep the connection alive.
                _ => {}
            }
        }
        if lines > 0 {
            return Some(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events() {
        let mut buffer =
            b": keep-alive\n\nid: 3\ndata: {\"a\":\ndata: 1}\n\nevent: end\ndata: {}\n\nid: 4\nda"
                .to_vec();
        let first = next_event(&mut buffer).unwrap();
        assert_eq!((first.id, first.data.as_str()), (Some(3), "{\"a\":\n1}"));
        assert_eq!(next_event(&mut buffer).unwrap().kind, "end");
        assert_eq!(next_event(&mut buffer), None);
        buffer.extend_from_slice(b"ta: x\n\n");
        assert_eq!(next_event(&mut buffer).unwrap().data, "x");
    }
}
