//! Where functions run.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
#[cfg(feature = "aws")]
use shoal_aws::{Lambda, StepFunctions};
use shoal_dispatch::{Backend, Http, Local, Process, Watch};
use shoal_function::{CallLimits, Function, Host, RecordRef, Runner};
use shoal_job::run_dir::BACKEND;
use shoal_job::wire::Invocation;
use shoal_job::{Batch, Cancel, Cell, Job, RunDir};

use crate::{EngineSettings, Error, Machine, Result, ResumeOptions};

/// Calls in flight where a platform has environments of its own.
const DEFAULT_FUNCTIONS: usize = 1000;
/// How often the receipts of an array job are looked for.
const WATCH_EVERY: Duration = Duration::from_secs(2);

/// Where functions run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackendKind {
    /// Threads of this process.
    #[default]
    Local,
    /// Processes of this machine: of the command itself, or, for who uses the library, of the `shoal` on the PATH.
    Process,
    /// Whatever answers HTTP.
    Http,
    /// Workers that find their share of the batches by a number.
    Array,
    /// AWS Lambda, called directly.
    Lambda,
    /// A Distributed Map of AWS Step Functions.
    StepFunctions,
}

impl BackendKind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Local,
        Self::Process,
        Self::Http,
        Self::Array,
        Self::Lambda,
        Self::StepFunctions,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Process => "process",
            Self::Http => "http",
            Self::Array => "array",
            Self::Lambda => "lambda",
            Self::StepFunctions => "step-functions",
        }
    }
}

/// How a Distributed Map runs its children.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Children {
    /// Up to a year each, billed by transitions.
    Standard,
    /// Up to five minutes each, billed by requests and time.
    Express,
}

/// Where functions run, and how they are called.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BackendConfig {
    /// The kind of place.
    pub backend: BackendKind,
    /// Batches in flight; where `None`, the number of cores, or 1000 where a platform has environments of its own.
    pub concurrency: Option<usize>,
    /// Seconds that one call may take.
    pub timeout_seconds: Option<u64>,
    /// Name or ARN of the Lambda function.
    pub function: Option<String>,
    /// ARN of the state machine; that which `shoal deploy aws` made beside the function, where `None`.
    pub state_machine: Option<String>,
    /// How children run; by the expected time of a batch, where `None`.
    pub children: Option<Children>,
    /// Share of batches, in percent, that may fail before a Distributed Map gives up.
    pub tolerated_failures: Option<f64>,
    /// URLs that answer invocations.
    pub urls: Vec<String>,
    /// Not to wait for the platform.
    pub detach: bool,
    /// What this machine costs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<Machine>,
}

impl BackendConfig {
    /// Where the run was dispatched last: this machine, if it never was.
    pub(crate) fn last(run: &RunDir) -> Result<Self> {
        let Some(content) = run.get(BACKEND)? else {
            return Ok(Self::default());
        };
        let place: Self =
            serde_json::from_slice(&content).map_err(|e| shoal_job::Error::Corrupt {
                run: run.name(),
                reason: format!("{BACKEND} is damaged: {e}"),
            })?;
        Ok(Self {
            detach: false,
            ..place
        })
    }

    /// The same with what a later start says otherwise. What has no effect in another place is left behind.
    pub(crate) fn changed(self, options: &ResumeOptions) -> Self {
        let backend = options.backend.unwrap_or(self.backend);
        let place = if backend == self.backend {
            self
        } else {
            Self {
                backend,
                function: self.function.filter(|_| {
                    matches!(backend, BackendKind::Lambda | BackendKind::StepFunctions)
                }),
                ..Self::default()
            }
        };
        Self {
            concurrency: options.concurrency.or(place.concurrency),
            urls: if options.urls.is_empty() {
                place.urls
            } else {
                options.urls.clone()
            },
            detach: options.detach,
            machine: options.machine.clone().or(place.machine),
            ..place
        }
    }

