//! Models by their name on the Hugging Face hub, which a small server on this machine plays.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::support::{Bench, describe, jsonl, repository, tiny_model};

const MODEL: i32 = 4;
const TOKEN: &str = "hf_secret_token";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What was asked of the server.
#[derive(Debug, Clone)]
struct Request {
    path: String,
    range: Option<String>,
    authorization: Option<String>,
}

/// A hub with one model, which answers as huggingface.co does: weights by a redirection, the others directly.
struct Hub {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Hub {
    /// A hub on which `folder` is the model `name`, at the revision `revision`.
    fn new(name: &str, revision: &str, folder: &Path) -> Self {
        let files: BTreeMap<_, _> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                (name, std::fs::read(entry.path()).unwrap())
            })
            .collect();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let model = Model {
            info: format!("/api/models/{name}/revision/{revision}"),
            files_below: format!("/{name}/resolve/{revision}/"),
            base: format!("http://{address}"),
            files,
        };
        let (seen, asked_to_stop) = (requests.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            for connection in listener.incoming() {
                if asked_to_stop.load(Ordering::SeqCst) {
                    return;
                }
                // A client that goes away is none of the server's business.
                let _ = model.serve(connection.unwrap(), &seen);
            }
        });
        Self {
            address,
            requests,
            stop,
            thread: Some(thread),
        }
    }

    fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // The server waits for a connection.
        let _ = TcpStream::connect(self.address);
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

/// What the server has.
struct Model {
    info: String,
    files_below: String,
    base: String,
    files: BTreeMap<String, Vec<u8>>,
}

impl Model {
    /// Answers one request.
    fn serve(&self, stream: TcpStream, seen: &Mutex<Vec<Request>>) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let Some(first) = lines.next() else {
            return Ok(());
        };
        let path = first?.split(' ').nth(1).unwrap().to_owned();
        let mut request = Request {
            path,
            range: None,
            authorization: None,
        };
        for line in lines {
            let line = line?;
            match line.split_once(": ") {
                None => break,
                Some((name, value)) if name.eq_ignore_ascii_case("range") => {
                    request.range = Some(value.to_owned());
                }
                Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                    request.authorization = Some(value.to_owned());
                }
                Some(_) => {}
            }
        }
        let (status, headers, body) = self.answer(&request);
        seen.lock().unwrap().push(request);
        let mut stream = stream;
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n"
        )?;
        stream.write_all(&body)
    }

    fn answer(&self, request: &Request) -> (&'static str, String, Vec<u8>) {
        if request.path == self.info {
            let files: Vec<_> = self
                .files
                .keys()
                .map(|name| serde_json::json!({ "rfilename": name }))
                .collect();
            let info = serde_json::json!({ "sha": COMMIT, "siblings": files });
            let headers = "Content-Type: application/json\r\n".to_owned();
            return ("200 OK", headers, info.to_string().into_bytes());
        }
        let stored = request.path.strip_prefix("/stored/");
        let file = stored.or_else(|| request.path.strip_prefix(&self.files_below));
        let Some((name, content)) = file.and_then(|name| self.files.get_key_value(name)) else {
            return ("404 Not Found", String::new(), b"Entry not found".to_vec());
        };
        let index = self.files.keys().position(|other| other == name).unwrap();
        let etag = format!("{index:040x}");
        if stored.is_none() && name.ends_with(".safetensors") {
            let headers = format!(
                "X-Repo-Commit: {COMMIT}\r\nX-Linked-Etag: \"{etag}\"\r\nLocation: {}/stored/{name}\r\n",
                self.base
            );
            return ("302 Found", headers, Vec::new());
        }
        let (first, last) = request
            .range
            .as_deref()
            .and_then(|range| range.strip_prefix("bytes="))
            .and_then(|range| range.split_once('-'))
            .unwrap_or(("0", ""));
        let first: usize = first.parse().unwrap();
        let end = last.parse().map_or(content.len(), |last: usize| last + 1);
        let headers = format!(
            "X-Repo-Commit: {COMMIT}\r\nETag: \"{etag}\"\r\nContent-Range: bytes {first}-{}/{}\r\n",
            end - 1,
            content.len()
        );
        ("206 Partial Content", headers, content[first..end].to_vec())
    }
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

/// The run must fail for want of the model, and say nothing of the token.
fn fails(command: &mut Command, words: &[&str]) {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(MODEL), "{}", describe(&output));
    let message = String::from_utf8(output.stderr).unwrap();
    for word in words {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
    assert!(!message.contains(TOKEN), "{message}");
}

/// Labels with the model `name` of a hub, then from the cache, and compares with the folder's labels.
fn check(name: &str, revision: &str, folder: &Path) {
    let bench = Bench::new();
    succeeds(&mut run(&bench, folder.to_str().unwrap(), "folder.csv"));
    let id = name.split('@').next().unwrap();
    let hub = Hub::new(id, revision, folder);
    let endpoint = hub.endpoint();
    succeeds(run(&bench, name, "hub.csv").env("HF_ENDPOINT", &endpoint));
    assert_eq!(bench.read("hub.csv"), bench.read("folder.csv"));
    assert!(!hub.requests().is_empty());
    let cache = format!(
        "hub/hub/models--{}/snapshots/{COMMIT}",
        id.replace('/', "--")
    );
    assert!(bench.path(&cache).join("config.json").exists());

    // What is in the cache is not asked for again, whether the hub is there or not.
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
fn a_model_of_the_hub_is_fetched_once() {
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
    let hub = Hub::new("owner/private", "main", &tiny_model());
    let run = |name: &str| {
        let mut command = run(&bench, name, "out.csv");
        // A line break at the end is what `$(cat token)` in some shells, or a file, leaves.
        command
            .env("HF_ENDPOINT", hub.endpoint())
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
fn a_download_that_was_cut_goes_on() {
    let bench = Bench::new();
    succeeds(&mut run(
        &bench,
        tiny_model().to_str().unwrap(),
        "folder.csv",
    ));
    let hub = Hub::new("owner/model", "main", &tiny_model());
    let fetch = || {
        succeeds(run(&bench, "owner/model", "hub.csv").env("HF_ENDPOINT", hub.endpoint()));
        assert_eq!(bench.read("hub.csv"), bench.read("folder.csv"));
    };
    fetch();
    // As a process leaves it that is killed: the weights are there in part, and the model has none yet.
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
fn a_model_that_cannot_be_had_says_why() {
    let bench = Bench::new();
    let run = |name: &str, endpoint: &str| {
        let mut command = run(&bench, name, "out.csv");
        command.env("HF_ENDPOINT", endpoint).env("HF_TOKEN", TOKEN);
        command
    };
    let hub = Hub::new("owner/model", "main", &tiny_model());
    let endpoint = hub.endpoint();
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
    let pickled = Hub::new("owner/pickled", "main", folder.parent().unwrap());
    fails(
        &mut run("owner/pickled", &pickled.endpoint()),
        &["owner/pickled", "model.safetensors"],
    );

    // Nobody listens there any more.
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
