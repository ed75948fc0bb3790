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

/// `logs …`
pub fn logs(remote: &Remote, args: &Logs) -> Result<Exit, Trouble> {
    let mut after = args.after;
    loop {
        // Asked first: what is logged before the end is on the pages that follow.
        let over = !args.follow || has_ended(remote, &args.id)?;
        while let Some(next) = page(remote, args, &mut after)? {
            after = next;
        }
        if over {
            return Ok(Exit::Ok);
        }
        std::thread::sleep(PAUSE);
    }
}

fn has_ended(remote: &Remote, id: &str) -> Result<bool, Trouble> {
    let shown = remote.value(remote.get(&["executions", id]), &["status"])?;
    Ok(output::field(&shown, "status").is_some_and(|status| status != "RUNNING"))
}

/// Shows a page, and moves `after` behind its last line. `Some`: there are more.
fn page(remote: &Remote, args: &Logs, after: &mut u64) -> Result<Option<u64>, Trouble> {
    let mut query = vec![("after", after.to_string()), ("limit", PAGE.to_owned())];
    query.extend(args.state.clone().map(|state| ("state", state)));
    let request = remote.get(&["executions", &args.id, "logs"]).query(&query);
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
