//! `shoal deploy` and `shoal destroy`

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use shoal_aws::template::{FUNCTION_ARN, STATE_MACHINE_ARN, template};
use shoal_aws::{
    Arch, Change, Cloud, Deployment, ModelPlace, Package, S3Folder, Stack, bootstrap, packages,
};

use super::args::deploy::{
    DeployArgs, DeployAwsArgs, DeployTarget, DestroyArgs, DestroyAwsArgs, DestroyTarget,
};
use super::commands::print_json;
use super::print;
use super::progress::say;
use super::table::table;
use shoal::encoder::{Precision, Target};
use shoal::job::Error as JobError;
use shoal::job::store::Location;
use shoal::{Error, PackSettings, Result};

/// A deployment, or what it would be.
#[derive(Debug, Serialize)]
struct Summary {
    stack: String,
    change: &'static str,
    code: String,
    code_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    function: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_machine: Option<String>,
}

pub(super) fn deploy(args: DeployArgs) -> Result<()> {
    let DeployTarget::Aws(args) = args.target;
    let deployment = deployment(&args);
    deployment.check()?;
    let template = serde_json::to_string_pretty(&template(&deployment)).expect("JSON is text");
    if args.template_only {
        return print(format!("{template}\n").as_bytes());
    }
    let name = &deployment.name;
    let program = bootstrap_file(&args)?;
    let cloud = Cloud::connect()?;
    // Fails early if access is denied or the stack is not ours.
    let before = cloud.stack("update", name)?;

    let folder =
        tempfile::tempdir().map_err(|e| JobError::storage("create", "a temporary folder", e))?;
    let model = model_file(&args, &deployment, folder.path())?;
    let zip = folder.path().join("function.zip");
    let package = Package::write(&zip, &program, model.as_deref())?;
    let file = format!("deploy/{}", package.file_name(name));
    let code = deployment.store.url(&file);
    let mut summary = Summary {
        stack: name.clone(),
        change: match before {
            None => "would be created",
            Some(_) => "would be updated where it differs",
        },
        code: code.clone(),
        code_bytes: package.bytes,
        function: None,
        state_machine: None,
    };
    if !args.dry_run {
        upload(&package, &code)?;
        let key = deployment.store.key(&file);
        let (change, stack) = cloud.deploy(name, &template, deployment.store.bucket(), &key)?;
        summary.change = match change {
            Change::Created => "created",
            Change::Updated => "updated",
            Change::None => "unchanged",
        };
        summary.function = stack.outputs.get(FUNCTION_ARN).cloned();
        summary.state_machine = stack.outputs.get(STATE_MACHINE_ARN).cloned();
    }
    show(&summary, args.json)
}

fn deployment(args: &DeployAwsArgs) -> Deployment {
    Deployment {
        name: args.name.clone(),
        store: args.store.clone(),
        inputs: args.input.clone(),
        model: args.model_path.clone().unwrap_or(ModelPlace::Packed),
        arch: args.arch,
        memory: args.memory,
        timeout: args.timeout,
        tmp: args.tmp,
        reserved_concurrency: args.reserved_concurrency,
        environment: args.env.iter().cloned().collect(),
        state_machine: args.state_machine,
    }
}

/// The executable, checked.
fn bootstrap_file(args: &DeployAwsArgs) -> Result<PathBuf> {
    let path = match &args.bootstrap {
        Some(path) => path.clone(),
        None => {
            std::env::current_exe().map_err(|e| JobError::storage("find", "this executable", e))?
        }
    };
    let content = std::fs::read(&path).map_err(|e| {
        Error::Settings(format!("failed to use --bootstrap {}: {e}", path.display()))
    })?;
    bootstrap::check(&path, &content, args.arch)?;
    Ok(path)
}

/// The packed model for the zip: the given one if it is packed, else one that is packed here. `None` if the function reads its
/// model from elsewhere.
fn model_file(
    args: &DeployAwsArgs,
    deployment: &Deployment,
    folder: &Path,
) -> Result<Option<PathBuf>> {
    if deployment.model != ModelPlace::Packed {
        return Ok(None);
    }
    if let Some(packed) = args.model.as_ref().map(Path::new).filter(|m| m.is_file()) {
        if args.precision.is_some() || !args.isa.is_empty() {
            return Err(Error::Settings(format!(
                "failed to use --precision or --isa: {} is packed already; give the model that it was packed from",
                packed.display()
            )));
        }
        shoal::encoder::packed::Container::open(packed)?;
        return Ok(Some(packed.to_owned()));
    }
    let isas = isas(&args.isa, deployment.arch)?;
    let output = folder.join("model.shoal");
    let settings = PackSettings {
        model: shoal::ModelSettings {
            reference: args.model.clone(),
            ..Default::default()
        },
        output: output.clone(),
        precision: args.precision.unwrap_or(Precision::Int8),
        isas,
        check: Vec::new(),
        parameters: shoal::job::spec::Parameters::default(),
    };
    shoal::pack(&settings, &shoal::Cancel::new(), &|_| {})?;
    Ok(Some(output))
}

