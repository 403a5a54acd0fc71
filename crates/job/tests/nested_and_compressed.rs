//! Nested columns, JSON as Python writes it, compressed files, and files with wrong names. The fixtures and their right values
//! are made with Python's json, pyarrow, gzip and zstd by `tools/fixtures/make_nested_and_compressed.py`.

mod common;

use std::io::Write;
use std::path::{Path, PathBuf};

use common::Bench;
use serde_json::{Value, json};
use shoal_job::{Cell, Row};

fn fixture(name: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    fixtures.join("nested_and_compressed").join(name)
}

fn expected(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(fixture(name)).unwrap()).unwrap()
}

fn value(cell: &Cell) -> Value {
    let mut json = Vec::new();
    cell.write_json(&mut json);
    serde_json::from_slice(&json).unwrap()
}

fn reason(row: &Row) -> &str {
    &row.content.as_ref().unwrap_err().reason
}

fn write(bench: &Bench, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = bench.path(name);
    std::fs::write(&path, content).unwrap();
    path
}

/// The texts of the rows of `input`, all of which must be good.
fn texts(bench: &Bench, input: &Path) -> Vec<String> {
    let (_, rows) = bench.read_columns(input, "text", &[]).unwrap();
    let text = |row: &Row| row.content.as_ref().unwrap().text().to_owned();
    rows.iter().map(text).collect()
}

fn refused(bench: &Bench, input: &Path) -> String {
    bench
        .read_columns(input, "text", &[])
        .unwrap_err()
        .to_string()
}

#[test]
fn json_values_are_those_of_python() {
    let kept = ["kept", "other.a.b", "review.more.0"];
    let (_, rows) = Bench::new()
        .read_columns(&fixture("paths.jsonl"), "review.text", &kept)
        .unwrap();
    let expected = expected("paths.json");
    let expected = expected.as_array().unwrap();
    assert_eq!(rows.len(), expected.len());
    for (row, expected) in rows.iter().zip(expected) {
        let record = row.content.as_ref().unwrap();
        let cells = [&record.id, &record.inputs[0]]
            .into_iter()
            .chain(&record.kept);
        assert_eq!(Value::from_iter(cells.map(value)), *expected);
    }
}

#[test]
fn columnar_values_are_those_of_pyarrow() {
    let values = expected("columns.json");
    for file in ["paths.parquet", "paths.arrow"] {
        for (path, values) in values.as_object().unwrap() {
            let (_, rows) = Bench::new()
                .read_columns(&fixture(file), "review.text", &[path])
                .unwrap();
            let values = values.as_array().unwrap();
            assert_eq!(rows.len(), values.len());
            for (number, (row, expected)) in rows.iter().zip(values).enumerate() {
                let record = row.content.as_ref().unwrap();
                assert_eq!(value(&record.kept[0]), *expected, "{file} {path} {number}");
            }
        }
        // Nulls on the way to a text.
        let (_, rows) = Bench::new()
            .read_columns(&fixture(file), "turns.1.content", &[])
            .unwrap();
        for (row, expected) in rows
            .iter()
            .zip(values["turns.1.content"].as_array().unwrap())
        {
            match expected {
                Value::Null => assert_eq!(reason(row), "the text is null"),
                text => assert_eq!(row.content.as_ref().unwrap().text(), text),
            }
        }
    }
}

#[test]
fn missing_paths_name_what_there_is() {
    let bench = Bench::new();
    for file in ["paths.jsonl", "paths.parquet", "paths.arrow"] {
        for (path, says) in [
            ("review.txt", "the fields of \"review\" are "),
            ("nothing.text", "its columns are "),
            ("id.x", "\"id\" has no fields"),
            ("review.text.x", "\"review.text\" has no fields"),
        ] {
            let error = bench
                .read_columns(&fixture(file), path, &[])
                .unwrap_err()
                .to_string();
            assert!(error.contains(&format!("no column {path:?}")), "{error}");
            assert!(error.contains(says), "{file}: {error}");
        }
    }
    let error = bench.read_columns(&fixture("paths.parquet"), "turns.content", &[]);
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("\"turns\" is a list, whose items are turns.0, turns.1"),
        "{error}"
    );
    let error = bench.read_columns(&fixture("paths.parquet"), "review", &[]);
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("name a field, such as review.text, for the text"),
        "{error}"
    );
    // Nulls and empty lists may be anything in later records.
    let lines =
        "{\"text\":\"x\",\"a\":null,\"b\":[]}\n{\"text\":\"y\",\"a\":{\"c\":1},\"b\":[2]}\n";
    let input = write(&bench, "late.jsonl", lines);
    let (_, rows) = bench.read_columns(&input, "text", &["a.c", "b.0"]).unwrap();
    let kept = |row: &Row| Value::from_iter(row.content.as_ref().unwrap().kept.iter().map(value));
    let kept: Vec<_> = rows.iter().map(kept).collect();
    assert_eq!(kept, [json!([null, null]), json!([1, 2])]);
}

