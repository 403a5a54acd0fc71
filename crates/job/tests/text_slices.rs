//! Reading slices of CSV and JSON Lines gives the same rows as parsing the whole file.

mod common;

use std::path::{Path, PathBuf};

use common::Bench;
use proptest::prelude::*;
use proptest::sample::select;
use shoal_job::dialect::DialectOptions;
use shoal_job::spec::Parameters;
use shoal_job::{Cell, Row};

const MARK: &str = "\u{feff}";

/// A row according to a parser of the whole file: its line, and its id and text, or `None` if it is bad.
type Expected = (u64, Option<(Option<String>, String)>);

/// Concatenations of these fragments, well-formed or not.
fn concatenation(fragments: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::collection::vec(select(fragments), 0..60).prop_map(|chosen| chosen.concat())
}

fn write(bench: &Bench, name: &str, content: &[u8]) -> PathBuf {
    let path = bench.path(name);
    std::fs::write(&path, content).unwrap();
    path
}

/// Writes `content` to a file, plain or compressed, and reads its rows.
fn read(content: &[u8], name: &str, compressed: bool, batch_size: u64) -> Vec<Row> {
    let bench = Bench::new();
    let path = if compressed {
        let packed = zstd::encode_all(content, 1).unwrap();
        write(&bench, &format!("{name}.zst"), &packed)
    } else {
        write(&bench, name, content)
    };
    bench.read(&[&path], batch_size).1
}

fn compare(found: &[Row], expected: &[Expected]) -> Result<(), TestCaseError> {
    prop_assert_eq!(found.len(), expected.len());
    for (row, (line, record)) in found.iter().zip(expected) {
        prop_assert_eq!(row.place, *line);
        match (&row.content, record) {
            (Ok(row), Some((id, text))) => {
                prop_assert_eq!(row.id.as_text(), id.as_deref());
                prop_assert_eq!(row.text(), text);
            }
            (Err(_), None) => {}
            (row, record) => prop_assert!(false, "{row:?} is not {record:?}"),
        }
    }
    Ok(())
}

fn csv_records(content: &[u8]) -> Vec<csv::ByteRecord> {
    csv::ReaderBuilder::new()
        .flexible(true)
        .from_reader(content)
        .into_byte_records()
        .map(Result::unwrap)
        .collect()
}

/// The rows of well-formed CSV.
fn expected_csv(content: &[u8]) -> Vec<Expected> {
    let records = csv_records(content);
    records
        .iter()
        .map(|record| {
            let from = record.position().unwrap().byte() as usize;
            let from = from + breaks(&content[from..]);
            let fields: Vec<_> = record.iter().map(<[u8]>::to_vec).collect();
            (line_of(content, from), expected_row(&fields))
        })
        .collect()
}

/// The number of line-break bytes at the start.
fn breaks(content: &[u8]) -> usize {
    let is_break = |byte: &&u8| matches!(byte, b'\r' | b'\n');
    content.iter().take_while(is_break).count()
}

fn line_of(content: &[u8], position: usize) -> u64 {
    let before = content[..position].iter();
    1 + before.filter(|byte| **byte == b'\n').count() as u64
}

fn expected_row(fields: &[Vec<u8>]) -> Option<(Option<String>, String)> {
    let [id, text] = fields else {
        return None;
    };
    let text = String::from_utf8(text.clone()).ok()?;
    let id = String::from_utf8(id.clone()).ok()?;
    (!text.is_empty()).then_some((Some(id).filter(|id| !id.is_empty()), text))
}

/// The rows of any CSV, by a reader of the whole text. A row with a quote that is not closed properly is bad; the next row
/// begins on the line after that quote.
fn expected_rows(content: &[u8]) -> Vec<Expected> {
    let mut rows = Vec::new();
    let mut at = 0;
    loop {
        loop {
            let rest = &content[at..];
            match rest.strip_prefix(MARK.as_bytes()) {
                Some(_) => at += MARK.len(),
                None if breaks(rest) > 0 => at += breaks(rest),
                None => break,
            }
        }
        if at == content.len() {
            // Without the header.
            rows.remove(0);
            return rows;
        }
        let line = line_of(content, at);
        match whole_row(content, at) {
            Ok((fields, end)) => {
                rows.push((line, expected_row(&fields)));
                at = end;
            }
            Err(end) => {
                rows.push((line, None));
                at = end;
            }
        }
    }
}

