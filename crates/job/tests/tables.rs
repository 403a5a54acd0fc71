//! Small tables in every input format are read as csv, json, pandas and pyarrow read them, and keep their values and types in
//! every output format. `tools/fixtures/make_tables.py` makes the tables.

mod common;

use std::io::Cursor;
use std::sync::Arc;

use arrow_array::{BooleanArray, RecordBatch};
use arrow_cast::cast;
use arrow_ipc::reader::FileReader;
use arrow_schema::{DataType, Field, FieldRef, TimeUnit};
use arrow_select::concat::concat_batches;
use arrow_select::filter::filter;
use bytes::Bytes;
use common::{Bench, read_columns, write};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Deserialize;
use serde_json::{Map, Value};
use shoal_job::dialect::DialectOptions;
use shoal_job::format::OutputFormat;
use shoal_job::part::schema;
use shoal_job::spec::{Job, Parameters};
use shoal_job::{Cell, Record};

/// A file and its records.
#[derive(Deserialize)]
struct Table {
    name: String,
    #[serde(default)]
    options: Options,
    kept: Vec<String>,
    /// `None` for a record without a text.
    records: Vec<Option<Expected>>,
    /// The content in hexadecimal.
    file: String,
}

/// How delimited text is written, unless shoal is to find out.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Options {
    delimiter: Option<String>,
    quote: Option<String>,
    escape: Option<String>,
    encoding: Option<String>,
}

#[derive(Deserialize)]
struct Expected {
    id: Value,
    text: String,
    kept: Vec<Value>,
}

fn tables() -> Vec<Table> {
    let packed = include_bytes!("fixtures/tables.jsonl.zst");
    let lines = zstd::decode_all(&packed[..]).unwrap();
    let tables: Vec<Table> = serde_json::Deserializer::from_slice(&lines)
        .into_iter()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(tables.len(), 350);
    tables
}

impl Table {
    fn content(&self) -> Vec<u8> {
        let digits = self.file.as_bytes().as_chunks::<2>().0.iter();
        let byte = |digits: &[u8; 2]| {
            u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap()
        };
        digits.map(byte).collect()
    }

    /// Plans and reads the table for an output of `format`. Records without a text are `None`.
    fn read(&self, format: OutputFormat, batch_size: u64) -> (Job, Vec<Option<Record>>) {
        let bench = Bench::new();
        let path = bench.path(&self.name);
        std::fs::write(&path, self.content()).unwrap();
        let kept: Vec<_> = self.kept.iter().map(String::as_str).collect();
        let symbol = |text: &Option<String>| text.as_ref().map(|text| text.parse().unwrap());
        let Options {
            delimiter,
            quote,
            escape,
            encoding,
        } = &self.options;
        let parameters = Parameters {
            dialect: DialectOptions {
                delimiter: symbol(delimiter),
                quote: symbol(quote),
                escape: symbol(escape),
                ..DialectOptions::default()
            },
            encoding: encoding.as_ref().map(|label| label.parse().unwrap()),
            ..common::parameters(batch_size, &kept, format)
        };
        let (job, rows) = bench.carry_as(&[&path], parameters).unwrap();
        (job, rows.into_iter().map(|row| row.content.ok()).collect())
    }
}

fn json(cell: &Cell) -> Value {
    let mut json = Vec::new();
    cell.write_json(&mut json);
    serde_json::from_slice(&json).unwrap()
}

#[test]
fn records_are_those_of_other_readers() {
    for table in tables() {
        for batch_size in [1, 3, 100] {
            let (_, records) = table.read(OutputFormat::Jsonl, batch_size);
            assert_eq!(records.len(), table.records.len(), "{}", table.name);
            for (row, (record, expected)) in records.iter().zip(&table.records).enumerate() {
                let place = format!("{} row {row}", table.name);
                let (Some(record), Some(expected)) = (record, expected) else {
                    assert_eq!(record.is_some(), expected.is_some(), "{place}");
                    continue;
                };
                assert_eq!(json(&record.id), expected.id, "{place}");
                assert_eq!(record.text(), expected.text, "{place}");
                let kept: Vec<_> = record.kept.iter().map(json).collect();
                assert_eq!(kept, expected.kept, "{place}");
            }
        }
    }
}

