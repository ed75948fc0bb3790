//! `logs`: the lines that an execution's steps have logged.

use std::time::Duration;

use serde_json::Value;

use super::{Remote, show};
use crate::args::Logs;
use crate::exit::{Exit, Trouble};
use crate::output;

/// Lines of one page.
const PAGE: &str = "1000";
/// Between two looks for more.
const PAUSE: Duration = Duration::from_secs(1);
/// How many looks in a row may find no server.
const TRIES: u32 = 10;

/// `logs …`
pub fn logs(remote: &Remote, args: &Logs) -> Result<Exit, Trouble> {
    let id = &remote.id_of(&args.which.id, args.which.flow.as_ref())?;
    let mut after = args.after;
    if !args.follow {
        pages(remote, id, args, &mut after)?;
        return Ok(Exit::Ok);
    }
    // Answered once, the server was there, and most likely comes back.
    let (mut answered, mut away) = (false, 0);
    loop {
        match look(remote, id, args, &mut after) {
            Ok(Some(status)) if status == "SUCCEEDED" => return Ok(Exit::Ok),
            Ok(Some(_)) => return Ok(Exit::Failed),
            Ok(None) => (answered, away) = (true, 0),
            Err(gone) if gone.exit == Exit::Unreachable && answered && away < TRIES => away += 1,
            Err(trouble) => return Err(trouble),
        }
        std::thread::sleep(PAUSE);
    }
}

/// Shows what there is by now. `Some`: how the execution ended, and that was all.
fn look(
    remote: &Remote,
    id: &str,
    args: &Logs,
    after: &mut u64,
) -> Result<Option<String>, Trouble> {
    // Asked first: what is logged before the end is on the pages that follow.
    let shown = remote.value(remote.get(&["executions", id]), &["status"])?;
    let status = output::field(&shown, "status").filter(|status| status != "RUNNING");
    pages(remote, id, args, after)?;
    Ok(status)
}

fn pages(remote: &Remote, id: &str, args: &Logs, after: &mut u64) -> Result<(), Trouble> {
    while let Some(next) = page(remote, id, args, after)? {
        *after = next;
    }
    Ok(())
}

/// Shows a page, and moves `after` behind its last line. `Some`: there are more.
fn page(remote: &Remote, id: &str, args: &Logs, after: &mut u64) -> Result<Option<u64>, Trouble> {
    let mut query = vec![("after", after.to_string()), ("limit", PAGE.to_owned())];
    query.extend(args.state.clone().map(|state| ("state", state)));
    let request = remote.get(&["executions", id, "logs"]).query(&query);
    let page = remote.value(request, &["lines"])?;
    for line in show::items(&page, "lines") {
        if remote.json {
            output::print_json_line(&line.to_string());
        } else {
            output::print(&show::log_line(line));
        }
        *after = line.get("number").and_then(Value::as_u64).unwrap_or(*after);
    }
    Ok(page.get("next").and_then(Value::as_u64))
}
