"""The SHA-256 of weights that others publish, by URL.

Weights whose URL is in the table are compared with it as they would be with the `sha256` of a recipe, which goes first.
A value belongs here only where the publisher states it, or where two people who downloaded the file independently
agree; say which, beside it. None is known yet, so the table is empty and a recipe has to state what it trusts:

    [[models]]
    name = "faces"
    model = "…"
    weights = "weights/stylegan3-r-ffhqu-1024x1024.pkl"
    sha256 = "…"                            # what sha256sum prints
"""

PUBLISHED: dict[str, str] = {}
"""64 lower-case hexadecimal digits by the URL, exactly as `weights` in a recipe writes it."""
