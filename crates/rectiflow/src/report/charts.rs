//! The drawn parts of the page: lines, bars, and the strip of time.

use super::{
    Report, Stage,
    plot::{self, Labels, Series, Style},
    words::{color, duration, significant, title},
};
use maud::{Markup, PreEscaped, html};
use plotters::style::RGBColor;

/// The names of the lines, outside the plot where they cannot cover it.
pub(super) fn legend(series: &[Series]) -> Markup {
    html! { div.legend.centred { @for s in series.iter().filter(|s| !s.label.is_empty()) {
        @let RGBColor(r, g, b) = s.color;
        span { span.dot style=(format!("background:rgb({r},{g},{b})")) {} (s.label) }
    } } }
}

pub(super) fn seconds_plot(stages: &[Stage]) -> Markup {
    let points = |stage: &Stage| {
        let row = |f: &super::Figures| Some((1e3 * f.seconds / f.samples.max(1) as f64, f.class_accuracy? * 100.0));
        let mut points: Vec<(f64, f64)> = stage.nfe.values().filter_map(row).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points
    };
    let series = |stage: &Stage| Series {
        label: title(&stage.name).into(),
        color: color(&stage.name),
        points: points(stage),
        style: Style::Dotted,
    };
    let series: Vec<Series> = stages.iter().map(series).collect();
    let plot = plot::lines(&series, Labels { x: "milliseconds per image", y: "class accuracy, %" }, false, &[]);
    html! { @if let Some(plot) = plot { div.card { h3 { "Right class against time" } (PreEscaped(plot)) (legend(&series)) } } }
}

/// Name, formula, value.
type Quantity = (&'static str, &'static str, fn(&super::Straightness) -> f64);

pub(super) fn straightness(stages: &[Stage]) -> Markup {
    let measured: Vec<_> = stages.iter().filter_map(|s| Some((s.name.as_str(), s.straightness.as_ref()?))).collect();
    if measured.is_empty() {
        return html! {};
    }
    let steps = measured[0].1.steps;
    let quantities: [Quantity; 3] = [
        ("Straightness S", "∫ E|(Z₁ − Z₀) − dZₜ/dt|² dt; 0 is perfectly straight", |s| s.s),
        ("One step against the full solution", "E|Z₀ + v(Z₀, 0) − Z₁|²", |s| s.one_step_distance),
        ("Transport cost", "E|Z₁ − Z₀|²; reflow must not raise it", |s| s.transport_cost),
    ];
    html! {
        h2 { "Straightness" }
        p.note { "Sums over the pixels of an image, means over samples, with " (steps) " Euler steps. A straight flow can be followed in one step." }
        div.plots { @for (name, formula, value) in quantities {
            @let largest = measured.iter().map(|(_, s)| value(s)).fold(1e-12, f64::max);
            @let first = value(measured[0].1);
            div.card {
                h3 { (name) } p.quiet { (formula) }
                div.bars { @for (stage, s) in &measured {
                    @let v = value(s);
                    span { (title(stage)) }
                    div.bar.{(stage)} style=(format!("width:{:.2}%", 100.0 * v / largest)) {}
                    span.value { (significant(v)) @if v < 0.67 * first && v > 0.0 { span.quiet { "  ÷" (format!("{:.1}", first / v)) } } }
                } }
            }
        } }
    }
}

pub(super) fn curves(report: &Report) -> Markup {
    let plots: Vec<(String, String, Markup)> = report
        .curves
        .iter()
        .filter_map(|curve| {
            let color = color(&curve.stage);
            let series = [
                Series { label: String::new(), color, points: thin(&curve.training), style: Style::Faint },
                Series {
                    label: "training, smoothed".into(),
                    color,
                    points: thin(&plot::smooth(&curve.training)),
                    style: Style::Line,
                },
                Series {
                    label: "validation".into(),
                    color: RGBColor(150, 150, 160),
                    points: curve.validation.clone(),
                    style: Style::Dotted,
                },
            ];
            let plot = plot::lines(&series, Labels { x: "training samples (log scale)", y: "loss" }, false, &[])?;
            Some((title(&curve.stage).to_string(), plot, legend(&series)))
        })
        .collect();
    html! { @if !plots.is_empty() {
        h2 { "Loss" }
        p.note { "Validation at fixed times and fixed noise on samples not trained on. Losses of different stages answer "
            "different questions and cannot be compared." }
        div.plots { @for (name, plot, legend) in plots { div.card { h3 { (name) } (PreEscaped(plot)) (legend) } } }
    } }
}

/// The first points all, later ones 1 % apart: what a logarithmic axis can show, and a page of no megabytes.
pub(super) fn thin(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut next = 0.0;
    let mut keep = |&(i, _): &(usize, &(f64, f64))| {
        let kept = i as f64 >= next;
        if kept {
            next = (i as f64 * 1.01).max(i as f64 + 1.0);
        }
        kept
    };
    points.iter().enumerate().filter(|point| keep(point)).map(|(_, point)| *point).collect()
}

pub(super) fn clock(report: &Report) -> Markup {
    let timings = &report.summary.timings;
    let total: f64 = timings.iter().map(|(_, seconds)| seconds).sum();
    if total <= 0.0 {
        return html! {};
    }
    // "reflow pairs" belongs to the stage its first word names.
    let class = |name: &str| {
        let mut words = name.split(' ');
        let stage = words.next().unwrap_or_default().to_string();
        if words.next().is_some() { stage + " pale" } else { stage }
    };
    html! {
        h2 { "Where the time went" }
        div.card {
            div.strip { @for (name, seconds) in timings {
                div class=(class(name)) style=(format!("width:{:.2}%", 100.0 * seconds / total)) title=(name) {}
            } }
            div.legend { @for (name, seconds) in timings {
                span { span class=(format!("dot {}", class(name))) {} (name) " " span.quiet { (duration(*seconds)) } }
            } }
        }
    }
}
