//! Answers as they come from a real socket, and as they are recorded.

use std::str::FromStr as _;

use http::{Method, Uri};
use parking_lot::Mutex;
use stepwell_types::{BridgeAnswer, BridgeCall, Secret, Timestamp};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::Journal;
use crate::gate::{Boxed, Gate, Verdict};
use crate::http::{HttpOptions, WallClock, request};
use crate::secrets::GivenSecrets;
use crate::{LimitOptions, Limiter};

/// Makes a call through a bridge that may call the loopback.
async fn ask(call: Call, request: Checked) -> Result<http::Response<WasiBody>, Lost> {
    let clock: WallClock = Arc::new(|| Timestamp(1));
    let limiter = Limiter::new(LimitOptions::default(), clock.clone());
    let options = HttpOptions {
        allow: vec!["127.0.0.1".to_owned()],
        ..HttpOptions::default()
    };
    let bridge = HttpBridge::new(options, limiter, clock).expect("a bridge");
    let wait = Duration::from_secs(20);
    let timeouts = Timeouts {
        connect: wait,
        head: wait,
        piece: wait,
    };
    let (bridge, looks) = (Arc::new(bridge), Arc::default());
    answer(
        bridge,
        call,
        (request, None),
        Granted::Named,
        timeouts,
        looks,
    )
    .await
}

/// The next call, and what came of it up to these words.
async fn called(listener: &TcpListener, end: &str) -> (TcpStream, String) {
    let (mut stream, _) = listener.accept().await.expect("a call");
    let mut got = Vec::new();
    while !got.ends_with(end.as_bytes()) {
        let read = stream.read_buf(&mut got).await.expect("a request");
        assert_ne!(read, 0, "{}", String::from_utf8_lossy(&got));
    }
    (stream, String::from_utf8_lossy(&got).into_owned())
}

/// A gate that keeps what it would record.
#[derive(Default)]
struct Kept(Mutex<Vec<Vec<u8>>>);

impl Gate for Kept {
    fn admit(&self, _: BridgeCall) -> Boxed<'static, Verdict> {
        Box::pin(std::future::ready(Verdict::Go))
    }

    fn answered(&self, answer: BridgeAnswer) {
        self.0.lock().push(answer.part);
    }
}

/// The other side decides where one piece of a stream ends: in the midst of a value, too.
#[tokio::test]
async fn a_value_that_an_answer_spreads_over_its_pieces_is_in_no_record() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (next, mut wanted) = tokio::sync::mpsc::channel::<()>(1);
    let pieces = ["you sent corr", "ect", " horse, and mo", "re"];
    let served = tokio::spawn(async move {
        let (mut stream, _) = called(&listener, "\r\n\r\n").await;
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await.expect("answered");
        for piece in pieces {
            let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
            stream.write_all(chunk.as_bytes()).await.expect("answered");
            // Each comes by itself: the next one goes when this one was read.
            wanted.recv().await.expect("somebody reads");
        }
        stream.write_all(b"0\r\n\r\n").await.expect("answered");
    });
    let value = Secret::new(b"correct horse".to_vec());
    let given = GivenSecrets([("word".to_owned(), value)].into());
    let (gate, attempt) = (
        Arc::new(Kept::default()),
        crate::journal::attempt_for_tests(),
    );
    let journal = Journal::new(
        gate.clone(),
        Arc::new(given),
        Arc::new(attempt),
        Timestamp(1),
    );
    journal.secret("word").expect("it is given");
    let uri = Uri::from_str(&format!("http://{address}/")).expect("a URI");
    let none = (Vec::new(), None);
    let request = request::from_guest(&Method::GET, &uri, HeaderMap::new(), none, HeaderMap::new());
    let answered = ask(journal.call(), request.expect("a request")).await;
    let mut body = answered.expect("an answer").into_body();
    for piece in pieces {
        let frame = body.frame().await.expect("a piece");
        let data = frame
            .map_err(|e| format!("{e:?}"))
            .expect("a piece")
            .into_data();
        assert_eq!(data.expect("bytes"), piece);
        next.send(()).await.expect("more is to come");
    }
    assert!(body.frame().await.is_none());
    served.await.expect("served");
    let kept = gate.0.lock().clone();
    // The head, each piece, the end.
    assert_eq!(kept.len(), 2 + pieces.len());
    for part in ["corr", "ect", "horse"] {
        let there = kept
            .iter()
            .any(|k| k.windows(part.len()).any(|w| w == part.as_bytes()));
        assert!(!there, "{part}");
    }
}

#[tokio::test]
async fn trailers_go_both_ways() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let served = tokio::spawn(async move {
        let (mut stream, got) = called(&listener, "x-sum: 7\r\n\r\n").await;
        let answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
            2\r\nok\r\n0\r\nx-sum: 8\r\n\r\n";
        stream.write_all(answer).await.expect("answered");
        got
    });
    let sum = |value| {
        let name = HeaderName::from_static("x-sum");
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    };
    let uri = Uri::from_str(&format!("http://{address}/")).expect("a URI");
    let body = (b"hello".to_vec(), None);
    let takes = (http::header::TE, HeaderValue::from_static("trailers"));
    let headers = HeaderMap::from_iter([takes]);
    let request = request::from_guest(&Method::POST, &uri, headers, body, sum("7"));
    let call = crate::journal::for_tests().call();
    let answered = ask(call, request.expect("a request")).await;
    let body = answered.expect("an answer").into_body().collect().await;
    let body = body.map_err(|e| format!("{e:?}")).expect("a body");
    assert_eq!(body.trailers(), Some(&sum("8")));
    assert_eq!(body.to_bytes(), "ok");
    let got = served.await.expect("served");
    for line in ["trailer: x-sum", "te: trailers", "connection: te"] {
        assert!(got.contains(&format!("\r\n{line}\r\n")), "{got}");
    }
    assert!(
        got.ends_with("\r\n5\r\nhello\r\n0\r\nx-sum: 7\r\n\r\n"),
        "{got}"
    );
}

#[test]
fn pieces_come_back_and_damaged_ones_do_not() {
    let pieces = [
        Piece::Head {
            status: 200,
            headers: vec![("a".into(), b"\xff".to_vec())],
            body: Some(vec![1, 2]),
        },
        Piece::Body(vec![0; 70_000]),
        Piece::End,
        Piece::Lost(Lost::response_too_large(7)),
        Piece::Sent(
            Sent {
                bytes: 3,
                digest: [9; 32],
            },
            Box::new(Piece::End),
        ),
        Piece::Trailers(vec![("a".into(), b"\xff".to_vec())]),
    ];
    for piece in pieces {
        let bytes = piece.encode();
        assert_eq!(Piece::decode(&bytes), Some(piece));
        assert_eq!(Piece::decode(&bytes[1..]), None);
        assert_eq!(Piece::decode(&[&[VERSION + 1], &bytes[1..]].concat()), None);
    }
    assert_eq!(Piece::decode(&[]), None);
}
