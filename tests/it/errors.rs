//! Bad records, bad inputs, bad models, bad flags: each with its message and exit code, and never half an output.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, LazyLock};

use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::{Value, json};

use crate::support::{Bench, describe, jsonl, repository, tiny_model};

const USAGE: i32 = 2;
const INPUT: i32 = 3;
const MODEL: i32 = 4;
const STORAGE: i32 = 5;
const RUN: i32 = 6;
const BAD_RECORD: i32 = 7;

fn tiny() -> &'static str {
    static PATH: LazyLock<String> = LazyLock::new(|| tiny_model().display().to_string());
    &PATH
}

/// `shoal run` with the tiny model, which must fail so, and leave no output.
fn run_fails(bench: &Bench, code: i32, args: &[&str]) -> String {
    let args = [&["run", "--model", tiny()], args].concat();
    let message = bench.fails(code, &args);
    assert!(
        !bench.path("out.csv").exists(),
        "an output is there: {message}"
    );
    let last = message.lines().last().unwrap_or_default();
    assert!(last.starts_with("error: "), "{message}");
    message
}

/// `shoal run INPUT -o out.csv` must fail so, with all these words in its message.
fn input_fails(bench: &Bench, code: i32, input: &str, words: &[&str]) {
    let message = run_fails(bench, code, &[input, "-o", "out.csv"]);
    for word in words.iter().chain(&[input]) {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
}

/// Files beside the output that only a write under way may have.
fn temporaries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(".tmp"))
        .collect()
}

/// Runs over `input`; gives the ids of the results, and the dead letters.
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

