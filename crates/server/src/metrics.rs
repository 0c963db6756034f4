//! What has been served, in the text format that Prometheus reads.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Upper ends of the classes that times are counted in, in seconds.
const EDGES: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0];

/// Counters since the start.
#[derive(Default)]
pub struct Metrics(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    requests: BTreeMap<(&'static str, u16), u64>,
    images: BTreeMap<String, u64>,
    batches: u64,
    rows: u64,
    /// Models whose weights are open, and how often some were opened, under a budget.
    open: usize,
    opened: u64,
    cancelled: u64,
    failed: u64,
    drawing: f64,
    /// Seconds a picture took of late.
    pace: f64,
    waited: [u64; EDGES.len()],
    waits: u64,
    waited_seconds: f64,
}

impl Metrics {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request for `route` was answered with `status`.
    pub fn answered(&self, route: &'static str, status: u16) {
        *self.lock().requests.entry((route, status)).or_default() += 1;
    }

    /// Somebody waited so long for pictures.
    pub fn waited(&self, time: Duration) {
        let (mut counts, seconds) = (self.lock(), time.as_secs_f64());
        for (count, edge) in counts.waited.iter_mut().zip(EDGES) {
            *count += u64::from(seconds <= edge);
        }
        counts.waits += 1;
        counts.waited_seconds += seconds;
    }

    /// A batch of `rows` pictures of `model` was drawn in `seconds`.
    pub fn drew(&self, model: &str, rows: usize, seconds: f64) {
        let mut counts = self.lock();
        *counts.images.entry(model.into()).or_default() += rows as u64;
        counts.batches += 1;
        counts.rows += rows as u64;
        counts.drawing += seconds;
        let each = seconds / rows as f64;
        counts.pace = if counts.pace == 0.0 { each } else { 0.8 * counts.pace + 0.2 * each };
    }

    /// So many models are open, and so many were opened since the start.
    pub fn holds(&self, open: usize, opened: u64) {
        let mut counts = self.lock();
        (counts.open, counts.opened) = (open, opened);
    }

    /// A job ended without pictures, because nobody wanted them or they could not be drawn.
    pub fn lost(&self, cancelled: bool) {
        let mut counts = self.lock();
        match cancelled {
            true => counts.cancelled += 1,
            false => counts.failed += 1,
        }
    }

    /// Seconds that a picture took of late.
    pub fn pace(&self) -> f64 {
        self.lock().pace
    }

    /// Seconds until `pictures` will have been drawn, as it goes of late; 1 to 60.
    pub fn until(&self, pictures: usize) -> u64 {
        (self.lock().pace * pictures as f64).ceil().clamp(1.0, 60.0) as u64
    }

    /// All of it, beside `queued` pictures that wait.
    pub fn text(&self, queued: usize) -> String {
        let counts = self.lock();
        let mut text = String::new();
        let mut family = |name: &str, kind: &str, help: &str, lines: &[(String, String)]| {
            let _ = writeln!(text, "# HELP rectiflow_{name} {help}\n# TYPE rectiflow_{name} {kind}"); // memory does not refuse
            for (labels, value) in lines {
                let _ = writeln!(text, "rectiflow_{name}{labels} {value}");
            }
        };
        let one = |value: String| [(String::new(), value)];
        let of = |((route, status), count): (&(&str, u16), &u64)| {
            (format!("{{route=\"{route}\",code=\"{status}\"}}"), count.to_string())
        };
        let requests: Vec<_> = counts.requests.iter().map(of).collect();
        family("requests_total", "counter", "Requests answered.", &requests);
        let images: Vec<_> =
            counts.images.iter().map(|(model, count)| (format!("{{model=\"{model}\"}}"), count.to_string())).collect();
        family("images_total", "counter", "Pictures drawn.", &images);
        family("batches_total", "counter", "Batches they were drawn in.", &one(counts.batches.to_string()));
        family("batched_images_total", "counter", "Pictures in all batches.", &one(counts.rows.to_string()));
        family("drawing_seconds_total", "counter", "Seconds of drawing.", &one(format!("{:.6}", counts.drawing)));
        family("cancelled_total", "counter", "Jobs that nobody wanted any more.", &one(counts.cancelled.to_string()));
        family("failed_total", "counter", "Jobs that could not be drawn.", &one(counts.failed.to_string()));
        family("open_models", "gauge", "Models open under --model-memory.", &one(counts.open.to_string()));
        family("models_opened_total", "counter", "Times that one was opened so.", &one(counts.opened.to_string()));
        family("queued_images", "gauge", "Pictures that wait.", &one(queued.to_string()));
        let (all, sum) = (counts.waits.to_string(), format!("{:.6}", counts.waited_seconds));
        let mut lines: Vec<_> = EDGES
            .iter()
            .zip(counts.waited)
            .map(|(edge, count)| (format!("_bucket{{le=\"{edge}\"}}"), count.to_string()))
            .collect();
        lines.extend([("_bucket{le=\"+Inf\"}".into(), all.clone()), ("_sum".into(), sum), ("_count".into(), all)]);
        family("wait_seconds", "histogram", "From a request for pictures to its answer.", &lines);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_all_that_is_below_them() {
        let metrics = Metrics::default();
        metrics.answered("healthz", 200);
        metrics.answered("healthz", 200);
        metrics.drew("base", 4, 2.0);
        metrics.waited(Duration::from_millis(30));
        metrics.waited(Duration::from_secs(5000));
        let text = metrics.text(3);
        for line in [
            "rectiflow_requests_total{route=\"healthz\",code=\"200\"} 2",
            "rectiflow_images_total{model=\"base\"} 4",
            "rectiflow_queued_images 3",
            "rectiflow_wait_seconds_bucket{le=\"0.025\"} 0",
            "rectiflow_wait_seconds_bucket{le=\"0.05\"} 1",
            "rectiflow_wait_seconds_bucket{le=\"600\"} 1",
            "rectiflow_wait_seconds_bucket{le=\"+Inf\"} 2",
            "rectiflow_wait_seconds_count 2",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
        }
        assert_eq!([metrics.until(0), metrics.until(5), metrics.until(1000)], [1, 3, 60]);
    }
}
