"""The optimizers of downhill.torch against those of torch.optim."""

import copy
import gc
import inspect
import io
import os
import pickle
import subprocess
import sys
import warnings
import weakref

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="SKIPPED: PyTorch is not installed", exc_type=ImportError)

import downhill
import downhill.torch as dt

VERSION = tuple(int(part) for part in torch.__version__.split(".")[:2])
modern = pytest.mark.skipif(VERSION < (2, 6), reason=f"SKIPPED: PyTorch {torch.__version__} does not have this")

CASES = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "dampening": 0.5}),
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("Adagrad", {}),
    ("Adagrad", {"lr_decay": 0.1, "initial_accumulator_value": 0.5}),
    ("Adadelta", {}),
    ("RMSprop", {}),
    ("RMSprop", {"centered": True}),
    ("RMSprop", {"momentum": 0.9}),
    ("RMSprop", {"centered": True, "momentum": 0.9}),
    ("Adam", {}),
    ("Adam", {"amsgrad": True}),
    ("Adam", {"decoupled_weight_decay": True}),
    ("Adam", {"betas": (0.0, 0.99)}),
    ("AdamW", {}),
    ("AdamW", {"betas": (0.0, 0.99), "weight_decay": 0.1}),
    ("AdamW", {"amsgrad": True, "betas": (0.8, 0.99)}),
    ("Adamax", {}),
    ("NAdam", {}),
    ("NAdam", {"decoupled_weight_decay": True, "momentum_decay": 0.01}),
    ("RAdam", {}),
    ("RAdam", {"betas": (0.8, 0.99), "eps": 1e-4}),
    ("RAdam", {"decoupled_weight_decay": True}),
]
# The classes without their options; Lion is not torch's.
PLAIN = [(name, options) for name, options in CASES if not options]
SHAPES = [(7, 5), (11,), (), (0, 3), (2, 3, 4)]
LR = 0.01


def parameters(shapes=SHAPES, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in shapes]


def set_gradients(params, step, scale=1.0):
    generator = torch.Generator().manual_seed(1000 + step)
    for p in params:
        g = torch.randn(p.shape, generator=generator) * scale
        p.grad = g.to(p.dtype)


def pair(name, options, **ours):
    """One of ours, one of torch's, and the parameters of each."""
    known = inspect.signature(getattr(torch.optim, name).__init__).parameters
    if name == "NAdam" and VERSION < (2, 0):
        pytest.skip("SKIPPED: NAdam of PyTorch 1 counts the momentum of a step twice in that of the next")
    if not set(options) <= set(known):
        pytest.skip(f"SKIPPED: {name} of PyTorch {torch.__version__} does not have {set(options) - set(known)}")
    a, b = parameters(), parameters()
    options = {"lr": LR, **options}
    return getattr(dt, name)(a, **options, **ours), a, getattr(torch.optim, name)(b, **options), b


def run(optimizer, params, steps, start=0, **kwargs):
    for step in range(start, start + steps):
        set_gradients(params, step)
        optimizer.step(**kwargs)


def assert_close(a, b, **kwargs):
    for x, y in zip(a, b):
        torch.testing.assert_close(x.detach(), y.detach(), **{"rtol": 2e-5, "atol": 2e-6, **kwargs})


def assert_same(a, b):
    for x, y in zip(a, b):
        assert x.dtype == y.dtype and torch.equal(x.detach(), y.detach())


def lion(params, **options):
    return dt.Lion(params, lr=LR, **options)


EVERY = [*[name for name, _ in PLAIN], "Lion"]


def ours(name, params, **options):
    return lion(params, **options) if name == "Lion" else getattr(dt, name)(params, lr=LR, **options)


@pytest.mark.parametrize("name,options", CASES)
@pytest.mark.parametrize("more", [{}, {"weight_decay": 0.1}, {"maximize": True}], ids=["", "decay", "maximize"])
def test_a_hundred_steps(name, options, more):
    ours, a, theirs, b = pair(name, {**options, **more})
    run(ours, a, 100)
    run(theirs, b, 100)
    assert_close(a, b)
    states, expected = ours.state_dict()["state"], theirs.state_dict()["state"]
    # PyTorch 1 has entries of None.
    expected = {key: {name: x for name, x in state.items() if x is not None} for key, state in expected.items()}
    expected = {key: state for key, state in expected.items() if state}
    assert states.keys() == expected.keys()
    for key, state in expected.items():
        assert states[key].keys() == state.keys()
        for name, value in state.items():
            value = torch.as_tensor(value, dtype=torch.float32)
            if name == "exp_avg" and options.get("betas", (1, 1))[0] == 0:
                value = torch.zeros_like(value)
            torch.testing.assert_close(states[key][name], value, rtol=1e-4, atol=1e-6)


REFERENCE = {
    "SGD": "sgd",
    "Adagrad": "adagrad",
    "Adadelta": "adadelta",
    "RMSprop": "rmsprop",
    "Adam": "adam",
    "AdamW": "adamw",
    "Adamax": "adamax",
    "NAdam": "nadam",
    "RAdam": "radam",
    "Lion": "lion",
}


