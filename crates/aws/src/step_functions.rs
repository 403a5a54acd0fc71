//! The step-functions backend: a Distributed Map does the fan-out.
//!
//! The backend writes a manifest with one line per batch to the run directory and starts an execution of the state machine,
//! whose children call the function. The client may exit: `execution.json` names the execution, and a later start of the
//! run waits for it.
//!
//! Batches whose functions crashed are tolerated by the map. After it has ended, direct calls search them for the record
//! that crashes its function.
//!
//! Children call the function without asking the client, so a [`Budget`](shoal_dispatch::Budget) must cover
//! [`ATTEMPTS`] calls for every batch before the execution starts. Calls for the rest of batches that ran out of time are
//! not included.

use std::borrow::Cow;
use std::io::Write;
use std::time::Duration;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shoal_dispatch::{Backend, DispatchError, Work, emit_new_receipts, sleep};
use shoal_job::run_dir::EXECUTION;
use shoal_job::wire::{Failure, FailureKind, Invocation, Remedy};
use shoal_job::{Event, Receipts, RunDir, unix_ms};

use crate::client::{CallError, Request};
use crate::config::Config;
use crate::limits::check_line;
use crate::settings::S3Folder;
use crate::state_machine::{ATTEMPTS, Children, Input};
use crate::{Account, Error, Lambda};

const NAME: &str = "step-functions";
/// The first poll interval of an execution. It grows, because DescribeMapRun has a sustained rate of one call per second
/// for all clients together.
const FIRST_POLL: Duration = Duration::from_millis(50);
/// The percentage of batches that may fail before the map fails. More failures are not caused by single records.
const TOLERATED: f64 = 5.0;
/// The number of batches that may fail in maps of any size.
const TOLERATED_BATCHES: f64 = 3.0;
/// The time limit of a call in an Express child, which ends after 300 s: the function must write its part before.
const EXPRESS_CALL: Duration = Duration::from_secs(240);
/// The longest poll interval.
const LONGEST_POLL: Duration = Duration::from_secs(10);

/// Calls the function through a Distributed Map.
#[derive(Debug, Clone)]
pub struct StepFunctions {
    /// The AWS configuration.
    pub config: Config,
    /// The ARN or the name of the state machine.
    pub state_machine: String,
    /// The maximum number of concurrent children.
    pub concurrency: usize,
    /// The type of children; chosen by `expected_batch_seconds` if `None`.
    pub children: Option<Children>,
    /// The expected time of a batch in seconds.
    pub expected_batch_seconds: f64,
    /// The percentage of batches that may fail before the map fails; if `None`, 5 % or 3 batches, whichever is more.
    pub tolerated: Option<f64>,
    /// The backend for batches that crashed the function in the map; if `None`, such batches fail the run.
    pub direct: Option<Lambda>,
    /// Whether to return without waiting for the end.
    pub detach: bool,
}

/// The content of `execution.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Execution {
    arn: String,
    /// Missing in files of earlier versions.
    #[serde(default)]
    children: Option<Children>,
}

/// The progress of an execution.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Progress {
    /// The execution's ARN.
    pub execution: String,
    /// `RUNNING`, `SUCCEEDED`, `FAILED`, `TIMED_OUT`, `ABORTED`.
    pub status: String,
    /// Finished batches of the manifest.
    pub succeeded: u64,
    /// Failed batches.
    pub failed: u64,
    /// Running children.
    pub running: u64,
    /// Waiting batches.
    pub pending: u64,
}

/// The progress of the last execution of `run`, if there is one.
///
/// # Errors
/// Fails if the run directory cannot be read, or if the call to Step Functions fails.
pub fn progress(config: &Config, run: &RunDir) -> Result<Option<Progress>, DispatchError> {
    let Some(execution) = known_execution(run)? else {
        return Ok(None);
    };
    let session = Session::new(config)?;
    let described = session.describe(&execution.arn)?;
    let map_run = session.map_run(&execution.arn)?;
    session.progress(&described, map_run.as_deref()).map(Some)
}

