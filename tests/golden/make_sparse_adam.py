"""sparse_adam.json: PyTorch's SparseAdam on some rows of a small table, some of them twice."""

import json
import random

import torch

COUNT, LENGTH, STEPS = 7, 3, 40
CONFIG = {"lr": 0.01, "beta1": 0.9, "beta2": 0.999, "eps": 1e-4}


def trained(w0, steps, dtype):
    """The table and its states after all steps."""
    w = torch.nn.Parameter(w0.to(dtype))
    optimizer = torch.optim.SparseAdam(
        [w], lr=CONFIG["lr"], betas=(CONFIG["beta1"], CONFIG["beta2"]), eps=CONFIG["eps"]
    )
    for rows, g in steps:
        w.grad = torch.sparse_coo_tensor([rows], g.to(dtype), (COUNT, LENGTH))
        optimizer.step()
    state = optimizer.state[w]
    return {
        "w": w.detach().flatten().tolist(),
        "m": state["exp_avg"].flatten().tolist(),
        "v": state["exp_avg_sq"].flatten().tolist(),
    }


def main():
    random.seed(1)
    torch.manual_seed(1)
    w0 = torch.randn(COUNT, LENGTH)
    lists = [[random.randrange(COUNT) for _ in range(random.randint(1, 5))] for _ in range(STEPS)]
    steps = [(rows, torch.randn(len(rows), LENGTH)) for rows in lists]
    answer = {
        "version": torch.__version__,
        "row_length": LENGTH,
        **CONFIG,
        "w0": w0.flatten().tolist(),
        "steps": [{"rows": rows, "g": g.flatten().tolist()} for rows, g in steps],
        "truth": trained(w0, steps, torch.float64),
        "torch": trained(w0, steps, torch.float32),
    }
    with open("sparse_adam.json", "w") as file:
        json.dump(answer, file)
        file.write("\n")


main()