@pytest.mark.parametrize("name", EVERY)
def test_bits_of_the_reference(name):
    """A long run of many tensors, clipped, has the bits of the scalar reference of the Rust library."""
    params = parameters([(33, 9), (130,)])
    optimizer = ours(name, params, weight_decay=0.01)
    rule = next(rule for rule in downhill.rules() if rule.name == REFERENCE[name])
    w = [p.detach().clone().numpy() for p in params]
    states = [[np.zeros_like(x) for _ in rule.states_with()] for x in w]
    for t in range(1, 301):
        set_gradients(params, t)
        optimizer.step(max_norm=5.0)
        scale = np.float32(optimizer.report.applied_scale)
        for x, state, p in zip(w, states, params):
            given = dict(zip(rule.states_with(), state))
            decay = {"decay": "decoupled"} if name == "Lion" else {}
            rule.reference_step((x, p.grad.numpy() * scale), {**given, "t": t, "lr": LR, "weight_decay": 0.01, **decay})
    for x, p in zip(w, params):
        assert np.array_equal(x.view(np.uint32), p.detach().numpy().view(np.uint32))


@pytest.mark.parametrize("name,options", CASES)
def test_state_dict_both_ways(name, options):
    for way in ("from torch", "to torch"):
        ours, a, theirs, b = pair(name, options)
        source, p, target, q = (theirs, b, ours, a) if way == "from torch" else (ours, a, theirs, b)
        run(source, p, 5)
        for x, y in zip(p, q):
            y.data.copy_(x.data)
        file = io.BytesIO()
        torch.save(source.state_dict(), file)
        file.seek(0)
        target.load_state_dict(torch.load(file))
        assert target.state_dict()["param_groups"] == source.state_dict()["param_groups"]
        run(source, p, 5, start=5)
        run(target, q, 5, start=5)
        assert_close(a, b)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("way", ["load", "deepcopy", "pickle"])
@pytest.mark.parametrize(
    "options",
    [{}, {"state": "bfloat16"}, {"state": "8bit"}, {"master_weights": "split"}, {"master_weights": "float32"}],
    ids=["float32", "bfloat16", "8bit", "split", "master"],
)
def test_resuming_is_exact(name, way, options):
    if options.get("state") == "8bit" and name in ("Adagrad", "Adamax"):
        with pytest.raises(ValueError, match="cannot be held in eight bits"):
            ours(name, parameters(), **options)
        return
    dtype = torch.bfloat16 if "master_weights" in options or "state" in options else torch.float32
    params = parameters(dtype=dtype)
    optimizer = ours(name, params, **options)
    run(optimizer, params, 3)
    if way == "load":
        again = copy.deepcopy(params)
        resumed = ours(name, again, **options)
        resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    elif way == "deepcopy":
        again, resumed = copy.deepcopy((params, optimizer))
    else:
        again, resumed = pickle.loads(pickle.dumps((params, optimizer)))
    run(optimizer, params, 3, start=3)
    run(resumed, again, 3, start=3)
    assert_same(params, again)
    for p, q in zip(params, again):
        assert optimizer.state[p].keys() == resumed.state[q].keys()
        assert_same(optimizer.state[p].values(), resumed.state[q].values())


def test_loaded_states_are_copies():
    params = parameters()
    source = dt.Adam(params)
    run(source, params, 2)
    saved = source.state_dict()
    before = copy.deepcopy(saved["state"])
    target = dt.Adam(parameters())
    target.load_state_dict(saved)
    run(target, target.param_groups[0]["params"], 2)
    for key in before:
        assert_same(before[key].values(), saved["state"][key].values())


def test_as_torch():
    params = parameters()
    optimizer = dt.AdamW(params, state="8bit")
    run(optimizer, params, 5)
    assert set(optimizer.state_dict()["state"][0]) == {"step", "packed"}
    again = parameters()
    theirs = torch.optim.AdamW(again)
    theirs.load_state_dict(optimizer.state_dict(as_torch=True))
    for p, q in zip(params, again):
        q.data.copy_(p.data)
    run(theirs, again, 1, start=5)
    run(optimizer, params, 1, start=5)
    assert_close(params, again, atol=3e-4)
    back = dt.AdamW(parameters(), state="8bit")
    back.load_state_dict(theirs.state_dict())
    assert back.state_dict()["state"][0]["step"] == 6
    wide = dt.AdamW(parameters(), state="bfloat16")
    wide.load_state_dict(optimizer.state_dict())
    assert wide.state[wide.param_groups[0]["params"][0]]["exp_avg"].dtype is torch.bfloat16


def test_master_weights():
    wide, split, master = parameters(), parameters(dtype=torch.bfloat16), parameters(dtype=torch.bfloat16)
    for x, y in zip(wide, split):
        x.data.copy_(y.data)
    optimizers = [
        (dt.AdamW(wide, lr=LR), wide),
        (dt.AdamW(split, lr=LR, master_weights="split"), split),
        (dt.CPUAdam(master, lr=LR, weight_decay=0.01), master),
    ]
    for step in range(50):
        set_gradients(split, step)
        for optimizer, params in optimizers:
            for p, q in zip(params, split):
                p.grad = q.grad.to(p.dtype)
            optimizer.step()
    kept = [optimizers[2][0].state[p]["master"] for p in master]
    assert_same(wide, kept)
    assert_same(master, [w.to(torch.bfloat16) for w in kept])
    for w, p in zip(wide, split):
        joined = torch.empty_like(w)
        low = optimizers[1][0].state[p]["low"]
        downhill.convert(p.detach(), joined.detach(), source_low=low)
        assert torch.equal(joined, w.detach())
    # From one form of master weights to the other.
    other = dt.AdamW(copy.deepcopy(split), lr=LR, master_weights="float32")
    other.load_state_dict(optimizers[1][0].state_dict())
    assert_same([other.state[p]["master"] for p in other.param_groups[0]["params"]], wide)
    with pytest.raises(ValueError, match='saved with `master_weights` "float32"'):
        dt.CPUAdam(parameters(dtype=torch.bfloat16), master_weights="split").load_state_dict(
            optimizers[2][0].state_dict()
        )


