//! The simulator as a process that somebody started.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use crate::server::{LISTENING, serve};
use crate::{Counts, Settings};

/// Holds the settings of a process that is to be the simulator.
const SETTINGS: &str = "SIMULATED_LAMBDA";

/// A simulator in a process of its own, which ends when this is dropped, or when the process that started it ends.
#[derive(Debug)]
pub struct Simulator {
    child: Child,
    url: String,
}

impl Simulator {
    /// Starts this program again as a simulator: it must call [`serve_if_asked`] before it does anything else.
    ///
    /// # Errors
    /// It cannot be started, or does not say where it listens.
    pub fn start(settings: &Settings) -> io::Result<Self> {
        Self::start_with(Command::new(std::env::current_exe()?), settings)
    }

    /// Starts `command` as a simulator: a program that calls [`serve_if_asked`].
    ///
    /// # Errors
    /// It cannot be started, or does not say where it listens.
    pub fn start_with(mut command: Command, settings: &Settings) -> io::Result<Self> {
        let settings = serde_json::to_string(settings).expect("settings are always JSON");
        let mut child = command
            .env(SETTINGS, settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let out = child.stdout.take().expect("it is a pipe");
        let mut simulator = Self {
            child,
            url: String::new(),
        };
        // A test harness has lines of its own before it.
        for line in BufReader::new(out).lines() {
            if let Some((_, url)) = line?.split_once(LISTENING) {
                url.clone_into(&mut simulator.url);
                return Ok(simulator);
            }
        }
        let reason = "failed to start the simulator: it does not say where it listens";
        Err(io::Error::other(reason))
    }

    /// Where it listens: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What happened so far.
    ///
    /// # Errors
    /// It does not answer.
    pub fn counts(&self) -> io::Result<Counts> {
        let address = self.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address)?;
        let request =
            format!("GET /counts HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Ok(serde_json::from_str(body)?)
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        // It has nothing to lose.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Is the simulator, and does not return, where this process was started to be one; does nothing otherwise.
///
/// # Panics
/// No port can be listened at.
pub fn serve_if_asked() {
    let Ok(settings) = std::env::var(SETTINGS) else {
        return;
    };
    let settings = serde_json::from_str(&settings).expect("the settings were written by start");
    std::thread::spawn(|| {
        // It ends with the process that started it, in whatever way that ends.
        let _ = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    match serve(settings) {
        Ok(never) => match never {},
        Err(e) => panic!("failed to serve: {e}"),
    }
}
