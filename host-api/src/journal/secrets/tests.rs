//! What an attempt reads, before and after a crash, and what may leave it.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use stepwell_types::{
    BridgeAnswer, BridgeCall, EntryId, ExecutionId, LogLevel, Recorded, RecordedCall, ShardId,
    StepRequest, StepTarget, Timestamp,
};

use super::*;
use crate::gate::{Boxed, Gate, Verdict};

/// Values by name and version; the last one is the newest.
struct Shelf(Vec<(&'static str, u32, &'static str)>);

impl Secrets for Shelf {
    fn open(&self, name: &str, version: Option<u32>) -> Result<Option<Opened>, Failure> {
        if name == "broken" {
            return Err(Failure::new("Stepwell.SecretUnreadable", "HOST0007"));
        }
        let fits = |(n, v, _): &&(&str, u32, &str)| *n == name && version.is_none_or(|w| w == *v);
        let found = self.0.iter().rev().find(fits);
        Ok(found.map(|(_, version, value)| Opened {
            version: *version,
            value: Secret::new(value.as_bytes().to_vec()),
            digest_key: Some(Secret::new(vec![*version as u8; 32])),
        }))
    }
}

/// A gate that keeps what it would record.
#[derive(Default)]
struct Kept(Mutex<Vec<BridgeCall>>);

impl Gate for Kept {
    fn admit(&self, call: BridgeCall) -> Boxed<'static, Verdict> {
        self.0.lock().push(call);
        Box::pin(std::future::ready(Verdict::Go))
    }

    fn answered(&self, _: BridgeAnswer) {}
}

fn request(recorded: Option<Recorded>) -> StepRequest {
    StepRequest {
        execution: ExecutionId::new(Timestamp(1), ShardId(0), 7),
        execution_name: "e".into(),
        flow: "f".into(),
        state: "S".into(),
        entry: EntryId(1),
        attempt: 0,
        target: StepTarget::Http,
        input: Data::from_valid_text("{}"),
        deadline: None,
        token: None,
        seed: 1,
        grants: None,
        recorded: recorded.map(Arc::new),
    }
}

fn journal(recorded: Option<Recorded>) -> (Arc<Journal>, Arc<Kept>) {
    let gate = Arc::new(Kept::default());
    let journal = Journal::new(gate.clone(), &request(recorded), Timestamp(5));
    (journal, gate)
}

fn call(journal: &Arc<Journal>, digest: u8) -> Result<bool, Failure> {
    let call = journal.call();
    let what = String::new;
    let mut asked = std::pin::pin!(call.admit(Digest([digest; 32]), &what));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match asked.as_mut().poll(&mut cx) {
        std::task::Poll::Ready(leave) => leave,
        std::task::Poll::Pending => panic!("this gate answers at once"),
    }
}

/// What a crash leaves of an attempt.
fn crash(gate: &Kept) -> Recorded {
    let calls = gate.0.lock().clone();
    let call = |c: &BridgeCall| {
        let known = RecordedCall {
            request: c.request,
            parts: vec![vec![1]],
        };
        (c.call, known)
    };
    Recorded {
        notes: calls.iter().filter_map(|c| c.notes.clone()).collect(),
        calls: calls.iter().map(call).collect::<BTreeMap<_, _>>(),
        again: None,
    }
}

fn read(journal: &Journal, shelf: &Shelf, name: &str) -> Result<Option<String>, String> {
    match journal.secret(shelf, name) {
        Ok(value) => Ok(value.map(|v| String::from_utf8_lossy(v.bytes()).into_owned())),
        Err(failure) => Err(failure.error.to_string()),
    }
}

