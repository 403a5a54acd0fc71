use super::scan::{Source, scan};
use super::*;
use crate::dialect::{Dialect, DialectOptions, Symbol};
use crate::spec::Fault;

/// Bytes that arrive in pieces.
struct Pieces<'a> {
    bytes: &'a [u8],
    most: usize,
}

impl Source for Pieces<'_> {
    fn fill(&mut self) -> Result<&[u8]> {
        Ok(&self.bytes[..self.bytes.len().min(self.most)])
    }

    fn consume(&mut self, bytes: usize) {
        self.bytes = &self.bytes[bytes..];
    }
}

/// The records of a text: line, fault, and fields joined by `/`.
fn records(text: &str, dialect: &Dialect) -> Vec<(u64, bool, String)> {
    let of_pieces = |most: usize| {
        let mut found = Vec::new();
        let mut source = Pieces {
            bytes: text.as_bytes(),
            most,
        };
        let mut end = None;
        scan(&mut source, dialect, (0, 1), true, &mut |span| {
            let record = &text.as_bytes()[span.start as usize..span.end as usize];
            assert_eq!(*end.get_or_insert(span.start), span.start, "{text:?}");
            end = Some(span.end);
            let fields = rows::fields(record, dialect);
            let fields: Vec<_> = fields.iter().map(String::from_utf8_lossy).collect();
            let is_bad = span.fault == Some(Fault::OpenQuote);
            let fields = if is_bad {
                String::new()
            } else {
                fields.join("/")
            };
            found.push((span.line, is_bad, fields));
            Ok(())
        })
        .unwrap();
        found
    };
    let whole = of_pieces(usize::MAX);
    for most in [1, 2, 3, 7] {
        assert_eq!(of_pieces(most), whole, "{text:?} in pieces of {most}");
    }
    whole
}

fn good(line: u64, fields: &str) -> (u64, bool, String) {
    (line, false, fields.into())
}

fn bad(line: u64) -> (u64, bool, String) {
    (line, true, String::new())
}

#[test]
fn an_open_quote_costs_one_row() {
    let csv = Dialect::default();
    // It is closed too late, by a quote in the middle of another row.
    assert_eq!(
        records("a,\"open\nb,two\nc,\"three\"\nd,four\n", &csv),
        [
            bad(1),
            good(2, "b/two"),
            good(3, "c/three"),
            good(4, "d/four")
        ]
    );
    // It is never closed.
    assert_eq!(
        records("a,one\nb,\"open\n\nc,three\nd,four", &csv),
        [
            good(1, "a/one"),
            bad(2),
            good(4, "c/three"),
            good(5, "d/four")
        ]
    );
    // Nor is the last one, and one that is closed by the quote before an empty value.
    assert_eq!(records("a,\"\nb,\"", &csv), [good(1, "a/\nb,")]);
    assert_eq!(records("a,one\nb,\"", &csv), [good(1, "a/one"), bad(2)]);
    assert_eq!(
        records("a,\"x\nb,\",y\"\nc,z\n", &csv),
        [bad(1), good(2, "b/,y"), good(3, "c/z")]
    );
    // Two in a record.
    assert_eq!(
        records("a,\"two\nlines\",\"open\nb,x\n", &csv),
        [bad(1), good(3, "b/x")]
    );
    // Properly quoted line breaks, and quotes that are not at the start of a field.
    assert_eq!(
        records(
            "a,\"two\r\nlines\",\"\"\"x\"\"\n\"\nb,5\" wide,\"x\"y\n",
            &csv
        ),
        [good(1, "a/two\r\nlines/\"x\"\n"), good(4, "b/5\" wide/xy")]
    );
}

#[test]
fn quotes_are_literal_without_a_quote() {
    let tsv = Dialect {
        delimiter: Symbol::Byte(b'\t'),
        quote: Symbol::None,
        ..Dialect::default()
    };
    assert_eq!(
        records("a\t\"open\nb\t\"x\" y\n", &tsv),
        [good(1, "a/\"open"), good(2, "b/\"x\" y")]
    );
}