#[test]
fn text_outputs_have_the_values_as_json_and_text() {
    for table in tables() {
        let expected: Vec<_> = table.records.iter().flatten().collect();
        let (job, records) = table.read(OutputFormat::Jsonl, 4);
        let records: Vec<_> = records.into_iter().flatten().collect();
        let lines = serde_json::Deserializer::from_slice(&write(&job, &records))
            .into_iter::<Map<String, Value>>()
            .collect::<Result<Vec<_>, _>>()
            .unwrap();
        assert_eq!(lines.len(), expected.len());
        for (line, expected) in lines.iter().zip(&expected) {
            assert_eq!(line["id"], expected.id, "{}", table.name);
            for (name, value) in table.kept.iter().zip(&expected.kept) {
                assert_eq!(line[name], *value, "{} {name}", table.name);
            }
        }
        let (job, records) = table.read(OutputFormat::Csv, 4);
        let records: Vec<_> = records.into_iter().flatten().collect();
        let part = write(&job, &records);
        let mut rows = csv::Reader::from_reader(&part[..]);
        let rows: Vec<_> = rows.records().collect::<Result<_, _>>().unwrap();
        assert_eq!(rows.len(), expected.len());
        for (row, expected) in rows.iter().zip(&expected) {
            // The label is between the id and the kept columns.
            let fields = std::iter::once(&row[0]).chain(row.iter().skip(2));
            let values = std::iter::once(&expected.id).chain(&expected.kept);
            for (field, value) in fields.zip(values) {
                let found = match value {
                    Value::Null => Value::Null,
                    Value::String(_) => field.into(),
                    _ => serde_json::from_str(field).unwrap(),
                };
                assert!(!value.is_null() || field.is_empty());
                assert_eq!(found, *value, "{}", table.name);
            }
        }
    }
}

#[test]
fn typed_outputs_have_the_types_and_values_of_typed_inputs() {
    let mut compared = 0;
    for table in tables() {
        let Some(source) = source(&table) else {
            continue;
        };
        let is_good: BooleanArray = table.records.iter().map(|r| Some(r.is_some())).collect();
        for format in [OutputFormat::Parquet, OutputFormat::Arrow] {
            let (job, records) = table.read(format, 4);
            let records: Vec<_> = records.into_iter().flatten().collect();
            let part = read_columns(format, write(&job, &records));
            let part = concat_batches(&schema(&job), &part).unwrap();
            let id = source.column_by_name("id").map(|_| "id".to_owned());
            for name in id.iter().chain(&table.kept) {
                let place = format!("{} {name} in {format:?}", table.name);
                let fields = (source.schema(), part.schema());
                let known = fields.0.field_with_name(name).unwrap();
                let found = fields.1.field_with_name(name).unwrap();
                assert_eq!(*found.data_type(), output_type(format, known), "{place}");
                assert_eq!(
                    found.extension_type_name(),
                    known.extension_type_name(),
                    "{place}"
                );
                let values = filter(source.column_by_name(name).unwrap(), &is_good).unwrap();
                let values = cast(&values, found.data_type()).unwrap();
                assert_eq!(part.column_by_name(name).unwrap(), &values, "{place}");
                compared += 1;
            }
        }
    }
    assert!(compared > 600, "{compared}");
}

/// The columns of a typed table.
fn source(table: &Table) -> Option<RecordBatch> {
    let content = Bytes::from(table.content());
    let batches: Vec<RecordBatch> = match table.name.rsplit_once('.')?.1 {
        "parquet" => {
            let reader = ParquetRecordBatchReaderBuilder::try_new(content).unwrap();
            reader.build().unwrap().map(Result::unwrap).collect()
        }
        "arrow" => {
            let reader = FileReader::try_new(Cursor::new(content), None).unwrap();
            reader.map(Result::unwrap).collect()
        }
        _ => return None,
    };
    Some(concat_batches(&batches[0].schema(), &batches).unwrap())
}

/// The type of a column in an output: that of the source, except as `docs/INPUTS.md` says.
fn output_type(format: OutputFormat, source: &Field) -> DataType {
    use DataType as T;
    let same = |field: &FieldRef| -> FieldRef {
        let data_type = output_type(format, field);
        Arc::new(field.as_ref().clone().with_data_type(data_type))
    };
    let is_parquet = format == OutputFormat::Parquet;
    match source.data_type() {
        T::Dictionary(_, value) if is_parquet => T::Dictionary(Box::new(T::Int32), value.clone()),
        T::Dictionary(_, value) => value.as_ref().clone(),
        T::Date64 if is_parquet => T::Date32,
        T::Time32(TimeUnit::Second) if is_parquet => T::Time32(TimeUnit::Millisecond),
        T::Timestamp(TimeUnit::Second, zone) if is_parquet => {
            T::Timestamp(TimeUnit::Millisecond, zone.clone())
        }
        T::List(item) => T::List(same(item)),
        T::LargeList(item) => T::LargeList(same(item)),
        T::FixedSizeList(item, size) => T::FixedSizeList(same(item), *size),
        T::Struct(fields) => T::Struct(fields.iter().map(same).collect()),
        T::Map(entries, is_sorted) => T::Map(same(entries), *is_sorted),
        other => other.clone(),
    }
}

#[test]
fn every_format_is_among_the_tables() {
    let tables = tables();
    let count = |extension: &str| {
        let ends = |table: &&Table| table.name.ends_with(extension);
        tables.iter().filter(ends).count()
    };
    for extension in [".csv", ".tsv", ".jsonl", ".parquet", ".arrow"] {
        assert!(count(extension) >= 10, "{extension}");
    }
}
