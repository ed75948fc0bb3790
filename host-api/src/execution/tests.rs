//! What names of executions and signals may not hold.

use std::task::{Context, Poll, Waker};

use stepwell_types::Secret;

use super::*;
use crate::secrets::GivenSecrets;

const SECRET: &str = "correct-horse";

/// What the bridge says before it asks anybody.
fn now<T>(asked: impl Future<Output = Result<T, Failure>>) -> String {
    let mut asked = std::pin::pin!(asked);
    match asked.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Err(failure)) => failure.error.to_string(),
        Poll::Ready(Ok(_)) => String::new(),
        Poll::Pending => panic!("nobody is asked"),
    }
}

#[test]
fn no_name_that_a_step_gives_holds_a_secret_or_is_too_long() {
    let given = GivenSecrets([("word".to_owned(), Secret::new(SECRET.into()))].into());
    let journal = crate::journal::that_reads(given);
    let bridge = ExecutionBridge::new(Arc::new(NoExecutions));
    let grants = Grants {
        flows: vec!["f".into()],
        ..Grants::default()
    };
    let start = |name: Option<&str>| {
        let name = name.map(str::to_owned);
        let flow = ("f".to_owned(), None);
        now(bridge.start(&journal, journal.call(), Some(&grants), flow, name, "1"))
    };
    let signal = |to: &str, name: &str| {
        let to = Recipient::Named {
            flow: "f".into(),
            name: to.into(),
        };
        now(bridge.signal(
            &journal,
            journal.call(),
            Some(&grants),
            to,
            name.into(),
            "1",
        ))
    };
    // There is nobody here: that is as far as it comes.
    let (nobody, slips) = ("Stepwell.NoExecution", "Stepwell.SecretInOutput");
    assert_eq!(start(Some(SECRET)), nobody);
    journal.secret("word").expect("read");
    assert_eq!(start(None), nobody);
    assert_eq!(start(Some("order-17")), nobody);
    assert_eq!(signal("e", "go"), nobody);
    assert_eq!(start(Some(SECRET)), slips);
    assert_eq!(start(Some(&format!("order-{SECRET}"))), slips);
    assert_eq!(signal("e", SECRET), slips);
    assert_eq!(signal(SECRET, "go"), slips);
    let long = "n".repeat(1 << 20);
    assert_eq!(start(Some(&long)), INVALID);
    assert_eq!(signal("e", &long), INVALID);
    assert_eq!(signal(&long, "go"), nobody);
    let flow = (long, None);
    let denied = bridge.start(&journal, journal.call(), Some(&grants), flow, None, "1");
    let mut denied = std::pin::pin!(denied);
    match denied
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(Err(failure)) => assert!(failure.cause.len() < 1_000, "{failure:?}"),
        other => panic!("{other:?}"),
    }
}
