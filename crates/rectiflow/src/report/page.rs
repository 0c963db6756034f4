//! The page itself: headings, cards, plots and tables.

use super::{
    Report,
    charts::{clock, curves, legend, seconds_plot, straightness},
    plot::{self, Labels, Series, Style},
    summary::{Figures, number, percent, with_error},
    words::{color, duration, grouped, title},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use std::collections::BTreeSet;

pub(super) fn render(report: &Report) -> String {
    let s = &report.summary;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (report.title) }
                link rel="icon" href="data:,";
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body { main {
                header {
                    h1 { (report.title) }
                    p.lede { (s.verdict()) }
                    p.quiet { (s.data) ". Figures over " (s.samples) " samples per row, features: " (s.evaluator) "." }
                }
                (facts(report))
                (samples(report))
                (figures(report))
                (straightness(&s.stages))
                (curves(report))
                (clock(report))
                (provenance(report))
                footer { "Written by rectiflow " (s.machine.version) ". The same figures for scripts: "
                    code { "summary.json" } " beside this page." }
            } }
        }
    };
    page.into_string()
}

fn facts(report: &Report) -> Markup {
    let s = &report.summary;
    let ratio = |value: Option<f64>| value.map(|v| format!("{v:.1}×"));
    let mut facts: Vec<(String, String)> = Vec::new();
    let mut fact = |value: Option<String>, what: String| facts.extend(value.map(|value| (value, what)));
    fact(ratio(s.straightness_ratio("base", "reflow")), "straighter after one reflow".into());
    fact(ratio(s.frechet_ratio("base", "reflow", 1)), "smaller Fréchet distance at one step, after reflow".into());
    fact(
        ratio(s.frechet_ratio("base", "distill", 1)),
        "smaller Fréchet distance at one step, after distillation".into(),
    );
    if let Some(guided) = s.stages.iter().find_map(|stage| stage.guided.as_ref()) {
        let what = format!("of samples carry the class asked for (guidance {}, {} NFE)", guided.scale, guided.nfe);
        fact(Some(format!("{:.0} %", guided.class_accuracy * 100.0)), what);
    }
    fact(Some(duration(s.seconds)), format!("in all, on {} threads", s.machine.threads));
    fact(Some(format!("{:.1} GB", s.peak_memory_mb / 1024.0)), "largest memory".into());
    html! { div.facts { @for (value, what) in &facts { div.card.fact { b { (value) } span { (what) } } } } }
}

fn samples(report: &Report) -> Markup {
    let columns: BTreeSet<u32> = report.sheets.iter().map(|sheet| sheet.nfe).collect();
    if columns.is_empty() {
        return html! {};
    }
    let layout = format!("grid-template-columns: 1.6rem repeat({}, 1fr)", columns.len());
    html! {
        h2 { "Samples" }
        p.note { "Columns: function evaluations (Euler steps). The same place in every sheet starts from the same noise "
            "and asks for the same class." }
        div.scroll { div.grids style=(layout) {
            span {}
            @for nfe in &columns { span.head { (nfe) @if *nfe == 1 { " step" } @else { " steps" } } }
            @for stage in &report.summary.stages {
                span.side { (title(&stage.name)) }
                @for nfe in &columns {
                    @let sheet = report.sheets.iter().find(|sheet| sheet.stage == stage.name && sheet.nfe == *nfe);
                    @let distance = stage.nfe.get(nfe).and_then(|figures| figures.frechet);
                    @if let Some(sheet) = sheet {
                        figure {
                            img src=(format!("data:image/png;base64,{}", STANDARD.encode(&sheet.png)))
                                alt=(format!("{} samples at {nfe} evaluations", title(&stage.name)));
                            @if let Some(distance) = distance { figcaption { "FD " (format!("{distance:.2}")) } }
                        }
                    } @else { span {} }
                }
            }
        } }
    }
}

