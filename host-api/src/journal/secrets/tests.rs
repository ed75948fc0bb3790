//! What an attempt reads, before and after a crash, and what may leave it.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use stepwell_types::{
    BridgeAnswer, BridgeCall, LogLevel, Recorded, RecordedCall, StepRequest, Timestamp,
};

use super::*;
use crate::gate::{Asked, Boxed, Gate, Verdict};
use crate::journal::{Call, Wait, attempt_for_tests};
use crate::secrets::Secrets;

/// Values by name and version; the last one is the newest.
struct Shelf(Mutex<Vec<(&'static str, u32, &'static str)>>);

fn shelf<const N: usize>(values: [(&'static str, u32, &'static str); N]) -> Arc<Shelf> {
    Arc::new(Shelf(Mutex::new(values.to_vec())))
}

impl Secrets for Shelf {
    fn open(&self, name: &str, version: Option<u32>) -> Result<Option<Opened>, Failure> {
        if name == "broken" {
            return Err(Failure::new("Stepwell.SecretUnreadable", "HOST0007"));
        }
        let fits = |(n, v, _): &&(&str, u32, &str)| *n == name && version.is_none_or(|w| w == *v);
        let values = self.0.lock();
        let found = values.iter().rev().find(fits);
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
        recorded: recorded.map(Arc::new),
        ..attempt_for_tests()
    }
}

fn journal(recorded: Option<Recorded>, shelf: &Arc<Shelf>) -> (Arc<Journal>, Arc<Kept>) {
    let gate = Arc::new(Kept::default());
    let request = request(recorded);
    let journal = Journal::new(gate.clone(), shelf.clone(), Arc::new(request), Timestamp(5));
    (journal, gate)
}

fn call(journal: &Arc<Journal>, digest: u8) -> Result<bool, Failure> {
    leaves(&journal.call(), digest)
}

