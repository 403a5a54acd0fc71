//! Reads the outputs in `tests/golden` and writes them again, which must give the same bytes.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, Float32Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use common::job;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::value::RawValue;
use shoal_job::collect::{Destination, collect};
use shoal_job::column::Column;
use shoal_job::format::OutputFormat;
use shoal_job::part::PartWriter;
use shoal_job::spec::Job;
use shoal_job::wire::Receipt;
use shoal_job::{Cell, CompletedRanges, Receipts, Record, RunDir};

/// An output as cells: its columns, and the values of each row.
struct Output {
    names: Vec<String>,
    types: Vec<DataType>,
    rows: Vec<Vec<Cell>>,
}

impl Output {
    fn read(format: OutputFormat, content: &[u8]) -> Option<Self> {
        match format {
            OutputFormat::Csv => Some(Self::csv(content)),
            OutputFormat::Jsonl => Self::jsonl(content),
            _ => Self::parquet(content),
        }
    }

    fn csv(content: &[u8]) -> Self {
        let mut reader = csv::Reader::from_reader(content);
        let names: Vec<_> = reader
            .headers()
            .unwrap()
            .iter()
            .map(str::to_owned)
            .collect();
        let rows = reader.records().map(|row| {
            let row = row.unwrap();
            row.iter()
                .map(|field| Cell::Text(field.to_owned()))
                .collect()
        });
        Self {
            rows: rows.collect(),
            types: vec![DataType::Utf8; names.len()],
            names,
        }
    }

    /// Returns `None` if there are no rows, because the columns are then unknown.
    fn jsonl(content: &[u8]) -> Option<Self> {
        let lines = std::str::from_utf8(content).unwrap().lines();
        let rows: Vec<Vec<(String, Cell)>> = lines.map(fields).collect();
        let names: Vec<_> = rows.first()?.iter().map(|(name, _)| name.clone()).collect();
        Some(Self {
            types: vec![DataType::Utf8; names.len()],
            names,
            rows: rows
                .into_iter()
                .map(|row| row.into_iter().map(|(_, cell)| cell).collect())
                .collect(),
        })
    }

    /// Returns `None` if there are nested columns, which cannot be made from text.
    fn parquet(content: &[u8]) -> Option<Self> {
        let content = bytes::Bytes::copy_from_slice(content);
        let builder = ParquetRecordBatchReaderBuilder::try_new(content).unwrap();
        let fields = builder.schema().fields().clone();
        if fields.iter().any(|field| field.data_type().is_nested()) {
            return None;
        }
        let mut rows = Vec::new();
        for batch in builder.build().unwrap() {
            let batch = batch.unwrap();
            let columns: Vec<_> = batch
                .columns()
                .iter()
                .map(|column| arrow_cast::cast(column, &DataType::Utf8).unwrap())
                .collect();
            rows.extend((0..batch.num_rows()).map(|row| {
                let cell = |column: &ArrayRef| match column.as_string::<i32>() {
                    column if column.is_null(row) => Cell::Null,
                    column => Cell::Text(column.value(row).to_owned()),
                };
                columns.iter().map(cell).collect()
            }));
        }
        Some(Self {
            names: fields.iter().map(|field| field.name().clone()).collect(),
            types: fields
                .iter()
                .map(|field| field.data_type().clone())
                .collect(),
            rows,
        })
    }

    /// The number of columns of the task: a label, its score, and the scores of all labels.
    fn tasks(&self) -> usize {
        let scores = self.names[3..].iter();
        2 + scores.take_while(|name| name.starts_with("score_")).count()
    }

    fn job(&self, format: OutputFormat) -> Job {
        let column = |index: usize| Column {
            source: self.names[index].clone(),
            name: self.names[index].clone(),
            data_type: self.types[index].clone(),
            extension: Default::default(),
        };
        let tasks = self.tasks();
        let field = |index: usize| {
            let data_type = if index == 1 {
                DataType::Utf8
            } else {
                DataType::Float32
            };
            Field::new(&self.names[index], data_type, false)
        };
        let output = Schema::new((1..=tasks).map(field).collect::<Vec<_>>());
        let mut job = job(format, &RecordBatch::new_empty(Arc::new(output)), &[]);
        job.columns.id = Some(column(0));
        job.columns.kept = (tasks + 1..self.names.len()).map(column).collect();
        job
    }

