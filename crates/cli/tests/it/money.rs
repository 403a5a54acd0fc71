//! Time and cost: plans, comparisons, reports and limits.

use serde_json::Value;

use crate::support::{Bench, describe, jsonl, tiny};

fn bench() -> Bench {
    let bench = Bench::new();
    bench.write("input.jsonl", jsonl(400));
    let settings = format!("model = {:?}\nprecision = \"int8\"\n", tiny());
    bench.write("shoal.toml", settings);
    bench
}

fn json(output: &std::process::Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", describe(output)))
}

#[test]
fn a_plan_lists_candidates_and_chooses_one() {
    let bench = bench();
    let plan = |more: &[&str]| {
        let mut args: Vec<String> = vec!["plan".into(), "input.jsonl".into()];
        args.extend(more.iter().map(|word| (*word).to_owned()));
        args
    };
    let saved = plan(&[
        "--json",
        "--save-calibration",
        "here.json",
        "--machine",
        "desk=0.36:2",
    ]);
    let report = json(&bench.ok(saved));
    assert_eq!(report["workload"]["records"], 400);
    assert_eq!(report["workload"]["read"], 400);
    let places: Vec<_> = report["estimates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["place"].as_str().unwrap())
        .collect();
    for place in [
        "local",
        "lambda",
        "step-functions express",
        "step-functions standard",
        "desk",
    ] {
        assert!(places.contains(&place), "{place} is not among {places:?}");
    }
    // This machine costs nothing, so the job stays here.
    let chosen = &report["estimates"][report["choice"]["index"].as_u64().unwrap() as usize];
    assert_eq!(chosen["place"], "local");
    assert_eq!(chosen["bill"]["items"].as_array().unwrap().len(), 0);
    assert_eq!(chosen["basis"], "predicted");
    assert!(!report["assumptions"].as_array().unwrap().is_empty());
    assert_eq!(report["break_even"][0]["machine"], "desk");
    assert!(report["cold_starts"].is_null());

    // A saved calibration always gives the same plan, without a measurement.
    let carried = plan(&[
        "--json",
        "--calibration",
        "here.json",
        "--architecture",
        "x86_64",
        "--backend",
        "lambda",
    ]);
    let (once, again) = (json(&bench.ok(&carried)), json(&bench.ok(&carried)));
    assert_eq!(once, again);
    let chosen = &once["estimates"][once["choice"]["index"].as_u64().unwrap() as usize];
    assert!(
        chosen["bill"]["items"].as_array().unwrap().len() >= 3,
        "{chosen}"
    );
    let [shortest, longest] = [0, 1].map(|end| once["cold_starts"][end]["seconds"].as_f64());
    assert!(shortest < longest, "{}", once["cold_starts"]);
    // The text says which numbers are measured, predicted or assumed, in 80 columns.
    let text = |more: &[&str]| {
        let args = plan(
            &[
                &["--calibration", "here.json", "--machine", "desk=0.36:2"],
                more,
            ]
            .concat(),
        );
        let text = String::from_utf8(bench.ok(args).stdout).unwrap();
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(80), "{text}");
        text
    };
    for (more, words) in [
        (
            &["--backend", "lambda"][..],
            "measured predicted choice million range",
        ),
        (&["--all"], "ONCE standard"),
        (&["--explain"], "assumed tiers"),
    ] {
        let text = text(more);
        for word in words.split(' ') {
            assert!(text.contains(word), "{word} is missing in {text}");
        }
    }
    assert!(text(&[]).contains("--explain lists them"));
    assert!(!text(&[]).contains("are used up"));
    assert!(text(&["--explain"]).contains("are used up"));
}

