//! Arbitrary request to a worker: raw, or with a correct length and possibly the token. Every
//! request is answered, and without the token no work is done.

#![no_main]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, mpsc};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use shoal::worker::http::{HttpSettings, serve};
use shoal::worker::{Allow, Token};
use shoal_function::Host;
use shoal_fuzz::{SEPARATOR, folder};
use shoal_job::wire::{Failure, FailureKind};

struct Scene {
    allowed: PathBuf,
    address: SocketAddr,
    /// Dropping it would stop the worker.
    _stop: tokio::sync::oneshot::Sender<()>,
}

/// A worker whose function finds no job: the target is the HTTP layer.
static SCENE: LazyLock<Scene> = LazyLock::new(|| {
    let allowed = folder().keep();
    let settings = HttpSettings {
        address: ([127, 0, 0, 1], 0).into(),
        concurrency: 2,
        token: Some(Token::new("secret").unwrap()),
        allow: Allow::below(&[allowed.to_str().unwrap()]).unwrap(),
        tls: None,
        grace: Duration::ZERO,
        call_timeout: Duration::from_secs(20),
        read_timeout: Duration::from_secs(2),
    };
    let (_stop, stopped) = tokio::sync::oneshot::channel();
    let (url_sender, url_receiver) = mpsc::channel::<String>();
    std::thread::spawn(move || {
        let open = |_: &_| Err(Failure::new(FailureKind::Model, "no such model"));
        let host = move || Ok(Arc::new(Host::new("fuzz", Duration::ZERO, Box::new(open))));
        serve(settings, host, stopped, |url| {
            url_sender.send(url.into()).unwrap()
        })
        .unwrap();
    });
    let url = url_receiver.recv().unwrap();
    Scene {
        allowed,
        address: url.strip_prefix("http://").unwrap().parse().unwrap(),
        _stop,
    }
});

fuzz_target!(|input: &[u8]| {
    let Some((&choice, rest)) = input.split_first() else {
        return;
    };
    let Scene {
        allowed, address, ..
    } = &*SCENE;
    let mut parts = rest.splitn(2, |byte| *byte == SEPARATOR);
    let head = parts.next().unwrap_or_default();
    let body = String::from_utf8_lossy(parts.next().unwrap_or_default())
        .replace("ALLOWED", allowed.to_str().unwrap());
    let is_raw = choice & 1 != 0;
    let has_header = choice & 2 != 0;
    let request = if is_raw {
        rest.to_vec()
    } else {
        let mut request =
            b"POST /invoke HTTP/1.1\r\nHost: worker\r\nConnection: close\r\n".to_vec();
        if has_header {
            request.extend_from_slice(b"Authorization: Bearer secret\r\n");
        }
        request.extend_from_slice(head);
        request.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
        request.extend_from_slice(body.as_bytes());
        request
    };
    let mut stream = TcpStream::connect(address).unwrap();
    // A worker that responds before it has read everything may already have closed the connection.
    let _ = stream.write_all(&request);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    if !answer.is_empty() {
        assert!(answer.starts_with("HTTP/1."), "{answer}");
    }
    let has_token = has_header || rest.windows(6).any(|word| word == b"secret");
    if !has_token {
        assert!(!answer.contains("failed to find the job"), "{answer}");
    }
});