/// The type of children in the last execution of `run`, if known. The types have different prices.
///
/// # Errors
/// Fails if the run directory cannot be read.
pub fn children(run: &RunDir) -> Result<Option<Children>, DispatchError> {
    Ok(known_execution(run)?.and_then(|execution| execution.children))
}

fn known_execution(run: &RunDir) -> Result<Option<Execution>, DispatchError> {
    let content = run.get(EXECUTION)?;
    Ok(content.and_then(|content| serde_json::from_slice(&content).ok()))
}

impl Backend for StepFunctions {
    fn name(&self) -> &'static str {
        NAME
    }

    fn concurrency(&self) -> usize {
        self.concurrency
    }

    fn run(&self, work: &Work<'_>, emit: &mut dyn FnMut(Event)) -> Result<(), DispatchError> {
        let session = Session::new(&self.config)?;
        let arn = match session.running(work.run)? {
            Some(arn) => arn,
            None => self.start(&session, work)?,
        };
        if self.detach {
            emit(Event::Detached {
                execution: Some(arn),
            });
            return Err(DispatchError::Detached);
        }
        let ended = session.wait(&arn, work, emit)?;
        let mut known = Receipts::default();
        emit_new_receipts(work, &mut known, emit)?;
        let open = work.batches.iter().filter(|batch| !known.covers(batch));
        let left = open.count();
        if left == 0 {
            return Ok(());
        }
        let failure = session.first_failure(&arn);
        let is_tolerated = ended.status == "SUCCEEDED";
        // Express children leave no reason; a direct call will find it.
        let may_be_searched = failure.as_ref().is_none_or(|failure| {
            matches!(failure, DispatchError::Batch { failure, .. } if failure.kind.remedy() == Remedy::Split)
        });
        if let Some(direct) = &self.direct
            && is_tolerated
            && may_be_searched
        {
            let open = work.batches.iter().flat_map(|batch| {
                let open = known.open(std::slice::from_ref(&**batch));
                open.into_iter().map(|batch| Cow::Owned(batch.into_owned()))
            });
            let left = Work {
                batches: open.collect::<Vec<_>>(),
                is_suspect: true,
                ..*work
            };
            return direct.run(&left, emit);
        }
        if let Some(error) = failure {
            return Err(error);
        }
        let reasons = [ended.error.as_deref(), ended.cause.as_deref()]
            .into_iter()
            .flatten();
        let reasons: Vec<_> = reasons.filter(|text| !text.is_empty()).collect();
        Err(platform(format!(
            "execution {arn} ended as {} with {left} of {} batches left{}{}; resume run {} to retry them",
            ended.status,
            work.batches.len(),
            if reasons.is_empty() { "" } else { ": " },
            reasons.join(", "),
            work.run.reference(),
        )))
    }
}

