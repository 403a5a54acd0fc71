//! `shoal deploy` and `shoal destroy`

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;
use shoal_aws::template::{FUNCTION_ARN, STATE_MACHINE_ARN, template};
use shoal_aws::{
    Architecture, Change, Cloud, Deployment, ModelLocation, Package, S3Folder, Stack, bootstrap,
    packages,
};

use super::options::{heading, named};
use super::output::{confirm, print, print_json, say, table};
use shoal::encoder::{Precision, Target};
use shoal::job::Error as JobError;
use shoal::job::store::Location;
use shoal::{Error, PackSettings, Result};

#[derive(Debug, Subcommand)]
pub(crate) enum DeployTarget {
    /// A Lambda function, and optionally a Step Functions state machine
    Aws(Box<DeployAwsArgs>),
}

#[derive(Debug, Subcommand)]
pub(crate) enum DestroyTarget {
    /// The stack with everything in it, and the uploaded code
    Aws(DestroyAwsArgs),
}

const DEPLOY_EXAMPLES: &str = "\
Examples:
  shoal deploy aws --store s3://my-bucket/shoal --dry-run
  shoal deploy aws --store s3://my-bucket/shoal --state-machine --bootstrap ./shoal
  shoal deploy aws --store s3://my-bucket/shoal --template-only > shoal.json

Region and credentials come from the usual variables (AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, \
AWS_SESSION_TOKEN); `aws configure export-credentials --format env` prints those of a profile.";

#[derive(Debug, Args)]
#[command(after_long_help = DEPLOY_EXAMPLES, next_help_heading = heading::BACKEND)]
pub(crate) struct DeployAwsArgs {
    /// Name of the stack, the function and the state machine
    #[arg(long, value_name = "NAME", default_value = "shoal")]
    name: String,

    /// Code, inputs and runs: s3://BUCKET/FOLDER
    #[arg(long, value_name = "URL", env = "SHOAL_STORE", help_heading = heading::RUN_DIR)]
    store: S3Folder,

    /// Folder, packed model, or hub name
    ///
    /// A folder in the layout of Hugging Face, a file that `shoal pack` wrote, or a name on the Hugging Face hub [default: the
    /// bundled film-review model]
    #[arg(short, long, value_name = "MODEL", env = "SHOAL_MODEL", help_heading = heading::MODEL)]
    model: Option<String>,

    /// Where the function finds a packed model
    ///
    /// It reads this one instead of one in its zip: s3://BUCKET/KEY, or an absolute path on a layer or a mounted volume
    #[arg(long, value_name = "LOCATION", conflicts_with_all = ["precision", "isa"], help_heading = heading::MODEL)]
    model_path: Option<ModelLocation>,

    /// Arithmetic of the model [default: int8]
    #[arg(long, value_name = "PRECISION", env = "SHOAL_PRECISION", value_parser = named(&Precision::ALL, Precision::name), help_heading = heading::MODEL)]
    precision: Option<Precision>,

    /// Instruction sets to pack for, by commas
    ///
    /// With only one, the results do not depend on the CPU [default: avx2 for x86_64, portable for arm64]
    #[arg(long, value_name = "ISAS", value_delimiter = ',', value_parser = named(&Target::ALL, Target::name), help_heading = heading::MODEL)]
    isa: Vec<Target>,

    /// Architecture of the function
    #[arg(long, value_name = "x86_64|arm64", default_value = "x86_64")]
    arch: Architecture,

    /// Memory in MB, 128 to 10240
    ///
    /// It also determines the share of a CPU; 1769 is exactly one vCPU
    #[arg(long, value_name = "MB", default_value_t = shoal_aws::limits::ONE_VCPU, help_heading = heading::LIMITS)]
    memory: u32,

    /// Seconds that an invocation may take, 1 to 900
    #[arg(long, value_name = "S", default_value_t = *shoal_aws::limits::TIMEOUT.end(), help_heading = heading::LIMITS)]
    timeout: u32,

    /// Size of /tmp in MB, 512 to 10240 [default: 512]
    #[arg(long, value_name = "MB", help_heading = heading::LIMITS, hide_short_help = true)]
    tmp: Option<u32>,

    /// Concurrent invocations that are reserved
    ///
    /// They are reserved for the function, and are its limit too [default: none]
    #[arg(long, value_name = "N", help_heading = heading::LIMITS, hide_short_help = true)]
    reserved_concurrency: Option<u32>,

    /// Also create a Step Functions state machine
    ///
    /// It is for --backend step-functions
    #[arg(long)]
    state_machine: bool,

    /// Folder that the function may read too
    ///
    /// It has the form s3://BUCKET/FOLDER; may be given several times
    #[arg(long, value_name = "URL", help_heading = heading::INPUT)]
    input: Vec<S3Folder>,

    /// Executable of the function [default: this one]
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    bootstrap: Option<PathBuf>,

    /// Another variable of the function
    ///
    /// May be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = variable, hide_short_help = true)]
    env: Vec<(String, String)>,

    /// Print what would be done, and change nothing
    #[arg(long, help_heading = heading::OUTPUT)]
    dry_run: bool,

    /// Print the CloudFormation template, and contact no service
    #[arg(long, conflicts_with_all = ["dry_run", "json"], help_heading = heading::OUTPUT)]
    template_only: bool,

    /// Print the deployment as JSON
    #[arg(long, help_heading = heading::OUTPUT)]
    json: bool,
}

