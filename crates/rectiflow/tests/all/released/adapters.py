"""Corrections of low rank between this program and diffusers with peft, both ways: pictures of the same noise are compared.

    python crates/rectiflow/tests/all/released/adapters.py RECTIFLOW MODEL RUN

RECTIFLOW is the program, MODEL a released model's folder, RUN a run of `train --from MODEL --lora`. Needs torch, diffusers, peft,
transformers. Prints the largest difference of a pixel in [-1, 1] for each file, and fails above 1e-4.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import diffusers
import torch
from peft import LoraConfig
from safetensors.torch import load_file, save_file

PROMPT = "a red circle"


def main(program, model, run):
    torch.manual_seed(3)
    pipe = diffusers.DiffusionPipeline.from_pretrained(model)
    pipe.set_progress_bar_config(disable=True)
    net = getattr(pipe, "transformer", None) or pipe.unet
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        channels = 16 if hasattr(pipe, "transformer") else net.config.in_channels
        noise = torch.randn(1, channels, 16, 16)
        save_file({"noise": noise}, work / "noise.safetensors")
        before = theirs(pipe, noise)
        report("without corrections", ours(program, model, work, []), before)
        adapter = Path(run) / "adapter"
        files = [adapter / "pytorch_lora_weights.safetensors"]
        # diffusers reads no file of kohya's for Stable Diffusion 3, and of FLUX at its released size alone.
        files += [] if hasattr(pipe, "transformer") else [adapter / "kohya.safetensors"]
        for file in files:
            pipe.load_lora_weights(file.parent, weight_name=file.name)
            after = theirs(pipe, noise)
            print(f"{file.name}: changes a pixel by up to {(after - before).abs().max():.3f}")
            report(file.name, ours(program, model, work, ["--lora", file]), after)
            pipe.unload_lora_weights()
        # The other way: factors that peft made, saved by diffusers.
        net.add_adapter(LoraConfig(r=3, lora_alpha=5, target_modules=["to_q", "to_k", "to_v", "to_out.0"], init_lora_weights=False))
        after = theirs(pipe, noise)
        layers = {("transformer" if hasattr(pipe, "transformer") else "unet") + "_lora_layers": peft_state(net)}
        pipe.save_lora_weights(work / "peft", **layers, **metadata(pipe, net))
        file = work / "peft" / "pytorch_lora_weights.safetensors"
        report("peft's own", ours(program, model, work, ["--lora", file]), after)
        assert (after - before).abs().max() > 1e-2, "peft's own factors change nothing"


def kind(model):
    return json.loads((Path(model) / "model_index.json").read_text())["_class_name"]


def peft_state(net):
    from peft.utils import get_peft_model_state_dict

    return get_peft_model_state_dict(net)


def metadata(pipe, net):
    name = "transformer" if hasattr(pipe, "transformer") else "unet"
    from diffusers.training_utils import _collate_lora_metadata

    return _collate_lora_metadata({name: net})


def theirs(pipe, noise):
    settings = dict(num_inference_steps=4, output_type="pt", guidance_scale=1.0)
    if "Flux" in type(pipe).__name__:
        settings.update(height=64, width=64, max_sequence_length=64)
        noise = pipe._pack_latents(noise, 1, 16, 16, 16)
    elif "3" in type(pipe).__name__:
        settings.update(height=64, width=64, max_sequence_length=64)
    else:
        settings.update(height=64, width=64)
    with torch.no_grad():
        return (pipe(PROMPT, latents=noise, **settings).images * 2 - 1).clamp(-1, 1)


def ours(program, model, work, more):
    name = kind(model)
    settings = ["--double-shift"] if "3" in name else []
    settings += ["--max-sequence-length", "64"] if "3" in name or "Flux" in name else []
    settings += [] if "schnell" in str(model) else ["--guidance-scale", "1"]
    out = work / "ours.safetensors"
    out.unlink(missing_ok=True)
    subprocess.run(
        [program, "sample", model, "--prompt", PROMPT, "--steps", "4", "--height", "64", "--width", "64", "--noise",
         f"{work}/noise.safetensors:noise", "--output", out, *settings, *more],
        check=True, stdout=subprocess.DEVNULL)
    return load_file(out)["images"].clamp(-1, 1)


def report(what, a, b):
    far = (a - b).abs().max().item()
    print(f"{what}: {far:.1e} apart")
    assert far < 1e-4, what


if __name__ == "__main__":
    main(*sys.argv[1:4])
