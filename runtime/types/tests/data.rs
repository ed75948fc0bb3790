//! JSON documents: what is taken, and what they weigh.

use serde_json::Value;
use stepwell_types::Data;
use stepwell_types::limits::JSON_VALUES_MAX;

#[track_caller]
fn check(text: &str, accepted: bool) {
    assert_eq!(Data::parse(text).is_ok(), accepted, "{text}");
    if accepted {
        let value: Value = serde_json::from_str(text).expect("the parser takes it too");
        assert_eq!(Data::from_valid_text(text).value(), &value);
    }
}

#[test]
fn parse_accepts_what_value_can_read() {
    let nested = |n: usize| "[".repeat(n) + &"]".repeat(n);
    check(&nested(127), true);
    check(&nested(128), false);
    check(&nested(10_000), false);
    check(r#""[[[\\\"[[[""#, true);
    check("[1, 2", false);
    check("", false);
}

#[test]
fn many_small_values_weigh_more_than_their_text() {
    let text = format!("[{}1]", "1,".repeat(999));
    let data = Data::from_valid_text(text.as_str());
    assert!(
        (2_000..2_100).contains(&data.memory_bytes()),
        "{}",
        data.memory_bytes()
    );
    assert!(data.value().is_array());
    assert!(data.memory_bytes() > 20_000, "{}", data.memory_bytes());
}

#[test]
fn what_cannot_be_read_later_is_refused_now() {
    let check = |text: &str, sound: bool| {
        let start = &text[..text.len().min(80)];
        assert_eq!(Data::parse(text).is_ok(), sound, "{start}");
    };
    check(
        r#"{"a":[1,-2,3.5,18446744073709551615,null,true,"x"]}"#,
        true,
    );
    check(r#"{"a":"\ud83d\ude00"}"#, true);
    check(r#"{"a":"\ud800"}"#, false);
    check(r#"{"\udc00":1}"#, false);
    check(r#"{"a":1e400}"#, false);
    check("{} {}", false);
    check(&"[".repeat(10_000), false);
    check(&format!("{}1{}", "[".repeat(127), "]".repeat(127)), true);
    check(&format!("{}1{}", "[".repeat(128), "]".repeat(128)), false);
    let values = |n: usize| format!("[{}1]", "{\"\":1},".repeat(n));
    check(&values(JSON_VALUES_MAX / 3 - 1), true);
    check(&values(JSON_VALUES_MAX / 3 + 1), false);
}
