//! AWS: credentials, the function, what may be done with it and how often, the state machine.

use shoal_aws::{Account, DeployedFunction};

use super::Check;
use crate::error::ExitCode;
use crate::{BackendKind, Settings, backend};

const ABOUT: &str = "aws";
const CREDENTIALS: &str = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE (`aws sso login` renews it), and AWS_REGION; \
                           an error that names the signature's time means this machine's clock";

pub(super) fn look(settings: &Settings, checks: &mut Vec<Check>) {
    let failed = |name: &str, error: &dyn std::fmt::Display, fix: &str| {
        Check::ok(ABOUT, name, error.to_string()).failed(ExitCode::Platform, fix)
    };
    let account = backend::aws_config()
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
        // Nothing else is answered to somebody unknown.
        Err(error) => return checks.push(failed("credentials", &error, CREDENTIALS)),
    }
    let name = settings.place.function();
    let named = format!("function {name}");
    match account.function(name) {
        Ok(function) => of_function(&named, &function, settings, checks),
        Err(error) => {
            checks.push(failed(
                &named,
                &error,
                "make it by `shoal deploy aws --store …`, name another by --function, or allow lambda:GetFunctionConfiguration",
            ));
            // What is not there cannot be called.
            return;
        }
    }
    if settings.place.backend == BackendKind::Lambda {
        checks.push(match account.may_invoke(name) {
            Ok(()) => Check::ok(ABOUT, "permission", "the function may be called (dry run)"),
            Err(error) => failed(
                "permission",
                &error,
                "allow lambda:InvokeFunction on the function",
            ),
        });
    }
    concurrency(&account, name, settings, checks);
    if settings.place.backend == BackendKind::StepFunctions {
        let machine = settings.place.state_machine.as_deref().unwrap_or(name);
        checks.push(match account.state_machine(machine) {
            Ok(arn) => Check::ok(ABOUT, "state machine", arn),
            Err(error) => failed(
                "state machine",
                &error,
                "make it by `shoal deploy aws --state-machine`, name another by --state-machine, or allow \
                 states:ListStateMachines and states:DescribeStateMachine",
            ),
        });
    }
}

fn of_function(
    name: &str,
    function: &DeployedFunction,
    settings: &Settings,
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
    if let Some(wanted) = settings.place.timeout_seconds
        && wanted > function.timeout_seconds
    {
        let found = format!(
            "--timeout {wanted}, and the platform ends calls after {} s",
            function.timeout_seconds
        );
        checks.push(Check::ok(ABOUT, "timeout", found).warning(
            "lower --timeout, or deploy the function with a longer one (`shoal deploy aws --timeout`)",
        ));
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
        None => Check::ok(ABOUT, "version", "the function does not tell which shoal it is").warning(
            "deploy it again (`shoal deploy aws`), so that it is of this version",
        ),
    }
}

/// What the platform lets run at a time, as far as it may be asked.
fn concurrency(account: &Account, name: &str, settings: &Settings, checks: &mut Vec<Check>) {
    let wanted = settings.place.concurrency();
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
            let check = Check::ok(ABOUT, "concurrency", format!("not told: {error}"));
            return checks.push(check);
        }
        (Ok(None), Ok(None)) => {
            let check = Check::ok(
                ABOUT,
                "concurrency",
                "the platform does not tell its limits",
            );
            return checks.push(check);
        }
    };
    let check = Check::ok(ABOUT, "concurrency", found);
    checks.push(if limit == 0 {
        check.failed(
            ExitCode::Platform,
            "no call is taken: raise the function's reserved concurrency (`shoal deploy aws --reserved-concurrency`)",
        )
    } else if wanted > limit as usize {
        check.warning(format!(
            "{wanted} are asked for, and those beyond are throttled and wait; say --concurrency {limit}, or raise the limit"
        ))
    } else {
        check
    });
}
