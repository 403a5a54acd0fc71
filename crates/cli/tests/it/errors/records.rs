//! Records that cannot be processed: each becomes a dead letter with its place and reason, and the others get results.

use super::*;

/// Runs on `input`. Returns the ids of the results, and the dead letters.
fn sort_out(bench: &Bench, input: &str, batch_size: &str) -> (Vec<Value>, Vec<Value>) {
    let output = bench.ok([
        "run",
        input,
        "-o",
        "sorted.jsonl",
        "--model",
        tiny(),
        "--text-column",
        "text",
        "--batch-size",
        batch_size,
        "--fresh",
        "--quiet",
        "--json",
    ]);
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    let lines = |text: String| -> Vec<Value> {
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let results = lines(bench.text("sorted.jsonl"));
    let letters = match summary["failed_file"].as_str() {
        None => Vec::new(),
        Some(path) => lines(std::fs::read_to_string(path).unwrap()),
    };
    assert_eq!(summary["results"], results.len());
    assert_eq!(summary["failed"], letters.len());
    assert_eq!(summary["records"], results.len() + letters.len());
    (
        results.iter().map(|row| row["id"].clone()).collect(),
        letters,
    )
}

/// An expected dead letter: id, row, place, and a part of the reason.
type Letter = (Value, u64, u64, &'static str);

fn check_letters(bench: &Bench, input: &str, place: &str, good: &[Value], expected: &[Letter]) {
    for batch_size in ["1", "3", "100"] {
        let (results, letters) = sort_out(bench, input, batch_size);
        assert_eq!(results, good, "{input} in batches of {batch_size}");
        assert_eq!(letters.len(), expected.len(), "{letters:#?}");
        for (letter, (id, row, line, reason)) in letters.iter().zip(expected) {
            let file = bench.path(input).display().to_string();
            assert_eq!(letter["id"], *id, "{letter}");
            assert_eq!(letter["row"], *row, "{letter}");
            assert_eq!(letter["file"], file, "{letter}");
            assert_eq!(letter[place], *line, "{letter}");
            assert!(
                letter["reason"].as_str().unwrap().contains(reason),
                "{letter}"
            );
        }
    }
}

#[test]
fn bad_lines_of_json_become_dead_letters() {
    let bench = Bench::new();
    let content = b"{\"id\":\"a\",\"text\":\"fine\"}\n{\"id\":\"null\",\"text\":null}\n{\"id\":\"none\"}\n\
        \n{\"id\":\"number\",\"text\":5}\n{\"id\":8,\"text\":[\"x\"]}\n{\"id\":\"b\",\"text\":\"\"}\n\
        {\"id\":\"bytes\",\"text\":\"x\xff\"}\n{\"id\":\"broken\",\"text\":\"x\n[1]\nplain words\n{\"id\":\"c\",\"text\":\"end\"}";
    bench.write("in.jsonl", content);
    check_letters(
        &bench,
        "in.jsonl",
        "line",
        &[json!("a"), json!("b"), json!("c")],
        &[
            (json!("null"), 1, 2, "the text is null"),
            (json!("none"), 2, 3, "the text is missing"),
            (json!("number"), 3, 5, "not a string but a number"),
            (json!(8), 4, 6, "not a string but an array"),
            (json!("bytes"), 6, 8, "not valid UTF-8"),
            (Value::Null, 7, 9, "not a JSON object"),
            (Value::Null, 8, 10, "not a JSON object"),
            (Value::Null, 9, 11, "not a JSON object"),
        ],
    );
}

#[test]
fn bad_rows_of_csv_become_dead_letters() {
    let bench = Bench::new();
    let content =
        b"id,text,more\r\na,fine,1\r\nshort,x\r\nlong,x,2,3\r\nempty,,4\r\nbytes,x\xff\xfe,5\r\n\
        \r\nb,\"two\r\nlines\",6\r\nopen,\"never closed,7\r\nc,kept,8\r\n";
    bench.write("in.csv", content);
    check_letters(
        &bench,
        "in.csv",
        "line",
        &[json!("a"), json!("b"), json!("c")],
        &[
            (json!("short"), 1, 3, "2 columns, the header has 3"),
            (json!("long"), 2, 4, "4 columns, the header has 3"),
            (json!("empty"), 3, 5, "the text is empty"),
            (json!("bytes"), 4, 6, "not valid UTF-8 (byte 1)"),
            (json!("open"), 6, 10, "the lines after this one"),
        ],
    );
}

/// Writes a Parquet file with one row group for each of `groups`. Its text column is declared as UTF-8 but may contain
/// other bytes.
fn write_parquet(path: &Path, groups: &[&[Option<&[u8]>]]) {
    let schema = "message rows { required int64 id; optional binary text (utf8); }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let file = File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::default()).unwrap();
    let mut id = 100;
    for texts in groups {
        let mut group = writer.next_row_group().unwrap();
        let ids: Vec<i64> = (id..).take(texts.len()).collect();
        id += texts.len() as i64;
        let mut column = group.next_column().unwrap().unwrap();
        column
            .typed::<Int64Type>()
            .write_batch(&ids, None, None)
            .unwrap();
        column.close().unwrap();
        let values: Vec<_> = texts
            .iter()
            .flatten()
            .map(|text| ByteArray::from(text.to_vec()))
            .collect();
        let levels: Vec<_> = texts.iter().map(|text| i16::from(text.is_some())).collect();
        let mut column = group.next_column().unwrap().unwrap();
        column
            .typed::<ByteArrayType>()
            .write_batch(&values, Some(&levels), None)
            .unwrap();
        column.close().unwrap();
        group.close().unwrap();
    }
    writer.close().unwrap();
}

#[test]
fn bad_rows_of_parquet_become_dead_letters() {
    let bench = Bench::new();
    write_parquet(
        &bench.path("in.parquet"),
        &[
            &[Some(b"fine"), None, Some(b"x\xff"), Some(b"good")],
            &[Some(b"\xc3"), Some("ü".as_bytes())],
        ],
    );
    check_letters(
        &bench,
        "in.parquet",
        "file_row",
        &[json!(100), json!(103), json!(105)],
        &[
            (json!(101), 1, 1, "null"),
            (json!(102), 2, 2, "not valid UTF-8"),
            (json!(104), 4, 4, "not valid UTF-8"),
        ],
    );
}

#[test]
fn bad_files_of_a_folder_become_dead_letters() {
    let bench = Bench::new();
    bench.write("texts/neg/0_1.txt", "awful");
    bench.write("texts/neg/1_2.txt", b"aw\xfful");
    bench.write("texts/pos/0_9.txt", "great \"one\"\r\nof two lines");
    let (results, letters) = sort_out(&bench, "texts", "2");
    assert_eq!(results, [json!("neg/0_1"), json!("pos/0_9")]);
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0]["id"], "neg/1_2");
    assert_eq!(letters[0]["row"], 1);
    assert_eq!(
        letters[0]["line"],
        Value::Null,
        "text files have no line number"
    );
    assert!(
        letters[0]["reason"]
            .as_str()
            .unwrap()
            .contains("the text is not valid UTF-8"),
        "{}",
        letters[0]
    );
}

#[test]
fn the_first_bad_record_stops_the_run_with_on_error_fail() {
    let bench = Bench::new();
    bench.write(
        "in.jsonl",
        jsonl(30) + "{\"id\":\"odd\",\"text\":null}\n" + &jsonl(9),
    );
    let args = [
        "in.jsonl",
        "-o",
        "out.csv",
        "--on-error",
        "fail",
        "--batch-size",
        "5",
    ];
    let message = run_fails(&bench, BAD_RECORD, &args);
    for word in ["\"odd\"", "in.jsonl", "\"line\":31", "the text is null"] {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
    // The known bad record stops the next start too; `skip` completes the run.
    run_fails(&bench, BAD_RECORD, &args);
    let skip = [
        "run",
        "in.jsonl",
        "-o",
        "out.csv",
        "--batch-size",
        "5",
        "--model",
        tiny(),
    ];
    bench.ok(skip);
    assert_eq!(bench.text("out.csv").lines().count(), 40);
}
