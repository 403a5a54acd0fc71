//! Jobs for tests that write parts, and a reader for columnar parts.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_ipc::reader::FileReader;
use arrow_schema::DataType;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use shoal_job::column::Column;
use shoal_job::format::OutputFormat;
use shoal_job::part::PartWriter;
use shoal_job::spec::{Columns, Job, LAYOUT_VERSION, Parameters};
use shoal_job::{Cell, Record};

use super::function;

pub(crate) const FORMATS: [OutputFormat; 4] = [
    OutputFormat::Csv,
    OutputFormat::Jsonl,
    OutputFormat::Parquet,
    OutputFormat::Arrow,
];

/// A job whose function produces the columns of `rows`, with carried columns of these types, called `kept0` and so on.
pub(crate) fn job(format: OutputFormat, rows: &RecordBatch, kept: &[DataType]) -> Job {
    let column = |name: String, data_type: &DataType| Column {
        source: name.clone(),
        name,
        data_type: data_type.clone(),
        extension: Default::default(),
    };
    let mut function = function();
    function.output = rows.schema();
    Job {
        layout: LAYOUT_VERSION,
        shoal: "0".into(),
        inputs: Vec::new(),
        sources: Vec::new(),
        function,
        parameters: Parameters {
            output_format: format,
            ..Parameters::default()
        },
        output: "-".into(),
        columns: Columns {
            inputs: Vec::new(),
            id: Some(column("id".into(), &DataType::Utf8)),
            kept: (0..)
                .zip(kept)
                .map(|(number, kept)| column(format!("kept{number}"), kept))
                .collect(),
            partitions: Vec::new(),
        },
        records: 0,
        batches: 0,
    }
}

pub(crate) fn record(id: Cell, kept: &[Cell]) -> Record {
    Record {
        id,
        inputs: Vec::new(),
        kept: kept.to_vec(),
    }
}

/// The part with these records, in two pushes, for the function of these tests.
pub(crate) fn write(job: &Job, records: &[Record]) -> Vec<u8> {
    let mut writer = PartWriter::new(job);
    let (first, second) = records.split_at(records.len() / 2);
    for records in [first, second] {
        let labels: ArrayRef = Arc::new(StringArray::from(vec!["x"; records.len()]));
        let rows = RecordBatch::try_new(job.function.output.clone(), vec![labels]).unwrap();
        writer.push(records.to_vec(), rows).unwrap();
    }
    writer.finish().unwrap()
}

/// The rows of a columnar file.
pub(crate) fn read_columns(format: OutputFormat, file: Vec<u8>) -> Vec<RecordBatch> {
    if format == OutputFormat::Parquet {
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(file)).unwrap();
        builder.build().unwrap().map(Result::unwrap).collect()
    } else {
        let reader = FileReader::try_new(std::io::Cursor::new(file), None).unwrap();
        reader.map(Result::unwrap).collect()
    }
}
