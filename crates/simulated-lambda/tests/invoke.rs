//! Tests the simulator. The test executable is also the simulator.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use shoal_job::Batch;
use shoal_job::wire::{Invocation, Reply};
use simulated_lambda::{Ramp, Settings, Simulator};

fn main() {
    simulated_lambda::serve_if_asked();
    answers_on_one_connection();
    throttles_above_the_limit();
    ends_when_dropped();
    println!("simulated-lambda: all cases ok");
}

fn answers_on_one_connection() {
    let simulator = Simulator::start(&Settings::default()).unwrap();
    let mut connection = Connection::to(&simulator);
    for index in 0..100 {
        let (head, body) = connection.call(index);
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(
            head.to_ascii_lowercase().contains("x-amz-log-result: "),
            "{head}"
        );
        let receipt = serde_json::from_slice::<Reply>(&body).unwrap().receipt;
        assert_eq!((receipt.batch, receipt.records), (index, 50));
        assert_eq!(receipt.cold, index == 0);
    }
    let counts = simulator.counts().unwrap();
    assert_eq!(
        (counts.taken, counts.throttled, counts.environments),
        (100, 0, 1)
    );
    assert_eq!(
        counts.connections, 2,
        "this connection, and one for the counters"
    );
}

fn throttles_above_the_limit() {
    let hour = 3_600_000;
    let limits = [
        Settings {
            concurrency: 1,
            ..Settings::default()
        },
        Settings {
            ramp: Some(Ramp {
                start: 1,
                step: 1,
                every_ms: hour,
            }),
            ..Settings::default()
        },
    ];
    for settings in limits {
        let settings = Settings {
            cold_ms: hour,
            ..settings
        };
        let simulator = Simulator::start(&settings).unwrap();
        let mut first = Connection::to(&simulator);
        first.send(0);
        while simulator.counts().unwrap().running == 0 {}
        let mut second = Connection::to(&simulator);
        let (head, body) = second.call(1);
        assert!(head.starts_with("HTTP/1.1 429 "), "{head}");
        let lower = head.to_ascii_lowercase();
        assert!(
            lower.contains("x-amzn-errortype: toomanyrequestsexception"),
            "{head}"
        );
        assert!(String::from_utf8_lossy(&body).contains("ConcurrentInvocationLimitExceeded"));
        assert_eq!(simulator.counts().unwrap().throttled, 1);
        // Disconnecting frees the environment.
        drop(first);
        while simulator.counts().unwrap().running == 1 {}
        assert!(
            second.call(2).0.starts_with("HTTP/1.1 200 "),
            "the environment is warm"
        );
    }
}

fn ends_when_dropped() {
    let simulator = Simulator::start(&Settings::default()).unwrap();
    let address = simulator.url().trim_start_matches("http://").to_owned();
    assert!(TcpStream::connect(&address).is_ok());
    drop(simulator);
    assert!(TcpStream::connect(&address).is_err());
}

struct Connection(BufReader<TcpStream>);

impl Connection {
    fn to(simulator: &Simulator) -> Self {
        let stream = TcpStream::connect(simulator.url().trim_start_matches("http://")).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    fn send(&mut self, index: u64) {
        let batch = Batch {
            index,
            records: 50,
            ..Batch::default()
        };
        let invocation = Invocation::first("s3://bucket/run".into(), batch);
        let body = serde_json::to_string(&invocation).unwrap();
        let request = format!(
            "POST /2015-03-31/functions/shoal/invocations HTTP/1.1\r\nHost: localhost\r\nX-Amz-Log-Type: Tail\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
    }

    fn call(&mut self, index: u64) -> (String, Vec<u8>) {
        self.send(index);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(self.0.read_line(&mut head).unwrap() > 0, "{head}");
        }
        let lower = head.to_ascii_lowercase();
        let (_, length) = lower.split_once("content-length: ").unwrap();
        let length = length.split("\r\n").next().unwrap().parse().unwrap();
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        (head, body)
    }
}
