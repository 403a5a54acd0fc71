//! Models as people have them: caches of the Hugging Face hub, folders that are not a model, and tokenizer settings.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Bench, describe, repository, tiny_model};

const MODEL: i32 = 4;
const MAIN: &str = "0123456789abcdef0123456789abcdef01234567";
const OTHER: &str = "01ff456789abcdef0123456789abcdef01234567";

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// A cache `folder` with two commits of `owner/model`; `main` is the first.
fn make_cache(folder: &Path) -> PathBuf {
    let repo = folder.join("models--owner--model");
    copy(&tiny_model(), &repo.join("snapshots").join(MAIN));
    let other = repository("crates/encoder/tests/fixtures/distilbert-f16");
    copy(&other, &repo.join("snapshots").join(OTHER));
    std::fs::create_dir_all(repo.join("refs/refs/pr")).unwrap();
    std::fs::write(repo.join("refs/main"), MAIN).unwrap();
    std::fs::write(repo.join("refs/refs/pr/1"), OTHER).unwrap();
    repo
}

/// A run with this model, which must not be downloaded.
fn run(bench: &Bench, model: &str) -> Command {
    bench.write("in.jsonl", "{\"id\": 1, \"text\": \"a good film\"}\n");
    let mut command = bench.shoal([
        "run",
        "in.jsonl",
        "-o",
        "out.csv",
        "--fresh",
        "--scores",
        "--precision",
        "f32",
        "--model",
        model,
    ]);
    command
        .env_remove("HF_HOME")
        .env("HF_HUB_OFFLINE", "1")
        .env("XDG_CACHE_HOME", bench.path("cache"));
    command
}

#[track_caller]
fn output_of(bench: &Bench, command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", describe(&output));
    bench.text("out.csv")
}

#[track_caller]
fn error_of(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(MODEL), "{}", describe(&output));
    String::from_utf8(output.stderr).unwrap()
}

/// As `constants.py` of huggingface_hub: each variable wins over those after it.
#[test]
fn the_cache_is_where_huggingface_hub_has_it() {
    let bench = Bench::new();
    let expected = output_of(&bench, &mut run(&bench, tiny_model().to_str().unwrap()));
    let places: [(&str, &str, &str); 6] = [
        ("home", "HOME", "home/.cache/huggingface/hub"),
        ("xdg", "XDG_CACHE_HOME", "xdg/huggingface/hub"),
        ("hf", "HF_HOME", "hf/hub"),
        ("older", "HUGGINGFACE_HUB_CACHE", "older"),
        ("newer", "HF_HUB_CACHE", "newer"),
        ("$HOME/in home", "HF_HUB_CACHE", "home/in home"),
    ];
    for (value, variable, cache) in places {
        make_cache(&bench.path(cache));
        let mut command = run(&bench, "owner/model");
        command
            .env_remove("XDG_CACHE_HOME")
            .env("HOME", bench.path("home"));
        let path = match value.strip_prefix('$') {
            Some(_) => value.into(),
            None => bench.path(value),
        };
        // The values of variables that come later must not matter.
        let before = places.iter().position(|place| place.1 == variable).unwrap();
        for (other, variable, _) in &places[..before] {
            command.env(variable, bench.path(other));
        }
        command.env(variable, path);
        assert_eq!(
            output_of(&bench, &mut command),
            expected,
            "{variable}={value}"
        );
        std::fs::remove_dir_all(bench.path(cache)).unwrap();
        let message = error_of(&mut command);
        let cache = bench.path(cache).display().to_string();
        assert!(message.contains(&cache), "{cache:?} is not in {message}");
    }
}