/// A dead letter as it is expected: id, row, place, words of the reason.
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
fn bad_lines_of_json_are_told_and_the_others_labelled() {
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
fn bad_rows_of_csv_are_told_and_the_others_labelled() {
    let bench = Bench::new();
    let content =
        b"id,text,more\r\na,fine,1\r\nshort,x\r\nlong,x,2,3\r\nempty,,4\r\nbytes,x\xff\xfe,5\r\n\
        \r\nb,\"two\r\nlines\",6\r\nopen,\"never closed,7\r\nc,lost,8\r\n";
    bench.write("in.csv", content);
    check_letters(
        &bench,
        "in.csv",
        "line",
        &[json!("a"), json!("b")],
        &[
            (json!("short"), 1, 3, "2 columns, the header has 3"),
            (json!("long"), 2, 4, "4 columns, the header has 3"),
            (json!("empty"), 3, 5, "the text is empty"),
            (json!("bytes"), 4, 6, "not valid UTF-8 (byte 1)"),
            (Value::Null, 6, 10, "never closed"),
        ],
    );
}

/// A Parquet file of two row groups with a column of bytes that claim to be UTF-8.
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
fn bad_rows_of_parquet_are_told_and_the_others_labelled() {
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
fn bad_files_of_a_folder_are_told_and_the_others_labelled() {
    let bench = Bench::new();
    bench.write("texts/neg/0_1.txt", "awful");
    bench.write("texts/neg/1_2.txt", b"aw\xfful");
    bench.write("texts/pos/0_9.txt", "great \"one\"\r\nof two lines");
    let (results, letters) = sort_out(&bench, "texts", "2");
    assert_eq!(results, [json!("neg/0_1"), json!("pos/0_9")]);
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0]["id"], "neg/1_2");
    assert_eq!(letters[0]["row"], 1);
    assert_eq!(letters[0]["line"], Value::Null, "a file is no line");
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
fn the_first_bad_record_stops_the_run_where_that_is_wanted() {
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
    // The record that is already known stops the next start too, and `skip` goes on.
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

#[test]
fn inputs_that_cannot_be_read_are_named() {
    let bench = Bench::new();
    input_fails(&bench, INPUT, "nowhere.csv", &["no such file"]);
    input_fails(&bench, INPUT, "*.csv", &["no file matches"]);
    bench.write("x.txt", "text\n");
    input_fails(&bench, INPUT, "x.txt", &["--input-format"]);
    bench.write("empty.csv", "");
    input_fails(&bench, INPUT, "empty.csv", &["it is empty"]);
    bench.write("empty.jsonl", "");
    input_fails(&bench, INPUT, "empty.jsonl", &["no records"]);
    bench.write("blank.jsonl", "\n \r\n");
    input_fails(&bench, INPUT, "blank.jsonl", &["no records"]);
    bench.write("words.jsonl", "these are\nno objects\n");
    input_fails(&bench, INPUT, "words.jsonl", &["JSON"]);
    bench.write("twice.csv", "text,a,a\nx,1,2\n");
    input_fails(
        &bench,
        INPUT,
        "twice.csv",
        &["two columns are called \"a\""],
    );
    bench.write("not.parquet", "text\nx\n");
    input_fails(&bench, INPUT, "not.parquet", &["Parquet"]);
    std::fs::create_dir(bench.path("folder")).unwrap();
    input_fails(&bench, INPUT, "folder", &["no .txt files"]);
    for mark in [&b"\xff\xfe"[..], b"\xfe\xff"] {
        bench.write("wide.csv", [mark, b"t\0e\0"].concat());
        input_fails(&bench, INPUT, "wide.csv", &["UTF-16", "iconv"]);
    }
}

#[test]
fn compressed_inputs_that_are_cut_or_damaged_are_named() {
    let bench = Bench::new();
    for name in ["reviews.csv.gz", "reviews.jsonl.zst"] {
        let whole = std::fs::read(repository(&format!("examples/{name}"))).unwrap();
        for length in [whole.len() / 2, whole.len() - 1] {
            bench.write(name, &whole[..length]);
            input_fails(&bench, INPUT, name, &["truncated"]);
        }
        let mut damaged = whole.clone();
        let middle = damaged.len() / 2;
        damaged[middle..middle + 20].fill(0x55);
        bench.write(name, &damaged);
        input_fails(&bench, INPUT, name, &["damaged"]);
        bench.write(name, "id,text\na,not compressed\n");
        input_fails(&bench, INPUT, name, &["damaged"]);
    }
}

#[test]
fn missing_columns_are_named_with_those_there_are() {
    let bench = Bench::new();
    bench.write("in.csv", "title,body,stars\na,b,1\n");
    bench.write("in.jsonl", "{\"title\":\"a\",\"body\":\"b\",\"stars\":1}\n");
    for input in ["in.csv", "in.jsonl"] {
        for flag in [
            "--text-column",
            "--id-column",
            "--label-column",
            "--keep-columns",
        ] {
            let mut args = vec![input, "-o", "out.csv", flag, "nope"];
            if flag != "--text-column" {
                args.extend(["--text-column", "title"]);
            }
            let message = run_fails(&bench, INPUT, &args);
            for word in ["\"nope\"", flag, "title", "body", "stars"] {
                assert!(message.contains(word), "{word:?} is not in: {message}");
            }
        }
        // Two columns of strings, and none is called text.
        let message = run_fails(&bench, INPUT, &[input, "-o", "out.csv"]);
        assert!(message.contains("--text-column"), "{message}");
        assert!(message.contains("title, body, stars") || message.contains("body, stars, title"));
    }
    bench.write("b.csv", "title,stars\nx,1\n");
    let args = ["in.csv", "b.csv", "-o", "out.csv", "--text-column", "body"];
    let message = run_fails(&bench, INPUT, &args);
    assert!(
        message.contains("b.csv: there is no column \"body\""),
        "{message}"
    );
}

#[test]
fn a_header_without_rows_gives_an_output_without_rows() {
    let bench = Bench::new();
    bench.write("in.csv", "id,text\r\n");
    for output in ["out.csv", "out.jsonl", "out.parquet"] {
        bench.ok(["run", "in.csv", "-o", output, "--model", tiny()]);
    }
    assert_eq!(bench.text("out.csv"), "id,label,score\n");
    assert_eq!(bench.text("out.jsonl"), "");
    let again = bench.ok([
        "run",
        "out.parquet",
        "-o",
        "-",
        "--format",
        "csv",
        "--text-column",
        "label",
        "--model",
        tiny(),
    ]);
    assert_eq!(again.stdout, b"id,label,score\n");
    assert!(
        String::from_utf8(again.stderr)
            .unwrap()
            .contains("records    0\n")
    );
}

#[test]
fn models_that_cannot_be_used_say_why() {
    let bench = Bench::new();
    bench.write("in.csv", "text\nx\n");
    let fails = |model: &str, words: &[&str]| {
        let message = bench.fails(MODEL, ["run", "in.csv", "-o", "out.csv", "--model", model]);
        assert!(!bench.path("out.csv").exists());
        for word in words {
            assert!(message.contains(word), "{word:?} is not in: {message}");
        }
    };
    let empty = ["run", "in.csv", "-o", "out.csv", "--model", ""];
    assert!(bench.fails(USAGE, empty).contains("empty"));
    fails("./nowhere", &["nowhere", "no such folder"]);
    fails("in.csv", &["in.csv", "not a folder"]);
    bench.write("empty/readme", "");
    fails("empty", &["config.json"]);

    let copy = |name: &str, files: &[&str]| {
        for file in files {
            let content = std::fs::read(tiny_model().join(file)).unwrap();
            bench.write(&format!("{name}/{file}"), content);
        }
    };
    copy("pickled", &["config.json", "tokenizer.json"]);
    bench.write("pickled/pytorch_model.bin", "x");
    fails("pickled", &["pytorch_model.bin", "pickled"]);
    copy("bare", &["config.json", "model.safetensors"]);
    fails("bare", &["tokenizer"]);
    copy("other", &["tokenizer.json", "model.safetensors"]);
    bench.write(
        "other/config.json",
        r#"{"model_type":"gpt2","architectures":["GPT2LMHeadModel"]}"#,
    );
    fails("other", &["gpt2"]);
    copy(
        "cut",
        &["config.json", "tokenizer.json", "model.safetensors"],
    );
    let weights = bench.read("cut/model.safetensors");
    bench.write("cut/model.safetensors", &weights[..weights.len() / 2]);
    fails("cut", &["model.safetensors"]);
}

#[test]
fn outputs_that_cannot_be_written_are_told_before_the_work() {
    let bench = Bench::new();
    bench.write("in.csv", "text\nx\n");
    let message = run_fails(&bench, STORAGE, &["in.csv", "-o", "nowhere/out.csv"]);
    assert!(message.contains("there is no folder"), "{message}");
    assert!(!bench.path("nowhere").exists());

    bench.write("taken/precious.txt", "keep");
    let message = run_fails(
        &bench,
        USAGE,
        &["in.csv", "-o", "taken/", "--format", "csv"],
    );
    assert!(message.contains("precious.txt"), "{message}");
    assert_eq!(bench.text("taken/precious.txt"), "keep");

    for (output, words) in [
        ("out", "does not tell"),
        ("out.txt", "does not tell"),
        ("folder/", "--format"),
        ("s3://bucket/out.csv", "this machine only"),
    ] {
        let message = run_fails(&bench, USAGE, &["in.csv", "-o", output]);
        assert!(message.contains(words), "{output}: {message}");
    }
    let message = run_fails(
        &bench,
        USAGE,
        &["in.csv", "-o", "out.csv", "--format", "jsonl"],
    );
    assert!(message.contains("--format says jsonl"), "{message}");
    for same in ["in.csv", "./in.csv", "home/../in.csv"] {
        std::fs::create_dir_all(bench.path("home")).unwrap();
        let message = run_fails(&bench, USAGE, &["in.csv", "-o", same]);
        assert!(message.contains("would replace the input"), "{message}");
    }
    assert_eq!(bench.text("in.csv"), "text\nx\n");
    // The parts of an earlier run, as input of one that writes where they are.
    bench.ok([
        "run",
        "in.csv",
        "-o",
        "parts/",
        "--format",
        "csv",
        "--model",
        tiny(),
    ]);
    let args = [
        "parts/*.csv",
        "-o",
        "parts",
        "--format",
        "csv",
        "--text-column",
        "label",
    ];
    let message = run_fails(&bench, USAGE, &args);
    assert!(message.contains("would replace the input"), "{message}");
}

/// What stands under the output's name is replaced, but for what is no file; a link stays a link.
#[test]
#[cfg(unix)]
fn devices_and_links_are_not_replaced() {
    use std::os::unix::fs::{FileTypeExt, symlink};
    let bench = Bench::new();
    bench.write("in.csv", "id,text\n1,x\n");
    let made = std::process::Command::new("mkfifo")
        .arg(bench.path("pipe.csv"))
        .status()
        .unwrap();
    assert!(made.success());
    symlink("pipe.csv", bench.path("link to pipe.csv")).unwrap();
    for output in ["pipe.csv", "link to pipe.csv"] {
        let message = run_fails(&bench, USAGE, &["in.csv", "-o", output]);
        assert!(message.contains("a device or a pipe"), "{message}");
    }
    let kind = std::fs::symlink_metadata(bench.path("pipe.csv"))
        .unwrap()
        .file_type();
    assert!(kind.is_fifo());

    bench.write("elsewhere/real.csv", "old\n");
    symlink("elsewhere/real.csv", bench.path("link.csv")).unwrap();
    std::fs::create_dir(bench.path("elsewhere/parts")).unwrap();
    symlink("elsewhere/parts", bench.path("parts")).unwrap();
    for output in ["link.csv", "parts/", "parts"] {
        let format = ["--format", "csv", "--model", tiny()];
        bench.ok([&["run", "in.csv", "-o", output], &format[..]].concat());
    }
    for link in ["link.csv", "parts"] {
        assert!(bench.path(link).is_symlink(), "{link}");
    }
    assert!(bench.text("elsewhere/real.csv").starts_with("id,label"));
    assert!(
        bench
            .text("elsewhere/parts/part-00000000.csv")
            .starts_with("id,label")
    );
    // A link to the input is the input.
    symlink("in.csv", bench.path("other name.csv")).unwrap();
    let message = run_fails(&bench, USAGE, &["in.csv", "-o", "other name.csv"]);
    assert!(message.contains("would replace the input"), "{message}");
}

/// A device that is always full takes no labels.
#[test]
#[cfg(target_os = "linux")]
fn a_full_device_ends_the_run_with_its_reason() {
    let bench = Bench::new();
    bench.write("in.jsonl", jsonl(20));
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let output = bench
        .shoal(["run", "in.jsonl", "-o", "-", "--model", tiny()])
        .stdout(full())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(STORAGE), "{}", describe(&output));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("no space left on the device"), "{message}");
    let output = bench
        .shoal(["runs", "--json"])
        .stdout(full())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(STORAGE), "{}", describe(&output));
}

