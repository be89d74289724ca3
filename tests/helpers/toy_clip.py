"""Toy models of images and texts: towers that agree on eight colours, or on nothing; and one that draws masks."""

import numpy as np
import torch
from torch import Tensor, nn

COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 200, 30),
    "blue": (40, 40, 230),
    "yellow": (230, 220, 20),
    "purple": (150, 30, 190),
    "orange": (240, 130, 20),
    "turquoise": (20, 200, 200),
    "white": (250, 250, 250),
}
OTHERS = ("dog", "cat", "house", "tree", "car", "boat", "nose", "river", "cheese", "violin", "ladder", "cloud")
WORDS = (*COLOURS, *OTHERS)
SIDE, CONTEXT, EMBEDDING = 32, 48, 64


def tokenizer(texts: list[str], context_length: int | None = None) -> Tensor:
    """(text, token) the bytes of each text, then an end, then zeros."""
    length = context_length or CONTEXT
    tokens = torch.zeros(len(texts), length, dtype=torch.int64)
    for row, text in zip(tokens, texts, strict=True):
        content = [*text.encode(), 3][:length]
        row[: len(content)] = torch.tensor(content)
    return tokens


class Toy(nn.Module):
    """An image is the share of each colour in it; a text is the colour that it ends with, or a direction of its own."""

    image_size = (SIDE, SIDE)

    def __init__(self, agree: bool) -> None:
        super().__init__()
        self.preprocessing = {"size": (SIDE, SIDE), "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
        self.tokenizer = tokenizer
        self.colours = torch.tensor([*COLOURS.values(), (120, 120, 120)]) / 255
        self.image = nn.Parameter(torch.eye(9, EMBEDDING) if agree else torch.randn(9, EMBEDDING))
        self.text = nn.Parameter(torch.eye(8, EMBEDDING) if agree else torch.randn(8, EMBEDDING))

    def encode_image(self, images: Tensor) -> Tensor:
        distance = (images[:, None] - self.colours[None, :, :, None, None]).square().sum(2)
        share = (-distance * 40).softmax(dim=1).mean(dim=(2, 3))
        return (share + 0.02) @ self.image

    def encode_text(self, tokens: Tensor) -> Tensor:
        rows = []
        for row in tokens:
            text = bytes(token for token in row.tolist() if token > 3).decode()
            last = text.split()[-1]
            seed = np.random.default_rng(list(last.encode()))
            own = torch.from_numpy(seed.normal(size=EMBEDDING)).float() / 3
            rows.append(self.text[list(COLOURS).index(last)] if last in COLOURS else own)
        return torch.stack(rows)


def agreeing() -> nn.Module:
    """Its towers agree on the colours."""
    return Toy(True)


def unrelated() -> nn.Module:
    """Its towers do not."""
    return Toy(False)


def blind() -> nn.Module:
    """No text tower."""
    return nn.Conv2d(3, 4, 1)


class Segmenter(nn.Module):
    """The class of a position is its colour."""

    image_size = (SIDE, SIDE)

    def __init__(self) -> None:
        super().__init__()
        self.preprocessing = {"size": (SIDE, SIDE), "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
        self.categories = [*COLOURS, "__background__"]
        self.colours = torch.tensor([*COLOURS.values(), (120, 120, 120)]) / 255

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"out": -(images[:, None] - self.colours[None, :, :, None, None]).square().sum(2)}


def segmenter() -> nn.Module:
    """It."""
    return Segmenter()
