//! Models from the Hugging Face hub, which a local server simulates.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::server::{Response, Server};
use crate::support::{Bench, describe, jsonl, repository, tiny, tiny_model};

const MODEL: i32 = 4;
const TOKEN: &str = "hf_secret_token";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A hub with `folder` as the model `name` at the revision `revision`. Like huggingface.co, it redirects requests for
/// weights and serves other files directly.
fn serve_hub(name: &str, revision: &str, folder: &Path) -> Server {
    let files: BTreeMap<_, _> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read(entry.path()).unwrap())
        })
        .collect();
    let info_path = format!("/api/models/{name}/revision/{revision}");
    let files_below = format!("/{name}/resolve/{revision}/");
    Server::new(move |request, url| {
        if request.path == info_path {
            let names: Vec<_> = files
                .keys()
                .map(|name| serde_json::json!({ "rfilename": name }))
                .collect();
            let info = serde_json::json!({ "sha": COMMIT, "siblings": names });
            return Response {
                status: "200 OK",
                headers: "Content-Type: application/json\r\n".to_owned(),
                content: info.to_string().into_bytes(),
            };
        }
        let stored = request.path.strip_prefix("/stored/");
        let file = stored.or_else(|| request.path.strip_prefix(&files_below));
        let Some((name, content)) = file.and_then(|name| files.get_key_value(name)) else {
            return Response::not_found();
        };
        let index = files.keys().position(|other| other == name).unwrap();
        let etag = format!("{index:040x}");
        if stored.is_none() && name.ends_with(".safetensors") {
            return Response {
                status: "302 Found",
                headers: format!(
                    "X-Repo-Commit: {COMMIT}\r\nX-Linked-Etag: \"{etag}\"\r\nLocation: {url}/stored/{name}\r\n"
                ),
                content: Vec::new(),
            };
        }
        let headers = format!("X-Repo-Commit: {COMMIT}\r\nETag: \"{etag}\"\r\n");
        Response::part(request, content, &headers)
    })
}

/// A run with this model that writes `output`.
fn run(bench: &Bench, model: &str, output: &str) -> Command {
    bench.write("in.jsonl", jsonl(40));
    bench.shoal([
        "run", "in.jsonl", "-o", output, "--fresh", "--scores", "--quiet", "--model", model,
    ])
}

fn succeeds(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", describe(&output));
    assert!(output.stderr.is_empty(), "{}", describe(&output));
}

/// The run must fail because the model is missing, without showing the token.
fn fails(command: &mut Command, words: &[&str]) {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(MODEL), "{}", describe(&output));
    let message = String::from_utf8(output.stderr).unwrap();
    for word in words {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
    assert!(!message.contains(TOKEN), "{message}");
}

/// Runs with the model `name` from a hub, then from the cache, and compares the outputs with that of the model's folder.
fn check(name: &str, revision: &str, folder: &Path) {
    let bench = Bench::new();
    succeeds(&mut run(&bench, folder.to_str().unwrap(), "folder.csv"));
    let id = name.split('@').next().unwrap();
    let hub = serve_hub(id, revision, folder);
    let endpoint = hub.url();
    succeeds(run(&bench, name, "hub.csv").env("HF_ENDPOINT", &endpoint));
    assert_eq!(bench.read("hub.csv"), bench.read("folder.csv"));
    assert!(!hub.requests().is_empty());
    let cache = format!(
        "hub/hub/models--{}/snapshots/{COMMIT}",
        id.replace('/', "--")
    );
    assert!(bench.path(&cache).join("config.json").exists());

    // A cached model is not requested again, whether the hub is reachable or not.
    let asked = hub.requests().len();
    succeeds(run(&bench, name, "cached.csv").env("HF_ENDPOINT", &endpoint));
    assert_eq!(hub.requests().len(), asked);
    drop(hub);
    succeeds(run(&bench, name, "offline.csv").env("HF_ENDPOINT", &endpoint));
    succeeds(run(&bench, name, "forbidden.csv").env("HF_HUB_OFFLINE", "1"));
    for output in ["cached.csv", "offline.csv", "forbidden.csv"] {
        assert_eq!(bench.read(output), bench.read("folder.csv"), "{output}");
    }
}

