//! Invalid scenarios are refused with an error that names the invalid setting.

use shoal_estimate::simulate::{
    Failures, Ramp, Scenario, ScenarioError, Speculation, Stragglers, simulate,
};

fn base() -> Scenario {
    Scenario {
        batches: 1,
        ..Scenario::default()
    }
}

fn error(scenario: Scenario) -> String {
    let result = simulate(&scenario, |_| 1.0, |_| {});
    result.expect_err("the scenario is invalid").to_string()
}

#[test]
fn settings_out_of_range_are_named() {
    let stragglers = |share, factor| Scenario {
        stragglers: Stragglers { share, factor },
        ..base()
    };
    let failures = |share, attempts| Scenario {
        failures: Failures {
            share,
            attempts,
            ..Failures::default()
        },
        ..base()
    };
    let ramp = |start, step, every_seconds| Scenario {
        ramp: Some(Ramp {
            start,
            step,
            every_seconds,
        }),
        ..base()
    };
    let speculation = |factor, least_seconds, budget| Scenario {
        speculation: Some(Speculation {
            factor,
            least_seconds,
            budget,
            ..Speculation::default()
        }),
        ..base()
    };
    for (scenario, field) in [
        (
            Scenario {
                environments: 0,
                ..base()
            },
            "environments is 0",
        ),
        (
            Scenario {
                call_seconds: f64::NAN,
                ..base()
            },
            "call_seconds is NaN",
        ),
        (
            Scenario {
                setup_seconds: -1.0,
                ..base()
            },
            "setup_seconds is -1",
        ),
        (
            Scenario {
                client_seconds: f64::INFINITY,
                ..base()
            },
            "client_seconds is inf",
        ),
        (
            Scenario {
                starts_per_second: Some(0.0),
                ..base()
            },
            "starts_per_second is 0",
        ),
        (
            Scenario {
                timeout_seconds: Some(0.0),
                ..base()
            },
            "timeout_seconds is 0",
        ),
        (
            Scenario {
                billing_step_ms: -0.5,
                ..base()
            },
            "billing_step_ms is -0.5",
        ),
        (stragglers(1.5, 2.0), "stragglers.share is 1.5"),
        (stragglers(0.5, 0.5), "stragglers.factor is 0.5"),
        (failures(f64::NAN, 3), "failures.share is NaN"),
        (failures(0.1, 0), "failures.attempts is 0"),
        (speculation(0.5, 1.0, 0.1), "speculation.factor is 0.5"),
        (
            speculation(3.0, -1.0, 0.1),
            "speculation.least_seconds is -1",
        ),
        (speculation(3.0, 1.0, f64::NAN), "speculation.budget is NaN"),
        (ramp(0, 1, 1.0), "ramp.start is 0"),
        (ramp(1, 0, 1.0), "ramp.step is 0"),
        (ramp(1, 1, 0.0), "ramp.every_seconds is 0"),
    ] {
        let error = error(scenario);
        assert!(error.contains(field), "{error}");
    }
}

#[test]
fn invalid_batch_times_are_refused() {
    for seconds in [f64::NAN, f64::INFINITY, -1.0] {
        let error = simulate(&base(), |_| seconds, |_| {}).unwrap_err();
        assert!(
            matches!(error, ScenarioError::Work { batch: 0, .. }),
            "{error}"
        );
    }
}

/// Such a simulation would practically never end.
#[test]
fn a_batch_split_into_too_many_invocations_is_refused() {
    let scenario = Scenario {
        timeout_seconds: Some(1e-3),
        ..base()
    };
    let error = simulate(&scenario, |_| 1e18, |_| {}).unwrap_err();
    assert!(error.to_string().contains("more than 1000000"), "{error}");
}

/// If times overflow, the run ends at infinity.
#[test]
fn infinite_times_end_the_run() {
    let scenario = Scenario {
        batches: 3,
        ramp: Some(Ramp {
            start: 1,
            step: 1,
            every_seconds: 1e-300,
        }),
        environments: 2,
        call_seconds: f64::MAX,
        ..Scenario::default()
    };
    let outcome = simulate(&scenario, |_| f64::MAX, |_| {}).unwrap();
    assert_eq!((outcome.seconds, outcome.invocations), (f64::INFINITY, 3));
}
