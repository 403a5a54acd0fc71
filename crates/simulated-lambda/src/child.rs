//! The simulator as a child process.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use crate::server::{LISTENING, serve};
use crate::{Counts, Settings};

/// The environment variable with the simulator's settings.
const SETTINGS: &str = "SIMULATED_LAMBDA";

/// A simulator in a child process, which exits when this value is dropped or when the parent process exits.
#[derive(Debug)]
pub struct Simulator {
    child: Child,
    url: String,
}

impl Simulator {
    /// Starts the current executable as a simulator. Its `main` must call [`serve_if_asked`] first.
    ///
    /// # Errors
    /// Fails if the process cannot be started or does not print its URL.
    pub fn start(settings: &Settings) -> io::Result<Self> {
        let settings = serde_json::to_string(settings).expect("settings are always JSON");
        let mut child = Command::new(std::env::current_exe()?)
            .env(SETTINGS, settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let out = child.stdout.take().expect("stdout is a pipe");
        let mut simulator = Self {
            child,
            url: String::new(),
        };
        // A test harness may print other lines first.
        for line in BufReader::new(out).lines() {
            if let Some((_, url)) = line?.split_once(LISTENING) {
                url.clone_into(&mut simulator.url);
                return Ok(simulator);
            }
        }
        let reason = "failed to start the simulator: it did not print its URL";
        Err(io::Error::other(reason))
    }

    /// Its URL: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The counters so far.
    ///
    /// # Errors
    /// Fails if the simulator does not respond.
    pub fn counts(&self) -> io::Result<Counts> {
        let address = self.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address)?;
        let request =
            format!("GET /counts HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let answer = io::read_to_string(stream)?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Ok(serde_json::from_str(body)?)
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the simulator and never returns if this process was started by [`Simulator`]; does nothing otherwise.
///
/// # Panics
/// Panics if no port is available.
pub fn serve_if_asked() {
    let Ok(settings) = std::env::var(SETTINGS) else {
        return;
    };
    let settings = serde_json::from_str(&settings).expect("the settings are valid JSON");
    std::thread::spawn(|| {
        // Standard input closes when the parent process exits or crashes.
        let _ = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    match serve(settings) {
        Ok(never) => match never {},
        Err(e) => panic!("failed to serve: {e}"),
    }
}
