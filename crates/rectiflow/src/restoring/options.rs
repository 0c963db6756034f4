//! What somebody says of a task beside its name: every option belongs to one task, and is refused with any other.

use super::{Blur, Gap, Hole, Task};
use crate::Error;
use std::path::PathBuf;

/// Names of all tasks.
pub const TASKS: [&str; 9] = ["inpaint", "gap", "super", "deblur", "colour", "sense", "dequantise", "jpeg", "phase"];

/// The options of all tasks; none is given by default.
#[derive(Clone, Debug, Default)]
pub struct TaskOptions {
    /// A hole: `14` or `7,7,14,14`.
    pub hole: Option<String>,
    /// A hole as a picture.
    pub mask: Option<PathBuf>,
    /// Pixels hidden at random, their share.
    pub scattered: Option<f64>,
    /// Pixels hidden under strokes of a brush, their share.
    pub strokes: Option<f64>,
    /// A gap of recordings: `0.1` or `0.5,0.1`, in seconds.
    pub gap: Option<String>,
    /// How many times smaller.
    pub scale: Option<usize>,
    /// Whether smaller by cubic convolution and not by averages.
    pub bicubic: bool,
    /// Size of a Gaussian blur.
    pub taps: Option<usize>,
    /// Its deviation.
    pub sigma: Option<f64>,
    /// Pixels that a picture was moved by.
    pub motion: Option<f64>,
    /// Degrees against the clock from the row.
    pub angle: Option<f64>,
    /// A file with the weights of a blur.
    pub kernel: Option<PathBuf>,
    /// Share of the numbers that are sensed.
    pub share: Option<f64>,
    /// Bits that are left of a value.
    pub bits: Option<u32>,
    /// JPEG's quality.
    pub quality: Option<u32>,
    /// Of what is drawn at random.
    pub seed: u64,
}