#[test]
fn a_plan_in_which_nothing_fits_fails_and_says_what_limits() {
    let bench = bench();
    bench.ok(["plan", "input.jsonl", "--save-calibration", "here.json"]);
    let plan = ["plan", "input.jsonl", "--calibration", "here.json"];
    let on_lambda = [
        &plan[..],
        &["--architecture", "x86_64", "--backend", "lambda"],
    ]
    .concat();
    let poor = [&on_lambda[..], &["--max-cost", "0.0000001"]].concat();
    let error = bench.fails(9, &poor);
    assert!(
        error.contains("no candidate costs at most $0.000000100; the cheapest takes"),
        "{error}"
    );
    let output = bench
        .shoal([&poor[..], &["--json"]].concat())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(9));
    assert!(json(&output)["choice"]["index"].is_null());
    let late = [&plan[..], &["--deadline", "0.000001s"]].concat();
    let error = bench.fails(9, late);
    assert!(error.contains("no candidate finishes within"), "{error}");
    let over = ["--concurrency", "5000", "--batch-sizes", "1"];
    let error = bench.fails(9, [&on_lambda[..], &over].concat());
    assert!(error.contains("the account's quota is 1000"), "{error}");
    let all = [&on_lambda[..], &over, &["--all"]].concat();
    let output = bench.shoal(all).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("    exceeds 5000 concurrent"), "{text}");
    let auto = [
        "run",
        "input.jsonl",
        "-o",
        "x.csv",
        "--auto",
        "--max-time",
        "0.000001s",
    ];
    let error = bench.fails(9, auto);
    assert!(error.contains("no candidate finishes within"), "{error}");
}

#[test]
fn a_plan_is_written_in_the_format_of_its_ending() {
    let bench = bench();
    let plan = |output: &'static str| ["plan", "input.jsonl", "--backend", "lambda", "-o", output];
    bench.ok(plan("plan.html"));
    let page = bench.text("plan.html");
    assert!(page.contains("</html>") && !page.contains("<script"));
    assert_eq!(page.matches(">choice</text>").count(), 2 * 5);
    bench.ok(plan("plan.json"));
    let data: Value = serde_json::from_str(&bench.text("plan.json")).unwrap();
    assert_eq!(data["workload"]["records"], 400);
    bench.ok(plan("plan.csv"));
    assert!(
        bench
            .text("plan.csv")
            .starts_with("place,architecture,memory_mb,")
    );
    bench.ok(plan("plan.md"));
    assert!(bench.text("plan.md").starts_with("# Plan input.jsonl"));
    assert!(
        bench
            .fails(2, plan("plan.txt"))
            .contains(".html, .json, .csv or .md")
    );
}

#[test]
fn this_machine_costs_nothing_unless_it_has_a_price() {
    let bench = bench();
    let priced = ["--machine", "local=0.36:2", "--backend", "local", "--json"];
    let report = json(&bench.ok([&["plan", "input.jsonl"][..], &priced].concat()));
    let chosen = &report["estimates"][report["choice"]["index"].as_u64().unwrap() as usize];
    let item = &chosen["bill"]["items"][0];
    let usd = chosen["seconds"].as_f64().unwrap() / 3600.0 * 0.36;
    assert!(
        (item["usd"].as_f64().unwrap() - usd).abs() < 1e-12,
        "{chosen}"
    );
    assert_eq!(report["break_even"].as_array().unwrap().len(), 0);
}

#[test]
fn invalid_plans_are_refused() {
    let bench = bench();
    bench.write("empty.jsonl", "");
    bench.write("broken.json", "{");
    let with = |more: &[&str]| {
        let mut args: Vec<String> = vec!["plan".into()];
        args.extend(more.iter().map(|word| (*word).to_owned()));
        args
    };
    assert!(
        bench
            .fails(2, with(&["input.jsonl", "--deadline", "soon"]))
            .contains("5m")
    );
    assert!(
        bench
            .fails(2, with(&["input.jsonl", "--machine", "spot"]))
            .contains("spot=0.085:4")
    );
    assert!(
        bench
            .fails(2, with(&["input.jsonl", "--backend", "http"]))
            .contains("--machine")
    );
    assert!(
        bench
            .fails(2, with(&["input.jsonl", "--calibration", "broken.json"]))
            .contains("broken.json")
    );
    assert!(
        bench
            .fails(2, with(&["input.jsonl", "--prices", "broken.json"]))
            .contains("broken.json")
    );
    assert!(
        bench
            .fails(2, with(&["input.jsonl", "--max-cost=-1"]))
            .contains("--max-cost")
    );
    bench.fails(3, with(&["nowhere.jsonl"]));
    bench.fails(3, with(&["empty.jsonl"]));
}

