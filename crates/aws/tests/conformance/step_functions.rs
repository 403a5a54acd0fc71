//! A server for the part of the Step Functions API that the backend uses: executions of one state machine, which follow
//! its definition and call the scripted function. *API reference* (`step-functions/latest/apireference`).

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use serde_json::{Value, json};
use shoal_conformance::{Act, Function};
use shoal_job::RunDir;
use shoal_job::wire::{FailureKind, Invocation, Remedy, Reply};

const MACHINE: &str = "arn:aws:states:us-east-1:000000000000:stateMachine:shoal";
/// The number of concurrent children.
const CHILDREN: usize = 4;
/// The attempts that the definition allows for transient errors.
const ATTEMPTS: u32 = 3;

/// The server. Dropping it waits for its executions and closes it.
pub(crate) struct MachineServer {
    address: SocketAddr,
    served: Arc<Served>,
    acceptor: Option<JoinHandle<()>>,
}

struct Served {
    run: RunDir,
    function: Function,
    closed: AtomicBool,
    executions: Mutex<Vec<Arc<Execution>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// An execution with its map and failed children.
#[derive(Default)]
struct Execution {
    arn: String,
    /// The number of children that may fail.
    tolerated: usize,
    stopped: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default, Clone)]
struct State {
    ended: Option<&'static str>,
    total: usize,
    succeeded: usize,
    failures: Vec<Child>,
}