/// The cells between the Fréchet distance and the times.
fn rest(f: &Figures, others: &[&String]) -> Markup {
    html! {
        td { (with_error(f.kid.map(|v| v * 1e3), f.kid_error.map(|v| v * 1e3), 2)) }
        td { (number(f.precision, 3)) }
        td { (number(f.recall, 3)) }
        td { (number(f.precision_by_class(), 3)) }
        td { (number(f.coverage, 3)) }
        td { (percent(f.nearest.map(|n| n.copies), 0)) }
        td { (percent(f.class_accuracy, 1)) }
        @for name in others {
            @let found = f.also.get(*name);
            td { (with_error(found.map(|d| d.frechet), found.map(|d| d.error), 2)) }
        }
    }
}

fn figures(report: &Report) -> Markup {
    let stages = &report.summary.stages;
    let rows = report.summary.real.iter().chain(stages.iter().flat_map(|stage| stage.nfe.values()));
    let others: Vec<&String> = rows.flat_map(|f| f.also.keys()).collect::<BTreeSet<_>>().into_iter().collect();
    let series: Vec<Series> = stages
        .iter()
        .map(|stage| Series {
            label: title(&stage.name).into(),
            color: color(&stage.name),
            points: stage.nfe.iter().filter_map(|(nfe, f)| Some((*nfe as f64, f.frechet?))).collect(),
            style: Style::Dotted,
        })
        .collect();
    let columns: BTreeSet<u32> = stages.iter().flat_map(|stage| stage.nfe.keys().copied()).collect();
    let ticks: Vec<f64> = columns.into_iter().map(f64::from).collect();
    let plot = plot::lines(&series, Labels { x: "function evaluations", y: "Fréchet distance" }, true, &ticks);
    let best = |nfe: u32| {
        let distances = stages.iter().filter_map(|stage| stage.nfe.get(&nfe)?.frechet);
        distances.fold(f64::INFINITY, f64::min)
    };
    html! {
        h2 { "Figures" }
        p.note { "Lower is better for the Fréchet distances and KID, higher for precision, recall, coverage and accuracy. ± is two "
            "standard errors by bootstrap over the samples. The best Fréchet distance at each number of evaluations (NFE) is "
            "marked; no model can be expected below the row of real images, which the reference does not hold. Copies are samples "
            "nearer to a training image than that is to any other: more than real images have means learned by heart." }
        div.card.scroll { table {
            thead { tr { th { "Stage" } th { "NFE" } th { "Fréchet" } th { "KID ×10³" } th { "Precision" } th { "Recall" }
                th { "by class" } th { "Coverage" } th { "Copies" } th { "Class accuracy" }
                @for name in &others { th { "Fréchet in " (name) } }
                th { "ms / image" } th { "Seconds" } } }
            tbody {
            @if let Some(real) = &report.summary.real { tr { td { "Real images" } td { "–" } td { (with_error(real.frechet, real.frechet_error, 2)) }
                (rest(real, &others)) td { "–" } td { "–" } } }
            @for stage in stages { @for (row, (nfe, f)) in stage.nfe.iter().enumerate() {
                tr.first[row == 0] {
                    td { @if row == 0 { span class=(format!("dot {}", stage.name)) {} (title(&stage.name)) } }
                    td { (nfe) }
                    td.best[f.frechet.is_some_and(|v| v <= best(*nfe))] { (with_error(f.frechet, f.frechet_error, 2)) }
                    (rest(f, &others))
                    td { (format!("{:.2}", 1e3 * f.seconds / f.samples.max(1) as f64)) }
                    td { (format!("{:.1}", f.seconds)) }
                }
            } } }
        } }
        (moving(report))
        @if let Some(plot) = plot { div.plots style="margin-top:1rem" {
            div.card { h3 { "Quality against cost" } (PreEscaped(plot)) (legend(&series)) }
            (seconds_plot(stages))
        } }
    }
}

