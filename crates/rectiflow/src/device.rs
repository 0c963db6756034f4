//! From `--device cpu | cuda:0 | wgpu` to a device, or to a message that says why not.

use crate::Error;
use burn::tensor::Device;
pub use kernels::on_a_worker;

/// A device and the name the user knows it by.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// Where tensors live.
    pub device: Device,
    /// "cpu", "cuda:0", "wgpu".
    pub name: String,
}

impl Chosen {
    /// The processor.
    pub fn cpu() -> Self {
        Self { device: Device::flex(), name: "cpu".into() }
    }
}

/// The device called `name`.
///
/// # Errors
/// [`Error::Usage`] for a name that no build knows, [`Error::Failure`] for one that this build or this machine lacks.
pub fn choose(name: &str) -> Result<Chosen, Error> {
    let (kind, index) = name.split_once(':').map_or((name, None), |(kind, index)| (kind, Some(index)));
    let number: usize = match index.map(str::parse).transpose() {
        Ok(number) => number.unwrap_or(0),
        Err(_) => return Err(Error::Usage(format!("--device {name}: `{}` is no device number", index.unwrap_or("")))),
    };
    match kind {
        "cpu" if number == 0 => Ok(Chosen::cpu()),
        "cpu" => Err(Error::Failure(format!("--device {name}: there is one CPU device, `cpu`; see also --threads"))),
        "cuda" => cuda(number),
        "wgpu" => wgpu(number),
        _ => Err(Error::Usage(format!("--device {name} is unknown; use cpu, cuda:0 or wgpu"))),
    }
}

#[cfg(not(feature = "cuda"))]
fn cuda(number: usize) -> Result<Chosen, Error> {
    Err(missing_feature(&format!("cuda:{number}"), "cuda"))
}

#[cfg(not(feature = "wgpu"))]
fn wgpu(_: usize) -> Result<Chosen, Error> {
    Err(missing_feature("wgpu", "wgpu"))
}

#[cfg(not(all(feature = "cuda", feature = "wgpu")))]
fn missing_feature(name: &str, feature: &str) -> Error {
    Error::Failure(format!(
        "--device {name}: this program was built without the cargo feature `{feature}`; \
         build it with `cargo build --release --features {feature}` or use --device cpu"
    ))
}

#[cfg(feature = "cuda")]
fn cuda(number: usize) -> Result<Chosen, Error> {
    present(&format!("cuda:{number}"), number, burn::tensor::DeviceType::Cuda, || Device::cuda(number))
}

#[cfg(feature = "wgpu")]
fn wgpu(number: usize) -> Result<Chosen, Error> {
    let kind = if number == 0 {
        burn::tensor::DeviceKind::DefaultDevice
    } else {
        burn::tensor::DeviceKind::DiscreteGpu(number)
    };
    present("wgpu", number, burn::tensor::DeviceType::Wgpu, || Device::wgpu(kind))
}

/// The drivers panic where there is no device; here that is an answer.
#[cfg(any(feature = "cuda", feature = "wgpu"))]
fn present(
    name: &str,
    number: usize,
    kind: burn::tensor::DeviceType,
    make: impl FnOnce() -> Device,
) -> Result<Chosen, Error> {
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let found = std::panic::catch_unwind(|| Device::enumerate(kind).len()).unwrap_or(0);
    std::panic::set_hook(quiet);
    if number >= found {
        return Err(Error::Failure(format!(
            "--device {name}: no such device ({found} found); check the driver, or use --device cpu"
        )));
    }
    Ok(Chosen { device: make(), name: name.into() })
}

/// Starts the processor threads that the kernels share their work among: `None` for one to each processor.
///
/// # Errors
/// Where the number is zero or threads have been started already.
pub fn start_threads(threads: Option<usize>) -> Result<(), Error> {
    if threads == Some(0) {
        return Err(Error::Usage("--threads 0: use at least 1".into()));
    }
    // The whole program runs on one of them, and wants a main thread's stack.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.unwrap_or(0)).stack_size(8 << 20).build_global();
    pool.map_err(|error| Error::Failure(format!("the processor threads do not start: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wrong_device_has_its_own_answer() {
        let said = |name: &str| choose(name).unwrap_err();
        assert!(choose("cpu").is_ok());
        assert_eq!(said("tpu").exit_code(), 2);
        assert_eq!(said("cuda:x").exit_code(), 2);
        assert_eq!(said("cpu:3").exit_code(), 1);
        #[cfg(not(feature = "cuda"))]
        assert!(said("cuda:0").to_string().contains("cargo feature `cuda`"));
        #[cfg(not(feature = "wgpu"))]
        assert!(said("wgpu").to_string().contains("cargo feature `wgpu`"));
    }
}
