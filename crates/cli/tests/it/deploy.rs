//! `shoal deploy aws` and `shoal destroy aws`, against an AWS emulator on this machine.

use std::process::Output;

use serde_json::Value;
use shoal_testing::Ministack;

use crate::support::{Bench, describe, tiny};

/// An emulator with one bucket.
struct Account {
    server: Ministack,
    bench: Bench,
}

impl Account {
    fn new() -> Self {
        let server = Ministack::start();
        server.python("import boto3; boto3.client('s3').create_bucket(Bucket='data')");
        Self {
            server,
            bench: Bench::new(),
        }
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = self.bench.shoal(args);
        command.envs(self.server.variables()).output().unwrap()
    }

    /// Runs the command, which must succeed, and returns its standard output.
    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(
            output.status.success(),
            "{}\n{}",
            describe(&output),
            self.server.log()
        );
        String::from_utf8(output.stdout).unwrap()
    }

    fn fails(&self, code: i32, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(code), "{}", describe(&output));
        String::from_utf8(output.stderr).unwrap()
    }

    /// The contents of the account.
    fn look(&self) -> Value {
        let program = "
import boto3, json
c = boto3.client
try:
    names = [o['Key'] for o in c('s3').list_objects_v2(Bucket='data').get('Contents', [])]
except Exception as e:
    names = [str(e)]
active = [s for s in c('cloudformation').list_stacks()['StackSummaries'] if s['StackStatus'] != 'DELETE_COMPLETE']
print(json.dumps({
    'objects': names,
    'stacks': {s['StackName']: s['StackStatus'] for s in active},
    'functions': {f['FunctionName']: {k: f.get(k) for k in ('MemorySize', 'Timeout', 'CodeSize', 'Runtime', 'Environment')}
                  for f in c('lambda').list_functions()['Functions']},
    'roles': len(c('iam').list_roles()['Roles']),
    'logs': [g['logGroupName'] for g in c('logs').describe_log_groups()['logGroups']],
    'machines': [m['name'] for m in c('stepfunctions').list_state_machines()['stateMachines']],
}))";
        serde_json::from_str(&self.server.python(program)).unwrap()
    }
}

