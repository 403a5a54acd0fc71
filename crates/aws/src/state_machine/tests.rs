use std::collections::BTreeSet;
use std::result::Result;

use super::*;

/// The size of a definition in bytes. Step Functions quotas, *Request size*.
const MAX_DEFINITION_BYTES: usize = 1024 * 1024;

/// The fields that a state of this type may have in a JSONPath state machine.
fn allowed(kind: &str) -> &'static [&'static str] {
    match kind {
        "Task" => &[
            "Type",
            "Resource",
            "Parameters",
            "TimeoutSeconds",
            "Retry",
            "InputPath",
            "OutputPath",
            "Next",
            "End",
        ],
        "Choice" => &["Type", "Choices", "Default"],
        "Pass" => &["Type", "InputPath", "Result", "Next", "End"],
        "Succeed" => &["Type"],
        "Map" => &[
            "Type",
            "Label",
            "ItemReader",
            "MaxConcurrencyPath",
            "ToleratedFailurePercentagePath",
            "ItemProcessor",
            "ResultWriter",
            "Next",
            "End",
        ],
        other => panic!("a state of type {other}"),
    }
}

/// The possible successors of a state.
fn targets(state: &Value) -> Vec<&str> {
    let choices = state["Choices"].as_array().into_iter().flatten();
    let ends = [&state["Next"], &state["Default"]];
    choices
        .map(|choice| &choice["Next"])
        .chain(ends)
        .filter_map(Value::as_str)
        .collect()
}

fn is_terminal(state: &Value) -> bool {
    state["End"] == true || state["Type"] == "Succeed"
}

/// Validates a state machine or a map's processor by the rules of the Amazon States Language. Returns the number of states.
fn validate(machine: &Value) -> Result<usize, String> {
    let states = machine["States"].as_object().ok_or("no states")?;
    let start = machine["StartAt"].as_str().ok_or("no start")?;
    let mut count = 0;
    for (name, state) in states {
        let fail = |what: &str| Err(format!("{name}: {what}"));
        if name.len() > 80 {
            return fail("the name is too long");
        }
        let kind = state["Type"].as_str().ok_or("no type")?;
        for field in state.as_object().ok_or("no object")?.keys() {
            if !allowed(kind).contains(&field.as_str()) {
                return fail(&format!("{kind} has no field {field}"));
            }
        }
        let exits = usize::from(state["Next"].is_string()) + usize::from(state["End"] == true);
        if matches!(kind, "Task" | "Pass" | "Map") && exits != 1 {
            return fail("it needs either Next or End");
        }
        if let Some(missing) = targets(state).iter().find(|t| !states.contains_key(**t)) {
            return fail(&format!("state {missing} does not exist"));
        }
        if kind == "Map" {
            if state["Label"].as_str().is_none_or(|label| label.len() > 40) {
                return fail("the label is missing or too long");
            }
            count += validate(&state["ItemProcessor"])?;
        }
        count += 1;
    }
    // Every state is reachable, and an end is reachable from every state.
    let mut reached = BTreeSet::new();
    let mut open = vec![start];
    while let Some(name) = open.pop() {
        let state = states
            .get(name)
            .ok_or(format!("state {name} does not exist"))?;
        if reached.insert(name) {
            open.extend(targets(state));
        }
    }
    if reached.len() != states.len() {
        return Err(format!("only {reached:?} are reachable"));
    }
    let mut ending: BTreeSet<_> = BTreeSet::new();
    loop {
        let before = ending.len();
        for (name, state) in states {
            if is_terminal(state) || targets(state).iter().any(|t| ending.contains(*t)) {
                ending.insert(name.as_str());
            }
        }
        if ending.len() == before {
            break;
        }
    }
    if ending.len() != states.len() {
        return Err(format!("only {ending:?} reach an end"));
    }
    Ok(count)
}

#[test]
fn the_definition_is_valid() {
    for timeout in [1, 900] {
        let definition = definition(
            "arn:aws:lambda:us-east-1:123456789012:function:shoal",
            timeout,
        );
        assert_eq!(validate(&definition), Ok(3 + 2 * 4));
        assert!(definition.to_string().len() <= MAX_DEFINITION_BYTES);
    }
}

#[test]
fn the_validator_finds_errors() {
    let break_it = |pointer: &str, value: Value| {
        let mut machine = definition("f", 900);
        *machine.pointer_mut(pointer).unwrap() = value;
        validate(&machine).unwrap_err()
    };
    let work = "/States/Express/ItemProcessor/States/Work";
    assert!(break_it("/StartAt", json!("Nowhere")).contains("Nowhere"));
    assert!(break_it("/States/Children/Default", json!("Expres")).contains("Expres"));
    assert!(break_it(&format!("{work}/Next"), json!(null)).contains("Next or End"));
    assert!(break_it(&format!("{work}/Next"), json!("Work")).contains("reachable"));
    assert!(break_it("/States/Express/End", json!(false)).contains("Next or End"));
    let done = "/States/Express/ItemProcessor/States/Done";
    let pass = json!({ "Type": "Pass", "Next": "Done" });
    assert!(break_it(done, pass).contains("reach an end"));
    let misspelt = json!({ "Type": "Succeed", "OutputPath": null });
    assert!(break_it(done, misspelt).contains("no field OutputPath"));
}