#[test]
fn an_attempt_keeps_its_versions_over_a_crash_and_its_digests_are_keyed() {
    let old = Shelf(vec![("a", 1, "first value")]);
    let new = Shelf(vec![
        ("a", 1, "first value"),
        ("a", 2, "second value"),
        ("b", 1, "late"),
    ]);
    let gone = Shelf(vec![("a", 2, "second value")]);

    let (journal, gate) = self::journal(None);
    call(&journal, 1).expect("admitted");
    assert_eq!(read(&journal, &old, "a"), Ok(Some("first value".into())));
    assert_eq!(read(&journal, &old, "b"), Ok(None));
    // A new version in the middle of an attempt is for the next one.
    assert_eq!(read(&journal, &new, "a"), Ok(Some("first value".into())));
    call(&journal, 2).expect("admitted");
    let calls = gate.0.lock().clone();
    assert_eq!(calls[0].request, Digest([1; 32]), "nothing was read yet");
    assert_ne!(
        calls[1].request,
        Digest([2; 32]),
        "it could hold the secret"
    );
    for note in calls.iter().filter_map(|c| c.notes.as_ref()) {
        assert!(!note.windows(5).any(|w| w == b"first"));
    }
    let recorded = crash(&gate);

    let again = |shelf: &Shelf| {
        let (journal, _) = self::journal(Some(recorded.clone()));
        call(&journal, 1)?;
        let value = journal.secret(shelf, "a")?;
        assert_eq!(value.expect("a value").bytes(), b"first value");
        assert!(
            journal.secret(shelf, "b")?.is_none(),
            "it was not there before"
        );
        call(&journal, 2)?;
        call(&journal, 3)
    };
    assert_eq!(
        again(&new),
        Ok(false),
        "recorded calls are answered, the third is new"
    );
    assert_eq!(
        again(&gone).map_err(|f| f.error.to_string()),
        Err("Stepwell.SecretGone".into())
    );

    // Another request under the same number is seen, keyed or not.
    let (journal, _) = self::journal(Some(recorded));
    call(&journal, 1).expect("admitted");
    read(&journal, &new, "a").expect("read");
    let other = call(&journal, 9).map_err(|f| f.error.to_string());
    assert_eq!(other, Err("Stepwell.ReplayDiverged".into()));
}

#[test]
fn what_cannot_be_read_ends_the_attempt() {
    let (journal, _) = self::journal(None);
    let broken = read(&journal, &Shelf(vec![]), "broken");
    assert_eq!(broken, Err("Stepwell.SecretUnreadable".into()));
    assert_eq!(journal.broken().map(|f| f.error.to_string()), broken.err());

    let (journal, _) = self::journal(None);
    for n in 0..SECRETS_READ_MAX {
        assert_eq!(read(&journal, &Shelf(vec![]), &n.to_string()), Ok(None));
    }
    let more = read(&journal, &Shelf(vec![]), "one more");
    assert_eq!(more, Err("Stepwell.TooManySecrets".into()));
}

