//! The library's face: a [`Recipe`], the [`verbs`] that act on it, and the [`report`] of what came out.
//!
//! Everything the program can do is a function here, told what to do by plain values and telling how it goes through a
//! [`Context`]; the program adds only arguments, bars and exit codes. Depend on this crate alone:
//!
//! ```toml
//! [dependencies]
//! rectiflow = { path = "…/rectiflow/crates/rectiflow" }
//! ```
//!
//! **Use a model.** Open a run and ask for its velocity, or draw from it ([`sampling::draw`]):
//!
//! ```no_run
//! use rectiflow::{Context, Model, base::{Condition, Tensor, Times}, flow::Field};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let context = Context::silent();
//! let model = Model::open("runs/base".as_ref(), Default::default(), &context.device)?;
//! let field = model.field(&Default::default(), Default::default())?;
//! let x = Tensor::<2>::zeros([1, model.subject.shape.numel()], &context.device.device);
//! let v = field.velocity(x, &Times::all(0.5, 1), &Condition::none()); // [1 n], towards the data
//! # Ok(())
//! # }
//! ```
//!
//! **Train one.** A recipe says everything, and what it does not say is the house default ([`recipe::Layers`],
//! [`verbs::train`]): `examples/train_folder.rs`.
//!
//! **Build with the parts.** The rooms below are modules here, for a network, a field or a loss of your own:
//! `examples/own_network.rs` trains one that this crate has never seen.
//!
//! | module | what is in it |
//! |---|---|
//! | [`base`] | tensors, shapes, times, conditions, random numbers by counter |
//! | [`flow`] | paths, couplings, time laws, losses, fields, solvers, closed forms |
//! | [`nets`] | networks and their weights, text encoders, autoencoders |
//! | [`train`] | the engine: any module, any batch |
//! | [`methods`] | reflow, distillation, steering, editing, alignment |
//! | [`data`], [`media`], [`metrics`] | data sets and pair stores; pictures, sound and meshes; judges |
//! | [`kernels`] | fused operations and devices |
//! | [`burn`] | the tensor framework below all of it |

pub mod align;
mod asked;
mod assets;
pub mod classifier;
pub mod codec;
pub mod context;
pub mod device;
pub mod editing;
pub mod error;
mod facts;
mod host;
pub mod judge;
pub mod machine;
pub mod memory;
pub mod model;
mod note;
pub mod one_more_step;
pub mod output;
pub mod overrides;
pub mod pairs;
mod perceptual;
mod pictures;
pub mod pipeline;
pub mod recipe;
pub mod release;
pub mod released;
pub mod report;
pub mod restoring;
pub mod round_trip;
mod runs;
pub mod sampling;
pub mod scheduler_config;
pub mod schedules;
mod sent;
pub mod separator;
pub mod serving;
pub mod shapes;
mod sheets;
pub mod sight;
pub mod sound;
mod stage;
pub mod start;
mod steerable;
mod streams;
mod subject;
pub mod symmetry;
mod taught;
pub mod toy;
pub mod verbs;
pub mod words;

pub use ::{base, burn, data, flow, kernels, media, methods, metrics, nets, ranks, train};

pub use context::{Context, Event};
pub use error::Error;
pub use kernels::Precision;
#[cfg(feature = "mimalloc")]
pub use kernels::allocator;
pub use model::Model;
pub use recipe::Recipe;
pub use start::Start;

/// The training room's terminal bar, for faces that have a terminal.
pub use train::log::Progress as TrainBar;
/// What the training loop tells, and the trait of those it tells.
pub use train::{Event as TrainEvent, Observer as TrainObserver};