/// A limit on the size of files stands in for a disk that fills up: the same writes fail at the same places, with
/// another reason.
#[test]
#[cfg(unix)]
fn a_disk_that_fills_up_leaves_no_half_output() {
    let bench = Bench::new();
    // About 130 KiB of labels in parts of 3 KiB, under a limit that only the output exceeds.
    bench.write("in.jsonl", jsonl(5000));
    let args = "run in.jsonl -o out.csv --run-dir run --batch-size 100 --quiet --model";
    let run = |limit: &str| {
        let script = format!("trap '' XFSZ; ulimit -f {limit}; exec \"$0\" {args} \"$1\"");
        let shoal = bench.shoal::<&str>([]);
        let mut command = std::process::Command::new("sh");
        command
            .args(["-c", &script])
            .arg(shoal.get_program())
            .arg(tiny())
            .current_dir(bench.path(""))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", bench.path("home"));
        command.output().unwrap()
    };
    bench.write("out.csv", "the output of an earlier run\n");
    // Blocks of 512 or 1,024 bytes, as the shell has it.
    let output = run("96");
    assert_eq!(output.status.code(), Some(STORAGE), "{}", describe(&output));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("out.csv"), "{message}");
    assert_eq!(bench.text("out.csv"), "the output of an earlier run\n");
    assert_eq!(temporaries(&bench.path("")), [] as [PathBuf; 0]);
    // With room again, the same command ends what was begun.
    let output = run("unlimited");
    assert!(output.status.success(), "{}", describe(&output));
    assert_eq!(bench.text("out.csv").lines().count(), 5001);
}

