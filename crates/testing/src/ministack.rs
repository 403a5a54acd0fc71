//! A local AWS emulator: S3, Lambda, Step Functions and CloudFormation in one process on the loopback interface.

use std::fs::File;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::python::{MINISTACK, venv};

/// The pause between two readiness checks.
const PAUSE: Duration = Duration::from_millis(20);
/// The time limit for startup, generous for busy machines.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// Attempts to start the server: another process may take the free port before the server binds it.
const TRIES: usize = 3;

/// A running server with an empty account. Dropping it stops the server.
#[derive(Debug)]
pub struct Ministack {
    process: Child,
    port: u16,
    folder: TempDir,
}

impl Ministack {
    /// Starts a server on a free port of the loopback interface.
    ///
    /// # Panics
    /// Panics if the server cannot be installed or does not respond.
    pub fn start() -> Self {
        let program = venv(MINISTACK).join("ministack");
        let mut log_text = String::new();
        for _ in 0..TRIES {
            let folder = tempfile::tempdir().unwrap();
            let port = free_port();
            let log = File::create(folder.path().join("log")).unwrap();
            let process = Command::new(&program)
                .current_dir(folder.path())
                .env_clear()
                .env("PATH", std::env::var_os("PATH").unwrap_or_default())
                .env("HOME", folder.path())
                .env("TMPDIR", folder.path())
                .env("BIND_HOST", "127.0.0.1")
                .env("GATEWAY_PORT", port.to_string())
                .env("LAMBDA_EXECUTOR", "local")
                .stdin(Stdio::null())
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .spawn()
                .unwrap_or_else(|e| panic!("{program:?}: {e}"));
            let mut server = Self {
                process,
                port,
                folder,
            };
            if server.is_ready() {
                return server;
            }
            log_text = server.log();
        }
        panic!("ministack does not respond: {log_text}");
    }

    /// Waits until the server responds; returns `false` if the process exits instead.
    fn is_ready(&mut self) -> bool {
        let start = Instant::now();
        while start.elapsed() < START_TIMEOUT {
            if self.process.try_wait().unwrap().is_some() {
                return false;
            }
            let answer = self.health().unwrap_or_default();
            if answer.starts_with("HTTP/1.1 200") {
                return true;
            }
            std::thread::sleep(PAUSE);
        }
        false
    }

    fn health(&self) -> io::Result<String> {
        let request =
            b"GET /_ministack/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.write_all(request)?;
        io::read_to_string(stream)
    }

    /// The URL of the server.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The environment variables that make a process use this server instead of AWS.
    pub fn variables(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_ACCESS_KEY_ID", "test".into()),
            ("AWS_SECRET_ACCESS_KEY", "test".into()),
            ("AWS_REGION", "us-east-1".into()),
            ("AWS_ALLOW_HTTP", "true".into()),
        ]
    }

    /// Runs a Python program with `boto3` and these variables. Returns its output.
    ///
    /// # Panics
    /// Panics if the program fails.
    pub fn python(&self, program: &str) -> String {
        let python: PathBuf = venv(MINISTACK).join("python");
        let output = Command::new(python)
            .args(["-c", program])
            // boto3's name for the region.
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .envs(self.variables())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{program}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// The log of the server.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Ministack {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}