fn leaves(call: &Call, digest: u8) -> Result<bool, Failure> {
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

fn read(journal: &Journal, name: &str) -> Result<Option<String>, String> {
    match journal.secret(name) {
        Ok(value) => Ok(value.map(|v| String::from_utf8_lossy(v.bytes()).into_owned())),
        Err(failure) => Err(failure.error.to_string()),
    }
}

#[test]
fn an_attempt_keeps_its_versions_over_a_crash_and_its_digests_are_keyed() {
    let shelf = self::shelf([("a", 1, "first value")]);
    let gone = self::shelf([("a", 2, "second value")]);

    let (journal, gate) = self::journal(None, &shelf);
    call(&journal, 1).expect("admitted");
    assert_eq!(read(&journal, "a"), Ok(Some("first value".into())));
    assert_eq!(read(&journal, "b"), Ok(None));
    // A new version in the middle of an attempt is for the next one.
    let more = [("a", 2, "second value"), ("b", 1, "late")];
    shelf.0.lock().extend(more);
    assert_eq!(read(&journal, "a"), Ok(Some("first value".into())));
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

    let again = |shelf: &Arc<Shelf>| {
        let (journal, _) = self::journal(Some(recorded.clone()), shelf);
        call(&journal, 1)?;
        let value = journal.secret("a")?;
        assert_eq!(value.expect("a value").bytes(), b"first value");
        assert!(journal.secret("b")?.is_none(), "it was not there before");
        call(&journal, 2)?;
        call(&journal, 3)
    };
    assert_eq!(
        again(&shelf),
        Ok(false),
        "recorded calls are answered, the third is new"
    );
    assert_eq!(
        again(&gone).map_err(|f| f.error.to_string()),
        Err("Stepwell.SecretGone".into())
    );

    // Another request under the same number is seen, keyed or not.
    let (journal, _) = self::journal(Some(recorded), &shelf);
    call(&journal, 1).expect("admitted");
    read(&journal, "a").expect("read");
    let other = call(&journal, 9).map_err(|f| f.error.to_string());
    assert_eq!(other, Err("Stepwell.ReplayDiverged".into()));
}

/// What an attempt has read when its call leaves is chance: where the call waits for its turn, or
/// another task asks for it, a secret may be read meanwhile, or not.
#[test]
fn a_call_is_the_same_request_whatever_was_read_when_it_left() {
    #[derive(Clone, Copy, PartialEq, Debug)]
    enum Order {
        LeavesFirst,
        ReadsFirst,
    }
    use Order::{LeavesFirst, ReadsFirst};
    let shelf = self::shelf([("a", 1, "first value")]);
    // One life: call 0 and a secret, in this order, then call 1. Whether call 0 was answered before,
    // and what was asked of the gate.
    let live = |recorded: Option<Recorded>, order: Order, digest: u8| {
        let (journal, gate) = self::journal(recorded, &shelf);
        let first = journal.call();
        let answered = match order {
            LeavesFirst => {
                let answered = leaves(&first, digest)?;
                read(&journal, "a").expect("read");
                answered
            }
            ReadsFirst => {
                read(&journal, "a").expect("read");
                leaves(&first, digest)?
            }
        };
        call(&journal, 2)?;
        Ok::<_, Failure>((answered, gate))
    };
    for before in [LeavesFirst, ReadsFirst] {
        let (_, gate) = live(None, before, 1).expect("the first life");
        let plain = gate.0.lock()[0].request == Digest([1; 32]);
        assert_eq!(plain, before == LeavesFirst);
        for after in [LeavesFirst, ReadsFirst] {
            let why = format!("{before:?}, {after:?}");
            // Answered: from the journal.
            let recorded = crash(&gate);
            let (answered, again) = live(Some(recorded.clone()), after, 1).expect(&why);
            assert!(answered && again.0.lock().is_empty(), "{why}");
            // Cut within its answer, it asks once more as it did.
            let (journal, again) = self::journal(Some(recorded.clone()), &shelf);
            let call = journal.call();
            assert_eq!(leaves(&call, 1), Ok(true), "{why}");
            read(&journal, "a").expect("read");
            let mut leave = std::pin::pin!(call.leave(Digest([1; 32])));
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(leave.as_mut().poll(&mut cx).is_ready(), "{why}");
            assert_eq!(
                again.0.lock()[0].request,
                recorded.calls[&0].request,
                "{why}"
            );
            // Not answered: it leaves under the name that the log has.
            let mut cut = recorded.clone();
            cut.calls.values_mut().for_each(|call| call.parts.clear());
            let (answered, again) = live(Some(cut), after, 1).expect(&why);
            assert!(!answered, "{why}");
            let asked = again.0.lock();
            let asked: Vec<_> = asked.iter().map(|call| call.request).collect();
            let known: Vec<_> = recorded.calls.values().map(|call| call.request).collect();
            assert_eq!(asked, known, "{why}");
            // Another request is one.
            let other = live(Some(recorded), after, 9).err().expect(&why);
            assert_eq!(&*other.error, "Stepwell.ReplayDiverged", "{why}");
        }
    }
    // Without its key nobody can say.
    let (_, gate) = live(None, ReadsFirst, 1).expect("the first life");
    let gone = self::shelf([("a", 2, "second value")]);
    let (journal, _) = self::journal(Some(crash(&gate)), &gone);
    let failed = call(&journal, 1).map_err(|f| f.error.to_string());
    assert_eq!(failed, Err("Stepwell.SecretGone".into()));
}

#[test]
fn secrets_may_be_read_in_another_order_after_a_crash() {
    let shelf = self::shelf([("a", 1, "first value"), ("b", 2, "other value")]);
    let live = |recorded: Option<Recorded>, order: [&str; 2]| {
        let (journal, gate) = self::journal(recorded, &shelf);
        for name in order {
            read(&journal, name).expect("read");
        }
        let answered = [call(&journal, 1), call(&journal, 2)];
        (answered, gate)
    };
    let (_, gate) = live(None, ["a", "b"]);
    let mut recorded = crash(&gate);
    // The second call did not leave.
    recorded.calls.remove(&1);
    let (answered, again) = live(Some(recorded), ["b", "a"]);
    assert_eq!(answered, [Ok(true), Ok(false)]);
    // It leaves as it would have left.
    assert_eq!(again.0.lock()[0].request, gate.0.lock()[1].request);
}

/// A gate that is slow to take an answer, and keeps the notes that it gets.
#[derive(Default)]
struct Slow {
    notes: Mutex<Vec<Vec<u8>>>,
    came: Mutex<bool>,
    comes: parking_lot::Condvar,
}

impl Gate for Slow {
    fn admit(&self, call: BridgeCall) -> Boxed<'static, Verdict> {
        self.notes.lock().extend(call.notes);
        *self.came.lock() = true;
        self.comes.notify_all();
        Box::pin(std::future::ready(Verdict::Go))
    }

    fn answered(&self, answer: BridgeAnswer) {
        let mut came = self.came.lock();
        if !*came {
            // As long as another call of the attempt may take to overtake it.
            let wait = std::time::Duration::from_millis(300);
            self.comes.wait_for(&mut came, wait);
        }
        self.notes.lock().extend(answer.notes);
    }
}

