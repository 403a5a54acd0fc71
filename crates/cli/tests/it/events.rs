//! The events of a run with faults.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};

use shoal::job::{Event, RunDir};
use shoal::reports::{End, Phase, RunState};

use crate::server::{Request, Response, Server};
use crate::support::{ManyBatches, describe, failures, summary};
use crate::worker_http::{LISTEN, Worker};

/// Forwards a request to the worker at `url`.
fn forward(request: &Request, url: &str) -> Response {
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let Request {
        method,
        path,
        content,
        ..
    } = request;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        content.len()
    )
    .unwrap();
    stream.write_all(content).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer
        .windows(4)
        .position(|part| part == b"\r\n\r\n")
        .unwrap();
    Response {
        status: "200 OK",
        headers: String::new(),
        content: answer[end + 4..].to_vec(),
    }
}

#[test]
fn the_events_of_a_run_with_faults_say_why_it_waited() {
    let job = ManyBatches::new(60, 20);
    let worker = Worker::start(&mut job.bench.shoal(LISTEN));
    let url = worker.url.clone();
    // The first call fails, the second and third are throttled, and all others are processed.
    let calls = AtomicUsize::new(0);
    let faulty = Server::new(move |request, _| {
        if request.method == "POST" {
            let status = match calls.fetch_add(1, Ordering::SeqCst) {
                0 => "500 Internal Server Error",
                1 | 2 => "429 Too Many Requests",
                _ => return forward(request, &url),
            };
            return Response {
                status,
                headers: String::new(),
                content: Vec::new(),
            };
        }
        forward(request, &url)
    });
    let faulty_url = faulty.url();
    let options = [
        "--backend",
        "http",
        "--concurrency",
        "1",
        "--url",
        &faulty_url,
    ];
    summary(job.run("run", &options));
    job.check("run");
    assert_eq!(failures(&job.bench.path("run")).len(), 3);
    // A later start fails because of a bad record.
    let refused = job
        .run(
            "run",
            &[
                "--on-error",
                "fail",
                "--backend",
                "http",
                "--url",
                &faulty_url,
            ],
        )
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(7), "{}", describe(&refused));

    let events = RunDir::open(&job.bench.path("run"))
        .unwrap()
        .events()
        .unwrap();
    let mut state = RunState::default();
    let mut most_in_flight = 0;
    for (at, event) in &events {
        let _ = state.apply(*at, event);
        most_in_flight = most_in_flight.max(state.running());
    }
    assert_eq!(state.phase, Phase::Ended(End::Stopped));
    assert_eq!((state.starts.len(), state.throttled_calls), (2, 2));
    assert_eq!(most_in_flight, 1);
    let pauses = events.iter().filter_map(|(_, event)| match event {
        Event::Held { ms } | Event::Waiting { ms, .. } => Some(*ms),
        _ => None,
    });
    // At least one pause after the lost call and one after the throttled calls.
    let pauses: Vec<_> = pauses.collect();
    assert!(
        pauses.len() >= 2 && pauses.iter().all(|ms| *ms > 0),
        "{events:?}"
    );
    let events = serde_json::to_value(&events).unwrap();
    let events = events.as_array().unwrap().iter();
    let names: Vec<_> = events
        .map(|event| event[1]["event"].as_str().unwrap())
        .collect();
    for name in [
        "planning",
        "planned",
        "started",
        "waiting",
        "held",
        "verifying",
        "collecting",
        "completed",
    ] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
}
