//! A small HTTP server on the loopback interface, for tests that use the network.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// A request to the server.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) range: Option<String>,
    pub(crate) authorization: Option<String>,
    pub(crate) content: Vec<u8>,
}

/// The response to a request: the status code and reason, header lines, and the content, which is omitted for `HEAD`.
pub(crate) struct Response {
    pub(crate) status: &'static str,
    pub(crate) headers: String,
    pub(crate) content: Vec<u8>,
}

impl Response {
    /// `404`.
    pub(crate) fn not_found() -> Self {
        Self {
            status: "404 Not Found",
            headers: String::new(),
            content: b"Entry not found".to_vec(),
        }
    }

    /// The requested range of `content`.
    pub(crate) fn part(request: &Request, content: &[u8], headers: &str) -> Self {
        let (first, last) = request
            .range
            .as_deref()
            .and_then(|range| range.strip_prefix("bytes="))
            .and_then(|range| range.split_once('-'))
            .unwrap_or(("0", ""));
        let first: usize = first.parse().unwrap();
        let end = last.parse().map_or(content.len(), |last: usize| last + 1);
        let status = match request.range {
            Some(_) => "206 Partial Content",
            None => "200 OK",
        };
        Self {
            status,
            headers: format!(
                "{headers}Content-Range: bytes {first}-{}/{}\r\n",
                end - 1,
                content.len()
            ),
            content: content[first..end].to_vec(),
        }
    }
}

/// A running server. Dropping it stops it.
pub(crate) struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a server that responds with the results of `answer`, which is called with the request and the server's URL.
    pub(crate) fn new(answer: impl Fn(&Request, &str) -> Response + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (seen, asked_to_stop) = (requests.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            for connection in listener.incoming() {
                if asked_to_stop.load(Ordering::SeqCst) {
                    return;
                }
                // Errors are ignored, because a client may close its connection.
                let url = format!("http://{address}");
                let _ = serve(connection.unwrap(), &seen, |request| answer(request, &url));
            }
        });
        Self {
            address,
            requests,
            stop,
            thread: Some(thread),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread, which waits for a connection.
        let _ = TcpStream::connect(self.address);
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

/// Answers one request.
fn serve(
    mut stream: TcpStream,
    seen: &Mutex<Vec<Request>>,
    answer: impl Fn(&Request) -> Response,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut lines = (&mut reader).lines();
    let Some(first) = lines.next() else {
        return Ok(());
    };
    let first = first?;
    let mut words = first.split(' ').map(str::to_owned);
    let mut request = Request {
        method: words.next().unwrap(),
        path: words.next().unwrap(),
        range: None,
        authorization: None,
        content: Vec::new(),
    };
    let mut length = 0;
    for line in lines {
        let line = line?;
        match line.split_once(": ") {
            None => break,
            Some((name, value)) if name.eq_ignore_ascii_case("range") => {
                request.range = Some(value.to_owned());
            }
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                request.authorization = Some(value.to_owned());
            }
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().unwrap();
            }
            Some(_) => {}
        }
    }
    reader.take(length).read_to_end(&mut request.content)?;
    let Response {
        status,
        headers,
        content,
    } = answer(&request);
    let has_content = request.method != "HEAD";
    seen.lock().unwrap().push(request);
    let length = content.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    if has_content {
        stream.write_all(&content)?;
    }
    Ok(())
}