/// What only clips have; nothing where none were measured.
fn moving(report: &Report) -> Markup {
    let of = |stage: &str, nfe: &str, f: &Figures| {
        f.clips.map(|clips| {
            html! { tr { td { (stage) } td { (nfe) } td { (number(Some(clips.smoothness), 3)) } td { (number(Some(clips.flicker), 2)) }
            td { (number(Some(clips.consistency), 3)) } td { (number(Some(clips.dynamics), 2)) } } }
        })
    };
    let real = report.summary.real.iter().filter_map(|f| of("Real clips", "–", f));
    let stages = report.summary.stages.iter().flat_map(|stage| {
        let rows = stage.nfe.iter().filter_map(|(nfe, f)| of(title(&stage.name), &nfe.to_string(), f));
        rows.collect::<Vec<_>>()
    });
    let rows: Vec<Markup> = real.chain(stages).collect();
    html! {
        @if !rows.is_empty() {
            p.note { "Higher is better for smoothness and consistency, lower for flicker (levels of 255); dynamics is to be that of real "
                "clips." }
            div.card.scroll { table {
                thead { tr { th { "Stage" } th { "NFE" } th { "Motion smoothness" } th { "Flicker" } th { "Subject consistency" } th { "Dynamics" } } }
                tbody { @for row in &rows { (row) } }
            } }
        }
    }
}

