use super::*;

#[test]
fn tasks_have_the_aliases_of_hugging_face() {
    for (name, kind) in [
        ("classify", TaskKind::Classify),
        ("text-classification", TaskKind::Classify),
        ("sentiment-analysis", TaskKind::Classify),
        ("embed", TaskKind::Embed),
        ("feature-extraction", TaskKind::Embed),
        ("sentence-similarity", TaskKind::Embed),
    ] {
        assert_eq!(name.parse(), Ok(kind));
    }
    let error = "translation".parse::<TaskKind>().unwrap_err();
    assert!(
        error.contains("classify") && error.contains("embed"),
        "{error}"
    );
}

#[test]
fn options_of_another_task_are_refused() {
    let options = TaskOptions {
        classify: classify::Options {
            scores: true,
            ..classify::Options::default()
        },
        ..TaskOptions::default()
    };
    assert_eq!(options.check(TaskKind::Classify), Ok(()));
    let error = options.check(TaskKind::Embed).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the option scores has no effect on the task embed"
    );
}

#[test]
fn options_are_read_from_a_job() {
    let spec = serde_json::json!({
        "name": "classify", "threshold": 0.3, "labels": ["a", "b"],
    });
    let options = TaskOptions {
        kind: Some(TaskKind::Classify),
        classify: classify::Options {
            threshold: Some(0.3),
            ..classify::Options::default()
        },
        ..TaskOptions::default()
    };
    let Value::Object(spec) = spec else {
        unreachable!("it is an object");
    };
    assert_eq!(TaskOptions::from_spec(&spec).unwrap(), options);
}