#[test]
fn byte_order_marks_before_records_are_dropped() {
    let csv = Dialect::default();
    assert_eq!(
        records(
            "a,b\n\u{feff}\"c\",d\n\u{feff}\n\u{feff}e,\u{feff}f\n！,g\n\u{fee5},h",
            &csv
        ),
        [
            good(1, "a/b"),
            good(2, "c/d"),
            good(4, "e/\u{feff}f"),
            good(5, "！/g"),
            good(6, "\u{fee5}/h")
        ]
    );
}

/// Records of many open quotes are read in linear time: each line a few times.
#[test]
fn many_open_quotes_are_read_once() {
    let lines = 20_000;
    let text = "x,\"open \"\" quote\n".repeat(lines);
    let mut count = 0;
    struct Counting<'a>(&'a [u8], usize);
    impl Source for Counting<'_> {
        fn fill(&mut self) -> Result<&[u8]> {
            self.1 += 1;
            Ok(&self.0[..self.0.len().min(64)])
        }
        fn consume(&mut self, bytes: usize) {
            self.0 = &self.0[bytes..];
        }
    }
    let mut source = Counting(text.as_bytes(), 0);
    let csv = Dialect::default();
    scan(&mut source, &csv, (0, 1), true, &mut |span| {
        assert_eq!(span.fault, Some(Fault::OpenQuote));
        count += 1;
        Ok(())
    })
    .unwrap();
    assert_eq!(count, lines);
}

/// The dialect of a file, or what is wrong with it.
fn sniff(
    format: Format,
    text: &str,
    options: &DialectOptions,
) -> Result<(Dialect, Vec<String>), String> {
    let sample = Sample {
        uri: "x",
        bytes: text.as_bytes(),
        is_whole: true,
    };
    let (sample, named) = sample.after_separator_line();
    let sniffed = sample.sniff(format, options, named);
    sniffed
        .map(|sniffed| (sniffed.dialect, sniffed.notes))
        .map_err(|e| e.to_string())
}

#[test]
fn delimiters_are_detected() {
    use Format::{Csv, Tsv};
    for (format, text, delimiter) in [
        (Csv, "id,text\n1,a b\n", ","),
        (Csv, "id;text\n1;a, b\n2;c\n", ";"),
        (Csv, "id|text\n1|a, b\n", "|"),
        (Csv, "id\ttext\n1\ta, b\n", "\t"),
        (Tsv, "id,text\n1,a\n", ","),
        (Tsv, "id\ttext, long\n1\ta, b\n", "\t"),
        // Consistent by both.
        (Csv, "a,b;c\n1,2;3\n", ","),
        (Csv, "id;name, long;text\n1;a;b\n2;c;d\n", ";"),
        // Only the header shows it.
        (Csv, "id;text\n", ";"),
        (Csv, "\"id\";\"the, text\"\n1;\"a, b; c\"\n", ";"),
        // A bad row.
        (Csv, "id,text\n1,a\n2,b,c\n3,d\n", ","),
        (Csv, "sep=;\nid;text\n1;a\n", ";"),
        (Csv, "\"sep=|\"\r\nid|text\r\n", "|"),
        (Csv, "sep=\t\nid\ttext\n", "\t"),
        // One column.
        (Csv, "text\na b\nc\n", ","),
        (Csv, "text\n\"a, b\"\n\"c, d\"\n", ","),
        (Csv, "text\na, b\nc\n", "none"),
        (Csv, "text\na; b\nc, d\n", "none"),
        (Tsv, "text\na, b\nc, d\n", "\t"),
    ] {
        let (dialect, notes) = sniff(format, text, &DialectOptions::default()).unwrap();
        assert_eq!(String::from(dialect.delimiter), delimiter, "{text:?}");
        let own = if format == Csv { "," } else { "\t" };
        assert_eq!(notes.is_empty(), delimiter == own, "{text:?}: {notes:?}");
    }
    for text in [
        // A title above the header, or prose.
        "Reviews of 2024\nid,text\n1,a\n",
        "text\none, two\nthree, four\n",
        // A name with a delimiter.
        "text; long\na\nb\nc; d\n",
    ] {
        let error = sniff(Csv, text, &DialectOptions::default()).unwrap_err();
        assert!(error.contains("set the delimiter"), "{error}");
        let options = DialectOptions {
            delimiter: Some(Symbol::None),
            ..DialectOptions::default()
        };
        assert!(sniff(Csv, text, &options).is_ok());
    }
}