def test_bfloat16_weights_move_however_small_a_step_is():
    moved = []
    for rounding in ("stochastic", "nearest"):
        p = torch.nn.Parameter(torch.ones(10000, dtype=torch.bfloat16))
        optimizer = dt.SGD([p], lr=1e-4, rounding=rounding, seed=3)
        for _ in range(100):
            p.grad = torch.ones_like(p)
            optimizer.step()
        moved.append(1 - p.detach().float().mean().item())
    assert moved[0] == pytest.approx(0.01, rel=0.1) and moved[1] == 0


@pytest.mark.parametrize("options", [{"state": "bfloat16"}, {"state": "8bit"}])
def test_states_of_fewer_bits_train(options):
    torch.manual_seed(0)
    x, y = torch.randn(200, 10), torch.randn(200, 1)
    losses = []
    for more in ({}, options):
        torch.manual_seed(1)
        model = torch.nn.Sequential(torch.nn.Linear(10, 30), torch.nn.Tanh(), torch.nn.Linear(30, 1))
        optimizer = dt.Adam(model.parameters(), lr=0.01, **more)
        for _ in range(200):
            loss = (model(x) - y).square().mean()
            loss.backward()
            optimizer.step(zero_grad=True)
        losses.append(loss.item())
    assert max(losses) < 1e-3


def test_clipping():
    ours, a, theirs, b = pair("AdamW", {})
    for step in range(20):
        set_gradients(a, step, 10.0)
        set_gradients(b, step, 10.0)
        norm = torch.nn.utils.clip_grad_norm_(b, 1.5)
        theirs.step()
        ours.step(max_norm=1.5, zero_grad=True)
        assert ours.report.grad_norm == pytest.approx(float(norm), rel=1e-5)
        assert not any(p.grad.any() for p in a)
    assert_close(a, b)
    assert ours.report.tensors_updated == len(a)


def test_what_step_does_by_default():
    params = parameters()
    optimizer = dt.SGD(params, lr=1.0, max_norm=1.0, zero_grad=True, skip_nonfinite=True)
    set_gradients(params, 0, 100.0)
    before = [p.detach().clone() for p in params]
    optimizer.step()
    moved = sum((p.detach() - q).square().sum() for p, q in zip(params, before)).sqrt()
    assert moved == pytest.approx(1.0, rel=1e-4) and not any(p.grad.any() for p in params)
    set_gradients(params, 0, 100.0)
    optimizer.step(max_norm=0, zero_grad=False)
    assert optimizer.report.applied_scale == 1 and params[0].grad.any()


def test_a_skipped_step_changes_nothing():
    params = parameters()
    optimizer = dt.Adam(params, lr=LR)
    run(optimizer, params, 2)
    before, saved = copy.deepcopy(params), copy.deepcopy(optimizer.state_dict())
    set_gradients(params, 2)
    params[1].grad[3] = float("nan")
    optimizer.step(skip_nonfinite=True, zero_grad=True)
    report = optimizer.report
    assert report.skipped and report.nonfinite[:3] == (0, 1, 3) and params[0].grad.any()
    assert_same(params, before)
    for key, state in optimizer.state_dict()["state"].items():
        assert_same(state.values(), saved["state"][key].values())
    # A parameter that loses its gradient after a skipped step has not made that step.
    params[0].grad = None
    params[1].grad = torch.ones_like(params[1])
    optimizer.step()
    steps = [int(state["step"]) for state in optimizer.state_dict()["state"].values()]
    assert steps == [2, 3, 3, 3, 3]


SCHEDULERS = {
    "StepLR": lambda o: torch.optim.lr_scheduler.StepLR(o, 3, 0.5),
    "LambdaLR": lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda step: 1 / (step + 1)),
    "Cosine": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 20),
    # These change betas and momentum, too.
    "OneCycleLR": lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=40),
}


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("name,options", [("AdamW", {}), ("SGD", {"momentum": 0.9}), ("RMSprop", {"momentum": 0.9})])
def test_schedulers(scheduler, name, options):
    ours, a, theirs, b = pair(name, options)
    both = [(o, p, SCHEDULERS[scheduler](o)) for o, p in ((ours, a), (theirs, b))]
    with warnings.catch_warnings():
        # That step() was not called before the scheduler is a warning.
        warnings.simplefilter("error")
        for step in range(30):
            for optimizer, params, schedule in both:
                set_gradients(params, step)
                optimizer.step()
                schedule.step()
    assert ours.param_groups[0]["lr"] == theirs.param_groups[0]["lr"] != LR
    assert_close(a, b)


def test_plateau_and_a_tensor_as_learning_rate():
    params = parameters()
    optimizer = dt.Adam(params, lr=LR)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
    for loss in (1.0, 2.0, 3.0):
        run(optimizer, params, 1)
        schedule.step(loss)
    assert optimizer.param_groups[0]["lr"] < LR
    a, b = parameters(), parameters()
    x, y = dt.SGD(a, lr=LR), dt.SGD(b, lr=LR)
    x.param_groups[0]["lr"] = torch.tensor(LR, dtype=torch.float64)
    run(x, a, 3)
    run(y, b, 3)
    assert_same(a, b)


