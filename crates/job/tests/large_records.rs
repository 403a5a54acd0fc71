//! Records of up to 64 MiB work wherever they are in a file of text; larger ones become dead letters.

mod common;

use common::{Bench, function};
use shoal_job::Row;
use shoal_job::input::{MAX_RECORD_BYTES, locate, sample};
use shoal_job::spec::Parameters;

const LIMIT: usize = MAX_RECORD_BYTES as usize;
/// Size of the head from which columns are resolved.
const HEAD: usize = 1 << 20;

/// A file format: its name, its header, and a record of a number of bytes with a fixed id and label.
type Format = (&'static str, &'static str, fn(usize) -> String);

const FORMATS: [Format; 3] = [
    ("in.jsonl", "", |size| {
        filled("{\"id\":7,\"review\":\"", size, "\"}")
    }),
    // The text is the only column of strings.
    ("in.csv", "id,review\n", |size| filled("7,\"", size, "\"")),
    ("in.tsv.zst", "id\treview\n", |size| filled("7\t", size, "")),
];

fn filled(before: &str, size: usize, after: &str) -> String {
    let middle = size - before.len() - after.len();
    format!("{before}{}{after}", "x".repeat(middle))
}

fn read(
    bench: &Bench,
    (name, header, record): Format,
    sizes: &[usize],
    line_break: &str,
) -> Vec<Row> {
    let mut content = header.to_owned();
    for size in sizes {
        content += &record(*size);
        content += line_break;
    }
    // The last record has no line break.
    content.truncate(content.len() - line_break.len());
    let path = bench.path(name);
    match name.ends_with(".zst") {
        true => std::fs::write(&path, zstd::encode_all(content.as_bytes(), 1).unwrap()).unwrap(),
        false => std::fs::write(&path, content).unwrap(),
    }
    bench.read_columns(&path, "review", &[]).unwrap().1
}

/// Whether each row is a record, whose text has almost the size of the row.
fn check(format: Format, rows: &[Row], sizes: &[usize]) {
    assert_eq!(rows.len(), sizes.len());
    for (row, size) in rows.iter().zip(sizes) {
        match &row.content {
            Ok(record) => {
                assert!(*size <= LIMIT, "{}: {size}", format.0);
                assert!(record.text().len() > size - 30, "{}: {size}", format.0);
            }
            Err(bad) => {
                assert!(*size > LIMIT, "{}: {size}: {}", format.0, bad.reason);
                assert!(
                    bad.reason.contains("more than the 64 MiB"),
                    "{}",
                    bad.reason
                );
            }
        }
    }
}

#[test]
fn the_first_record_may_be_larger_than_the_head() {
    let bench = Bench::new();
    for format in FORMATS {
        for first in [HEAD - 20, HEAD - 1, HEAD, HEAD + 1, 5 * HEAD] {
            let sizes = [first, 60, 60];
            check(format, &read(&bench, format, &sizes, "\n"), &sizes);
            let sizes = [first];
            check(format, &read(&bench, format, &sizes, "\n"), &sizes);
        }
    }
}

#[test]
fn records_of_maximum_size_work_wherever_they_are() {
    let bench = Bench::new();
    for format in FORMATS {
        for (sizes, line_break) in [([LIMIT, 60], "\n"), ([60, LIMIT], "\r\n")] {
            check(format, &read(&bench, format, &sizes, line_break), &sizes);
        }
    }
}

#[test]
fn larger_records_are_dead_letters_wherever_they_are() {
    let bench = Bench::new();
    for format in FORMATS {
        for sizes in [[LIMIT + 3, LIMIT + 3, 60], [60, 60, LIMIT + 3]] {
            check(format, &read(&bench, format, &sizes, "\n"), &sizes);
            let found = locate(&[bench.path(format.0).display().to_string()], None, None).unwrap();
            let parameters = Parameters {
                columns: [("text".into(), "review".into())].into(),
                ..Parameters::default()
            };
            let sample = sample(&found, &function(), &parameters, 10).unwrap();
            assert!(sample.iter().all(|record| record.text().len() < 60));
        }
    }
}
