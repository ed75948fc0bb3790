//! Result files as Step Functions lays them out.

use stepwell_buckets::results::Unwritten;
use stepwell_buckets::{Buckets, Options, results};
use stepwell_types::Data;
use stepwell_types::items::{
    OutputType, ResultChunk, ResultKind, ResultTarget, ResultWrite, Transformation,
};

fn request(transformation: Transformation, output: OutputType, chunk: ResultChunk) -> ResultWrite {
    ResultWrite {
        target: ResultTarget {
            bucket: "out".into(),
            prefix: "jobs/".into(),
            transformation,
            output,
        },
        run: "run-1".into(),
        chunk,
    }
}

fn records(kind: ResultKind, number: u32) -> ResultChunk {
    ResultChunk::Records {
        kind,
        number,
        from: 0,
    }
}

#[track_caller]
fn check(write: &ResultWrite, input: &str, want: Result<(&str, &str), &str>) {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        kept: Some(dir.path().into()),
        granted: Vec::new(),
        object_bytes_max: 1_000,
        instance: "here".to_owned(),
    };
    let buckets = Buckets::open(&options).unwrap();
    let input = Data::parse(input).unwrap();
    let room = |_| Ok(());
    let first = results::write(&buckets, write, &input, &room);
    let second = results::write(&buckets, write, &input, &room);
    match (first, second, want) {
        (Ok(first), Ok(second), Ok((key, want))) => {
            assert_eq!(first.text(), second.text(), "it may be written again");
            let size = want.len();
            assert_eq!(first.text(), format!(r#"{{"Key":"{key}","Size":{size}}}"#));
            let file = dir.path().join("out").join(key);
            assert_eq!(std::fs::read_to_string(file).unwrap(), want);
            let page = buckets.bucket("out").unwrap().list("", None, 10).unwrap();
            assert_eq!(page.objects.len(), 1);
        }
        (Err(Unwritten::Failed(failure)), Err(_), Err(want)) => {
            assert_eq!(&*failure.error, "States.ResultWriterFailed");
            assert!(failure.cause.contains(want), "{}", failure.cause);
        }
        (first, ..) => panic!("{first:?}, want {want:?}"),
    }
}

#[test]
fn a_file_for_which_the_disk_has_no_room_leaves_nothing_and_may_come_later() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        kept: Some(dir.path().into()),
        granted: Vec::new(),
        object_bytes_max: 1 << 30,
        instance: "here".to_owned(),
    };
    let buckets = Buckets::open(&options).unwrap();
    let chunk = records(ResultKind::Succeeded, 0);
    let write = request(Transformation::Compact, OutputType::Json, chunk);
    let record = "x".repeat(100_000);
    let input = Data::from_value(serde_json::json!([record, record, record]));
    let full = || "full".to_owned();
    // From the beginning, and in the middle.
    for bytes in [0, 150_000] {
        let left = std::cell::Cell::<usize>::new(bytes);
        let room = |bytes: usize| {
            let rest = left.get().checked_sub(bytes.max(1)).ok_or_else(full)?;
            left.set(rest);
            Ok(())
        };
        let refused = results::write(&buckets, &write, &input, &room);
        assert_eq!(refused, Err(Unwritten::NoRoom(full())));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
    results::write(&buckets, &write, &input, &|_| Ok(())).unwrap();
}

#[test]
fn files() {
    use OutputType::{Json, JsonLines};
    use Transformation::{Compact, Flatten, None};
    let succeeded = records(ResultKind::Succeeded, 0);
    let failed = records(ResultKind::Failed, 12);
    let input = "[{\"a\":\n1.0},[2,[3]],\"x\"]";
    let all = "[{\"a\":\n1.0},[2,[3]],\"x\"]";
    check(
        &request(None, Json, succeeded),
        input,
        Ok(("jobs/run-1/SUCCEEDED_0.json", all)),
    );
    check(
        &request(Compact, Json, failed),
        input,
        Ok(("jobs/run-1/FAILED_12.json", all)),
    );
    check(
        &request(Flatten, Json, succeeded),
        input,
        Ok(("jobs/run-1/SUCCEEDED_0.json", "[{\"a\":\n1.0},2,[3],\"x\"]")),
    );
    check(
        &request(Flatten, JsonLines, succeeded),
        input,
        Ok((
            "jobs/run-1/SUCCEEDED_0.jsonl",
            "{\"a\": 1.0}\n2\n[3]\n\"x\"\n",
        )),
    );
    check(
        &request(Compact, Json, succeeded),
        "[]",
        Ok(("jobs/run-1/SUCCEEDED_0.json", "[]")),
    );
    check(
        &request(None, JsonLines, ResultChunk::Manifest),
        r#"{"ResultFiles":{}}"#,
        Ok(("jobs/run-1/manifest.json", r#"{"ResultFiles":{}}"#)),
    );
    check(&request(None, Json, succeeded), "{}", Err("is no array"));
    let big = format!("[\"{}\"]", "x".repeat(1_000));
    check(&request(None, Json, succeeded), &big, Err("BUCKET0005"));
    let mut outside = request(None, Json, succeeded);
    outside.target.prefix = "../up".into();
    check(&outside, "[]", Err("BUCKET0003"));
}
