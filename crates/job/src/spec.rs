//! `job.json` and `batches.jsonl`: the plan of a run, which never changes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::column::Column;
use crate::dialect::{Dialect, DialectOptions, Encoding};
use crate::format::{Format, OutputFormat};
use crate::function_spec::{Difference, FunctionSpec, Role};

/// Version of the layout of run directories. Runs of other versions are refused.
pub const LAYOUT_VERSION: u32 = 2;

/// Maximum number of batches. It bounds the memory for the batch table, even if a file claims an absurd number of rows.
pub const MAX_BATCHES: u64 = 1 << 22;

/// A planned job: an input, a function and parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// [`LAYOUT_VERSION`] of the writer.
    pub layout: u32,
    /// Version of shoal that planned the job; results are bit-identical only within one version.
    pub shoal: String,
    /// The inputs as the user named them, with absolute paths.
    pub inputs: Vec<String>,
    /// The sources that the inputs expand to, in order.
    pub sources: Vec<Source>,
    /// The function.
    pub function: FunctionSpec,
    /// The parameters.
    pub parameters: Parameters,
    /// The output of the first start of the run: an absolute path, or `-`.
    pub output: String,
    /// The resolved columns.
    pub columns: Columns,
    /// Number of records over all sources.
    pub records: u64,
    /// Number of batches.
    pub batches: u64,
}

/// A file, object or stream of records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// Path, URL or `-`, as messages show it.
    pub uri: String,
    /// Its format.
    pub format: Format,
    /// Detects changes.
    pub identity: Identity,
    /// Its uncompressed copy, if there is one: a name in the run directory, or a URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staged: Option<String>,
    /// The columns of a CSV or TSV source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<Vec<String>>,
    /// How a CSV or TSV source is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialect: Option<Dialect>,
    /// The encoding of a text source; `None` for UTF-8. A copy of it is in UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
    /// What was detected about the source that users may not expect, as in "it is …".
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The columns that are in its path, unless the source has a column of that name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<Partition>,
}

/// A column that has the same value in all records of a source, from a folder `name=value` of its path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// The name of the column.
    pub name: String,
    /// The value; `None` for null.
    pub value: Option<String>,
}

/// Detects changes of a source since it was planned.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Identity {
    /// Length in bytes.
    pub bytes: u64,
    /// Time of the last modification: nanoseconds since 1970 for files, RFC 3339 for objects; `None` if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<String>,
    /// The store's ETag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// BLAKE3 of the content in hexadecimal, if the planner read all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// The parameters of a job. A run resumes only with the same parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parameters {
    /// Maximum number of records in a batch.
    pub batch_size: u64,
    /// The format of the inputs, which overrides their names.
    pub input_format: Option<Format>,
    /// How delimited text is written.
    #[serde(flatten)]
    pub dialect: DialectOptions,
    /// The encoding of text sources without a byte-order mark; UTF-8 if `None`.
    #[serde(default)]
    pub encoding: Option<Encoding>,
    /// The input column of each role that the user named, such as `text`.
    pub columns: BTreeMap<String, String>,
    /// The column with the id.
    pub id_column: Option<String>,
    /// Columns to copy to the output.
    pub keep_columns: Vec<String>,
    /// Format of the parts and the output.
    pub output_format: OutputFormat,
    /// Whether bad records are in the output too, in their place: null in the function's columns, and the reason in the column
    /// `error`, which is null for other records.
    #[serde(default)]
    pub error_column: bool,
}

impl Job {
    /// What was detected about the input that users may not expect: sentences that name the sources.
    pub fn notes(&self) -> Vec<String> {
        let mut sources = Vec::<(&str, Vec<&str>)>::new();
        for source in &self.sources {
            for note in &source.notes {
                match sources.iter_mut().find(|(known, _)| known == note) {
                    Some((_, uris)) => uris.push(&source.uri),
                    None => sources.push((note, vec![&source.uri])),
                }
            }
        }
        let notes = sources.into_iter().map(|(note, uris)| match uris[..] {
            [only] => format!("{only}: {note}"),
            [first, ..] => format!("{first} and {} more: {note}", uris.len() - 1),
            [] => unreachable!("each note has a source"),
        });
        let none = "there are no records, so the output has none";
        notes
            .chain((self.records == 0).then(|| none.to_owned()))
            .collect()
    }