/// A minimal bootstrap that passes the checks: only the header of a statically linked ELF executable.
fn tiny_bootstrap(bench: &Bench) -> String {
    let mut file = b"\x7fELF\x02\x01\x01\0".to_vec();
    file.resize(16, 0);
    for half in [2u16, 62] {
        file.extend(half.to_le_bytes());
    }
    file.extend(1u32.to_le_bytes());
    file.resize(52, 0);
    for half in [64u16, 56, 0, 64, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    bench.write("bootstrap", file).display().to_string()
}

#[test]
fn a_deployment_is_created_updated_and_deleted_completely() {
    let account = Account::new();
    let empty = account.look();
    let bootstrap = tiny_bootstrap(&account.bench);
    let model = tiny();
    let order = [
        "deploy",
        "aws",
        "--store",
        "s3://data/shoal",
        "--model",
        model,
        "--bootstrap",
        &bootstrap,
        "--isa",
        "portable",
        "--state-machine",
    ];
    let and = |more: &[&'static str]| [&order[..], more].concat();

    // A dry run changes nothing.
    let printed = account.ok(&and(&["--dry-run"]));
    assert!(printed.contains("would be created"), "{printed}");
    assert!(account.ok(&["destroy", "aws", "--dry-run"]).is_empty());
    assert_eq!(account.look(), empty);

    let made: Value = serde_json::from_str(&account.ok(&and(&["--json"]))).unwrap();
    assert_eq!(made["change"], "created");
    let function = made["function"].as_str().unwrap();
    assert!(function.ends_with(":function:shoal"), "{function}");
    let machine = made["state_machine"].as_str().unwrap();
    assert!(machine.ends_with(":stateMachine:shoal"), "{machine}");
    let first = account.look();
    assert_eq!(first["stacks"]["shoal"], "CREATE_COMPLETE");
    let deployed = &first["functions"]["shoal"];
    assert_eq!(deployed["MemorySize"], 1769);
    assert_eq!(deployed["CodeSize"], made["code_bytes"]);
    let variables = &deployed["Environment"]["Variables"];
    // The function finds the model next to its executable, so it needs no path.
    assert!(variables.get("SHOAL_MODEL").is_none(), "{variables}");
    assert_eq!(first["logs"], serde_json::json!(["/aws/lambda/shoal"]));
    assert_eq!(first["machines"], serde_json::json!(["shoal"]));
    let code = made["code"].as_str().unwrap();
    assert_eq!(
        first["objects"],
        serde_json::json!([code.strip_prefix("s3://data/").unwrap()])
    );

    // Neither deploying again nor a dry run changes anything. A changed setting updates only what differs.
    let again: Value = serde_json::from_str(&account.ok(&and(&["--json"]))).unwrap();
    assert_eq!(
        (&again["code"], &again["function"]),
        (&made["code"], &made["function"])
    );
    assert_eq!(account.look()["functions"], first["functions"]);
    let printed = account.ok(&and(&["--memory", "3008", "--dry-run"]));
    assert!(printed.contains("would be updated"), "{printed}");
    assert_eq!(account.look()["functions"], first["functions"]);
    let changed = account.ok(&and(&["--memory", "3008", "--env", "RUST_LOG=debug"]));
    assert!(changed.contains("updated"), "{changed}");
    let second = account.look();
    assert_eq!(second["functions"]["shoal"]["MemorySize"], 3008);
    assert_eq!(
        second["functions"]["shoal"]["Environment"]["Variables"]["RUST_LOG"],
        "debug"
    );
    assert_eq!(second["objects"], first["objects"]);

    // `destroy` lists the resources and deletes them only with `--yes`. It finds the store in the stack.
    let listed = account.ok(&["destroy", "aws", "--dry-run"]);
    for kind in [
        "CloudFormation::Stack",
        "Lambda::Function",
        "IAM::Role",
        "Logs::LogGroup",
    ] {
        assert!(listed.contains(kind), "{listed}");
    }
    assert!(
        listed.contains("StepFunctions::StateMachine") && listed.contains(code),
        "{listed}"
    );
    let error = account.fails(2, &["destroy", "aws"]);
    assert!(error.contains("--yes"), "{error}");
    assert_eq!(account.look(), second);
    account.server.python(
        "import boto3; boto3.client('s3').put_object(Bucket='data', Key='shoal/runs/r/job.json', Body=b'{}')",
    );
    account.ok(&["destroy", "aws", "--yes"]);
    let mut last = account.look();
    assert_eq!(
        last["objects"],
        serde_json::json!(["shoal/runs/r/job.json"])
    );
    last["objects"] = serde_json::json!([]);
    assert_eq!(last, empty);
    account.ok(&["destroy", "aws", "--yes"]);
}

#[test]
fn a_foreign_stack_is_not_changed() {
    let account = Account::new();
    account.server.python(
        "
import boto3, json
boto3.client('cloudformation').create_stack(StackName='shoal', TemplateBody=json.dumps(
    {'Resources': {'Logs': {'Type': 'AWS::Logs::LogGroup', 'Properties': {'LogGroupName': 'precious'}}}}))",
    );
    let bootstrap = tiny_bootstrap(&account.bench);
    let order = [
        "deploy",
        "aws",
        "--store",
        "s3://data",
        "--bootstrap",
        &bootstrap,
    ];
    let error = account.fails(2, &order);
    assert!(error.contains("not created by `shoal deploy`"), "{error}");
    let error = account.fails(2, &["destroy", "aws", "--yes"]);
    assert!(error.contains("failed to delete stack shoal"), "{error}");
    assert_eq!(account.look()["logs"], serde_json::json!(["precious"]));
}

#[test]
fn invalid_deployments_are_refused_before_anything_is_sent() {
    let bench = Bench::new();
    let text = bench.write("script", "#!/bin/sh\n").display().to_string();
    let cases: [(&[&str], &str); 15] = [
        (&[], "--store"),
        (&["--store", "data"], "s3://BUCKET"),
        (&["--store", "s3://data/*"], "folder name"),
        (&["--store", "s3://data", "--name", "my_shoal"], "--name"),
        (
            &["--store", "s3://data", "--memory", "64"],
            "128 to 10240 MB",
        ),
        (
            &["--store", "s3://data", "--timeout", "901"],
            "1 to 900 seconds",
        ),
        (&["--store", "s3://data", "--tmp", "1"], "512 to 10240 MB"),
        (
            &["--store", "s3://data", "--reserved-concurrency", "0"],
            "--reserved-concurrency",
        ),
        (&["--store", "s3://data", "--env", "NONE"], "not KEY=VALUE"),
        (
            &["--store", "s3://data", "--env", "AWS_REGION=x"],
            "Lambda sets",
        ),
        (
            &["--store", "s3://data", "--model-path", "m.shoal"],
            "absolute path",
        ),
        (
            &[
                "--store",
                "s3://data",
                "--model-path",
                "/m",
                "--isa",
                "avx2",
            ],
            "cannot be used",
        ),
        (&["--store", "s3://data", "--arch", "sparc"], "arm64"),
        (
            &["--store", "s3://data", "--bootstrap", &text],
            "not a Linux ELF",
        ),
        (
            &["--store", "s3://data", "--bootstrap", "missing"],
            "missing",
        ),
    ];
    for (flags, says) in cases {
        let error = bench.fails(2, [&["deploy", "aws"], flags].concat());
        assert!(error.contains(says), "{flags:?}: {error}");
    }
    // Without a region no service is called.
    let bootstrap = tiny_bootstrap(&bench);
    let order = [
        "deploy",
        "aws",
        "--store",
        "s3://data",
        "--bootstrap",
        &bootstrap,
    ];
    let error = bench.fails(5, order);
    assert!(error.contains("AWS_REGION"), "{error}");
}

#[test]
fn template_only_calls_no_service() {
    let bench = Bench::new();
    let order = [
        "deploy",
        "aws",
        "--store",
        "s3://data/shoal",
        "--template-only",
        "--state-machine",
    ];
    let template: Value = serde_json::from_slice(&bench.ok(order).stdout).unwrap();
    assert_eq!(
        template["Resources"]["StateMachine"]["Type"],
        "AWS::StepFunctions::StateMachine"
    );
    assert!(
        template["Description"]
            .as_str()
            .unwrap()
            .contains("aws cloudformation deploy")
    );
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn the_glibc_version_of_an_executable_is_checked() {
    use shoal_aws::{Architecture, bootstrap};
    let path = std::path::Path::new(env!("CARGO_BIN_EXE_shoal"));
    let content = std::fs::read(path).unwrap();
    match bootstrap::check(path, &content, Architecture::X86) {
        Ok(needs) => println!("shoal needs glibc {needs:?}, which Lambda has"),
        Err(error) => {
            println!("{error}");
            assert!(error.to_string().contains("needs glibc"), "{error}");
        }
    }
    let error = bootstrap::check(path, &content, Architecture::Arm64).unwrap_err();
    assert!(error.to_string().contains("not built for arm64"), "{error}");
}
