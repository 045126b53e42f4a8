"""The programs of the documents run."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[2]


def blocks(document):
    path = ROOT / document
    if not path.exists():
        pytest.skip(f"SKIPPED: {document} is not here")
    found = re.findall(r"^```python\n(.*?)^```$", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert found, f"{document} has no program"
    return found


@pytest.mark.parametrize("document", ["docs/python.md", "python/README.md", "README.md"])
def test_programs(document, capsys):
    torch = pytest.importorskip("torch", reason="SKIPPED: PyTorch is not installed", exc_type=ImportError)
    model = torch.nn.Linear(3, 2)
    model(torch.ones(1, 3)).sum().backward()
    before = model.weight.detach().clone()
    names = {"model": model}
    for block in blocks(document):
        exec(compile(block, document, "exec"), names)
    if names["model"] is model:
        assert not torch.equal(model.weight.detach(), before)
    else:
        assert names["loss"] < 5 and names["report"].tensors_updated == 2
