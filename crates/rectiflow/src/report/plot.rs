//! Line plots as inline SVG that follow the page's width and its light or dark colours.

use plotters::{coord::ranged1d::Ranged, prelude::*};

/// One line of a plot.
#[derive(Clone, Debug)]
pub struct Series {
    /// Shown in the legend, which the page draws; empty for none.
    pub label: String,
    /// One of the page's colours.
    pub color: RGBColor,
    /// Points in drawing order.
    pub points: Vec<(f64, f64)>,
    /// How it is drawn.
    pub style: Style,
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A thin pale line: raw measurements behind a smoothed one.
    Faint,
    /// A strong line.
    Line,
    /// A strong line with a dot at each point.
    Dotted,
}

/// Text of a plot.
#[derive(Clone, Copy, Debug)]
pub struct Labels<'a> {
    /// Under the horizontal axis.
    pub x: &'a str,
    /// Beside the vertical axis.
    pub y: &'a str,
}

/// The colour that stands for the page's ink until the drawing is finished.
const INK: RGBColor = RGBColor(1, 2, 3);
const SIZE: (u32, u32) = (520, 300);

/// Draws `series` with a logarithmic horizontal axis and, if `log_y`, a logarithmic vertical one.
/// `ticks` are the horizontal axis's labels; none chooses them.
/// `None` where no point can be drawn (a run of no steps).
pub fn lines(series: &[Series], labels: Labels, log_y: bool, ticks: &[f64]) -> Option<String> {
    chart(series, labels, (true, log_y), ticks)
}

/// [`lines`] with an even horizontal axis.
pub fn linear(series: &[Series], labels: Labels, log_y: bool) -> Option<String> {
    chart(series, labels, (false, log_y), &[])
}

fn chart(series: &[Series], labels: Labels, (log_x, log_y): (bool, bool), ticks: &[f64]) -> Option<String> {
    let fits = |v: f64, log: bool| v.is_finite() && (!log || v > 0.0);
    let drawable = |&(x, y): &(f64, f64)| fits(x, log_x) && fits(y, log_y);
    let series: Vec<Series> = series
        .iter()
        .map(|s| Series { points: s.points.iter().copied().filter(drawable).collect(), ..s.clone() })
        .filter(|s| !s.points.is_empty())
        .collect();
    // A faint series may have wild outliers; the strong ones decide the vertical range where there is any.
    let strong: Vec<_> = series.iter().filter(|s| s.style != Style::Faint).flat_map(|s| s.points.clone()).collect();
    let all: Vec<_> = series.iter().flat_map(|s| s.points.clone()).collect();
    let mut x = Axis::around(range(all.iter().map(|p| p.0))?, log_x);
    if !ticks.is_empty() {
        x.ticks = ticks.to_vec();
    }
    let y = Axis::around(range(if strong.is_empty() { &all } else { &strong }.iter().map(|p| p.1))?, log_y);
    Some(themed(draw(&series, labels, x, y)?))
}

fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |found, v| Some(found.map_or((v, v), |(low, high): (f64, f64)| (low.min(v), high.max(v)))))
}

/// One axis: its range, its labelled values, and whether equal ratios or equal differences take equal room.
#[derive(Clone)]
struct Axis {
    low: f64,
    high: f64,
    log: bool,
    ticks: Vec<f64>,
}

impl Axis {
    fn around((low, high): (f64, f64), log: bool) -> Self {
        if log {
            let (low, high) = if high > low { (low / 1.08, high * 1.08) } else { (low / 2.0, high * 2.0) };
            let ticks = log_ticks(low, high);
            // A range within one step of 1, 2, 5 has no such label; even steps serve it.
            let ticks = if ticks.len() < 2 { even_ticks(low, high) } else { ticks };
            return Self { low, high, log, ticks };
        }
        let gap = ((high - low) * 0.08).max(high.abs() * 0.02 + 1e-9);
        let (low, high) = (low - gap, high + gap);
        Self { low, high, log, ticks: even_ticks(low, high) }
    }

    fn place(&self, v: f64) -> f64 {
        if self.log {
            (v / self.low).ln() / (self.high / self.low).ln()
        } else {
            (v - self.low) / (self.high - self.low)
        }
    }
}

/// About five even steps of 1, 2 or 5 times a power of ten.
fn even_ticks(low: f64, high: f64) -> Vec<f64> {
    let rough = (high - low) / 5.0;
    let decade = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * decade).into_iter().find(|step| *step >= rough).unwrap_or(rough);
    let first = (low / step).ceil() as i64;
    (first..).map(|i| i as f64 * step).take_while(|tick| *tick <= high).collect()
}

/// 1, 2, 5, 10, ... where few decades are shown, powers of ten where many are.
fn log_ticks(low: f64, high: f64) -> Vec<f64> {
    let decades = (high / low).log10();
    let steps: &[f64] = if decades <= 2.2 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let ticks = (first..=last).flat_map(|decade| steps.iter().map(move |step| step * 10f64.powi(decade)));
    ticks.filter(|tick| *tick >= low && *tick <= high).collect()
}

impl Ranged for Axis {
    type FormatOption = plotters::coord::ranged1d::DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        limit.0 + ((limit.1 - limit.0) as f64 * self.place(*value)).round() as i32
    }

    fn key_points<Hint: plotters::coord::ranged1d::KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.low..self.high
    }
}

