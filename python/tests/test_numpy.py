"""Plain and whole steps on NumPy arrays and whatever else has a buffer."""

import array
import inspect
import subprocess
import sys
import threading

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import downhill

bf16 = ml_dtypes.bfloat16
RULES = {rule.name: rule for rule in downhill.rules()}
each_rule = pytest.mark.parametrize("name", RULES)
VARIANTS = {
    "momentum": [{"form": "torch", "dampening": 0.25}],
    "nesterov": [{"form": "torch"}],
    "rmsprop": [{"centered": True}, {"momentum": 0.5}, {"centered": True, "momentum": 0.5}],
    "adam": [{"bias_correction": "constant"}, {"bias_correction": "none"}, {"beta1": 0.0}],
    "adamw": [{"beta1": 0.0}],
    "radam": [{"beta2": 0.5}],
    "ftrl": [{"l1": 0.5, "l2": 0.25}, {"beta": 0.0}],
}
CASES = [(name, options) for name in RULES for options in [{}, *VARIANTS.get(name, [])]]


def step_of(name):
    return getattr(downhill, f"{name}_step")


def arguments(name, n, options=None, dtype=np.float32, seed=0):
    """Weights, and states by their names."""
    rng = np.random.default_rng(seed)
    states = {state: np.zeros(n, dtype) for state in RULES[name].states_with(**(options or {}))}
    return rng.standard_normal(n, np.float32).astype(dtype), states


def same_bits(a, b):
    return a.dtype == b.dtype and np.array_equal(a.view(np.uint8), b.view(np.uint8))


def float64_step(name, w, g, s, t, h):
    """The formulas of docs/rules.md in float64. None for a rule that is not here."""
    lr, decay = h["lr"], h.get("decay", "decoupled")
    if decay == "l2" or name == "ftrl":
        g = g + h["weight_decay"] * w
    else:
        w *= 1 - lr * h["weight_decay"]
    b1, b2 = h.get("beta1"), h.get("beta2")

    def average(state, beta, x):
        s[state][:] = beta * s[state] + (1 - beta) * x

    if name == "sgd":
        w -= lr * g
    elif name == "momentum":
        if h["form"] == "torch":
            s["u"][:] = h["momentum"] * s["u"] + (1 - h["dampening"]) * g
            w -= lr * s["u"]
        else:
            s["u"][:] = h["momentum"] * s["u"] + lr * g
            w -= s["u"]
    elif name == "nesterov":
        if h["form"] == "torch":
            s["u"][:] = h["momentum"] * s["u"] + g
            w -= lr * (g + h["momentum"] * s["u"])
        else:
            s["u"][:] = h["momentum"] * s["u"] + lr * g
            w -= h["momentum"] * s["u"] + lr * g
    elif name == "adagrad":
        s["s"] += g * g
        w -= lr * g / (np.sqrt(s["s"]) + h["eps"])
    elif name == "adadelta":
        average("v", h["rho"], g * g)
        d = np.sqrt(s["u"] + h["eps"]) / np.sqrt(s["v"] + h["eps"]) * g
        average("u", h["rho"], d * d)
        w -= lr * d
    elif name == "rmsprop":
        average("v", h["alpha"], g * g)
        square = s["v"]
        if h["centered"]:
            average("g_avg", h["alpha"], g)
            square = np.maximum(square - s["g_avg"] ** 2, 0)
        root = np.sqrt(square) + h["eps"]
        if h["momentum"]:
            s["u"][:] = h["momentum"] * s["u"] + g / root
            w -= lr * s["u"]
        else:
            w -= lr * g / root
    elif name in ("adam", "adamw", "amsgrad"):
        if "m" in s:
            average("m", b1, g)
        average("v", b2, g * g)
        v = s["v"]
        if name == "amsgrad":
            v = s["v_max"] = np.maximum(s["v_max"], v)
        c1, c2 = {"step": (1 - b1**t, 1 - b2**t), "constant": (1 - b1, 1 - b2), "none": (1, 1)}[
            h["bias_correction"]
        ]
        w -= lr / c1 * s.get("m", g) / (np.sqrt(v / c2) + h["eps"])
    elif name == "adamax":
        average("m", b1, g)
        s["u"][:] = np.maximum(b2 * s["u"], np.abs(g) + h["eps"])
        w -= lr / (1 - b1**t) * s["m"] / s["u"]
    elif name == "nadam":
        average("m", b1, g)
        average("v", b2, g * g)
        mu = lambda i: b1 * (1 - 0.5 * 0.96 ** (i * h["momentum_decay"]))
        product = np.prod([mu(i) for i in range(1, t + 1)])
        root = np.sqrt(s["v"] / (1 - b2**t)) + h["eps"]
        w -= lr * (1 - mu(t)) / (1 - product) * g / root
        w -= lr * mu(t + 1) / (1 - product * mu(t + 1)) * s["m"] / root
    elif name == "lion":
        w -= lr * np.sign(b1 * s["m"] + (1 - b1) * g)
        average("m", b2, g)
    elif name == "signum":
        average("m", h["momentum"], g)
        w -= lr * np.sign(s["m"])
    elif name == "radam":
        average("m", b1, g)
        average("v", b2, g * g)
        most, c2 = 2 / (1 - b2) - 1, 1 - b2**t
        rho = most - 2 * t * b2**t / c2
        step = lr / (1 - b1**t) * s["m"]
        if rho > 5:
            step *= np.sqrt((rho - 4) * (rho - 2) * most / ((most - 4) * (most - 2) * rho) * c2)
            step /= np.sqrt(s["v"]) + h["eps"]
        w -= step
    elif name == "ftrl":
        before = np.sqrt(s["s"])
        s["s"] += g * g
        root = np.sqrt(s["s"])
        s["z"] += g - (root - before) / lr * w
        shrunk = np.sign(s["z"]) * np.maximum(np.abs(s["z"]) - h["l1"], 0)
        w[:] = -shrunk / ((h["beta"] + root) / lr + h["l2"])
    else:
        return None
    return w


