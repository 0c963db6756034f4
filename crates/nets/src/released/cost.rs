//! Work and memory of a pass of a released network, block by block. Its parameters are counted on the network itself.

use super::Sizes;
use crate::cost::{Cost, Tally};
use crate::{FluxConfig, MmditConfig, TextUnetConfig};

/// Text tokens of CLIP, of both its readers and T5 side by side, and of T5 alone (FLUX), by habit of the authors' pipelines.
const TEXT: [usize; 3] = [77, 77 + 256, 512];

/// A pass over latents `[c h w]`; parameters are left out.
pub(super) fn passes(sizes: &Sizes, [_, h, w]: [usize; 3]) -> Cost {
    let mut tally = Tally::default();
    match sizes {
        Sizes::Mmdit(config) => mmdit(&mut tally, config, h * w / (config.patch_size * config.patch_size)),
        Sizes::Flux(config) => flux(&mut tally, config, h * w / 4),
        Sizes::Unet(config) => unet(&mut tally, config, [h, w]),
    }
    tally.cost()
}

/// One stream of a joint block: modulation, queries, keys and values, what is heard, the perceptron.
fn stream(tally: &mut Tally, rows: usize, d: usize, whole: bool) {
    tally.linear(1, d, if whole { 6 * d } else { 2 * d }, true);
    tally.kept(rows * d); // first normalisation
    (0..3).for_each(|_| tally.linear(rows, d, d, true));
    tally.kept(2 * rows * d); // queries and keys in heads
    if whole {
        tally.linear(rows, d, d, true);
        tally.kept(2 * rows * d); // gated sum, second normalisation
        tally.linear(rows, d, 4 * d, true);
        tally.kept(rows * 4 * d);
        tally.linear(rows, 4 * d, d, true);
        tally.kept(rows * d); // gated sum
    }
}

fn joint(tally: &mut Tally, [n, m]: [usize; 2], d: usize, heads: usize, [dual, goes_on]: [bool; 2]) {
    tally.block((n + m) * d, |tally| {
        stream(tally, n, d, true);
        stream(tally, m, d, goes_on);
        tally.kept(3 * (n + m) * d); // joined queries, keys and values
        tally.attention(heads, n + m, n + m, d);
        if dual {
            tally.linear(1, d, 3 * d, true);
            tally.kept(n * d);
            (0..4).for_each(|_| tally.linear(n, d, d, true));
            tally.kept(3 * n * d);
            tally.attention(heads, n, n, d);
        }
    });
}

fn mmdit(tally: &mut Tally, config: &MmditConfig, n: usize) {
    let (d, m, p) = (config.width(), TEXT[1], config.patch_size);
    tally.linear(n, config.in_channels * p * p, d, true);
    tally.linear(m, config.joint_attention_dim, d, true);
    for i in 0..config.num_layers {
        let kind = [config.dual_attention_layers.contains(&i), i + 1 < config.num_layers];
        joint(tally, [n, m], d, config.num_attention_heads, kind);
    }
    tally.kept(n * d);
    tally.linear(n, d, p * p * config.out_channels, true);
}

fn flux(tally: &mut Tally, config: &FluxConfig, n: usize) {
    let (d, m, heads) = (config.width(), TEXT[2], config.num_attention_heads);
    tally.linear(n, config.in_channels, d, true);
    tally.linear(m, config.joint_attention_dim, d, true);
    (0..config.num_layers).for_each(|_| joint(tally, [n, m], d, heads, [false, true]));
    let all = n + m;
    for _ in 0..config.num_single_layers {
        tally.block(all * d, |tally| {
            tally.linear(1, d, 3 * d, true);
            tally.kept(all * d);
            (0..3).for_each(|_| tally.linear(all, d, d, true));
            tally.kept(4 * all * d); // queries and keys normalised and turned
            tally.attention(heads, all, all, d);
            tally.linear(all, d, 4 * d, true);
            tally.kept(all * 4 * d);
            tally.kept(all * 5 * d); // side by side
            tally.linear(all, 5 * d, d, true);
            tally.kept(all * d);
        });
    }
    tally.kept(n * d);
    tally.linear(n, d, config.in_channels, true);
}

/// A residual block, and the transformer behind it where the level reads text.
fn level(
    tally: &mut Tally,
    pixels: usize,
    [input, output]: [usize; 2],
    embedding: usize,
    reads: Option<(usize, usize, usize)>,
) {
    tally.block(output * pixels, |tally| {
        tally.group_norm(input, pixels);
        tally.conv(pixels, input, output, 3);
        tally.linear(1, embedding, output, true);
        tally.kept(output * pixels);
        tally.group_norm(output, pixels);
        tally.conv(pixels, output, output, 3);
        if input != output {
            tally.conv(pixels, input, output, 1);
        }
        tally.kept(output * pixels);
    });
    let Some((heads, text, blocks)) = reads else { return };
    tally.block(output * pixels, |tally| {
        let d = output;
        tally.group_norm(d, pixels);
        tally.linear(pixels, d, d, true);
        for _ in 0..blocks {
            for (n, features) in [(pixels, d), (TEXT[0], text)] {
                tally.kept(pixels * d); // normalisation
                tally.linear(pixels, d, d, false);
                (0..2).for_each(|_| tally.linear(n, features, d, false));
                tally.kept((pixels + 2 * n) * d);
                tally.attention(heads, pixels, n, d);
                tally.linear(pixels, d, d, true);
                tally.kept(pixels * d);
            }
            tally.kept(pixels * d);
            tally.linear(pixels, d, 8 * d, true);
            tally.kept(pixels * 8 * d); // gates, and the gated
            tally.linear(pixels, 4 * d, d, true);
            tally.kept(pixels * d);
        }
        tally.linear(pixels, d, d, true);
        tally.kept(pixels * d);
    });
}

fn unet(tally: &mut Tally, config: &TextUnetConfig, [h, w]: [usize; 2]) {
    let widths = &config.block_out_channels;
    let (first, last, embedding) = (widths[0], widths.len() - 1, 4 * widths[0]);
    let pixels = |i: usize| h.div_ceil(1 << i) * w.div_ceil(1 << i);
    let reading =
        |i: usize| (config.attention_head_dim.at(i), config.cross_attention_dim, config.transformer_layers_per_block);
    let reads = |types: &[String], i: usize, level: usize| types[i].starts_with("CrossAttn").then(|| reading(level));
    tally.conv(pixels(0), config.in_channels, first, 3);
    let (mut width, mut skips) = (first, vec![first]);
    for (i, &next) in widths.iter().enumerate() {
        for _ in 0..config.layers_per_block {
            level(tally, pixels(i), [width, next], embedding, reads(&config.down_block_types, i, i));
            width = next;
            skips.push(width);
        }
        if i < last {
            tally.conv(pixels(i + 1), width, width, 3);
            skips.push(width);
        }
    }
    level(tally, pixels(last), [width, width], embedding, Some(reading(last)));
    level(tally, pixels(last), [width, width], embedding, None);
    for i in 0..widths.len() {
        let at = last - i;
        for _ in 0..=config.layers_per_block {
            let skip = skips.pop().unwrap_or(first);
            tally.kept((width + skip) * pixels(at)); // joined
            level(tally, pixels(at), [width + skip, widths[at]], embedding, reads(&config.up_block_types, i, at));
            width = widths[at];
        }
        if i < last {
            tally.conv(pixels(at - 1), width, width, 3);
        }
    }
    tally.group_norm(first, pixels(0));
    tally.conv(pixels(0), first, config.out_channels, 3);
}
