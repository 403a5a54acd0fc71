//! Checks of an AWS account before a run: credentials, the function, its concurrency.

use std::fmt::Display;

use shoal_aws::{Account, DeployedFunction};

use super::aws::config;
use crate::doctor::Check;
use crate::error::ExitCode;
use crate::{Setting, credentials};

const AWS: &str = "aws";
const CLOCK: &str = "an error that names the signature's time means this machine's clock";

/// Adds the checks of `function`, including `specific` ones of the backend. `timeout` is the user's time limit of a call.
pub(super) fn diagnose(
    function: &str,
    concurrency: usize,
    timeout: Option<u64>,
    checks: &mut Vec<Check>,
    specific: impl FnOnce(&Account) -> Check,
) {
    let account = config()
        .map_err(|e| e.to_string())
        .and_then(|config| Account::new(&config).map_err(|e| e.to_string()));
    let caller = account.and_then(|account| {
        let caller = account.caller().map_err(|e| e.to_string())?;
        Ok((format!("{} in {}", caller.arn, account.region()), account))
    });
    let account = match caller {
        Ok((caller, account)) => {
            checks.push(Check::ok(AWS, "credentials", caller));
            account
        }
        // Nothing else can be checked without credentials.
        Err(error) => {
            let fix = format!("{}; {CLOCK}", credentials::SET);
            return checks.push(check("credentials", Err(error), &fix));
        }
    };
    let name = format!("function {function}");
    match account.function(function) {
        Ok(deployed) => add_function(&name, &deployed, timeout, checks),
        Err(error) => {
            let fix = "create it (`shoal deploy aws`), name another one, or allow lambda:GetFunctionConfiguration";
            return checks.push(check(&name, Err(error), fix).by(Setting::Function));
        }
    }
    checks.push(specific(&account));
    checks.push(check_concurrency(&account, function, concurrency));
}

/// A check that failed if `found` is an error.
pub(super) fn check<E: Display>(name: &str, found: Result<String, E>, fix: &str) -> Check {
    match found {
        Ok(found) => Check::ok(AWS, name, found),
        Err(error) => Check::ok(AWS, name, error.to_string()).failed(ExitCode::Platform, fix),
    }
}

fn add_function(
    name: &str,
    function: &DeployedFunction,
    timeout: Option<u64>,
    checks: &mut Vec<Check>,
) {
    let limit = function.timeout_seconds;
    let found = format!(
        "{} MB, {limit} s, {}",
        function.sizing.memory_mb, function.sizing.architecture
    );
    let found = match &function.trouble {
        None => Ok(found),
        Some(trouble) => Err(format!("{found}; {trouble}")),
    };
    let fix = "deploy it again (`shoal deploy aws`), or wait until it is active";
    checks.push(check(name, found, fix));
    checks.push(match &function.shoal {
        Some(version) => Check::version(AWS, version, "deploy it again (`shoal deploy aws`)"),
        None => Check::ok(
            AWS,
            "version",
            "the function does not report its version of shoal",
        )
        .warning("deploy it again with this version (`shoal deploy aws`)"),
    });
    if let Some(timeout) = timeout.filter(|timeout| *timeout > limit) {
        let found =
            format!("calls may take {timeout} s, but the platform ends them after {limit} s");
        let fix = "lower the time limit of a call, or deploy the function with a higher one";
        checks.push(
            Check::ok(AWS, "timeout", found)
                .warning(fix)
                .by(Setting::Timeout),
        );
    }
}

/// The platform's limit of concurrent calls, as far as it can be read.
fn check_concurrency(account: &Account, function: &str, concurrency: usize) -> Check {
    let (limit, found) = match (account.reserved(function), account.quota()) {
        (Ok(Some(reserved)), _) => {
            let found = format!("{reserved} concurrent calls are reserved for the function");
            (Some(reserved), found)
        }
        (_, Ok(Some(quota))) => {
            let found = format!(
                "{} of the account's {} concurrent calls are available to it",
                quota.unreserved, quota.concurrent
            );
            (Some(quota.unreserved), found)
        }
        (Err(error), _) | (_, Err(error)) => (None, format!("unknown: {error}")),
        (Ok(None), Ok(None)) => (None, "the platform does not report its limits".to_owned()),
    };
    let check = Check::ok(AWS, "concurrency", found);
    match limit {
        Some(0) => check.failed(
            ExitCode::Platform,
            "the function accepts no calls: deploy it with a higher reserved concurrency",
        ),
        Some(limit) if concurrency > limit as usize => check
            .warning(format!(
                "the run makes up to {concurrency} concurrent calls, and the platform throttles those above the limit; \
                 lower the concurrency to {limit}, or raise the limit"
            ))
            .by(Setting::Concurrency),
        _ => check,
    }
}
