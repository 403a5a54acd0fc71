//! CSV, TSV and JSON Lines as other programs write them: quotes, line endings, byte-order marks, blank lines.

use serde_json::{Value, json};

use crate::formats::summary;
use crate::support::Bench;

/// A dead letter's id, row and line.
type Letter = (Value, u64, u64);

/// Runs on `content` with several batch sizes. Returns the ids and texts of the results, and the dead letters.
fn read_back(bench: &Bench, name: &str, content: &[u8]) -> (Vec<(String, String)>, Vec<Letter>) {
    bench.write(name, content);
    let mut all = Vec::new();
    for batch_size in ["1", "2", "1000"] {
        let found = summary(
            bench,
            &[
                name,
                "-o",
                "back.jsonl",
                "--fresh",
                "--run-dir",
                "run",
                "--text-column",
                "text",
                "--keep-columns",
                "text",
                "--batch-size",
                batch_size,
            ],
        );
        let results = bench
            .text("back.jsonl")
            .lines()
            .map(|line| {
                let row: Value = serde_json::from_str(line).unwrap();
                let cell = |name: &str| row[name].as_str().unwrap().to_owned();
                (cell("id"), cell("text"))
            })
            .collect::<Vec<_>>();
        let failed = match found["failed_file"].as_str() {
            None => Vec::new(),
            Some(path) => std::fs::read_to_string(path)
                .unwrap()
                .lines()
                .map(|line| {
                    let letter: Value = serde_json::from_str(line).unwrap();
                    (
                        letter["id"].clone(),
                        letter["row"].as_u64().unwrap(),
                        letter["line"].as_u64().unwrap(),
                    )
                })
                .collect::<Vec<_>>(),
        };
        assert_eq!(
            found["records"].as_u64().unwrap() as usize,
            results.len() + failed.len()
        );
        all.push((results, failed));
    }
    assert!(
        all.windows(2).all(|pair| pair[0] == pair[1]),
        "{name}: {all:#?}"
    );
    all.remove(0)
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected
        .iter()
        .map(|(id, text)| ((*id).to_owned(), (*text).to_owned()))
        .collect()
}

#[test]
fn csv_from_other_programs_is_read() {
    let bench = Bench::new();
    for ending in ["\n", "\r\n"] {
        // A byte-order mark; blank lines before the header, between records and at the end; quoted line breaks,
        // separators and quotes; a byte-order mark before a record, where concatenation leaves it; no line break at the end.
        let content =
            "\u{feff}\n\nid,text\n\n\na,\"two\nlines\"\nbad,x,y\nb,\"say \"\"no\"\", twice\"\n\
                       \n\u{feff}c,mark\nempty,\nd,it's 5\" wide\n\n\nlast"
                .replace('\n', ending);
        let (results, failed) = read_back(&bench, "in.csv", content.as_bytes());
        assert_eq!(
            results,
            pairs(&[
                ("a", &format!("two{ending}lines")),
                ("b", "say \"no\", twice"),
                ("c", "mark"),
                ("d", "it's 5\" wide"),
            ]),
            "{ending:?}"
        );
        assert_eq!(
            failed,
            [
                (json!("bad"), 1, 8),
                (json!("empty"), 4, 12),
                (json!("last"), 6, 16)
            ],
            "{ending:?}"
        );
    }
}

#[test]
fn tsv_may_contain_commas_and_quotes() {
    let bench = Bench::new();
    let content = "id\ttext\r\na\tone, two\r\nb\t\"a\ttab\"\r\nc\t\"open\r\nd\t5\" wide\r\n";
    let (results, failed) = read_back(&bench, "in.tsv", content.as_bytes());
    assert_eq!(
        results,
        pairs(&[("a", "one, two"), ("c", "\"open"), ("d", "5\" wide")])
    );
    assert_eq!(failed, [(json!("b"), 1, 3)]);
}

#[test]
fn json_lines_may_have_blank_lines_and_carriage_returns() {
    let bench = Bench::new();
    let content = "\u{feff}{\"id\":\"a\",\"text\":\"one\"}\r\n\r\n  \n{\"id\":\"bad\"}\r\n\
                   {\"text\":\"t\\nwo \\u00fc \\ud83d\\ude00\",\"more\":{\"text\":1},\"id\":\"b\"}\n\n{\"id\":\"last\",\"text\":7}";
    let (results, failed) = read_back(&bench, "in.jsonl", content.as_bytes());
    assert_eq!(results, pairs(&[("a", "one"), ("b", "t\nwo ü 😀")]));
    assert_eq!(failed, [(json!("bad"), 1, 4), (json!("last"), 3, 7)]);
}
