//! The events of a run explain its time.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};

use shoal::job::{Event, RunDir};
use shoal::reports::{Activity, activities};

use crate::server::{Request, Response, Server};
use crate::support::{ManyBatches, describe, failures, summary};
use crate::worker_http::{LISTEN, Worker};

/// Hands a request on to the worker at `url`.
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
fn every_moment_of_a_run_with_faults_has_an_activity() {
    let job = ManyBatches::new(60, 20);
    let worker = Worker::start(&mut job.bench.shoal(LISTEN));
    let url = worker.url.clone();
    // The first call is lost, the second and third are too many; all others are processed.
    let calls = AtomicUsize::new(0);
    let moody = Server::new(move |request, _| {
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
    let moody_url = moody.url();
    let options = [
        "--backend",
        "http",
        "--concurrency",
        "1",
        "--url",
        &moody_url,
    ];
    summary(job.run("run", &options));
    job.check("run");
    assert_eq!(failures(&job.bench.path("run")).len(), 3);
    // A later start, which fails for its own reason.
    let refused = job
        .run(
            "run",
            &[
                "--on-error",
                "fail",
                "--backend",
                "http",
                "--url",
                &moody_url,
            ],
        )
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(7), "{}", describe(&refused));

    let events = RunDir::open(&job.bench.path("run"))
        .unwrap()
        .events()
        .unwrap();
    let (first, last) = (events[0].0, events.last().unwrap().0);
    assert!(matches!(events.last().unwrap().1, Event::Stopped { .. }));
    let intervals = activities(&events);
    assert_eq!(intervals[0].from_unix_ms, first);
    assert_eq!(intervals.last().unwrap().to_unix_ms, last);
    for pair in intervals.windows(2) {
        assert_eq!(pair[0].to_unix_ms, pair[1].from_unix_ms);
        assert_ne!(pair[0].activity, pair[1].activity);
    }
    let ms = |activity: Activity| -> u64 {
        let those = intervals
            .iter()
            .filter(|interval| interval.activity == activity);
        those
            .map(|interval| interval.to_unix_ms - interval.from_unix_ms)
            .sum()
    };
    // The time of the faults has its own activities: two pauses, since no call was answered between them.
    assert!(ms(Activity::Throttled) > 0, "{intervals:?}");
    assert!(
        ms(Activity::Dispatching { in_flight: 1 }) > 0,
        "{intervals:?}"
    );
    assert!(ms(Activity::Idle) > 0, "{intervals:?}");
    // With one call at a time, there is never more than one in flight.
    let most = intervals
        .iter()
        .filter_map(|interval| match interval.activity {
            Activity::Dispatching { in_flight } => Some(in_flight),
            _ => None,
        });
    assert_eq!(most.max(), Some(1));
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
