"""The toys that were run through the published definitions, and NVIDIA-style files of them.

`facts/*.safetensors` hold a toy's weights, inputs and maps; their metadata say what its constructor was called with.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from nvidia_files import Persistent, called, persistent, pickled
from probes import maps_of
from safetensors import safe_open
from torch import Tensor

from rosetta import zoo
from rosetta.model_spec import Condition, ModelSpec

FACTS = Path(__file__).parent / "facts"
NVIDIA = (
    "stylegan2-nvidia-tiny",
    "stylegan2-nvidia-relu",
    "stylegan2-nvidia-conditional",
    "stylegan3-t-tiny",
    "stylegan3-r-tiny",
    "stylegan3-t-clamp",
    "stylegan3-t-scale",
    "stylegan3-t-cutoff",
    "styleganxl-tiny",
)
"""Those in NVIDIA's layouts."""


@dataclass(frozen=True)
class Toy:
    """A toy, and what its constructors were called with."""

    name: str
    family: str
    tensors: dict[str, Tensor]
    arguments: dict[str, dict[str, Any]]
    """By the path of a module; of all others the file does not tell."""
    psi: float

    @property
    def state(self) -> dict[str, Tensor]:
        return {name[6:]: tensor for name, tensor in self.tensors.items() if name.startswith("state/")}

    @property
    def maps(self) -> dict[str, Tensor]:
        return {name[4:]: tensor for name, tensor in self.tensors.items() if name.startswith("map/")}

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return tuple(self.tensors[name] for name in ("z", "c") if name in self.tensors)


@cache
def toy(name: str) -> Toy:
    with safe_open(FACTS / f"{name}.safetensors", "pt") as file:
        forward = json.loads(file.metadata()["forward"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    config = dict(forward["config"])
    if "mapping_num_layers" in config:
        config["mapping_kwargs"] = {"num_layers": config.pop("mapping_num_layers")}
    arguments = _grown(config) if "superres" in config else {"": {"img_channels": 3, **config}}
    return Toy(name, name.partition("-")[0], tensors, arguments, forward["truncation_psi"])


def _grown(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A stage of StyleGAN-XL is called with little; the rest is told by the stem that is inside."""
    stage = {name: config["superres"][name] for name in ("img_resolution", "head_layers", "up_factor")}
    dims = {name: config[name] for name in ("z_dim", "c_dim", "w_dim")}
    return {
        "": {**stage, "path_stem": "stem.pkl", "c_dim": config["c_dim"], "img_channels": 3},
        "synthesis": {**config["stem"], "w_dim": config["w_dim"], "img_channels": 3, "use_radial_filters": False},
        "mapping": {**dims, "num_ws": 8, "num_layers": 2, "rand_embedding": False},
    }


def network(state: dict[str, Tensor], arguments: dict[str, dict[str, Any]] | None = None) -> Persistent:
    """A network as persistence pickles it; arguments of constructors by the path of the module."""
    module = persistent(state)
    for path, given in (arguments or {}).items():
        called(module.get_submodule(path), given)
    return module


def load(family: str, net: Persistent, folder: Path, psi: float = 0.7) -> zoo.Model:
    """The network out of a `.pkl`."""
    file = folder / "net.pkl"
    file.write_bytes(pickled({"G": None, "D": None, "G_ema": net, "training_set_kwargs": {"xflip": True}}))
    told = Condition(truncation=psi)
    return zoo.load(ModelSpec(name="net", model=f"{family}/custom", weights=str(file), condition=told))


def maps(model: zoo.Model, of: Toy) -> dict[str, Tensor]:
    """What the modules put out whose maps are stated, and the image, before anything is cut."""
    return maps_of(model.module, [name for name in of.maps if name != "image"], *of.inputs)
