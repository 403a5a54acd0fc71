//! Ctrl-C and requests to terminate.

use std::sync::atomic::{AtomicBool, Ordering};

use super::output::say;
use shoal::Cancel;
use shoal::error::ExitCode;

/// Is cancelled by the first Ctrl-C or request to terminate; the second one exits at once.
pub(crate) fn cancel_on_signal() -> Cancel {
    let cancel = Cancel::new();
    let seen = cancel.clone();
    on_signal(move || seen.cancel());
    cancel
}

/// Calls `ask` at the first Ctrl-C or request to terminate; the second one exits at once.
pub(crate) fn on_signal(ask: impl Fn() + Send + 'static) {
    static ASKED: AtomicBool = AtomicBool::new(false);
    let installed = ctrlc::set_handler(move || {
        if ASKED.swap(true, Ordering::SeqCst) {
            std::process::exit(ExitCode::Interrupted as i32);
        }
        ask();
    });
    if let Err(e) = installed {
        say(&format!("warning: Ctrl-C will stop this at once: {e}"));
    }
}