#[test]
fn notes_come_to_the_log_in_the_order_in_which_they_were_made() {
    let gate = Arc::new(Slow::default());
    let shelf = self::shelf([]);
    let journal = Journal::new(
        gate.clone(),
        shelf.clone(),
        Arc::new(request(None)),
        Timestamp(5),
    );
    let wait = |us| Wait { us, ready: vec![0] };
    let (first, second) = (journal.call(), journal.call());
    leaves(&first, 1).expect("admitted");
    *gate.came.lock() = false;
    journal.waited(wait(1));
    std::thread::scope(|scope| {
        // Its notes are taken before the others are made.
        let answered = scope.spawn(|| first.record(vec![1]));
        while !journal.state.lock().notes.is_empty() {
            std::thread::yield_now();
        }
        journal.waited(wait(2));
        leaves(&second, 2).expect("admitted");
        answered.join().expect("recorded");
    });
    let recorded = Recorded {
        notes: gate.notes.lock().clone(),
        ..Recorded::default()
    };
    let (again, _) = self::journal(Some(recorded), &shelf);
    assert_eq!(again.wait_before(), Some(wait(1)));
    assert_eq!(again.wait_before(), Some(wait(2)));
}

/// Keeps what a call asks, as whoever compares two runs gets it.
#[derive(Default)]
struct Shown(Mutex<Vec<Asked>>);

impl Gate for Shown {
    fn admit(&self, _: BridgeCall) -> Boxed<'static, Verdict> {
        Box::pin(std::future::ready(Verdict::Go))
    }

    fn answered(&self, _: BridgeAnswer) {}

    fn asked(&self, _: u32, what: &dyn Fn() -> Asked) {
        self.0.lock().push(what());
    }
}

#[test]
fn who_compares_two_runs_sees_no_value_and_yet_that_they_differ() {
    let gate = Arc::new(Shown::default());
    let shelf = self::shelf([("a", 1, "correct horse")]);
    let journal = Journal::new(gate.clone(), shelf, Arc::new(request(None)), Timestamp(5));
    read(&journal, "a").expect("read");
    for text in [
        "authorization: Bearer correct horse",
        r"a: correct\u0020horse",
        r"b: correct\u0020horse",
    ] {
        journal.call().witness().asked(&|| text.to_owned());
    }
    let asked = gate.0.lock();
    assert_eq!(asked[0].shown, "authorization: Bearer [secret a]");
    assert!(asked.iter().all(|asked| !asked.shown.contains("horse")));
    // Where all of a text is kept back.
    assert_eq!(asked[1].shown, asked[2].shown);
    assert_ne!(asked[1], asked[2]);
}