@pytest.mark.parametrize("name,options", CASES)
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_float64(name, options, weight_decay):
    n, lr = 200, 0.01
    h = {key: default for key, default, _ in RULES[name].hyperparameters}
    h |= {**options, "lr": lr, "weight_decay": weight_decay}
    w, states = arguments(name, n, options)
    x, s = w.astype(np.float64), {key: state.astype(np.float64) for key, state in states.items()}
    rng = np.random.default_rng(1)
    for t in range(1, 51):
        # Of one sign, so that Lion's does not hang on the last bit.
        g = (rng.random(n, np.float32) + 0.1) * np.where(np.arange(n) % 2, 1, -1).astype(np.float32)
        if float64_step(name, x, g.astype(np.float64), s, t, h) is None:
            pytest.skip(f"SKIPPED: float64_step has no formula for {name}")
        step_of(name)(w, g, **states, t=t, **options, lr=lr, weight_decay=weight_decay)
    np.testing.assert_allclose(w, x, rtol=3e-4, atol=3e-6)


@pytest.mark.parametrize("name,options", CASES)
def test_bits_of_the_reference(name, options):
    n = 1003
    w, states = arguments(name, n, options)
    x, s = w.copy(), {key: state.copy() for key, state in states.items()}
    rng = np.random.default_rng(2)
    for t in range(1, 501):
        g = (rng.standard_normal(n) * 10.0 ** rng.integers(-25, 8, n)).astype(np.float32)
        step_of(name)(w, g, **states, t=t, **options, lr=0.01, weight_decay=0.01)
        kwargs = {**s, "t": t, **options, "lr": 0.01, "weight_decay": 0.01}
        RULES[name].reference_step((x, g), kwargs)
    assert same_bits(w, x)
    assert all(same_bits(states[key], s[key]) for key in s)
    assert not np.array_equal(w, arguments(name, n)[0])


@each_rule
@settings(max_examples=15, deadline=None)
@given(
    n=st.integers(0, 70),
    weights=st.sampled_from([np.float32, bf16, np.float16]),
    gradient=st.sampled_from([np.float32, bf16, np.float16]),
    states=st.sampled_from([np.float32, bf16]),
)
def test_types(name, n, weights, gradient, states):
    """Of each type: what a step in float32 gives, rounded to nearest."""
    w, s = arguments(name, n, dtype=np.float32)
    w = w.astype(weights)
    g = np.random.default_rng(n).standard_normal(n).astype(gradient)
    wide, wide_states = w.astype(np.float32), {key: state.copy() for key, state in s.items()}
    narrow_states = {key: state.astype(states) for key, state in s.items()}
    step_of(name)(w, g, **narrow_states, t=1, rounding="nearest", lr=0.01)
    step_of(name)(wide, g.astype(np.float32), **wide_states, t=1, lr=0.01)
    assert same_bits(w, wide.astype(weights))
    assert all(same_bits(narrow_states[key], wide_states[key].astype(states)) for key in s)


