//! Ctrl-C and requests to terminate.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use super::output::say;
use super::waits;
use shoal::Cancel;
use shoal::error::ExitCode;

/// Is cancelled by the first Ctrl-C or request to terminate, which says so; the second one exits at once.
pub(crate) fn cancel_on_signal() -> Cancel {
    let cancel = Cancel::new();
    let seen = cancel.clone();
    on_signal(move || seen.cancel());
    cancel
}

/// Calls `ask` at the first Ctrl-C or request to terminate; the second one exits at once. A signal that was ignored when the
/// process started, such as SIGHUP under `nohup`, stays ignored.
pub(crate) fn on_signal(ask: impl Fn() + Send + 'static) {
    static ASKED: AtomicBool = AtomicBool::new(false);
    let installed = handle(move || {
        if ASKED.swap(true, Ordering::SeqCst) {
            exit(ExitCode::Interrupted as i32);
        }
        // Whoever waits for the end of a call in vain needs to know how to end it at once.
        ask();
        let until = match waits::long() {
            Some(wait) => format!("as soon as {} answers", wait.what),
            None => "after what is in progress".into(),
        };
        say(&format!(
            "stopping {until}; Ctrl-C again stops at once, and what is finished is kept"
        ));
    });
    if let Err(e) = installed {
        say(&format!("warning: Ctrl-C will stop this at once: {e}"));
    }
}

/// Exits at once, without waiting for locks that other threads may hold.
#[cfg(unix)]
fn exit(code: i32) -> ! {
    signal_hook::low_level::exit(code)
}

#[cfg(not(unix))]
fn exit(code: i32) -> ! {
    std::process::exit(code)
}

/// Calls `handler` in a thread at each signal.
#[cfg(unix)]
fn handle(handler: impl Fn() + Send + 'static) -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;

    let ignored = ignored();
    let is_ignored = |signal: i32| ignored >> (signal - 1) & 1 == 1;
    let handled = [SIGHUP, SIGINT, SIGTERM];
    let handled = handled.into_iter().filter(|signal| !is_ignored(*signal));
    let mut signals = Signals::new(handled)?;
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || signals.forever().for_each(|_| handler()))
        .map(drop)
}

/// The signals that this process ignores, a bit for each from the lowest. Only Linux tells it without a system call.
#[cfg(unix)]
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

#[cfg(not(unix))]
fn handle(handler: impl Fn() + Send + 'static) -> io::Result<()> {
    ctrlc::set_handler(handler).map_err(io::Error::other)
}