#[test]
fn only_used_fields_are_parsed_strictly() {
    let bench = Bench::new();
    let lines: [(&[u8], Result<&str, &str>); 9] = [
        (
            b"{\"text\":\"a\",\"x\":NaN,\"y\":[-Infinity,{}]}",
            Ok("null"),
        ),
        (b"{\"text\":\"b\",\"x\":\"\xff\",\"\xff\":1}", Ok("null")),
        (b"{\"text\":\"c\",\"k\":NaN}", Ok("\"NaN\"")),
        (
            b"{\"text\":\"d\",\"k\":{\"a\":[NaN,\"NaN\",-Infinity]}}",
            Ok("{\"a\":[\"NaN\",\"NaN\",\"-Infinity\"]}"),
        ),
        (
            b"{\"text\":\"e\",\"k\":{\"a\":nan}}",
            Err("a kept column is not JSON: "),
        ),
        (
            b"{\"text\":\"f\",\"k\":\"\xff\"}",
            Err("a kept column is not valid UTF-8 (byte 17 of the line)"),
        ),
        (
            b"{\"text\":NaN}",
            Err("the text is NaN, which is not a JSON value"),
        ),
        (
            b"{\"text\":\"h\",\"id\":-Infinity}",
            Err("the id is -Infinity, which is not a JSON value"),
        ),
        (
            b"{\"text\":\"i\ti\",\"id\":7}",
            Err("the text is not JSON: control character"),
        ),
    ];
    let content = lines.map(|(line, _)| [line, b"\n"].concat()).concat();
    // Columns are those of all lines.
    let input = write(
        &bench,
        "in.jsonl",
        [&content[..], b"{\"id\":1,\"text\":\"z\",\"k\":null}\n"].concat(),
    );
    let (_, rows) = bench.read_columns(&input, "text", &["k"]).unwrap();
    for ((line, expected), row) in lines.iter().zip(&rows) {
        let line = String::from_utf8_lossy(line);
        match (expected, &row.content) {
            (Ok(kept), Ok(record)) => {
                assert_eq!(value(&record.kept[0]).to_string(), *kept, "{line}");
            }
            (Err(says), Err(_)) => {
                assert!(reason(row).starts_with(says), "{line}: {}", reason(row))
            }
            (_, found) => panic!("{line}: {found:?}"),
        }
    }
    let id = |row: &Row| row.content.as_ref().unwrap_err().id.clone();
    assert_eq!(id(&rows[7]), Cell::Text("-Infinity".into()));
    assert_eq!(id(&rows[8]), Cell::Json("7".into()));
}

