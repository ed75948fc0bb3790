//! What a program in a container and one on a machine have in common: checked before it
//! begins, judged when it has ended.
//!
//! Refuses names and paths that mean more than they say.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use stepwell_types::{
    Data, Failure, FileIn, FilesOut, Grants, OutputForm, ProgramCall, TargetKind, TargetName,
    image_fits,
};

use super::output::STDERR_BYTES_MAX;
use crate::shown;

/// Most variables of one program.
const VARIABLES_MAX: usize = 200;
/// Most bytes of all names and values of variables, and of all arguments.
const WORDS_BYTES_MAX: usize = 96 << 10;
/// Most arguments.
const ARGUMENTS_MAX: usize = 1_000;
/// Most files that are brought, and directories that are fetched.
const FILES_MAX: usize = 100;
/// Longest path, in bytes.
const PATH_BYTES_MAX: usize = 1_024;
/// How long a program may take if its call doesn't say, in milliseconds.
pub(crate) const TIMEOUT_MS: u64 = 900_000;
/// Largest standard output if the call doesn't say, in bytes.
const STDOUT_BYTES: u64 = 1 << 20;
/// The end of standard error that a result holds, in bytes.
pub(crate) const STDERR_BYTES: usize = 8 << 10;
/// The beginning of standard output that a failure holds, in bytes.
const FAILED_STDOUT_BYTES: usize = 4 << 10;

/// The two kinds of bridge, as their errors are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Container,
    Machine,
}

impl Kind {
    /// `Stepwell.ContainerNotGranted`, say.
    pub(crate) fn failure(self, what: &str, cause: impl Into<std::sync::Arc<str>>) -> Failure {
        Failure::new(format!("Stepwell.{self:?}{what}"), cause)
    }

    /// Whether this failure says that what runs programs there is out of order.
    pub(crate) fn blames_target(self, failure: &Failure) -> bool {
        let names: &[&str] = match self {
            Kind::Container => &["EngineUnavailable", "PullFailed"],
            Kind::Machine => &["Unreachable", "AuthenticationFailed"],
        };
        names
            .iter()
            .any(|name| *failure.error == *self.failure(name, "").error)
    }

    /// What limits know it by.
    pub(crate) fn target(self, name: &str) -> TargetName {
        let kind = match self {
            Kind::Container => TargetKind::Image,
            Kind::Machine => TargetKind::Machine,
        };
        TargetName::new(kind, name)
    }

    /// Whether a manifest grants an image or a machine.
    /// # Errors
    /// `Stepwell.NotGranted`.
    pub(crate) fn granted(self, grants: &Grants, name: &str) -> Result<(), Failure> {
        let (what, list) = match self {
            Kind::Container => ("image", &grants.images),
            Kind::Machine => ("machine", &grants.machines),
        };
        let granted = |grant: &str| match self {
            Kind::Container => image_fits(grant, name),
            Kind::Machine => grant == name,
        };
        if list.iter().any(|grant| granted(grant)) {
            return Ok(());
        }
        let name = shown(name);
        Err(Failure::new(
            "Stepwell.NotGranted",
            format!(
                "the manifest does not grant the {what} `{name}`; add it under `{what}s` and publish again"
            ),
        ))
    }

    /// Whether a manifest grants the network that a container asks for.
    /// # Errors
    /// `Stepwell.NotGranted`.
    pub(crate) fn network_granted(
        self,
        grants: &Grants,
        network: Option<&str>,
    ) -> Result<(), Failure> {
        match network {
            Some(name) if !grants.networks.iter().any(|grant| **grant == *name) => {
                let name = shown(name);
                Err(Failure::new(
                    "Stepwell.NotGranted",
                    format!(
                        "the manifest does not grant the network `{name}`; add it under `networks` and publish again"
                    ),
                ))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn invalid(self, cause: impl Into<std::sync::Arc<str>>) -> Failure {
        self.failure("InvalidRequest", cause)
    }
}

/// The checked part that both have.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) kind: Kind,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) working_directory: Option<String>,
    pub(crate) input: Option<Vec<u8>>,
    pub(crate) files: Vec<Brought>,
    pub(crate) outputs: Vec<FilesOut>,
    pub(crate) output: OutputForm,
    /// Those that are no failure; none: whoever asked judges.
    pub(crate) exit_codes: Option<Vec<i64>>,
    pub(crate) timeout_ms: u64,
    pub(crate) stdout_bytes_max: u64,
}

/// A file that is there before the program begins.
#[derive(Debug, Clone)]
pub(crate) struct Brought {
    pub(crate) path: String,
    pub(crate) from: Source,
}

/// Where its bytes come from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    Object { bucket: String, key: String },
    Content(Vec<u8>),
}

/// What a call cannot raise.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ceilings {
    pub(crate) timeout_ms: u64,
    pub(crate) stdout_bytes: u64,
}