#[test]
fn both_maps_differ_only_in_their_type() {
    let text = |name: &str| {
        let definition = definition("f", 200);
        definition["States"][name].to_string()
    };
    let express = text("Express");
    assert_eq!(
        text("Standard")
            .replace("STANDARD", "EXPRESS")
            .replace("standard", "express"),
        express
    );
}

#[test]
fn the_task_timeout_is_within_the_execution_time_limit() {
    let task = |name: &str| {
        definition("f", 900)["States"][name]["ItemProcessor"]["States"]["Work"]["TimeoutSeconds"]
            .clone()
    };
    assert_eq!(task("Standard"), 930);
    assert_eq!(task("Express"), 300);
}

#[test]
fn only_transient_errors_are_retried() {
    let definition = definition("f", 900);
    let retry = &definition["States"]["Standard"]["ItemProcessor"]["States"]["Work"]["Retry"];
    let attempts = |error: &str| {
        let rules = retry.as_array().unwrap();
        let mut rules = rules.iter().filter(|rule| {
            rule["ErrorEquals"]
                .as_array()
                .unwrap()
                .contains(&json!(error))
        });
        let attempts = rules
            .next()
            .map(|rule| rule["MaxAttempts"].as_u64().unwrap());
        assert!(rules.next().is_none(), "{error} is listed twice");
        attempts
    };
    assert_eq!(attempts("Lambda.TooManyRequestsException"), Some(30));
    for error in [
        "Shoal.Retryable",
        "Shoal.Crashed",
        "Shoal.TimedOut",
        "Runtime.ExitError",
    ] {
        assert_eq!(attempts(error), Some(2), "{error}");
    }
    for error in [
        "Shoal.Input",
        "Shoal.Storage",
        "Shoal.Model",
        "States.ALL",
        "States.TaskFailed",
    ] {
        assert_eq!(attempts(error), None, "{error}");
    }
}

#[test]
fn inputs_have_the_fields_that_the_definition_reads() {
    let input = Input {
        bucket: "b".into(),
        manifest: "m".into(),
        results: "r".into(),
        children: Children::Express,
        concurrency: 5,
        tolerated: 100.0,
    };
    let input: Value = serde_json::from_str(&input.json()).unwrap();
    assert_eq!(input["children"], "EXPRESS");
    let text = definition("f", 900)["States"]["Express"].to_string();
    for path in ["bucket", "manifest", "results", "concurrency", "tolerated"] {
        assert!(text.contains(&format!("\"$.{path}\"")), "{path}");
        assert!(input.get(path).is_some(), "{path}");
    }
}

#[test]
fn inputs_beyond_the_limits_are_refused() {
    let input = Input {
        bucket: "b".into(),
        manifest: "shoal/runs/r/manifest/1.jsonl".into(),
        results: "shoal/runs/r/map/1".into(),
        children: Children::Express,
        concurrency: 10_000,
        tolerated: 100.0,
    };
    let with = |change: &dyn Fn(&mut Input)| {
        let mut input = input.clone();
        change(&mut input);
        input.check().map_err(|e| e.to_string())
    };
    input.check().unwrap();
    for concurrency in [0, 10_001] {
        let error = with(&|input| input.concurrency = concurrency).unwrap_err();
        assert!(error.contains("1 to 10000"), "{error}");
    }
    for tolerated in [-0.1, 100.1, f64::NAN] {
        let error = with(&|input| input.tolerated = tolerated).unwrap_err();
        assert!(error.contains("tolerated"), "{error}");
    }
    let room = STATE_BYTES - input.json().len() + input.manifest.len();
    with(&|input| input.manifest = "m".repeat(room)).unwrap();
    let error = with(&|input| input.manifest = "m".repeat(room + 1)).unwrap_err();
    assert!(error.contains("262145 bytes"), "{error}");
}

#[test]
fn long_batches_get_standard_children() {
    assert_eq!(Children::for_batches_of(0.0), Children::Express);
    assert_eq!(Children::for_batches_of(100.0), Children::Express);
    assert_eq!(Children::for_batches_of(100.1), Children::Standard);
    // Unknown: the type without a time limit.
    assert_eq!(Children::for_batches_of(f64::NAN), Children::Standard);
}