fn isas(given: &[Target], arch: Arch) -> Result<Vec<Target>> {
    let (known, default) = match arch {
        Arch::X86_64 => (&Target::ALL[..], Target::Avx2),
        Arch::Arm64 => (&[Target::Portable][..], Target::Portable),
    };
    if let Some(wrong) = given.iter().find(|isa| !known.contains(isa)) {
        let known: Vec<_> = known.iter().map(Target::to_string).collect();
        return Err(Error::Settings(format!(
            "failed to use --isa {wrong}: {arch} functions support {}",
            known.join(", ")
        )));
    }
    Ok(match given {
        [] => vec![default],
        given => given.to_vec(),
    })
}

/// Writes the zip to the store, unless it exists: its name is its checksum.
fn upload(package: &Package, url: &str) -> Result<()> {
    let object = Location::parse(url)?;
    match object.meta() {
        Ok(meta) if meta.bytes == package.bytes => return Ok(()),
        Ok(_) | Err(JobError::Input { .. }) => {}
        Err(e) => return Err(e.into()),
    }
    say(&format!(
        "uploading {:.1} MB to {url}",
        package.bytes as f64 / 1e6
    ));
    let mut file = std::fs::File::open(&package.path)
        .map_err(|e| JobError::storage("read", package.path.display().to_string(), e))?;
    object.put(&mut file)?;
    Ok(())
}

fn show(summary: &Summary, json: bool) -> Result<()> {
    if json {
        return print_json(summary);
    }
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let mut rows = vec![
        row("stack", format!("{}, {}", summary.stack, summary.change)),
        row(
            "code",
            format!(
                "{} ({:.1} MB)",
                summary.code,
                summary.code_bytes as f64 / 1e6
            ),
        ),
    ];
    rows.extend(summary.function.clone().map(|arn| row("function", arn)));
    let machine = summary.state_machine.clone();
    rows.extend(machine.map(|arn| row("state machine", arn)));
    print(table(&rows).as_bytes())
}

pub(super) fn destroy(args: DestroyArgs) -> Result<()> {
    let DestroyTarget::Aws(args) = args.target;
    let cloud = Cloud::connect()?;
    let stack = cloud.stack("delete", &args.name)?;
    let store = args
        .store
        .clone()
        .or_else(|| stack.as_ref().and_then(Stack::store));
    let zips = zips(&args, store.as_ref())?;
    if stack.is_none() && zips.is_empty() {
        let hint = match store {
            Some(store) => format!("and no code of it in {store}"),
            None => "; --store also deletes code that was left".into(),
        };
        say(&format!("there is no stack {} {hint}", args.name));
        return Ok(());
    }
    let mut rows = Vec::new();
    if let Some(stack) = &stack {
        rows.push(vec![
            "AWS::CloudFormation::Stack".into(),
            stack.name.clone(),
        ]);
        let made = cloud.resources(stack)?;
        rows.extend(made.into_iter().map(|one| vec![one.kind, one.id]));
    }
    rows.extend(
        zips.iter()
            .map(|url| vec!["AWS::S3::Object".into(), url.clone()]),
    );
    print(table(&rows).as_bytes())?;
    if args.dry_run || !agreed(&args)? {
        say("nothing was deleted");
        return Ok(());
    }
    if let Some(stack) = &stack {
        cloud.delete(stack)?;
    }
    for url in &zips {
        Location::parse(url)?.delete()?;
    }
    say("all of this was deleted; inputs and runs in the store stay");
    Ok(())
}

/// URLs of the zips that were uploaded for this name.
fn zips(args: &DestroyAwsArgs, store: Option<&S3Folder>) -> Result<Vec<String>> {
    let Some(store) = store else {
        return Ok(Vec::new());
    };
    let names = Location::parse(&store.url("deploy"))?.list()?;
    let ours = packages(&args.name, &names);
    Ok(ours
        .into_iter()
        .map(|file| store.url(&format!("deploy/{file}")))
        .collect())
}

fn agreed(args: &DestroyAwsArgs) -> Result<bool> {
    if args.yes {
        return Ok(true);
    }
    if !io::stdin().is_terminal() {
        return Err(Error::Settings(
            "failed to ask whether to delete this: standard input is not a terminal; use --yes"
                .into(),
        ));
    }
    let mut answer = String::new();
    let _ = write!(io::stderr(), "Delete all of this? [y/N] ");
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|e| JobError::storage("read", "standard input", e))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