    /// The part with these rows, written `at_once` rows at a time.
    fn part(&self, job: &Job, at_once: usize) -> Vec<u8> {
        let tasks = self.tasks();
        let mut writer = PartWriter::new(job);
        for rows in self.rows.chunks(at_once) {
            let records = rows.iter().map(|row| Record {
                id: row[0].clone(),
                inputs: Vec::new(),
                kept: row[tasks + 1..].to_vec(),
            });
            let labels = rows.iter().map(|row| row[1].as_text());
            let mut columns: Vec<ArrayRef> = vec![Arc::new(labels.collect::<StringArray>())];
            for index in 2..=tasks {
                let number = |row: &Vec<Cell>| match row[index].as_text() {
                    Some(text) => text.parse().unwrap(),
                    None => f32::NAN,
                };
                columns.push(Arc::new(rows.iter().map(number).collect::<Float32Array>()));
            }
            let output = job.function.output.fields().iter().cloned();
            // The schema is explicit, because the columns of the task are not nullable.
            let batch =
                RecordBatch::try_new(Arc::new(Schema::new(output.collect::<Vec<_>>())), columns);
            writer.push(records.collect(), batch.unwrap()).unwrap();
        }
        writer.finish().unwrap()
    }
}

/// The keys of a JSON object and its values as they are written, in order.
fn fields(line: &str) -> Vec<(String, Cell)> {
    let values: BTreeMap<String, &RawValue> = serde_json::from_str(line).unwrap();
    let mut values: Vec<_> = values.into_iter().collect();
    // Each value borrows from the line, so its address gives the order.
    values.sort_by_key(|(_, value)| value.get().as_ptr());
    let cell = |value: &RawValue| match value.get() {
        "null" => Cell::Null,
        text if text.starts_with('"') => Cell::Text(serde_json::from_str(text).unwrap()),
        json => Cell::Json(json.to_owned()),
    };
    let fields = values.into_iter().map(|(name, value)| (name, cell(value)));
    fields.collect()
}

/// Collects one part into a file.
fn join(job: &Job, part: Vec<u8>) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let run = RunDir::create(&folder.path().join("run")).unwrap();
    let receipt = Receipt {
        records: 1,
        ..Receipt::default()
    };
    let name = RunDir::part_name(receipt.range(), job.parameters.output_format);
    run.put_new(&name, part).unwrap();
    let mut receipts = Receipts::default();
    receipts.insert(receipt);
    let path = folder.path().join("out");
    let ranges = CompletedRanges::of(&receipts);
    let destination = Destination::File(path.clone());
    collect(&run, job, &ranges, &destination, &mut |_| {}).unwrap();
    std::fs::read(path).unwrap()
}

/// The golden outputs: files, and the parts in folders.
fn outputs() -> Vec<PathBuf> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    let mut found = Vec::new();
    for case in std::fs::read_dir(golden).unwrap() {
        let case = case.unwrap().path();
        for name in ["out.csv", "out.jsonl", "out.parquet"] {
            found.extend(Some(case.join(name)).filter(|path| path.is_file()));
        }
        if let Ok(parts) = std::fs::read_dir(case.join("out")) {
            found.extend(parts.map(|part| part.unwrap().path()));
        }
    }
    found
}

#[test]
fn golden_outputs_are_reproduced_byte_for_byte() {
    let outputs = outputs();
    assert!(outputs.len() > 100);
    for path in outputs {
        let extension = path.extension().unwrap().to_str().unwrap();
        let format = OutputFormat::of_extension(extension).unwrap();
        let expected = std::fs::read(&path).unwrap();
        let Some(output) = Output::read(format, &expected) else {
            continue;
        };
        let job = output.job(format);
        let is_part = path.parent().unwrap().ends_with("out");
        for at_once in [7, usize::MAX] {
            let part = output.part(&job, at_once);
            let written = if is_part { part } else { join(&job, part) };
            assert!(written == expected, "{}", path.display());
        }
    }
}
