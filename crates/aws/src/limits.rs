//! The platform's limits, checked before anything is sent. AWS would report violations only after the run has started,
//! and emulators do not report them at all.
//!
//! Sources, read in 2026 on docs.aws.amazon.com: *Lambda quotas* (`lambda/latest/dg/gettingstarted-limits.html`) and
//! *Step Functions service quotas* (`step-functions/latest/dg/service-quotas.html`).

use std::ops::RangeInclusive;

// The limits that the planner needs too.
pub use shoal_estimate::limits::{
    CONCURRENCY, EXPRESS_SECONDS, EXPRESS_STARTS, MEMORY, ONE_VCPU, PACKAGE_BYTES, PAYLOAD_BYTES,
    STANDARD_STARTS, STATE_BYTES, TIMEOUT,
};

use crate::state_machine::{Children, Input};

/// The size of a function's `/tmp` in MB. Lambda quotas, *Storage*.
pub const TMP: RangeInclusive<u32> = 512..=10_240;
/// The size of a function's environment variables in bytes. Lambda quotas, *Environment variables*.
pub const ENVIRONMENT_BYTES: usize = 4 * 1024;

/// The size of a state machine's definition in bytes. Step Functions quotas, *Request size*.
pub const DEFINITION_BYTES: usize = 1024 * 1024;

/// A violated limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitError {
    /// The definition is too large.
    #[error(
        "failed to use the state machine: its definition has {bytes} bytes, and Step Functions allows {DEFINITION_BYTES}"
    )]
    Definition {
        /// Its size.
        bytes: usize,
    },
    /// The execution's input is too large.
    #[error(
        "failed to start the state machine: its input has {bytes} bytes, and Step Functions allows {STATE_BYTES}; shorten \
         the run's name or the store's prefix"
    )]
    Input {
        /// Its size.
        bytes: usize,
    },
    /// A field of the execution's input is out of range.
    #[error(
        "failed to start the state machine: {field} is {value}, and Step Functions allows {range}"
    )]
    Field {
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
        /// The allowed values.
        range: &'static str,
    },
    /// A line of the manifest is too large for one child.
    #[error(
        "failed to write line {line} of the manifest: it has {bytes} bytes, and Step Functions allows {STATE_BYTES}; use \
         smaller batches"
    )]
    Line {
        /// Its number, from 1.
        line: u64,
        /// Its size without the line's end.
        bytes: usize,
    },
    /// The payload of an invocation is too large.
    #[error(
        "failed to invoke the function: the payload has {bytes} bytes, and Lambda allows {PAYLOAD_BYTES}; use smaller \
         batches"
    )]
    Payload {
        /// Its size.
        bytes: usize,
    },
}

/// Checks the size of a state machine's definition.
///
/// # Errors
/// Fails if the definition is larger than the platform allows.
pub fn check_definition(definition: &str) -> Result<(), LimitError> {
    let bytes = definition.len();
    (bytes <= DEFINITION_BYTES)
        .then_some(())
        .ok_or(LimitError::Definition { bytes })
}

/// Checks the fields and the size of an execution's input.
///
/// # Errors
/// Fails if a field is out of range, or if the JSON is larger than the platform allows.
pub fn check_input(input: &Input) -> Result<(), LimitError> {
    let field = |field, value: String, range| LimitError::Field {
        field,
        value,
        range,
    };
    if !(1..=CONCURRENCY).contains(&input.concurrency) {
        return Err(field(
            "concurrency",
            input.concurrency.to_string(),
            "1 to 10000",
        ));
    }
    if !(0.0..=100.0).contains(&input.tolerated) {
        return Err(field("tolerated", input.tolerated.to_string(), "0 to 100"));
    }
    for (name, value) in [
        ("bucket", &input.bucket),
        ("manifest", &input.manifest),
        ("results", &input.results),
    ] {
        if value.is_empty() {
            return Err(field(name, "empty".into(), "a name"));
        }
    }
    let bytes = input.json().len();
    (bytes <= STATE_BYTES)
        .then_some(())
        .ok_or(LimitError::Input { bytes })
}