fn provenance(report: &Report) -> Markup {
    let s = &report.summary;
    let m = &s.machine;
    html! {
        h2 { "Make it again" }
        div.two {
            div { pre { (s.commands.join("\n")) } }
            div.card { dl {
                dt { "Processor" } dd { (m.processor) ", " (m.threads) " threads" }
                dt { "Memory" } dd { (m.memory_gb) " GB, at most " (format!("{:.0}", s.peak_memory_mb)) " MB used" }
                dt { "System" } dd { (m.system) }
                dt { "Device" } dd { (m.device) }
                @for stage in &s.stages {
                    dt { (title(&stage.name)) }
                    dd { (grouped(stage.parameters)) " parameters, " (grouped(stage.images)) " images in "
                        (duration(stage.train_seconds))
                        @if stage.pairs > 0 { ", from " (grouped(stage.pairs)) " pairs" } }
                }
            } }
        }
        @for (name, recipe) in &report.recipes { details { summary { "Recipe: " (name) } pre { (recipe) } } }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Curve, Distance, Guided, Sheet, Stage, Straightness, Summary, summary::SCHEMA};
    use super::*;
    use crate::machine::Machine;

    fn invented() -> Report {
        let stage = |name: &str, s: f64, factor: f64| Stage {
            name: name.into(),
            images: 120_000,
            train_seconds: 200.0,
            pair_seconds: 30.0,
            pairs: if name == "base" { 0 } else { 8000 },
            parameters: 1_450_000,
            straightness: Some(Straightness { s, transport_cost: 0.9, one_step_distance: s * 1.5, steps: 50 }),
            guided: (name == "base").then_some(Guided { scale: 1.5, nfe: 40, class_accuracy: 0.91 }),
            nfe: [1, 2, 4, 8, 50]
                .map(|nfe: u32| {
                    let f = Figures {
                        frechet: Some(3.0 + factor / nfe as f64),
                        kid: Some(0.01),
                        precision: Some(0.7),
                        recall: Some(0.5),
                        sliced_wasserstein: Some(0.2),
                        class_accuracy: Some(0.9 - 0.01 * factor / nfe as f64),
                        frechet_error: Some(0.25),
                        nearest: Some(metrics::Nearest { distance: 0.1, copies: 0.52 }),
                        class_precision: vec![Some(0.5), None, Some(0.7)],
                        also: [("pixels@16, 256-d".to_string(), Distance { frechet: 1.5, error: 0.125 })].into(),
                        seconds: 0.4 * nfe as f64,
                        samples: 2000,
                        ..Figures::default()
                    };
                    (nfe, f)
                })
                .into(),
        };
        let images = media::Images::new((0..40 * 784).map(|i| (i as f32 / 97.0).sin()).collect(), 40, [1, 28, 28]);
        let sheet = media::Grid { columns: 8, padding: 2, upscale: 1, background: 24 }.draw(&images.unwrap());
        let png = media::png::encode(&sheet, &[]).unwrap();
        let stages = vec![stage("base", 0.31, 60.0), stage("reflow", 0.021, 6.0), stage("distill", 0.024, 3.0)];
        let names: Vec<String> = stages.iter().map(|s| s.name.clone()).collect();
        let curve = |stage: &String| Curve {
            stage: stage.clone(),
            training: (1..3000).map(|i| (i as f64 * 32.0, 0.2 + 2.0 / i as f64 + 0.02 * (i as f64).sin())).collect(),
            validation: (1..10).map(|i| (i as f64 * 9600.0, 0.21 + 0.05 / i as f64)).collect(),
        };
        let sheets = |stage: &String| [1, 2, 4, 8, 50].map(|nfe| Sheet { stage: stage.clone(), nfe, png: png.clone() });
        Report {
            title: "Rectified flow on Fashion-MNIST".into(),
            curves: names.iter().map(curve).collect(),
            sheets: names.iter().flat_map(sheets).collect(),
            recipes: vec![("base".into(), "seed = 1\n[train]\nbatch = 32\n".into())],
            summary: Summary {
                schema: SCHEMA,
                name: "demo".into(),
                data: "Fashion-MNIST, 12 000 images of 28×28 in 10 classes".into(),
                evaluator: "the shipped Fashion-MNIST classifier".into(),
                samples: 2000,
                seconds: 561.0,
                peak_memory_mb: 1423.0,
                real: Some(Figures {
                    frechet: Some(0.125),
                    samples: 2000,
                    clips: Some(metrics::ClipFigures {
                        smoothness: 0.875,
                        flicker: 1.5,
                        consistency: 0.625,
                        dynamics: 7.25,
                    }),
                    ..Figures::default()
                }),
                sensitivity: Vec::new(),
                clip_sensitivity: None,
                stage_order: names,
                stages,
                timings: [
                    ("base", 230.0),
                    ("reflow pairs", 60.0),
                    ("reflow", 110.0),
                    ("distill pairs", 10.0),
                    ("distill", 60.0),
                    ("evaluation", 91.0),
                ]
                .map(|(name, seconds)| (name.to_string(), seconds))
                .into(),
                machine: Machine::here("cpu"),
                commands: vec!["rectiflow demo --seed 1".into()],
            },
        }
    }

    #[test]
    fn the_page_is_whole_and_stands_alone() {
        let page = invented().html();
        for part in [
            "Real images",
            "0.12</td>",
            "0.600",
            "52 %",
            "1.50 ± 0.12",
            "± 0.25",
            "Rectified flow on Fashion-MNIST",
            "14.8×",
            "0.875</td>",
            "7.25</td>",
            "<svg",
            "data:image/png;base64,",
            "rectiflow demo",
        ] {
            assert!(page.contains(part), "{part} is missing");
        }
        for address in ["src=\"http", "href=\"http", "url(http", "@import"] {
            assert!(!page.contains(address), "{address}: the page must not need a network");
        }
        if let Ok(path) = std::env::var("RECTIFLOW_SAVE_REPORT") {
            std::fs::write(path, page).unwrap();
        }
    }

    #[test]
    fn summary_has_its_promised_keys() {
        let json: serde_json::Value = serde_json::to_value(&invented().summary).unwrap();
        assert_eq!(json["schema"], 1);
        assert_eq!(json["stages"]["reflow"]["nfe"]["1"]["frechet"], 9.0);
        assert_eq!(json["stages"]["base"]["straightness"]["s"], 0.31);
        assert_eq!(json["stage_order"][2], "distill");
        let table = invented().summary.table();
        assert!(table.contains("reflow") && table.lines().count() == 1 + 1 + 15 + 2 + 3, "{table}");
        assert!(table.contains("consistency") && table.contains("0.625"), "{table}");
        assert!(invented().summary.verdict().contains("14.8 times straighter"));
    }
}
