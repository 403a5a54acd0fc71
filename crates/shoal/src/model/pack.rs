//! Packs a model into one file, in the order in which the engine reads it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Serialize;
use shoal_encoder::packed::Container;
use shoal_encoder::{Isa, Model, Packed, Precision, Target};
use shoal_function::Runner;
use shoal_job::input::Sources;
use shoal_job::spec::Parameters;
use shoal_job::{Cancel, Record};

use super::check::{Comparison, compare};
use super::{ModelSettings, Source};
use crate::inputs::{Inputs, SpoolFolder};
use crate::scratch::ScratchRun;
use crate::{Error, Result, Setting};

/// The settings of packing.
#[derive(Debug, Clone)]
pub struct PackSettings {
    /// A model folder or a name on the Hugging Face hub; the bundled model if it has no reference. The engine's settings are
    /// not used.
    pub model: ModelSettings,
    /// The packed file.
    pub output: PathBuf,
    /// The precision of the packed model.
    pub precision: Precision,
    /// Instruction sets to pack for; the best one of this CPU if empty.
    pub isas: Vec<Target>,
    /// Inputs to compare with `f32` on; nothing is compared if empty.
    pub check: Vec<String>,
    /// Format and columns of these inputs.
    pub parameters: Parameters,
}

/// The result of packing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PackSummary {
    /// The packed file.
    pub output: String,
    /// Its size.
    pub bytes: u64,
    /// Its precision.
    pub precision: Precision,
    /// Its instruction sets.
    pub isas: Vec<Target>,
    /// How its results compare with those of `f32`.
    pub check: Option<Comparison>,
}

/// Packs a model into one file, which is complete or absent, and compares it with `f32` if `settings` have inputs for it.
/// `progress` gets the number of compared records.
///
/// # Errors
/// The model or the inputs cannot be read, the file cannot be written, or the results are to be compared and this CPU has
/// none of the instruction sets.
pub fn pack(
    settings: &PackSettings,
    cancel: &Cancel,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<PackSummary> {
    let source = Source::find(settings.model.reference.as_deref())?;
    let mut targets = Vec::new();
    for target in &settings.isas {
        if !targets.contains(target) {
            targets.push(*target);
        }
    }
    if targets.is_empty() {
        targets.push(Isa::best().target());
    }
    let runnable: Vec<Isa> = targets
        .iter()
        .filter_map(|target| Isa::of(*target))
        .collect();
    if runnable.is_empty() && !settings.check.is_empty() {
        let names: Vec<_> = targets.iter().map(Target::to_string).collect();
        let reason = format!(
            "this CPU cannot run a model that is packed for {}; pack for {} too, or compare on another machine",
            names.join(", "),
            Isa::best().name()
        );
        return Err(Error::setting(Setting::Check, reason));
    }
    let checkpoint = source.checkpoint()?;
    let fingerprint = source.fingerprint()?;
    let purpose = match settings.model.task.kind {
        Some(kind) => kind.purpose(),
        None => checkpoint.default_purpose(),
    };
    let precision = settings.precision;
    Packed::new(
        &checkpoint,
        fingerprint.clone(),
        purpose,
        precision,
        &targets,
    )?
    .save(&settings.output)?;
    let container = Container::open(&settings.output)?;
    let check = if settings.check.is_empty() {
        None
    } else {
        let model = Model::read(&container, &runnable)?;
        let best = Isa::best();
        let f32 = Model::pack(&checkpoint, fingerprint, purpose, Precision::F32, best)?;
        Some(compare_on(settings, f32, model, cancel, progress)?)
    };
    let output = settings.output.display().to_string();
    let meta = std::fs::metadata(&settings.output)
        .map_err(|e| shoal_job::Error::storage("read", &output, e))?;
    Ok(PackSummary {
        output,
        bytes: meta.len(),
        precision,
        isas: targets,
        check,
    })
}

/// Compares on the records of the inputs, without bad ones.
fn compare_on(
    settings: &PackSettings,
    f32: Model,
    packed: Model,
    cancel: &Cancel,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Comparison> {
    let f32 = settings.model.runner("", f32)?;
    let packed = settings.model.runner("", packed)?;
    let (spec, parameters) = (f32.spec(), settings.parameters.clone());
    let (inputs, format) = (&settings.check, parameters.input_format);
    let inputs = Inputs::find(inputs, format, SpoolFolder::temporary, cancel)?;
    let scratch = ScratchRun::plan(&inputs, spec, parameters, cancel, &mut |_| {})?;
    let sources = Sources::default();
    let next_batch = AtomicUsize::new(0);
    let next = || -> Option<Result<Vec<Record>>> {
        let index = next_batch.fetch_add(1, Ordering::Relaxed);
        let batch = scratch.batches.get(index)?;
        if cancel.is_cancelled() {
            return Some(Err(shoal_job::Error::Cancelled.into()));
        }
        let rows = sources.rows(&scratch.job, &scratch.run, batch);
        let records = rows.filter_map(|row| match row {
            Ok(row) => row.content.ok().map(Ok),
            Err(error) => Some(Err(error.into())),
        });
        Some(records.collect())
    };
    compare(&f32, &packed, &next, progress)
}
