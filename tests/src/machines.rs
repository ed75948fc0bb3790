//! What a program on a machine does and what becomes of it: the cases of `vm:run`, each with a machine and a
//! server of its own.
//!
//! Refuses to know where the machine is: an sshd on loopback and an emulated machine are the same to a case.
#![allow(
    clippy::disallowed_methods,
    reason = "tests read the clock and the environment; the rule is for the runtime"
)]

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::api::Api;
use crate::bridges::ask::{example, failed, object, started};
use crate::bridges::machine::Machine;
use crate::server::Server;
use crate::wait::until;

/// A flow whose input is a run on a machine.
pub const MACHINE: &str =
    "StartAt: R\nStates:\n  R: {Type: Task, Resource: \"vm:run\", End: true}\n";

/// Every case, as tests on one kind of machine.
#[macro_export]
macro_rules! machine_cases {
    ($machine:ty) => {
        $crate::machine_cases! { $machine:
            the_machine_example_does_its_work_fails_and_runs_out_of_time
            a_run_on_a_machine_gets_what_its_flow_gives_it_and_tells_how_it_ended
            a_killed_server_finds_its_run_on_a_machine_again
            a_broken_network_does_not_end_a_run_on_a_machine
            a_run_on_a_machine_that_nobody_wants_is_ended
            what_was_being_brought_to_a_machine_when_the_server_died_is_removed
            a_run_on_a_machine_that_fails_says_how_and_no_shell_reads_its_words
        }
    };
    ($machine:ty: $($case:ident)*) => {$(
        #[test]
        fn $case() -> anyhow::Result<()> {
            $crate::machines::$case::<$machine>()
        }
    )*};
}

/// A machine, and a server that knows it as `worker`.
pub struct House<M> {
    /// The machine.
    pub machine: M,
    /// The server.
    pub server: Server,
    /// A way to it.
    pub api: Api,
    dir: tempfile::TempDir,
}

impl<M: Machine> House<M> {
    /// Starts both; `config` is for the server besides its machine.
    ///
    /// # Errors
    /// One of them does not start.
    pub fn new(config: &str) -> Result<House<M>> {
        let dir = tempfile::tempdir()?;
        let machine = M::start(&dir.path().join("machine"))?;
        let own = machine.address().config("worker", "host")?;
        let (server, api) = started(dir.path(), &format!("{own}{config}"))?;
        api.publish("run", MACHINE)?;
        api.publish("machine-job", &example("machine-job")?)?;
        api.put_object("tables/t.csv", "name,n\na,1\nb,41\n")?;
        Ok(House {
            machine,
            server,
            api,
            dir,
        })
    }

    /// A file there that the example's program writes its process id to when it begins.
    #[must_use]
    pub fn ledger(&self) -> String {
        format!("{}/ledger", self.machine.folder())
    }

