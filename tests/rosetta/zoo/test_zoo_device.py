"""Maps are those of float32 on every device: no convolution is taken in TF32, and what the user set stays."""

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from rosetta import zoo
from rosetta.model_spec import ModelSpec
from rosetta.zoo.device import building_for, target_device

OWN = """
import torch
from torch import nn

class Own(nn.Module):
    image_size = (8, 8)
    default_layers = ("body.0", "body.1")
    broken, seen = False, []

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())

    def forward(self, images):
        self.seen.append(torch.backends.cudnn.allow_tf32)
        if self.broken:
            raise RuntimeError("broken")
        return self.body(images)
"""


@pytest.mark.parametrize("allowed", [True, False])
def test_a_model_looks_in_float32(tmp_path, monkeypatch, allowed):
    (tmp_path / "own_zoo.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", allowed)
    model = zoo.load(ModelSpec(name="own", model="python:own_zoo:Own", weights="random:0"), "cpu")
    own = sys.modules.pop("own_zoo").Own
    own.seen.clear()
    model.observe(torch.rand(1, 3, 8, 8))
    model.look(torch.rand(1, 3, 8, 8))
    assert own.seen == [False, allowed], "what is differentiated is left to whoever does it"
    assert torch.backends.cudnn.allow_tf32 is allowed
    own.broken = True
    with pytest.raises(RuntimeError, match="broken"):
        model.observe(torch.rand(1, 3, 8, 8))
    assert torch.backends.cudnn.allow_tf32 is allowed


def test_what_is_built_knows_where_it_will_run():
    assert target_device() == torch.device("cpu")
    with building_for(torch.device("meta")):
        assert target_device() == torch.device("meta")
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(target_device).result() == torch.device("cpu")  # a thread builds for itself
    with pytest.raises(ZeroDivisionError), building_for(torch.device("meta")):
        raise ZeroDivisionError
    assert target_device() == torch.device("cpu")