impl Program {
    /// Checks it all. Paths may be relative where `relative` says so.
    pub(crate) fn check(
        kind: Kind,
        given: ProgramCall,
        ceilings: Ceilings,
        relative: bool,
    ) -> Result<Program, Failure> {
        if given.files.len() > FILES_MAX || given.outputs.len() > FILES_MAX {
            return Err(kind.invalid(format!("more than {FILES_MAX} files or outputs")));
        }
        let files = given.files.into_iter().map(|file| {
            path(kind, &file.path, relative)?;
            brought(kind, file)
        });
        let files = files.collect::<Result<Vec<_>, Failure>>()?;
        for output in &given.outputs {
            path(kind, &output.path, relative)?;
        }
        if let Some(directory) = &given.working_directory
            && directory != "/"
        {
            path(kind, directory, false)?;
        }
        let timeout_ms = given
            .timeout_ms
            .unwrap_or(TIMEOUT_MS.min(ceilings.timeout_ms));
        if !(1..=ceilings.timeout_ms).contains(&timeout_ms) {
            return Err(kind.invalid(format!(
                "timeout_ms must be 1 to {}, the most that this server grants",
                ceilings.timeout_ms
            )));
        }
        let most = ceilings.stdout_bytes;
        let stdout_bytes_max = given.stdout_bytes_max.unwrap_or(STDOUT_BYTES.min(most));
        if !(1..=most).contains(&stdout_bytes_max) {
            return Err(kind.invalid(format!(
                "stdout_bytes_max must be 1 to {most}, the most that this server grants"
            )));
        }
        Ok(Program {
            kind,
            environment: variables(kind, given.environment)?,
            working_directory: given.working_directory,
            input: given.input.map(bytes),
            files,
            outputs: given.outputs,
            output: given.output,
            exit_codes: Some(given.exit_codes.unwrap_or_else(|| vec![0])),
            timeout_ms,
            stdout_bytes_max,
        })
    }

    /// Whether a manifest grants the objects that it gets and leaves.
    /// # Errors
    /// `Stepwell.NotGranted`.
    pub(crate) fn granted(&self, grants: &Grants) -> Result<(), Failure> {
        for file in &self.files {
            if let Source::Object { bucket, .. } = &file.from {
                grants.allow_bucket(bucket, false)?;
            }
        }
        let mut outputs = self.outputs.iter();
        outputs.try_for_each(|output| grants.allow_bucket(&output.bucket, true))
    }

    /// The answer to a program's end, as the flow sees it.
    pub(crate) fn judge(&self, ended: &Ended) -> Result<Data, Failure> {
        let mut answer = Map::new();
        answer.insert("exit_code".to_owned(), json!(ended.exit_code));
        let fine = match &self.exit_codes {
            Some(codes) => codes.contains(&ended.exit_code),
            None => !ended.out_of_memory,
        };
        if fine && self.output == OutputForm::Json {
            let value = std::str::from_utf8(&ended.stdout)
                .map_err(|e| e.to_string())
                .and_then(|text| Data::parse(text).map_err(|e| e.to_string()))
                .map_err(|e| {
                    let start = beginning(&ended.stdout, FAILED_STDOUT_BYTES);
                    let cause = format!("standard output is not one JSON value: {e}: {start}");
                    self.kind.failure("BadOutput", cause)
                })?;
            answer.insert("stdout".to_owned(), value.value().clone());
        } else if fine {
            put_text(&mut answer, "stdout", &ended.stdout);
        } else {
            let start = beginning(&ended.stdout, FAILED_STDOUT_BYTES);
            answer.insert("stdout".to_owned(), Value::String(start));
        }
        let stderr = String::from_utf8_lossy(&ended.stderr);
        answer.insert("stderr".to_owned(), Value::String(stderr.into_owned()));
        let data = Data::from_value(Value::Object(answer));
        if fine {
            return Ok(data);
        }
        let what = if ended.out_of_memory {
            "OutOfMemory"
        } else {
            "ExitCode"
        };
        Err(self.kind.failure(what, data.text()))
    }

    pub(crate) fn timed_out(&self) -> Failure {
        let ms = self.timeout_ms;
        Failure::new(
            "States.Timeout",
            format!("the program ran longer than {ms} ms and was killed"),
        )
    }