#[test]
fn what_cannot_be_read_ends_the_attempt() {
    let (journal, _) = self::journal(None, &shelf([]));
    let broken = read(&journal, "broken");
    assert_eq!(broken, Err("Stepwell.SecretUnreadable".into()));
    assert_eq!(journal.broken().map(|f| f.error.to_string()), broken.err());

    let (journal, _) = self::journal(None, &shelf([]));
    for n in 0..SECRETS_READ_MAX {
        assert_eq!(read(&journal, &n.to_string()), Ok(None));
    }
    let more = read(&journal, "one more");
    assert_eq!(more, Err("Stepwell.TooManySecrets".into()));
}

#[test]
fn nothing_that_leaves_holds_a_value() {
    const PEM: &str = "-----BEGIN-----\nline \"one\"\nline two\n-----END-----\n";
    let shelf = shelf([
        ("word", 1, "correct horse"),
        ("pem", 1, PEM),
        ("tiny", 1, "1"),
        ("slash", 1, "path/with/slash"),
    ]);
    let (journal, _) = self::journal(None, &shelf);
    for name in ["word", "pem", "tiny", "slash"] {
        read(&journal, name).expect("read");
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

/// Keeps what the log would have.
#[derive(Default)]
struct Log {
    notes: Mutex<Vec<Vec<u8>>>,
    parts: Mutex<Vec<Vec<u8>>>,
}

impl Gate for Log {
    fn admit(&self, call: BridgeCall) -> Boxed<'static, Verdict> {
        self.notes.lock().extend(call.notes);
        Box::pin(std::future::ready(Verdict::Go))
    }

    fn answered(&self, answer: BridgeAnswer) {
        self.notes.lock().extend(answer.notes);
        self.parts.lock().push(answer.part);
    }
}

#[test]
fn no_recorded_answer_holds_a_value_and_each_comes_back_as_it_was() {
    let long: &'static str = "0123456789abcdef".repeat(20).leak();
    let shelf = self::shelf([
        ("word", 1, "correct horse"),
        ("pair", 1, "\"battery\": staple"),
        ("long", 1, long),
    ]);
    let gate = Arc::new(Log::default());
    let journal = Journal::new(
        gate.clone(),
        shelf.clone(),
        Arc::new(request(None)),
        Timestamp(5),
    );
    for name in ["word", "pair", "long"] {
        read(&journal, name).expect("read");
    }
    let call = journal.call();
    leaves(&call, 1).expect("admitted");
    let begun = &long[..300];
    let parts: Vec<Vec<u8>> = vec![
        b"\x01nothing in it".to_vec(),
        b"\x01correct horse, Bearer correct horse\xff".to_vec(),
        b"\x02{\"you\": \"\\\"battery\\\": staple\"}".to_vec(),
        b"\x02\"Y29ycmVjdCBob3JzZQ==\"".to_vec(),
        format!("\u{1}{long}, {long}; {begun}").into_bytes(),
    ];
    for part in &parts {
        call.record(part.clone());
    }
    let kept = gate.parts.lock().clone();
    assert_eq!(kept[0], parts[0]);
    for part in &kept {
        let text = String::from_utf8_lossy(part);
        for value in ["horse", "staple", "Y29y", &long[..256]] {
            assert!(!text.contains(value), "{text}");
        }
    }
    let recorded = || Recorded {
        notes: gate.notes.lock().clone(),
        calls: BTreeMap::from([(
            0,
            RecordedCall {
                request: Digest([1; 32]),
                parts: kept.clone(),
            },
        )]),
        again: None,
    };
    // Also where the secret is read behind the answer, and has a newer version since.
    shelf.0.lock().push(("word", 2, "wrong horse"));
    let (again, _) = self::journal(Some(recorded()), &shelf);
    let mut call = again.call();
    for part in &parts {
        assert_eq!(call.recorded().as_ref(), Some(part));
    }
    assert_eq!(call.recorded(), None);
    assert!(again.broken().is_none());
    // Without the value the attempt ends, and no call is made in place of the answer.
    let (again, _) = self::journal(Some(recorded()), &self::shelf([]));
    let mut call = again.call();
    assert_eq!(call.recorded().as_ref(), Some(&parts[0]));
    assert_eq!(call.recorded(), Some(Vec::new()));
    let broken = again.broken().map(|failure| failure.error.to_string());
    assert_eq!(broken.as_deref(), Some("Stepwell.SecretGone"));
}

/// An answer in one piece, as it is recorded.
fn masked(journal: &Journal, part: &[u8]) -> Vec<u8> {
    let masked = journal.masked(part.to_vec(), 0, &mut Seam::default());
    masked.expect("it comes back")
}

#[test]
fn a_value_in_two_pieces_of_an_answer_is_in_no_record_also_over_a_crash() {
    let shelf = self::shelf([("word", 1, "correct horse")]);
    // What an attempt records of a stream behind what it recorded before.
    let life = |before: &[u8], pieces: &[&str]| {
        let gate = Arc::new(Log::default());
        let request = Arc::new(request(None));
        let journal = Journal::new(gate.clone(), shelf.clone(), request, Timestamp(5));
        read(&journal, "word").expect("read");
        let call = journal.call();
        leaves(&call, 1).expect("admitted");
        call.goes_on_behind(before);
        for piece in pieces {
            let record = [b"\x01", piece.as_bytes()].concat();
            call.record_streamed(record, piece.len());
        }
        let parts = gate.parts.lock().clone();
        let came = parts.iter().map(|part| journal.unmasked(part));
        let came: Result<Vec<_>, _> = came.collect();
        let sent = pieces
            .iter()
            .map(|piece| [b"\x01", piece.as_bytes()].concat());
        assert_eq!(came, Ok(sent.collect::<Vec<_>>()));
        String::from_utf8_lossy(&parts.concat()).into_owned()
    };
    for cut in 1..13 {
        let (one, other) = "correct horse".split_at(cut);
        let (one, other) = (format!("Bearer {one}"), format!("{other}."));
        let (one, other) = (one.as_str(), other.as_str());
        let logged = life(b"", &[one, other]);
        assert!(
            logged.contains("Bearer ") && logged.contains('.'),
            "{logged}"
        );
        let words = ["correct", "horse", one, other];
        assert!(words.iter().all(|word| !logged.contains(word)), "{logged}");
        let logged = life(one.as_bytes(), &[other]);
        assert!(!logged.contains(other), "{logged}");
    }
}

#[test]
fn what_was_got_with_a_secret_is_in_no_record() {
    let shelf = self::shelf([("word", 1, "correct horse")]);
    let gate = Arc::new(Log::default());
    let request = Arc::new(request(None));
    let journal = Journal::new(gate.clone(), shelf, request, Timestamp(5));
    read(&journal, "word").expect("read");
    journal.conceal("word", &Secret::new(b"battery staple".to_vec()));
    let call = journal.call();
    leaves(&call, 1).expect("admitted");
    // As the secret's value it would come back, and not as itself.
    call.record(b"\x01it is battery staple".to_vec());
    assert_eq!(gate.parts.lock().len(), 0);
    let broken = journal.broken().map(|failure| failure.error.to_string());
    assert_eq!(broken.as_deref(), Some("Stepwell.SecretInOutput"));
}

/// Forms of a long value begin alike, and differ behind what is looked for.
#[test]
fn of_a_long_value_no_recorded_answer_keeps_the_rest() {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};
    let value: &'static str = format!("{}\"?>?>?>\n", "0123456789abcdef".repeat(40)).leak();
    let quoted = value.replace('"', "\\\"").replace('\n', "\\n");
    let parts = [
        value.to_owned(),
        value.trim().to_owned(),
        quoted.trim_end_matches("\\n").to_owned(),
        quoted,
        STANDARD.encode(value),
        STANDARD.encode(value.trim()),
        URL_SAFE.encode(value),
        // Cut on its way.
        value[..500].to_owned(),
    ];
    let shelf = self::shelf([("long", 1, value)]);
    let (journal, _) = self::journal(None, &shelf);
    read(&journal, "long").expect("read");
    for part in parts {
        let part = format!("\u{1}you sent <{part}>").into_bytes();
        let kept = masked(&journal, &part);
        assert!(kept.len() < 64, "{}", String::from_utf8_lossy(&kept));
        assert_eq!(journal.unmasked(&kept), Ok(part));
    }
}

