//! `shoal pack`: a model as one file in the order in which the engine reads it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Serialize;
use shoal_encoder::packed::Container;
use shoal_encoder::{Isa, Model, Packed, Precision, Target};
use shoal_function::Runner;
use shoal_job::input::Sources;
use shoal_job::plan::{Request, plan};
use shoal_job::spec::Parameters;
use shoal_job::{BadRecord, Cancel, Record, Row, RunDir};
use shoal_runners::EncoderRunner;

use super::check::{Comparison, compare};
use super::{ModelSettings, Source, target};
use crate::{Error, Result, VERSION};

/// What is to be packed.
#[derive(Debug, Clone)]
pub struct PackSettings {
    /// A model folder or a name on the Hugging Face hub; the bundled model where it has no reference. The engine's
    /// settings are not used.
    pub model: ModelSettings,
    /// The packed file.
    pub output: PathBuf,
    /// How the products are to be computed.
    pub precision: Precision,
    /// Names of the instruction sets to pack for, any of [`Target::ALL`]; the best of this CPU where there are none.
    pub isas: Vec<String>,
    /// Inputs to compare with `f32` on; none where nothing is to be compared.
    pub check: Vec<String>,
    /// How the inputs are to be read: format and columns.
    pub parameters: Parameters,
}

/// What was packed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PackSummary {
    /// The packed file.
    pub output: String,
    /// Its size.
    pub bytes: u64,
    /// How its products are computed.
    pub precision: String,
    /// Instruction sets that it was packed for.
    pub isas: Vec<String>,
    /// How it compares with `f32`.
    pub check: Option<Comparison>,
}

/// Packs a model into one file, which appears whole or not at all, and compares it with `f32` if asked to.
/// `progress` is told how many records were compared.
///
/// # Errors
/// The model cannot be used, an instruction set is unknown, the file cannot be written, or the inputs not read; or they
/// are to be compared on, and this CPU has none of the instruction sets.
pub fn pack(
    settings: &PackSettings,
    cancel: &Cancel,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<PackSummary> {
    let source = Source::find(settings.model.reference.as_deref())?;
    let targets = targets(&settings.isas)?;
    let runnable: Vec<Isa> = targets
        .iter()
        .filter_map(|target| Isa::of(*target))
        .collect();
    if runnable.is_empty() && !settings.check.is_empty() {
        return Err(Error::Settings(format!(
            "failed to use --check: this CPU cannot run what is packed for {}; add --isa {}, or compare on another machine",
            names(&targets).join(", "),
            Isa::best().name()
        )));
    }
    let checkpoint = source.checkpoint()?;
    let fingerprint = source.fingerprint()?;
    let purpose = match settings.model.task.kind {
        Some(kind) => kind.purpose(),
        None => checkpoint.default_purpose(),
    };
    let packed = Packed::new(
        &checkpoint,
        fingerprint.clone(),
        purpose,
        settings.precision,
        &targets,
    )?;
    packed.save(&settings.output)?;
    drop(packed);
    let container = Container::open(&settings.output)?;
    let check = if settings.check.is_empty() {
        None
    } else {
        let model = Model::read(&container, &runnable)?;
        let f32 = Model::pack(
            &checkpoint,
            fingerprint,
            purpose,
            Precision::F32,
            Isa::best(),
        )?;
        Some(compare_on(settings, f32, model, cancel, progress)?)
    };
    let output = settings.output.display().to_string();
    let bytes = std::fs::metadata(&settings.output)
        .map_err(|e| shoal_job::Error::storage("read", &output, e))?
        .len();
    Ok(PackSummary {
        output,
        bytes,
        precision: settings.precision.to_string(),
        isas: names(&targets),
        check,
    })
}

fn targets(names: &[String]) -> Result<Vec<Target>> {
    if names.is_empty() {
        return Ok(vec![Isa::best().target()]);
    }
    let mut targets = Vec::new();
    for name in names {
        let target = target(name)?;
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    Ok(targets)
}

fn names(targets: &[Target]) -> Vec<String> {
    targets.iter().map(Target::to_string).collect()
}

/// Compares on the records of the inputs, which are read as a run reads them; bad ones are passed over.
fn compare_on(
    settings: &PackSettings,
    f32: Model,
    int8: Model,
    cancel: &Cancel,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Comparison> {
    let folder = tempfile::tempdir()
        .map_err(|e| shoal_job::Error::storage("create", "a temporary folder", e))?;
    let run = RunDir::create(folder.path())?;
    let runner = |model| {
        let ModelSettings {
            task, max_tokens, ..
        } = &settings.model;
        EncoderRunner::new("", Arc::new(model), task, *max_tokens)
    };
    let (f32, int8) = (runner(f32)?, runner(int8)?);
    let request = Request {
        inputs: &settings.check,
        spool: None,
        function: f32.spec().clone(),
        parameters: settings.parameters.clone(),
        output: "",
        version: VERSION,
        inputs_at: None,
    };
    let job = plan(&request, &run, cancel, &mut |_| {})?;
    let batches = run.batches(&job)?;
    let sources = Sources::default();
    let next_batch = AtomicUsize::new(0);
    let next = || -> Option<Result<Vec<Record>>> {
        let batch = batches.get(next_batch.fetch_add(1, Ordering::Relaxed))?;
        if cancel.is_cancelled() {
            return Some(Err(shoal_job::Error::Cancelled.into()));
        }
        let mut items = Vec::new();
        for row in sources.rows(&job, &run, batch) {
            match row {
                Ok(Row {
                    content: Ok(record),
                    ..
                }) => items.push(record),
                Ok(Row {
                    content: Err(BadRecord { .. }),
                    ..
                }) => {}
                Err(error) => return Some(Err(error.into())),
            }
        }
        Some(Ok(items))
    };
    compare(&f32, &int8, &next, progress)
}
