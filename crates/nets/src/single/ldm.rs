//! Latent diffusion's names (Rombach et al., 2022) for the U-Net and the autoencoder of Stable Diffusion, which SD3 and FLUX kept
//! for their autoencoders.

use super::{Line, count};
use std::collections::BTreeSet;

/// What a U-Net's names say of its levels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Levels {
    /// Residual blocks of a level on the way down.
    layers: usize,
    /// For each level, fine to coarse, whether it reads text.
    reads: Vec<bool>,
    /// Transformers at each place that has one: two where the first reads pixels alone (AudioLDM 2, FlowSep).
    together: usize,
}

impl Levels {
    /// From the names of a single file: numbered inputs, a halving between two levels.
    pub fn of_single(names: &BTreeSet<String>) -> Self {
        let inputs = count(names, "input_blocks.");
        let halvings = (1..inputs).filter(|i| names.contains(&format!("input_blocks.{i}.0.op.weight"))).count();
        let levels = halvings + 1;
        let layers = (inputs.saturating_sub(1 + halvings) / levels).max(1);
        let reads = |level: usize| names.contains(&format!("input_blocks.{}.1.norm.weight", 1 + level * (layers + 1)));
        let together = 1 + usize::from(names.contains("middle_block.3.in_layers.0.weight"));
        Self { layers, reads: (0..levels).map(reads).collect(), together }
    }

    /// From diffusers' names.
    pub fn of_diffusers(names: &BTreeSet<String>) -> Self {
        let levels = count(names, "down_blocks.").max(1);
        // Never more in all than there are names, whatever the first level has.
        let layers = count(names, "down_blocks.0.resnets.").min(names.len() / levels).max(1);
        let reads = |level: usize| names.contains(&format!("down_blocks.{level}.attentions.0.norm.weight"));
        let together = count(names, "mid_block.attentions.").clamp(1, 2);
        Self { layers, reads: (0..levels).map(reads).collect(), together }
    }
}

/// A residual block of the U-Net.
fn resnet(lines: &mut Vec<Line>, one: &str, other: &str) {
    for (mine, theirs) in [
        ("in_layers.0", "norm1"),
        ("in_layers.2", "conv1"),
        ("emb_layers.1", "time_emb_proj"),
        ("out_layers.0", "norm2"),
        ("out_layers.3", "conv2"),
        ("skip_connection", "conv_shortcut"),
    ] {
        lines.push(Line::new(format!("{one}{mine}."), format!("{other}{theirs}.")));
    }
}

/// The map of a U-Net.
pub(super) fn unet(Levels { layers, reads, together }: Levels) -> Vec<Line> {
    let mut lines = vec![
        Line::new("input_blocks.0.0.", "conv_in."),
        Line::new("time_embed.0.", "time_embedding.linear_1."),
        Line::new("time_embed.2.", "time_embedding.linear_2."),
        Line::new("out.0.", "conv_norm_out."),
        Line::new("out.2.", "conv_out."),
    ];
    // The transformers after residual block `j`, which stand behind it under its number.
    let readers = |lines: &mut Vec<Line>, one: &str, other: &str, j: usize| {
        for k in 0..together {
            lines.push(Line::new(format!("{one}{}.", k + 1), format!("{other}attentions.{}.", j * together + k)));
        }
    };
    resnet(&mut lines, "middle_block.0.", "mid_block.resnets.0.");
    readers(&mut lines, "middle_block.", "mid_block.", 0);
    resnet(&mut lines, &format!("middle_block.{}.", together + 1), "mid_block.resnets.1.");
    let last = reads.len() - 1;
    for (level, reads_text) in reads.iter().enumerate() {
        for j in 0..layers {
            let (one, other) =
                (format!("input_blocks.{}.", 1 + level * (layers + 1) + j), format!("down_blocks.{level}."));
            resnet(&mut lines, &format!("{one}0."), &format!("{other}resnets.{j}."));
            if *reads_text {
                readers(&mut lines, &one, &other, j);
            }
        }
        if level < last {
            let number = (level + 1) * (layers + 1);
            let other = format!("down_blocks.{level}.downsamplers.0.conv.");
            lines.push(Line::new(format!("input_blocks.{number}.0.op."), other));
        }
        // On the way up, coarse to fine.
        let (up, reads_text) = (level, reads[last - level]);
        for j in 0..=layers {
            let (one, other) = (format!("output_blocks.{}.", up * (layers + 1) + j), format!("up_blocks.{up}."));
            resnet(&mut lines, &format!("{one}0."), &format!("{other}resnets.{j}."));
            if reads_text {
                readers(&mut lines, &one, &other, j);
            }
            if j == layers && up < last {
                let place = if reads_text { 1 + together } else { 1 };
                lines.push(Line::new(format!("{one}{place}.conv."), format!("{other}upsamplers.0.conv.")));
            }
        }
    }
    lines
}

/// The map of an autoencoder of `levels` levels.
pub fn autoencoder(levels: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    for side in ["encoder.", "decoder."] {
        lines.push(Line::new(format!("{side}norm_out."), format!("{side}conv_norm_out.")));
        for k in 0..2 {
            let (one, other) = (format!("{side}mid.block_{}.", k + 1), format!("{side}mid_block.resnets.{k}."));
            lines.push(Line::new(one, other));
        }
        let (one, other) = (format!("{side}mid.attn_1."), format!("{side}mid_block.attentions.0."));
        lines.push(Line::new(format!("{one}norm."), format!("{other}group_norm.")));
        for (mine, theirs) in [("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("proj_out", "to_out.0")] {
            lines.push(Line::new(format!("{one}{mine}."), format!("{other}{theirs}.")).kernel());
        }
    }
    for i in 0..levels {
        let back = levels - 1 - i;
        for (one, other) in [
            (format!("encoder.down.{i}."), format!("encoder.down_blocks.{i}.")),
            (format!("decoder.up.{i}."), format!("decoder.up_blocks.{back}.")),
        ] {
            // More blocks than any released level has.
            for j in 0..8 {
                let (one, other) = (format!("{one}block.{j}."), format!("{other}resnets.{j}."));
                lines.push(Line::new(format!("{one}nin_shortcut."), format!("{other}conv_shortcut.")));
                lines.push(Line::new(one, other));
            }
        }
        let (one, other) = (format!("encoder.down.{i}."), format!("encoder.down_blocks.{i}."));
        lines.push(Line::new(format!("{one}downsample.conv."), format!("{other}downsamplers.0.conv.")));
        let (one, other) = (format!("decoder.up.{i}."), format!("decoder.up_blocks.{back}."));
        lines.push(Line::new(format!("{one}upsample.conv."), format!("{other}upsamplers.0.conv.")));
    }
    // The same on both sides, said so that nothing is left over.
    for name in ["encoder.conv_in.", "encoder.conv_out.", "decoder.conv_in.", "decoder.conv_out."] {
        lines.push(Line::new(name, name));
    }
    lines.push(Line::new("quant_conv.", "quant_conv."));
    lines.push(Line::new("post_quant_conv.", "post_quant_conv."));
    lines
}
