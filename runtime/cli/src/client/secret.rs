//! `secret …`: the server's secrets, without their values.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::Path;

use reqwest::Method;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use stepwell_types::Secret as Value;
use stepwell_types::limits::SECRET_BYTES_MAX;

use super::commands::{all, done, whole};
use super::{Remote, parse, show};
use crate::args::Secret;
use crate::exit::{Exit, Trouble};
use crate::output;

/// `secret …`
pub fn secret(remote: &Remote, command: Secret) -> Result<Exit, Trouble> {
    match command {
        Secret::Set { name, file } => {
            let value = value(file.as_deref())?;
            let request = remote
                .request(Method::PUT, &["secrets", &name])
                .header("content-type", "application/octet-stream")
                .body(value.bytes().to_vec());
            let text = remote.text(request, &["version"])?;
            if remote.json {
                output::print_json(&text);
                return Ok(Exit::Ok);
            }
            let version = output::field(&parse(&text)?, "version").unwrap_or_default();
            output::print(&format!("secret {name} has version {version} now"));
            Ok(Exit::Ok)
        }
        Secret::List => {
            let list = all(remote, "secrets")?;
            whole(remote, "secrets", list, show::secrets)
        }
        Secret::Delete { name } => {
            remote.nothing(remote.request(Method::DELETE, &["secrets", &name]))?;
            done(remote, &format!("secret {name} is gone"))
        }
        Secret::RotateKey => {
            let text = remote.text(remote.post(&["secret-key", "rotate"]), &["secrets"])?;
            if remote.json {
                output::print_json(&text);
                return Ok(Exit::Ok);
            }
            let count = output::field(&parse(&text)?, "secrets").unwrap_or_default();
            output::print(&format!("{count} secret(s) are sealed with a new key"));
            Ok(Exit::Ok)
        }
    }
}

/// The value: a line that is typed in, or all of a file or of what is piped in.
fn value(file: Option<&Path>) -> Result<Value, Trouble> {
    let file = file.filter(|file| *file != Path::new("-"));
    let stdin = std::io::stdin();
    match file {
        Some(file) => {
            let failed = |e| Trouble::system(format!("cannot read {}: {e}", file.display()));
            whole_of(std::fs::File::open(file).map_err(failed)?)
        }
        None if stdin.is_terminal() => typed(),
        None => whole_of(stdin.lock()),
    }
}

fn whole_of(from: impl std::io::Read) -> Result<Value, Trouble> {
    // All room at once: growing would leave copies behind.
    let mut bytes = Vec::with_capacity(SECRET_BYTES_MAX + 1);
    let read = from
        .take(SECRET_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes);
    let value = Value::new(bytes);
    read.map_err(|e| Trouble::system(format!("cannot read the value: {e}")))?;
    match value.bytes().len() {
        0 => Err(Trouble::usage("the value is empty")),
        1..=SECRET_BYTES_MAX => Ok(value),
        _ => Err(Trouble::usage(format!(
            "the value has more than {SECRET_BYTES_MAX} bytes"
        ))),
    }
}

/// A line from the terminal, which does not show it.
fn typed() -> Result<Value, Trouble> {
    let stdin = std::io::stdin();
    eprint!("value: ");
    let _ = std::io::stderr().flush();
    let before = tcgetattr(&stdin).map_err(Trouble::system)?;
    let mut quiet = before.clone();
    quiet.local_modes -= LocalModes::ECHO;
    quiet.local_modes |= LocalModes::ECHONL;
    tcsetattr(&stdin, OptionalActions::Flush, &quiet).map_err(Trouble::system)?;
    let mut line = String::new();
    let read = stdin.read_line(&mut line);
    let restored = tcsetattr(&stdin, OptionalActions::Flush, &before);
    let ends = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(ends);
    let value = whole_of(Value::new(line.into_bytes()).bytes());
    read.map_err(Trouble::system)?;
    restored.map_err(Trouble::system)?;
    value
}
