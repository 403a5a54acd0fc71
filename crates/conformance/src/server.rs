//! An HTTP server for the scripted function, on the loopback interface.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use shoal_job::wire::{Failure, FailureKind, Invocation, Outcome, Reply};

use crate::function::{Act, Function, throttled};

/// How often a hanging call checks whether its client has disconnected.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The protocol of a [`TestServer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `shoal worker --http`: an invocation is posted to any path and answered with an outcome. `GET /ready` returns the
    /// concurrency.
    Worker,
    /// `Invoke` of AWS Lambda: `POST /2015-03-31/functions/NAME/invocations`.
    Lambda,
}

/// A server for the scripted function with one thread per connection. Dropping it closes the port; open connections last
/// until their clients disconnect.
#[derive(Debug)]
pub struct TestServer {
    address: SocketAddr,
    closed: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl TestServer {
    /// Starts a server for runs in local folders.
    ///
    /// # Panics
    /// Panics if no port is available.
    pub fn start(protocol: Protocol) -> Self {
        Self::start_with(protocol, Function::find_and_act)
    }

    /// Starts a server that answers calls by `function`.
    ///
    /// # Panics
    /// Panics if no port is available.
    pub fn start_with(
        protocol: Protocol,
        function: impl Fn(&Invocation) -> Act + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
        let address = listener.local_addr().expect("it is bound");
        let closed = Arc::new(AtomicBool::new(false));
        let served = Arc::new(Served {
            protocol,
            function: Box::new(function),
            closed: closed.clone(),
            requests: AtomicU64::new(0),
        });
        let acceptor = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if served.closed.load(Ordering::Relaxed) {
                    return;
                }
                let served = served.clone();
                if let Ok(stream) = stream {
                    // A client that disconnects is not a server error.
                    std::thread::spawn(move || served.serve(stream));
                }
            }
        });
        Self {
            address,
            closed,
            acceptor: Some(acceptor),
        }
    }

    /// The server's URL: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        // Wakes the acceptor.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

struct Served {
    protocol: Protocol,
    function: Box<dyn Fn(&Invocation) -> Act + Send + Sync>,
    closed: Arc<AtomicBool>,
    requests: AtomicU64,
}

/// An answer before it is written.
struct Response {
    status: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Value,
}

