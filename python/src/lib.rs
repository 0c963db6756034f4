//! The Python module `rectiflow._rectiflow`: a model opened, drawn from, asked for its velocity; rows go in and out as bytes of `f32`.
//!
//! What a user sees is `python/rectiflow/__init__.py`, which speaks numpy. Here every call leaves the interpreter free, runs alone (the
//! kernels share one pool of threads), and comes back as a value or an exception: a panic is caught and told as what it is.

// An extension module has no API in Rust.
#![allow(missing_docs)]

use pyo3::{
    exceptions::{PyKeyboardInterrupt, PyRuntimeError, PyValueError},
    prelude::*,
    types::PyBytes,
};
use rectiflow::{
    Context, Error, Model,
    base::{Condition, Shape, Tensor, Times},
    burn::tensor::TensorData,
    codec::Codec,
    device::{self, Chosen},
    flow::{Field, guidance::GuidanceConfig},
    model::which,
    overrides::SampleOverrides,
    sampling::{self, Classes},
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

/// One call at a time.
static TURN: Mutex<()> = Mutex::new(());

/// `work` away from the interpreter, on the threads that the program uses; its error or panic as an exception.
fn alone<R: Send>(py: Python<'_>, work: impl FnOnce() -> Result<R, Error> + Send) -> PyResult<R> {
    let outcome = py.detach(|| {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        catch_unwind(AssertUnwindSafe(|| device::on_a_worker(work)))
    });
    match outcome {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(Error::Interrupted)) => Err(PyKeyboardInterrupt::new_err("stopped")),
        Ok(Err(error)) if error.exit_code() == 2 => Err(PyValueError::new_err(error.to_string())),
        Ok(Err(error)) => Err(PyRuntimeError::new_err(error.to_string())),
        Err(payload) => {
            let text = payload.downcast_ref::<String>().map(String::as_str);
            let what = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message");
            Err(PyRuntimeError::new_err(format!("rectiflow {} has a bug: {what}", env!("CARGO_PKG_VERSION"))))
        }
    }
}

/// What samples are asked for.
#[derive(FromPyObject)]
enum Asked {
    /// Classes by number, in turn; -1 is none.
    Numbers(Vec<i64>),
    /// As `--class` reads it.
    Words(String),
    /// Prompts in turn.
    Prompts(Vec<String>),
}

impl Asked {
    fn classes(self, model: &Model) -> Result<Classes, Error> {
        let empty = || Error::Usage("an empty list asks for nothing; leave it out, or ask for class \"none\"".into());
        match self {
            Self::Numbers(numbers) if numbers.is_empty() => Err(empty()),
            Self::Prompts(prompts) if prompts.is_empty() => Err(empty()),
            Self::Words(text) => Classes::parse(&text, model),
            Self::Prompts(prompts) => {
                model.check_reads()?;
                Ok(Classes::prompts(prompts))
            }
            Self::Numbers(numbers) => {
                let known = model.classes() as i64;
                match numbers.iter().find(|number| !(-1..known).contains(*number)) {
                    Some(number) => Err(Error::Usage(format!(
                        "class_ {number}: this model has {known} classes, counted from 0; -1 asks for none"
                    ))),
                    None if numbers.iter().all(|number| *number == -1) => Ok(Classes::None),
                    None => Ok(Classes::InTurn(numbers)),
                }
            }
        }
    }
}

/// A model ready to draw.
#[pyclass(frozen, name = "Model", module = "rectiflow._rectiflow")]
struct Opened {
    model: Model,
    device: Chosen,
}

#[pymethods]
impl Opened {
    /// Opens a run's folder, a checkpoint, a released model or `demo`.
    #[new]
    fn open(py: Python<'_>, path: PathBuf, ema: Option<String>, device: &str) -> PyResult<Self> {
        alone(py, || {
            let device = device::choose(device)?;
            Ok(Self { model: Model::open(&path, which(ema.as_deref())?, &device)?, device })
        })
    }

    /// The checkpoint's file.
    #[getter]
    fn file(&self) -> PathBuf {
        self.model.file.clone()
    }

    /// The recipe it was trained by, as TOML.
    #[getter]
    fn recipe(&self) -> String {
        self.model.recipe.to_toml()
    }

    /// Lengths of what it draws.
    #[getter]
    fn shape(&self) -> Vec<usize> {
        self.model.drawn().lengths().to_vec()
    }

    /// Lengths of what its velocity moves: latents where it has a codec, else the same.
    #[getter]
    fn moved(&self) -> Vec<usize> {
        self.model.subject.shape.lengths().to_vec()
    }

    /// Lengths of what its codec encodes; none without one.
    #[getter]
    fn encoded(&self) -> Option<Vec<usize>> {
        self.model.codec.as_ref().map(|codec| codec.sample.lengths().to_vec())
    }

    /// Names of its classes.
    #[getter]
    fn classes(&self) -> Vec<String> {
        self.model.subject.classes.clone()
    }

    /// Numbers in its network.
    #[getter]
    fn parameters(&self) -> u64 {
        self.model.parameters
    }