    /// The process ids there.
    ///
    /// # Errors
    /// The machine does not answer.
    pub fn begun(&self) -> Result<Vec<String>> {
        let line = format!("cat '{}' 2>/dev/null || true", self.ledger());
        let text = self.machine.shell(&line)?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Waits until so many programs have begun.
    ///
    /// # Errors
    /// They do not.
    pub fn until_begun(&self, times: usize) -> Result<()> {
        until("the program's start", || {
            Ok((self.begun()?.len() == times).then_some(()))
        })
    }

    /// Whether one of those that began runs: one that is dead, and that nobody has waited for yet, does not.
    fn one_runs(&self) -> Result<bool> {
        for pid in self.begun()? {
            let line = format!("cat /proc/{pid}/stat 2>/dev/null || true");
            let stat = self.machine.shell(&line)?;
            let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start());
            if state.is_some_and(|state| !state.starts_with('Z')) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Nothing of the server's is left there.
    ///
    /// # Errors
    /// Something is.
    pub fn no_run_left(&self) -> Result<()> {
        let runs = self.runs()?;
        let line = format!("ls {runs} 2>/dev/null | wc -l");
        until("the removal of every run", || {
            Ok((self.machine.shell(&line)?.trim() == "0").then_some(()))
        })?;
        let line = format!("rmdir {runs} 2>/dev/null || true");
        self.machine.shell(&line).map(|_| ())
    }

    /// Where the server keeps its runs there, as a word of shell.
    ///
    /// # Errors
    /// It has no name.
    fn runs(&self) -> Result<String> {
        let instance = std::fs::read_to_string(self.server.data().join("instance"))?;
        Ok(format!("\"$HOME/.stepwell/{}\"", instance.trim()))
    }

    /// The example's input, for a program that rests until it is let go.
    fn resting(&self) -> Value {
        json!({"table": "t.csv", "slowly": 6_000, "timeout_ms": 600_000, "ledger": self.ledger()})
    }

    /// Ends the rest of the programs that began: they go on behind it.
    ///
    /// # Errors
    /// None of them rests.
    fn let_go(&self) -> Result<()> {
        until("the end of the program's rest", || {
            let mut ended = false;
            for pid in self.begun()? {
                let line = format!(
                    "for d in /proc/[0-9]*; do \
                     grep -q '^Name:[[:space:]]*sleep$' $d/status 2>/dev/null \
                     && grep -q '^PPid:[[:space:]]*{pid}$' $d/status 2>/dev/null \
                     && kill ${{d#/proc/}} && echo ended; done; true"
                );
                ended |= !self.machine.shell(&line)?.is_empty();
            }
            Ok(ended.then_some(()))
        })
    }

    /// Starts the example as a flow of this name with so little time, and waits until its program has begun;
    /// `None`: its time was over before.
    fn begun_within(&self, flow: &str, seconds: u64) -> Result<Option<String>> {
        let before = self.begun()?.len();
        let bound = format!("TimeoutSeconds: {seconds}");
        let short = example("machine-job")?.replace("TimeoutSeconds: 120", &bound);
        self.api.publish(flow, &short)?;
        let id = self.api.start(flow, self.resting().to_string())?;
        until("the program's start", || {
            if self.begun()?.len() > before {
                return Ok(Some(Some(id.clone())));
            }
            let shown = self.api.get(&format!("/v1/executions/{id}"))?.body;
            Ok((shown["status"] != "RUNNING").then_some(None))
        })
    }
}

/// # Errors
/// The case does not hold.
pub fn the_machine_example_does_its_work_fails_and_runs_out_of_time<M: Machine>() -> Result<()> {
    let house = House::<M>::new("")?;
    let api = &house.api;
    api.put_object("tables/empty.csv", "")?;
    let run = api.run("machine-job", r#"{"table": "t.csv"}"#)?;
    assert_eq!(run["output"], json!({"rows": 2, "sum": 42}), "{run}");
    assert_eq!(
        object(api, "tables/t.csv.sum.json")?,
        json!({"rows": 2, "sum": 42})
    );
    let run = api.run("machine-job", r#"{"table": "empty.csv"}"#)?;
    failed(&run, "NoTable");
    let mut input = house.resting();
    // A busy machine may take longer until it begins one.
    for ms in [1_500, 6_000, 24_000] {
        input["timeout_ms"] = json!(ms * M::SLOWER);
        let run = api.run("machine-job", &input.to_string())?;
        failed(&run, "States.Timeout");
        house.no_run_left()?;
        if !house.begun()?.is_empty() {
            break;
        }
    }
    assert_eq!(house.begun()?.len(), 1);
    assert!(!house.one_runs()?);
    Ok(())
}

/// # Errors
/// The case does not hold.
pub fn a_run_on_a_machine_gets_what_its_flow_gives_it_and_tells_how_it_ended<M: Machine>()
-> Result<()> {
    let house = House::<M>::new("")?;
    let (api, folder) = (&house.api, house.machine.folder());
    // More than one packet, and bytes that a terminal would not let through.
    let long: String = (0..50_000).map(|n| format!("{n}\0é\r\n")).collect();
    api.put_object("texts/long", long.clone())?;
    let script = "cat; printf '|%s|%s' \"$A\" \"$PWD\"; cat long > made/copy; echo why >&2; exit 3";
    let input = json!({
        "machine": "worker",
        "command": ["sh", "-c", script],
        "input": "in",
        "environment": {"A": "$(id)"},
        "working_directory": folder,
        "files": [{"path": format!("{folder}/long"), "bucket": "texts", "key": "long"}],
        "outputs": [{"path": format!("{folder}/made"), "bucket": "texts", "prefix": "made/"}],
        "exit_codes": [0, 3],
    });
    let run = api.run("run", &input.to_string())?;
    let stdout = format!("in|$(id)|{folder}");
    assert_eq!(
        run["output"],
        json!({"exit_code": 3, "stdout": stdout, "stderr": "why\n"}),
        "{run}"
    );
    assert!(object(api, "texts/made/copy")? == long, "it came otherwise");
    house.no_run_left()
}

/// # Errors
/// The case does not hold.
pub fn a_killed_server_finds_its_run_on_a_machine_again<M: Machine>() -> Result<()> {
    let mut house = House::<M>::new("")?;
    let id = house
        .api
        .start("machine-job", house.resting().to_string())?;
    house.until_begun(1)?;
    for _ in 0..3 {
        house.server.again()?;
    }
    house.let_go()?;
    let run = house.api.ended(&id)?;
    assert_eq!(run["output"]["sum"], 42, "{run}");
    assert_eq!(house.begun()?.len(), 1, "{run}");
    house.no_run_left()
}

/// # Errors
/// The case does not hold.
pub fn a_broken_network_does_not_end_a_run_on_a_machine<M: Machine>() -> Result<()> {
    let mut house = House::<M>::new("")?;
    let id = house
        .api
        .start("machine-job", house.resting().to_string())?;
    house.until_begun(1)?;
    house.machine.break_off()?;
    house.let_go()?;
    let run = house.api.ended(&id)?;
    assert_eq!(run["output"]["sum"], 42, "{run}");
    assert_eq!(house.begun()?.len(), 1, "{run}");
    house.no_run_left()
}

/// # Errors
/// The case does not hold.
pub fn a_run_on_a_machine_that_nobody_wants_is_ended<M: Machine>() -> Result<()> {
    let mut house = House::<M>::new("")?;
    // Cancelled while the server runs.
    let id = house
        .api
        .start("machine-job", house.resting().to_string())?;
    house.until_begun(1)?;
    let cancel = format!("/v1/executions/{id}/cancel");
    house.api.send("POST", &cancel, "")?;
    assert_eq!(house.api.ended(&id)?["status"], "ABORTED");
    house.no_run_left()?;
    // Out of time while it does not: the next process finds the run, and nobody wants it.
    let mut began = None;
    for seconds in [15, 60].map(|seconds| seconds * M::SLOWER) {
        // Its time has run since before its program began.
        let over = |id| (id, Instant::now() + Duration::from_secs(seconds + 1));
        began = house.begun_within("late", seconds)?.map(over);
        if began.is_some() {
            break;
        }
    }
    let (id, over) = began.context("no program began in its time")?;
    house.server.kill()?;
    std::thread::sleep(over.saturating_duration_since(Instant::now()));
    house.server.start()?;
    failed(&house.api.ended(&id)?, "States.Timeout");
    house.no_run_left()?;
    assert!(!house.one_runs()?, "one runs on");
    Ok(())
}

/// # Errors
/// The case does not hold.
pub fn what_was_being_brought_to_a_machine_when_the_server_died_is_removed<M: Machine>()
-> Result<()> {
    let much = tempfile::tempdir()?;
    // More than gets there before anybody looks; it takes no room here.
    std::fs::File::create(much.path().join("much"))?.set_len(4 << 30)?;
    let buckets = format!("[buckets]\nmuch = {{ path = {:?} }}\n", much.path());
    let mut house = House::<M>::new(&buckets)?;
    let seconds = 20 * M::SLOWER;
    let bound = format!("TimeoutSeconds: {seconds}, End: true");
    let late = MACHINE.replace("End: true", &bound);
    house.api.publish("late", &late)?;
    let input = json!({
        "machine": "worker", "command": ["true"],
        "files": [{"path": "much", "bucket": "much", "key": "much"}],
    });
    let began = Instant::now();
    let id = house.api.start("late", input.to_string())?;
    let runs = house.runs()?;
    until("the first of the file", || {
        let line = format!("find {runs} -name much 2>/dev/null || true");
        Ok((!house.machine.shell(&line)?.is_empty()).then_some(()))
    })?;
    house.server.kill()?;
    let line = format!("find {runs} -name whole 2>/dev/null || true");
    ensure!(
        house.machine.shell(&line)?.is_empty(),
        "all of it was there"
    );
    // Nobody carries it on: its time is over when the next process begins.
    let over = Duration::from_secs(seconds + 1);
    std::thread::sleep(over.saturating_sub(began.elapsed()));
    house.server.start()?;
    failed(&house.api.ended(&id)?, "States.Timeout");
    house.no_run_left()
}

/// # Errors
/// The case does not hold.
pub fn a_run_on_a_machine_that_fails_says_how_and_no_shell_reads_its_words<M: Machine>()
-> Result<()> {
    let mut house = House::<M>::new("")?;
    let address = house.machine.address();
    let known = house.dir.path().join("known_hosts");
    std::fs::write(
        &known,
        "elsewhere ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIN6c5y4SPDkuU5eB7xMHsPqzrjJ1Gc7bDPCtmYBzW0Ya\n",
    )?;
    let own = address.config("worker", "host")?;
    let (keys, _) = own.split_once("host_keys").context("host_keys")?;
    let stranger = format!(
        "{}known_hosts = {known:?}\n",
        keys.replace("worker", "stranger")
    );
    // Its own key, known and taken back.
    let revoked = house.dir.path().join("revoked");
    let (port, key) = (address.port(), address.public("host")?);
    let listed = format!("[127.0.0.1]:{port} {key}\n@revoked * {key}\n");
    std::fs::write(&revoked, listed)?;
    let revoked = format!("{own}known_hosts = {revoked:?}\n").replace("worker", "revoked");
    let other = address.config("other", "other")?;
    let wrong = own
        .replace("worker", "wrong")
        .replace("/user\"", "/other\"");
    // Nobody listens there.
    let away = own
        .replace("worker", "away")
        .replace(&format!("port = {}", address.port()), "port = 1");
    let config = [own, stranger, revoked, other, wrong, away].join("\n");
    house.server.configure(&config)?;
    house.server.again()?;
    let check = |change: Value, error: &str| -> Result<()> {
        let mut input = json!({"machine": "worker", "command": ["true"]});
        for (name, value) in change.as_object().context("an object")? {
            input[name] = value.clone();
        }
        failed(
            &house.api.run("run", &input.to_string())?,
            &format!("Stepwell.{error}"),
        );
        Ok(())
    };
    check(json!({"machine": "stranger"}), "MachineHostUnknown")?;
    check(json!({"machine": "revoked"}), "MachineHostUnknown")?;
    check(json!({"machine": "other"}), "MachineHostKeyMismatch")?;
    check(json!({"machine": "wrong"}), "MachineAuthenticationFailed")?;
    check(
        json!({"command": ["sh", "-c", "exit 7"]}),
        "MachineExitCode",
    )?;
    check(json!({"command": ["nonesuch"]}), "MachineExitCode")?;
    check(json!({"command": ["yes"]}), "MachineOutputTooLarge")?;
    check(
        json!({"command": ["echo", "{"], "output": "json"}),
        "MachineBadOutput",
    )?;
    no_shell_reads_what_a_flow_says(&house)?;
    house.no_run_left()?;
    // An address where nobody answers is asked again for a while: it is tried in a flow of its own time.
    let short = MACHINE.replace("End: true", "TimeoutSeconds: 3, End: true");
    house.api.publish("short", &short)?;
    let input = json!({"machine": "away", "command": ["true"]});
    let run = house.api.run("short", &input.to_string())?;
    failed(&run, "States.Timeout");
    Ok(())
}

fn no_shell_reads_what_a_flow_says<M: Machine>(house: &House<M>) -> Result<()> {
    let trap = format!("{}/trap", house.machine.folder());
    let words: Vec<String> = [
        "$(touch TRAP)",
        "`touch TRAP`",
        "; touch TRAP",
        "'; touch TRAP; '",
        "\"; touch TRAP; \"",
        "\n touch TRAP\n",
        "\\'; touch TRAP; #",
        "| touch TRAP",
        "&& touch TRAP",
        "-n",
        "--",
        "*",
        "~",
        "$HOME",
        "!!",
        "a b",
        "",
        "é\u{202e}",
    ]
    .map(|word| word.replace("TRAP", &trap))
    .into();
    let mut command = vec!["printf".to_owned(), "%s\u{1}".to_owned()];
    command.extend(words.clone());
    let mut input =
        json!({"machine": "worker", "command": command, "environment": {}, "files": []});
    for (n, word) in words.iter().enumerate() {
        input["environment"][format!("V{n}")] = json!(word);
        let plain = word.replace(['\n', '/', '\u{202e}'], "_");
        if !plain.is_empty() {
            input["files"]
                .as_array_mut()
                .context("files")?
                .push(json!({"path": format!("in/{plain}"), "content": n}));
        }
    }
    let run = house.api.run("run", &input.to_string())?;
    let expected: String = words.iter().map(|word| format!("{word}\u{1}")).collect();
    assert_eq!(run["output"]["stdout"], expected, "{run}");
    input["command"] = json!([
        "sh",
        "-c",
        (0..words.len())
            .map(|n| format!("printf '%s\\001' \"$V{n}\";"))
            .collect::<String>()
    ]);
    let run = house.api.run("run", &input.to_string())?;
    assert_eq!(run["output"]["stdout"], expected, "{run}");
    let there = house
        .machine
        .shell(&format!("ls '{trap}' 2>/dev/null || true"))?;
    assert_eq!(there, "");
    Ok(())
}