#[test]
fn compressed_content_is_read_to_its_end() {
    let bench = Bench::new();
    let expected: Vec<_> = (0..200).map(|number| format!("text {number}")).collect();
    for name in [
        "zeros.gz",
        "junk.gz",
        "zeros_between.gz",
        "long.zst",
        "frames.zst",
    ] {
        let content = std::fs::read(fixture(name)).unwrap();
        // The content counts, not the name.
        for renamed in [
            format!("in.jsonl.{name}"),
            "in.jsonl".into(),
            "in.json.gz".into(),
            "in".into(),
        ] {
            let input = write(&bench, &renamed, &content);
            let (job, rows) = bench.read_columns(&input, "text", &[]).unwrap();
            let text = |row: &Row| row.content.as_ref().unwrap().text().to_owned();
            assert_eq!(
                rows.iter().map(text).collect::<Vec<_>>(),
                expected,
                "{renamed}"
            );
            let notes = &job.sources[0].notes;
            match name {
                "junk.gz" => assert_eq!(
                    notes,
                    &["6 bytes behind its gzip data are ignored, as gzip does"]
                ),
                _ => assert!(notes.is_empty(), "{notes:?}"),
            }
            let digest = blake3::hash(&content).to_hex().to_string();
            assert_eq!(job.sources[0].identity.digest.as_deref(), Some(&*digest));
        }
    }
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn wrong_names_do_not_matter_where_the_content_is_clear() {
    let bench = Bench::new();
    let csv = b"text,n\nx,1\ny,2\n";
    let jsonl = b"{\"text\":\"x\"}\n{\"text\":\"y\"}\n";
    let columns = |name: &str| std::fs::read(fixture(name)).unwrap();
    for (name, content) in [
        ("header.csv", b"PAR1,text\n1,x\n2,y\n".to_vec()),
        ("plain.csv.gz", csv.to_vec()),
        ("plain.csv.zst", csv.to_vec()),
        ("packed.csv", gzip(csv)),
        ("packed.csv.zst", gzip(csv)),
        (
            "packed.tsv.gz",
            zstd::encode_all(&b"text\tn\nx\t1\ny\t2\n"[..], 1).unwrap(),
        ),
        ("csv.parquet", csv.to_vec()),
        ("csv.arrow", gzip(csv)),
        ("jsonl.parquet", jsonl.to_vec()),
        ("jsonl.csv", jsonl.to_vec()),
        ("jsonl.tsv", zstd::encode_all(&jsonl[..], 1).unwrap()),
        ("jsonl.json", jsonl.to_vec()),
        ("jsonl", jsonl.to_vec()),
    ] {
        let input = write(&bench, name, content);
        assert_eq!(texts(&bench, &input), ["x", "y"], "{name}");
    }
    for (name, content) in [
        ("columns.csv", columns("paths.parquet")),
        ("columns.arrow", columns("paths.parquet")),
        ("columns.parquet", columns("paths.arrow")),
        ("columns.jsonl.gz", columns("paths.arrow")),
        ("columns", columns("paths.parquet")),
    ] {
        let input = write(&bench, name, content);
        let (job, _) = bench.read_columns(&input, "review.text", &[]).unwrap();
        assert_eq!(job.records, 150, "{name}");
        let says = job.sources[0].notes.iter();
        let says = says.filter(|note| note.ends_with("as its name says"));
        assert_eq!(says.count(), usize::from(name != "columns"), "{name}");
    }
}

#[test]
fn content_that_cannot_be_read_is_named() {
    let bench = Bench::new();
    let parquet = std::fs::read(fixture("paths.parquet")).unwrap();
    let bzip2 = b"BZh91AY&SY\0\x01\x02".to_vec();
    for (name, content, says) in [
        (
            "in.csv",
            bzip2.clone(),
            "it is a bzip2 file, which shoal does not read; unpack it with bzip2 -dc",
        ),
        ("in.csv.gz", bzip2, "a bzip2 file"),
        (
            "in.jsonl",
            b"\xfd7zXZ\0\0\x04".to_vec(),
            "an xz file, which shoal does not read; unpack it with xz -dc",
        ),
        (
            "in.csv",
            b"PK\x03\x04\x14\0\0\0data.csv".to_vec(),
            "a ZIP archive",
        ),
        (
            "in.csv",
            b"PK\x03\x04\x14\0\x06\0[Content_Types].xml".to_vec(),
            "an Excel workbook",
        ),
        (
            "in.csv",
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0".to_vec(),
            "an Excel workbook",
        ),
        ("in.parquet", b"ORC\x01\x02".to_vec(), "an ORC file"),
        ("in.csv.gz", gzip(&gzip(b"text\nx\n")), "compressed twice"),
        (
            "in.parquet",
            gzip(&parquet),
            "Parquet has its own compression; unpack the file first",
        ),
        (
            "in.csv.gz",
            gzip(b"PK\x03\x04\x14\0\0\0data.csv"),
            "it contains a ZIP archive",
        ),
        (
            "in.csv.gz",
            b"\0\x01\x02".to_vec(),
            "not a gzip file, although its name says so",
        ),
        (
            "in.jsonl",
            b"text,n\nx,1\n".to_vec(),
            "set the input format to csv",
        ),
        ("in.txt", b"text\nx\n".to_vec(), "set the input format"),
        (
            "in.parquet",
            b"PAR1\0\0\0\0".to_vec(),
            "Parquet file cannot be read",
        ),
        ("in.parquet", vec![], "there are no records"),
        ("in.csv.gz", vec![], "truncated"),
    ] {
        let input = write(&bench, name, content);
        let error = refused(&bench, &input);
        assert!(error.contains(says), "{name}: {error}");
    }
}

#[test]
fn other_layouts_of_json_are_refused_with_the_conversion() {
    let bench = Bench::new();
    let pretty = "{\n  \"text\": \"a\",\n  \"x\": [NaN]\n}\n{\n  \"text\": \"b\"\n}\n";
    let big = format!("[{{\"text\": \"{}\"}},\n", "x".repeat(3 << 20));
    for (content, says) in [
        (
            "[{\"text\": \"a\"}, {\"text\": \"b\"}]",
            "jq -c '.[]' IN > OUT.jsonl",
        ),
        (
            "\n [\n{\"text\": \"a\"},\n{\"text\": \"b\"}\n]\n",
            "jq -c '.[]' IN > OUT.jsonl",
        ),
        ("[]", "jq -c '.[]' IN > OUT.jsonl"),
        (&big, "jq -c '.[]' IN > OUT.jsonl"),
        (pretty, "jq -c '.' IN > OUT.jsonl"),
        (
            "{\n\"rows\": [\n{\"text\": \"a\"}\n]\n}\n",
            "jq -c '.[\"rows\"][]' IN > OUT.jsonl",
        ),
        (
            "{\"text\": \"a\"},\n{\"text\": \"b\"},\n",
            "sed 's/,[[:space:]]*$//' IN > OUT.jsonl",
        ),
        (
            "{\"text\": \"a\"}, \n{\"text\": \"b\"}",
            "sed 's/,[[:space:]]*$//' IN > OUT.jsonl",
        ),
        (
            "{\"text\": \"a\"} {\"text\": \"b\"}\n",
            "jq -c . IN > OUT.jsonl",
        ),
    ] {
        for name in ["in.jsonl", "in.json", "in.csv"] {
            // A header may be called that.
            if name == "in.csv" && content == "[]" {
                continue;
            }
            let input = write(&bench, name, content);
            let says = says.replace("IN", &input.display().to_string());
            let error = refused(&bench, &input);
            assert!(error.contains(&says), "{error}");
        }
    }
    let input = write(&bench, "it's.jsonl", gzip(b"[{}]"));
    let error = refused(&bench, &input);
    let quoted = input.display().to_string().replace('\'', "'\\''");
    let command = format!("`gzip -dc '{quoted}' | jq -c '.[]' > OUT.jsonl`");
    assert!(error.contains(&command), "{error}");
    // A damaged line or two does not make another layout.
    for (content, bad) in [
        (
            "{\"text\": \"a\"},\n{\"text\": \"b\"}\n{\"text\": \"c\"}\n",
            1,
        ),
        ("{\"text\": \"a\n{\"text\": \"b\"}\n", 1),
        ("{\"text\": \"a\nb\"}\n{\"text\": \"b\"}\n", 2),
        ("{\"text\": \"a\"}{\"text\": \"b\"}\n{\"text\": \"c\"}\n", 1),
        ("[INFO] start\n{\"text\": \"b\"}\n", 1),
        ("{\"text\": \"a\",\n{\"text\": \"b\"}\n", 1),
    ] {
        let input = write(&bench, "in.jsonl", content);
        let (_, rows) = bench.read_columns(&input, "text", &[]).unwrap();
        let found = rows.iter().filter(|row| row.content.is_err()).count();
        assert_eq!(found, bad, "{content}");
    }
}

#[test]
fn texts_in_arrays_and_objects_name_the_path() {
    let bench = Bench::new();
    let lines = "{\"text\":[\"a\"]}\n{\"text\":{\"n\":1,\"body\":\"x\"}}\n{\"text\":{}}\n";
    let (_, rows) = bench
        .read_columns(&write(&bench, "in.jsonl", lines), "text", &[])
        .unwrap();
    let reasons: Vec<_> = rows.iter().map(reason).collect();
    assert_eq!(
        reasons,
        [
            "the text is not a string but an array; an item of it is named by a path, such as text.0",
            "the text is not a string but an object; a field of it is named by a path, such as text.body",
            "the text is not a string but an object",
        ]
    );
}