impl Served {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        while let Some(request) = Request::read(&mut reader)? {
            let response = match self.answer(&request, &stream)? {
                Some(response) => response,
                // A crash closes the connection.
                None => return Ok(()),
            };
            response.write(&stream)?;
        }
        Ok(())
    }

    /// The response, or `None` if the connection ends without one.
    fn answer(&self, request: &Request, stream: &TcpStream) -> io::Result<Option<Response>> {
        let is_invocation = match self.protocol {
            Protocol::Worker => request.method == "POST",
            Protocol::Lambda => {
                request.method == "POST"
                    && request.path.starts_with("/2015-03-31/functions/")
                    && request.path.ends_with("/invocations")
            }
        };
        if !is_invocation {
            return Ok(Some(match (self.protocol, request.path.as_str()) {
                (Protocol::Worker, "/ready") => Response::new("200 OK", json!({"concurrency": 8})),
                _ => Response::new("404 Not Found", json!({"message": "not found"})),
            }));
        }
        let Ok(invocation) = serde_json::from_slice::<Invocation>(&request.body) else {
            let message = json!({"message": "the body is not an invocation"});
            return Ok(Some(Response::new("400 Bad Request", message)));
        };
        let act = (self.function)(&invocation);
        if act == Act::Hang
            && (self.protocol == Protocol::Worker || invocation.timeout_ms.is_none())
        {
            self.wait_for_close(stream)?;
            return Ok(None);
        }
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        Ok(match self.protocol {
            Protocol::Worker => worker_answer(act),
            Protocol::Lambda => Some(lambda_answer(&invocation, act, number)),
        })
    }

    fn wait_for_close(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(POLL_INTERVAL))?;
        while !self.closed.load(Ordering::Relaxed) {
            match stream.peek(&mut [0]) {
                Ok(0) => return Ok(()),
                Ok(_) => std::thread::sleep(POLL_INTERVAL),
                Err(e)
                    if matches!(
                        e.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// The response of a worker.
fn worker_answer(act: Act) -> Option<Response> {
    let result = match act {
        Act::Answer(result) => *result,
        Act::Throttle => Err(throttled()),
        Act::Crash | Act::Hang => return None,
    };
    let status = match &result {
        Ok(_) => "200 OK",
        Err(failure) => match failure.kind {
            FailureKind::Throttled => "429 Too Many Requests",
            FailureKind::Input => "422 Unprocessable Content",
            _ => "500 Internal Server Error",
        },
    };
    let body = serde_json::to_value(Outcome::from(result)).expect("an outcome is always JSON");
    Some(Response::new(status, body))
}

/// The response of AWS Lambda. *Invoke* (`lambda/latest/api/API_Invoke.html`), and *Lambda function error handling*.
fn lambda_answer(invocation: &Invocation, act: Act, number: u64) -> Response {
    let id = format!("00000000-0000-4000-8000-{number:012}");
    let function_error = |error_type: &str, message: &str| {
        let body = json!({"errorType": error_type, "errorMessage": message});
        let mut response = Response::new("200 OK", body);
        let header = ("X-Amz-Function-Error", "Unhandled".to_owned());
        response.headers.push(header);
        response
    };
    let mut response = match act {
        Act::Answer(result) => match *result {
            Ok(receipt) => {
                let reply = serde_json::to_value(Reply::new(invocation, receipt));
                Response::new("200 OK", reply.expect("a reply is always JSON"))
            }
            Err(Failure { kind, reason }) => function_error(&kind.error_type(), &reason),
        },
        Act::Throttle => {
            let body = json!({
                "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded",
                "Type": "User",
                "message": "Rate Exceeded.",
            });
            let mut response = Response::new("429 Too Many Requests", body);
            let header = ("x-amzn-errortype", "TooManyRequestsException".to_owned());
            response.headers.push(header);
            return response;
        }
        Act::Crash => function_error(
            "Runtime.ExitError",
            &format!("RequestId: {id} Error: Runtime exited with error: exit status 1"),
        ),
        Act::Hang => {
            let seconds = invocation.timeout_ms.unwrap_or_default() as f64 / 1e3;
            let message =
                format!("RequestId: {id} Error: Task timed out after {seconds:.2} seconds");
            function_error("Sandbox.Timedout", &message)
        }
    };
    let log = format!(
        "REPORT RequestId: {id}\tDuration: 12.34 ms\tBilled Duration: 13 ms\tMemory Size: 1769 MB\tMax Memory Used: 99 MB\t\
         Init Duration: 30.1 ms\t\n"
    );
    response.headers.extend([
        ("x-amzn-RequestId", id),
        ("X-Amz-Executed-Version", "$LATEST".into()),
        ("X-Amz-Log-Result", BASE64_STANDARD.encode(log)),
    ]);
    response
}

impl Response {
    fn new(status: &'static str, body: Value) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body,
        }
    }

    fn write(&self, mut stream: &TcpStream) -> io::Result<()> {
        let body = self.body.to_string();
        let mut text = format!(
            "HTTP/1.1 {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n",
            self.status,
            body.len()
        );
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        text += "\r\n";
        text += &body;
        stream.write_all(text.as_bytes())
    }
}

/// A request with a `Content-Length`.
struct Request {
    method: String,
    path: String,
    body: Vec<u8>,
}

impl Request {
    /// Reads the next request of a connection; `None` at its end.
    fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_ascii_whitespace().map(str::to_owned);
        let (Some(method), Some(path)) = (words.next(), words.next()) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let mut length = 0;
        loop {
            let mut line = String::new();
            from.read_line(&mut line)?;
            if line.trim_end().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                let value = value.trim().parse();
                length = value.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
            }
        }
        let mut body = Vec::new();
        from.take(length).read_to_end(&mut body)?;
        Ok(Some(Self { method, path, body }))
    }
}
