"""Fused, vectorized optimizer steps on the CPU, with the same bits everywhere.

A plain step for every rule, in place, on float32 arrays (and 16-bit ones)::

    import downhill, numpy as np

    w, m, v = np.ones(1000, np.float32), np.zeros(1000, np.float32), np.zeros(1000, np.float32)
    for t in range(1, 101):
        g = 2 * w                                    # the gradient of the sum of squares
        downhill.adam_step(w, g, m, v, t, lr=0.1)

A whole step (`step`) for any number of tensors in groups: scale, clip by the norm of all gradients, skip
if one is not finite, update, copy, zero. Optimizers for PyTorch are in `downhill.torch`.

Arrays are NumPy arrays, or whatever has a buffer or DLPack: C-contiguous and in native byte order. Wrong
ones raise a ValueError that names the argument, and nothing has been written then. Steps release the GIL;
no other thread may resize or free an array meanwhile.
"""

from . import _docs
from ._downhill import (
    Group,
    Pool,
    Report,
    Rule,
    Tensor,
    __version__,
    convert,
    grad_squares,
    isa,
    pack,
    rules,
    state_bytes,
    step,
    unpack,
)

__all__ = [
    "Group",
    "Pool",
    "Report",
    "Rule",
    "Tensor",
    "__version__",
    "convert",
    "grad_squares",
    "isa",
    "pack",
    "rules",
    "state_bytes",
    "step",
    "unpack",
]


def _function(rule):
    """The plain step of a rule, as a function."""
    run = rule.step

    def plain_step(*args, **kwargs):
        run(args, kwargs)

    plain_step.__name__ = plain_step.__qualname__ = f"{rule.name}_step"
    plain_step.__signature__ = _docs.signature(rule)
    plain_step.__doc__ = _docs.docstring(rule)
    return plain_step


for _rule in rules():
    globals()[f"{_rule.name}_step"] = _function(_rule)
    __all__.append(f"{_rule.name}_step")
del _rule
