//! Every command in the documents runs as it is shown, in a folder with the samples and the bundled model of the repository.
//!
//! A block of commands has the language `sh`. The commands of a document run one after the other in one shell, as a reader
//! pastes them, and each must succeed.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use shoal_testing::Ministack;

use crate::support::{describe, repository};

/// A block of a document.
struct Block {
    language: String,
    line: usize,
    text: String,
}

fn blocks(document: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in document.lines().enumerate() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(language), None) => {
                open = Some(Block {
                    language: language.to_owned(),
                    line: number + 1,
                    text: String::new(),
                });
            }
            (None, Some(block)) => {
                block.text += line;
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

/// The documents of the repository that are for users.
fn documents() -> Vec<PathBuf> {
    let folder = fs::read_dir(repository("docs")).unwrap();
    let mut documents: Vec<_> = folder
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    documents.extend(["README.md", "deploy/README.md", "examples/README.md"].map(repository));
    documents
}

/// Whether a line is a command of shoal, as a whole or in a pipe.
fn is_command(line: &str) -> bool {
    let line = line.strip_prefix("$ ").unwrap_or(line);
    let words = |part: &str| part.trim().starts_with("shoal ");
    !line.starts_with(char::is_whitespace) && line.split('|').any(words)
}

#[test]
fn every_command_is_in_a_block_that_is_run() {
    for path in documents() {
        let document = fs::read_to_string(&path).unwrap();
        for block in blocks(&document) {
            let command = block.text.lines().find(|line| is_command(line));
            assert!(
                block.language == "sh" || command.is_none(),
                "{}:{}: the block with {command:?} is not marked as sh",
                path.display(),
                block.line
            );
        }
    }
}

#[test]
fn the_readme_runs() {
    run("README.md");
}

#[test]
fn the_guide_runs() {
    run("docs/GUIDE.md");
}

#[test]
fn the_plans_run() {
    run("docs/PLANNING.md");
}

#[test]
fn the_steps_to_aws_run() {
    run("deploy/README.md");
}

/// The documents above are all that have commands.
#[test]
fn no_other_document_has_commands() {
    for path in documents() {
        let name = path
            .strip_prefix(repository(""))
            .unwrap()
            .display()
            .to_string();
        let document = fs::read_to_string(&path).unwrap();
        let has_commands = blocks(&document).iter().any(|block| block.language == "sh");
        let is_run = [
            "README.md",
            "docs/GUIDE.md",
            "docs/PLANNING.md",
            "deploy/README.md",
        ]
        .contains(&&*name);
        assert_eq!(has_commands, is_run, "{name}");
    }
}

/// Runs the commands of a document. They use the emulated account instead of AWS.
fn run(document: &str) {
    let text = fs::read_to_string(repository(document)).unwrap();
    let mut script = String::from("set -e\n");
    for block in blocks(&text) {
        if block.language == "sh" {
            script += &format!("echo '{document}:{}' >&2\n", block.line);
            script += &block.text;
        }
    }
    // Another program may use the default port.
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let script = script.replace("--http ", &format!("--http 127.0.0.1:{port} "));
    let script = script.replace("127.0.0.1:8080", &format!("127.0.0.1:{port}"));
    let folder = tempfile::tempdir().unwrap();
    for shared in ["examples", "models"] {
        std::os::unix::fs::symlink(repository(shared), folder.path().join(shared)).unwrap();
    }
    let bin = folder.path().join("bin");
    fs::create_dir(&bin).unwrap();
    // Stands for the one that `deploy/build-bootstrap.sh` builds.
    let built = folder
        .path()
        .join("target/x86_64-unknown-linux-gnu/release");
    fs::create_dir_all(&built).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_shoal"), built.join("shoal")).unwrap();
    let cloud = script.contains("s3://my-bucket").then(Ministack::start);
    // The function needs the address of the emulator, and nobody answers questions.
    let mut program = format!("#!/bin/sh\nshoal={}\n", env!("CARGO_BIN_EXE_shoal"));
    if let Some(cloud) = &cloud {
        cloud.python("import boto3; boto3.client('s3').create_bucket(Bucket='my-bucket')");
        program += &format!(
            "case \"$1 $*\" in\n*--dry-run*|*--template-only*) ;;\n\
             deploy*) exec \"$shoal\" \"$@\" --env AWS_ENDPOINT_URL={} --env AWS_ALLOW_HTTP=true;;\n\
             destroy*) exec \"$shoal\" \"$@\" --yes;;\nesac\n",
            cloud.endpoint()
        );
    }
    program += "exec \"$shoal\" \"$@\"\n";
    let shoal = bin.join("shoal");
    fs::write(&shoal, program).unwrap();
    fs::set_permissions(&shoal, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([bin].into_iter().chain(std::env::split_paths(&path))).unwrap();
    let mut command = Command::new("sh");
    command
        .args(["-c", &script])
        .current_dir(folder.path())
        .env_clear()
        .env("PATH", path)
        .env("HOME", folder.path().join("home"))
        .envs(cloud.iter().flat_map(Ministack::variables))
        .stdin(Stdio::null());
    let output = command.output().unwrap();
    let log = cloud.as_ref().map(Ministack::log).unwrap_or_default();
    assert!(output.status.success(), "{}\n{log}", describe(&output));
}
