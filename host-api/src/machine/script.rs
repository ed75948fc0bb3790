//! What runs on the far side: one line of POSIX shell that keeps jobs in directories, and
//! what is put into such a directory.
//!
//! Refuses to mix a flow's words into a command line: an SSH command holds nothing but this
//! text, a verb, our own keys and numbers. What a flow says travels in files.

use std::fmt::Write as _;

use crate::job::program::Program;

/// The far side's half. It has no single quote, backslash or exclamation mark, so that any
/// login shell hands it to `sh` as it is.
///
/// `take`: unpacks a job's files; `root`: unpacks files with absolute paths; `start`: begins
/// it, once; `stage` and, waiting a moment for news, `look`: tells stage, exit code, sizes, when it was
/// taken, and more of standard error; `out`: the beginning of standard output; `fetch`: an
/// output directory as an archive; `clear`: ends it and removes all of it; `list`: the jobs, those too
/// of which not everything has come.
const SCRIPT: &str = concat!(
    "h=$HOME/.stepwell/$2; d=$h/$3; nap() { sleep 0.1 2>/dev/null || sleep 1; }; ",
    "size() { stat -c %s \"$1\" 2>/dev/null || echo 0; }; ",
    "same() { [ -e boot ] && [ \"$(cat boot)\" = \"$(cat /proc/sys/kernel/random/boot_id)\" ]; }; ",
    "case $1 in ",
    "take) umask 077; [ -e \"$d/begun\" ] || rm -rf \"$d\"; ",
    "mkdir -p \"$d/work\" && cd \"$d\" && tar -xf - && : > whole ;; ",
    "root) exec tar -xf - -C / ;; ",
    "start) cd \"$d\" || exit 3; command -v setsid >/dev/null || exit 4; ",
    "if mkdir begun 2>/dev/null; then setsid sh ./supervise >/dev/null 2>&1 </dev/null & fi ;; ",
    "stage|look) s=gone; c=0; n=0; cd \"$d\" 2>/dev/null || { echo gone 0 0 0 0; exit 0; }; ",
    "while :; do ",
    "if [ -e code ]; then s=ended; c=$(cat code); break; fi; ",
    "if [ -e begun ]; then s=running; elif [ -e whole ]; then s=taken; break; else s=part; break; fi; ",
    "if [ -e boot ]; then ",
    "if same && kill -0 \"$(cat supervisor)\" 2>/dev/null; then :; else nap; [ -e code ] || { s=lost; break; }; continue; fi; ",
    "elif [ \"$n\" -ge 50 ]; then s=lost; break; fi; ",
    "[ \"$1\" = stage ] && break; ",
    "[ $(size stderr) -gt \"$4\" ] && break; ",
    "n=$((n+1)); [ \"$n\" -ge 100 ] && break; nap; ",
    "done; ",
    "echo $s $c $(size stdout) $(size stderr) $(cat began 2>/dev/null || echo 0); ",
    "tail -c +$(($4+1)) stderr 2>/dev/null | head -c 65536 ;; ",
    "out) cd \"$d\" && head -c \"$4\" stdout ;; ",
    "fetch) cd \"$d/work\" && p=$(cat \"../out$4\") && tar -cf - -C \"$p\" . ;; ",
    "clear) cd \"$d\" 2>/dev/null || exit 0; n=0; ",
    "if [ -e begun ]; then until [ -e pid ] || [ -e code ] || [ \"$n\" -ge 20 ]; do n=$((n+1)); nap; done; ",
    "if same && [ -e pid ]; then if [ -e code ]; then :; else ",
    "kill -s KILL -- \"-$(cat pid)\" 2>/dev/null; kill -s KILL \"$(cat supervisor)\" 2>/dev/null; nap; fi; fi; fi; ",
    "cd \"$h\" && { chmod -R u+w \"$3\" 2>/dev/null; rm -rf \"$3\" || { nap; rm -rf \"$3\"; }; } ;; ",
    "list) cd \"$h\" 2>/dev/null || exit 0; for k in *; do [ -d \"$k\" ] && echo \"$k $(cat \"$k/request\" 2>/dev/null)\"; done; : ;; ",
    "*) exit 2 ;; esac",
);

