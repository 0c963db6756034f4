//! Colours, names and numbers as the page shows them.

use plotters::style::RGBColor;

/// The middle tones are legible on white and on black.
pub(super) fn color(stage: &str) -> RGBColor {
    match stage {
        "base" => RGBColor(107, 123, 246),
        "reflow" => RGBColor(24, 168, 148),
        "distill" => RGBColor(228, 122, 58),
        _ => RGBColor(140, 140, 150),
    }
}

pub(super) fn title(stage: &str) -> &str {
    match stage {
        "base" => "Base",
        "reflow" => "Reflow",
        "distill" => "Distilled",
        other => other,
    }
}

/// `9.5 s`, `80 s`, `7 min 05 s`, `3 h 20 min`, `2.5 days`.
pub(crate) fn duration(seconds: f64) -> String {
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    match whole {
        0..90 => format!("{whole} s"),
        90..5400 => format!("{} min {:02} s", whole / 60, whole % 60),
        5400..129_600 => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
        _ => format!("{:.1} days", seconds / 86_400.0),
    }
}

/// Three significant digits.
pub(super) fn significant(v: f64) -> String {
    let digits = if v > 0.0 { (2.0 - v.log10().floor()).clamp(0.0, 8.0) as usize } else { 3 };
    format!("{v:.digits$}")
}

/// 1450000 as 1 450 000.
pub(super) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn durations_are_said_as_people_say_them() {
        let cases = [
            (1.25, "1.2 s"),
            (80.0, "80 s"),
            (425.0, "7 min 05 s"),
            (12_000.0, "3 h 20 min"),
            (905_820.0, "10.5 days"),
        ];
        for (seconds, said) in cases {
            assert_eq!(duration(seconds), said);
        }
    }
}