/// A child that failed.
#[derive(Clone)]
struct Child {
    input: String,
    error: String,
    cause: String,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MachineServer {
    /// Starts a server for a state machine that calls `function` for the run in `run`.
    pub(crate) fn start(run: RunDir, function: Function) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let served = Arc::new(Served {
            run,
            function,
            closed: AtomicBool::new(false),
            executions: Mutex::default(),
            threads: Mutex::default(),
        });
        let accepting = served.clone();
        let acceptor = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.closed.load(Ordering::Relaxed) {
                    return;
                }
                let served = accepting.clone();
                // A connection lasts until its client disconnects.
                std::thread::spawn(move || served.serve(stream?));
            }
        });
        Self {
            address,
            served,
            acceptor: Some(acceptor),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for MachineServer {
    fn drop(&mut self) {
        self.served.closed.store(true, Ordering::Relaxed);
        // Wakes the acceptor.
        let _ = TcpStream::connect(self.address);
        let _ = self.acceptor.take().map(JoinHandle::join);
        let threads = std::mem::take(&mut *lock(&self.served.threads));
        threads.into_iter().for_each(|thread| {
            let _ = thread.join();
        });
    }
}

impl Served {
    fn serve(self: &Arc<Self>, stream: TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        loop {
            let (mut length, mut action) = (0, String::new());
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line)? == 0 {
                    return Ok(());
                }
                let line = line.trim_end();
                if line.is_empty() {
                    break;
                }
                match line.split_once(": ") {
                    Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                        length = value.parse().unwrap();
                    }
                    Some((name, value)) if name.eq_ignore_ascii_case("x-amz-target") => {
                        action = value.trim_start_matches("AWSStepFunctions.").to_owned();
                    }
                    _ => {}
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            let request: Value = serde_json::from_slice(&body)?;
            let (status, answer) = match self.answer(&action, &request) {
                Some(answer) => ("200 OK", answer),
                None => (
                    "400 Bad Request",
                    json!({"__type": "ExecutionDoesNotExist"}),
                ),
            };
            let answer = answer.to_string();
            write!(
                &stream,
                "HTTP/1.1 {status}\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: {}\r\n\r\n{answer}",
                answer.len()
            )?;
        }
    }

    fn answer(self: &Arc<Self>, action: &str, request: &Value) -> Option<Value> {
        let text = |field: &str| request[field].as_str().unwrap_or_default();
        Some(match action {
            "ListStateMachines" => json!({"stateMachines": [{
                "stateMachineArn": MACHINE, "name": "shoal", "type": "STANDARD", "creationDate": 1.0,
            }]}),
            "StartExecution" => {
                assert_eq!(text("stateMachineArn"), MACHINE);
                let input = serde_json::from_str(text("input")).unwrap();
                json!({"executionArn": self.start_execution(text("name"), input), "startDate": 1.0})
            }
            "DescribeExecution" => match self.execution(text("executionArn")) {
                Some(execution) => describe(&execution.arn, lock(&execution.state).ended),
                None => self.describe_child(text("executionArn"))?,
            },
            "StopExecution" => {
                let execution = self.execution(text("executionArn"))?;
                execution.stopped.store(true, Ordering::Relaxed);
                json!({"stopDate": 2.0})
            }
            "ListMapRuns" => {
                let arn = self.execution(text("executionArn"))?.arn.clone();
                json!({"mapRuns": [{
                    "executionArn": arn, "mapRunArn": arn, "stateMachineArn": MACHINE, "startDate": 1.0,
                }]})
            }
            "DescribeMapRun" => {
                let state = lock(&self.execution(text("mapRunArn"))?.state).clone();
                let failed = state.failures.len();
                let counts = json!({
                    "pending": state.total - state.succeeded - failed, "running": 0, "succeeded": state.succeeded,
                    "failed": failed, "timedOut": 0, "aborted": 0, "total": state.total, "resultsWritten": 0,
                });
                json!({
                    "mapRunArn": text("mapRunArn"), "executionArn": text("mapRunArn"), "status": "RUNNING",
                    "startDate": 1.0, "maxConcurrency": CHILDREN, "toleratedFailurePercentage": 0.0,
                    "toleratedFailureCount": 0, "itemCounts": counts.clone(), "executionCounts": counts,
                })
            }
            "ListExecutions" => {
                let execution = self.execution(text("mapRunArn"))?;
                let failures = lock(&execution.state).failures.len().min(1);
                let children = (0..failures).map(|number| {
                    json!({
                        "executionArn": format!("{}/{number}", execution.arn), "stateMachineArn": MACHINE,
                        "name": number.to_string(), "status": "FAILED", "startDate": 1.0,
                    })
                });
                json!({"executions": children.collect::<Vec<_>>()})
            }
            other => panic!("unexpected call of {other}"),
        })
    }

    fn execution(&self, arn: &str) -> Option<Arc<Execution>> {
        let executions = lock(&self.executions);
        executions.iter().find(|e| e.arn == arn).cloned()
    }

    fn describe_child(&self, arn: &str) -> Option<Value> {
        let (execution, number) = arn.rsplit_once('/')?;
        let execution = self.execution(execution)?;
        let child = lock(&execution.state)
            .failures
            .get(number.parse::<usize>().ok()?)?
            .clone();
        let mut described = describe(arn, Some("FAILED"));
        described["input"] = child.input.into();
        described["error"] = child.error.into();
        described["cause"] = child.cause.into();
        Some(described)
    }

    fn start_execution(self: &Arc<Self>, name: &str, input: Value) -> String {
        let arn = format!("arn:aws:states:us-east-1:000000000000:execution:shoal:{name}");
        assert_eq!(input["bucket"], "lake");
        let key = input["manifest"].as_str().unwrap();
        let manifest = self
            .run
            .get(key.strip_prefix("run/").unwrap())
            .unwrap()
            .unwrap();
        let lines: Vec<String> = manifest.lines().map(Result::unwrap).collect();
        let share = input["tolerated"].as_f64().unwrap();
        let execution = Arc::new(Execution {
            arn: arn.clone(),
            tolerated: (share / 100.0 * lines.len() as f64).floor() as usize,
            state: Mutex::new(State {
                total: lines.len(),
                ..State::default()
            }),
            ..Execution::default()
        });
        lock(&self.executions).push(execution.clone());
        let served = self.clone();
        let thread = std::thread::spawn(move || served.map(&execution, lines));
        lock(&self.threads).push(thread);
        arn
    }

    /// The Distributed Map. It stops when more children have failed than are tolerated.
    fn map(&self, execution: &Execution, lines: Vec<String>) {
        let lines = Mutex::new(lines.into_iter());
        std::thread::scope(|scope| {
            for _ in 0..CHILDREN {
                scope.spawn(|| {
                    loop {
                        let is_over = execution.stopped.load(Ordering::Relaxed)
                            || lock(&execution.state).failures.len() > execution.tolerated;
                        let next = lock(&lines).next();
                        let Some(line) = next.filter(|_| !is_over) else {
                            return;
                        };
                        match self.child(&line) {
                            Ok(()) => lock(&execution.state).succeeded += 1,
                            Err((error, cause)) => lock(&execution.state).failures.push(Child {
                                input: line,
                                error,
                                cause,
                            }),
                        }
                    }
                });
            }
        });
        let mut state = lock(&execution.state);
        state.ended = Some(if state.failures.len() > execution.tolerated {
            "FAILED"
        } else if execution.stopped.load(Ordering::Relaxed) {
            "ABORTED"
        } else {
            "SUCCEEDED"
        });
    }

    /// The states Work, Finished and Rest, until the batch is finished.
    fn child(&self, line: &str) -> Result<(), (String, String)> {
        let mut invocation: Invocation = serde_json::from_str(line).unwrap();
        let mut attempt = 1;
        loop {
            // Step Functions itself retries with an unchanged payload.
            match self.function.act(&Invocation {
                attempt,
                ..invocation.clone()
            }) {
                Act::Answer(result) => match *result {
                    Ok(receipt) => match Reply::new(&invocation, receipt).again {
                        None => return Ok(()),
                        Some(rest) => (invocation, attempt) = (rest, 1),
                    },
                    Err(failure) => {
                        let error = failure.kind.error_type();
                        if failure.kind.remedy() == Remedy::Stop
                            || failure.kind == FailureKind::Cancelled
                            || attempt == ATTEMPTS
                        {
                            let cause = json!({"errorType": error, "errorMessage": failure.reason});
                            return Err((error.to_owned(), cause.to_string()));
                        }
                        attempt += 1;
                    }
                },
                // A separate rule retries it, which does not count as an attempt.
                Act::Throttle => {}
                Act::Crash if attempt < ATTEMPTS => attempt += 1,
                Act::Hang if attempt < ATTEMPTS => attempt += 1,
                Act::Crash => return Err(("Runtime.ExitError".into(), "exit status 1".into())),
                Act::Hang => return Err(("Sandbox.Timedout".into(), "Task timed out".into())),
            }
        }
    }
}

fn describe(arn: &str, ended: Option<&str>) -> Value {
    json!({
        "executionArn": arn, "stateMachineArn": MACHINE, "startDate": 1.0, "status": ended.unwrap_or("RUNNING"),
    })
}
