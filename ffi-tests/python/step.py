"""Steps with Adam through ctypes, with what the C header says and no more. The argument: the library."""

import ctypes
import sys
from ctypes import c_char_p, c_double, c_float, c_size_t, c_uint32, c_uint64, c_void_p

OK, INVALID_CONFIG = 0, 6
RULE_ADAM = 7


class Adam(ctypes.Structure):
    _fields_ = [
        *((name, c_uint32) for name in ("struct_size", "rule", "bias_correction", "decay")),
        *((name, c_double) for name in ("lr", "beta1", "beta2", "eps", "weight_decay")),
    ]


library = ctypes.CDLL(sys.argv[1])
library.downhill_last_error.restype = c_char_p
library.downhill_config_default.argtypes = [c_uint32, c_void_p, c_size_t]
library.downhill_config_default.restype = c_uint32
arrays = [c_void_p] * 4
library.downhill_adam_step.argtypes = [c_size_t, *arrays, c_uint64, c_void_p]
library.downhill_adam_step.restype = c_uint32


def check(status):
    if status != OK:
        raise ValueError(library.downhill_last_error().decode())


config = Adam()
check(library.downhill_config_default(RULE_ADAM, ctypes.byref(config), ctypes.sizeof(config)))
fields = {name: getattr(config, name) for name, _ in Adam._fields_}
assert fields == {
    "struct_size": 56,
    "rule": RULE_ADAM,
    "bias_correction": 0,
    "decay": 0,
    "lr": 1e-3,
    "beta1": 0.9,
    "beta2": 0.999,
    "eps": 1e-8,
    "weight_decay": 0.0,
}, fields

n = 1000
config.lr = 0.5
w, g, m, v = ((c_float * n)(*[value] * n) for value in (2.0, 0.25, 0.0, 0.0))
for t in (1, 2):
    check(library.downhill_adam_step(n, w, g, m, v, t, ctypes.byref(config)))
# With one and the same gradient each step is lr long.
assert all(abs(x - 1.0) < 1e-5 for x in w), w[0]

config.rule = RULE_ADAM + 1
assert library.downhill_adam_step(n, w, g, m, v, 3, ctypes.byref(config)) == INVALID_CONFIG
error = library.downhill_last_error().decode()
assert "`adamw`" in error and "`adam_step`" in error, error
print("two steps from Python")