    /// Keeps it for [`last`](Self::last). No secret is in it: tokens come from the environment alone, and of URLs the part
    /// that may be a key is left out.
    pub(crate) fn remember(&self, run: &RunDir) -> Result<()> {
        Ok(run.replace(BACKEND, self.file())?)
    }

    /// What the file holds by which it is kept.
    pub(crate) fn file(&self) -> Vec<u8> {
        let urls = self.urls.iter().map(|url| shoal_dispatch::redact_url(url));
        let kept = Self {
            urls: urls.collect(),
            ..self.clone()
        };
        let mut content = serde_json::to_vec_pretty(&kept).expect("settings are always JSON");
        content.push(b'\n');
        content
    }

    /// Whether functions see nothing but a store.
    pub(crate) fn needs_store(&self) -> bool {
        matches!(
            self.backend,
            BackendKind::Lambda | BackendKind::StepFunctions
        )
    }

    /// Whether somebody else than this process shares out the batches, or bills for them.
    pub(crate) fn is_platform(&self) -> bool {
        self.needs_store() || self.backend == BackendKind::Array
    }

    /// Options that contradict each other or have no effect are errors.
    pub(crate) fn check(&self) -> Result<()> {
        use BackendKind as B;
        let name = self.backend.name();
        if self.concurrency == Some(0) {
            return Err(Error::Settings("--concurrency must be at least 1".into()));
        }
        if self.timeout_seconds == Some(0) {
            return Err(Error::Settings(
                "--timeout must be at least 1 second".into(),
            ));
        }
        let is_aws = self.needs_store();
        let only = [
            ("--function", self.function.is_some(), is_aws),
            (
                "--state-machine",
                self.state_machine.is_some(),
                self.backend == B::StepFunctions,
            ),
            (
                "--children",
                self.children.is_some(),
                self.backend == B::StepFunctions,
            ),
            (
                "--tolerated-failures",
                self.tolerated_failures.is_some(),
                self.backend == B::StepFunctions,
            ),
            ("--url", !self.urls.is_empty(), self.backend == B::Http),
            (
                "--detach",
                self.detach,
                matches!(self.backend, B::StepFunctions | B::Array),
            ),
            (
                "--machine",
                self.machine.is_some(),
                matches!(self.backend, B::Local | B::Process),
            ),
            (
                "--timeout",
                self.timeout_seconds.is_some(),
                !matches!(self.backend, B::Local | B::Array),
            ),
        ];
        if let Some((flag, ..)) = only.iter().find(|(_, given, used)| *given && !used) {
            return Err(Error::Settings(format!(
                "failed to start: {flag} has no effect with --backend {name}"
            )));
        }
        if self.backend == B::Http && self.urls.is_empty() {
            return Err(Error::Settings(
                "failed to start: --backend http needs the URL of at least one worker (--url)"
                    .into(),
            ));
        }
        for url in &self.urls {
            // Before it is written down: it may hold what must not be.
            shoal_dispatch::check_url(url, token().is_some())
                .map_err(|error| Error::from_dispatch(error, String::new(), |_| String::new()))?;
        }
        if let Some(share) = self.tolerated_failures
            && !(0.0..=100.0).contains(&share)
        {
            return Err(Error::Settings(format!(
                "--tolerated-failures {share} is not between 0 and 100 percent"
            )));
        }
        Ok(())
    }