fn draw(series: &[Series], labels: Labels, x: Axis, y: Axis) -> Option<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin(10)
            .x_label_area_size(44)
            .y_label_area_size(62)
            .build_cartesian_2d(x, y.clone())
            .ok()?;
        let text = ("sans-serif", 14).into_font().color(&INK);
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(INK.mix(0.13))
            .axis_style(INK.mix(0.45))
            .label_style(text.clone())
            .axis_desc_style(text.clone())
            .x_desc(labels.x)
            .y_desc(labels.y)
            .x_label_formatter(&|v| short(*v))
            .y_label_formatter(&|v| short(*v))
            .draw()
            .ok()?;
        for s in series {
            let (width, opacity) = if s.style == Style::Faint { (1, 0.28) } else { (2, 1.0) };
            let style = ShapeStyle { color: s.color.mix(opacity), filled: false, stroke_width: width };
            let clipped = s.points.iter().map(|&(x, v)| (x, v.clamp(y.low, y.high)));
            chart.draw_series(LineSeries::new(clipped.clone(), style)).ok()?;
            if s.style == Style::Dotted {
                chart.draw_series(clipped.map(|p| Circle::new(p, 4, s.color.filled()))).ok()?;
            }
        }
        root.present().ok()?;
    }
    Some(svg)
}

/// Lets the page decide size and ink.
fn themed(svg: String) -> String {
    let (width, height) = SIZE;
    svg.replacen(&format!("width=\"{width}\" height=\"{height}\" "), "role=\"img\" ", 1)
        .replace("\"#010203\"", "\"currentColor\"")
}

/// 12000 as 12k, 0.00012 as 1.2e-4.
fn short(v: f64) -> String {
    let trim = |s: String| if s.contains('.') { s.trim_end_matches('0').trim_end_matches('.').to_string() } else { s };
    match v.abs() {
        0.0 => "0".into(),
        a if a >= 1e6 => trim(format!("{:.1}", v / 1e6)) + "M",
        a if a >= 1e4 => trim(format!("{:.1}", v / 1e3)) + "k",
        a if a >= 10.0 => trim(format!("{v:.1}")),
        a if a >= 1e-3 => trim(format!("{v:.4}")),
        _ => format!("{v:.1e}"),
    }
}

/// Exponential smoothing whose memory grows with the number of points seen, to a fortieth of them all: on a logarithmic
/// axis the beginning stays visible and the end becomes smooth.
pub fn smooth(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let most = (points.len() as f64 / 40.0).max(1.0);
    let mut mean = None;
    let next = |(i, &(x, y)): (usize, &(f64, f64))| {
        let rate = 1.0 / (1.0 + i as f64 / 8.0).min(most);
        let value = mean.map_or(y, |m: f64| m + rate * (y - m));
        mean = Some(value);
        (x, value)
    };
    points.iter().filter(|p| p.1.is_finite()).enumerate().map(next).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_with_the_pages_ink_and_without_a_fixed_size() {
        let series = Series {
            label: "base".into(),
            color: RGBColor(91, 108, 240),
            points: vec![(1.0, 100.0), (10.0, 10.0), (50.0, f64::NAN), (0.0, 1.0)],
            style: Style::Dotted,
        };
        for log_y in [true, false] {
            let svg = lines(std::slice::from_ref(&series), Labels { x: "NFE", y: "FD" }, log_y, &[]).unwrap();
            assert!(svg.contains("currentColor") && !svg.contains("#010203"));
            assert!(svg.starts_with("<svg role=\"img\" viewBox="), "{}", &svg[..60]);
        }
        assert!(lines(&[], Labels { x: "", y: "" }, true, &[]).is_none());
        let single = Series { points: vec![(3.0, 2.0)], ..series };
        assert!(lines(&[single], Labels { x: "", y: "" }, false, &[]).is_some());
    }

    #[test]
    fn short_numbers() {
        let cases = [(0.0, "0"), (12000.0, "12k"), (1.5e6, "1.5M"), (0.25, "0.25"), (1.2e-5, "1.2e-5"), (300.0, "300")];
        for (value, text) in cases {
            assert_eq!(short(value), text);
        }
    }

    #[test]
    fn smoothing_keeps_a_constant_and_calms_noise() {
        let points: Vec<_> = (0..800).map(|i| (i as f64, if i % 2 == 0 { 1.0 } else { 3.0 })).collect();
        assert!(smooth(&points.iter().map(|p| (p.0, 2.0)).collect::<Vec<_>>()).iter().all(|p| p.1 == 2.0));
        // A memory of 20 points divides an alternation of 2 by about 20.
        assert!(smooth(&points)[700..].iter().all(|p| (p.1 - 2.0).abs() < 0.1));
    }

    #[test]
    fn axes_label_what_they_show() {
        assert_eq!(log_ticks(0.9, 60.0), [1.0, 2.0, 5.0, 10.0, 20.0, 50.0]);
        assert_eq!(log_ticks(30.0, 1.1e5), [100.0, 1e3, 1e4, 1e5]);
        let axis = Axis::around((0.0, 1.0), false);
        assert!((3..8).contains(&axis.ticks.len()), "{:?}", axis.ticks);
        assert!(Axis::around((2.0, 2.0), true).place(2.0) == 0.5);
        assert!(Axis::around((117.1, 117.2), true).ticks.len() >= 2, "a narrow range has labels too");
    }
}