    /// The content of `job.json`.
    pub fn file(&self) -> Vec<u8> {
        let mut content = serde_json::to_vec_pretty(self).expect("a job is always JSON");
        content.push(b'\n');
        content
    }
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            batch_size: DEFAULT_BATCH_SIZE,
            input_format: None,
            dialect: DialectOptions::default(),
            encoding: None,
            columns: BTreeMap::new(),
            id_column: None,
            keep_columns: Vec::new(),
            output_format: OutputFormat::Csv,
            error_column: false,
        }
    }
}

/// Small enough that a few hundred records occupy every core, large enough to hide the overhead of a batch.
pub const DEFAULT_BATCH_SIZE: u64 = 50;

impl Parameters {
    /// The differences from `planned`. Each role has a parameter of its own, such as `text-column`.
    pub fn differences(&self, planned: &Self) -> Vec<Difference> {
        let [now, then] = [self, planned].map(|parameters| {
            let mut map = match serde_json::to_value(parameters) {
                Ok(Value::Object(map)) => map,
                _ => unreachable!("parameters are always a JSON object"),
            };
            map.remove("columns");
            for (role, column) in &parameters.columns {
                map.insert(format!("{role}_column"), column.clone().into());
            }
            map
        });
        Difference::between(&then, &now)
    }
}

/// The columns of a job.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Columns {
    /// The columns that the function reads, in the order of [`FunctionSpec::inputs`].
    pub inputs: Vec<InputColumn>,
    /// The column with the id; `None` for the row number.
    pub id: Option<Column>,
    /// Columns that are copied to the output.
    pub kept: Vec<Column>,
    /// The columns that are in the path of the source that is read.
    #[serde(skip)]
    pub partitions: Vec<Partition>,
}

/// A column that the function reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputColumn {
    /// Its role.
    pub role: Role,
    /// Its name in the input; `None` for an optional role that is not used.
    pub source: Option<String>,
}

impl Columns {
    /// These columns in a source that has some of them in its path.
    pub(crate) fn with_partitions(&self, partitions: &[Partition]) -> Self {
        Self {
            partitions: partitions.to_vec(),
            ..self.clone()
        }
    }

    /// The names of all columns in a source: the id, those of the function and the kept ones. `None` for the row number,
    /// unused roles, and columns that are in its path.
    pub(crate) fn sources(&self) -> impl Iterator<Item = Option<&str>> {
        self.names()
            .map(|name| name.filter(|name| self.partition_of(name).is_none()))
    }

    /// The value of a column, by its index in [`sources`](Self::sources), that is in the path of the source.
    pub(crate) fn partition(&self, index: usize) -> Option<&Partition> {
        if self.partitions.is_empty() {
            return None;
        }
        self.partition_of(self.names().nth(index)??)
    }

    fn partition_of(&self, name: &str) -> Option<&Partition> {
        self.partitions.iter().find(|known| known.name == name)
    }

    fn names(&self) -> impl Iterator<Item = Option<&str>> {
        let id = self.id.as_ref().map(|id| id.source.as_str());
        let inputs = self.inputs.iter().map(|input| input.source.as_deref());
        let kept = self.kept.iter().map(|kept| Some(kept.source.as_str()));
        std::iter::once(id).chain(inputs).chain(kept)
    }

    /// The name of the input column of `role`.
    pub fn input(&self, role: &str) -> Option<&str> {
        let input = self.inputs.iter().find(|input| input.role.name == role);
        input.and_then(|input| input.source.as_deref())
    }
}

/// Consecutive records that one function call processes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Batch {
    /// Position in the job, from 0.
    pub index: u64,
    /// Number of records.
    pub records: u64,
    /// The first record to process: 0, unless the records before it are done.
    #[serde(default, skip_serializing_if = "is_default")]
    pub offset: u64,
    /// One past the last record to process, if that is not the batch's end: the records after it are done, or the batch is
    /// being split to find a record that crashes its function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// The records, in order.
    pub slices: Vec<Slice>,
}

impl Batch {
    /// One past the last record to process.
    pub fn end(&self) -> u64 {
        self.until.map_or(self.records, |end| end.min(self.records))
    }

    /// The records from `offset` to `end` of this batch.
    pub fn range(&self, offset: u64, end: u64) -> Self {
        Self {
            offset,
            until: (end < self.records).then_some(end),
            ..self.clone()
        }
    }

