//! Applies the choice of a plan to a run.

use shoal_estimate::{Architecture, Constraints, Estimate};
use shoal_job::collect::Destination;
use shoal_job::{Cancel, Event};

use super::{PlanSettings, plan};
use crate::inputs::{STDIN, absolute};
use crate::platform::Platform;
use crate::runs::last_run;
use crate::{BackendConfig, BackendKind, Error, Result, Settings};

/// What the user chose; a plan chooses the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Given {
    /// Records per batch.
    pub batch_size: Option<u64>,
    /// Whether the backend of the settings was chosen.
    pub backend: bool,
}

/// The choice for a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Auto {
    /// Batch size and backend of an earlier start of the run.
    AsBefore {
        /// Records per batch.
        batch_size: u64,
    },
    /// The choice of a new plan.
    Chosen {
        /// The chosen candidate.
        estimate: Box<Estimate>,
        /// The reason.
        why: String,
        /// Why functions of a platform were no candidates, if so.
        left_out: Option<LeftOut>,
    },
}

/// Why functions of a platform were no candidates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeftOut {
    /// The run has no object store, which they need.
    NoStore,
    /// There is no function to call, for this reason.
    NoFunction(String),
}

/// Sets batch size, concurrency and backend of `settings` to the choice of a [`plan()`](super::plan()) within their limits.
/// What is `given` is kept. Without a given backend, functions are candidates if the run has an object store and a function is
/// deployed. A run that was started before keeps its batch size, and its backend unless one is given.
///
/// # Errors
/// As [`plan()`](super::plan()), and if no candidate is within the limits.
pub fn auto(
    settings: &mut Settings,
    given: Given,
    cancel: &Cancel,
    emit: &mut dyn FnMut(&Event),
) -> Result<Auto> {
    if settings.inputs.iter().any(|input| input == STDIN) {
        return Err(Error::Settings(
            "failed to plan: planning reads the input twice, and standard input can be read only once; name a file".into(),
        ));
    }
    let (destination, _) = Destination::parse(&settings.output, settings.format)?;
    let inputs = absolute(&settings.inputs)?;
    if let Some((run, job)) = last_run(settings, &inputs, &destination.name(), None)? {
        let batch_size = job.parameters.batch_size;
        settings.parameters.batch_size = batch_size;
        if !given.backend {
            let concurrency = settings.backend.concurrency();
            settings.backend = BackendConfig::last(&run)?;
            if concurrency.is_some() {
                settings.backend.set_concurrency(concurrency);
            }
        }
        return Ok(Auto::AsBefore { batch_size });
    }
    let mut backends = vec![settings.backend.kind()];
    let mut left_out = None;
    let mut function = None;
    if given.backend {
        function = deployed(&settings.backend)?;
    } else if settings.store.is_none() {
        left_out = Some(LeftOut::NoStore);
    } else {
        match deployed(&BackendConfig::from(BackendKind::Lambda)) {
            Ok(deployed) => {
                backends.extend([BackendKind::Lambda, BackendKind::StepFunctions]);
                function = deployed;
            }
            Err(error) => left_out = Some(LeftOut::NoFunction(error.to_string())),
        }
    }
    let concurrency = settings.backend.concurrency().map(|count| count as u64);
    let (memory, architectures) = function.unzip();
    let plan_settings = PlanSettings {
        inputs: settings.inputs.clone(),
        model: settings.model.clone(),
        parameters: settings.parameters.clone(),
        backends: backends.clone(),
        this_machine: settings.backend.settings().machine().cloned(),
        batch_sizes: given.batch_size.into_iter().collect(),
        concurrency: concurrency.into_iter().collect(),
        memory: memory.into_iter().collect(),
        architectures: architectures.into_iter().collect(),
        constraints: Constraints {
            deadline_seconds: settings.limits.max_seconds,
            max_usd: settings.limits.max_usd,
        },
        prices: settings.limits.prices.clone(),
        ..PlanSettings::default()
    };
    let plan = plan(&plan_settings, cancel, emit)?;
    let Some(chosen) = plan.chosen() else {
        let reason = plan.choice.why;
        return Err(Error::NothingFits { reason });
    };
    settings.parameters.batch_size = chosen.batch_size;
    set_backend(settings, &backends, &chosen.place);
    let concurrency = usize::try_from(chosen.concurrency).unwrap_or(usize::MAX);
    settings.backend.set_concurrency(Some(concurrency));
    let is_free = settings.backend.kind() == BackendKind::Local
        && settings.backend.settings().machine().is_none();
    if is_free && !given.backend {
        // What costs nothing keeps every cost limit.
        settings.limits.max_usd = None;
    }
    Ok(Auto::Chosen {
        estimate: Box::new(chosen.clone()),
        why: plan.choice.why.clone(),
        left_out,
    })
}

/// Sets the backend of a chosen place, and its children. The settings of the backend remain if it is the same.
fn set_backend(settings: &mut Settings, backends: &[BackendKind], place: &str) {
    let config = |kind: &BackendKind| BackendConfig::from(*kind);
    let chosen = backends.iter().find_map(|kind| {
        let mut platforms = config(kind).settings().platforms().into_iter();
        let platform = platforms.find(|platform| platform.name() == place)?;
        Some((*kind, platform))
    });
    let (kind, platform) = chosen.expect("a candidate is of one of the backends");
    if kind != settings.backend.kind() {
        settings.backend = BackendConfig::from(kind);
    }
    if let (BackendConfig::StepFunctions(config), Platform::StepFunctions(children)) =
        (&mut settings.backend, platform)
    {
        config.children.get_or_insert(children);
    }
}

/// The memory in MB and the architecture of the function that the backend calls.
#[cfg(feature = "aws")]
fn deployed(backend: &BackendConfig) -> Result<Option<(u32, Architecture)>> {
    let Some(function) = backend.settings().function() else {
        return Ok(None);
    };
    let sizing = shoal_aws::deployed(&crate::backend::aws_config()?, function)?.sizing;
    let architecture = sizing.architecture.parse().map_err(Error::Settings)?;
    Ok(Some((sizing.memory_mb, architecture)))
}

#[cfg(not(feature = "aws"))]
fn deployed(backend: &BackendConfig) -> Result<Option<(u32, Architecture)>> {
    match backend.settings().function() {
        None => Ok(None),
        Some(_) => Err(crate::backend::not_built(backend.kind())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Children;

    #[test]
    fn the_chosen_place_becomes_the_backend() {
        let backends = [
            BackendKind::Local,
            BackendKind::Lambda,
            BackendKind::StepFunctions,
        ];
        let set = |place: &str| {
            let mut settings = Settings::new(["in.csv".to_owned()], "out.csv");
            set_backend(&mut settings, &backends, place);
            settings.backend
        };
        assert_eq!(set("local").kind(), BackendKind::Local);
        assert_eq!(set("lambda").kind(), BackendKind::Lambda);
        let BackendConfig::StepFunctions(steps) = set("step-functions standard") else {
            panic!("another backend")
        };
        assert_eq!(steps.children, Some(Children::Standard));
    }
}