/// The fields of the row at `at`, and where it ends; or where the next row begins, if a quote is not closed properly.
fn whole_row(content: &[u8], mut at: usize) -> Result<(Vec<Vec<u8>>, usize), usize> {
    let (mut fields, mut field) = (Vec::new(), Vec::new());
    let mut after_first_line = None;
    let is_break = |byte: u8| matches!(byte, b'\r' | b'\n');
    loop {
        let is_quoted = content.get(at) == Some(&b'"');
        if is_quoted {
            let mut own = None;
            loop {
                at += 1;
                match (content.get(at), content.get(at + 1)) {
                    (None, _) => return Err(own.or(after_first_line).unwrap_or(content.len())),
                    (Some(b'"'), Some(b'"')) => {
                        field.push(b'"');
                        at += 1;
                    }
                    (Some(b'"'), _) => break,
                    (Some(byte), _) => {
                        field.push(*byte);
                        if is_break(*byte) {
                            own.get_or_insert(at + 1);
                        }
                    }
                }
            }
            after_first_line = own.or(after_first_line);
            at += 1;
        }
        let mut is_first = true;
        loop {
            match content.get(at) {
                Some(b',') => break,
                Some(byte) if !is_break(*byte) => {
                    let is_stray = *byte == b'"' || (is_quoted && is_first);
                    if let (true, Some(end)) = (is_stray, after_first_line) {
                        return Err(end);
                    }
                    field.push(*byte);
                    (at, is_first) = (at + 1, false);
                }
                _ => {
                    fields.push(field);
                    return Ok((fields, content.len().min(at + 1)));
                }
            }
        }
        fields.push(std::mem::take(&mut field));
        at += 1;
    }
}

#[test]
fn a_row_with_an_open_quote_has_the_id_before_it() {
    let content = "text,id,more\n\
        \"a\",1,\"open\n\
        b,2,b\n\
        \"two\nlines\",\"3\n4\",\"open\n\
        c,5,\"open\nd,6,\"x\"y\n\
        \"open,7,x\n\
        e,\"8,x\n\
        f,9,\"open";
    let ids = [
        Some("1"),
        Some("2"),
        Some("3\n4"),
        Some("5"),
        Some("6"),
        None,
        None,
        Some("9"),
    ];
    for batch_size in [1, 3, 100] {
        let found = read(content.as_bytes(), "in.csv", false, batch_size);
        let id = |row: &Row| match &row.content {
            Ok(record) => record.id.as_text().map(str::to_owned),
            Err(bad) => {
                assert!(bad.reason.starts_with("a quote opens"), "{}", bad.reason);
                bad.id.as_text().map(str::to_owned)
            }
        };
        let found_ids: Vec<_> = found.iter().map(id).collect();
        let found_ids: Vec<_> = found_ids.iter().map(Option::as_deref).collect();
        assert_eq!(found_ids, ids);
        let bad: Vec<_> = found.iter().map(|row| row.content.is_err()).collect();
        assert_eq!(bad, [true, false, true, true, false, true, true, true]);
    }
}

