"""Optimizers for PyTorch models on the CPU: `torch.optim`'s own classes with downhill's step.

Change one import of a training script::

    from downhill.torch import AdamW             # was: from torch.optim import AdamW

Arguments, defaults, parameter groups, schedulers, closures, hooks and `state_dict` are those of the class
of `torch.optim` that each class is derived from (Lion is after Chen et al., 2023, and CPUAdam takes the
arguments of DeepSpeed's `DeepSpeedCPUAdam`). Beyond those, each class takes

- `state`: "float32" (default), "bfloat16" or "8bit": what its states are held in;
- `master_weights`, for parameters of 16 bits: None (default: they are rounded after each step), "split" (the
  lower half of a float32 whose upper half is the bfloat16 parameter: no second copy) or "float32" (a copy);
- `rounding` ("stochastic", the default, or "nearest") and `seed`: how weights and states of fewer bits are
  rounded;
- `threads`: None (default) for as many as `torch.get_num_threads()`, and where OpenMP is loaded on the very
  threads of PyTorch; a number; or a `downhill.Pool`;
- `clamp`: `(low, high)`, from where to where new weights are kept, of which one may be infinite; None (default):
  no bounds. A parameter group may have another: its "clamp";
- `max_norm`, `skip_nonfinite` and `zero_grad`: what `step()` does if it is not told.

`step(closure=None, *, max_norm, skip_nonfinite, zero_grad)` makes the whole step in one call: clips by the
norm of all gradients together (0: no clipping), changes nothing if a gradient is not finite, and sets the
gradients to zero. What it did is in `report` (a `downhill.Report`).

Parameters must be dense tensors on the CPU, float32, bfloat16 or float16. `step` counters are in
`state_dict()` and not in `state`.

`SparseAdam`, for sparse gradients, has the arguments of torch's and `threads`.
"""

from __future__ import annotations

import collections
import functools
import inspect
import math
from typing import Any, Callable, Literal

import torch
from torch.optim import Optimizer
from torch.optim import optimizer as _torch_optimizer
from torch.utils.dlpack import from_dlpack, to_dlpack

from ._downhill import Group, Plan, Pool, Report, Tensor, Watch, convert, pack, rules, state_bytes, unpack
from ._downhill import step as _whole_step

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "CPUAdam",
    "Lion",
    "NAdam",
    "RAdam",
    "RMSprop",
    "SparseAdam",
]

_RULES = {rule.name: rule for rule in rules()}
_FLOATS = (torch.float32, torch.bfloat16, torch.float16)
_STATES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "8bit": None}
_MASTERS = (None, "split", "float32")


def _list_incrementer():
    """What tells autograd that the tensors of a list were written to; None where PyTorch has no such function."""
    increment = getattr(torch.autograd.graph, "increment_version", None)
    try:
        increment([torch.zeros(1)])
    except (AttributeError, TypeError):
        return None
    # Without the public one's look at what it was given.
    return getattr(torch._C, "_increment_version", increment)


_increment_version = _list_incrementer()


def _dense(parameter, gradient):
    """A copy of a gradient, laid out as its parameter."""
    if gradient.layout is not torch.strided:
        raise RuntimeError("sparse gradients are not supported")
    if gradient.device.type != "cpu":
        raise RuntimeError(f"the gradient is on {gradient.device}; it must be on the CPU")
    dtype = gradient.dtype if gradient.dtype in _FLOATS else torch.float32
    with torch.no_grad():
        return torch.empty_like(parameter, dtype=dtype, requires_grad=False).copy_(gradient)


def _one_of(name, value, allowed):
    if value not in allowed:
        raise ValueError(f"`{name}` is {value!r}; it must be one of {', '.join(map(repr, allowed))}")


class _Kept:
    """A parameter's state on its way through torch's `load_state_dict`, which would round it to the parameter's type."""

    def __init__(self, state):
        self.state = state