#[test]
fn revisions_are_branches_and_commits() {
    let bench = Bench::new();
    let repo = make_cache(&bench.path("cache/huggingface/hub"));
    let [main, other] = [MAIN, OTHER].map(|commit| {
        let snapshot = repo.join("snapshots").join(commit);
        output_of(&bench, &mut run(&bench, snapshot.to_str().unwrap()))
    });
    assert_ne!(main, other);
    for (revision, expected) in [
        ("", &main),
        ("@main", &main),
        (&format!("@{MAIN}"), &main),
        ("@0123456", &main),
        ("@refs/pr/1", &other),
        (&format!("@{OTHER}"), &other),
        ("@01ff4567", &other),
    ] {
        let model = format!("owner/model{revision}");
        assert_eq!(
            output_of(&bench, &mut run(&bench, &model)),
            *expected,
            "{model}"
        );
    }
    let cache = bench.path("cache/huggingface/hub").display().to_string();
    for (model, words) in [
        ("owner/model@v9", ["the revision v9", "main", MAIN]),
        ("owner/model@01ff99", ["the revision 01ff99", "main", MAIN]),
        ("owner/absent", ["HF_HUB_OFFLINE", "owner/model", &cache]),
    ] {
        let message = error_of(&mut run(&bench, model));
        for word in words.into_iter().chain([&*cache]) {
            assert!(
                message.contains(word),
                "{model}: {word:?} is not in {message}"
            );
        }
    }
    // The folder of the model in the cache stands for its main revision, or the only one.
    let path = repo.to_str().unwrap();
    assert_eq!(output_of(&bench, &mut run(&bench, path)), main);
    std::fs::remove_file(repo.join("refs/main")).unwrap();
    let message = error_of(&mut run(&bench, path));
    assert!(message.contains(&format!("snapshots/{OTHER}")), "{message}");
    std::fs::remove_dir_all(repo.join("snapshots").join(MAIN)).unwrap();
    assert_eq!(output_of(&bench, &mut run(&bench, path)), other);
    // A snapshot without all its files.
    let weights = repo.join("snapshots").join(OTHER).join("model.safetensors");
    std::fs::remove_file(weights).unwrap();
    let message = error_of(&mut run(&bench, &format!("owner/model@{OTHER}")));
    assert!(
        message.contains("incomplete") && message.contains("model.safetensors"),
        "{message}"
    );
}