#[test]
fn flags_that_make_no_sense_are_refused() {
    let bench = Bench::new();
    bench.write("in.csv", "text,gold\nx,label A\n");
    let usage = |args: &[&str], word: &str| {
        let args = [
            &["run", "in.csv", "--model", tiny(), "--text-column", "text"],
            args,
        ]
        .concat();
        let message = bench.fails(USAGE, &args);
        assert!(message.contains(word), "{word:?} is not in: {message}");
        assert!(!bench.path("out.csv").exists());
    };
    let out = ["-o", "out.csv"];
    let with = |args: &[&'static str]| [&out[..], args].concat();
    usage(&[], "-o labels.csv");
    usage(&["-o", ""], "empty");
    usage(&with(&[""]), "empty");
    usage(
        &with(&["--batch-size", "99999999999999999999"]),
        "99999999999999999999",
    );
    usage(&["-o", "-", "--json"], "--json");
    usage(&with(&["--threshold", "0.3"]), "multi-label");
    usage(&with(&["--batch-size", "0"]), "--batch-size");
    usage(&with(&["--concurrency", "0"]), "--concurrency");
    usage(&with(&["--batch-size", "-1"]), "-1");
    usage(&with(&["--batch-size", "many"]), "many");
    usage(&with(&["--max-tokens", "1"]), "2 to 64");
    usage(&with(&["--max-tokens", "65"]), "2 to 64");
    usage(&with(&["--format", "xml"]), "xml");
    usage(&with(&["--on-error", "panic"]), "panic");
    usage(&with(&["--no-such-flag"]), "--no-such-flag");
    usage(&with(&["--keep-columns", "gold,gold"]), "twice");
    usage(&with(&["--run-dir", "s3://bucket/run"]), "run directories");
    assert!(bench.fails(USAGE, ["run"]).contains("INPUT"));
    assert!(bench.fails(USAGE, ["swim"]).contains("swim"));
    let multi = repository("crates/encoder/tests/fixtures/bert-cased-multi");
    let multi = multi.to_str().unwrap();
    let multi = [
        "run",
        "in.csv",
        "-o",
        "out.csv",
        "--text-column",
        "text",
        "--model",
        multi,
    ];
    let fails = |args: &[&str]| bench.fails(USAGE, [&multi[..], args].concat());
    assert!(fails(&["--threshold", "1.5"]).contains("between 0 and 1"));
    assert!(fails(&["--threshold", "NaN"]).contains("between 0 and 1"));
    assert!(fails(&["--label-column", "gold"]).contains("--label-column"));
}

#[test]
fn flags_win_over_variables_and_variables_over_the_file() {
    let bench = Bench::new();
    bench.write("in.jsonl", jsonl(60));
    bench.write(
        "shoal.toml",
        format!(
            "batch-size = 30\njson = true\nquiet = true\noutput = 'out.csv'\nmodel = '{}'\n",
            tiny()
        ),
    );
    let batches = |variable: Option<&str>, flags: &[&str]| {
        let mut command = bench.shoal(["run", "in.jsonl", "--fresh"]);
        command.args(flags);
        if let Some(size) = variable {
            command.env("SHOAL_BATCH_SIZE", size);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", describe(&output));
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        summary["batches"].as_u64().unwrap()
    };
    assert_eq!(batches(None, &[]), 2);
    assert_eq!(batches(Some("20"), &[]), 3);
    assert_eq!(batches(Some("20"), &["--batch-size", "10"]), 6);
    bench.write(
        "other.toml",
        format!(
            "batch-size = 15\njson = true\nquiet = true\noutput = 'out.csv'\nmodel = '{}'\n",
            tiny()
        ),
    );
    assert_eq!(batches(None, &["--config", "other.toml"]), 4);

    for (content, word) in [
        ("batchsize = 3\n", "batchsize"),
        ("batch-size = 'x'\n", "batch-size"),
        ("= 3\n", "shoal.toml"),
    ] {
        bench.write("shoal.toml", content);
        let message = bench.fails(USAGE, ["run", "in.jsonl", "-o", "new.csv"]);
        assert!(message.contains(word), "{message}");
        assert!(!bench.path("new.csv").exists());
    }
    let message = bench.fails(
        USAGE,
        ["run", "in.jsonl", "-o", "o.csv", "--config", "no.toml"],
    );
    assert!(message.contains("no.toml"), "{message}");
    let mut command = bench.shoal(["run", "in.jsonl", "-o", "new.csv"]);
    std::fs::remove_file(bench.path("shoal.toml")).unwrap();
    let output = command.env("SHOAL_BATCH_SIZE", "x").output().unwrap();
    assert_eq!(output.status.code(), Some(USAGE), "{}", describe(&output));
}

#[test]
fn a_reader_that_has_had_enough_ends_the_command_quietly() {
    let bench = Bench::new();
    bench.write("in.jsonl", jsonl(5000));
    let mut child = bench
        .shoal(["run", "in.jsonl", "-o", "-", "--quiet", "--model", tiny()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut reader = BufReader::with_capacity(64, child.stdout.take().unwrap());
    reader.read_line(&mut line).unwrap();
    assert!(line.contains("\"r0\""), "{line}");
    drop(reader);
    let mut message = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut message)
        .unwrap();
    assert_eq!(
        (child.wait().unwrap().code(), message.as_str()),
        (Some(0), "")
    );

    // The other end is closed before the first byte.
    for args in [
        &["completions", "bash"][..],
        &["man"],
        &["runs"],
        &["runs", "--json"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = bench.shoal(args).stdout(writer).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", describe(&output));
        assert!(output.stderr.is_empty(), "{args:?}: {}", describe(&output));
    }
}

#[test]
#[cfg(unix)]
fn ctrl_c_ends_the_wait_for_standard_input() {
    let bench = Bench::new();
    let mut child = bench
        .shoal(["run", "-", "-o", "out.csv", "--model", tiny()])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Held open to the end, so that only the signal can end the wait.
    let stdin = child.stdin.take().unwrap();
    let spool = bench.path("data/shoal/spool");
    let copies = || std::fs::read_dir(&spool).map_or(0, Iterator::count);
    while copies() == 0 {
        assert!(child.try_wait().unwrap().is_none(), "it did not wait");
        std::thread::yield_now();
    }
    crate::support::interrupt(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", describe(&output));
    assert_eq!(copies(), 0, "the copy is left");
    drop(stdin);
}

#[test]
fn a_run_that_could_not_be_planned_is_not_listed() {
    let bench = Bench::new();
    bench.write("in.csv", "text\nx\n");
    run_fails(
        &bench,
        INPUT,
        &["in.csv", "-o", "out.csv", "--text-column", "no"],
    );
    run_fails(&bench, STORAGE, &["in.csv", "-o", "nowhere/out.csv"]);
    assert!(bench.ok(["runs", "--json"]).stdout.is_empty());
}

#[test]
fn quiet_says_nothing_and_otherwise_the_summary_tells_all() {
    let bench = Bench::new();
    bench.write("in.jsonl", jsonl(20));
    let run = |args: &[&str]| {
        bench.ok([
            &[
                "run",
                "in.jsonl",
                "-o",
                "out.csv",
                "--fresh",
                "--model",
                tiny(),
            ],
            args,
        ]
        .concat())
    };
    let output = run(&["--quiet"]);
    assert_eq!(
        (output.stdout.len(), output.stderr.len()),
        (0, 0),
        "{}",
        describe(&output)
    );
    let output = run(&[]);
    assert!(output.stdout.is_empty(), "{}", describe(&output));
    let text = String::from_utf8(output.stderr).unwrap();
    for word in [
        "out.csv",
        "records    20\n",
        "tokens",
        "records/s",
        "model",
        "run",
    ] {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
    assert!(!text.contains('\x1b') && !text.contains('\r'), "{text}");
}

#[test]
fn completions_and_manual_pages_are_printed() {
    let bench = Bench::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = bench.ok(["completions", shell]);
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(
            script.contains("shoal") && script.contains("batch-size"),
            "{shell}: {script}"
        );
    }
    assert!(bench.fails(USAGE, ["completions", "dos"]).contains("dos"));
    let page = String::from_utf8(bench.ok(["man"]).stdout).unwrap();
    assert!(
        page.contains(".TH shoal") && page.contains("Exit codes"),
        "{page}"
    );
    bench.write("pages/x", "");
    bench.ok(["man", "pages"]);
    assert!(bench.text("pages/shoal-run.1").contains("batch"));
    assert!(bench.fails(STORAGE, ["man", "nowhere"]).contains("nowhere"));
}

#[test]
fn runs_that_are_not_there_are_named() {
    let bench = Bench::new();
    for args in [
        &["status", "nothing"][..],
        &["resume", "nothing"],
        &["runs", "--remove", "nothing"],
        &["status", "../nothing"],
    ] {
        let message = bench.fails(RUN, args);
        assert!(message.contains("nothing"), "{args:?}: {message}");
    }
    let output = bench.ok(["runs"]);
    assert!(output.stdout.is_empty());
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("no runs yet")
    );
    assert!(bench.ok(["runs", "--json"]).stdout.is_empty());
}

#[test]
fn runs_are_listed_told_and_removed() {
    let bench = Bench::new();
    bench.write("some reviews.jsonl", jsonl(20));
    let output = bench.ok([
        "run",
        "some reviews.jsonl",
        "-o",
        "out.csv",
        "--json",
        "--quiet",
        "--model",
        tiny(),
    ]);
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    let name = summary["run"].as_str().unwrap();
    let text = |args: &[&str]| String::from_utf8(bench.ok(args).stdout).unwrap();
    let listed = text(&["runs"]);
    assert!(
        listed.contains(name) && listed.contains("finished"),
        "{listed}"
    );
    let status = text(&["status", name]);
    for word in [name, "finished", "20", "some reviews.jsonl", "out.csv"] {
        assert!(status.contains(word), "{word:?} is not in: {status}");
    }
    let status: Value = serde_json::from_str(&text(&["status", name, "--json"])).unwrap();
    assert_eq!(
        (&status["state"], &status["records_done"]),
        (&json!("finished"), &json!(20))
    );
    // A finished run is collected again where it is resumed.
    std::fs::rename(bench.path("out.csv"), bench.path("first.csv")).unwrap();
    bench.ok(["resume", name, "--quiet"]);
    assert_eq!(bench.read("out.csv"), bench.read("first.csv"));
    bench.ok(["resume", name, "--quiet", "-o", "elsewhere.csv"]);
    assert_eq!(bench.read("elsewhere.csv"), bench.read("first.csv"));
    assert!(
        bench
            .fails(USAGE, ["resume", name, "-o", "x.jsonl"])
            .contains("csv")
    );
    bench.ok(["runs", "--remove", name]);
    assert!(bench.fails(RUN, ["status", name]).contains(name));
    assert!(bench.path("out.csv").exists());
}
