//! How much memory a large JSON response takes on its way to an output.
#![allow(unsafe_code, reason = "an allocator that counts is a global one")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use stepwell_host_api::http::WallClock;
use stepwell_host_api::secrets::GivenSecrets;
use stepwell_host_api::{
    HttpBridge, HttpOptions, Journal, LimitOptions, Limiter, OpenGate, answer,
};
use stepwell_types::{Data, EntryId, ExecutionId, ShardId, StepRequest, StepTarget, Timestamp};

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came; counting touches nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's promise, handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise, handed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Small numbers: as values each takes 32 bytes, as text two.
const NUMBERS: usize = 1_900_544;

#[test]
fn a_json_response_takes_a_few_times_its_bytes() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a caller");
        let _ = stream.read(&mut [0; 4096]).expect("a request");
        let length = 2 * NUMBERS + 1;
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n["
        );
        stream.write_all(head.as_bytes()).expect("sent");
        let part = b"1,".repeat(4096);
        for _ in 0..NUMBERS / 4096 - 1 {
            stream.write_all(&part).expect("sent");
        }
        stream.write_all(&part[..part.len() - 1]).expect("sent");
        stream.write_all(b"]").expect("sent");
    });
    let options = HttpOptions {
        allow: vec![address.to_string()],
        ..HttpOptions::default()
    };
    let clock: WallClock = Arc::new(|| Timestamp(1));
    let limiter = Limiter::new(LimitOptions::default(), clock.clone());
    let secrets = Arc::new(GivenSecrets::default());
    let bridge = HttpBridge::new(options, secrets, limiter, clock).expect("bridge");
    let input = format!(r#"{{"url":"http://{address}/","response_bytes_max":16777216}}"#);
    let request = StepRequest {
        execution: ExecutionId::new(Timestamp(1), ShardId(1), 1),
        execution_name: "e".into(),
        flow: "f".into(),
        state: "s".into(),
        entry: EntryId(2),
        attempt: 0,
        target: StepTarget::Http,
        input: Data::parse(&input).expect("JSON"),
        deadline: None,
        token: None,
        seed: 0,
        grants: None,
        recorded: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime");
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let outcome = {
        let journal = Journal::new(Arc::new(OpenGate), &request, Timestamp(1));
        runtime.block_on(bridge.run(&journal, request))
    };
    let recorded = answer::encode(&outcome.result);
    let peak = PEAK.load(Ordering::Relaxed) - before;
    let output = outcome.result.expect("an output");
    let bytes = 2 * NUMBERS;
    assert!(output.len_bytes() > bytes, "{}", output.len_bytes());
    assert!(recorded.len() < output.len_bytes() + 100);
    println!("a body of {bytes} bytes took {peak} at most");
    assert!(peak < 6 * bytes, "{peak} bytes for {bytes}");
}