    /// Checks an untrusted batch against `job`: its slices must lie in existing sources, not end before they begin, and add
    /// up to its number of records.
    ///
    /// # Errors
    /// What is wrong, to follow "batch 7 ".
    pub fn check(&self, job: &Job) -> Result<(), String> {
        let mut records = Some(0u64);
        for slice in &self.slices {
            if slice.source as usize >= job.sources.len() {
                return Err(format!(
                    "reads source {}, the job has {}",
                    slice.source,
                    job.sources.len()
                ));
            }
            if slice.start > slice.end {
                return Err(format!(
                    "has a slice that begins at {} and ends at {}",
                    slice.start, slice.end
                ));
            }
            // A line has at least one byte, so this bounds the line numbers too.
            let bytes = slice.end - slice.start;
            let ends = [(slice.row, slice.records), (slice.line, bytes)];
            if ends
                .iter()
                .any(|(at, more)| at.checked_add(*more).is_none())
            {
                return Err("has a slice that lies beyond every input".into());
            }
            if slice.fault.is_some() && slice.records != 1 {
                return Err("has a slice of a bad record that is not one record".into());
            }
            records = records.and_then(|sum| sum.checked_add(slice.records));
        }
        if records != Some(self.records) || self.offset > self.records {
            return Err(format!(
                "says that it has {} records, from number {} on, and its slices have others",
                self.records, self.offset
            ));
        }
        Ok(())
    }
}

/// Consecutive records of one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// Index of the source in the job.
    pub source: u32,
    /// First byte of a text format, first row of Parquet and Arrow.
    pub start: u64,
    /// One past the last byte or row.
    pub end: u64,
    /// Number of the first record over all sources, from 0.
    pub row: u64,
    /// Line, from 1, on which the slice starts; 0 for Parquet and Arrow.
    pub line: u64,
    /// Number of records.
    pub records: u64,
    /// The slice is one record that becomes a dead letter without being read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
}

/// A fault that the planner found in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fault {
    /// It has more than [`MAX_RECORD_BYTES`](crate::input::MAX_RECORD_BYTES).
    Oversized,
    /// A quoted field is not closed before the end of the file.
    OpenQuote,
}

/// Whether a value is omitted from JSON.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A job of one source, and a batch of it.
    fn job_and_batch() -> (Job, Batch) {
        let job = serde_json::json!({
            "layout": LAYOUT_VERSION, "shoal": "0", "inputs": [], "function": {
                "kind": "none", "reference": "none", "fingerprint": "", "inputs": [],
                "output": { "fields": [], "metadata": {} }, "unit": "rows", "determinism": "exact"
            },
            "sources": [{ "uri": "/in.jsonl", "format": "jsonl", "identity": { "bytes": 90 } }],
            "parameters": Parameters::default(), "output": "-", "records": 5, "batches": 1,
            "columns": { "inputs": [], "id": null, "kept": [] },
        });
        let slice = |row| Slice {
            source: 0,
            start: 10 * row,
            end: 10 * row + 10,
            row,
            line: row + 1,
            records: 2,
            fault: None,
        };
        let batch = Batch {
            records: 4,
            slices: vec![slice(0), slice(2)],
            ..Batch::default()
        };
        (serde_json::from_value(job).unwrap(), batch)
    }

    #[test]
    fn a_batch_must_fit_its_job() {
        let (job, batch) = job_and_batch();
        assert_eq!(batch.check(&job), Ok(()));
        type Change = fn(&mut Batch);
        let wrong: [(&str, Change); 8] = [
            ("source 1", |b| b.slices[1].source = 1),
            ("begins at 31", |b| b.slices[1].start = 31),
            ("beyond", |b| b.slices[0].row = u64::MAX),
            ("beyond", |b| b.slices[0].line = u64::MAX - 9),
            ("bad record", |b| b.slices[0].fault = Some(Fault::OpenQuote)),
            ("others", |b| b.records = 5),
            ("others", |b| b.offset = 5),
            ("others", |b| {
                b.slices[0].row = 0;
                b.slices[0].records = u64::MAX;
                b.slices[1].records = 5;
                // The wrapped sum.
                b.records = 4;
            }),
        ];
        for (says, change) in wrong {
            let mut batch = batch.clone();
            change(&mut batch);
            let reason = batch.check(&job).unwrap_err();
            assert!(reason.contains(says), "{says}: {reason}");
        }
    }

    #[test]
    fn differences_name_the_parameter_and_both_values() {
        let before = Parameters::default();
        let now = Parameters {
            batch_size: 100,
            id_column: Some("key".into()),
            columns: [("text".into(), "body".into())].into(),
            ..before.clone()
        };
        assert_eq!(
            now.differences(&before)
                .iter()
                .map(|difference| difference.text.as_str())
                .collect::<Vec<_>>(),
            [
                "batch-size was 50, is 100",
                "id-column was not set, is key",
                "text-column was not set, is body"
            ]
        );
        assert!(before.differences(&before).is_empty());
    }
}
