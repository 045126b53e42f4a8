"""Writes downhill/__init__.pyi: the plain steps from the list of rules, everything else as it is below.

python stubs.py            # after a change; a test says when it is due
"""

import inspect
import pathlib
import textwrap

HEAD = '''"""Fused, vectorized optimizer steps on the CPU, with the same bits everywhere."""

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
'''


def of_type(name, default, allowed, is_optional):
    """The type of a plain step's argument."""
    if isinstance(default, bool):
        return "bool"
    if isinstance(default, str):
        return f"Literal[{allowed}]" if allowed else "Rounding"
    if isinstance(default, float):
        return "float"
    if name == "seed":
        return "int"
    optional = " | None" if default is None or is_optional else ""
    return ("int" if name == "t" else "Array") + optional


def function(rule):
    """The stub of a rule's plain step."""
    import downhill

    plain_step = getattr(downhill, f"{rule.name}_step")
    allowed = {name: text for name, _, text in rule.hyperparameters}
    lines, by_name = [], False
    for name, parameter in inspect.signature(plain_step).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY and not by_name:
            lines, by_name = [*lines, "*"], True
        given = parameter.default
        default = "" if given is parameter.empty else f" = {given!r}"
        lines.append(f"{name}: {of_type(name, given, allowed.get(name), name in rule.optional_states)}{default}")
    arguments = "".join(f"    {line},\n" for line in lines).replace("'", '"')
    doc = textwrap.indent(inspect.getdoc(plain_step).replace("\\", "\\\\"), "    ", lambda line: line.strip())
    return f'def {rule.name}_step(\n{arguments}) -> None:\n    """{doc.strip()}\n    """\n'


def text():
    import downhill

    return HEAD + "\n" + "\n".join(function(rule) for rule in downhill.rules())


if __name__ == "__main__":
    pathlib.Path(__file__).with_name("downhill").joinpath("__init__.pyi").write_text(text(), encoding="utf-8")