    /// How long one call may take.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        /// What Lambda allows at most.
        const LAMBDA_SECONDS: u64 = 900;
        let platform = self.needs_store().then_some(LAMBDA_SECONDS);
        self.timeout_seconds.or(platform).map(Duration::from_secs)
    }

    pub(crate) fn concurrency(&self) -> usize {
        self.concurrency.unwrap_or_else(|| match self.backend {
            BackendKind::Local | BackendKind::Process => {
                std::thread::available_parallelism().map_or(1, Into::into)
            }
            BackendKind::Lambda | BackendKind::StepFunctions => DEFAULT_FUNCTIONS,
            // HTTP workers tell how many calls they take.
            BackendKind::Http | BackendKind::Array => 1,
        })
    }

    /// The backend that works on `batches` of `job`.
    #[cfg_attr(
        not(feature = "aws"),
        allow(unused_variables, reason = "platforms expect something of batches")
    )]
    pub(crate) fn backend(
        &self,
        run: &RunDir,
        job: &Job,
        batches: &[Batch],
        runner: &Arc<dyn Runner>,
        engine: &EngineSettings,
    ) -> Result<Box<dyn Backend>> {
        let concurrency = self.concurrency();
        Ok(match self.backend {
            BackendKind::Local => {
                let function = Function::new(run.clone(), job.clone(), runner.clone());
                let function = function.map_err(|failure| Error::Batch { batch: 0, failure })?;
                Box::new(local(concurrency, Arc::new(Host::of(function))))
            }
            BackendKind::Array => Box::new(Watch {
                workers: concurrency,
                every: WATCH_EVERY,
                detach: self.detach,
            }),
            BackendKind::Process => {
                let (job, engine) = (job.clone(), engine.clone());
                Box::new(Process::new(concurrency, move || worker(&job, &engine)))
            }
            BackendKind::Http => {
                let token = token();
                let backend = Http::connect(&self.urls, token.as_deref(), self.concurrency);
                Box::new(backend.map_err(|error| {
                    Error::from_dispatch(error, run.reference(), |_| String::new())
                })?)
            }
            #[cfg(feature = "aws")]
            BackendKind::Lambda => {
                Box::new(Lambda::new(aws_config()?, self.function(), concurrency))
            }
            #[cfg(feature = "aws")]
            BackendKind::StepFunctions => Box::new(StepFunctions {
                config: aws_config()?,
                state_machine: self
                    .state_machine
                    .clone()
                    .unwrap_or_else(|| self.function().to_owned()),
                concurrency,
                children: self.children.map(|children| match children {
                    Children::Standard => shoal_aws::state_machine::Children::Standard,
                    Children::Express => shoal_aws::state_machine::Children::Express,
                }),
                expected_batch_seconds: expected(job, batches, runner.as_ref()).longest_batch,
                tolerated: self.tolerated_failures,
                direct: Some(Lambda::new(aws_config()?, self.function(), concurrency)),
                detach: self.detach,
            }),
            #[allow(unreachable_patterns, reason = "each is built by a feature of its own")]
            other => {
                return Err(Error::Platform {
                    backend: other.name(),
                    reason: "this shoal was built without it".into(),
                });
            }
        })
    }

    #[cfg(feature = "aws")]
    pub(crate) fn function(&self) -> &str {
        self.function.as_deref().unwrap_or("shoal")
    }
}

/// The token that HTTP workers are told, if there is one.
pub(crate) fn token() -> Option<String> {
    std::env::var("SHOAL_TOKEN")
        .ok()
        .filter(|token| !token.is_empty())
}

/// Whether this program is the command, by whatever name its file goes.
static IS_COMMAND: AtomicBool = AtomicBool::new(false);

/// Says that this program is the command `shoal`, and can be its own worker.
pub fn this_is_the_command() {
    IS_COMMAND.store(true, Ordering::Relaxed);
}

/// The command that starts a worker process for `job`.
fn worker(job: &Job, engine: &EngineSettings) -> Command {
    // Whoever uses the library has another program, which must not start itself.
    let own = std::env::current_exe().ok();
    let own = own.filter(|_| IS_COMMAND.load(Ordering::Relaxed));
    let mut command = Command::new(own.unwrap_or_else(|| "shoal".into()));
    command.args(["worker", "--stdio"]);
    command.args(["--model", &job.function.reference]);
    if let Some(precision) = job.function.setting("precision") {
        command.args(["--precision", precision]);
    }
    if let Some(isa) = &engine.isa {
        command.args(["--isa", isa]);
    }
    if let Some(folder) = &engine.cache_dir {
        command.arg("--cache-dir").arg(folder);
    }
    // Ctrl-C in a terminal is for us alone, who end the workers as it is due.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command
}

