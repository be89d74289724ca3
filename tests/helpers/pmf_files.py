"""Tiny pixel MeanFlows, in files as the authors' PyTorch release has them."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

SIZES: dict[str, Any] = {
    "side": 4,
    "patch": 4,
    "hidden": 16,
    "heads": 2,
    "shared": 2,
    "own": 1,
    "mlp": 24,
    "bottleneck": 6,
    "classes": 5,
    "tokens": (3, 2, 1, 1, 2),
    "frequencies": 8,
}
"""16 × 16 pixels, 3 blocks, 5 classes."""


def published_shapes(
    side: int,
    patch: int,
    hidden: int,
    heads: int,
    shared: int,
    own: int,
    mlp: int,
    bottleneck: int,
    classes: int,
    tokens: tuple[int, ...],
    frequencies: int,
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a released checkpoint's tensors, written down from the definition."""
    shapes: dict[str, tuple[int, ...]] = {"rope_freqs": (side * side, hidden // heads // 2)}
    for kind, count in zip(("class", "omega", "t_min", "t_max", "time"), tokens, strict=True):
        shapes[f"{kind}_tokens"] = (1, count, hidden)
    shapes["pos_embed"] = (1, sum(tokens) + side * side, hidden)
    shapes["x_embedder.proj1.weight"] = (bottleneck, 3, patch, patch)
    shapes["x_embedder.proj1.bias"] = (bottleneck,)
    shapes["x_embedder.proj2.weight"] = (hidden, bottleneck, 1, 1)
    shapes["x_embedder.proj2.bias"] = (hidden,)
    for scalar in ("h", "omega", "cfg_t_start", "cfg_t_end"):
        for place, width in ((0, frequencies), (2, hidden)):
            shapes[f"{scalar}_embedder.mlp.{place}._flax_linear.weight"] = (hidden, width)
            shapes[f"{scalar}_embedder.mlp.{place}._flax_linear.bias"] = (hidden,)
    shapes["y_embedder.embedding_table._flax_embedding.weight"] = (classes + 1, hidden)
    for block in (*(f"shared_blocks.{at}" for at in range(shared)), *(f"u_heads.{at}" for at in range(own))):
        for vector in ("norm1.weight", "norm2.weight", "attn_scale", "mlp_scale"):
            shapes[f"{block}.{vector}"] = (hidden,)
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes[f"{block}.attn.{name}._flax_linear.weight"] = (hidden, hidden)
        for name in ("q_norm", "k_norm"):
            shapes[f"{block}.attn.{name}.weight"] = (hidden // heads,)
        for name, shape in (("w1", (mlp, hidden)), ("w3", (mlp, hidden)), ("w2", (hidden, mlp))):
            shapes[f"{block}.mlp.{name}._flax_linear.weight"] = shape
    shapes["u_final_layer.norm.weight"] = (hidden,)
    shapes["u_final_layer.linear._flax_linear.weight"] = (3 * patch * patch, hidden)
    shapes["u_final_layer.linear._flax_linear.bias"] = (3 * patch * patch,)
    return {f"net.{name}": shape for name, shape in shapes.items()}


def pmf_state(seed: int = 0, **changes: Any) -> dict[str, Tensor]:
    """Weights under which noise, class, guidance and places all count."""
    random = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in published_shapes(**{**SIZES, **changes}).items():
        drawn = torch.randn(shape, generator=random)
        matrix = len(shape) in (2, 4)
        state[name] = drawn / (drawn[0].numel() ** 0.5 if matrix else 4) + ("norm" in name or name.endswith("_scale"))
    for name in [name for name in state if name.endswith("rope_freqs")]:
        state[name] = state[name].to(torch.complex64)
    return state


def save_pmf(folder: Path, **changes: Any) -> Path:
    """A file as the release has it."""
    torch.save(pmf_state(**changes), folder / "pmf.pt")
    return folder / "pmf.pt"
