//! The numbers of an event under the names that every tracker shows: `train/loss`, `validation/loss`, `task/…`.

use crate::event::Event;

/// Samples seen, and the numbers said there; none where the event says no number.
pub fn numbers(event: &Event<'_>) -> Option<(u64, Vec<(String, f64)>)> {
    let named = |(name, value): (&str, f64)| (name.to_string(), value);
    match event {
        Event::Log(log) => Some((
            log.images,
            [
                ("train/loss", log.loss),
                ("train/gradient_norm", log.gradient_norm),
                ("train/lr", log.lr),
                ("speed/images_per_second", log.images_per_second),
                ("memory/peak_gb", log.memory.peak as f64 / 1e9),
            ]
            .map(named)
            .to_vec(),
        )),
        Event::Validation(v) => {
            let by_time = v.by_time.iter().map(|(t, loss)| (format!("validation/loss_t{t}"), *loss));
            Some((v.images, std::iter::once(("validation/loss".to_string(), v.loss)).chain(by_time).collect()))
        }
        Event::Figures { images, values } => {
            Some((*images, values.iter().map(|(name, value)| (format!("task/{name}"), *value)).collect()))
        }
        _ => None,
    }
}
