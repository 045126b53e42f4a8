"""Fused, vectorized optimizer steps on the CPU, with the same bits everywhere."""

# Written by stubs.py.

from collections.abc import Sequence
from typing import Any, Literal, Protocol, Union

class HasDLPack(Protocol):
    def __dlpack__(self, *args: Any, **kwargs: Any) -> Any: ...

# NumPy arrays and other objects with a buffer, for which Python 3.9 has no type; or with DLPack.
Array = Union[HasDLPack, Any]
Rounding = Literal["stochastic", "nearest"]
Threads = Union[None, int, "Pool"]

__version__: str

class Pool:
    threads: int
    def __init__(self, threads: int = 0) -> None: ...
    @staticmethod
    def on(cpus: Sequence[int]) -> Pool: ...

class Rule:
    name: str
    states: list[str]
    optional_states: list[str]
    counts: bool
    hyperparameters: list[tuple[str, Any, str]]
    def states_with(self, **hyperparameters: Any) -> list[str]: ...
    def step(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None: ...
    def reference_step(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None: ...

class Tensor:
    w: Array
    g: Array | None
    states: tuple[Array, ...]
    low: Array | None
    copy: Array | None
    t: int
    first_element: int | None
    rows: Array | None
    row_length: int | None
    merge: bool
    row_t: Array | None
    def __init__(
        self,
        w: Array,
        g: Array | None,
        *states: Array,
        low: Array | None = None,
        copy: Array | None = None,
        t: int = 0,
        first_element: int | None = None,
        rows: Array | None = None,
        row_length: int | None = None,
        merge: bool = False,
        row_t: Array | None = None,
    ) -> None: ...

class Group:
    rule: str
    states: list[str]
    hyperparameters: dict[str, Any]
    tensors: list[Tensor]
    t: int
    rounding: Rounding
    seed: int
    clamp: tuple[float, float] | None
    def __init__(
        self,
        rule: str,
        tensors: Sequence[Tensor],
        t: int,
        *,
        rounding: Rounding = "stochastic",
        seed: int = 0,
        clamp: tuple[float, float] | None = None,
        **hyperparameters: Any,
    ) -> None: ...
    def set(self, **hyperparameters: Any) -> None: ...

class Report:
    grad_norm: float | None
    applied_scale: float
    skipped: bool
    tensors_updated: int
    nonfinite: tuple[int, int, int, float] | None

def isa() -> str: ...
def rules() -> list[Rule]: ...
def step(
    groups: Sequence[Group],
    *,
    grad_scale: float = 1.0,
    max_norm: float = 0.0,
    zero_grad: bool = False,
    skip_nonfinite: bool = False,
    grad_norm: bool = False,
    norm_squared: float | None = None,
    threads: Threads = None,
) -> Report: ...
def grad_squares(groups: Sequence[Group], *, threads: Threads = None) -> list[float]: ...
def state_bytes(rule: str, n: int, **hyperparameters: Any) -> int: ...
def pack(rule: str, states: Sequence[Array], packed: Array, **hyperparameters: Any) -> None: ...
def unpack(rule: str, packed: Array, states: Sequence[Array], **hyperparameters: Any) -> None: ...
def convert(
    source: Array, target: Array, *, source_low: Array | None = None, target_low: Array | None = None
) -> None: ...

def sgd_step(
    w: Array,
    g: Array,
    t: int | None = None,
    *,
    lr: float = 0.001,
    weight_decay: float = 0.0,
    decay: Literal["l2", "decoupled"] = "l2",
    rounding: Rounding = "stochastic",
    seed: int = 0,
) -> None:
    """One step of sgd.

        w −= η·g

    Robbins & Monro, "A Stochastic Approximation Method", 1951.

    `w` (weights) and `g` (gradient) are float32, bfloat16 or float16 arrays of one shape. `w` is updated in place.
    `t`, the number of this step from 1, matters for random rounding only.

    Hyper-parameters, defaults and what they may be:
        lr=0.001: at least 0
        weight_decay=0.0: at least 0
        decay='l2': "l2", "decoupled"

    `rounding` ("stochastic" or "nearest") and `seed` are for weights and states of 16 bits.

    Raises ValueError that names the argument if an array has another type or shape, is not
    C-contiguous, is read-only or overlaps another, or if a number is out of its range. Nothing has
    been written then.
    """

def momentum_step(
    w: Array,
    g: Array,
    u: Array,
    t: int | None = None,
    *,
    lr: float = 0.001,
    momentum: float = 0.9,
    dampening: float = 0.0,
    form: Literal["classic", "torch"] = "classic",
    weight_decay: float = 0.0,
    decay: Literal["l2", "decoupled"] = "l2",
    rounding: Rounding = "stochastic",
    seed: int = 0,
) -> None:
    """One step of momentum.

        classic: u = γ·u + η·g; w −= u
        torch: u = γ·u + (1−τ)·g; w −= η·u

    Rumelhart, Hinton & Williams, "Learning representations by back-propagating errors", 1986.

    `w` (weights) and `g` (gradient) are float32, bfloat16 or float16 arrays of one shape. `u`: the states, float32 or bfloat16 arrays of that shape, zeros at first. All but `g` are updated in place.
    `t`, the number of this step from 1, matters for random rounding only.

    Hyper-parameters, defaults and what they may be:
        lr=0.001: at least 0
        momentum=0.9: at least 0 and below 1
        dampening=0.0: from 0 to 1
        form='classic': "classic", "torch"
        weight_decay=0.0: at least 0
        decay='l2': "l2", "decoupled"

    `rounding` ("stochastic" or "nearest") and `seed` are for weights and states of 16 bits.

    Raises ValueError that names the argument if an array has another type or shape, is not
    C-contiguous, is read-only or overlaps another, or if a number is out of its range. Nothing has
    been written then.
    """

def nesterov_step(
    w: Array,
    g: Array,
    u: Array,
    t: int | None = None,
    *,
    lr: float = 0.001,
    momentum: float = 0.9,
    form: Literal["classic", "torch"] = "classic",
    weight_decay: float = 0.0,
    decay: Literal["l2", "decoupled"] = "l2",
    rounding: Rounding = "stochastic",
    seed: int = 0,
) -> None:
    """One step of nesterov.

        classic: u = γ·u + η·g; w −= γ·u + η·g
        torch: u = γ·u + g; w −= η·(g + γ·u)

    Nesterov, "A method for solving the convex programming problem with convergence rate O(1/k²)", 1983, as in Sutskever, Martens, Dahl & Hinton, "On the importance of initialization and momentum in deep learning", 2013.

    `w` (weights) and `g` (gradient) are float32, bfloat16 or float16 arrays of one shape. `u`: the states, float32 or bfloat16 arrays of that shape, zeros at first. All but `g` are updated in place.
    `t`, the number of this step from 1, matters for random rounding only.

    Hyper-parameters, defaults and what they may be:
        lr=0.001: at least 0
        momentum=0.9: at least 0 and below 1
        form='classic': "classic", "torch"
        weight_decay=0.0: at least 0
        decay='l2': "l2", "decoupled"

    `rounding` ("stochastic" or "nearest") and `seed` are for weights and states of 16 bits.

    Raises ValueError that names the argument if an array has another type or shape, is not
    C-contiguous, is read-only or overlaps another, or if a number is out of its range. Nothing has
    been written then.
    """

def adagrad_step(
    w: Array,
    g: Array,
    s: Array,
    t: int | None = None,
    *,
    lr: float = 0.01,
    eps: float = 1e-10,
    weight_decay: float = 0.0,
    decay: Literal["l2", "decoupled"] = "l2",
    rounding: Rounding = "stochastic",
    seed: int = 0,
) -> None:
    """One step of adagrad.

        s += g·g; w −= (η·g)/(√s + ε)

    Duchi, Hazan & Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic Optimization", 2011.

    `w` (weights) and `g` (gradient) are float32, bfloat16 or float16 arrays of one shape. `s`: the states, float32 or bfloat16 arrays of that shape, zeros at first. All but `g` are updated in place.
    `t`, the number of this step from 1, matters for random rounding only.

    Hyper-parameters, defaults and what they may be:
        lr=0.01: at least 0
        eps=1e-10: at least 0
        weight_decay=0.0: at least 0
        decay='l2': "l2", "decoupled"

    `rounding` ("stochastic" or "nearest") and `seed` are for weights and states of 16 bits.

    Raises ValueError that names the argument if an array has another type or shape, is not
    C-contiguous, is read-only or overlaps another, or if a number is out of its range. Nothing has
    been written then.
    """

def adadelta_step(
    w: Array,
    g: Array,
    v: Array,
    u: Array,
    t: int | None = None,
    *,
    lr: float = 1.0,
    rho: float = 0.9,
    eps: float = 1e-06,
    weight_decay: float = 0.0,
    decay: Literal["l2", "decoupled"] = "l2",
    rounding: Rounding = "stochastic",
    seed: int = 0,
) -> None:
    """One step of adadelta.

        v = ρ·v + ((1−ρ)·g)·g; d = (√(u+ε)/√(v+ε))·g; u = ρ·u + ((1−ρ)·d)·d; w −= η·d

    Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012.

    `w` (weights) and `g` (gradient) are float32, bfloat16 or float16 arrays of one shape. `v`, `u`: the states, float32 or bfloat16 arrays of that shape, zeros at first. All but `g` are updated in place.
    `t`, the number of this step from 1, matters for random rounding only.

    Hyper-parameters, defaults and what they may be:
        lr=1.0: at least 0
        rho=0.9: from 0 to 1
        eps=1e-06: at least 0
        weight_decay=0.0: at least 0
        decay='l2': "l2", "decoupled"

    `rounding` ("stochastic" or "nearest") and `seed` are for weights and states of 16 bits.

    Raises ValueError that names the argument if an array has another type or shape, is not
    C-contiguous, is read-only or overlaps another, or if a number is out of its range. Nothing has
    been written then.
    """

def rmsprop_step(
    w: Array,
    g: Array,
    v: Array,
    g_avg: Array | None = None,
    u: Array | None = None,
    t: int | None = None,
    *,
    lr: float = 0.01,
    alpha: float = 0.99,
    eps: float = 1e-08,
    momentum: float = 0.0,
    centered: bool = False,
    weight_decay: float = 0.0,
    decay: Literal["l2", "decoupled"] = "l2",
    rounding: Rounding = "stochastic",
    seed: int = 0,
) -> None:
    """One step of rmsprop.

        v = α·v + ((1−α)·g)·g; r = √v + ε
        centered: ḡ = α·ḡ + (1−α)·g; r = √max(v − ḡ·ḡ, 0) + ε
        w −= (η·g)/r; with momentum u = γ·u + g/r; w −= η·u

    Tieleman & Hinton, "Lecture 6.5: rmsprop", 2012; centered: Graves, "Generating Sequences With Recurrent Neural Networks", 2013.

    `w` (weights) and `g` (gradient) are float32, bfloat16 or float16 arrays of one shape. `v`, `g_avg` (if there is one), `u` (if there is one): the states, float32 or bfloat16 arrays of that shape, zeros at first. All but `g` are updated in place.
    `t`, the number of this step from 1, matters for random rounding only.

    Hyper-parameters, defaults and what they may be:
        lr=0.01: at least 0
        alpha=0.99: from 0 to 1
        eps=1e-08: at least 0
        momentum=0.0: at least 0 and below 1
        centered=False: True or False
        weight_decay=0.0: at least 0
        decay='l2': "l2", "decoupled"

    `rounding` ("stochastic" or "nearest") and `seed` are for weights and states of 16 bits.

    Raises ValueError that names the argument if an array has another type or shape, is not
    C-contiguous, is read-only or overlaps another, or if a number is out of its range. Nothing has
    been written then.
    """

def adam_step(
    w: Array,
    g: Array,
    m: Array | None,
    v: Array,
    t: int,
    *,
    lr: float = 0.001,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-08,
    bias_correction: Literal["step", "constant", "none"] = "step",
    weight_decay: float = 0.0,
    decay: Literal["l2", "decoupled"] = "l2",
    rounding: Rounding = "stochastic",
    seed: int = 0,
) -> None:
    """One step of adam.

        m = β1·m + (1−β1)·g; v = β2·v + ((1−β2)·g)·g; w −= (a·m)/(√v·k + ε)
        with a = η/c1, k = 1/√c2; with β1 = 0 g takes the place of m

    Kingma & Ba, "Adam: A Method for Stochastic Optimization", 2014; AdaMax is its section 7.1, with ε as in PyTorch.

    `w` (weights) and `g` (gradient) are float32, bfloat16 or float16 arrays of one shape. `m` (if there is one), `v`: the states, float32 or bfloat16 arrays of that shape, zeros at first. All but `g` are updated in place.
    `t` is the number of this step and counts from 1.

    Hyper-parameters, defaults and what they may be:
        lr=0.001: at least 0
        beta1=0.9: at least 0 and below 1
        beta2=0.999: at least 0 and below 1
        eps=1e-08: at least 0
        bias_correction='step': "step", "constant", "none"
        weight_decay=0.0: at least 0
        decay='l2': "l2", "decoupled"

    `rounding` ("stochastic" or "nearest") and `seed` are for weights and states of 16 bits.

    Raises ValueError that names the argument if an array has another type or shape, is not
    C-contiguous, is read-only or overlaps another, or if a number is out of its range. Nothing has
    been written then.
    """

def adamw_step(
    w: Array,
    g: Array,
    m: Array | None,
    v: Array,
    t: int,
    *,
    lr: float = 0.001,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-08,
    bias_correction: Literal["step", "constant", "none"] = "step",
    weight_decay: float = 0.01,
    rounding: Rounding = "stochastic",
    seed: int = 0,
) -> None:
    """One step of adamw.

        w *= 1 − η·λ, then Adam: as PyTorch's AdamW

    Loshchilov & Hutter, "Decoupled Weight Decay Regularization", 2019.

    `w` (weights) and `g` (gradient) are float32, bfloat16 or float16 arrays of one shape. `m` (if there is one), `v`: the states, float32 or bfloat16 arrays of that shape, zeros at first. All but `g` are updated in place.
    `t` is the number of this step and counts from 1.

    Hyper-parameters, defaults and what they may be:
        lr=0.001: at least 0
        beta1=0.9: at least 0 and below 1
        beta2=0.999: at least 0 and below 1
        eps=1e-08: at least 0
        bias_correction='step': "step", "constant", "none"
        weight_decay=0.01: at least 0

    `rounding` ("stochastic" or "nearest") and `seed` are for weights and states of 16 bits.

    Raises ValueError that names the argument if an array has another type or shape, is not
    C-contiguous, is read-only or overlaps another, or if a number is out of its range. Nothing has
    been written then.
    """

def amsgrad_step(
    w: Array,
    g: Array,
    m: Array,
    v: Array,
    v_max: Array,
    t: int,
    *,
    lr: float = 0.001,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-08,
    bias_correction: Literal["step", "constant", "none"] = "step",
    weight_decay: float = 0.0,
    decay: Literal["l2", "decoupled"] = "l2",
    rounding: Rounding = "stochastic",
    seed: int = 0,
) -> None:
    """One step of amsgrad.

        as Adam, with v_max = max(v_max, v) in the place of v in the denominator

    Reddi, Kale & Kumar, "On the Convergence of Adam and Beyond", 2018, with Adam's bias correction as in PyTorch.

    `w` (weights) and `g` (gradient) are float32, bfloat16 or float16 arrays of one shape. `m`, `v`, `v_max`: the states, float32 or bfloat16 arrays of that shape, zeros at first. All but `g` are updated in place.
    `t` is the number of this step and counts from 1.

    Hyper-parameters, defaults and what they may be:
        lr=0.001: at least 0
        beta1=0.9: at least 0 and below 1
        beta2=0.999: at least 0 and below 1
        eps=1e-08: at least 0
        bias_correction='step': "step", "constant", "none"
        weight_decay=0.0: at least 0
        decay='l2': "l2", "decoupled"

    `rounding` ("stochastic" or "nearest") and `seed` are for weights and states of 16 bits.

    Raises ValueError that names the argument if an array has another type or shape, is not
    C-contiguous, is read-only or overlaps another, or if a number is out of its range. Nothing has
    been written then.
    """

def adamax_step(
    w: Array,
    g: Array,
    m: Array,
    u: Array,
    t: int,
    *,
    lr: float = 0.002,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-08,
    weight_decay: float = 0.0,
    decay: Literal["l2", "decoupled"] = "l2",
    rounding: Rounding = "stochastic",
    seed: int = 0,
) -> None:
    """One step of adamax.

        m as Adam; u = max(β2·u, abs(g) + ε); w −= (a·m)/u with a = η/(1−β1^t)

    Kingma & Ba, "Adam: A Method for Stochastic Optimization", 2014; AdaMax is its section 7.1, with ε as in PyTorch.

    `w` (weights) and `g` (gradient) are float32, bfloat16 or float16 arrays of one shape. `m`, `u`: the states, float32 or bfloat16 arrays of that shape, zeros at first. All but `g` are updated in place.
    `t` is the number of this step and counts from 1.

    Hyper-parameters, defaults and what they may be:
        lr=0.002: at least 0
        beta1=0.9: at least 0 and below 1
        beta2=0.999: at least 0 and below 1
        eps=1e-08: at least 0
        weight_decay=0.0: at least 0
        decay='l2': "l2", "decoupled"

    `rounding` ("stochastic" or "nearest") and `seed` are for weights and states of 16 bits.

    Raises ValueError that names the argument if an array has another type or shape, is not
    C-contiguous, is read-only or overlaps another, or if a number is out of its range. Nothing has
    been written then.
    """

def nadam_step(
    w: Array,
    g: Array,
    m: Array,
    v: Array,
    t: int,
    *,
    lr: float = 0.002,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-08,
    momentum_decay: float = 0.004,
    weight_decay: float = 0.0,
    decay: Literal["l2", "decoupled"] = "l2",
    rounding: Rounding = "stochastic",
    seed: int = 0,
) -> None:
    """One step of nadam.

        m, v as Adam; r = √(v·(1/c2)) + ε; w −= (a·g)/r; w −= (b·m)/r
        with c2 = 1−β2^t, μ_t = β1·(1 − ½·0.96^(t·ψ)), Π = μ_1·…·μ_t, a = η·(1−μ_t)/(1−Π), b = η·μ_(t+1)/(1−Π·μ_(t+1))

    Dozat, "Incorporating Nesterov Momentum into Adam", 2016.

    `w` (weights) and `g` (gradient) are float32, bfloat16 or float16 arrays of one shape. `m`, `v`: the states, float32 or bfloat16 arrays of that shape, zeros at first. All but `g` are updated in place.
    `t` is the number of this step and counts from 1.

    Hyper-parameters, defaults and what they may be:
        lr=0.002: at least 0
        beta1=0.9: at least 0 and below 1
        beta2=0.999: at least 0 and below 1
        eps=1e-08: at least 0
        momentum_decay=0.004: at least 0
        weight_decay=0.0: at least 0
        decay='l2': "l2", "decoupled"

    `rounding` ("stochastic" or "nearest") and `seed` are for weights and states of 16 bits.

    Raises ValueError that names the argument if an array has another type or shape, is not
    C-contiguous, is read-only or overlaps another, or if a number is out of its range. Nothing has
    been written then.
    """

def lion_step(
    w: Array,
    g: Array,
    m: Array,
    t: int | None = None,
    *,
    lr: float = 0.0001,
    beta1: float = 0.9,
    beta2: float = 0.99,
    weight_decay: float = 0.0,
    decay: Literal["l2", "decoupled"] = "l2",
    rounding: Rounding = "stochastic",
    seed: int = 0,
) -> None:
    """One step of lion.

        w −= η·sign(β1·m + (1−β1)·g) with sign(0) = 0; m = β2·m + (1−β2)·g

    Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023.

    `w` (weights) and `g` (gradient) are float32, bfloat16 or float16 arrays of one shape. `m`: the states, float32 or bfloat16 arrays of that shape, zeros at first. All but `g` are updated in place.
    `t`, the number of this step from 1, matters for random rounding only.

    Hyper-parameters, defaults and what they may be:
        lr=0.0001: at least 0
        beta1=0.9: at least 0 and below 1
        beta2=0.99: at least 0 and below 1
        weight_decay=0.0: at least 0
        decay='l2': "l2", "decoupled"

    `rounding` ("stochastic" or "nearest") and `seed` are for weights and states of 16 bits.

    Raises ValueError that names the argument if an array has another type or shape, is not
    C-contiguous, is read-only or overlaps another, or if a number is out of its range. Nothing has
    been written then.
    """

def signum_step(
    w: Array,
    g: Array,
    m: Array,
    t: int | None = None,
    *,
    lr: float = 0.0001,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    decay: Literal["l2", "decoupled"] = "l2",
    rounding: Rounding = "stochastic",
    seed: int = 0,
) -> None:
    """One step of signum.

        m = γ·m + (1−γ)·g; w −= η·sign(m) with sign(0) = 0

    Bernstein, Wang, Azizzadenesheli & Anandkumar, "signSGD: Compressed Optimisation for Non-Convex Problems", 2018.

    `w` (weights) and `g` (gradient) are float32, bfloat16 or float16 arrays of one shape. `m`: the states, float32 or bfloat16 arrays of that shape, zeros at first. All but `g` are updated in place.
    `t`, the number of this step from 1, matters for random rounding only.

    Hyper-parameters, defaults and what they may be:
        lr=0.0001: at least 0
        momentum=0.9: at least 0 and below 1
        weight_decay=0.0: at least 0
        decay='l2': "l2", "decoupled"

    `rounding` ("stochastic" or "nearest") and `seed` are for weights and states of 16 bits.

    Raises ValueError that names the argument if an array has another type or shape, is not
    C-contiguous, is read-only or overlaps another, or if a number is out of its range. Nothing has
    been written then.
    """

def radam_step(
    w: Array,
    g: Array,
    m: Array,
    v: Array,
    t: int,
    *,
    lr: float = 0.001,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-08,
    weight_decay: float = 0.0,
    decay: Literal["l2", "decoupled"] = "l2",
    rounding: Rounding = "stochastic",
    seed: int = 0,
) -> None:
    """One step of radam.

        m, v as Adam; with c1 = 1−β1^t, c2 = 1−β2^t, R = 2/(1−β2) − 1, ρ = R − ((2·t)·β2^t)/c2
        ρ > 5: w −= (a·m)/(√v + ε) with a = (η/c1)·(r·√c2), r = √((((ρ−4)·(ρ−2))·R)/(((R−4)·(R−2))·ρ))
        else: w −= a·m with a = η/c1

    Liu, Jiang, He, Chen, Liu, Gao & Han, "On the Variance of the Adaptive Learning Rate and Beyond", 2019, with `ρ > 5` where it has `ρ > 4`, as in PyTorch.

    `w` (weights) and `g` (gradient) are float32, bfloat16 or float16 arrays of one shape. `m`, `v`: the states, float32 or bfloat16 arrays of that shape, zeros at first. All but `g` are updated in place.
    `t` is the number of this step and counts from 1.

    Hyper-parameters, defaults and what they may be:
        lr=0.001: at least 0
        beta1=0.9: at least 0 and below 1
        beta2=0.999: at least 0 and below 1
        eps=1e-08: at least 0
        weight_decay=0.0: at least 0
        decay='l2': "l2", "decoupled"

    `rounding` ("stochastic" or "nearest") and `seed` are for weights and states of 16 bits.

    Raises ValueError that names the argument if an array has another type or shape, is not
    C-contiguous, is read-only or overlaps another, or if a number is out of its range. Nothing has
    been written then.
    """

def ftrl_step(
    w: Array,
    g: Array,
    z: Array,
    s: Array,
    t: int | None = None,
    *,
    lr: float = 0.1,
    beta: float = 1.0,
    l1: float = 0.0,
    l2: float = 0.0,
    weight_decay: float = 0.0,
    rounding: Rounding = "stochastic",
    seed: int = 0,
) -> None:
    """One step of ftrl.

        r = √s; s += g·g; z += g − ((√s − r)·a)·w
        w = (sign(z)·λ1 − z)/((β + √s)·a + λ2), but 0 where abs(z) ≤ λ1
        with a = 1/η

    McMahan et al., "Ad Click Prediction: a View from the Trenches", 2013.

    `w` (weights) and `g` (gradient) are float32, bfloat16 or float16 arrays of one shape. `z`, `s`: the states, float32 or bfloat16 arrays of that shape, zeros at first. All but `g` are updated in place.
    `t`, the number of this step from 1, matters for random rounding only.

    Hyper-parameters, defaults and what they may be:
        lr=0.1: above 0
        beta=1.0: at least 0
        l1=0.0: at least 0
        l2=0.0: at least 0
        weight_decay=0.0: at least 0

    `rounding` ("stochastic" or "nearest") and `seed` are for weights and states of 16 bits.

    Raises ValueError that names the argument if an array has another type or shape, is not
    C-contiguous, is read-only or overlaps another, or if a number is out of its range. Nothing has
    been written then.
    """
