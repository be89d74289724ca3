"""Libraries of models are imported without torch's compiler, and work as they do with it."""

import subprocess
import sys

LEAN = """
import sys
from rosetta.zoo.lean_import import without_compiler
with without_compiler():
    import timm, torchvision
assert not {"torch._dynamo", "torch._dynamo.utils", "sympy", "triton"} & set(sys.modules)
"""


def python(code: str) -> str:
    """What a fresh process prints."""
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_a_model_is_built_and_run_without_the_compiler():
    told = python(f"""{LEAN}
import torch
from rosetta.model_spec import ModelSpec
from rosetta.zoo.behaviour import examine
for model in ("timm/test_resnet.r160_in1k", "timm/test_vit.r160_in1k", "torchvision/mobilenet_v3_small"):
    examine(ModelSpec(name="a", model=model, weights="random:0"))
print("torch._dynamo" in sys.modules)
""")
    assert told.split() == ["False"]


def test_what_needs_the_compiler_gets_it():
    told = python(f"""{LEAN}
import torch
from torchvision.ops import roi_align
from torchvision.ops.roi_align import is_compile_supported
print(is_compile_supported("cpu") == sys.modules["torch._dynamo.utils"].is_compile_supported("cpu"))
boxes = torch.tensor([[0.0, 0.0, 0.0, 4.0, 4.0]])
print(float(roi_align(torch.ones(1, 1, 8, 8), boxes, 2).mean()))
model = timm.create_model("naflexvit_base_patch16_gap", embed_dim=16, depth=1, num_heads=2)
plain = model(torch.zeros(1, 3, 64, 64))
print(tuple(plain.shape), torch.compiler.disable.__module__)
""")
    assert told.split("\n")[:3] == ["True", "1.0", "(1, 1000) torch.compiler"]


def test_any_other_helper_is_there_at_once():
    told = python("""
from rosetta.zoo.lean_import import without_compiler
with without_compiler():
    from torch._dynamo.utils import counters
from torch._dynamo.utils import counters as the_same
print(counters is the_same)
""")
    assert told.split() == ["True"]