#[test]
fn auto_uses_the_choice_and_resumes_with_it() {
    let bench = bench();
    bench.ok(["run", "input.jsonl", "-o", "plain.csv", "--quiet"]);
    let output = bench.ok(["run", "input.jsonl", "-o", "auto.csv", "--auto"]);
    let printed = String::from_utf8(output.stderr).unwrap();
    assert!(
        printed.contains("batches of") && printed.contains("expected to take"),
        "{printed}"
    );
    assert_eq!(bench.read("auto.csv"), bench.read("plain.csv"));
    assert!(
        printed.contains("local, batches of") && printed.contains("(--store)"),
        "{printed}"
    );
    let again = bench.ok(["run", "input.jsonl", "-o", "auto.csv", "--auto"]);
    let printed = String::from_utf8(again.stderr).unwrap();
    assert!(
        printed.contains("resuming in batches of") && printed.contains("finished already"),
        "{printed}"
    );
    let kept = json(&bench.ok([
        "run",
        "input.jsonl",
        "-o",
        "kept.csv",
        "--auto",
        "--batch-size",
        "7",
        "--json",
    ]));
    assert_eq!(kept["batches"], 400_u64.div_ceil(7));
    assert!(
        bench
            .fails(2, ["run", "-", "-o", "x.csv", "--auto"])
            .contains("standard input")
    );
}

/// Runs the command in a pseudo-terminal and answers its question. Returns the exit code and what it printed.
fn in_terminal(bench: &Bench, answer: &str, args: &[&str]) -> (Option<i32>, String) {
    const PROGRAM: &str = "\
import os, pty, sys
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.argv[2], sys.argv[2:])
printed, asked = b'', False
while True:
    try:
        more = os.read(terminal, 4096)
    except OSError:
        break
    if not more:
        break
    printed += more
    if not asked and b'[y/N]' in printed:
        os.write(terminal, sys.argv[1].encode() + b'\\n')
        asked = True
sys.stdout.buffer.write(printed)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
";
    let command = bench.shoal(args);
    let mut python = std::process::Command::new("python3");
    python
        .args(["-c", PROGRAM, answer])
        .arg(command.get_program());
    python.args(command.get_args()).env_clear();
    let variables = command.get_envs();
    python.envs(variables.filter_map(|(name, value)| Some((name, value?))));
    let output = python.current_dir(bench.path(".")).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code(), printed)
}

#[test]
fn auto_asks_on_a_terminal_before_it_starts() {
    let bench = bench();
    let auto = ["run", "input.jsonl", "-o", "auto.csv", "--auto"];
    let (code, printed) = in_terminal(&bench, "n", &auto);
    assert_eq!(code, Some(2), "{printed}");
    assert!(printed.contains("Run it? [y/N]"), "{printed}");
    assert!(!bench.path("auto.csv").exists());
    let (code, printed) = in_terminal(&bench, "y", &auto);
    assert_eq!(code, Some(0), "{printed}");
    assert!(bench.path("auto.csv").exists());
    let agreed = [&auto[..], &["--fresh", "--yes"]].concat();
    let (code, printed) = in_terminal(&bench, "n", &agreed);
    assert_eq!(code, Some(0), "{printed}");
    assert!(!printed.contains("[y/N]"), "{printed}");
}

#[test]
fn time_and_cost_limits_stop_a_run_that_can_be_resumed() {
    let bench = bench();
    bench.write("input.jsonl", jsonl(20_000));
    let mut run = vec![
        "run",
        "input.jsonl",
        "-o",
        "labels.csv",
        "--run-dir",
        "mine",
        "--batch-size",
        "20",
    ];
    bench.ok(["run", "input.jsonl", "-o", "plain.csv", "--quiet"]);
    let late = bench.fails(9, [&run[..], &["--max-time", "0.01s"]].concat());
    assert!(
        late.contains("--max-time") && late.contains("shoal resume"),
        "{late}"
    );
    assert!(!bench.path("labels.csv").exists());
    // At 0.36 USD per hour, a second costs 0.0001 USD, so this limit is reached immediately.
    let poor = ["--machine", "desk=0.36:2", "--max-cost", "0.0000001"];
    assert!(
        bench
            .fails(9, [&run[..], &poor].concat())
            .contains("--max-cost")
    );
    run.extend(["--machine", "desk=0.36:2", "--max-cost", "1000", "--json"]);
    let summary = json(&bench.ok(&run));
    assert_eq!(bench.read("labels.csv"), bench.read("plain.csv"));
    let cost = &summary["cost"];
    assert_eq!(cost["provider"], "desk");
    assert_eq!(cost["items"][0]["basis"], "measured");
    assert!(cost["items"][0]["usd"].as_f64().unwrap() > 0.0);
    assert!(
        bench
            .fails(2, ["run", "input.jsonl", "-o", "x.csv", "--max-cost", "1"])
            .contains("--machine")
    );
    let url = [
        "run",
        "input.jsonl",
        "-o",
        "x.csv",
        "--backend",
        "array",
        "--machine",
        "m=1:1",
    ];
    assert!(bench.fails(2, url).contains("--machine has no effect"));
}

