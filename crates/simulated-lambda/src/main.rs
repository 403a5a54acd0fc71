//! The simulator as a command: `simulated-lambda ['{"concurrency": 100, "cold_ms": 300, "call_ms": 20}']`.

use std::process::ExitCode;

use simulated_lambda::{Settings, serve, serve_if_asked};

fn main() -> ExitCode {
    serve_if_asked();
    let settings = match std::env::args().nth(1) {
        None => Ok(Settings::default()),
        Some(text) => serde_json::from_str(&text).map_err(|e| format!("read the settings: {e}")),
    };
    let served = settings.and_then(|settings| serve(settings).map_err(|e| format!("serve: {e}")));
    match served {
        Ok(never) => match never {},
        Err(e) => {
            eprintln!("error: failed to {e}");
            ExitCode::FAILURE
        }
    }
}
