"""Signatures and docstrings of the plain steps, made of the list of rules and of docs/rules.md."""

import html
import re
from inspect import Parameter, Signature

from ._downhill import RULES


def signature(rule):
    """That of the rule's plain step."""
    by_place, by_name = Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY
    # A state that the defaults have is passed by its place, as None where it is not there.
    optional = [name for name in rule.states if name not in rule.states_with()]
    parameters = [Parameter(name, by_place) for name in ("w", "g")]
    parameters += [Parameter(name, by_place) for name in rule.states if name not in optional]
    # Whatever follows an argument that may be left out may be, too.
    parameters += [Parameter(name, by_place, default=None) for name in optional]
    can_be_left_out = {} if rule.counts and not optional else {"default": None}
    parameters.append(Parameter("t", by_place, **can_be_left_out))
    parameters += [Parameter(name, by_name, default=default) for name, default, _ in rule.hyperparameters]
    parameters += [
        Parameter("rounding", by_name, default="stochastic"),
        Parameter("seed", by_name, default=0),
    ]
    return Signature(parameters, return_annotation=None)


def docstring(rule):
    """That of the rule's plain step."""
    states = [f"`{name}` (if there is one)" if name in rule.optional_states else f"`{name}`" for name in rule.states]
    arrays = " ".join(
        [
            "`w` (weights) and `g` (gradient) are float32, bfloat16 or float16 arrays of one shape.",
            *([f"{', '.join(states)}: the states, float32 or bfloat16 arrays of that shape, zeros at first."] * bool(states)),
            f"All but `g` {'are' if states else 'is'} updated in place.".replace("All but `g` is", "`w` is"),
        ]
    )
    t = (
        "`t` is the number of this step and counts from 1."
        if rule.counts
        else "`t`, the number of this step from 1, matters for random rounding only."
    )
    options = [f"    {name}={default!r}: {allowed}" for name, default, allowed in rule.hyperparameters]
    return "\n".join(
        [
            f"One step of {rule.name}.",
            "",
            *(f"    {line}" for line in _formula(rule.name)),
            "",
            *_paper(rule.name),
            arrays,
            t,
            "",
            "Hyper-parameters, defaults and what they may be:",
            *options,
            "",
            "`rounding` (\"stochastic\" or \"nearest\") and `seed` are for weights and states of 16 bits.",
            "",
            "Raises ValueError that names the argument if an array has another type or shape, is not",
            "C-contiguous, is read-only or overlaps another, or if a number is out of its range. Nothing has",
            "been written then.",
        ]
    )


def _rows(first):
    """The other cells of the table rows of docs/rules.md whose first cell names this, in order."""
    for line in RULES.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if cells and first in re.split(r", ", cells[0].replace("`", "")):
            yield cells[1:]


def _formula(name):
    for cells in _rows(f"{name}_step"):
        text = html.unescape(cells[-1].replace("`", ""))
        return [line.strip() for line in text.split("<br>")]
    return []


def _paper(name):
    for cells in _rows(name):
        if re.search(r"\b(19|20)\d\d\b", cells[-1]):
            return [cells[-1].replace("*", '"') + ".", ""]
    return []
