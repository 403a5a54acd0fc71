//! AWS on this machine: S3, Lambda, Step Functions and CloudFormation in one process on the loopback.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::python::{MINISTACK, venv};

/// Between two looks at whether the server answers.
const PAUSE: Duration = Duration::from_millis(20);
/// Much longer than a start takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// Another process may take the port between our finding it and the server's binding it.
const TRIES: usize = 3;

/// A running server with an empty account; it ends when this is dropped.
#[derive(Debug)]
pub struct Ministack {
    process: Child,
    port: u16,
    folder: TempDir,
}

impl Ministack {
    /// Starts a server on a free port of the loopback.
    ///
    /// # Panics
    /// It cannot be installed, or does not answer.
    pub fn start() -> Self {
        let program = venv(MINISTACK).join("ministack");
        let mut said = String::new();
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
            said = server.log();
        }
        panic!("ministack does not answer: {said}");
    }

    /// Waits for an answer; `false` if the process ends instead.
    fn is_ready(&mut self) -> bool {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if self.process.try_wait().unwrap().is_some() {
                return false;
            }
            if let Some(answer) = self.get("/_ministack/health")
                && answer.starts_with("HTTP/1.1 200")
            {
                return true;
            }
            std::thread::sleep(PAUSE);
        }
        false
    }

    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok()?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// Where it listens.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What a process needs in its environment to talk to it as if it were AWS.
    pub fn variables(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_ACCESS_KEY_ID", "test".into()),
            ("AWS_SECRET_ACCESS_KEY", "test".into()),
            ("AWS_REGION", "us-east-1".into()),
            ("AWS_ALLOW_HTTP", "true".into()),
        ]
    }

    /// Runs a Python program with `boto3` and these variables, which must succeed, and gives what it printed.
    ///
    /// # Panics
    /// The program fails.
    pub fn python(&self, program: &str) -> String {
        let python: PathBuf = venv(MINISTACK).join("python");
        let output = Command::new(python)
            .args(["-c", program])
            // The name that Python knows it by.
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

    /// What the server has said.
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