#[test]
fn a_model_from_the_hub_is_fetched_once() {
    check("some-owner/some-model", "main", &tiny_model());
}

#[test]
fn a_model_may_have_shards_a_revision_and_no_owner() {
    let folder = repository("crates/encoder/tests/fixtures/bert-bf16-sharded");
    check("some-model@v1.2", "v1.2", &folder);
}

#[test]
fn a_model_may_have_a_vocabulary_instead_of_a_tokenizer() {
    let folder = repository("crates/encoder/tests/fixtures/bert-vocabulary");
    check("owner/old-model", "main", &folder);
}

#[test]
fn a_token_is_sent_but_never_shown() {
    let bench = Bench::new();
    let hub = serve_hub("owner/private", "main", &tiny_model());
    let run = |name: &str| {
        let mut command = run(&bench, name, "out.csv");
        // A token that was read from a file may end with a line break.
        command
            .env("HF_ENDPOINT", hub.url())
            .env("HF_TOKEN", format!("{TOKEN}\n"));
        command
    };
    succeeds(&mut run("owner/private"));
    let asked = hub.requests();
    let expected = format!("Bearer {TOKEN}");
    assert!(
        asked
            .iter()
            .all(|request| request.authorization.as_deref() == Some(&expected)),
        "{asked:#?}"
    );
    fails(&mut run("owner/other"), &["owner/other"]);
    for folder in ["data", "hub"] {
        let found = Command::new("grep")
            .args(["-r", TOKEN])
            .arg(bench.path(folder))
            .output()
            .unwrap();
        assert_eq!(found.status.code(), Some(1), "{}", describe(&found));
    }
}

#[test]
fn an_interrupted_download_resumes() {
    let bench = Bench::new();
    succeeds(&mut run(&bench, tiny(), "folder.csv"));
    let hub = serve_hub("owner/model", "main", &tiny_model());
    let fetch = || {
        succeeds(run(&bench, "owner/model", "hub.csv").env("HF_ENDPOINT", hub.url()));
        assert_eq!(bench.read("hub.csv"), bench.read("folder.csv"));
    };
    fetch();
    // A killed process leaves a partial file of the weights and no weights in the snapshot.
    let model = "hub/hub/models--owner--model";
    let weights = bench.path(&format!("{model}/snapshots/{COMMIT}/model.safetensors"));
    let blob = weights.canonicalize().unwrap();
    let content = std::fs::read(&blob).unwrap();
    std::fs::write(blob.with_extension("part"), &content[..1000]).unwrap();
    std::fs::remove_file(&weights).unwrap();
    std::fs::remove_file(&blob).unwrap();
    fetch();
    let resumed = hub
        .requests()
        .iter()
        .any(|request| request.range.as_deref() == Some("bytes=1000-"));
    assert!(resumed, "{:#?}", hub.requests());
}

#[test]
fn the_error_says_why_a_model_cannot_be_fetched() {
    let bench = Bench::new();
    let run = |name: &str, endpoint: &str| {
        let mut command = run(&bench, name, "out.csv");
        command.env("HF_ENDPOINT", endpoint).env("HF_TOKEN", TOKEN);
        command
    };
    let hub = serve_hub("owner/model", "main", &tiny_model());
    let endpoint = hub.url();
    fails(
        &mut run("owner/nothing", &endpoint),
        &["owner/nothing", "no model of this name"],
    );
    fails(
        &mut run("owner/model@v9", &endpoint),
        &["owner/model@v9", "no model of this name", "revision"],
    );

    let folder = bench.write("pickled/pytorch_model.bin", "x");
    std::fs::copy(
        tiny_model().join("config.json"),
        bench.path("pickled/config.json"),
    )
    .unwrap();
    let pickled = serve_hub("owner/pickled", "main", folder.parent().unwrap());
    fails(
        &mut run("owner/pickled", &pickled.url()),
        &["owner/pickled", "model.safetensors"],
    );

    // No server listens on this address now.
    drop(hub);
    fails(
        &mut run("owner/model", &endpoint),
        &["owner/model", "refused", "no folder", "Without a network"],
    );
    fails(
        run("owner/model", &endpoint).env("HF_HUB_OFFLINE", "1"),
        &["owner/model", "HF_HUB_OFFLINE"],
    );
    assert!(!bench.path("out.csv").exists());
}
