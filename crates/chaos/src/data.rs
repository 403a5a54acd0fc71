//! Generated inputs, and readers for outputs.

use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use fastrand::Rng;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use shoal_job::format::{Format, OutputFormat};

use crate::scenario::{Scenario, choose, rng};

/// The words of generated texts.
const WORDS: [&str; 12] = [
    "a", "good", "bad", "film", "the", "was", "not", "great", "boring", "shoal", "42", "naïve",
];

/// The ids of valid and of malformed records, in input order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) good: Vec<String>,
    pub(crate) bad: Vec<String>,
}

/// Writes the inputs of a scenario into `folder`. Returns their paths and ids.
pub(crate) fn write_inputs(scenario: &Scenario, folder: &Path) -> (Vec<String>, Ids) {
    let rng = &mut rng(scenario.seed, "data", 0);
    let mut ids = Ids::default();
    let mut names = Vec::new();
    let mut number = 0;
    for (file, count) in scenario.files.iter().enumerate() {
        let records: Vec<_> = (0..*count)
            .map(|place| {
                number += 1;
                let id = format!("r{number}");
                // The columns of a file are detected only if it has a valid record.
                let is_bad = place > 0 && rng.usize(..100) < scenario.bad_percent;
                let kept = if is_bad { &mut ids.bad } else { &mut ids.good };
                kept.push(id.clone());
                (id, (!is_bad).then(|| text(rng)))
            })
            .collect();
        let path = folder.join(format!("{file}.{}", scenario.input.name()));
        let content = match scenario.input {
            Format::Csv => csv(&records),
            Format::Jsonl => jsonl(&records),
            _ => parquet(&records),
        };
        std::fs::write(&path, content).expect("the folder can be written");
        names.push(path.display().to_string());
    }
    (names, ids)
}

fn text(rng: &mut Rng) -> String {
    let words: Vec<_> = (0..rng.usize(1..12))
        .map(|_| *choose(rng, &WORDS))
        .collect();
    words.join(" ")
}

type Records = [(String, Option<String>)];

fn csv(records: &Records) -> Vec<u8> {
    let mut out = b"id,text\n".to_vec();
    for (id, text) in records {
        let line = match text {
            Some(text) => format!("{id},\"{text}\"\n"),
            None => format!("{id},\n"),
        };
        out.extend(line.into_bytes());
    }
    out
}

fn jsonl(records: &Records) -> Vec<u8> {
    let line = |(id, text): &(String, Option<String>)| {
        format!("{}\n", serde_json::json!({ "id": id, "text": text }))
    };
    records.iter().map(line).collect::<String>().into_bytes()
}

fn parquet(records: &Records) -> Vec<u8> {
    let column = |name| Field::new(name, DataType::Utf8, true);
    let schema = Arc::new(Schema::new(vec![column("id"), column("text")]));
    let ids: StringArray = records.iter().map(|(id, _)| Some(id.as_str())).collect();
    let texts: StringArray = records.iter().map(|(_, text)| text.as_deref()).collect();
    let columns: Vec<ArrayRef> = vec![Arc::new(ids), Arc::new(texts)];
    let rows =
        RecordBatch::try_new(schema.clone(), columns).expect("both columns have the same length");
    let mut out = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut out, schema, None).expect("memory can be written");
    writer.write(&rows).expect("memory can be written");
    writer.close().expect("memory can be written");
    out
}

/// The ids of an output, read by independent libraries.
pub(crate) fn ids_of(format: OutputFormat, output: &[u8]) -> Vec<String> {
    match format {
        OutputFormat::Csv => csv::Reader::from_reader(output)
            .records()
            .map(|row| row.expect("the output is CSV")[0].to_owned())
            .collect(),
        OutputFormat::Jsonl => lines(output),
        OutputFormat::Parquet => {
            let output = bytes::Bytes::copy_from_slice(output);
            let reader = ParquetRecordBatchReaderBuilder::try_new(output)
                .and_then(|builder| builder.build())
                .expect("the output is Parquet");
            first_columns(reader)
        }
        OutputFormat::Arrow => {
            let reader = arrow_ipc::reader::FileReader::try_new(Cursor::new(output), None);
            first_columns(reader.expect("the output is Arrow IPC"))
        }
        other => panic!("no scenario writes {} files", other.extension()),
    }
}

/// The strings in the first column of all batches.
fn first_columns(
    batches: impl Iterator<Item = Result<RecordBatch, arrow_schema::ArrowError>>,
) -> Vec<String> {
    let mut ids = Vec::new();
    for rows in batches {
        let rows = rows.expect("the output can be read");
        let column = rows.column(0).as_any().downcast_ref::<StringArray>();
        let column = column.expect("ids are strings");
        let texts = column
            .iter()
            .map(|id| id.expect("every row has an id").to_owned());
        ids.extend(texts);
    }
    ids
}

/// The ids in JSON Lines.
pub(crate) fn lines(content: &[u8]) -> Vec<String> {
    let values = serde_json::Deserializer::from_slice(content).into_iter::<serde_json::Value>();
    values
        .map(|value| {
            value.expect("a line is JSON")["id"]
                .as_str()
                .expect("ids are strings")
                .to_owned()
        })
        .collect()
}