const DESTROY_EXAMPLES: &str = "\
Examples:
  shoal destroy aws --dry-run
  shoal destroy aws --name reviews --yes";

#[derive(Debug, Args)]
#[command(after_long_help = DESTROY_EXAMPLES, next_help_heading = heading::BACKEND)]
pub(crate) struct DestroyAwsArgs {
    /// Name of the stack
    #[arg(long, value_name = "NAME", default_value = "shoal")]
    name: String,

    /// The store of the deployment [default: the one that the stack names]
    #[arg(long, value_name = "URL", env = "SHOAL_STORE", help_heading = heading::RUN_DIR)]
    store: Option<S3Folder>,

    /// List what would be deleted, and delete nothing
    #[arg(long, conflicts_with = "yes", help_heading = heading::OUTPUT)]
    dry_run: bool,

    /// Delete without asking
    #[arg(short, long)]
    yes: bool,
}

fn variable(text: &str) -> std::result::Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it is not KEY=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(crate) fn deploy(DeployTarget::Aws(args): DeployTarget) -> Result<()> {
    let deployment = Deployment {
        name: args.name.clone(),
        store: args.store.clone(),
        inputs: args.input.clone(),
        model: args.model_path.clone().unwrap_or(ModelLocation::Packed),
        arch: args.arch,
        memory: args.memory,
        timeout: args.timeout,
        tmp: args.tmp,
        reserved_concurrency: args.reserved_concurrency,
        environment: args.env.iter().cloned().collect(),
        state_machine: args.state_machine,
    };
    deployment.check()?;
    let template = serde_json::to_string_pretty(&template(&deployment)).expect("JSON is text");
    if args.template_only {
        return print(format!("{template}\n"));
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
    let mut summary = json!({
        "stack": name,
        "change": match before {
            None => "would be created",
            Some(_) => "would be updated where it differs",
        },
        "code": code,
        "code_bytes": package.bytes,
    });
    if !args.dry_run {
        upload(&package, &code)?;
        let key = deployment.store.key(&file);
        let (change, stack) = cloud.deploy(name, &template, deployment.store.bucket(), &key)?;
        summary["change"] = match change {
            Change::Created => "created".into(),
            Change::Updated => "updated".into(),
            Change::None => "unchanged".into(),
        };
        for (name, output) in [
            ("function", FUNCTION_ARN),
            ("state_machine", STATE_MACHINE_ARN),
        ] {
            if let Some(arn) = stack.outputs.get(output) {
                summary[name] = arn.as_str().into();
            }
        }
    }
    if args.json {
        return print_json(&summary);
    }
    let names = ["stack", "change", "code", "function", "state_machine"];
    let rows = names.iter().filter_map(|name| {
        let value = summary[name].as_str()?.to_owned();
        Some(vec![name.replace('_', " "), value])
    });
    print(table(&rows.collect::<Vec<_>>()))
}

/// The executable, checked.
fn bootstrap_file(args: &DeployAwsArgs) -> Result<PathBuf> {
    let path = match args.bootstrap.clone() {
        Some(path) => Ok(path),
        None => std::env::current_exe(),
    };
    let path = path.map_err(|e| JobError::storage("find", "this executable", e))?;
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
    if deployment.model != ModelLocation::Packed {
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

fn isas(given: &[Target], arch: Architecture) -> Result<Vec<Target>> {
    let (known, default) = match arch {
        Architecture::X86 => (&Target::ALL[..], Target::Avx2),
        Architecture::Arm64 => (&[Target::Portable][..], Target::Portable),
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
    let mb = package.bytes as f64 / 1e6;
    say(&format!("uploading {mb:.1} MB to {url}"));
    let mut file = std::fs::File::open(&package.path)
        .map_err(|e| JobError::storage("read", package.path.display().to_string(), e))?;
    object.put(&mut file)?;
    Ok(())
}

pub(crate) fn destroy(DestroyTarget::Aws(args): DestroyTarget) -> Result<()> {
    let cloud = Cloud::connect()?;
    let stack = cloud.stack("delete", &args.name)?;
    let of_stack = stack.as_ref().and_then(Stack::store);
    let store = args.store.clone().or(of_stack);
    let zips = zips(&args, store.as_ref())?;
    if stack.is_none() && zips.is_empty() {
        let hint = match store {
            Some(store) => format!(" and no code of it in {store}"),
            None => "; --store also deletes code that was left".into(),
        };
        say(&format!("there is no stack {}{hint}", args.name));
        return Ok(());
    }
    let mut rows = Vec::new();
    if let Some(stack) = &stack {
        let kind = "AWS::CloudFormation::Stack";
        rows.push(vec![kind.into(), stack.name.clone()]);
        let made = cloud.resources(stack)?;
        rows.extend(made.into_iter().map(|one| vec![one.kind, one.id]));
    }
    let objects = zips.iter();
    rows.extend(objects.map(|url| vec!["AWS::S3::Object".into(), url.clone()]));
    print(table(&rows))?;
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
    let files = packages(&args.name, &names).into_iter();
    Ok(files
        .map(|file| store.url(&format!("deploy/{file}")))
        .collect())
}

fn agreed(args: &DestroyAwsArgs) -> Result<bool> {
    if !args.yes && !io::stdin().is_terminal() {
        return Err(Error::Settings(
            "failed to ask whether to delete this: standard input is not a terminal; use --yes"
                .into(),
        ));
    }
    Ok(args.yes || confirm("Delete all of this?"))
}
