use super::fixture::plan;
use super::*;

fn circles(html: &str, class: &str) -> usize {
    html.matches(&format!("class=\"{class}\"")).count()
}

#[test]
fn the_page_marks_the_choice_in_each_figure() {
    // The deadline leaves functions of 1,769 MB in batches of 50.
    let plan = plan(Some(10.0));
    let chosen = plan.chosen().unwrap();
    assert_eq!((chosen.memory_mb, chosen.batch_size), (Some(1_769), 50));
    let html = PlanReport::of(&plan).html();
    crate::html::tests::check(&html);
    // A panel over all candidates, two over batch size, two over memory; each wide and narrow.
    assert_eq!(circles(&html, "s-mark"), 2 * 5);
    assert!(
        html.contains("5.10 s to 6.00 s"),
        "the range of cold starts"
    );
    assert!(html.contains("Lambda allows 900 s"));
}

#[test]
fn a_choice_without_memory_is_not_marked_over_memory() {
    let plan = plan(None);
    assert_eq!(plan.chosen().unwrap().place, "local");
    let html = PlanReport::of(&plan).html();
    crate::html::tests::check(&html);
    assert_eq!(circles(&html, "s-mark"), 2 * 3);
    assert!(html.contains("The choice is not among them."));
}

#[test]
fn a_plan_in_which_nothing_fits_says_so() {
    let plan = plan(Some(1.0));
    let html = PlanReport::of(&plan).html();
    crate::html::tests::check(&html);
    assert_eq!(circles(&html, "s-mark"), 0);
    let text = PlanReport::of(&plan).markdown();
    assert!(
        text.contains("Nothing fits: no candidate finishes within 1.0 s"),
        "{text}"
    );
}

#[test]
fn data_has_every_candidate() {
    let plan = plan(Some(10.0));
    let csv = PlanReport::of(&plan).csv();
    assert_eq!(csv.lines().count(), 1 + plan.estimates.len());
    let chosen: Vec<&str> = csv.lines().filter(|line| line.contains(",true,")).collect();
    assert!(
        chosen
            .iter()
            .any(|line| line.starts_with("lambda,x86_64,1769,50,")),
        "{csv}"
    );
    let json: serde_json::Value = serde_json::from_str(&PlanReport::of(&plan).json()).unwrap();
    assert_eq!(json["choice"]["index"], plan.choice.index.unwrap());
}