impl Task {
    /// The task of this name and these options.
    ///
    /// # Errors
    /// [`Error::Usage`] for an option that belongs to another task, two that say the same, or one that is missing.
    pub fn named(name: &str, options: &TaskOptions) -> Result<Self, Error> {
        let o = options.clone();
        let holes = [("--box", o.hole.is_some()), ("--mask", o.mask.is_some()), ("--scattered", o.scattered.is_some())];
        let holes = holes
            .into_iter()
            .chain([("--strokes", o.strokes.is_some())])
            .map(|(option, given)| (option, "inpaint", given));
        let others = [
            ("--gap", "gap", o.gap.is_some()),
            ("--scale", "super", o.scale.is_some()),
            ("--bicubic", "super", o.bicubic),
            ("--taps", "deblur", o.taps.is_some()),
            ("--sigma", "deblur", o.sigma.is_some()),
            ("--motion", "deblur", o.motion.is_some()),
            ("--angle", "deblur", o.angle.is_some()),
            ("--kernel", "deblur", o.kernel.is_some()),
            ("--share", "sense", o.share.is_some()),
            ("--bits", "dequantise", o.bits.is_some()),
            ("--quality", "jpeg", o.quality.is_some()),
        ];
        let given: Vec<_> = holes.chain(others).filter(|(.., given)| *given).collect();
        if let Some((option, of, _)) = given.iter().find(|(_, of, _)| *of != name) {
            return Err(Error::Usage(format!("{option}: it belongs to --task {of}, not to {name}")));
        }
        let usage = |why: String| Err(Error::Usage(why));
        let several = |among: &[&str]| {
            let found: Vec<_> =
                given.iter().map(|(option, ..)| *option).filter(|option| among.contains(option)).collect();
            (found.len() > 1).then(|| found.join(" and "))
        };
        if let Some(both) = several(&["--box", "--mask", "--scattered", "--strokes"]) {
            return usage(format!("{both} both say where the hole is: give one"));
        }
        match name {
            "inpaint" => Ok(Self::Inpaint(match o {
                TaskOptions { hole: Some(hole), .. } => Hole::parse(&hole)?,
                TaskOptions { mask: Some(file), .. } => Hole::Mask(file),
                TaskOptions { scattered: Some(share), seed, .. } => Hole::Scattered { share, seed },
                TaskOptions { strokes: Some(share), seed, .. } => Hole::Strokes { share, seed },
                _ => {
                    return usage(
                        "--task inpaint: say where the hole is with --box or --mask, or have one drawn with --scattered or --strokes"
                            .into(),
                    );
                }
            })),
            "gap" => match o.gap {
                Some(gap) => Ok(Self::Gap(Gap::parse(&gap, o.seed)?)),
                None => usage("--task gap: say how many seconds are lost, and from where, with --gap".into()),
            },
            // Named because people look for it.
            "declip" => usage(
                "--task declip: what clipping leaves are samples and bounds on samples, and the flows of sound here move pictures of \
                 magnitudes, which keep neither; nothing here can be held to it"
                    .into(),
            ),
            "super" => Ok(Self::Super { scale: o.scale.unwrap_or(2), bicubic: o.bicubic }),
            "deblur" => {
                let gaussian = if o.taps.is_some() { "--taps" } else { "--sigma" };
                let kinds = several(&[gaussian, "--motion", "--kernel"]);
                let stray = (o.angle.is_some() && o.motion.is_none()).then(|| "--angle without --motion".into());
                if let Some(both) = kinds.or(stray) {
                    return usage(format!(
                        "--task deblur: {both}; a blur is Gaussian (--taps, --sigma), a motion (--motion, --angle) or a --kernel"
                    ));
                }
                Ok(Self::Deblur(match o {
                    TaskOptions { motion: Some(length), angle, .. } => {
                        Blur::Motion { length, angle: angle.unwrap_or(0.0) }
                    }
                    TaskOptions { kernel: Some(file), .. } => Blur::Kernel(file),
                    _ => Blur::Gaussian { taps: o.taps.unwrap_or(7), sigma: o.sigma.unwrap_or(1.0) },
                }))
            }
            "colour" => Ok(Self::Colour),
            "sense" => Ok(Self::Sense { share: o.share.unwrap_or(0.25), seed: o.seed }),
            "dequantise" => Ok(Self::Dequantise { bits: o.bits.unwrap_or(2) }),
            "jpeg" => Ok(Self::Jpeg { quality: o.quality.unwrap_or(10) }),
            "phase" => Ok(Self::Phase),
            _ => usage(format!("--task {name} is unknown; there are {}", TASKS.join(", "))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every option with every task: taken by its own, refused by all others with its name.
    ///
    /// Mutant: an option that is left out of the table, and so ignored by other tasks.
    #[test]
    fn options_belong_to_one_task() {
        let none = TaskOptions::default;
        let given = [
            ("--box", "inpaint", TaskOptions { hole: Some("4".into()), ..none() }),
            ("--mask", "inpaint", TaskOptions { mask: Some("x.png".into()), ..none() }),
            ("--scattered", "inpaint", TaskOptions { scattered: Some(0.5), ..none() }),
            ("--strokes", "inpaint", TaskOptions { strokes: Some(0.5), ..none() }),
            ("--gap", "gap", TaskOptions { gap: Some("0.5,0.1".into()), ..none() }),
            ("--scale", "super", TaskOptions { scale: Some(4), ..none() }),
            ("--bicubic", "super", TaskOptions { bicubic: true, ..none() }),
            ("--taps", "deblur", TaskOptions { taps: Some(5), ..none() }),
            ("--sigma", "deblur", TaskOptions { sigma: Some(2.0), ..none() }),
            ("--motion", "deblur", TaskOptions { motion: Some(5.0), ..none() }),
            ("--kernel", "deblur", TaskOptions { kernel: Some("k.npy".into()), ..none() }),
            ("--share", "sense", TaskOptions { share: Some(0.5), ..none() }),
            ("--bits", "dequantise", TaskOptions { bits: Some(3), ..none() }),
            ("--quality", "jpeg", TaskOptions { quality: Some(30), ..none() }),
        ];
        for (option, of, options) in &given {
            for task in TASKS {
                match Task::named(task, options) {
                    Ok(found) => {
                        assert!(task == *of && found.name() == task && !found.words().is_empty(), "{option} {task}")
                    }
                    Err(error) => {
                        assert!(task != *of && error.to_string().contains(option), "{option} {task}: {error}")
                    }
                }
            }
        }
        let refused = |task: &str, options: TaskOptions, words: &str| {
            let error = Task::named(task, &options).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains(words), "{error}");
        };
        refused("deblur", TaskOptions { angle: Some(3.0), ..none() }, "--angle without --motion");
        refused("deblur", TaskOptions { motion: Some(3.0), sigma: Some(1.0), ..none() }, "--sigma and --motion");
        refused("inpaint", TaskOptions { strokes: Some(0.3), scattered: Some(0.3), ..none() }, "give one");
        refused("inpaint", none(), "--strokes");
        refused("gap", none(), "--gap");
        refused("declip", none(), "magnitudes");
        refused("sharpen", none(), "dequantise");
    }
}
