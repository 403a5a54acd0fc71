//! Bad records, inputs, models and flags: each has its message and exit code, and none leaves a partial output.

mod command;
mod inputs;
mod outputs;
mod records;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::{Value, json};

use crate::support::{Bench, describe, jsonl, repository, tiny, tiny_model};

pub(crate) const USAGE: i32 = 2;
pub(crate) const INPUT: i32 = 3;
pub(crate) const MODEL: i32 = 4;
pub(crate) const STORAGE: i32 = 5;
pub(crate) const RUN: i32 = 6;
pub(crate) const BAD_RECORD: i32 = 7;

/// Runs `shoal run` with the tiny model, which must fail with this exit code and leave no output. Returns the message.
fn run_fails(bench: &Bench, code: i32, args: &[&str]) -> String {
    let args = [&["run", "--model", tiny()], args].concat();
    let message = bench.fails(code, &args);
    assert!(
        !bench.path("out.csv").exists(),
        "an output exists: {message}"
    );
    let last = message.lines().last().unwrap_or_default();
    assert!(last.starts_with("error: "), "{message}");
    message
}

/// `shoal run INPUT -o out.csv` must fail with this exit code and with the input and all these words in its message.
fn input_fails(bench: &Bench, code: i32, input: &str, words: &[&str]) {
    let message = run_fails(bench, code, &[input, "-o", "out.csv"]);
    for word in words.iter().chain(&[input]) {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
}

/// The temporary files next to the output, which exist only while it is written.
fn temporaries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(".tmp"))
        .collect()
}