#[test]
fn reports_show_the_recorded_run() {
    let bench = bench();
    bench.write(
        "input.jsonl",
        jsonl(400) + "not json <script>alert(1)</script>\n",
    );
    let run = [
        "run",
        "input.jsonl",
        "-o",
        "labels.csv",
        "--run-dir",
        "mine",
        "--batch-size",
        "50",
        "--json",
    ];
    let summary = json(&bench.ok(run));
    let page = bench.text("mine/report.html");
    assert!(
        summary["report"]
            .as_str()
            .unwrap()
            .ends_with("mine/report.html")
    );
    assert!(page.contains("</html>") && page.contains("401"));
    assert!(
        !page.contains("<script"),
        "input data is escaped on the page"
    );
    let report = |format: &str| {
        String::from_utf8(bench.ok(["report", "mine", "--format", format]).stdout).unwrap()
    };
    let data: Value = serde_json::from_str(&report("json")).unwrap();
    assert_eq!(data["summary"]["records"], 401);
    assert_eq!(data["dead_letters"]["total"], 1);
    assert_eq!(report("csv").lines().count(), 1 + 9);
    assert!(report("markdown").starts_with("# "));
    bench.ok(["report", "mine", "-o", "page.html"]);
    assert_eq!(bench.text("page.html").matches("<h1").count(), 1);
    assert!(
        bench
            .fails(2, ["report", "mine", "--format", "csv", "--open"])
            .contains("--open")
    );
    bench.fails(6, ["report", "no-such-run"]);
    bench.fails(2, ["watch", "mine"]); // standard output is not a terminal
}

#[test]
fn one_function_is_compared_with_many() {
    let bench = bench();
    let mut args: Vec<String> = [
        "compare",
        "input.jsonl",
        "--batch-sizes",
        "40,200",
        "--format",
        "json",
    ]
    .map(str::to_owned)
    .to_vec();
    let measured = json(&bench.ok(&args));
    let rows = measured["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(
        (&rows[0]["batches"], &rows[1]["batches"]),
        (&Value::from(10), &Value::from(2))
    );
    assert_eq!(measured["comparison"]["basis"], "measured");
    assert_eq!(
        measured["comparison"]["rows"][0]["monolithic"]["invocations"],
        10
    );
    args.extend(["--simulate", "--concurrency", "10"].map(str::to_owned));
    let simulated = json(&bench.ok(&args));
    assert_eq!(simulated["comparison"]["basis"], "predicted");
    let row = &simulated["comparison"]["rows"][0];
    assert_eq!(
        (
            &row["monolithic"]["cold_starts"],
            &row["parallel"]["cold_starts"]
        ),
        (&Value::from(1), &Value::from(10))
    );
    assert!(row["parallel"]["seconds"].as_f64() < row["monolithic"]["seconds"].as_f64());
    // Without a format, it is a table; larger batches than the input are one row.
    let output = bench.ok([
        "compare",
        "input.jsonl",
        "--simulate",
        "--batch-sizes",
        "40,400,500,1000",
        "--figures",
        "figures",
    ]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    let rows: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).collect();
    assert_eq!(rows.len(), 1 + 2, "{text}");
    assert!(rows[2].starts_with("≥ 400"), "{text}");
    for word in ["less time", "Monolithic is", "Parallel is", "Efficiency is"] {
        assert!(text.contains(word), "{word} is missing in {text}");
    }
    for figure in ["time", "cost-over-size"] {
        let svg = bench.text(&format!("figures/{figure}.svg"));
        assert!(svg.starts_with("<svg xmlns=") && svg.contains("Simulated: 400 records"));
        assert!(svg.contains("prefers-color-scheme: dark") && !svg.contains("var("));
    }
    // A comparison leaves no runs in the list.
    assert!(
        String::from_utf8(bench.ok(["runs"]).stderr)
            .unwrap()
            .contains("no runs yet")
    );
}