impl StepFunctions {
    /// Writes the manifest and starts an execution.
    fn start(&self, session: &Session, work: &Work<'_>) -> Result<String, DispatchError> {
        let run = work.run;
        let batches = work.batches.len() as u64;
        let calls = batches * u64::from(ATTEMPTS);
        if let Some(budget) = work.budget
            && !budget.affords(calls)
        {
            return Err(DispatchError::Budget(budget.shortage(calls, batches)));
        }
        let folder: S3Folder = run
            .uri()
            .parse()
            .map_err(|e: String| platform(format!("{e}; Step Functions reads only from S3")))?;
        let unix_ms = unix_ms();
        let manifest = format!("manifest/{unix_ms}.jsonl");
        let expected = Children::for_batches_of(self.expected_batch_seconds);
        let input = Input {
            bucket: folder.bucket().to_owned(),
            manifest: folder.key(&manifest),
            results: folder.key(&format!("map/{unix_ms}")),
            children: self.children.unwrap_or(expected),
            concurrency: self.concurrency.try_into().unwrap_or(u32::MAX),
            tolerated: self.tolerated.unwrap_or_else(|| tolerated(batches)),
        };
        input.check().map_err(platform)?;
        let state_machine = session.0.state_machine_arn(&self.state_machine);
        let state_machine = state_machine.map_err(platform)?;
        let timeout = match input.children {
            Children::Standard => work.timeout,
            Children::Express => Some(work.timeout.map_or(EXPRESS_CALL, |t| t.min(EXPRESS_CALL))),
        };
        write_manifest(work, &manifest, timeout)?;
        if let Some(budget) = work.budget {
            // Never released: the cost of failed attempts is unknown, and a later execution for damaged parts must not
            // spend it again.
            budget.reserve(calls);
        }
        let name = execution_name(&run.name(), unix_ms);
        let input_text = input.json();
        let call = json!({ "name": name, "input": input_text, "stateMachineArn": state_machine });
        let started: Started = session.call("start the state machine", "StartExecution", &call)?;
        let execution = Execution {
            arn: started.execution_arn,
            children: Some(input.children),
        };
        let content = serde_json::to_vec(&execution).expect("strings are always JSON");
        run.replace(EXECUTION, content)?;
        Ok(execution.arn)
    }
}

/// The default percentage of `batches` that may fail.
fn tolerated(batches: u64) -> f64 {
    let few = 100.0 * TOLERATED_BATCHES / batches.max(1) as f64;
    TOLERATED.max(few).min(100.0)
}

/// Writes one invocation per line for every open batch.
fn write_manifest(
    work: &Work<'_>,
    name: &str,
    timeout: Option<Duration>,
) -> Result<(), DispatchError> {
    let run = work.run;
    let failed = |e| shoal_job::Error::storage("write", run.object_uri(name), e);
    let mut out = std::io::BufWriter::with_capacity(1 << 20, run.writer(name));
    let uri: std::sync::Arc<str> = run.uri().into();
    for (line, batch) in (1..).zip(&work.batches) {
        let invocation = Invocation {
            timeout_ms: timeout.map(|timeout| timeout.as_millis() as u64),
            ..Invocation::first(uri.clone(), batch.clone().into_owned())
        };
        let mut text = serde_json::to_vec(&invocation).expect("an invocation is always JSON");
        check_line(line, &text).map_err(platform)?;
        text.push(b'\n');
        out.write_all(&text).map_err(failed)?;
    }
    let out = out.into_inner().map_err(|e| failed(e.into_error()))?;
    Ok(out.finish().map_err(failed)?)
}

/// A valid name for an execution: at most 80 letters, digits, `-` and `_`. *StartExecution, name*.
fn execution_name(run: &str, unix_ms: u64) -> String {
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let stem: String = run.chars().filter(is_plain).take(60).collect();
    format!("{stem}-{unix_ms}")
}