@settings(max_examples=20, deadline=None)
@given(shape=st.lists(st.integers(0, 5), max_size=4))
def test_shapes(shape):
    w, m, v = np.ones(shape, np.float32), np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    downhill.adam_step(w, np.ones(shape, np.float32), m, v, 1, lr=0.5)
    assert np.allclose(w, 0.5)
    if w.size > 1:
        with pytest.raises(ValueError, match="`g` has"):
            downhill.adam_step(w, np.ones(w.size + 1, np.float32), m, v, 2)


class Exporter:
    """As an array library without a buffer."""

    def __init__(self, x):
        self.x = x

    def __dlpack__(self):
        return self.x.__dlpack__()


def test_buffers_views_and_dlpack():
    w, g = array.array("f", [1, 2]), memoryview(array.array("f", [1, 1]))
    downhill.sgd_step(w, g, lr=0.5)
    assert list(w) == [0.5, 1.5]
    bits = np.ones(3, bf16).view(np.uint16)
    downhill.sgd_step(bits, np.ones(3, np.float32), t=1, lr=0.5)
    assert (bits.view(bf16) == 0.5).all()
    big = np.ones((4, 6), np.float32)
    downhill.sgd_step(big[1:3], np.ones((2, 6), np.float32), lr=1.0)
    assert big[0].all() and not big[1:3].any()
    x = np.ones(4, np.float32)
    downhill.sgd_step(Exporter(x), Exporter(np.ones(4, np.float32)), lr=0.25)
    assert (x == 0.75).all()


def good():
    return [np.full(8, x, np.float32) for x in (1, 1, 0, 0)]