/// Checks the size of a line of the manifest, without its line break; `line` counts from 1.
///
/// # Errors
/// Fails if the line is larger than the input of a child may be.
pub fn check_line(line: u64, content: &[u8]) -> Result<(), LimitError> {
    let bytes = content.len();
    (bytes <= STATE_BYTES)
        .then_some(())
        .ok_or(LimitError::Line { line, bytes })
}

/// Checks the payload of a synchronous invocation.
///
/// # Errors
/// Fails if the payload is larger than Lambda allows.
pub fn check_payload(payload: &[u8]) -> Result<(), LimitError> {
    let bytes = payload.len();
    (bytes <= PAYLOAD_BYTES)
        .then_some(())
        .ok_or(LimitError::Payload { bytes })
}

/// Chooses Express children if the batches are short enough, because they start ten times as fast and do not pay for
/// transitions. Two thirds of an Express execution's time must remain for cold starts, slow hosts and another attempt.
pub fn choose_children(expected_batch_seconds: f64) -> Children {
    if expected_batch_seconds <= EXPRESS_SECONDS / 3.0 {
        Children::Express
    } else {
        Children::Standard
    }
}

/// The minimum time in seconds that a Distributed Map takes to start `batches` children.
pub fn seconds_to_start(batches: u64, children: Children) -> f64 {
    let rate = match children {
        Children::Standard => STANDARD_STARTS,
        Children::Express => EXPRESS_STARTS,
    };
    batches as f64 / rate
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input() -> Input {
        Input {
            bucket: "b".into(),
            manifest: "shoal/runs/r/manifest/1.jsonl".into(),
            results: "shoal/runs/r/map/1".into(),
            children: Children::Express,
            concurrency: 10_000,
            tolerated: 100.0,
        }
    }

    #[test]
    fn inputs_beyond_the_limits_are_refused() {
        check_input(&input()).unwrap();
        for concurrency in [0, 10_001] {
            let error = check_input(&Input {
                concurrency,
                ..input()
            })
            .unwrap_err();
            assert!(error.to_string().contains("1 to 10000"), "{error}");
        }
        for tolerated in [-0.1, 100.1, f64::NAN] {
            let wrong = Input {
                tolerated,
                ..input()
            };
            assert!(matches!(
                check_input(&wrong),
                Err(LimitError::Field {
                    field: "tolerated",
                    ..
                })
            ));
        }
        let empty = Input {
            results: String::new(),
            ..input()
        };
        assert!(check_input(&empty).is_err());
        let room = STATE_BYTES - input().json().len() + input().manifest.len();
        let long = |length| Input {
            manifest: "m".repeat(length),
            ..input()
        };
        check_input(&long(room)).unwrap();
        assert_eq!(
            check_input(&long(room + 1)),
            Err(LimitError::Input {
                bytes: STATE_BYTES + 1
            })
        );
    }

    #[test]
    fn sizes_beyond_the_limits_are_refused() {
        check_line(1, &vec![b'x'; STATE_BYTES]).unwrap();
        let error = check_line(7, &vec![b'x'; STATE_BYTES + 1]).unwrap_err();
        assert!(error.to_string().contains("line 7"), "{error}");
        check_payload(&vec![0; PAYLOAD_BYTES]).unwrap();
        assert!(check_payload(&vec![0; PAYLOAD_BYTES + 1]).is_err());
        check_definition(&" ".repeat(DEFINITION_BYTES)).unwrap();
        assert!(check_definition(&" ".repeat(DEFINITION_BYTES + 1)).is_err());
    }

    #[test]
    fn long_batches_get_standard_children() {
        assert_eq!(choose_children(0.0), Children::Express);
        assert_eq!(choose_children(100.0), Children::Express);
        assert_eq!(choose_children(100.1), Children::Standard);
        // Unknown: choose the type without a time limit.
        assert_eq!(choose_children(f64::NAN), Children::Standard);
    }

    #[test]
    fn starting_children_takes_time() {
        assert_eq!(seconds_to_start(1_000, Children::Standard), 10.0);
        assert_eq!(seconds_to_start(1_000, Children::Express), 1.0);
    }
}