fn expected_jsonl(content: &[u8]) -> Vec<Expected> {
    let content = content.strip_prefix(MARK.as_bytes()).unwrap_or(content);
    let mut expected = Vec::new();
    for (index, line) in content.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_prefix(MARK.as_bytes()).unwrap_or(line);
        if line.trim_ascii().is_empty() {
            continue;
        }
        let record = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(line)
            .ok()
            .and_then(|object| {
                let text = object.get("text")?.as_str()?.to_owned();
                let id = object
                    .get("id")
                    .filter(|id| !id.is_null())
                    .map(|id| match id {
                        serde_json::Value::String(id) => id.clone(),
                        other => other.to_string(),
                    });
                Some((id, text))
            });
        expected.push((index as u64 + 1, record));
    }
    expected
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn csv(
        start in select(&["", MARK, "\n\r\n", "\u{feff}\r\n\n"][..]),
        line_break in select(&["\n", "\r\n"][..]),
        body in concatenation(&[
            "a", "b", "ü", "😀", MARK, " ", ",", ",", ",", "\"", "\"\"", "\"x\"", "\n", "\r\n", "\r\n", "\n",
            "\"two\nlines\"", "\"two\r\nlines\"", "\"a,b\"", "id,\"text\"\r\n", "1,one\n",
        ]),
        compressed: bool,
        batch_size in 1_u64..12,
    ) {
        // The first row shows that spaces after delimiters count.
        let content = format!("{start}id,text{line_break}first,row{line_break}{body}");
        let found = read(content.as_bytes(), "in.csv", compressed, batch_size);
        compare(&found, &expected_rows(content.as_bytes()))?;
    }

    /// In every dialect and encoding, rows do not depend on batches or compression, and no line is lost.
    #[test]
    fn any_dialect(
        body in prop::collection::vec(select(&b"ab\xc3\xbc\xff,;\t|\"\"\"'\\ \n\n\r#\xef\xbb\xbf"[..]), 0..80),
        delimiter in select(&[None, Some(";"), Some("tab"), Some("none")][..]),
        quote in select(&[None, Some("\""), Some("'"), Some("none")][..]),
        escape in select(&[None, Some("\\")][..]),
        encoding in select(&[None, Some("latin1"), Some("shift_jis"), Some("utf-16le")][..]),
        header_row: bool,
        name in select(&["in.csv", "in.tsv"][..]),
        batch_size in 2_u64..12,
    ) {
        let symbol = |text: Option<&str>| text.map(|text| text.parse().unwrap());
        let header = match delimiter {
            Some(";") => "id;text\n",
            Some("tab") => "id\ttext\n",
            Some(_) => "text\n",
            None => "id,text\n",
        };
        let content = [header.as_bytes(), &body].concat();
        let parameters = |batch_size: u64| Parameters {
            batch_size,
            columns: [("text".into(), if header_row { "text" } else { "column_1" }.into())].into(),
            dialect: DialectOptions {
                delimiter: symbol(delimiter),
                quote: symbol(quote),
                escape: symbol(escape),
                header_row,
            },
            encoding: encoding.map(|label| label.parse().unwrap()),
            ..Parameters::default()
        };
        let bench = Bench::new();
        let plain = write(&bench, name, &content);
        let packed = zstd::encode_all(&*content, 1).unwrap();
        let packed = write(&bench, &format!("{name}.zst"), &packed);
        let read = |path: &Path, batch_size: u64| {
            let rows = bench.read_with(path, parameters(batch_size)).ok();
            let rows = rows.map(|rows| rows.into_iter().map(|row| (row.row, row.place, row.content)));
            rows.map(|rows| rows.collect::<Vec<_>>())
        };
        let one = read(&plain, 1);
        prop_assert_eq!(&one, &read(&plain, batch_size));
        prop_assert_eq!(&one, &read(&packed, 1000));
        // A row without quotes and escapes is a line.
        if quote == Some("none") && escape.is_none() && encoding.is_none() && let Some(rows) = one {
            let lines = content.split(|byte| matches!(byte, b'\r' | b'\n'));
            let mark = MARK.as_bytes();
            let is_blank = |line: &[u8]| line.chunks(3).all(|chunk| chunk == mark);
            let lines = lines.filter(|line| !is_blank(line)).count();
            prop_assert_eq!(rows.len(), lines - usize::from(header_row));
        }
    }

    /// Records with any content, including invalid UTF-8, as a CSV writer writes them.
    #[test]
    fn csv_from_a_writer(
        rows in prop::collection::vec(
            prop::collection::vec(prop::collection::vec(select(&b"ab,\"\n\r \xc3\xbc\xff"[..]), 0..8), 2),
            0..30,
        ),
        crlf: bool,
        batch_size in 1_u64..12,
    ) {
        let terminator = if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') };
        let mut writer = csv::WriterBuilder::new().terminator(terminator).from_writer(Vec::new());
        writer.write_record(["id", "text"]).unwrap();
        for row in &rows {
            writer.write_record(row).unwrap();
        }
        let content = writer.into_inner().unwrap();
        let found = read(&content, "in.csv", false, batch_size);
        prop_assert_eq!(found.len(), rows.len());
        compare(&found, &expected_csv(&content))?;
    }

    #[test]
    fn jsonl(
        start in select(&["", MARK][..]),
        line_break in select(&["\n", "\r\n"][..]),
        body in concatenation(&[
            "{\"id\":1,\"text\":\"one\"}", "{\"text\":\"t\\nwo\",\"id\":\"b\"}", "{\"text\":\"ü😀\\u00fc\\ud83d\\ude00\"}",
            "{\"id\":null,\"text\":\"\"}", "{\"id\":[1],\"text\":\"x\"}", "{\"text\":null}", "{\"text\":7}", "{}",
            "{\"text\":\"first\",\"text\":\"last\"}", "[1]", "words", "{\"text\":\"open", "\"", MARK, "   ", "\t",
            "\n", "\n", "\r\n", "\r\n", "\n", "\r\n", "\n\n",
        ]),
        compressed: bool,
        batch_size in 1_u64..12,
    ) {
        let content = format!("{start}{{\"id\":\"0\",\"text\":\"zero\"}}{line_break}{body}");
        let found = read(content.as_bytes(), "in.jsonl", compressed, batch_size);
        compare(&found, &expected_jsonl(content.as_bytes()))?;
    }
}