WRONG = {
    "float64": ("g", lambda a: a.astype(np.float64), "`g` must be float32, bfloat16 .* its dtype is float64"),
    "integer": ("v", lambda a: a.astype(np.int32), "`v` must be float32"),
    "swapped": ("w", lambda a: a.astype(">f4"), "`w` must be float32"),
    "short": ("m", lambda a: a[:7], "`m` has 7 elements and `w` has 8"),
    "shape": ("g", lambda a: a.reshape(2, 4), "`g` has as many elements as `w` and another shape"),
    "strided": ("m", lambda a: np.zeros(16, np.float32)[::2], "`m` must be contiguous"),
    "reversed": ("w", lambda a: a[::-1], "`w` must be contiguous"),
    "list": ("w", lambda a: list(a), "`w` must be an array: .* it is list"),
    "none": ("m", lambda a: None, "`m` was not passed"),
    "states of two types": ("v", lambda a: a.astype(bf16), "`v` is bfloat16 and `m` is float32"),
    "half states": ("v", lambda a: a.astype(np.float16), "`v` is float16"),
    "unaligned": ("g", lambda a: np.frombuffer(bytearray(33), np.float32, 8, 1), "`g` is at address .* not aligned"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arrays(case):
    name, change, text = WRONG[case]
    given = dict(zip("wgmv", good()))
    arrays = dict(given)
    arrays[name] = change(given[name])
    with pytest.raises(ValueError, match=text):
        downhill.adam_step(**arrays, t=1)
    assert all(same_bits(given[key], fresh) for key, fresh in zip("wgmv", good()))


def test_read_only_and_overlap():
    w, g, m, v = good()
    m.flags.writeable = False
    with pytest.raises(ValueError, match="`m` is read-only"):
        downhill.adam_step(w, g, m, v, 1)
    with pytest.raises(ValueError, match="`w` is read-only"):
        downhill.sgd_step(memoryview(bytes(32)).cast("f"), g)
    g.flags.writeable = False
    downhill.adam_step(w, g, v.copy(), v, 1)
    w, g, m, v = good()
    both = np.zeros(12, np.float32)
    for arrays, text in [
        ((w, w, m, v), "`g` overlaps `w`"),
        ((w, g, v, v), "`v` overlaps `m`"),
        ((w, both[4:], both[:8], v), "`g` overlaps `m`"),
        ((w, g, both[4:], both[:8]), "`v` overlaps `m`"),
    ]:
        before = [a.copy() for a in arrays]
        with pytest.raises(ValueError, match=text):
            downhill.adam_step(*arrays, 1)
        assert all(map(same_bits, arrays, before))


@pytest.mark.parametrize(
    "options,text",
    [
        ({"lr": -1}, "`lr` is -1.0; it must be at least 0"),
        ({"lr": float("nan")}, "`lr` is NaN"),
        ({"beta1": 1}, "`beta1` is 1.0; it must be"),
        ({"lr": "fast"}, "`lr` is 'fast'; it must be a number"),
        ({"decay": "l3"}, "`decay` is 'l3'; it must be one of l2, decoupled"),
        ({"beta3": 1}, "`beta3` is no hyper-parameter of adam, which has lr"),
        ({"t": 0}, "`t` is 0"),
        ({"t": -1}, "`t` is -1"),
        ({"t": 1.5}, "`t` is 1.5"),
        ({"t": None}, "`t` was not passed"),
        ({"rounding": "up"}, '`rounding` is "up"'),
    ],
)
def test_wrong_numbers(options, text):
    arrays = good()
    with pytest.raises(ValueError, match=text):
        downhill.adam_step(*arrays, **{"t": 1, **options})
    assert all(map(same_bits, arrays, good()))


def test_calls():
    with pytest.raises(TypeError, match="multiple values for argument 't'"):
        downhill.adam_step(*good(), 1, t=1)
    with pytest.raises(TypeError, match="takes 3 arguments"):
        downhill.sgd_step(*good())
    with pytest.raises(ValueError, match="`u` was passed; with these hyper-parameters it is no state"):
        downhill.rmsprop_step(*good()[:3], u=good()[3])
    with pytest.raises(ValueError, match="`u` was not passed"):
        downhill.rmsprop_step(*good()[:3], momentum=0.5)
    with pytest.raises(ValueError, match="`t` was not passed.*random rounding"):
        downhill.sgd_step(np.ones(3, bf16), np.ones(3, bf16))


@each_rule
def test_documentation(name):
    function = step_of(name)
    names = list(inspect.signature(function).parameters)
    assert names[:2] == ["w", "g"] and {"t", "lr", *RULES[name].states} <= set(names)
    text = inspect.getdoc(function)
    # The formula, the paper, what is checked.
    assert any(way in text for way in ("w −= ", "w = ", "Adam")) and ('", 19' in text or '", 20' in text) and "ValueError" in text


def groups(name="adamw", count=6, n=50, t=1, gradient=np.float32, **options):
    rng = np.random.default_rng(3)
    tensors = []
    for k in range(count):
        w, states = arguments(name, n + k, seed=k)
        g = rng.standard_normal(n + k).astype(gradient)
        tensors.append(downhill.Tensor(w, g, *states.values()))
    half = count // 2
    return [
        downhill.Group(name, tensors[:half], t, **options),
        downhill.Group(name, tensors[half:], t, lr=0.5, **{k: v for k, v in options.items() if k != "lr"}),
    ]


def tensors_of(groups):
    return [tensor for group in groups for tensor in group.tensors]


@each_rule
@pytest.mark.parametrize("threads", [None, 2, 0])
def test_a_whole_step_is_the_plain_steps(name, threads):
    whole, plain = groups(name), groups(name)
    report = downhill.step(whole, max_norm=1.0, zero_grad=True, threads=threads)
    norm = np.sqrt(sum(float(np.square(t.g, dtype=np.float64).sum()) for t in tensors_of(plain)))
    assert report.grad_norm == pytest.approx(norm) and report.tensors_updated == 6 and not report.skipped
    assert report.applied_scale == np.float32(1 / (report.grad_norm + 1e-6))
    for group in plain:
        for tensor in group.tensors:
            g = tensor.g * np.float32(report.applied_scale)
            states = dict(zip(group.states, tensor.states))
            step_of(name)(tensor.w, g, **states, t=1, lr=group.hyperparameters["lr"])
    for a, b in zip(tensors_of(whole), tensors_of(plain)):
        assert same_bits(a.w, b.w) and all(map(same_bits, a.states, b.states)) and not a.g.any()


def test_threads_and_pools_have_the_same_bits():
    results = []
    for threads in [None, 1, 2, downhill.Pool(2), 3]:
        w = np.random.default_rng(0).standard_normal(1 << 20, np.float32)
        g, m, v = w + 1, w * 0, w * 0
        tensor = downhill.Tensor(w, g, m, v, copy=np.zeros(w.size, bf16))
        report = downhill.step([downhill.Group("adam", [tensor], 1)], max_norm=1, threads=threads)
        results.append((report.grad_norm, w, tensor.copy))
    assert all(r[0] == results[0][0] and same_bits(r[1], results[0][1]) for r in results)
    assert same_bits(results[0][2], results[0][1].astype(bf16)) and same_bits(results[0][2], results[2][2])


def test_skip():
    all_groups = groups(lr=0.1)
    broken = all_groups[1].tensors[1]
    broken.g[7] = np.inf
    before = [t.w.copy() for t in tensors_of(all_groups)]
    report = downhill.step(all_groups, skip_nonfinite=True, zero_grad=True)
    assert report.skipped and report.applied_scale == 0 and report.nonfinite == (1, 1, 7, np.inf)
    assert all(map(same_bits, (t.w for t in tensors_of(all_groups)), before)) and broken.g[7] == np.inf
    assert "skipped=True" in repr(report)


def test_pieces_with_a_given_norm():
    whole, pieces = groups(), groups()
    downhill.step(whole, max_norm=0.5)
    total = 0.0
    for sum_of_squares in downhill.grad_squares(pieces):
        total += sum_of_squares
    for group in pieces:
        downhill.step([group], max_norm=0.5, norm_squared=total)
    assert all(same_bits(a.w, b.w) for a, b in zip(tensors_of(whole), tensors_of(pieces)))


def test_no_gradient_own_step_and_numbers():
    first, second = groups(count=2)
    first.tensors[0].g = None
    before = first.tensors[0].w.copy()
    first.tensors[0].states = ()
    second.tensors[0].t = 5
    assert downhill.step([first, second], grad_norm=True).tensors_updated == 1
    assert same_bits(first.tensors[0].w, before)
    w, states = arguments("adamw", 51, seed=1)
    downhill.adamw_step(w, second.tensors[0].g, **states, t=5, lr=0.5)
    assert same_bits(w, second.tensors[0].w)
    first.tensors[0].first_element = 3
    with pytest.raises(ValueError, match="group 0: tensor 0: `first_element` is 3"):
        downhill.step([first])


@each_rule
def test_eight_bits(name):
    n = 1000
    w, states = arguments(name, n)
    if {"s", "v_max"} & set(states) or name == "adamax":
        with pytest.raises(ValueError, match="cannot be held in eight bits"):
            downhill.state_bytes(name, n)
        return
    packed = np.zeros(downhill.state_bytes(name, n), np.uint8)
    if not states:
        assert packed.size == 0
        return
    wide = w.copy()
    group = downhill.Group(name, [downhill.Tensor(w, np.ones(n, np.float32), packed)], 1, lr=0.01)
    for group.t in range(1, 6):
        downhill.step([group])
        step_of(name)(wide, np.ones(n, np.float32), **states, t=group.t, lr=0.01)
    np.testing.assert_allclose(w, wide, atol=0.02)
    unpacked = [np.empty(n, np.float32) for _ in states]
    downhill.unpack(name, packed, unpacked)
    again, meant = np.zeros_like(packed), [np.empty(n, np.float32) for _ in states]
    downhill.pack(name, unpacked, again)
    downhill.unpack(name, again, meant)
    for a, b in zip(unpacked, meant):
        assert a.all()
        np.testing.assert_allclose(a, b, rtol=0.07)


def test_packed_states_of_a_wrong_size():
    group = downhill.Group("adam", [downhill.Tensor(*good()[:2], np.zeros(5, np.uint8))], 1)
    with pytest.raises(ValueError, match="`state` has 5 bytes; in eight bits it takes 130"):
        downhill.step([group])


def test_split_weights_have_the_bits_of_float32():
    w = np.random.default_rng(0).standard_normal(100, np.float32)
    high, low, back = np.empty(100, bf16), np.empty(100, np.int16), np.empty(100, np.float32)
    downhill.convert(w, high, target_low=low)
    downhill.convert(high, back, source_low=low)
    assert same_bits(w, back)
    g = np.ones(100, bf16)
    state, split_state = np.zeros(100, np.float32), np.zeros(100, np.float32)
    for t in range(1, 20):
        tensor = downhill.Tensor(high, g, split_state, low=low)
        downhill.step([downhill.Group("lion", [tensor], t, lr=1e-3)])
        downhill.lion_step(w, g, state, lr=1e-3)
    downhill.convert(high, back, source_low=low)
    assert same_bits(w, back) and same_bits(state, split_state)
    with pytest.raises(ValueError, match="`low` was passed, and `w` is float32"):
        downhill.step([downhill.Group("lion", [downhill.Tensor(w, g, state, low=low)], 1)])
    with pytest.raises(ValueError, match="`target` has 99|`source` has 100"):
        downhill.convert(w, np.empty(99, bf16))
    with pytest.raises(ValueError, match="`source` overlaps `target`"):
        downhill.convert(w, w[:50].view(bf16))


def test_whole_step_errors_name_the_place():
    for change, text in [
        (lambda t: setattr(t, "g", t.g.astype(np.float64)), "group 1: tensor 2: `g` must be float32"),
        (lambda t: setattr(t, "g", t.w), "`g` of group 1, tensor 2 overlaps one of group 1, tensor 2"),
        (lambda t: setattr(t, "states", t.states[:1]), r"group 1: tensor 2: 1 state arrays were passed"),
        (lambda t: setattr(t, "w", tensors_of(all_groups)[0].w), "group 1: tensor 2: `.*` has"),
        (lambda t: setattr(t, "copy", np.zeros(3, bf16)), "group 1: tensor 2: `copy` has 3 elements"),
    ]:
        all_groups = groups()
        before = [t.w.copy() for t in tensors_of(all_groups)]
        change(all_groups[1].tensors[2])
        with pytest.raises(ValueError, match=text):
            downhill.step(all_groups, zero_grad=True)
        assert all(same_bits(t.w, w) for t, w in zip(tensors_of(all_groups)[:5], before))
    shared = groups()
    shared[0].tensors[0].g.flags.writeable = False
    downhill.step(shared)
    with pytest.raises(ValueError, match="group 0: tensor 0: `g` is read-only"):
        downhill.step(shared, zero_grad=True)
    with pytest.raises(ValueError, match="`max_norm` is -1.0"):
        downhill.step(shared, max_norm=-1)
    with pytest.raises(ValueError, match="`threads` is 'all'"):
        downhill.step(shared, threads="all")
    with pytest.raises(ValueError, match='`rule` is "adamx"; it must be one of sgd'):
        downhill.Group("adamx", [], 1)
    with pytest.raises(ValueError, match="group 0: `t` is 0"):
        shared[0].t = 0
        downhill.step(shared)
    assert downhill.step([]).tensors_updated == 0


def test_gradients_may_be_one_array():
    g = np.ones(4, np.float32)
    tensors = [downhill.Tensor(np.zeros(4, np.float32), g) for _ in range(2)]
    group = downhill.Group("sgd", tensors, 1, lr=1.0)
    downhill.step([group])
    assert all((tensor.w == -1).all() for tensor in tensors)
    with pytest.raises(ValueError, match="`g` of group 0, tensor 1 overlaps one of group 0, tensor 0"):
        downhill.step([group], zero_grad=True)


def sums_of_rows(rows, g):
    """The gradient of each row that is listed, and where it is listed first."""
    sums = {}
    for row, of_row in zip(rows.tolist(), g):
        sums[row] = sums[row] + of_row if row in sums else of_row
    return sums


@each_rule
@settings(max_examples=15, deadline=None)
@given(
    count=st.integers(1, 9),
    length=st.integers(1, 70),
    data=st.data(),
    merge=st.booleans(),
    has_own=st.booleans(),
    weights=st.sampled_from([np.float32, bf16]),
)
def test_rows_are_the_plain_steps_of_each(name, count, length, data, merge, has_own, weights):
    listed = data.draw(st.lists(st.integers(0, count - 1), max_size=12, unique=not merge))
    rows = np.array(listed, np.int64)
    w, states = arguments(name, (count, length))
    w = w.astype(weights)
    g = np.random.default_rng(length).standard_normal((len(rows), length), np.float32)
    row_t = np.arange(count, dtype=np.uint64) if has_own else None
    x, s = w.copy(), {key: state.copy() for key, state in states.items()}
    for row, total in sums_of_rows(rows, g).items():
        t = row + 1 if has_own else 3
        of_row = {key: state[row] for key, state in s.items()}
        step_of(name)(x[row], total, **of_row, t=t, rounding="nearest", lr=0.01)
    table = downhill.Tensor(w, g, *states.values(), rows=rows, merge=merge, row_t=row_t)
    report = downhill.step([downhill.Group(name, [table], 3, rounding="nearest", lr=0.01)], grad_norm=True)
    assert same_bits(w, x) and all(same_bits(states[key], s[key]) for key in s)
    assert report.grad_norm == pytest.approx(np.sqrt(np.square(g, dtype=np.float64).sum()))
    if has_own:
        assert (row_t == np.arange(count) + np.isin(np.arange(count), rows)).all()


@pytest.mark.parametrize("name", ["sgd", "momentum", "adagrad", "adam", "lion"])
def test_rows_against_float64(name):
    h = {key: default for key, default, _ in RULES[name].hyperparameters} | {"lr": 0.01, "weight_decay": 0.1}
    w, states = arguments(name, (30, 7))
    x, s = w.astype(np.float64), {key: state.astype(np.float64) for key, state in states.items()}
    rng = np.random.default_rng(4)
    for t in range(1, 31):
        rows = rng.choice(30, 12)
        # Of one sign in a column, so that Lion's does not hang on the last bit.
        g = (rng.random((12, 7), np.float32) + 0.1) * np.array([1, -1] * 3 + [1], np.float32)
        table = downhill.Tensor(w, g, *states.values(), rows=rows, merge=True)
        downhill.step([downhill.Group(name, [table], t, lr=0.01, weight_decay=0.1)])
        for row, total in sums_of_rows(rows, g.astype(np.float64)).items():
            float64_step(name, x[row], total, {key: state[row] for key, state in s.items()}, t, h)
    np.testing.assert_allclose(w, x, rtol=3e-4, atol=3e-6)


def test_rowwise_adagrad():
    rng = np.random.default_rng(5)
    w, s = rng.standard_normal((6, 10), np.float32), np.zeros(6, np.float32)
    x, sums = w.astype(np.float64), np.zeros(6)
    for t in range(1, 21):
        rows, g = rng.permutation(6)[:4], rng.standard_normal((4, 10), np.float32)
        group = downhill.Group("rowwise_adagrad", [downhill.Tensor(w, g, s, rows=rows)], t, lr=0.1)
        downhill.step([group])
        sums[rows] += np.square(g, dtype=np.float64).mean(1)
        x[rows] -= 0.1 / (np.sqrt(sums[rows, None]) + 1e-10) * g
    np.testing.assert_allclose(w, x, rtol=3e-4, atol=3e-6)
    np.testing.assert_allclose(s, sums, rtol=1e-6)
    with pytest.raises(ValueError, match="`rows` is missing; rowwise_adagrad has a state for each row"):
        downhill.step([downhill.Group("rowwise_adagrad", [downhill.Tensor(w, w + 1, s)], 1)])


def test_rows_of_any_buffer():
    w, g = np.ones(12, np.float32), np.ones(4, np.float32)
    for rows in [array.array("q", [5, 0]), Exporter(np.array([5, 0])), memoryview(np.array([5, 0]))]:
        row_t = np.zeros(6, np.uint64)
        table = downhill.Tensor(w, g, rows=rows, row_length=2, row_t=Exporter(row_t))
        downhill.step([downhill.Group("sgd", [table], 1, lr=0.25)])
        assert (row_t == [1, 0, 0, 0, 0, 1]).all()
    assert (w == [0.25] * 2 + [1.0] * 8 + [0.25] * 2).all()


def good_table():
    return {
        "w": np.ones((5, 2), np.float32),
        "g": np.ones((2, 2), np.float32),
        "s": np.ones((5, 2), np.float32),
        "rows": np.array([3, 0]),
        "row_t": np.zeros(5, np.uint64),
    }


def read_only(x):
    x.flags.writeable = False
    return x


WRONG_TABLES = {
    "a list": (lambda a: {"rows": [3, 0]}, "`rows` must be an array: .* it is list"),
    "int32": (lambda a: {"rows": np.array([3, 0], np.int32)}, "`rows` must be int64; its dtype is int32"),
    "float32": (lambda a: {"rows": np.ones(2, np.float32)}, "`rows` must be int64; it is float32"),
    "swapped": (lambda a: {"rows": np.array([3, 0], ">i8")}, "`rows` must be int64; its dtype is >i8"),
    "a matrix": (lambda a: {"rows": np.array([[3, 0]])}, "`rows` must have one dimension"),
    "strided": (lambda a: {"rows": np.array([3, 1, 0, 1])[::2]}, "`rows` must be contiguous"),
    "too large": (lambda a: {"rows": np.array([3, 5])}, r"`rows\[1\]` is 5; it must be at least 0 and below 5"),
    "negative": (lambda a: {"rows": np.array([-1, 0])}, r"`rows\[0\]` is -1"),
    "twice": (lambda a: {"rows": np.array([3, 3])}, r"`rows\[1\]` is 3, as `rows\[0\]` is"),
    "a row more": (lambda a: {"rows": np.arange(3)}, r"`g` must have the shape \(3, 2\), a row for each of `rows`"),
    "g of the table": (lambda a: {"g": a["s"] + 1}, r"`g` must have the shape \(2, 2\)"),
    "flat g": (lambda a: {"g": np.ones(4, np.float32)}, r"`g` must have the shape \(2, 2\)"),
    "g of other rows": (lambda a: {"row_length": 5}, "`g` has 4 elements; with these rows it must have 10"),
    "a state of another shape": (lambda a: {"s": np.ones(5, np.float32)}, "`s` has 5 elements and `w` has 10"),
    "no length": (
        lambda a: {"w": np.ones(10, np.float32), "s": np.ones(10, np.float32)},
        "`row_length` was not passed, and `w` does not have two dimensions",
    ),
    "length 0": (lambda a: {"row_length": 0}, "`row_length` is 0; it must be at least 1 and divide the 10"),
    "length 3": (lambda a: {"row_length": 3}, "`row_length` is 3"),
    "signed steps": (lambda a: {"row_t": np.zeros(5, np.int64)}, "`row_t` must be uint64; it is int64"),
    "few steps": (lambda a: {"row_t": np.zeros(4, np.uint64)}, "`row_t` has 4 elements; .* it must have 5"),
    "steps as a matrix": (lambda a: {"row_t": np.zeros((5, 1), np.uint64)}, "`row_t` must have one dimension"),
    "read-only steps": (lambda a: {"row_t": read_only(np.zeros(5, np.uint64))}, "`row_t` is read-only"),
    "steps in the weights": (lambda a: {"row_t": a["w"].view(np.uint64)[:, 0]}, "an array that is written of group 0"),
    "rows in the steps": (lambda a: {"rows": a["row_t"][:2].view(np.int64)}, "`rows` of group 0, tensor 0 overlaps"),
    "rows in the gradient": (
        lambda a: {"rows": a["g"].view(np.int64)[:, 0], "row_t": None},
        "`rows` of group 0, tensor 0 overlaps",
    ),
    "a length alone": (lambda a: {"rows": None, "row_t": None, "row_length": 2}, "`row_length` was passed, and `rows`"),
    "merge alone": (lambda a: {"rows": None, "row_t": None, "merge": True}, "`merge` was passed, and `rows`"),
    "steps alone": (lambda a: {"rows": None}, "`row_t` was passed, and `rows` was not"),
}


@pytest.mark.parametrize("case", WRONG_TABLES)
def test_wrong_rows(case):
    change, text = WRONG_TABLES[case]
    arrays = good_table()
    given = {**arrays, **change(arrays)}
    table = downhill.Tensor(given.pop("w"), given.pop("g"), given.pop("s"), **given)
    with pytest.raises(ValueError, match=text):
        downhill.step([downhill.Group("adagrad", [table], 1)], zero_grad=True)
    assert all(same_bits(arrays[key], fresh) for key, fresh in good_table().items())


def test_clamp():
    w = np.array([0.0, 0.5, 1.0, np.nan], np.float32)
    for clamp, expected in [(None, [-1, -0.5, 0]), ((-0.75, np.inf), [-0.75, -0.5, 0]), ((-0.75, -0.25), [-0.75, -0.5, -0.25])]:
        tensor = downhill.Tensor(w.copy(), np.ones(4, np.float32))
        group = downhill.Group("sgd", [tensor], 1, clamp=clamp, lr=1.0)
        assert group.clamp == clamp
        downhill.step([group])
        assert np.array_equal(tensor.w, np.array([*expected, np.nan], np.float32), equal_nan=True)
    group.clamp = (1.0, 0.5)
    with pytest.raises(ValueError, match="group 0: `clamp_low` is 1.0; it must be at most clamp_high"):
        downhill.step([group])
    group.clamp = None
    downhill.step([group])


def test_group_set():
    group = groups()[0]
    group.set(lr=0.25, bias_correction="none")
    assert group.hyperparameters["lr"] == 0.25 and group.hyperparameters["bias_correction"] == "none"
    with pytest.raises(ValueError, match="`lr` is 'x'"):
        group.set(beta1=0.5, lr="x")
    assert group.hyperparameters["beta1"] == 0.9


def test_the_gil_is_released():
    n = 1 << 23
    w, g, m, v = (np.ones(n, np.float32) for _ in range(4))
    done = threading.Event()
    count = 0

    def work():
        for t in range(1, 9):
            downhill.adam_step(w, g, m, v, t)
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    while not done.is_set():
        count += 1
    thread.join()
    # With the GIL held, only the switches between the eight calls would let this thread count.
    assert count > 1000


def test_isa():
    assert downhill.isa() in ("scalar", "avx2", "avx512", "neon")
    code = "import downhill; print(downhill.isa())"
    run = lambda isa: subprocess.run(
        [sys.executable, "-c", code], env={"DOWNHILL_ISA": isa}, capture_output=True, text=True
    )
    assert run("scalar").stdout == "scalar\n"
    assert "`DOWNHILL_ISA` is \"mmx\"" in run("mmx").stderr