    /// It wrote more than is taken: on standard output, or on standard error alone.
    pub(crate) fn too_much_output(&self, stdout_bytes: u64) -> Failure {
        let max = self.stdout_bytes_max;
        let cause = if stdout_bytes > max {
            format!(
                "standard output is over {max} bytes; raise stdout_bytes_max, or leave a file in an output directory"
            )
        } else {
            format!(
                "standard error is over {STDERR_BYTES_MAX} bytes; write less there, or into a file in an output directory"
            )
        };
        self.kind.failure("OutputTooLarge", cause)
    }
}

/// How a program ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ended {
    pub(crate) exit_code: i64,
    pub(crate) out_of_memory: bool,
    pub(crate) stdout: Vec<u8>,
    /// Its end.
    pub(crate) stderr: Vec<u8>,
}

/// A string raw, anything else as JSON.
pub(crate) fn bytes(value: Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.into_bytes(),
        other => other.to_string().into_bytes(),
    }
}

/// Text as it is; other bytes as base 64, said beside it.
fn put_text(answer: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    let value = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => {
            answer.insert(format!("{name}_encoding"), json!("base64"));
            STANDARD.encode(bytes)
        }
    };
    answer.insert(name.to_owned(), Value::String(value));
}

fn beginning(bytes: &[u8], max: usize) -> String {
    let kept = bytes.get(..max).unwrap_or(bytes);
    String::from_utf8_lossy(kept).into_owned()
}

/// Checks arguments: no NUL, not too many, not too long.
pub(crate) fn arguments(kind: Kind, words: &[String]) -> Result<(), Failure> {
    let total: usize = words.iter().map(|word| word.len() + 1).sum();
    if words.len() > ARGUMENTS_MAX || total > WORDS_BYTES_MAX {
        return Err(kind.invalid(format!(
            "more than {ARGUMENTS_MAX} arguments or {WORDS_BYTES_MAX} bytes of them"
        )));
    }
    if words.iter().any(|word| word.contains('\0')) {
        return Err(kind.invalid("an argument has a NUL, which no program can be given"));
    }
    Ok(())
}

fn variables(kind: Kind, given: Map<String, Value>) -> Result<Vec<(String, String)>, Failure> {
    if given.len() > VARIABLES_MAX {
        return Err(kind.invalid(format!("more than {VARIABLES_MAX} variables")));
    }
    let mut total = 0;
    let mut out = Vec::with_capacity(given.len());
    for (name, value) in given {
        let mut chars = name.chars();
        let first = chars.next().unwrap_or('\0');
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !(first.is_ascii_alphabetic() || first == '_') || !chars.all(word) {
            return Err(kind.invalid(format!(
                "{:?} is no variable's name: letters, digits and _ only",
                shown(&name)
            )));
        }
        // The value isn't repeated in messages: it may be a secret.
        let value = match value {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            Value::Bool(truth) => truth.to_string(),
            _ => {
                return Err(kind.invalid(format!(
                    "variable {} must be a string, a number or a truth value",
                    shown(&name)
                )));
            }
        };
        if value.contains('\0') {
            return Err(kind.invalid(format!("variable {} has a NUL", shown(&name))));
        }
        total += name.len() + value.len() + 2;
        if total > WORDS_BYTES_MAX {
            return Err(kind.invalid(format!("variables over {WORDS_BYTES_MAX} bytes")));
        }
        out.push((name, value));
    }
    Ok(out)
}

fn brought(kind: Kind, file: FileIn) -> Result<Brought, Failure> {
    let from = match (file.bucket, file.key, file.content) {
        (Some(bucket), Some(key), None) => Source::Object { bucket, key },
        (None, None, Some(content)) => Source::Content(bytes(content)),
        _ => {
            return Err(kind.invalid(format!(
                "file {:?} needs a bucket and a key, or content",
                shown(&file.path)
            )));
        }
    };
    Ok(Brought {
        path: file.path,
        from,
    })
}

