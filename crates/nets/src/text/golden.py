"""Numbers of tests.rs from the reference: pip install transformers torch.

    python golden.py [FOLDER with model.safetensors, config.json and tokenizer.json of all-MiniLM-L6-v2]

Without the folder only the rows of made-up weights are printed. `rectiflow data get minilm` fetches the three files.
"""

import math
import sys

import torch
from transformers import BertConfig, BertModel


def wave(name, *shape):
    """0.3 sin(1.7 i + sum of the name's bytes), row-major; one more for the weights of norms."""
    i = torch.arange(math.prod(shape), dtype=torch.float64)
    value = 0.3 * torch.sin(1.7 * i + sum(name.encode()))
    return (value + ("LayerNorm.weight" in name)).float().reshape(shape)


def show(what, y, every):
    print(f"{what}, every {every}th", [round(v, 6) for v in y.detach().flatten()[::every].tolist()])


small = BertConfig(
    vocab_size=20, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=12,
    max_position_embeddings=6, layer_norm_eps=1e-12,
)
net = BertModel(small, add_pooling_layer=False).eval()
with torch.no_grad():
    for name, p in net.named_parameters():
        p.copy_(wave(name, *p.shape))
ids = torch.tensor([[2, 7, 19, 3, 0, 0], [2, 4, 3, 0, 0, 0]])
mask = torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 1, 0, 0, 0]])
show("made up", net(ids, attention_mask=mask).last_hidden_state * mask[:, :, None], 7)

if len(sys.argv) > 1:
    from transformers import AutoModel, AutoTokenizer

    tokenizer, net = AutoTokenizer.from_pretrained(sys.argv[1]), AutoModel.from_pretrained(sys.argv[1]).eval()
    prompts = ["grinning face with big eyes", "Café: a hot beverage!", "woman’s hand, 32 bananas"]
    batch = tokenizer(prompts, padding="max_length", max_length=12, truncation=True, return_tensors="pt")
    print("ids", batch["input_ids"].tolist())
    y = net(**batch).last_hidden_state * batch["attention_mask"][:, :, None]
    show("published", y, 1531)
    mean = y.sum(1) / batch["attention_mask"].sum(1, keepdim=True)
    mean = torch.nn.functional.normalize(mean)
    print("cosines", [round(v, 6) for v in (mean @ mean.T).flatten().tolist()])