#[test]
fn a_long_value_is_found_right_behind_itself() {
    let value: &'static str = "0123456789abcdef".repeat(35).leak();
    let shelf = self::shelf([("long", 1, value)]);
    let (journal, _) = self::journal(None, &shelf);
    read(&journal, "long").expect("read");
    let part = format!("\u{1}{value}{value}").into_bytes();
    let kept = masked(&journal, &part);
    assert!(kept.len() < 64, "{}", String::from_utf8_lossy(&kept));
    assert_eq!(journal.unmasked(&kept), Ok(part));
}

#[test]
fn what_an_answer_repeats_often_costs_little() {
    let shelf = self::shelf([("a-name-much-longer-than-its-value", 1, "123456")]);
    let (journal, _) = self::journal(None, &shelf);
    read(&journal, "a-name-much-longer-than-its-value").expect("read");
    let part = format!("\u{1}{}", "123456".repeat(1_000)).into_bytes();
    let kept = masked(&journal, &part);
    assert!(kept.len() < part.len(), "{}", kept.len());
    assert_eq!(journal.unmasked(&kept), Ok(part.clone()));
    let search = journal.search().expect("something is looked for");
    let masked = Masked::of(&search, &part, 0, &mut Seam::default());
    let masked = masked.expect("it comes back").expect("it is there");
    let mut asked = 0;
    let unmasked = masked.unmasked(|_| {
        asked += 1;
        Ok::<_, Failure>(Secret::new(b"123456".to_vec()))
    });
    assert_eq!((unmasked, asked), (Ok(Some(part)), 1));
}