def _watched(base):
    """A dictionary that tells the optimizer's watch when something is put in or taken out.

    So a step need not look at thousands of entries that nobody touches.
    """

    class Watched(base):
        watch = None

        def __reduce__(self):
            return dict, (dict(self),)

    def marking(name):
        def method(self, *args, **kwargs):
            if self.watch is not None:
                self.watch.mark()
            return getattr(base, name)(self, *args, **kwargs)

        return method

    for name in ("__setitem__", "__delitem__", "__ior__", "clear", "pop", "popitem", "setdefault", "update"):
        setattr(Watched, name, marking(name))
    return Watched


_State, _States = _watched(dict), _watched(collections.defaultdict)


class _Step(Optimizer):
    """What all classes share. A derived class says which rule a group has, and its numbers.

    `_names` are torch's names of the rule's states.
    """

    report: Report | None
    _names: dict[str, str] = {}
    _counts = True  # Is there a `step` in torch's state?

    def __init__(
        self,
        params,
        *args,
        state: Literal["float32", "bfloat16", "8bit"] = "float32",
        master_weights: Literal["split", "float32"] | None = None,
        rounding: Literal["stochastic", "nearest"] = "stochastic",
        seed: int = 0,
        threads: int | Pool | None = None,
        clamp: tuple[float, float] | None = None,
        max_norm: float = 0.0,
        skip_nonfinite: bool = False,
        zero_grad: bool = False,
        **kwargs: Any,
    ):
        _one_of("state", state, list(_STATES))
        _one_of("master_weights", master_weights, _MASTERS)
        _one_of("rounding", rounding, ["stochastic", "nearest"])
        if kwargs.get("differentiable"):
            raise ValueError("`differentiable` is True; steps of downhill are not recorded by autograd")
        # It is, always; torch's own checks are for its own kernels.
        kwargs.pop("fused", None)
        self._options = {
            "state": state,
            "master_weights": master_weights,
            "rounding": rounding,
            "seed": seed,
            "threads": threads,
            "clamp": clamp,
            "max_norm": max_norm,
            "skip_nonfinite": skip_nonfinite,
            "zero_grad": zero_grad,
        }
        self._forget()
        super().__init__(params, *args, **kwargs)
        # GradScaler then unscales the gradients and looks for infinity by itself.
        self._step_supports_amp_scaling = False
        self._adopt()

    def _forget(self):
        self._plan, self._plan_rules, self._plan_clamps, self._plan_parameters = None, None, None, []
        self._watch = Watch()
        self._steps = {}
        self.report = None

    # Which rule a group has, how it is chosen and what does not come from its configuration; and the values
    # of `_numbers(rule)`.

    def _rule(self, group):
        """`(rule, choices, lr_decay, is_first_undamped, states)`"""
        raise NotImplementedError

    def _numbers(self, rule):
        raise NotImplementedError

    def _values(self, group):
        raise NotImplementedError

    # Construction.

    def add_param_group(self, param_group):
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        try:
            self._check_group(group, len(self.param_groups) - 1)
        except ValueError:
            self.param_groups.pop()
            raise
        self._pull()
        self._plan = None

    def _check_group(self, group, place):
        if group.get("differentiable"):
            raise ValueError("`differentiable` is True; steps of downhill are not recorded by autograd")
        if len(set(group["params"])) != len(group["params"]):
            raise ValueError(f"`params`: group {place} has a parameter twice")
        for k, parameter in enumerate(group["params"]):
            reason = self._refusal(parameter)
            if reason:
                raise ValueError(f"`params`: parameter {k} of group {place} {reason}")
        if self._options["state"] == "8bit":
            rule, choices, *_ = self._rule(group)
            state_bytes(rule, 0, **choices)

    def _refusal(self, parameter):
        if parameter.device.type != "cpu":
            return f"is on {parameter.device}; downhill steps tensors on the CPU"
        if hasattr(parameter, "__tensor_flatten__"):
            return f"is a {type(parameter).__name__}, which is made of other tensors; downhill steps plain ones"
        if parameter.layout is not torch.strided:
            return f"is not dense but {parameter.layout}"
        if parameter.dtype not in _FLOATS:
            return f"is {parameter.dtype}; it must be float32, bfloat16 or float16"
        like = torch.empty_like(parameter, device="meta")
        if parameter.numel() > 1 and like.stride() != parameter.stride():
            return "is not dense: its elements are not next to each other in memory"
        if self._options["master_weights"] == "split" and parameter.dtype is torch.float16:
            return "is float16; `master_weights` \"split\" is for bfloat16"
        return None

    # States.

    def _state_names(self, group):
        return [self._names[name] for name in self._rule(group)[4]]

    def _watch_states(self):
        """Makes the dictionaries of states ones that are watched."""

        # Not the optimizer itself, which would then be freed by the garbage collector only.
        watch = self._watch

        def watched(items=()):
            state = _State(items)
            state.watch = watch
            return state

        if not isinstance(self.state, _States) or self.state.watch is not watch:
            self.state = _States(watched, self.state)
            self.state.watch = watch
        for key, state in self.state.items():
            if isinstance(state, dict) and (not isinstance(state, _State) or state.watch is not watch):
                dict.__setitem__(self.state, key, watched(state))

    def _zeros(self, parameter, dtype):
        """Zeros, laid out as a parameter, in memory that the watch has an eye on."""
        if not parameter.numel():
            return torch.zeros_like(parameter, dtype=dtype, requires_grad=False)
        flat = from_dlpack(self._watch.zeros(parameter.numel(), str(dtype).replace("torch.", "")))
        # In place: a view would keep the memory after the state has let go of it.
        return flat.as_strided_(parameter.shape, parameter.stride())

    def _bytes(self, size):
        return from_dlpack(self._watch.zeros(size, "uint8")) if size else torch.zeros(0, dtype=torch.uint8)

    def _like(self, parameter, value, dtype):
        """A copy of a state, laid out as its parameter; zeros if there is none."""
        state = self._zeros(parameter, dtype)
        if value is None:
            return state
        if value.shape != parameter.shape:
            shapes = f"{tuple(value.shape)} for a parameter of {tuple(parameter.shape)}"
            raise ValueError(f"`state_dict` has a state of shape {shapes}")
        return state.copy_(value)

    def _new_state(self, parameter, group):
        """Adds what is missing in the state of a parameter."""
        state = self.state[parameter]
        rule, choices, *_, names = self._rule(group)
        if self._options["state"] == "8bit":
            if "packed" not in state and names:
                size = state_bytes(rule, parameter.numel(), **choices, **self._forms(group))
                state["packed"] = self._bytes(size)
        else:
            dtype = _STATES[self._options["state"]]
            for name in self._state_names(group):
                if state.get(name) is None:
                    state[name] = self._first(name, group, self._zeros(parameter, dtype))
        master = self._options["master_weights"] if parameter.dtype is not torch.float32 else None
        if master == "split" and "low" not in state:
            state["low"] = self._zeros(parameter, torch.int16)
        if master == "float32" and "master" not in state:
            state["master"] = self._like(parameter, parameter.detach(), torch.float32)

    def _first(self, name, group, zeros):
        """A state before the first step."""
        return zeros

    def _forms(self, group):
        """Numbers that say which states there are."""
        return {}

    def _adopt(self):
        """Takes over states in torch's form: counts apart, of the type and layout that they have here."""
        self._watch_states()
        of_parameter = {p: group for group in self.param_groups for p in group["params"]}
        for parameter, given in list(self.state.items()):
            group = of_parameter.get(parameter)
            if group is None or not isinstance(given, dict):
                continue
            given = dict(given)
            step = given.pop("step", None)
            given.pop("mu_product", None)
            given = {name: value for name, value in given.items() if value is not None}
            self._steps[parameter] = int(step) if step is not None else int(bool(given))
            if not given and not self._steps[parameter]:
                del self.state[parameter]
                continue
            self.state[parameter] = self._converted(parameter, group, given)
            self._new_state(parameter, group)
        self._watch_states()

    def _converted(self, parameter, group, given):
        names = self._state_names(group)
        rule, choices, *_ = self._rule(group)
        choices = {**choices, **self._forms(group)}
        own = {}
        if "packed" in given and self._options["state"] == "8bit":
            own["packed"] = self._bytes(len(given["packed"])).copy_(given["packed"])
        elif "packed" in given:
            given = {**given, **self._unpacked(parameter, group, given["packed"])}
        elif self._options["state"] == "8bit" and names:
            wide = [self._like(parameter, given.get(name), torch.float32) for name in names]
            own["packed"] = self._bytes(state_bytes(rule, parameter.numel(), **choices))
            pack(rule, [_flat(state) for state in wide], own["packed"], **choices)
        if self._options["state"] != "8bit":
            dtype = _STATES[self._options["state"]]
            own.update((name, self._like(parameter, given[name], dtype)) for name in names if name in given)
        master = self._options["master_weights"]
        if parameter.dtype is torch.float32 or master is None:
            return own
        if master == "split" and "low" in given:
            own["low"] = self._like(parameter, given["low"], torch.int16)
        elif master == "split" and "master" in given:
            raise ValueError('`state_dict` was saved with `master_weights` "float32", and here it is "split"')
        elif master == "float32" and "master" in given:
            own["master"] = self._like(parameter, given["master"], torch.float32)
        elif master == "float32" and "low" in given:
            own["master"] = self._zeros(parameter, torch.float32)
            low = self._like(parameter, given["low"], torch.int16)
            convert(_flat(parameter.detach()), _flat(own["master"]), source_low=_flat(low))
        return own

    def _unpacked(self, parameter, group, packed):
        """8-bit states by their names, in the parameter's order of elements."""
        names = self._state_names(group)
        rule, choices, *_ = self._rule(group)
        wide = [torch.empty_like(parameter, dtype=torch.float32, requires_grad=False) for _ in names]
        unpack(rule, packed, [_flat(state) for state in wide], **choices, **self._forms(group))
        return dict(zip(names, wide))

    def _exported(self, as_torch=False):
        """The states in torch's form."""
        self._pull()
        exported = {}
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter in self.state:
                    state = self._export(parameter, group, dict(self.state[parameter]), as_torch)
                    if state:
                        exported[parameter] = state
        for key, value in self.state.items():
            if not isinstance(key, torch.Tensor):
                exported[key] = value
        return exported

    def _export(self, parameter, group, state, as_torch):
        if as_torch:
            names = self._state_names(group)
            if "packed" in state:
                state = self._unpacked(parameter, group, state["packed"])
            state = {name: state[name] for name in names}
        is_rounded = parameter.dtype is not torch.float32 or self._options["state"] != "float32"
        if self._counts or is_rounded and not as_torch:
            step = torch.tensor(float(self._steps.get(parameter, 0)), dtype=torch.float32)
            return {"step": step, **state}
        return state

    def state_dict(self, *, as_torch=False):
        """As torch's, of which it has the names and shapes: it loads into torch's class, and torch's into this.

        8-bit states and master weights are in it as they are, under names of their own ("packed", "low",
        "master"), so that training goes on bit by bit. With `as_torch` they are not, and states are unpacked.
        """
        own, self.state = self.state, self._exported(as_torch)
        try:
            return super().state_dict()
        finally:
            self.state = own

    def load_state_dict(self, state_dict):
        """Loads a `state_dict` of this class or of torch's. States are copied."""

        def keep(_, state_dict):
            state = {key: _Kept(s) if isinstance(s, dict) else s for key, s in state_dict["state"].items()}
            return {**state_dict, "state": state}

        if hasattr(self, "register_load_state_dict_pre_hook"):
            # Behind those of others.
            hook = self.register_load_state_dict_pre_hook(keep)
            try:
                super().load_state_dict(state_dict)
            finally:
                hook.remove()
        else:
            super().load_state_dict(keep(self, state_dict))

    def __getstate__(self):
        threads = self._options["threads"]
        # Threads stay behind.
        options = {**self._options, "threads": threads.threads if isinstance(threads, Pool) else threads}
        return {**super().__getstate__(), "state": self._exported(), "_options": options}

    def __setstate__(self, state):
        kept = {key: s.state if isinstance(s, _Kept) else s for key, s in state["state"].items()}
        self._forget()
        super().__setstate__({**state, "state": kept})
        self._step_supports_amp_scaling = False
        self._adopt()

    # The step.

    def _pull(self):
        """Takes over from the plan how many steps were made."""
        if self._plan is not None:
            self._steps.update(zip(self._plan_parameters, self._plan.steps))

    def _clamps(self):
        clamps = [group.get("clamp", self._options["clamp"]) for group in self.param_groups]
        return [clamp and tuple(clamp) for clamp in clamps]

    def _build(self, found, clamps):
        self._pull()
        # What it alone keeps goes before a new plan looks, not behind its back.
        self._plan = None
        self._watch_states()
        groups, parameters = [], []
        for group, clamp, (rule, choices, lr_decay, is_first_undamped, _) in zip(self.param_groups, clamps, found):
            entries = []
            for parameter in group["params"]:
                has_state = parameter.grad is not None or parameter in self.state
                if has_state:
                    self._new_state(parameter, group)
                state = self.state[parameter] if has_state else None
                entries.append((parameter, state, self._steps.get(parameter, 0)))
                parameters.append(parameter)
            groups.append(
                {
                    "rule": rule,
                    "choices": choices,
                    "numbers": self._numbers(rule),
                    "lr_decay": lr_decay,
                    "is_first_undamped": is_first_undamped,
                    "rounding": self._options["rounding"],
                    "seed": self._options["seed"],
                    "clamp": clamp,
                    "state_names": self._state_names(group),
                    "params": entries,
                }
            )
        self._plan = Plan(torch.Tensor, to_dlpack, _dense, _increment_version, self._watch, self.state, groups)
        self._plan_rules, self._plan_clamps, self._plan_parameters = found, clamps, parameters

    def _make(self, closure=None, *, max_norm=None, skip_nonfinite=None, zero_grad=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        options, groups = self._options, self.param_groups
        maximize = [bool(group.get("maximize", False)) for group in groups]
        found, clamps = [self._rule(group) for group in groups], self._clamps()
        values = [self._values(group) for group in groups]
        extras = (
            options["max_norm"] if max_norm is None else max_norm,
            options["skip_nonfinite"] if skip_nonfinite is None else skip_nonfinite,
            options["zero_grad"] if zero_grad is None else zero_grad,
            False,
        )
        threads = (options["threads"], torch.get_num_threads())
        if self._plan is None or found != self._plan_rules or clamps != self._plan_clamps:
            self._build(found, clamps)
        report = self._plan.step(groups, self.state, values, maximize, extras, threads)
        if report is None:
            # Something has moved, or has a gradient for the first time.
            self._build(found, clamps)
            report = self._plan.step(groups, self.state, values, maximize, extras, threads)
            if report is None:
                raise RuntimeError("parameters, gradients or states move while the optimizer looks at them")
        self.report = report
        return loss

    def step(
        self,
        closure: Callable[[], Any] | None = None,
        *,
        max_norm: float | None = None,
        skip_nonfinite: bool | None = None,
        zero_grad: bool | None = None,
    ) -> Any:
        """Makes one step and returns what `closure`, which computes the loss and its gradients, returns.

        `max_norm`: the norm of all gradients together above which they are scaled down to it; 0: no clipping.
        `skip_nonfinite`: change nothing if a gradient is NaN or infinite. `zero_grad`: set the gradients to
        zero afterwards, unless the step is skipped. What is None is as the constructor was told.
        """
        make = _hooked if self._has_hooks() else _Step._make
        return make(self, closure, max_norm=max_norm, skip_nonfinite=skip_nonfinite, zero_grad=zero_grad)

    def _has_hooks(self):
        return (
            self._optimizer_step_pre_hooks
            or self._optimizer_step_post_hooks
            or _torch_optimizer._global_optimizer_pre_hooks
            or _torch_optimizer._global_optimizer_post_hooks
            or torch.autograd._profiler_enabled()
        )


if hasattr(Optimizer, "profile_hook_step"):
    # What torch makes of every `step`; it takes longer than a small step, so it is there where it is of use.
    _hooked = Optimizer.profile_hook_step(_Step._make)
    _Step.step.hooked = True
else:
    # PyTorch 1 has no hooks, and profiles every step.
    _hooked = _Step._make
    _Step._has_hooks = lambda self: False


def _flat(tensor):
    """The elements of a dense tensor in the order of memory."""
    return tensor.as_strided((tensor.numel(),), (1,))


@functools.lru_cache(maxsize=64)
def _mu_product(steps, beta1, momentum_decay):
    product = 1.0
    for t in range(1, steps + 1):
        product *= beta1 * (1.0 - 0.5 * 0.96 ** (t * momentum_decay))
    return product


class SGD(_Step, torch.optim.SGD):
    """SGD, with momentum or Nesterov's, in torch's form."""

    _names = {"u": "momentum_buffer"}
    _counts = False

    def _rule(self, group):
        if group["momentum"] == 0:
            return "sgd", {}, 0.0, False, ()
        if group["nesterov"]:
            return "nesterov", {"form": "torch"}, 0.0, False, ("u",)
        return "momentum", {"form": "torch"}, 0.0, group["dampening"] != 0, ("u",)

    def _numbers(self, rule):
        names = ["lr", "weight_decay", "momentum", "dampening"]
        return names[: {"sgd": 2, "nesterov": 3, "momentum": 4}[rule]]

    def _values(self, group):
        return group["lr"], group["weight_decay"], group["momentum"], group["dampening"]


class Adagrad(_Step, torch.optim.Adagrad):
    """Adagrad."""

    _names = {"s": "sum"}

    def _rule(self, group):
        return "adagrad", {}, float(group["lr_decay"]), False, ("s",)

    def _numbers(self, rule):
        return ["lr", "weight_decay", "eps"]

    def _values(self, group):
        return group["lr"], group["weight_decay"], group["eps"]

    def _first(self, name, group, zeros):
        return zeros.fill_(group["initial_accumulator_value"])


class Adadelta(_Step, torch.optim.Adadelta):
    """Adadelta."""

    _names = {"v": "square_avg", "u": "acc_delta"}

    def _rule(self, group):
        return "adadelta", {}, 0.0, False, ("v", "u")

    def _numbers(self, rule):
        return ["lr", "weight_decay", "rho", "eps"]

    def _values(self, group):
        return group["lr"], group["weight_decay"], group["rho"], group["eps"]


class RMSprop(_Step, torch.optim.RMSprop):
    """RMSprop, plain, centered and with momentum."""

    _names = {"v": "square_avg", "g_avg": "grad_avg", "u": "momentum_buffer"}

    def _rule(self, group):
        centered, momentum = bool(group["centered"]), group["momentum"] > 0
        states = ("v",) + ("g_avg",) * centered + ("u",) * momentum
        return "rmsprop", {"centered": centered}, 0.0, False, states

    def _numbers(self, rule):
        return ["lr", "weight_decay", "alpha", "eps", "momentum"]

    def _values(self, group):
        return group["lr"], group["weight_decay"], group["alpha"], group["eps"], group["momentum"]

    def _forms(self, group):
        return {"momentum": group["momentum"]}


class _Moments(_Step):
    """Rules with a pair of betas and an eps."""

    def _numbers(self, rule):
        return ["lr", "weight_decay", "eps", "beta1", "beta2"]

    def _values(self, group):
        return (group["lr"], group["weight_decay"], group["eps"], *group["betas"])


class _Adam(_Moments):
    """What Adam and AdamW share."""

    _names = {"m": "exp_avg", "v": "exp_avg_sq", "v_max": "max_exp_avg_sq"}
    _is_decoupled = False

    def _rule(self, group):
        is_decoupled = self._is_decoupled or group.get("decoupled_weight_decay")
        choices = {
            "decay": "decoupled" if is_decoupled else "l2",
            "bias_correction": "step" if group.get("bias_correction", True) else "none",
        }
        if group["amsgrad"]:
            return "amsgrad", choices, 0.0, False, ("m", "v", "v_max")
        return "adam", choices, 0.0, False, ("m",) * bool(group["betas"][0] != 0) + ("v",)

    def _forms(self, group):
        return {"beta1": group["betas"][0]}

    def _export(self, parameter, group, state, as_torch):
        state = super()._export(parameter, group, state, as_torch)
        if "exp_avg_sq" in state and "exp_avg" not in state:
            # There is none here where it is multiplied by 0, and torch's class wants to have one.
            state["exp_avg"] = torch.zeros_like(state["exp_avg_sq"])
        return state


class Adam(_Adam, torch.optim.Adam):
    """Adam, and AMSGrad. With a first beta of 0 there is no first moment."""


class AdamW(_Adam, torch.optim.AdamW):
    """Adam with decoupled weight decay, and AMSGrad with it. With a first beta of 0 there is no first moment."""

    _is_decoupled = True


class Adamax(_Moments, torch.optim.Adamax):
    """AdaMax."""

    _names = {"m": "exp_avg", "u": "exp_inf"}

    def _rule(self, group):
        return "adamax", {}, 0.0, False, ("m", "u")


class NAdam(_Moments, torch.optim.NAdam):
    """NAdam. The product of its momenta is made of the present `betas` and `momentum_decay`."""

    _names = {"m": "exp_avg", "v": "exp_avg_sq"}

    def _rule(self, group):
        is_decoupled = group.get("decoupled_weight_decay")
        return "nadam", {"decay": "decoupled" if is_decoupled else "l2"}, 0.0, False, ("m", "v")

    def _numbers(self, rule):
        return [*super()._numbers(rule), "momentum_decay"]

    def _values(self, group):
        return (*super()._values(group), group["momentum_decay"])

    def _export(self, parameter, group, state, as_torch):
        state = super()._export(parameter, group, state, as_torch)
        product = _mu_product(int(state["step"]), float(group["betas"][0]), float(group["momentum_decay"]))
        return {**state, "mu_product": torch.tensor(product, dtype=torch.float32)}


class RAdam(_Moments, torch.optim.RAdam):
    """RAdam, with its eps where torch's plain step has it. (That over lists leaves it out in PyTorch 1.)"""

    _names = {"m": "exp_avg", "v": "exp_avg_sq"}

    def _rule(self, group):
        is_decoupled = group.get("decoupled_weight_decay")
        return "radam", {"decay": "decoupled" if is_decoupled else "l2"}, 0.0, False, ("m", "v")


class Lion(_Moments):
    """Lion (*Symbolic Discovery of Optimization Algorithms*, Chen et al., 2023), with decoupled weight decay."""

    _names = {"m": "exp_avg"}

    def __init__(self, params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0, *, maximize=False, **kwargs):
        if not 0.0 <= lr:
            raise ValueError(f"`lr` is {lr}; it must be at least 0")
        if not all(0.0 <= beta < 1.0 for beta in betas):
            raise ValueError(f"`betas` are {betas}; they must be at least 0 and below 1")
        if not 0.0 <= weight_decay:
            raise ValueError(f"`weight_decay` is {weight_decay}; it must be at least 0")
        defaults = {"lr": lr, "betas": betas, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults, **kwargs)

    def _rule(self, group):
        return "lion", {"decay": "decoupled"}, 0.0, False, ("m",)

    def _numbers(self, rule):
        return ["lr", "weight_decay", "beta1", "beta2"]

    def _values(self, group):
        return (group["lr"], group["weight_decay"], *group["betas"])


class CPUAdam(Adam):
    """For a bfloat16 or float16 model: gradients as they are, float32 weights and states here, and the new
    weights into the model, in one pass. Takes the arguments of DeepSpeed's `DeepSpeedCPUAdam`.
    """

    def __init__(
        self,
        model_params,
        lr=1e-3,
        bias_correction=True,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0,
        amsgrad=False,
        adamw_mode=True,
        fp32_optimizer_states=True,
        **kwargs,
    ):
        kwargs.setdefault("master_weights", "float32")
        kwargs.setdefault("state", "float32" if fp32_optimizer_states else "bfloat16")
        self._is_decoupled = adamw_mode
        self._has_bias_correction = bias_correction
        super().__init__(model_params, lr, betas, eps, weight_decay, amsgrad, **kwargs)

    def add_param_group(self, param_group):
        param_group.setdefault("bias_correction", self._has_bias_correction)
        super().add_param_group(param_group)

    def __getstate__(self):
        own = {name: getattr(self, name) for name in ("_is_decoupled", "_has_bias_correction")}
        return {**super().__getstate__(), **own}


class SparseAdam(torch.optim.SparseAdam):
    """Adam on the rows that sparse gradients have, as those of `torch.nn.Embedding(..., sparse=True)`.

    Other rows are left alone. Parameters are contiguous, float32 and on the CPU. A gradient need not be
    coalesced: rows that it has more than once are added up by the step.
    """

    threads = None  # In a copy, too: threads stay behind.
    _names = {"m": "exp_avg", "v": "exp_avg_sq"}

    def __init__(
        self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, *, threads: int | Pool | None = None, **kwargs
    ):
        super().__init__(params, lr, betas, eps, **kwargs)
        self.threads = threads

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Makes one step and returns what `closure`, which computes the loss and its gradients, returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        found = [(group, p) for group in self.param_groups for p in group["params"] if p.grad is not None]
        groups = [self._group(group, p) for group, p in found]
        _whole_step(groups, threads=torch.get_num_threads() if self.threads is None else self.threads)
        for _, p in found:
            self.state[p]["step"] += 1
        if _increment_version is not None:
            _increment_version([p for _, p in found])
        return loss

    def _group(self, group, p):
        grad = p.grad.detach()
        if grad.layout is not torch.sparse_coo or grad.sparse_dim() != 1:
            raise RuntimeError("a gradient is not sparse in its first dimension alone; Adam takes dense ones")
        if p.dtype is not torch.float32:
            raise ValueError(f"`params`: a parameter is {p.dtype}; it must be float32")
        state = self.state[p]
        if not state:
            state.update(step=0, exp_avg=torch.zeros_like(p), exp_avg_sq=torch.zeros_like(p))
        t, (beta1, beta2) = int(state["step"]) + 1, group["betas"]
        # torch adds it to the root of the v that is not corrected.
        eps = group["eps"] / math.sqrt(1 - beta2**t)
        adam = Group("adam", [], t, lr=group["lr"], beta1=beta1, beta2=beta2, eps=eps)
        states = [state[self._names[name]] for name in adam.states]
        g = (-grad._values() if group.get("maximize") else grad._values()).contiguous()
        table = {"rows": grad._indices()[0], "row_length": math.prod(p.shape[1:]), "merge": True}
        adam.tensors = [Tensor(p.detach(), g, *states, **table)]
        return adam


def _signature(cls):
    """The arguments of torch's class, and those of all classes here."""
    ours = [p for p in inspect.signature(_Step.__init__).parameters.values() if p.kind is p.KEYWORD_ONLY]
    defines = "__init__" in vars(cls)
    base = cls if defines else next(base for base in cls.__mro__ if base.__module__.startswith("torch."))
    theirs = [p for p in inspect.signature(base.__init__).parameters.values() if p.kind is not p.VAR_KEYWORD]
    return inspect.Signature(theirs[1:] + ours)


for _name in set(__all__) - {"SparseAdam"}:
    globals()[_name].__signature__ = _signature(globals()[_name])
del _name
