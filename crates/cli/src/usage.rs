//! What is wrong with a command line: the messages of clap, with what a valid value is.

use std::error::Error as _;
use std::net::AddrParseError;
use std::num::{IntErrorKind, ParseFloatError, ParseIntError};
use std::path::Path;

use clap::Error;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use shoal::job::store::is_url;

/// The error with what to write instead, as far as clap does not say it. `words` are the arguments.
pub(crate) fn explained(mut error: Error, words: &[String]) -> Error {
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let word = text(&error, ContextKind::InvalidSubcommand);
            if let Some(word) = word.filter(|word| is_input(word)) {
                let tip = format!("to process it: {}", run_command(&word, words));
                let tips = ContextValue::StyledStrs(vec![tip.into()]);
                error.insert(ContextKind::SuggestedSubcommand, ContextValue::None);
                error.insert(ContextKind::Suggested, tips);
            }
            error
        }
        ErrorKind::ValueValidation => match expected(&error) {
            Some(expected) => invalid_value(&error, expected),
            None => error,
        },
        _ => error,
    }
}

/// Whether a word is an input rather than a misspelled command.
fn is_input(word: &str) -> bool {
    word == "-" || is_url(word) || word.contains(['.', '/', '*']) || Path::new(word).exists()
}

/// The command that processes the input.
fn run_command(input: &str, words: &[String]) -> String {
    let at = words.iter().position(|word| word == input);
    let mut command = vec!["run".to_owned()];
    command.extend(words[at.unwrap_or(words.len())..].iter().cloned());
    let is_output = |word: &String| word.starts_with("-o") || word.starts_with("--output");
    if !words.iter().any(is_output) {
        command.extend(["-o".to_owned(), "labels.csv".to_owned()]);
    }
    shoal::report::shell(&command)
}

/// What a valid value is, where the parser of the standard library does not say it.
fn expected(error: &Error) -> Option<&'static str> {
    let source = error.source()?;
    if let Some(integer) = source.downcast_ref::<ParseIntError>() {
        return Some(match integer.kind() {
            IntErrorKind::PosOverflow => "it is too large",
            IntErrorKind::NegOverflow => "it is too small",
            IntErrorKind::Zero => "it must be at least 1",
            _ => "it is not a whole number, such as 50",
        });
    }
    if source.is::<ParseFloatError>() {
        return Some("it is not a number, such as 0.5");
    }
    let is_address = source.is::<AddrParseError>();
    is_address.then_some("it is not an address with a port, such as 127.0.0.1:8080")
}

fn invalid_value(error: &Error, expected: &str) -> Error {
    let value = text(error, ContextKind::InvalidValue).unwrap_or_default();
    let option = text(error, ContextKind::InvalidArg).unwrap_or_default();
    let message = format!(
        "invalid value '{value}' for '{option}': {expected}\n\nFor more information, try '--help'.\n"
    );
    Error::raw(ErrorKind::ValueValidation, message)
}

fn text(error: &Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        _ => None,
    }
}