#[test]
fn nothing_that_leaves_holds_a_value() {
    const PEM: &str = "-----BEGIN-----\nline \"one\"\nline two\n-----END-----\n";
    let shelf = Shelf(vec![
        ("word", 1, "correct horse"),
        ("pem", 1, PEM),
        ("tiny", 1, "1"),
        ("slash", 1, "path/with/slash"),
    ]);
    let (journal, _) = self::journal(None);
    for name in ["word", "pem", "tiny", "slash"] {
        read(&journal, &shelf, name).expect("read");
    }
    let check = |output: &str, expected: Result<(), &str>| {
        let data = Data::from_valid_text(output);
        let kept = journal.keep_secrets(Ok(data), &mut []).map(drop);
        let failed = kept.as_ref().err().map(|f| f.error.to_string());
        match expected {
            Ok(()) => assert_eq!(failed, None, "{output}"),
            Err(name) => {
                assert_eq!(
                    failed.as_deref(),
                    Some("Stepwell.SecretInOutput"),
                    "{output}"
                );
                let cause = kept.expect_err("a failure").cause;
                assert!(cause.contains(name) && !cause.contains("horse"), "{cause}");
            }
        }
    };
    check(r#"{"n": 1, "text": "horse"}"#, Ok(()));
    check(r#"["Bearer correct horse"]"#, Err("word"));
    check(r#""Y29ycmVjdCBob3JzZQ==""#, Err("word"));
    check(r#""line \"one\"""#, Err("pem"));
    check(&serde_json::Value::from(PEM).to_string(), Err("pem"));
    check(r#"{"a": "c\u006frrect\u0020horse"}"#, Err("word"));
    check(r#""{\"a\": \"c\\u006frrect horse\"}""#, Err("word"));
    check(r#""path\/with\/slash""#, Err("slash"));
    check(r#"{"\ud83d\ude00": "\u00", "x": "\\"}"#, Ok(()));

    let line = |message: &str| LogLine {
        level: LogLevel::Info,
        message: message.into(),
    };
    let mut logs = [line("key: correct horse."), line(PEM), line("1 is fine")];
    let failure = Failure::new("Refused.correct horse", "with correct horse and line two");
    let kept = journal.keep_secrets(Err(failure), &mut logs);
    let failure = kept.expect_err("a failure");
    assert_eq!(&*failure.error, "Refused.[secret word]");
    assert_eq!(&*failure.cause, "with [secret word] and [secret pem]");
    assert_eq!(logs[0].message, "key: [secret word].");
    assert!(!logs[1].message.contains("line"), "{}", logs[1].message);
    assert_eq!(logs[2].message, "1 is fine");
    // What was cut in the middle of a value, or is spelt otherwise.
    assert_eq!(
        journal.hide("it is correct ho".into()),
        "it is [secret word]"
    );
    assert_eq!(journal.hide("it is corre".into()), "it is corre");
    assert_eq!(
        journal.hide(r"so \u0063orrect horse".into()),
        "[a text with secret word]"
    );
}

#[test]
fn no_name_holds_a_value() {
    let shelf = Shelf(vec![
        ("word", 1, "correct-horse"),
        ("late", 1, "battery-staple"),
    ]);
    let (journal, _) = self::journal(None);
    let keeps = |text: &str| {
        let kept = journal.keeps_back("the name", text);
        kept.map_err(|failure| failure.error.to_string())
    };
    assert_eq!(keeps("correct-horse"), Ok(()));
    read(&journal, &shelf, "word").expect("read");
    assert_eq!(keeps("order-17"), Ok(()));
    assert_eq!(keeps("battery-staple"), Ok(()));
    let slips = || Err("Stepwell.SecretInOutput".to_owned());
    assert_eq!(keeps("correct-horse-17"), slips());
    read(&journal, &shelf, "late").expect("read");
    assert_eq!(keeps("correct-horse-17"), slips());
    assert_eq!(keeps("a/battery-staple"), slips());
}

#[test]
fn what_was_refused_before_a_crash_is_refused_again() {
    let (journal, gate) = self::journal(None);
    assert_eq!(journal.operation(), (0, None));
    let (number, _) = journal.operation();
    let failure = Failure::new("Stepwell.ObjectFailed", "a disk that was away");
    journal.refused(number, &failure);
    call(&journal, 1).expect("admitted");
    let (journal, _) = self::journal(Some(crash(&gate)));
    assert_eq!(journal.operation(), (0, None));
    assert_eq!(journal.operation(), (1, Some(failure)));
    assert_eq!(journal.operation(), (2, None));
}

#[test]
fn notes_of_the_version_before_are_read() {
    // As version 1 wrote them: the clock's beginning and a wait.
    let recorded = Recorded {
        notes: vec![vec![1, 2, 0, 10, 1, 7, 1, 0]],
        ..Recorded::default()
    };
    let (journal, _) = self::journal(Some(recorded));
    assert!(journal.broken().is_none());
    assert_eq!(journal.began(), Timestamp(5));
}
