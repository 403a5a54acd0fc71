//! The `shoal` command: arguments → settings → one call → exit code.

fn main() -> std::process::ExitCode {
    shoal::cli::main()
}
