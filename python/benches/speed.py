"""Times of whole optimizer steps beside torch.optim's and a NumPy loop, in one process.

All contestants of a row take turns on the same parameters and gradients; a ratio is the median of each round's
own, and above 1 downhill is faster.

python benches/speed.py [--rounds 15] [--threads 1] [--models gpt2 many large mlp] [--rules AdamW SGD ...]
                         [--max-norm 1] [--cold] [--sparse]
"""

import argparse
import statistics
import time

import numpy as np
import torch

import downhill
import downhill.torch as dt


def gpt2():
    block = [(768,), (768,), (768, 2304), (2304,), (768, 768), (768,), (768,), (768,)]
    block += [(768, 3072), (3072,), (3072, 768), (768,)]
    return [(50257, 768), (1024, 768), *block * 12, (768,), (768,)]


MODELS = {
    "mlp": ("20 tensors of a small MLP", lambda: [(64, 64), (64,)] * 10),
    "many": ("1,000 of 512", lambda: [(512,)] * 1000),
    "large": ("one of 16 Mi", lambda: [(1 << 24,)]),
    "gpt2": ("148 tensors of GPT-2", gpt2),
}
OPTIONS = {"SGD": {"momentum": 0.9}}
FUSED = ("SGD", "Adam", "AdamW", "Adagrad")
RULES = ("SGD", "Adagrad", "Adadelta", "RMSprop", "Adam", "AdamW", "Adamax", "NAdam", "RAdam")


def numpy_adamw(params):
    """What one writes by hand: AdamW over NumPy arrays, in place where that is easy."""
    arrays = [(p.detach().numpy(), p.grad.numpy()) for p in params]
    states = [(np.zeros_like(w), np.zeros_like(w)) for w, _ in arrays]
    t = 0

    def step():
        nonlocal t
        t += 1
        c1, c2 = 1 - 0.9**t, 1 - 0.999**t
        for (w, g), (m, v) in zip(arrays, states):
            w *= 1 - 1e-5
            m *= 0.9
            m += 0.1 * g
            v *= 0.999
            v += 0.001 * g * g
            w -= 1e-3 / c1 * m / (np.sqrt(v / c2) + 1e-8)

    return step


def contestants(rule, params, max_norm):
    options = OPTIONS.get(rule, {})
    ours = getattr(dt, rule)(params, **options, max_norm=max_norm)
    yield "downhill", ours.step
    theirs = getattr(torch.optim, rule)

    def clipped(optimizer):
        def step():
            torch.nn.utils.clip_grad_norm_(params, max_norm)
            optimizer.step()

        return step if max_norm else optimizer.step

    yield "foreach", clipped(theirs(params, **options, foreach=True))
    if rule in FUSED:
        yield "fused", clipped(theirs(params, **options, fused=True))
    if rule == "AdamW" and not max_norm:
        yield "NumPy", numpy_adamw(params)


def sparse_contestants(count, length, listed):
    """SparseAdam, with a gradient of random rows of a table, some of them more than once."""
    table = torch.nn.Parameter(torch.zeros(count, length))
    rows = torch.randint(count, (1, listed))
    table.grad = torch.sparse_coo_tensor(rows, torch.randn(listed, length), table.shape)
    return {who: of.SparseAdam([table]).step for who, of in (("downhill", dt), ("torch", torch.optim))}


def race(steps, rounds, evict):
    """Seconds of each step in each round; right after each other, or when caches hold something else."""
    times = {name: [] for name in steps}
    for step in steps.values():
        step()
        step()
    # Enough calls for a clock, as many for all.
    begin = time.perf_counter()
    steps["downhill"]()
    calls = 1 if evict else max(1, int(5e-3 / (time.perf_counter() - begin)))
    other = np.zeros(1 << 24, np.float32)
    for _ in range(rounds):
        for name, step in steps.items():
            if evict:
                other += 1
            else:
                step()
            begin = time.perf_counter()
            for _ in range(calls):
                step()
            times[name].append((time.perf_counter() - begin) / calls)
    return times


def ratio(times, name):
    """How much longer than downhill this one takes."""
    if name not in times:
        return "–"
    return f"{statistics.median(a / b for a, b in zip(times[name], times['downhill'])):.2f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--rules", nargs="+", choices=RULES, default=["AdamW"])
    parser.add_argument("--max-norm", type=float, default=0.0)
    parser.add_argument("--cold", action="store_true", help="something else is in the caches before each step")
    parser.add_argument("--sparse", action="store_true", help="SparseAdam instead, on 64 Ki of a table's 1 Mi rows")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"torch {torch.__version__}, downhill {downhill.__version__}, {downhill.isa()}, {args.threads} threads")
    if args.sparse:
        times = race(sparse_contestants(1 << 20, 128, 1 << 16), args.rounds, args.cold)
        print("| rows | rule | downhill, µs | vs torch |\n|---|---|--:|--:|")
        own = f"{statistics.median(times['downhill']) * 1e6:,.0f}"
        print(f"| 64 Ki of 128, of 1 Mi | SparseAdam | {own} | {ratio(times, 'torch')} |")
        return
    print("| tensors | rule | downhill, µs | vs foreach | vs fused | vs NumPy |\n|---|---|--:|--:|--:|--:|")
    for model in args.models:
        label, shapes = MODELS[model]
        for rule in args.rules:
            torch.manual_seed(0)
            params = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes()]
            for p in params:
                p.grad = torch.randn_like(p)
            times = race(dict(contestants(rule, params, args.max_norm)), args.rounds, args.cold)
            own = times["downhill"]
            ratios = [ratio(times, name) for name in ("foreach", "fused", "NumPy")]
            cells = [label, rule, f"{statistics.median(own) * 1e6:,.0f}", *ratios]
            print("|", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
