//! A figure as an SVG file of its own, for pages that show it as an image. It follows the theme of its reader.

use std::fmt::Write;

use crate::page::Figure;
use crate::plot::{Anchor, Drawing, Frame, draw};

const CSS: &str = include_str!("../templates/page.css");

/// Writes a figure with its title, its legend and a note.
pub(crate) fn standalone(figure: &Figure<'_>, note: &str) -> String {
    let frame = Frame::WIDE;
    let drawing = head(figure, frame)
        .above(&(figure.plot)(frame))
        .above(&foot(frame, note));
    let [width, height] = drawing.pixels();
    let (view_box, elements) = (drawing.view_box(), &drawing.elements);
    let (title, description) = (escaped(&figure.title), escaped(&figure.description));
    let style = style(elements);
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="{view_box}" role="img" aria-labelledby="t d">
<title id="t">{title}</title>
<desc id="d">{description} {note}</desc>
<style>
{style}</style>
<rect class="f-page" width="100%" height="100%"/>
{elements}
</svg>
"#,
        note = escaped(note),
    )
}

fn head(figure: &Figure<'_>, frame: Frame) -> Drawing {
    let large = Frame {
        font: frame.font * 1.3,
        ..frame
    };
    let title = draw(large, 34.0, |canvas| {
        canvas.text((2.0, 18.0), Anchor::Start, &figure.title, "strong");
    });
    let legend = draw(frame, 26.0, |canvas| {
        let mut x = 2.0;
        for (class, name) in &figure.legend {
            canvas.bar((x, 4.0), (x + 11.0, 15.0), 1.0, class);
            canvas.text((x + 17.0, 9.5), Anchor::Start, name, "text");
            x += 17.0 + frame.width_of(name) + 22.0;
        }
    });
    title.above(&legend)
}

fn foot(frame: Frame, note: &str) -> Drawing {
    draw(frame, 26.0, |canvas| {
        canvas.text((2.0, 12.0), Anchor::Start, note, "text");
    })
}

/// The rules of the page's style sheet for the classes of `elements`, without variables, which not every program that shows
/// SVG knows: the light theme, and the dark one for readers who prefer it.
fn style(elements: &str) -> String {
    let is_used = |class: &str| {
        let class = class.trim().trim_start_matches('.');
        elements.contains(&format!("class=\"{class}\""))
    };
    let rules: Vec<&str> = CSS
        .lines()
        .filter(|line| {
            [".f-", ".s-", ".o-"]
                .iter()
                .any(|kind| line.starts_with(kind))
        })
        .filter(|line| {
            let selectors = line.split('{').next().unwrap_or_default();
            selectors.split(',').any(is_used)
        })
        .chain([".f-page { fill: var(--page); }"])
        .collect();
    let mut style = String::from("text { font-family: system-ui, sans-serif; }\n");
    for theme in 0..2 {
        let rules = rules.iter().map(|rule| in_theme(rule, theme));
        let rules: Vec<String> = rules.collect();
        let _ = match theme {
            0 => writeln!(style, "{}", rules.join("\n")),
            _ => writeln!(
                style,
                "@media (prefers-color-scheme: dark) {{\n{}\n}}",
                rules.join("\n")
            ),
        };
    }
    style
}

/// A rule with the colours of the light theme, 0, or the dark one, 1.
fn in_theme(rule: &str, theme: usize) -> String {
    let mut text = String::new();
    let mut rest = rule;
    while let Some((before, after)) = rest.split_once("var(--") {
        let (name, after) = after.split_once(')').expect("a variable's name ends");
        text += before;
        text += colours(name)[theme];
        rest = after;
    }
    text + rest
}

/// The colours of a variable of the style sheet in both themes.
pub(crate) fn colours(name: &str) -> [&'static str; 2] {
    let start = format!("--{name}: light-dark(");
    let mut lines = CSS.lines();
    let colours = lines.find_map(|line| line.trim().strip_prefix(&start));
    let colours = colours.and_then(|line| line.trim_end_matches(");").split_once(", "));
    let (light, dark) = colours.expect("the style sheet has the colour");
    [light, dark]
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    crate::text::printable_line(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_have_the_colours_of_their_theme() {
        let rule = ".f-text { fill: var(--text); stroke: var(--page); }";
        assert_eq!(
            in_theme(rule, 0),
            ".f-text { fill: #545d68; stroke: #ffffff; }"
        );
        assert_eq!(
            in_theme(rule, 1),
            ".f-text { fill: #a3adb8; stroke: #101418; }"
        );
        let style = style(r#"<circle class="f-parallel"/>"#);
        assert!(
            style.contains(".f-parallel, .b-parallel { fill: #0072b2;"),
            "{style}"
        );
        assert!(
            !style.contains("var(") && !style.contains("monolithic"),
            "{style}"
        );
    }
}
