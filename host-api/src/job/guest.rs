//! What the guests' doors of both bridges have in common: bytes that a call carries, and the end as
//! they read it.
//!
//! Refuses objects of buckets: no manifest grants those to modules.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use stepwell_types::{Data, Digest, Failure, FileIn, ProgramCall};

use super::program::{Program, Source};

/// The bytes of a guest's call: standard input, and files by path.
pub(crate) struct Carried {
    pub(crate) input: Option<Vec<u8>>,
    pub(crate) files: Vec<(String, Vec<u8>)>,
}

/// The fields that both doors have.
pub(crate) struct Common {
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) working_directory: Option<String>,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) stdout_bytes_max: Option<u64>,
}

impl Carried {
    /// The call, without the bytes.
    pub(crate) fn call(&self, common: Common) -> ProgramCall {
        let variable = |(name, value)| (name, Value::String(value));
        let environment: Map<_, _> = common.environment.into_iter().map(variable).collect();
        let file = |(path, _): &(String, Vec<u8>)| FileIn {
            path: path.clone(),
            bucket: None,
            key: None,
            content: Some(Value::String(String::new())),
        };
        ProgramCall {
            environment,
            working_directory: common.working_directory,
            files: self.files.iter().map(file).collect(),
            timeout_ms: common.timeout_ms,
            stdout_bytes_max: common.stdout_bytes_max,
            ..ProgramCall::default()
        }
    }

    /// Names the request.
    pub(crate) fn digest<T: Serialize>(&self, call: &T) -> Digest {
        let mut bytes = serde_json::to_vec(call).unwrap_or_default();
        for part in self
            .input
            .iter()
            .chain(self.files.iter().map(|(_, bytes)| bytes))
        {
            bytes.extend(Digest::of(part).0);
        }
        bytes.push(u8::from(self.input.is_some()));
        Digest::of(&bytes)
    }

    /// Gives a checked program its bytes; how it ends is for the guest to judge.
    pub(crate) fn fill(self, program: &mut Program) {
        program.input = self.input;
        program.exit_codes = None;
        for (file, (_, bytes)) in program.files.iter_mut().zip(self.files) {
            file.from = Source::Content(bytes);
        }
    }
}

/// How a program ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) exit_code: i64,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

#[derive(Deserialize)]
struct Told {
    exit_code: i64,
    stdout: String,
    #[serde(default)]
    stdout_encoding: Option<String>,
    stderr: String,
}

/// Reads an answer, fresh or from the journal. `None`: it is none of ours.
pub(crate) fn end(data: &Data) -> Option<End> {
    let told: Told = serde_json::from_str(data.text()).ok()?;
    Some(End {
        exit_code: told.exit_code,
        stdout: match told.stdout_encoding {
            None => told.stdout.into_bytes(),
            Some(_) => STANDARD.decode(told.stdout).ok()?,
        },
        stderr: told.stderr,
    })
}

/// What a failure is to a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    NotGranted,
    Invalid,
    TimedOut,
    Unavailable,
    Failed,
}

/// Sorts a failure by its name, and words it.
pub(crate) fn why(failure: &Failure) -> (Why, String) {
    let name = &*failure.error;
    let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
    let why = if ends(&["NotGranted"]) {
        Why::NotGranted
    } else if ends(&["InvalidRequest", "PathRefused"]) {
        Why::Invalid
    } else if name == "States.Timeout" {
        Why::TimedOut
    } else if ends(&[
        "EngineUnavailable",
        "Unreachable",
        "CircuitOpen",
        "TooManyWaiting",
    ]) {
        Why::Unavailable
    } else {
        Why::Failed
    };
    (why, format!("{name}: {}", failure.cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_and_failures_are_told() {
        let check = |text: &str, expected: Option<(i64, &[u8])>| {
            let got = end(&Data::from_valid_text(text.to_owned()));
            let got = got
                .as_ref()
                .map(|end| (end.exit_code, end.stdout.as_slice()));
            assert_eq!(got, expected, "{text}");
        };
        check(
            r#"{"exit_code":3,"stdout":"a","stderr":""}"#,
            Some((3, b"a")),
        );
        check(
            r#"{"exit_code":0,"stdout_encoding":"base64","stdout":"/w==","stderr":""}"#,
            Some((0, b"\xff")),
        );
        check(r#"{"exit_code":0}"#, None);
        for (name, expected) in [
            ("Stepwell.NotGranted", Why::NotGranted),
            ("Stepwell.ContainerNotGranted", Why::NotGranted),
            ("Stepwell.MachinePathRefused", Why::Invalid),
            ("States.Timeout", Why::TimedOut),
            ("Stepwell.CircuitOpen", Why::Unavailable),
            ("Stepwell.MachineUnreachable", Why::Unavailable),
            ("Stepwell.ContainerLost", Why::Failed),
        ] {
            assert_eq!(why(&Failure::new(name, "")).0, expected, "{name}");
        }
    }
}
