//! Several parts joined into one output.

mod common;

use std::sync::Arc;

use arrow_array::types::Float32Type;
use arrow_array::{
    ArrayRef, BooleanArray, FixedSizeListArray, Float32Array, ListArray, RecordBatch, StringArray,
};
use arrow_schema::DataType;
use common::{FORMATS, job, read_columns, record};
use shoal_job::collect::{Destination, collect};
use shoal_job::format::OutputFormat;
use shoal_job::part::{PartWriter, count_rows};
use shoal_job::wire::Receipt;
use shoal_job::{Cell, CompletedRanges, Receipts, RunDir};

/// Writes parts of these rows, split at the row numbers in `cuts`, and joins them.
fn join(format: OutputFormat, rows: &RecordBatch, cuts: &[usize], pushes: usize) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let run = RunDir::create(&folder.path().join("run")).unwrap();
    let mut job = job(format, rows, &[DataType::Int64]);
    let mut receipts = Receipts::default();
    let mut start = 0;
    for (batch, end) in cuts.iter().copied().chain([rows.num_rows()]).enumerate() {
        let mut writer = PartWriter::new(&job);
        while start < end {
            let length = pushes.min(end - start);
            let records = (start..start + length)
                .map(|row| record(Cell::Json(row.to_string()), &[Cell::Json(row.to_string())]));
            writer
                .push(records.collect(), rows.slice(start, length))
                .unwrap();
            start += length;
        }
        let receipt = Receipt {
            batch: batch as u64,
            records: 1,
            ..Receipt::default()
        };
        let name = RunDir::part_name(receipt.range(), format);
        run.put_new(&name, writer.finish().unwrap()).unwrap();
        receipts.insert(receipt);
        job.batches += 1;
    }
    let path = folder.path().join(format!("out.{}", format.extension()));
    // In an output folder, the parts are unchanged.
    let parts = folder.path().join("parts");
    let ranges = CompletedRanges::of(&receipts);
    for destination in [
        Destination::File(path.clone()),
        Destination::Folder(parts.clone()),
    ] {
        collect(&run, &job, &ranges, &destination, &mut |_| {}).unwrap();
    }
    assert_eq!(std::fs::read_dir(&parts).unwrap().count(), cuts.len() + 1);
    let first = format!("part-00000000.{}", format.extension());
    assert!(count_rows(format, &std::fs::read(parts.join(first)).unwrap()).is_some());
    std::fs::read(path).unwrap()
}

/// Rows with nulls in every column.
fn many(count: usize) -> RecordBatch {
    let numbers = (0..count).map(|row| (row % 3 > 0).then_some(row as f32 / 7.0));
    let texts = (0..count).map(|row| (row % 5 > 0).then(|| format!("label {row}")));
    let flags = (0..count).map(|row| (row % 4 > 0).then_some(row % 2 == 0));
    let vectors = (0..count).map(|row| (row % 1500 < 1000).then(|| vec![Some(row as f32); 3]));
    let lists = (0..count).map(|row| (row % 11 > 0).then(|| vec![Some(0.5); row % 4]));
    RecordBatch::try_from_iter_with_nullable([
        (
            "number",
            Arc::new(numbers.collect::<Float32Array>()) as ArrayRef,
            true,
        ),
        ("text", Arc::new(texts.collect::<StringArray>()), true),
        ("flag", Arc::new(flags.collect::<BooleanArray>()), true),
        (
            "vector",
            Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(vectors, 3)),
            true,
        ),
        (
            "list",
            Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(lists)),
            true,
        ),
    ])
    .unwrap()
}

#[test]
fn the_joined_file_does_not_depend_on_the_parts() {
    let rows = many(3000);
    for format in FORMATS {
        let rows = match format {
            OutputFormat::Csv => rows.project(&[0, 1, 2]).unwrap(),
            _ => rows.clone(),
        };
        let whole = join(format, &rows, &[], usize::MAX);
        for (cuts, pushes) in [
            (vec![], 7),
            (vec![1, 2, 3, 1023, 1024, 1025], 500),
            (vec![0, 0, 1500, 2999, 3000], 33),
            ((100..3000).step_by(100).collect(), 64),
        ] {
            let joined = join(format, &rows, &cuts, pushes);
            assert!(joined == whole, "{format:?} cut at {cuts:?}, in {pushes}");
        }
        if format.is_columnar() {
            let found = read_columns(format, whole);
            let found = arrow_select::concat::concat_batches(&found[0].schema(), &found).unwrap();
            assert_eq!(found.num_rows(), 3000);
            for column in rows.schema().fields() {
                let name = column.name();
                assert_eq!(
                    found.column_by_name(name),
                    rows.column_by_name(name),
                    "{name}"
                );
            }
        }
    }
}