    /// `num` samples of `seed`, as bytes.
    #[expect(clippy::too_many_arguments, reason = "Python's keywords")]
    fn sample<'py>(
        &self,
        py: Python<'py>,
        num: u64,
        seed: u64,
        asked: Option<Asked>,
        steps: Option<usize>,
        solver: Option<String>,
        guidance_scale: Option<f64>,
        batch: Option<usize>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let Self { model, device } = self;
        let rows = alone(py, || {
            if num == 0 {
                return Err(Error::Usage("num = 0: ask for at least one sample".into()));
            }
            let options =
                SampleOverrides { steps, solver, guidance: guidance_scale, batch, ..SampleOverrides::default() };
            let config = options.apply(&model.recipe.sample)?;
            let classes = asked.map_or_else(|| Classes::all(model), |asked| asked.classes(model))?;
            model.check_guidance(config.guidance.scale)?;
            let mut context = Context::new(device.clone(), Default::default(), |_| ());
            Ok(sampling::draw(model, &config, &classes, seed, 0..num, &mut context)?.rows)
        })?;
        Ok(bytes(py, &rows))
    }

    /// The velocity at rows `x` and their times `t`, as bytes.
    fn velocity<'py>(
        &self,
        py: Python<'py>,
        x: &[u8],
        t: Vec<f64>,
        asked: Option<Asked>,
        guidance_scale: f64,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let Self { model, device } = self;
        let x = floats(x)?;
        let rows = alone(py, || {
            let count = t.len();
            let x = tensor(x, count, model.subject.shape, device)?;
            if let Some(t) = t.iter().find(|t| !(0.0..=1.0).contains(*t)) {
                return Err(Error::Usage(format!("t = {t}: times lie between 0 (noise) and 1 (data)")));
            }
            let guidance = GuidanceConfig { scale: guidance_scale, ..GuidanceConfig::default() };
            guidance.check().map_err(|error| Error::Usage(error.to_string()))?;
            model.check_guidance(guidance_scale)?;
            let field = model.field(&guidance, model.recipe.sample.precision)?;
            let indices: Vec<u64> = (0..count as u64).collect();
            let condition = match asked.map(|asked| asked.classes(model)).transpose()? {
                None | Some(Classes::None) => Condition::none(),
                Some(classes) => model.condition(&classes, &indices, &device.device)?,
            };
            read(field.velocity(x, &Times::new(t), &condition))
        })?;
        Ok(bytes(py, &rows))
    }

    /// Latents of rows of samples, as bytes.
    fn encode<'py>(&self, py: Python<'py>, rows: &[u8], count: usize) -> PyResult<Bound<'py, PyBytes>> {
        let rows = floats(rows)?;
        let rows = alone(py, || {
            let codec = self.codec()?;
            read(codec.encode(tensor(rows, count, codec.sample, &self.device)?)?)
        })?;
        Ok(bytes(py, &rows))
    }

    /// Samples of rows of latents, as bytes.
    fn decode<'py>(&self, py: Python<'py>, rows: &[u8], count: usize) -> PyResult<Bound<'py, PyBytes>> {
        let rows = floats(rows)?;
        let rows = alone(py, || {
            let codec = self.codec()?;
            read(codec.decode(tensor(rows, count, codec.latent, &self.device)?))
        })?;
        Ok(bytes(py, &rows))
    }
}

impl Opened {
    fn codec(&self) -> Result<&Codec, Error> {
        let none = || {
            let file = self.model.file.display();
            Error::Usage(format!("{file} has no codec: it moves samples themselves, and nothing is to be encoded"))
        };
        self.model.codec.as_deref().ok_or_else(none)
    }
}

fn floats(bytes: &[u8]) -> PyResult<Vec<f32>> {
    let (whole, rest) = bytes.as_chunks::<4>();
    match rest.is_empty() {
        true => Ok(whole.iter().map(|four| f32::from_ne_bytes(*four)).collect()),
        false => Err(PyValueError::new_err("the bytes are no float32 numbers")),
    }
}

fn bytes<'py>(py: Python<'py>, rows: &[f32]) -> Bound<'py, PyBytes> {
    let bytes: Vec<u8> = rows.iter().flat_map(|value| value.to_ne_bytes()).collect();
    PyBytes::new(py, &bytes)
}

fn tensor(rows: Vec<f32>, count: usize, shape: Shape, device: &Chosen) -> Result<Tensor<2>, Error> {
    let wanted = count.checked_mul(shape.numel());
    if count == 0 || wanted != Some(rows.len()) {
        let (has, lengths) = (rows.len(), shape.lengths());
        return Err(Error::Usage(format!("{has} numbers are no {count} rows of shape {lengths:?}")));
    }
    Ok(Tensor::from_data(TensorData::new(rows, [count, shape.numel()]), &device.device))
}

fn read(tensor: Tensor<2>) -> Result<Vec<f32>, Error> {
    let read = tensor.try_into_vec_as::<f32>();
    read.map_err(|error| Error::Failure(format!("a tensor could not be read back from its device: {error}")))
}

#[pymodule]
mod _rectiflow {
    #[pymodule_export]
    use super::Opened;

    #[pymodule_init]
    fn init(module: &super::Bound<'_, super::PyModule>) -> super::PyResult<()> {
        use pyo3::types::PyModuleMethods;
        // Where the process has threads already, those are used.
        let _ = rectiflow::device::start_threads(None);
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