def test_groups():
    a, b = parameters(), parameters()
    groups = lambda p: [
        {"params": p[:2], "weight_decay": 0.5},
        {"params": p[2:4], "lr": 0.1, "betas": (0.5, 0.6)},
        {"params": p[4:], "amsgrad": True},
    ]
    ours, theirs = dt.AdamW(groups(a), lr=LR), torch.optim.AdamW(groups(b), lr=LR)
    run(ours, a, 20)
    run(theirs, b, 20)
    assert_close(a, b)
    assert ours.state_dict()["param_groups"] == theirs.state_dict()["param_groups"]
    # Changed by hand, from one step to the next; one of them asks for another state.
    for optimizer, params in ((ours, a), (theirs, b)):
        optimizer.param_groups[0]["weight_decay"] = 0.0
        optimizer.param_groups[1]["betas"] = (0.1, 0.2)
        run(optimizer, params, 5, start=20)
    assert_close(a, b)


def test_maximize_in_some_groups():
    """Only some groups go up: their gradients stay what they are, until they are zeroed."""
    a, b = parameters([(5, 7), (9,), (3,)]), parameters([(5, 7), (9,), (3,)])
    groups = lambda params: [{"params": params[:2], "maximize": True}, {"params": params[2:]}]
    ours, theirs = dt.AdamW(groups(a), lr=LR, max_norm=0.5), torch.optim.AdamW(groups(b), lr=LR)
    for k in range(10):
        if k == 5:
            # The other way round, from one step to the next.
            for optimizer in (ours, theirs):
                optimizer.param_groups[0]["maximize"], optimizer.param_groups[1]["maximize"] = False, True
        for p, q in zip(a, b):
            p.grad = torch.randn(p.shape)
            q.grad = p.grad.clone()
        before = [p.grad.clone() for p in a]
        torch.nn.utils.clip_grad_norm_(b, 0.5)
        ours.step()
        theirs.step()
        assert all(torch.equal(p.grad, g) for p, g in zip(a, before))
    assert_close(a, b)
    ours.step(zero_grad=True)
    assert all(p.grad.count_nonzero() == 0 for p in a)


def test_clamp():
    """Weights stay within the bounds of their group, or of the class; a change by hand is seen at once."""
    p, q, free = parameters([(5, 7), (9,), (9,)])
    groups = [{"params": [p]}, {"params": [q], "clamp": (-0.5, float("inf"))}, {"params": [free], "clamp": None}]
    optimizer = dt.Adam(groups, lr=LR, clamp=[-0.25, 0.25])
    before = free.detach().clone()
    run(optimizer, [p, q, free], 3)
    assert p.abs().max() == 0.25 and q.min() == -0.5 and q.max() > 0.25
    assert (free - before).abs().max() < 0.1
    again = copy.deepcopy(optimizer)
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert again.param_groups[1]["clamp"] == optimizer.param_groups[1]["clamp"] == (-0.5, float("inf"))
    optimizer.param_groups[0]["clamp"] = (0.0, 0.125)
    run(optimizer, [p, q, free], 1, start=3)
    assert p.min() == 0.0 and p.max() == 0.125
    optimizer.param_groups[0]["clamp"] = (1.0, 0.0)
    with pytest.raises(ValueError, match="`clamp_low` is 1.0; it must be at most clamp_high"):
        run(optimizer, [p, q, free], 1, start=4)


def test_momentum_can_be_switched_on():
    a, b = parameters(), parameters()
    for optimizer, params in ((dt.SGD(a, lr=LR), a), (torch.optim.SGD(b, lr=LR), b)):
        run(optimizer, params, 2)
        optimizer.param_groups[0]["momentum"] = 0.9
        run(optimizer, params, 5, start=2)
    assert_close(a, b)


def test_late_parameters_and_missing_gradients():
    a, b = parameters(), parameters()
    late_a, late_b = parameters([(4, 4)], seed=5), parameters([(4, 4)], seed=5)
    ours, theirs = dt.Adam(a[:3], lr=LR), torch.optim.Adam(b[:3], lr=LR)
    for optimizer, params, late in ((ours, a, late_a), (theirs, b, late_b)):
        for step in range(12):
            set_gradients(params + late, step)
            if step % 3 == 1:
                params[1].grad = None
            if step < 4:
                params[0].grad = None
            if step == 6:
                optimizer.add_param_group({"params": params[3:] + late, "lr": 0.1})
            optimizer.step()
    assert_close(a + late_a, b + late_b)
    steps = lambda optimizer: [int(state["step"]) for state in optimizer.state_dict()["state"].values()]
    # In the order of the parameters.
    assert steps(ours) == [8, 8, 12, 6, 6, 6] and sorted(steps(theirs)) == sorted(steps(ours))


@pytest.mark.parametrize("name,options", CASES)
def test_late_parameters_have_their_own_first_step(name, options):
    ours, a, theirs, b = pair(name, options)
    for optimizer, params in ((ours, a), (theirs, b)):
        for step in range(8):
            set_gradients(params, step)
            if step < 3:
                params[0].grad = params[2].grad = None
            optimizer.step()
    assert_close(a, b)


def test_no_gradients_and_no_parameters_at_all():
    params = parameters()
    optimizer = dt.AdamW(params)
    optimizer.step()
    assert optimizer.report.tensors_updated == 0 and optimizer.state_dict()["state"] == {}
    with pytest.raises(ValueError, match="empty parameter list"):
        dt.AdamW([])