#[test]
fn a_delimiter_that_is_not_detected_is_reported() {
    let notes = |text: &str| {
        sniff(Format::Csv, text, &DialectOptions::default())
            .unwrap()
            .1
    };
    for (text, delimiter) in [
        ("id^text\n1^a b\n2^c\n", "^"),
        ("id~text~x\n1~a: b~\n2~c~y\n", "~"),
        ("id::text\n1::a\n", ":"),
    ] {
        let notes = notes(text);
        let expected = format!("set the delimiter to {delimiter}");
        assert!(
            notes.len() == 1 && notes[0].ends_with(&expected),
            "{notes:?}"
        );
    }
    for text in [
        "text\nWhy?\nWow!\n",
        "what?\nthis?\nthat\n",
        "text_1\na_b\n",
        "id,a^b\n1,c^d\n",
        "id^text\n",
    ] {
        assert!(notes(text).is_empty(), "{text}");
    }
}

#[test]
fn quoted_tsv_is_reported() {
    let notes = |text: &str| {
        sniff(Format::Tsv, text, &DialectOptions::default())
            .unwrap()
            .1
    };
    assert_eq!(notes("id\ttext\n1\t\"two\nlines\"\n").len(), 1);
    assert!(notes("id\ttext\n1\t\"Best\" they say\n2\t5\" wide\n").is_empty());
    assert!(notes("id\ttext\n1\t\"open\n").is_empty());
}

#[test]
fn spaces_after_all_delimiters_are_skipped() {
    let skips = |text: &str| {
        let sniffed = sniff(Format::Csv, text, &DialectOptions::default());
        sniffed.unwrap().0.skips_spaces
    };
    assert!(skips("id, text\n1, \"a,b\"\n"));
    assert!(skips("id,text\n1, \"a\"\n2, b\n"));
    assert!(!skips("id,text\n1, \"a\"\n2,b\n"));
    assert!(!skips("id,text\n1, a\n2, b\n"));
    assert!(!skips("text\n a\n"));
}

#[test]
fn a_character_has_one_meaning() {
    let options = DialectOptions {
        delimiter: Some(Symbol::Byte(b'"')),
        ..DialectOptions::default()
    };
    let error = sniff(Format::Csv, "a\n", &options).unwrap_err();
    assert!(
        error.contains("both the delimiter and the quote"),
        "{error}"
    );
}

#[test]
fn comments_are_no_header() {
    for (line, expected) in [
        ("# exported 2024", true),
        ("# exported 2024, by x", true),
        ("#exported", true),
        ("##x,y", true),
        ("#", true),
        ("#,text", false),
        ("#id,text", false),
        ("#id\ttext", false),
        ("id,#", false),
    ] {
        assert_eq!(is_comment(line.as_bytes(), None), expected, "{line}");
    }
}

/// The rows of the `csv` module of Python (`tools/fixtures/make_csv.py`).
#[test]
fn fields_are_those_of_python() {
    #[derive(serde::Deserialize)]
    struct Case {
        options: serde_json::Map<String, serde_json::Value>,
        text: String,
        rows: Vec<Vec<String>>,
    }
    let fixture = include_str!("../../../tests/fixtures/python_csv.json");
    let cases: Vec<Case> = serde_json::from_str(fixture).unwrap();
    assert!(cases.len() > 400);
    for Case {
        options,
        text,
        rows,
    } in cases
    {
        let symbol = |name: &str, default: Symbol| match options.get(name) {
            None => default,
            Some(value) => value
                .as_str()
                .map_or(Symbol::None, |text| text.parse().unwrap()),
        };
        let dialect = Dialect {
            delimiter: symbol("delimiter", Symbol::Byte(b',')),
            quote: symbol("quotechar", Symbol::Byte(b'"')),
            escape: symbol("escapechar", Symbol::None),
            skips_spaces: options.contains_key("skipinitialspace"),
        };
        let found: Vec<_> = records(&text, &dialect)
            .into_iter()
            .map(|(_, is_bad, fields)| (is_bad, fields))
            .collect();
        let expected: Vec<_> = rows.iter().map(|row| (false, row.join("/"))).collect();
        assert_eq!(found, expected, "{text:?} with {options:?}");
    }
}