fn platform(reason: impl ToString) -> DispatchError {
    DispatchError::Platform {
        backend: NAME,
        reason: reason.to_string(),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Started {
    execution_arn: String,
}

/// The state of an execution.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    execution_arn: String,
    status: String,
    input: Option<String>,
    error: Option<String>,
    cause: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MapRuns {
    map_runs: Vec<MapRun>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MapRun {
    map_run_arn: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MapState {
    item_counts: Option<Counts>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Counts {
    succeeded: u64,
    failed: u64,
    timed_out: u64,
    aborted: u64,
    running: u64,
    pending: u64,
}

#[derive(Deserialize)]
struct Executions {
    executions: Vec<Started>,
}

const RUNNING: &str = "RUNNING";

/// A blocking client of Step Functions.
struct Session(Account);

impl Session {
    fn new(config: &Config) -> Result<Self, DispatchError> {
        Account::new(config).map(Self).map_err(platform)
    }

    fn ask<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        input: &Value,
    ) -> Result<T, CallError> {
        self.0.json(Request::states(operation, input))
    }

    fn call<T: DeserializeOwned>(
        &self,
        action: impl Into<String>,
        operation: &'static str,
        input: &Value,
    ) -> Result<T, DispatchError> {
        self.ask(operation, input)
            .map_err(|e| platform(Error::call(action, e)))
    }

    fn describe(&self, arn: &str) -> Result<Described, DispatchError> {
        let input = json!({ "executionArn": arn });
        self.call(
            format!("describe execution {arn}"),
            "DescribeExecution",
            &input,
        )
    }

    /// The execution of an earlier start of the run, if it is still running.
    fn running(&self, run: &RunDir) -> Result<Option<String>, DispatchError> {
        let Some(Execution { arn, .. }) = known_execution(run)? else {
            return Ok(None);
        };
        let described = self.ask("DescribeExecution", &json!({ "executionArn": arn }));
        let described: Described = match described {
            // Step Functions deletes executions after 90 days.
            Err(e) if e.code() == "ExecutionDoesNotExist" => return Ok(None),
            described => described
                .map_err(|e| platform(Error::call(format!("describe execution {arn}"), e)))?,
        };
        Ok((described.status == RUNNING).then_some(arn))
    }

    /// The ARN of the map run of an execution, once it has started.
    fn map_run(&self, execution: &str) -> Result<Option<String>, DispatchError> {
        let input = json!({ "executionArn": execution });
        let listed: MapRuns = self.call("list map runs", "ListMapRuns", &input)?;
        Ok(listed
            .map_runs
            .into_iter()
            .next()
            .map(|run| run.map_run_arn))
    }

    /// The progress of an execution with this map run.
    fn progress(
        &self,
        described: &Described,
        map_run: Option<&str>,
    ) -> Result<Progress, DispatchError> {
        let mut progress = Progress {
            execution: described.execution_arn.clone(),
            status: described.status.clone(),
            ..Progress::default()
        };
        if let Some(arn) = map_run {
            let input = json!({ "mapRunArn": arn });
            let map: MapState = self.call("describe the map run", "DescribeMapRun", &input)?;
            if let Some(items) = map.item_counts {
                progress.succeeded = items.succeeded;
                progress.failed = items.failed + items.timed_out + items.aborted;
                progress.running = items.running;
                progress.pending = items.pending;
            }
        }
        Ok(progress)
    }

    /// Waits for the end of an execution, and stops it if the run is cancelled.
    fn wait(
        &self,
        arn: &str,
        work: &Work<'_>,
        emit: &mut dyn FnMut(Event),
    ) -> Result<Described, DispatchError> {
        let mut map_run = None;
        let mut pause = FIRST_POLL;
        loop {
            let described = self.describe(arn)?;
            if described.status != RUNNING {
                return Ok(described);
            }
            if map_run.is_none() {
                map_run = self.map_run(arn)?;
            }
            if map_run.is_some() {
                let progress = self.progress(&described, map_run.as_deref())?;
                emit(Event::Progressed {
                    finished: progress.succeeded,
                    failed: progress.failed,
                    running: progress.running,
                });
            }
            if let Err(stopped) = sleep(pause, work) {
                // Otherwise the execution would continue and cost money. `detach` is the setting for that.
                let input = json!({ "executionArn": arn });
                let _ = self.ask::<IgnoredAny>("StopExecution", &input);
                return Err(stopped);
            }
            pause = pause.mul_f64(1.5).min(LONGEST_POLL);
        }
    }

    /// The failure of the first failed child. Step Functions keeps none for Express children.
    fn first_failure(&self, execution: &str) -> Option<DispatchError> {
        let map_run = self.map_run(execution).ok()??;
        let input = json!({ "mapRunArn": map_run, "statusFilter": "FAILED", "maxResults": 1 });
        let failed: Executions = self.ask("ListExecutions", &input).ok()?;
        let child = self
            .describe(&failed.executions.first()?.execution_arn)
            .ok()?;
        let invocation: Invocation = serde_json::from_str(child.input.as_deref()?).ok()?;
        let error_type = child.error.as_deref().unwrap_or_default();
        let kind = FailureKind::of_error_type(error_type).unwrap_or(match error_type {
            "Sandbox.Timedout" | "States.Timeout" => FailureKind::TimedOut,
            "Lambda.TooManyRequestsException" => FailureKind::Throttled,
            _ => FailureKind::Crashed,
        });
        // The cause is the function's error payload as text.
        let cause = child.cause.as_deref().unwrap_or_default();
        let payload: serde_json::Value = serde_json::from_str(cause).unwrap_or_default();
        let message = payload["errorMessage"].as_str().map(str::to_owned);
        let reason = message.unwrap_or_else(|| format!("{error_type} {cause}"));
        Some(DispatchError::Batch {
            batch: invocation.batch.index,
            attempt: invocation.attempt,
            failure: Failure::new(kind, reason.trim()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::ObjectStore;
    use object_store::memory::InMemory;
    use shoal_dispatch::{Budget, Ledger, RetryPolicy};
    use shoal_job::{Batch, Cancel};

    use super::*;

    #[test]
    fn an_execution_starts_only_if_the_budget_covers_it() {
        let store = Arc::new(InMemory::new());
        let run = RunDir::on(store.clone(), "run".into(), "s3://lake/run");
        let backend = StepFunctions {
            // Nothing listens there.
            config: Config::of_emulator("us-east-1", "http://127.0.0.1:9"),
            state_machine: "arn:aws:states:us-east-1:000000000000:stateMachine:shoal".into(),
            concurrency: 4,
            children: None,
            expected_batch_seconds: 1.0,
            tolerated: None,
            direct: None,
            detach: false,
        };
        let start = |max_usd| {
            let budget = Budget {
                max_usd,
                most_per_call_usd: 0.01,
                cost: Box::new(|_, _| 0.0),
                ledger: Ledger::after(0.5),
            };
            let work = Work {
                run: &run,
                batches: vec![Cow::Owned(Batch::default()); 5],
                retry: RetryPolicy::default(),
                timeout: None,
                is_suspect: false,
                stop_on_bad_record: false,
                speculation: None,
                budget: Some(&budget),
                cancel: &Cancel::new(),
            };
            backend.run(&work, &mut |_| {}).unwrap_err()
        };
        // 5 batches with 3 attempts each.
        match start(0.64) {
            DispatchError::Budget(shortage) => {
                assert_eq!((shortage.calls, shortage.left), (15, 5));
                assert!(shortage.to_string().contains("0.15 USD"), "{shortage}");
            }
            end => panic!("{end:?}"),
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let written = runtime.block_on(store.list_with_delimiter(None)).unwrap();
        assert!(written.objects.is_empty() && written.common_prefixes.is_empty());
        // The budget suffices, so the call to the platform fails.
        let end = start(0.65);
        assert!(matches!(end, DispatchError::Platform { .. }), "{end:?}");
    }

    #[test]
    fn the_type_of_children_is_read_from_the_run_directory() {
        let run = RunDir::on(Arc::new(InMemory::new()), "run".into(), "s3://lake/run");
        assert_eq!(children(&run).unwrap(), None);
        for (content, expected) in [
            (r#"{"arn":"a"}"#, None),
            (
                r#"{"arn":"a","children":"EXPRESS"}"#,
                Some(Children::Express),
            ),
        ] {
            run.replace(EXECUTION, content).unwrap();
            assert_eq!(children(&run).unwrap(), expected);
        }
    }

    #[test]
    fn execution_names_are_valid() {
        assert_eq!(execution_name("reviews-1a2b", 17), "reviews-1a2b-17");
        assert_eq!(execution_name("a b/ü.c", 1), "abc-1");
        assert_eq!(
            execution_name(&"x".repeat(200), 1_800_000_000_000).len(),
            74
        );
    }
}
