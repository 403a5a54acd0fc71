//! Inputs and models that cannot be used.

use super::*;

#[test]
fn the_error_names_the_unreadable_input() {
    let bench = Bench::new();
    input_fails(&bench, INPUT, "nowhere.csv", &["no such file"]);
    input_fails(&bench, INPUT, "*.csv", &["no file matches"]);
    bench.write("x.txt", "text\n");
    input_fails(&bench, INPUT, "x.txt", &["set the input format"]);
    bench.write("empty.csv", "");
    input_fails(&bench, INPUT, "empty.csv", &["no records"]);
    bench.write("empty.jsonl", "");
    input_fails(&bench, INPUT, "empty.jsonl", &["no records"]);
    bench.write("blank.jsonl", "\n \r\n");
    input_fails(&bench, INPUT, "blank.jsonl", &["no records"]);
    bench.write("words.jsonl", "these are\nno objects\n");
    input_fails(&bench, INPUT, "words.jsonl", &["JSON"]);
    bench.write("twice.csv", "text,a,text\nx,1,2\n");
    input_fails(
        &bench,
        INPUT,
        "twice.csv",
        &["two columns are called \"text\""],
    );
    bench.write("not.parquet", "text\0x\n");
    input_fails(&bench, INPUT, "not.parquet", &["Parquet"]);
    std::fs::create_dir(bench.path("folder")).unwrap();
    input_fails(&bench, INPUT, "folder", &["no .txt files"]);
    bench.write("wide.csv", b"\xff\xfe\0\0t\0\0\0");
    input_fails(&bench, INPUT, "wide.csv", &["UTF-32", "iconv"]);
    bench.write("wide.csv", b"t\0e\0x\0t\0\n\0a\0\n\0");
    input_fails(&bench, INPUT, "wide.csv", &["encoding to utf-16le"]);
    bench.write("latin.jsonl", b"{\"text\":\"Tr\xe8s\"}\n");
    let message = bench.fails(
        10,
        ["run", "latin.jsonl", "-o", "out.csv", "--model", tiny()],
    );
    assert!(message.contains("(--encoding)"), "{message}");
    std::fs::remove_file(bench.path("out.csv")).unwrap();
    for (content, says) in [
        (&b"<!DOCTYPE html>\n<html>"[..], "an HTML page"),
        (
            b"PK\x03\x04\x14\0\x06\0[Content_Types].xml",
            "an Excel workbook",
        ),
        (b"[{\"text\":1}]", "JSON"),
        (b"# exported\nid,text\n1,a\n", "line 1 is a comment"),
        (b"sep=;\n# exported\nid;text\n1;a\n", "line 2 is a comment"),
        (b"All reviews\nid,text\n1,a\n", "(--delimiter)"),
        (b"id,t\xe9xt\n1,a\n", "(--encoding)"),
    ] {
        bench.write("not.csv", content);
        input_fails(&bench, INPUT, "not.csv", &[says]);
    }
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_are_refused_in_favor_of_standard_input() {
    let bench = Bench::new();
    let says = ["can be read only once", "`-`"];
    for format in [&[][..], &["--input-format", "csv"]] {
        let mut run = bench.shoal(["run", "/dev/stdin", "-o", "out.csv"]);
        run.args(format).stdin(Stdio::piped());
        let output = run.output().unwrap();
        assert_eq!(output.status.code(), Some(INPUT), "{}", describe(&output));
        let message = String::from_utf8(output.stderr).unwrap();
        for word in ["/dev/stdin"].iter().chain(&says) {
            assert!(message.contains(word), "{word:?} is not in: {message}");
        }
    }
    input_fails(&bench, INPUT, "/dev/null", &says);
    let _socket = std::os::unix::net::UnixListener::bind(bench.path("socket.csv")).unwrap();
    input_fails(&bench, INPUT, "socket.csv", &says);
}

#[test]
fn truncated_and_damaged_compressed_inputs_are_errors() {
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
    }
}

#[test]
fn the_error_for_a_missing_column_lists_the_existing_ones() {
    let bench = Bench::new();
    bench.write("in.csv", "title,body,stars\na,b,1\n");
    bench.write("in.jsonl", "{\"title\":\"a\",\"body\":\"b\",\"stars\":1}\n");
    for input in ["in.csv", "in.jsonl"] {
        for (flag, purpose) in [
            ("--text-column", "for the text"),
            ("--id-column", "for the id"),
            ("--label-column", "for the label"),
            ("--keep-columns", "for the columns to keep"),
        ] {
            let mut args = vec![input, "-o", "out.csv", flag, "nope"];
            if flag != "--text-column" {
                args.extend(["--text-column", "title"]);
            }
            let message = run_fails(&bench, INPUT, &args);
            for word in ["\"nope\"", purpose, "title", "body", "stars"] {
                assert!(message.contains(word), "{word:?} is not in: {message}");
            }
        }
        // Two columns contain strings, and neither is called `text`.
        let message = run_fails(&bench, INPUT, &[input, "-o", "out.csv"]);
        assert!(message.contains("the text column"), "{message}");
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
    let printed = String::from_utf8(again.stderr).unwrap();
    assert!(printed.contains("records    0\n"), "{printed}");
    assert_eq!(printed.matches("no records").count(), 1, "{printed}");
}

#[test]
fn unusable_models_are_refused_with_a_reason() {
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
    fails("in.csv", &["in.csv", "neither a model folder nor"]);
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