/// Records that are longer than any buffer, and more records than fit into one.
#[test]
fn long_and_many_records_are_read() {
    let mut content = b"id,text\r\n".to_vec();
    let long = "many words, \"quoted\"\r\n".repeat(20_000);
    for row in 0..40_000 {
        let text = if row % 10_000 == 5_000 {
            long.as_str()
        } else {
            "a, b"
        };
        content.extend(format!("{row},\"{}\"\r\n", text.replace('"', "\"\"")).bytes());
        if row % 1000 == 0 {
            content.extend(b"\r\n\n");
        }
    }
    let found = read(&content, "in.csv", false, 333);
    assert_eq!(found.len(), 40_000);
    for (row, (line, record)) in found.iter().zip(expected_csv(&content)) {
        let (id, text) = record.unwrap();
        let found = row.content.as_ref().unwrap();
        assert_eq!(row.place, line);
        assert_eq!(found.id, Cell::Text(id.unwrap()));
        assert!(found.text() == text, "row {}", row.row);
    }
}

/// A batch may span several sources of different formats.
#[test]
fn batches_span_sources() {
    let bench = Bench::new();
    let csv = write(&bench, "a.csv", b"id,text\n1,one\n2,two\n3,three");
    let tsv = write(
        &bench,
        "b.tsv",
        b"more\ttext\tid\r\nx\tfour\t4\r\ny\tfive\t5\r\n",
    );
    let jsonl = write(
        &bench,
        "c.jsonl",
        b"{\"id\":6,\"text\":\"six\"}\n\n{\"id\":7,\"text\":\"seven\"}\n",
    );
    let folder = bench.path("d");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("8.txt"), "eight").unwrap();
    std::fs::write(folder.join("9.txt"), "nine").unwrap();
    let words = [
        "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
    ];
    for batch_size in 1..=10 {
        let (job, found) = bench.read(&[&csv, &tsv, &jsonl, &folder], batch_size);
        assert_eq!(job.sources.len(), 4);
        let texts: Vec<_> = found
            .iter()
            .map(|row| row.content.as_ref().unwrap().text())
            .collect();
        assert_eq!(texts, words);
        let ids: Vec<_> = found
            .iter()
            .map(|row| row.content.as_ref().unwrap().id.as_text().unwrap())
            .collect();
        assert_eq!(ids, ["1", "2", "3", "4", "5", "6", "7", "8", "9"]);
        let sources: Vec<_> = found.iter().map(|row| row.source).collect();
        assert_eq!(sources, [0, 0, 0, 1, 1, 2, 2, 3, 3]);
        let lines: Vec<_> = found.iter().map(|row| row.place).collect();
        assert_eq!(lines[..7], [2, 3, 4, 2, 3, 1, 3]);
    }
}

#[test]
fn a_row_of_millions_of_fields_is_a_dead_letter() {
    let mut content = b"id,text\n1,good\n2".to_vec();
    content.resize(content.len() + 5_000_000, b',');
    content.extend_from_slice(b"\n3,fine\n");
    let rows = read(&content, "a.csv", false, 2);
    let reasons: Vec<_> = rows
        .iter()
        .map(|row| {
            row.content
                .as_ref()
                .map_or_else(|bad| bad.reason.as_str(), |_| "")
        })
        .collect();
    assert_eq!(
        reasons,
        ["", "the row has 5000001 columns, the header has 2", ""]
    );
    assert_eq!(
        rows[1].content.as_ref().unwrap_err().id,
        Cell::Text("2".into())
    );
}

#[test]
fn a_file_may_have_a_hundred_thousand_columns() {
    let names: Vec<_> = (0..100_000).map(|number| format!("c{number}")).collect();
    let row = vec!["x"; names.len()].join(",");
    let content = format!("{},text\n{row},good\n{row},fine\n", names.join(","));
    let rows = read(content.as_bytes(), "a.csv", false, 1);
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[1].content.as_ref().unwrap().text(), "fine");
}

#[test]
fn an_oversized_line_that_begins_blank_is_a_dead_letter() {
    let mut content = b"{\"text\":\"first\"}\n".to_vec();
    content.resize(content.len() + (64 << 20) + 1, b' ');
    content.extend_from_slice(b"{\"text\":\"far\"}\n{\"text\":\"near\"}\n");
    let rows = read(&content, "a.jsonl", true, 10);
    let texts: Vec<_> = rows
        .iter()
        .map(|row| row.content.as_ref().map_or("", |record| record.text()))
        .collect();
    assert_eq!(texts, ["first", "", "near"]);
}