#[test]
fn a_folder_that_is_not_a_model_has_the_hint_that_fits() {
    let write = |folder: &Path, name: &str, content: &str| {
        std::fs::create_dir_all(folder.join(name).parent().unwrap()).unwrap();
        std::fs::write(folder.join(name), content).unwrap();
    };
    let without_weights = |folder: &Path| {
        copy(&tiny_model(), folder);
        std::fs::remove_file(folder.join("model.safetensors")).unwrap();
    };
    type Case<'a> = (&'a str, &'a dyn Fn(&Path), &'a [&'a str]);
    let cases: [Case<'_>; 15] = [
        ("empty", &|_| {}, &["no config.json", "it is empty"]),
        (
            "adapter",
            &|folder| {
                write(
                    folder,
                    "adapter_config.json",
                    "{\"base_model_name_or_path\": \"org/base\"}",
                );
                write(folder, "adapter_model.safetensors", "x");
            },
            &["adapter", "\"org/base\"", "merge_and_unload"],
        ),
        (
            "trainer",
            &|folder| {
                for step in ["9", "500", "1000"] {
                    copy(&tiny_model(), &folder.join(format!("checkpoint-{step}")));
                }
                write(folder, "checkpoint-2000/optimizer.pt", "x");
            },
            &["Trainer", "trainer/checkpoint-1000"],
        ),
        (
            "hub",
            &|folder| drop(make_cache(folder)),
            &[
                "cache of the Hugging Face hub",
                "hub/models--owner--model",
                "owner/model",
            ],
        ),
        (
            "models--a--b",
            &|folder| write(folder, "snapshots/123/model.safetensors", "x"),
            &["without a complete snapshot"],
        ),
        (
            "onnx",
            &|folder| write(folder, "model.onnx", "x"),
            &["model.onnx is an ONNX model"],
        ),
        (
            "optimum",
            &|folder| {
                without_weights(folder);
                write(folder, "onnx/model_quantized.onnx", "x");
            },
            &[
                "neither model.safetensors",
                "onnx/model_quantized.onnx is an ONNX model",
            ],
        ),
        (
            "pickle",
            &|folder| {
                without_weights(folder);
                write(folder, "pytorch_model.bin", "x");
            },
            &["pytorch_model.bin", "pickled", "save_pretrained"],
        ),
        (
            "shards",
            &|folder| {
                without_weights(folder);
                write(folder, "pytorch_model.bin.index.json", "{}");
            },
            &["pytorch_model.bin.index.json", "pickled"],
        ),
        (
            "tensorflow",
            &|folder| {
                without_weights(folder);
                write(folder, "tf_model.h5", "x");
            },
            &["tf_model.h5", "TensorFlow", "save_pretrained"],
        ),
        (
            "flax",
            &|folder| {
                without_weights(folder);
                write(folder, "flax_model.msgpack", "x");
            },
            &["flax_model.msgpack", "Flax"],
        ),
        (
            "gguf",
            &|folder| write(folder, "model-q4.gguf", "GGUF"),
            &["model-q4.gguf is a GGUF model"],
        ),
        (
            "outer",
            &|folder| copy(&tiny_model(), &folder.join("best")),
            &["no config.json", "outer/best"],
        ),
        (
            "pointers",
            &|folder| {
                copy(&tiny_model(), folder);
                write(
                    folder,
                    "model.safetensors",
                    "version https://git-lfs.github.com/spec/v1\n",
                );
            },
            &["model.safetensors", "Git LFS pointer", "git lfs pull"],
        ),
        (
            "tokenizer pointer",
            &|folder| {
                copy(&tiny_model(), folder);
                write(
                    folder,
                    "tokenizer.json",
                    "version https://git-lfs.github.com/spec/v1\n",
                );
            },
            &["tokenizer.json", "Git LFS pointer", "git lfs pull"],
        ),
    ];
    let bench = Bench::new();
    for (name, make, words) in cases {
        let folder = bench.path(name);
        std::fs::create_dir(&folder).unwrap();
        make(&folder);
        let message = error_of(&mut run(&bench, folder.to_str().unwrap()));
        for word in words {
            assert!(
                message.contains(word),
                "{name}: {word:?} is not in {message}"
            );
        }
    }
    for (name, content, words) in [
        ("model.gguf", &b"GGUF\x03\0\0\0"[..], "a GGUF model"),
        ("pytorch_model.bin", b"PK\x03\x04xxxxxxxx", "pickled"),
        ("model.onnx", b"\x08\x07\x12\x07pytorch", "an ONNX model"),
        (
            "config.json",
            b"{\"model_type\": \"bert\"}",
            "name the folder",
        ),
        (
            "model.safetensors",
            b"\x10\0\0\0\0\0\0\0{\"a\":{}}        ",
            "name the folder",
        ),
    ] {
        let file = bench.write(name, content);
        let message = error_of(&mut run(&bench, file.to_str().unwrap()));
        assert!(
            message.contains(words),
            "{name}: {words:?} is not in {message}"
        );
    }
}

/// The same ids as in the tests of the encoder, with a run of the command and a packed model.
#[test]
fn settings_of_the_tokenizer_change_results_and_fingerprint() {
    let bench = Bench::new();
    let folder = bench.path("model");
    copy(&tiny_model(), &folder);
    let text = "good film ".repeat(50) + &"bad plot ".repeat(50);
    let input = serde_json::json!({"id": 1, "text": text}).to_string();
    let label = |model: &str| {
        let mut command = run(&bench, model);
        bench.write("in.jsonl", &input);
        output_of(&bench, &mut command)
    };
    let right = label("model");
    let path = folder.join("tokenizer_config.json");
    let settings = std::fs::read_to_string(&path).unwrap();
    let settings: serde_json::Value = serde_json::from_str(&settings).unwrap();
    let with = |key: &str, value: serde_json::Value| {
        let mut settings = settings.clone();
        settings[key] = value;
        std::fs::write(&path, settings.to_string()).unwrap();
    };
    with("truncation_side", "left".into());
    let left = label("model");
    assert_ne!(right, left);
    bench.ok(["pack", "model", "-o", "left.shoal", "--precision", "f32"]);
    assert_eq!(label("left.shoal"), left);
    // The same as the end of the text alone.
    with("truncation_side", "right".into());
    assert_eq!(label("model"), right);
    with("truncation_side", "middle".into());
    let message = error_of(&mut run(&bench, "model"));
    assert!(
        message.contains("truncation_side is \"middle\""),
        "{message}"
    );
}
