//! A plot of a rollout as SVG.

use super::distribution::Outcome;
use std::fmt::Write;

/// Size of the plot, and of its margins, in pixels.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 60.0;
const BELOW: f64 = 50.0;
const ABOVE: f64 = 40.0;

/// How long it takes until the first and the last node have the capsule, over the number of nodes, and how
/// many copies the registry gives.
#[must_use]
pub fn svg(outcomes: &[Outcome]) -> String {
    let most = outcomes.iter().map(|outcome| outcome.last.as_secs_f64()).fold(1.0, f64::max);
    let step = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0]
        .into_iter()
        .find(|step| most / step <= 8.0)
        .unwrap_or(1_000.0);
    let top = (most / step).ceil() * step;
    let y = |seconds: f64| HEIGHT - BELOW - seconds / top * (HEIGHT - BELOW - ABOVE);
    let place = |at: usize| {
        LEFT + 40.0 + at as f64 * (WIDTH - LEFT - 100.0) / (outcomes.len().max(2) - 1) as f64
    };
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"20\" font-size=\"14\">A capsule of 32 KB comes to nodes on one radio (seconds, virtual)</text>\n"
    );
    let mut line = 0.0;
    while line <= top {
        let at = y(line);
        let _ = writeln!(
            text,
            "<line x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{:.1}\" y2=\"{at:.1}\" stroke=\"#dddddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{line}</text>",
            WIDTH - 20.0,
            LEFT - 8.0,
            at + 4.0
        );
        line += step;
    }
    for (name, colour, of) in [
        (
            "the last node has it",
            "#b03a2e",
            (|o: &Outcome| o.last.as_secs_f64()) as fn(&Outcome) -> f64,
        ),
        ("the first node has it", "#1f618d", |o: &Outcome| o.first.as_secs_f64()),
    ] {
        let points = outcomes.iter().enumerate().map(|(at, o)| (place(at), y(of(o))));
        let path: Vec<String> = points.clone().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(
            text,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"><title>{name}</title></polyline>",
            path.join(" ")
        );
        for (x, y) in points {
            let _ =
                writeln!(text, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"/>");
        }
    }
    for (at, outcome) in outcomes.iter().enumerate() {
        let (x, below) = (place(at), HEIGHT - BELOW);
        let _ = writeln!(
            text,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#666666\">{:.2} copies</text>",
            below + 18.0,
            outcome.nodes,
            below + 34.0,
            outcome.egress
        );
    }
    text.push_str(&legend());
    text.push_str("</svg>\n");
    text
}

/// What the lines and numbers mean.
fn legend() -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"#b03a2e\">last</text><text x=\"{:.1}\" y=\"{:.1}\" fill=\"#1f618d\">first</text>\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#666666\">nodes, and what the registry gives</text>",
        LEFT + 10.0,
        ABOVE + 4.0,
        LEFT + 50.0,
        ABOVE + 4.0,
        WIDTH - 20.0,
        HEIGHT - 2.0
    );
    text
}
