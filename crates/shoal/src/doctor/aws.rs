//! AWS: credentials, the function, its permissions and concurrency, the state machine.

use shoal_aws::{Account, DeployedFunction};

use super::Check;
use crate::Setting;
use crate::backend::{BackendConfig, aws_config};
use crate::error::ExitCode;

const ABOUT: &str = "aws";
const CREDENTIALS: &str = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE (`aws sso login` renews it), and AWS_REGION; \
                           an error that names the signature's time means this machine's clock";

pub(super) fn look(backend: &BackendConfig, checks: &mut Vec<Check>) {
    let failed = |name: &str, error: &dyn std::fmt::Display, fix: &str| {
        Check::ok(ABOUT, name, error.to_string()).failed(ExitCode::Platform, fix)
    };
    let account = aws_config()
        .map_err(|e| e.to_string())
        .and_then(|config| Account::new(config).map_err(|e| e.to_string()));
    let account = match account {
        Ok(account) => account,
        Err(error) => return checks.push(failed("credentials", &error, CREDENTIALS)),
    };
    match account.caller() {
        Ok(caller) => checks.push(Check::ok(
            ABOUT,
            "credentials",
            format!("{} in {}", caller.arn, account.region()),
        )),
        // Without credentials, nothing else can be checked.
        Err(error) => return checks.push(failed("credentials", &error, CREDENTIALS)),
    }
    let Some(name) = backend.function() else {
        return;
    };
    let named = format!("function {name}");
    match account.function(name) {
        Ok(function) => of_function(&named, &function, backend, checks),
        Err(error) => {
            // A function that is missing cannot be called.
            let fix = "create it (`shoal deploy aws`), name another one, or allow lambda:GetFunctionConfiguration";
            return checks.push(failed(&named, &error, fix).by(Setting::Function));
        }
    }
    if let BackendConfig::Lambda(_) = backend {
        checks.push(match account.may_invoke(name) {
            Ok(()) => Check::ok(ABOUT, "permission", "the function may be called (dry run)"),
            Err(error) => failed(
                "permission",
                &error,
                "allow lambda:InvokeFunction on the function",
            ),
        });
    }
    concurrency(&account, name, backend, checks);
    if let BackendConfig::StepFunctions(steps) = backend {
        let machine = steps.state_machine();
        checks.push(match account.state_machine(machine) {
            Ok(arn) => Check::ok(ABOUT, "state machine", arn),
            Err(error) => failed(
                "state machine",
                &error,
                "create it (`shoal deploy aws`), name another one, or allow states:ListStateMachines and \
                 states:DescribeStateMachine",
            )
            .by(Setting::StateMachine),
        });
    }
}

fn of_function(
    name: &str,
    function: &DeployedFunction,
    backend: &BackendConfig,
    checks: &mut Vec<Check>,
) {
    let found = format!(
        "{} MB, {} s, {}",
        function.memory_mb, function.timeout_seconds, function.architecture
    );
    let check = Check::ok(ABOUT, name, found);
    checks.push(match &function.trouble {
        None => check,
        Some(trouble) => Check {
            found: format!("{}; {trouble}", check.found),
            ..check
        }
        .failed(
            ExitCode::Platform,
            "deploy it again (`shoal deploy aws`), or wait until it is active",
        ),
    });
    checks.push(version(function));
    let limit = function.timeout_seconds;
    let wanted = backend.given_timeout().map(|timeout| timeout.as_secs());
    if let Some(wanted) = wanted.filter(|wanted| *wanted > limit) {
        let found =
            format!("calls may take {wanted} s, but the platform ends them after {limit} s");
        let check = Check::ok(ABOUT, "timeout", found)
            .warning("lower the time limit of a call, or deploy the function with a higher one");
        checks.push(check.by(Setting::Timeout));
    }
}

fn version(function: &DeployedFunction) -> Check {
    match function.shoal.as_deref() {
        Some(version) if version == crate::VERSION => {
            Check::ok(ABOUT, "version", format!("shoal {version}"))
        }
        Some(version) => Check::ok(ABOUT, "version", format!("shoal {version}")).warning(format!(
            "this is shoal {}: results are bit-identical within one version only; deploy it again (`shoal deploy aws`)",
            crate::VERSION
        )),
        None => Check::ok(ABOUT, "version", "the function does not report its version of shoal").warning(
            "deploy it again (`shoal deploy aws`), so that it has this version",
        ),
    }
}

/// The platform's limit of concurrent calls, as far as it can be read.
fn concurrency(account: &Account, name: &str, backend: &BackendConfig, checks: &mut Vec<Check>) {
    let wanted = backend.calls_in_flight();
    let (limit, found) = match (account.reserved(name), account.quota()) {
        (Ok(Some(reserved)), _) => (
            reserved,
            format!("{reserved} calls are reserved for the function"),
        ),
        (_, Ok(Some(quota))) => (
            quota.unreserved,
            format!(
                "{} of the account's {} calls at a time are free for it",
                quota.unreserved, quota.concurrent
            ),
        ),
        (Err(error), _) | (_, Err(error)) => {
            let check = Check::ok(ABOUT, "concurrency", format!("not known: {error}"));
            return checks.push(check);
        }
        (Ok(None), Ok(None)) => {
            let check = Check::ok(
                ABOUT,
                "concurrency",
                "the platform does not report its limits",
            );
            return checks.push(check);
        }
    };
    let check = Check::ok(ABOUT, "concurrency", found);
    checks.push(if limit == 0 {
        check.failed(
            ExitCode::Platform,
            "the function accepts no call: deploy it with a higher reserved concurrency",
        )
    } else if wanted > limit as usize {
        check
            .warning(format!(
                "{wanted} calls are wanted, and those beyond the limit are throttled and wait; lower the concurrency to \
                 {limit}, or raise the limit"
            ))
            .by(Setting::Concurrency)
    } else {
        check
    });
}