/// Checks a path: whole parts only, none that leads elsewhere, and nothing of the system's own.
pub(crate) fn path(kind: Kind, text: &str, relative: bool) -> Result<(), Failure> {
    let wrong = |why: &str| {
        let shown = shown(text);
        kind.failure("PathRefused", format!("{shown:?} {why}"))
    };
    if text.len() > PATH_BYTES_MAX {
        return Err(wrong("is too long for a path"));
    }
    if text.chars().any(char::is_control) {
        return Err(wrong("has control characters"));
    }
    let rest = match text.strip_prefix('/') {
        Some(rest) => rest,
        None if relative => text,
        None => return Err(wrong("is no absolute path")),
    };
    let odd = |part: &str| part.is_empty() || part == "." || part == "..";
    if rest.split('/').any(odd) {
        return Err(wrong(
            "must be a plain path below the root: no `.`, `..`, empty part or final slash",
        ));
    }
    let top = rest.split('/').next().unwrap_or_default();
    if text.starts_with('/') && ["proc", "sys", "dev"].contains(&top) {
        return Err(wrong("is the system's own"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CEILINGS: Ceilings = Ceilings {
        timeout_ms: 1_000_000,
        stdout_bytes: 1 << 20,
    };

    #[test]
    fn paths() {
        let check = |text: &str, relative: bool, fine: bool| {
            let got = path(Kind::Container, text, relative);
            assert_eq!(got.is_ok(), fine, "{text:?}: {got:?}");
        };
        check("/in/a.csv", false, true);
        check("/in/..a", false, true);
        check("in/a.csv", true, true);
        check("in/a.csv", false, false);
        for bad in [
            "",
            "/",
            "//",
            "/a//b",
            "/a/",
            "/../etc",
            "/a/../../b",
            "/a/.",
            "/a\nb",
            "/a\0",
            "/proc/1/mem",
            "/sys/x",
            "/dev/sda",
            "../a",
        ] {
            check(bad, false, false);
            check(bad, true, false);
        }
        check(&format!("/{}", "a".repeat(2_000)), false, false);
    }

    #[test]
    fn variables_with_odd_names_or_values_are_refused() {
        let check = |name: &str, value: Value, fine: bool| {
            let mut given = ProgramCall::default();
            given.environment.insert(name.to_owned(), value);
            let got = Program::check(Kind::Container, given, CEILINGS, false);
            assert_eq!(got.is_ok(), fine, "{name:?}");
        };
        check("A_1", json!("x y\n$(z)`"), true);
        check("_", json!(1.5), true);
        check("A", json!(true), true);
        for bad in ["", "1A", "A=B", "A B", "A\n", "Ä", "A;B", "$A", "A-B"] {
            check(bad, json!("x"), false);
        }
        check("A", json!({}), false);
        check("A", json!(null), false);
        check("A", json!("a\0b"), false);
        check("A", json!("x".repeat(100 << 10)), false);
    }

    #[test]
    fn an_end_is_judged() {
        let check = |change: fn(&mut ProgramCall), ended: Ended, expected: Result<Value, &str>| {
            let mut given = ProgramCall::default();
            change(&mut given);
            let program = Program::check(Kind::Machine, given, CEILINGS, false).expect("fine");
            match (program.judge(&ended), expected) {
                (Ok(data), Ok(value)) => assert_eq!(data.value(), &value),
                (Err(failure), Err(name)) => assert_eq!(&*failure.error, name),
                (got, _) => panic!("{got:?}"),
            }
        };
        let ended = |code: i64, stdout: &[u8]| Ended {
            exit_code: code,
            stdout: stdout.to_vec(),
            stderr: b"why".to_vec(),
            ..Ended::default()
        };
        check(
            |_| {},
            ended(0, b"hi\n"),
            Ok(json!({"exit_code": 0, "stdout": "hi\n", "stderr": "why"})),
        );
        check(
            |_| {},
            ended(0, b"\xff"),
            Ok(
                json!({"exit_code": 0, "stdout_encoding": "base64", "stdout": "/w==", "stderr": "why"}),
            ),
        );
        check(
            |g| g.output = OutputForm::Json,
            ended(0, b" {\"a\": 1}\n"),
            Ok(json!({"exit_code": 0, "stdout": {"a": 1}, "stderr": "why"})),
        );
        check(
            |g| g.output = OutputForm::Json,
            ended(0, b"{} {}"),
            Err("Stepwell.MachineBadOutput"),
        );
        check(|_| {}, ended(3, b""), Err("Stepwell.MachineExitCode"));
        check(
            |g| g.exit_codes = Some(vec![0, 3]),
            ended(3, b""),
            Ok(json!({"exit_code": 3, "stdout": "", "stderr": "why"})),
        );
        let killed = Ended {
            out_of_memory: true,
            ..ended(137, b"")
        };
        check(|_| {}, killed, Err("Stepwell.MachineOutOfMemory"));
    }

    #[test]
    fn too_much_output_names_the_stream() {
        let given = ProgramCall::default();
        let program = Program::check(Kind::Machine, given, CEILINGS, false).expect("fine");
        let stdout = program.too_much_output(program.stdout_bytes_max + 1);
        assert!(
            stdout
                .cause
                .starts_with("standard output is over 1048576 bytes")
        );
        let stderr = program.too_much_output(0);
        assert!(
            stderr
                .cause
                .starts_with("standard error is over 16777216 bytes")
        );
    }
}