/// Runs the program, and keeps what it wrote and how it ended; one that writes too much is
/// killed at once, before it fills the disk. In a session of its own, so that the end of a
/// connection does not touch it, and so that all of it can be killed.
pub(super) fn supervise(stdout_bytes_max: u64, stderr_bytes_max: u64) -> String {
    format!(
        "\
echo $$ > supervisor
cat /proc/sys/kernel/random/boot_id > boot.new && mv boot.new boot
setsid sh ./run < input > stdout 2> stderr &
p=$!
echo $p > pid.new && mv pid.new pid
(
  while kill -0 $$ 2>/dev/null; do
    if [ \"$(stat -c %s stdout)\" -gt {stdout_bytes_max} ] || [ \"$(stat -c %s stderr)\" -gt {stderr_bytes_max} ]; then
      kill -s KILL -- -$p
      exit
    fi
    sleep 0.1 || sleep 1
  done
) &
wait $p
echo $? > code.new && mv code.new code
kill $!
"
    )
}

/// One command for the far side. Only our own words go in.
pub(super) fn command(verb: &str, instance: &str, key: &str, number: u64) -> String {
    debug_assert!(is_word(verb) && is_word(instance) && (key.is_empty() || is_word(key)));
    let key = if key.is_empty() { "-" } else { key };
    format!("sh -c '{SCRIPT}' stepwell {verb} {instance} {key} {number}")
}

/// Whether a text means itself to every shell.
pub(super) fn is_word(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '-';
    !text.is_empty() && text.chars().all(word)
}

/// The shell file that becomes the program.
pub(super) fn run(program: &Program, command: &[String], directory: Option<&str>) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    for output in &program.outputs {
        let _ = writeln!(
            text,
            "mkdir -p -- {} || exit 126",
            quoted(&below_job(&output.path))
        );
    }
    let _ = writeln!(
        text,
        "cd -- {} || exit 126",
        quoted(directory.unwrap_or("work"))
    );
    text.push_str("exec");
    if !program.environment.is_empty() {
        // Not by `export`: a shell keeps some names to itself.
        text.push_str(" env");
        for (name, value) in &program.environment {
            let _ = write!(text, " {name}={}", quoted(value));
        }
        // It would take such a program for one more variable.
        if command.first().is_some_and(|word| word.contains('=')) {
            text.push_str(" sh -c 'exec \"$0\" \"$@\"'");
        }
    }
    for word in command {
        let _ = write!(text, " {}", quoted(word));
    }
    text.push('\n');
    text
}

/// A relative path is below the job's own directory, wherever the program begins.
pub(super) fn below_job(path: &str) -> String {
    match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("work/{path}"),
    }
}

/// Any text as one word of POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_far_side_s_half_needs_no_quoting() {
        for odd in ['\'', '\\', '!', '\n'] {
            assert!(!SCRIPT.contains(odd), "{odd:?}");
        }
    }

    #[test]
    fn a_program_is_given_its_variables_and_no_more() {
        use serde_json::json;
        use stepwell_types::ProgramCall;

        use crate::job::program::{Ceilings, Kind};
        let check = |variables: serde_json::Value, command: &[&str], expected: &str| {
            let given = ProgramCall {
                environment: variables.as_object().expect("an object").clone(),
                ..ProgramCall::default()
            };
            let ceilings = Ceilings {
                timeout_ms: 1_000_000,
                stdout_bytes: 1 << 20,
            };
            let program = Program::check(Kind::Machine, given, ceilings, true).expect("fine");
            let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
            let text = run(&program, &command, None);
            assert_eq!(text, format!("cd -- 'work' || exit 126\n{expected}\n"));
        };
        check(json!({}), &["a=b", "c"], "exec 'a=b' 'c'");
        check(
            json!({"UID": 7, "A": "it's"}),
            &["id"],
            "exec env UID='7' A='it'\\''s' 'id'",
        );
        check(
            json!({"A": 1}),
            &["a=b"],
            "exec env A='1' sh -c 'exec \"$0\" \"$@\"' 'a=b'",
        );
    }

    #[test]
    fn words_are_quoted() {
        let check = |text: &str, expected: &str| assert_eq!(quoted(text), expected);
        check("a b", "'a b'");
        check("", "''");
        check("it's", "'it'\\''s'");
        check("$(x) `y` \"z\" \\\n;&|", "'$(x) `y` \"z\" \\\n;&|'");
    }
}