/// How AWS is reached.
#[cfg(feature = "aws")]
pub(crate) fn aws_config() -> Result<shoal_aws::config::SdkConfig> {
    shoal_aws::config::load_blocking()
        .map_err(|e| Error::Settings(format!("failed to start a runtime: {e}")))
}

/// How far the platform is that a run was left to, if it was.
#[cfg(feature = "aws")]
pub fn platform_progress(run: &RunDir) -> Result<Option<shoal_aws::Progress>> {
    if run.get(shoal_job::run_dir::EXECUTION)?.is_none() {
        return Ok(None);
    }
    shoal_aws::progress(&aws_config()?, run)
        .map_err(|e| Error::from_dispatch(e, run.reference(), |_| String::new()))
}

/// What batches are expected to take on one vCPU, in seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    pub(crate) longest_batch: f64,
    pub(crate) all: f64,
}

/// Measured on this machine, for as many units of work as the batches' bytes let expect, and doubled, since a vCPU of a
/// platform is half a core.
pub(crate) fn expected(job: &Job, batches: &[Batch], runner: &dyn Runner) -> Expected {
    /// Bytes of text that are a token, at least.
    const BYTES_PER_TOKEN: f64 = 4.0;
    let limit = job.function.number("max_tokens").unwrap_or(512) as u64;
    let Some(seconds_per_token) = seconds_per_unit(runner) else {
        return Expected {
            longest_batch: f64::NAN,
            all: f64::NAN,
        };
    };
    let tokens_of = |batch: &Batch| {
        let most = (batch.records * limit) as f64;
        let slices = batch.slices.iter();
        let is_text = |format| !matches!(format, shoal_job::format::Format::Parquet);
        if slices
            .clone()
            .all(|slice| is_text(job.sources[slice.source as usize].format))
        {
            let bytes: u64 = slices.map(|slice| slice.end - slice.start).sum();
            (bytes as f64 / BYTES_PER_TOKEN).min(most)
        } else {
            most
        }
    };
    let longest = batches.iter().map(tokens_of).fold(0.0, f64::max);
    let all: f64 = batches.iter().map(tokens_of).sum();
    Expected {
        longest_batch: 2.0 * longest * seconds_per_token,
        all: 2.0 * all * seconds_per_token,
    }
}

/// Seconds that a unit of work takes `runner`; `None` where it cannot process a text.
fn seconds_per_unit(runner: &dyn Runner) -> Option<f64> {
    const WORDS: usize = 256;
    let mut inputs = vec![Cell::Null; runner.spec().inputs.len()];
    *inputs.first_mut()? = Cell::Text("film ".repeat(WORDS));
    let id = Cell::Null;
    let mut session = runner.session().ok()?;
    let mut once = || {
        let started = std::time::Instant::now();
        let record = RecordRef {
            id: &id,
            inputs: &inputs,
        };
        session.push(record).and_then(|_| session.flush()).ok()?;
        let units = session.take_usage().units.max(1);
        Some(started.elapsed().as_secs_f64() / units as f64)
    };
    once()?; // the first one warms the caches
    once()
}

/// Threads of this process that call the functions of `host`.
pub(crate) fn local(concurrency: usize, host: Arc<Host>) -> impl Backend {
    Local::new(concurrency, move || {
        let mut environment = host.environment();
        move |invocation: &Invocation, cancel: &Cancel| {
            let limits = CallLimits {
                cancel: cancel.clone(),
                deadline: None,
            };
            let called = std::time::Instant::now();
            let result = environment.handle(invocation, &limits);
            crate::log::invocation(invocation, &result, called.elapsed());
            result
        }
    })
}