def test_closure():
    p = torch.nn.Parameter(torch.ones(3))
    optimizer = dt.SGD([p], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = p.square().sum()
        loss.backward()
        return loss

    with torch.no_grad():
        assert optimizer.step(closure).item() == 3
    assert torch.allclose(p.detach(), torch.full((3,), 0.8))


def test_zero_grad_and_fresh_gradients():
    torch.manual_seed(0)
    x = torch.randn(16, 4)
    results = []
    for set_to_none in (True, False):
        torch.manual_seed(1)
        model = torch.nn.Linear(4, 3)
        optimizer = dt.Adam(model.parameters(), lr=LR)
        for _ in range(10):
            optimizer.zero_grad(set_to_none=set_to_none)
            model(x).square().sum().backward()
            optimizer.step()
        results.append([p.detach().clone() for p in model.parameters()])
    assert_same(*results)


def test_gradients_are_let_go():
    p = torch.nn.Parameter(torch.ones(5))
    optimizer = dt.Adam([p])
    p.grad = torch.ones(5)
    gradient = weakref.ref(p.grad)
    optimizer.step()
    p.grad = None
    gc.collect()
    assert gradient() is None


LAYOUTS = {
    "channels last": lambda x: x.to(memory_format=torch.channels_last),
    "transposed": lambda x: x.permute(3, 1, 0, 2),
    "view of a buffer": lambda x: torch.cat([torch.zeros(7), x.flatten(), torch.zeros(2)])[7:-2].view(x.shape),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("gradient", [*LAYOUTS, "expanded", "strided", "contiguous"])
@pytest.mark.parametrize("options", [{}, {"state": "8bit"}])
def test_layouts(layout, gradient, options):
    x = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    p = torch.nn.Parameter(LAYOUTS[layout](x.clone()))
    q = torch.nn.Parameter(p.detach().contiguous().clone())
    ours, theirs = dt.Adam([p], lr=LR, **options), torch.optim.Adam([q], lr=LR)
    for step in range(5):
        g = torch.randn(p.shape, generator=torch.Generator().manual_seed(step))
        if gradient == "expanded":
            g = torch.tensor(0.5).expand(p.shape)
        p.grad, q.grad = g, g.clone()
        if gradient == "strided":
            p.grad = torch.stack([g, g], -1)[..., 0]
        elif gradient in LAYOUTS and LAYOUTS[gradient](g).shape == g.shape:
            p.grad = LAYOUTS[gradient](g)
        ours.step(zero_grad=gradient != "expanded")
        theirs.step()
        assert gradient == "expanded" or not p.grad.any()
    assert_close([p.contiguous()], [q], **({"atol": 1e-2} if options else {}))


def test_a_gradient_that_is_the_parameter_itself():
    p, q = torch.nn.Parameter(torch.ones(4)), torch.nn.Parameter(torch.ones(4))
    shared = torch.ones(4)
    optimizer = dt.SGD([p, q], lr=0.25)
    p.grad = p.detach()
    q.grad = shared
    optimizer.step()
    assert torch.equal(p.detach(), torch.full((4,), 0.75)) and torch.equal(p.detach(), q.detach())
    # Two gradients that are one, to be set to zero.
    p.grad = q.grad = shared
    optimizer.step(zero_grad=True)
    assert torch.equal(p.detach(), torch.full((4,), 0.5)) and torch.equal(p.detach(), q.detach())
    assert not shared.any()


REFUSED = {
    "float64": (lambda: torch.zeros(3, dtype=torch.float64), "is torch.float64; it must be float32"),
    "meta": (lambda: torch.zeros(3, device="meta"), "is on meta; downhill steps tensors on the CPU"),
    "complex": (lambda: torch.zeros(3, dtype=torch.complex64), "is torch.complex64"),
    "gaps": (lambda: torch.zeros(3, 4)[:, ::2], "is not dense: its elements are not next to each other"),
    "expanded": (lambda: torch.zeros(1).expand(3), "is not dense"),
    "sparse": (lambda: torch.zeros(3, 3).to_sparse(), "is not dense but torch.sparse_coo"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_at_construction(case):
    make, text = REFUSED[case]
    good, bad = torch.zeros(2, requires_grad=True), make().requires_grad_()
    with pytest.raises(ValueError, match="`params`: parameter 1 of group 0 " + text):
        dt.AdamW([good, bad])
    optimizer = dt.AdamW([good])
    with pytest.raises(ValueError, match="`params`: parameter 0 of group 1 " + text):
        optimizer.add_param_group({"params": [bad]})
    assert len(optimizer.param_groups) == 1


@modern
def test_tensors_that_are_made_of_others_are_refused():
    from torch.testing._internal.two_tensor import TwoTensor

    p = torch.nn.Parameter(TwoTensor(torch.zeros(3), torch.zeros(3)))
    with pytest.raises(ValueError, match="parameter 0 of group 0 is a TwoTensor, which is made of other tensors"):
        dt.SGD([p], lr=1.0)


def test_refused_arguments():
    params = parameters()
    for options, text in [
        ({"state": "int4"}, "`state` is 'int4'; it must be one of 'float32', 'bfloat16', '8bit'"),
        ({"master_weights": True}, "`master_weights` is True; it must be one of None, 'split', 'float32'"),
        ({"rounding": "up"}, "`rounding` is 'up'"),
        ({"differentiable": True}, "`differentiable` is True"),
        ({"lr": -1.0}, "Invalid learning rate: -1.0"),
    ]:
        with pytest.raises(ValueError, match=text):
            dt.Adam(params, **options)
    with pytest.raises(ValueError, match="parameter 0 of group 0 is float16; `master_weights`"):
        dt.Adam(parameters(dtype=torch.float16), master_weights="split")
    with pytest.raises(TypeError, match="foo"):
        dt.Adam(params, foo=1)
    with pytest.raises(ValueError, match="has a parameter twice"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dt.Adam([params[0], params[0]])
    with pytest.raises(ValueError, match="more than one parameter group"):
        dt.Adam([{"params": params[0]}, {"params": params[0]}])
    # They mean nothing here.
    optimizer = dt.Adam(params, foreach=True, fused=True, capturable=True)
    run(optimizer, params, 1)
    for options, text in [({"max_norm": -1.0}, "`max_norm` is -1.0"), ({"max_norm": "x"}, "max_norm|real number|float")]:
        before = copy.deepcopy(params)
        with pytest.raises((ValueError, TypeError), match=text):
            optimizer.step(**options)
        assert_same(params, before)
    optimizer.param_groups[0]["lr"] = float("nan")
    with pytest.raises(ValueError, match="`lr` is NaN"):
        optimizer.step()
    with pytest.raises(ValueError, match="`threads` is 'all'"):
        dt.Adam(params, threads="all").step()


def test_parameters_that_share_memory_are_refused():
    x = torch.zeros(10)
    p, q = torch.nn.Parameter(x[:6]), torch.nn.Parameter(x[5:])
    optimizer = dt.SGD([p, q], lr=1.0)
    p.grad, q.grad = torch.ones(6), torch.ones(5)
    with pytest.raises(ValueError, match="parameters 0 and 1 .* share memory"):
        optimizer.step()
    assert not x.any()


def test_sparse_gradients_are_refused():
    embedding = torch.nn.Embedding(5, 3, sparse=True)
    optimizer = dt.Adam(embedding.parameters())
    before = embedding.weight.detach().clone()
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises(RuntimeError, match=r"param_groups\[0\]\['params'\]\[0\]: sparse gradients are not supported"):
        optimizer.step()
    assert torch.equal(before, embedding.weight.detach())


TABLES = [(20, 6), (9, 2, 3), (7,)]


def set_sparse_gradients(params, step):
    """Rows in any order, some of them more than once."""
    generator = torch.Generator().manual_seed(1000 + step)
    for p in params:
        rows = torch.randint(p.shape[0], (1 + step % 9,), generator=generator)
        values = torch.randn((len(rows), *p.shape[1:]), generator=generator)
        p.grad = torch.sparse_coo_tensor(rows[None], values, p.shape)


def run_sparse(optimizer, params, steps, start=0):
    for step in range(start, start + steps):
        set_sparse_gradients(params, step)
        optimizer.step()


@pytest.mark.parametrize(
    "options", [{}, {"eps": 0.1, "betas": (0.8, 0.99)}, {"betas": (0.0, 0.99)}, {"maximize": True}], ids=str
)
def test_sparse_adam(options):
    a, b = parameters(TABLES), parameters(TABLES)
    ours, theirs = (f.SparseAdam(p, lr=LR, **options) for f, p in ((dt, a), (torch.optim, b)))
    run_sparse(ours, a, 50)
    run_sparse(theirs, b, 50)
    assert_close(a, b)
    states, expected = ours.state_dict(), theirs.state_dict()
    assert states["param_groups"] == expected["param_groups"]
    for key, state in expected["state"].items():
        assert states["state"][key].keys() == state.keys() and states["state"][key]["step"] == state["step"] == 50
        # The first moment is not there where it is multiplied by 0.
        for name in ("exp_avg", "exp_avg_sq")[options.get("betas", (0.9,))[0] == 0 :]:
            torch.testing.assert_close(states["state"][key][name], state[name], rtol=1e-4, atol=1e-6)
    # Each goes on from the other.
    ours.load_state_dict(copy.deepcopy(expected))
    theirs.load_state_dict(copy.deepcopy(states))
    run_sparse(ours, a, 5, start=50)
    run_sparse(theirs, b, 5, start=50)
    assert_close(a, b)


def test_sparse_adam_of_an_embedding():
    embedding = torch.nn.Embedding(10, 4, sparse=True)
    optimizer = pickle.loads(pickle.dumps(dt.SparseAdam(embedding.parameters(), lr=0.5, threads=2)))
    embedding.weight = optimizer.param_groups[0]["params"][0]
    before = embedding.weight.detach().clone()

    def closure():
        embedding.weight.grad = None
        loss = embedding(torch.tensor([7, 1, 7])).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure) == before[[7, 1, 7]].sum()
    moved = before - embedding.weight.detach()
    torch.testing.assert_close(moved[[1, 7]], torch.full((2, 4), 0.5))
    assert not moved[[0, 2, 3, 4, 5, 6, 8, 9]].any()
    if dt._increment_version is not None:
        assert embedding.weight._version > 0
    before = embedding.weight.detach().clone()
    embedding.weight.grad = torch.sparse_coo_tensor(torch.zeros((1, 0), dtype=torch.long), torch.zeros(0, 4), (10, 4))
    optimizer.step()
    assert torch.equal(embedding.weight.detach(), before)


def test_sparse_adam_refuses_other_gradients():
    first, second = parameters([(5, 3), (4, 3)])
    optimizer = dt.SparseAdam([first, second], lr=LR)
    set_sparse_gradients([first], 3)
    before = copy.deepcopy([first, second])
    for wrong in (torch.ones(4, 3), torch.ones(4, 3).to_sparse()):
        second.grad = wrong
        with pytest.raises(RuntimeError, match="a gradient is not sparse in its first dimension alone"):
            optimizer.step()
    half = torch.nn.Parameter(torch.ones(4, 3, dtype=torch.bfloat16))
    half.grad = torch.sparse_coo_tensor([[0]], torch.ones((1, 3), dtype=torch.bfloat16), (4, 3))
    with pytest.raises(ValueError, match="a parameter is torch.bfloat16; it must be float32"):
        dt.SparseAdam([half]).step()
    assert_same([first, second], before)
    assert optimizer.state[first]["step"] == 0 and not optimizer.state[first]["exp_avg"].any()
    with pytest.raises(ValueError, match="Invalid learning rate"):
        dt.SparseAdam([first], lr=-1)


def test_everything_may_move():
    """Parameters, gradients and states in other places than at the step before."""
    a, b = parameters(), parameters()
    ours, theirs = dt.Adam(a, lr=LR), torch.optim.Adam(b, lr=LR)
    for step in range(10):
        for optimizer, params in ((ours, a), (theirs, b)):
            set_gradients(params, step)
            if step == 3:
                params[0].data = params[0].data.clone()
            if step == 5:
                optimizer.state[params[1]]["exp_avg"] = torch.zeros_like(params[1])
            if step == 6:
                optimizer.state[params[0]]["exp_avg_sq"].data = torch.ones_like(params[0])
            if step == 7:
                optimizer.state[params[0]]["exp_avg"].share_memory_()
            optimizer.step()
    assert_close(a, b)


def test_states_and_parameters_of_wrong_types():
    p = torch.nn.Parameter(torch.ones(4))
    optimizer = dt.Adam([p])
    run(optimizer, [p], 1)
    for wrong, text in [
        (3.0, "has a state that is no tensor to step with"),
        (torch.zeros(4, dtype=torch.float64), "`exp_avg` must be float32, bfloat16 or float16; it is float64"),
        (torch.zeros(5), 'has a state "exp_avg" of another type or layout'),
        (torch.zeros(4, dtype=torch.bfloat16), "has states of different types"),
    ]:
        optimizer.state[p]["exp_avg"] = wrong
        before = p.detach().clone()
        with pytest.raises(ValueError, match=r"`param_groups\[0\]\['params'\]\[0\]` .*" + text):
            optimizer.step()
        assert torch.equal(before, p.detach())
    optimizer.state[p]["exp_avg"] = torch.zeros(4)
    run(optimizer, [p], 1)
    p.data = torch.ones(4, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"param_groups\[0\]\['params'\]\[0\].*must be float32.* it is float64"):
        optimizer.step()


def test_states_may_be_dropped():
    params = parameters()
    optimizer = dt.Adam(params, lr=LR)
    run(optimizer, params, 3)
    optimizer.state.clear()
    start = [p.detach().clone() for p in params]
    run(optimizer, params, 1)
    # As far as Adam's first step goes, but for the bias correction of the fourth.
    assert all(torch.isfinite(p).all() and not torch.equal(p.detach(), q) for p, q in zip(params, start) if p.numel())


CHANGES = {
    "an entry": lambda state, p: state[p].__setitem__("exp_avg", torch.ones_like(p)),
    "update": lambda state, p: state[p].update(exp_avg=torch.ones_like(p)),
    "a dictionary": lambda state, p: state.__setitem__(p, {**state[p], "exp_avg": torch.ones_like(p)}),
    "data": lambda state, p: setattr(state[p]["exp_avg"], "data", torch.ones_like(p)),
    "in place": lambda state, p: state[p]["exp_avg"].fill_(1),
    "set_": lambda state, p: state[p]["exp_avg"].set_(torch.ones_like(p)),
    "shared": lambda state, p: state[p]["exp_avg"].share_memory_().fill_(1),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("times", [1, 2])
def test_a_change_of_a_state_is_seen(change, times):
    p, q = torch.nn.Parameter(torch.ones(100)), torch.nn.Parameter(torch.ones(100))
    optimizer, expected = dt.Adam([p]), dt.Adam([q])
    for step in range(times):
        for o, x in ((optimizer, p), (expected, q)):
            run(o, [x], 2, start=2 * step)
        CHANGES[change](optimizer.state, p)
        expected.state[q]["exp_avg"].fill_(1)
    run(optimizer, [p], 2, start=9)
    run(expected, [q], 2, start=9)
    assert_same([p, optimizer.state[p]["exp_avg"]], [q, expected.state[q]["exp_avg"]])
    assert isinstance(copy.deepcopy(optimizer.state[p]), dict)


def test_memory_of_states_is_given_back():
    import resource

    for _ in range(40):
        p = torch.nn.Parameter(torch.ones(1 << 20))
        optimizer = dt.Adam([p])
        run(optimizer, [p], 1)
        kept = optimizer.state[p]["exp_avg"]
        del optimizer
    gc.collect()
    # A tensor outlives its optimizer.
    assert kept.abs().sum() > 0
    # Forty times 8 MiB would be more.
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(100):
        optimizer = dt.Adam([p])
        run(optimizer, [p], 1)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 << 10


def test_other_lists_of_parameters():
    params = parameters([(3,), (4,), (5,)])
    optimizer = dt.SGD(params, lr=1.0)
    run(optimizer, params, 1)
    kept = params[1].detach().clone()
    optimizer.param_groups[0]["params"] = [params[0], params[2]]
    set_gradients(params, 1)
    optimizer.step()
    assert torch.equal(kept, params[1].detach()) and optimizer.report.tensors_updated == 2


def test_resized_in_place():
    p = torch.nn.Parameter(torch.ones(1000))
    optimizer = dt.SGD([p], lr=1.0)
    p.grad = torch.ones(1000)
    optimizer.step()
    p.data = torch.ones(10)
    p.grad = torch.ones(10)
    optimizer.step()
    assert not p.any() and p.shape == (10,)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_parameters_of_16_bits(dtype):
    a, b = parameters(dtype=dtype), parameters()
    for p, q in zip(a, b):
        q.data.copy_(p.data)
    x, y = dt.Adam(a, lr=LR, rounding="nearest"), dt.Adam(b, lr=LR)
    set_gradients(a, 0)
    for p, q in zip(a, b):
        q.grad = p.grad.float()
    x.step()
    y.step()
    assert_same(a, [q.detach().to(dtype) for q in b])
    assert x.state[a[0]]["exp_avg"].dtype is torch.float32


def test_threads():
    results = []
    for threads in [None, 1, 2, downhill.Pool(2)]:
        params = parameters([(600, 1000), (300,), (500, 500)])
        optimizer = dt.AdamW(params, lr=LR, threads=threads, state="bfloat16")
        for before in (1, 2):
            torch.set_num_threads(before)
            run(optimizer, params, 2, max_norm=1.0)
        results.append(params)
    for params in results[1:]:
        assert_same(params, results[0])
    # Of the last one, which has a pool.
    assert pickle.loads(pickle.dumps(optimizer))._options["threads"] == 2


@modern
def test_hooks_and_profiler():
    params = parameters()
    optimizer = dt.Adam(params)
    seen = []
    pre = optimizer.register_step_pre_hook(lambda *_: seen.append("pre"))
    post = optimizer.register_step_post_hook(lambda *_: seen.append("post"))
    run(optimizer, params, 1)
    pre.remove(), post.remove()
    run(optimizer, params, 1)
    assert seen == ["pre", "post"]
    with torch.autograd.profiler.profile() as profile:
        run(optimizer, params, 1)
    assert any("Optimizer.step#Adam.step" in event.name for event in profile.function_events)
    loaded = []
    optimizer.register_load_state_dict_post_hook(lambda _: loaded.append(1))
    optimizer.register_state_dict_post_hook(lambda _, state: {**state, "more": 1})
    saved = optimizer.state_dict()
    assert saved["more"] == 1
    optimizer.load_state_dict(saved)
    assert loaded == [1] and int(optimizer.state_dict()["state"][0]["step"]) == 3


@modern
def test_autograd_is_told():
    p = torch.nn.Parameter(torch.ones(3))
    optimizer = dt.SGD([p], lr=0.1)
    loss = p.square().sum()
    loss.backward(retain_graph=True)
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@modern
def test_named_parameters_and_grad_scaler():
    model = torch.nn.Linear(3, 2)
    optimizer = dt.AdamW(model.named_parameters(), fused=True)
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    before = model.weight.detach().clone()
    scaler.scale(model(torch.ones(1, 3)).sum()).backward()
    model.weight.grad[0, 0] = float("inf")
    scaler.step(optimizer)
    scaler.update()
    assert torch.equal(model.weight.detach(), before)
    optimizer.zero_grad()
    scaler.scale(model(torch.ones(1, 3)).sum()).backward()
    scaler.step(optimizer)
    assert not torch.equal(model.weight.detach(), before)


def test_cpu_adam_takes_what_deepspeeds_does():
    params = parameters(dtype=torch.bfloat16)
    optimizer = dt.CPUAdam(
        params, 0.01, bias_correction=False, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.1, amsgrad=False,
        adamw_mode=False, fp32_optimizer_states=False,
    )
    start = params[1].detach().float()
    g = torch.ones_like(start)
    params[1].grad = g.bfloat16()
    optimizer.step()
    assert optimizer.state[params[1]]["exp_avg"].dtype is torch.bfloat16
    decayed = g + 0.1 * start
    expected = start - 0.01 * (0.1 * decayed) / ((0.01 * decayed * decayed).sqrt() + 1e-8)
    torch.testing.assert_close(optimizer.state[params[1]]["master"], expected, rtol=1e-6, atol=1e-6)
    again = copy.deepcopy(optimizer)
    assert again.param_groups[0]["bias_correction"] is False and again._is_decoupled is False


def test_is_an_optimizer_of_torch():
    for name, _ in PLAIN:
        optimizer = getattr(dt, name)(parameters(), lr=LR)
        assert isinstance(optimizer, getattr(torch.optim, name)) and isinstance(optimizer, torch.optim.Optimizer)
        known = inspect.signature(getattr(torch.optim, name)).parameters
        arguments = inspect.signature(getattr(dt, name)).parameters
        assert list(arguments)[: len(known)] == list(known)
        assert all(arguments[key].default == known[key].default for key in known)
        assert name in repr(optimizer)


def test_lion():
    p = torch.nn.Parameter(torch.tensor([1.0, -1.0]))
    optimizer = dt.Lion([p], lr=0.1, weight_decay=0.5)
    p.grad = torch.tensor([3.0, -2.0])
    optimizer.step()
    assert torch.allclose(p.detach(), torch.tensor([0.85, -0.85]))
    assert torch.allclose(optimizer.state[p]["exp_avg"], 0.01 * p.grad)
    with pytest.raises(ValueError, match="`betas` are"):
        dt.Lion([p], betas=(1.0, 0.9))


THREADS = """
import os, sys, torch, downhill.torch as dt
torch.set_num_threads(2)
p = torch.nn.Parameter(torch.ones(1 << 22))
p.grad = torch.ones_like(p)
(p.grad * 2).sum()
before = len(os.listdir("/proc/self/task"))
dt.Adam([p], threads=eval(sys.argv[1])).step()
tasks = os.listdir("/proc/self/task")
names = [open(f"/proc/self/task/{task}/comm").read().strip() for task in tasks]
print(len(tasks) - before, names.count("downhill"))
"""


def test_steps_run_on_the_threads_of_pytorch():
    if not os.path.isdir("/proc/self/task"):
        pytest.skip("SKIPPED: this system does not list threads in /proc")
    run = lambda threads: subprocess.run(
        [sys.executable, "-c", THREADS, threads], capture_output=True, text=True, check=True
    ).stdout
    assert run("None") == "0 0\n" and run("1") == "0 0\n"
    assert run("2") == "1 1\n"
