//! The worker of a pipe: answers each line with an invocation by a line with an outcome.

use std::io::{self, BufRead, Write};
use std::sync::Arc;

use shoal_function::{CallLimits, Host};
use shoal_job::wire::{Failure, FailureKind, Outcome};

use super::environments::Environments;

/// Answers the lines of `input`, one at a time, until it ends.
///
/// # Errors
/// The input cannot be read, or the output is closed.
pub fn serve(host: &Arc<Host>, input: impl BufRead, mut output: impl Write) -> io::Result<()> {
    let environments = Environments::new(host.clone());
    for line in input.split(b'\n') {
        let result = match serde_json::from_slice(&line?) {
            Ok(invocation) => environments.handle(&invocation, &CallLimits::default()),
            Err(e) => Err(Failure::new(
                FailureKind::Refused,
                format!("failed to read an invocation: {e}"),
            )),
        };
        let mut answer =
            serde_json::to_vec(&Outcome::from(result)).expect("an outcome is always JSON");
        answer.push(b'\n');
        output.write_all(&answer)?;
        output.flush()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::environments::tests::crashing;

    #[test]
    fn every_line_is_answered_even_after_an_invalid_one_or_a_panic() {
        let (host, _folder, invocation) = crashing();
        let line = serde_json::to_string(&invocation).unwrap();
        let mut output = Vec::new();
        let input = format!("{line}\nnonsense\n{line}\n");
        serve(&host, input.as_bytes(), &mut output).unwrap();
        let kinds: Vec<_> = output
            .lines()
            .map(|line| match serde_json::from_str(&line.unwrap()).unwrap() {
                Outcome::Failure(failure) => failure.kind,
                Outcome::Receipt(receipt) => panic!("{receipt:?}"),
            })
            .collect();
        use FailureKind::{Crashed, Refused};
        assert_eq!(kinds, [Crashed, Refused, Crashed]);
    }
}
