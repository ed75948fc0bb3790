//! What a connection lives through: refusals while the body is still on its way.

use std::time::Duration;

use stepwell_server::{Options, Token, serve_on};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{block, house};

/// Serves until the test is done with the connection.
fn connected<W: Future<Output = ()>>(
    change: impl FnOnce(&mut Options),
    work: impl FnOnce(TcpStream) -> W,
) {
    let h = house(change);
    block(async {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serving = serve_on(
            listener,
            h.app.clone(),
            std::future::pending(),
            Duration::ZERO,
        );
        let working = async { work(TcpStream::connect(address).await.unwrap()).await };
        tokio::select! {
            served = serving => served.unwrap(),
            () = working => {}
        }
    });
}

/// Status and headers of the next answer; its body is read too.
async fn answer(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = stream.read_u8().await.expect("the connection is open");
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.split("content-length: ").nth(1).expect("a length");
    let length = length.lines().next().unwrap().parse::<usize>().unwrap();
    stream.read_exact(&mut vec![0; length]).await.unwrap();
    head
}

#[test]
fn a_connection_outlives_what_is_refused_before_its_body_came() {
    connected(
        |_| {},
        |mut stream| async move {
            for path in [
                "/v1/nothing",
                "/v1/flows/pass/executions?wiat=1",
                "/t/nothing",
            ] {
                let length = 300_000;
                let head = format!(
                    "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n"
                );
                stream.write_all(head.as_bytes()).await.unwrap();
                let refused = answer(&mut stream).await;
                assert!(refused.starts_with("http/1.1 4"), "{refused}");
                stream.write_all(&vec![b'x'; length]).await.unwrap();
            }
            let health = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
            stream.write_all(health).await.unwrap();
            let healthy = answer(&mut stream).await;
            assert!(healthy.starts_with("http/1.1 200"), "{healthy}");
        },
    );
}

#[test]
fn whoever_sends_all_before_reading_reads_the_refusal() {
    connected(
        |options| options.token = Some(Token::new("right-token").unwrap()),
        |mut stream| async move {
            let length = 24 << 20;
            let head = format!(
                "PUT /v1/modules/m HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer wrong-token\r\ncontent-length: {length}\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            stream
                .write_all(&vec![0; length])
                .await
                .expect("it is taken");
            let refused = answer(&mut stream).await;
            assert!(refused.starts_with("http/1.1 401"), "{refused}");
        },
    );
}

#[test]
fn a_refused_client_that_waits_to_be_asked_for_the_body_is_told_that_the_connection_ends() {
    connected(
        |_| {},
        |mut stream| async move {
            let head = b"POST /v1/nothing HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n";
            stream.write_all(head).await.unwrap();
            let refused = answer(&mut stream).await;
            assert!(refused.starts_with("http/1.1 404"), "{refused}");
            assert!(refused.contains("connection: close"), "{refused}");
            assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0, "it is closed");
        },
    );
}
