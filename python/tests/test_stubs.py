"""The type stubs say what is there."""

import ast
import importlib.util
import inspect
import pathlib
import sys

import pytest

import downhill

SCRIPT = pathlib.Path(__file__).parent.parent / "stubs.py"
STUB = pathlib.Path(downhill.__file__).with_name("__init__.pyi")


def test_the_stub_is_up_to_date():
    if not SCRIPT.exists():
        pytest.skip("SKIPPED: the tests are not where stubs.py is")
    spec = importlib.util.spec_from_file_location("stubs", SCRIPT)
    stubs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(stubs)
    assert STUB.read_text(encoding="utf-8") == stubs.text(), "run stubs.py"


def names(arguments):
    given = [a.arg for a in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]]
    return {*given, *(a.arg for a in (arguments.vararg, arguments.kwarg) if a)} - {"self"}


def test_the_stub_has_the_arguments_that_are_there():
    tree = ast.parse(STUB.read_text(encoding="utf-8"))
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    for name in set(downhill.__all__) - {"__version__"}:
        thing = getattr(downhill, name)
        if inspect.isclass(thing):
            public = {a for a in vars(thing) if not a.startswith("_")}
            body = classes[name].body
            declared = {n.target.id for n in body if isinstance(n, ast.AnnAssign)}
            methods = {n.name: n for n in body if isinstance(n, ast.FunctionDef)}
            assert public == declared | set(methods) - {"__init__"}, name
            # Before 3.11 Python does not find the signatures of these.
            if "__init__" in methods and sys.version_info >= (3, 11):
                assert names(methods["__init__"].args) == set(inspect.signature(thing).parameters), name
        else:
            assert names(functions[name].args) == set(inspect.signature(thing).parameters), name
            assert inspect.getdoc(thing), name
    assert set(functions) <= set(downhill.__all__)