#[test]
fn no_name_holds_a_value() {
    let shelf = shelf([("word", 1, "correct-horse"), ("late", 1, "battery-staple")]);
    let (journal, _) = self::journal(None, &shelf);
    let keeps = |text: &str| {
        let kept = journal.keeps_back("the name", text);
        kept.map_err(|failure| failure.error.to_string())
    };
    assert_eq!(keeps("correct-horse"), Ok(()));
    read(&journal, "word").expect("read");
    assert_eq!(keeps("order-17"), Ok(()));
    assert_eq!(keeps("battery-staple"), Ok(()));
    let slips = || Err("Stepwell.SecretInOutput".to_owned());
    assert_eq!(keeps("correct-horse-17"), slips());
    read(&journal, "late").expect("read");
    assert_eq!(keeps("correct-horse-17"), slips());
    assert_eq!(keeps("a/battery-staple"), slips());
}

#[test]
fn what_was_refused_before_a_crash_is_refused_again() {
    let (journal, gate) = self::journal(None, &shelf([]));
    assert_eq!(journal.operation(), (0, None));
    let (number, _) = journal.operation();
    let failure = Failure::new("Stepwell.ObjectFailed", "a disk that was away");
    journal.refused(number, &failure);
    call(&journal, 1).expect("admitted");
    let (journal, _) = self::journal(Some(crash(&gate)), &shelf([]));
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
    let (journal, _) = self::journal(Some(recorded), &shelf([]));
    assert!(journal.broken().is_none());
    assert_eq!(journal.began(), Timestamp(5));
}
