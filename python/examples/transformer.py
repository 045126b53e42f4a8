"""Trains a small transformer on the CPU, character by character, in bfloat16 with float32 master weights.

Three runs with the same batches, all clipped: a float32 model with torch's AdamW, a bfloat16 model with
torch's AdamW, which has nothing but bfloat16, and a bfloat16 model with `downhill.torch.CPUAdam`, which takes
its gradients as they are, keeps float32 weights and states, and writes the new weights into the model, in
one call. Draws the loss curves and prints how long a step of the optimizer takes.

pip install downhill torch tqdm matplotlib
python transformer.py [--steps 300] [--text FILE] [--picture losses.svg]
"""

import argparse
import pathlib
import statistics
import time

import torch
from torch import nn
from torch.nn import functional
from tqdm import trange

from downhill.torch import CPUAdam

CONTEXT, WIDTH, HEADS, LAYERS, BATCH = 64, 192, 6, 4, 16


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)])
        self.project = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x):
        b, t, _ = x.shape
        q, k, v = self.project(self.norms[0](x)).view(b, t, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(b, t, WIDTH))
        return x + self.mlp(self.norms[1](x))


class Transformer(nn.Module):
    def __init__(self, symbols):
        super().__init__()
        self.symbol = nn.Embedding(symbols, WIDTH)
        self.place = nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*[Block() for _ in range(LAYERS)])
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, symbols, bias=False)

    def forward(self, x):
        x = self.symbol(x) + self.place.weight[: x.shape[1]]
        return self.head(self.norm(self.blocks(x)))


def groups(model):
    """Matrices decay, biases and norms do not."""
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]


def torch_adamw(model, lr):
    optimizer = torch.optim.AdamW(groups(model), lr=lr, betas=(0.9, 0.99), fused=True)

    def step():
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)

    return optimizer, step


def downhill_adam(model, lr):
    optimizer = CPUAdam(groups(model), lr=lr, betas=(0.9, 0.99))
    return optimizer, lambda: optimizer.step(max_norm=1.0, zero_grad=True)


RUNS = {
    "float32, torch AdamW": (torch.float32, torch_adamw),
    "bfloat16, torch AdamW": (torch.bfloat16, torch_adamw),
    "bfloat16, downhill CPUAdam": (torch.bfloat16, downhill_adam),
}


def train(name, text, symbols, steps):
    """The losses and the seconds of each step of the optimizer."""
    dtype, make = RUNS[name]
    torch.manual_seed(0)
    model = Transformer(symbols).to(dtype)
    optimizer, step = make(model, 1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, eta_min=1e-4)
    batches = torch.Generator().manual_seed(1)
    losses, seconds = [], []
    bar = trange(steps, desc=name, mininterval=0.5)
    for _ in bar:
        starts = torch.randint(len(text) - CONTEXT - 1, (BATCH, 1), generator=batches)
        places = starts + torch.arange(CONTEXT + 1)
        batch = text[places]
        logits = model(batch[:, :-1]).float()
        loss = functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        loss.backward()
        begin = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - begin)
        schedule.step()
        losses.append(loss.item())
        bar.set_postfix(loss=f"{statistics.mean(losses[-20:]):.3f}")
    return losses, seconds


def draw(curves, path):
    import matplotlib

    matplotlib.use("svg" if path.suffix == ".svg" else "agg")
    matplotlib.rcParams["svg.hashsalt"] = "downhill"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4))
    for (name, losses), style in zip(curves.items(), ("-", ":", "--")):
        smooth = [statistics.mean(losses[max(0, k - 20) : k + 1]) for k in range(len(losses))]
        axes.plot(smooth, style, label=name)
    axes.set_xlabel("step")
    axes.set_ylabel("loss, mean of 20 steps")
    axes.set_yscale("log")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--text", type=pathlib.Path, help="what to learn; default: this project's documents")
    parser.add_argument("--picture", type=pathlib.Path, default=pathlib.Path("losses.svg"))
    args = parser.parse_args()
    documents = pathlib.Path(__file__).parents[2]
    files = [args.text] if args.text else sorted([*documents.glob("*.md"), *documents.glob("docs/*.md")])
    characters = "".join(file.read_text(encoding="utf-8") for file in files)
    known = sorted(set(characters))
    text = torch.tensor([known.index(c) for c in characters])
    print(f"{len(text):,} characters, {len(known)} different ones")
    results = {name: train(name, text, len(known), args.steps) for name in RUNS}
    print(f"{'':28} final loss  step, µs")
    for name, (losses, seconds) in results.items():
        print(f"{name:28} {statistics.mean(losses[-20:]):10.3f} {statistics.median(seconds) * 1e6:9,.0f}")
    draw({name: losses for name, (losses, _) in results.items()}, args.picture)
    print(f"loss curves: {args.picture}")


if __name__ == "__main__":
    main()
