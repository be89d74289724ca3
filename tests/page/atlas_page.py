"""A made-up atlas whose every number is known: four models, 40 images, 120 concepts, names that want to be markup.

Concept `c` is high at one place of every image, :func:`place`, and nowhere else: what the page shows can be told from
what it should show.
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from rosetta.view.atlas.maps import encode
from rosetta.view.atlas.page import render
from rosetta.view.atlas.script import put
from rosetta.view.plots.correlations import correlation_histogram

HOSTILE = '<script>window.hacked=1</script>"\'&amp;</script><img src=x onerror="window.hacked=1"> {{7*7}} 🦄 \u202e'
LONG = "long/" + "name-" * 59
SIGNS = "50% #1·2:3?x=1&y=%2F "
"""All that means something in an address or to the search."""
CONCEPTS, IMAGES, GRID, TOP, NEIGHBOURS = 120, 40, 16, 8, 5
LAYERS = {
    "g": ["main.2", "main.5", HOSTILE],
    "lite0": ["blocks.3", "blocks.31", "blocks.4"],
    HOSTILE: ["a/b", SIGNS],
    LONG: [LONG, "x"],
    "untrained": ["blocks.3"],
}
MODELS = list(LAYERS)
CHANNELS = 48
TESTS = [
    {"name": "chance", "word": "chance", "passed": "beyond chance", "asked": True},
    {"name": "replicates", "word": "halves", "passed": "in both halves of the images", "asked": False},
    {"name": "lift", "word": "control", "passed": "above every control", "asked": True},
    {"name": "partial", "word": "pixels", "passed": "not explained by pixels", "asked": True},
]
"""Of trust."""
MEASURED = {
    "low": 0.31, "high": 0.52, "held_out": 0.4, "excess": -0.051, "robust": 0.38, "within": None, "one_to_one": 1,
}  # fmt: skip
"""Of a match, beside its correlation."""
SOURCE = "photos/" + HOSTILE + ".jpg"


def place(concept: int) -> tuple[int, int]:
    """Row and column of 16 × 16 where a concept is high."""
    return 1 + 3 * (concept % 5), 1 + 3 * (concept // 5 % 5)


def strength(concept: int, image: int) -> float:
    """In 0…1, how high it is there."""
    return round(0.4 + 0.6 * ((concept * 7 + image * 3) % 11) / 10, 4)


def unit(concept: int, model: int) -> int:
    """A unit of a model that takes part in a concept."""
    return (concept * (model + 1)) % (CHANNELS * len(LAYERS[MODELS[model]]))


def spot(concept: int, image: int) -> np.ndarray:
    """(16, 16) uint8, one round spot."""
    y, x = place(concept)
    down, across = np.arange(GRID)[:, None] - y, np.arange(GRID) - x
    return np.rint(255 * strength(concept, image) * np.exp(-(down**2 + across**2) / 3)).astype(np.uint8)


def run() -> dict:
    models = []
    for name, layers in LAYERS.items():
        control = name == "untrained"
        models.append(
            {
                "name": name, "model": f"family/{name}", "kind": "generator" if name == "g" else "discriminative",
                "control": control, "units": CHANNELS * len(layers), "matched": 40, "buddies": 120,
                "rosetta": 0 if control else 60, "median": 0.31,
                "survives": None
                if name == "g" else {"chance": 90, "replicates": 80, "lift": None, "partial": 70, "trusted": 60},
                "layers": [
                    {"name": layer, "channels": CHANNELS, "first": CHANNELS * number, "grid_y": 16, "grid_x": 16,
                     "per_file": PER_FILE}
                    for number, layer in enumerate(layers)
                ],
            }
        )  # fmt: skip
    return {
        "name": f"spots {HOSTILE}", "anchor": 0, "images": IMAGES, "seen": IMAGES, "thumb": 128, "per_sheet": 64,
        "neighbours": NEIGHBOURS, "concepts": CONCEPTS, "rosetta": 2 * CONCEPTS, "judged": True, "trusted": 60,
        "trusted_concepts": 40, "tests": TESTS, "null": "240 neurons, 31 with images exchanged",
        "judgement": f"Judged {HOSTILE}", "fingerprint": "0" * 64,
        "command": HOSTILE, "root": "runs/it's here", "trust_page": "trust.html", "tables": list(tables()),
        "about": dict.fromkeys(tables(), "rows of numbers"), "added": {}, "outdated": [],
        "found": {"called": 108, "name": 96, "label": 60, "class": CONCEPTS, "effect": CONCEPTS},
        "shown": list(range(IMAGES)), "indices": None,
        "dictionary": "d" * 64, "words": 0, "notes": False, "guided": [],
        "strongest": {name: values[:12] for name, values in columns().items()}, "models": models,
    }  # fmt: skip


WORDS = ("nose", "eye", HOSTILE, LONG, "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd", " two  blanks ")
LABELS = ("forehead", "face", HOSTILE)
"""What concepts are called."""


def word(concept: int) -> str | None:
    """Its name, of all but every fifth."""
    return None if concept % 5 == 4 else WORDS[concept % len(WORDS)]


def label(concept: int) -> str | None:
    """Its label of masks, of every second."""
    return LABELS[concept // 2 % len(LABELS)] if concept % 2 == 0 else None


def found(concept: int) -> dict:
    """`found` of its file. Every third was silenced."""
    words = [[word(concept) or "nose", 3.2, 1.5, word(concept) is not None], [HOSTILE, 0.7, 1.5, False]]
    return {
        "names": words, "labels": [[label(concept), 0.3, True], [LONG, 0.01, False]] if label(concept) else [],
        "classes": [[HOSTILE, 12, 0.91, 5.5, 1.25]],
        "causes": [[1000 + concept, model, members(concept)[model], 0.2, 0.01, 0.05, 0.04, 0.0004] for model in (1, 2)],
        "silenced": [
            [1, 3, 0, -1, "", 0.21, 0.1, 0.05, 0.97], [1, 3, 1, 7, HOSTILE, 0.5, 0.1, 0.05, None],
            [1, 3, -1, 8, "", -0.4, -0.1, 0.05, None],
        ] if concept % 3 == 0 else [],
    }  # fmt: skip


def in_order(concepts) -> list[int]:
    """As the page shows them: those with a trusted neuron first, then by falling mean."""
    return sorted(concepts, key=lambda one: (not trusted(one), one))


def trusted(concept: int) -> int:
    """How many neurons of a concept are trusted: one or two of every third's."""
    return (1 if concept % 6 == 0 else 2) if concept % 3 == 0 else 0


def columns() -> dict:
    """`concepts`: the mean falls with the number, the size runs through 1…6."""
    ids = range(CONCEPTS)
    units = [unit(concept, 0) for concept in ids]
    return {
        "id": list(ids), "size": [1 + concept % 6 for concept in ids],
        "mean": [round(0.9 - 0.006 * concept, 4) for concept in ids], "min": [0.1] * CONCEPTS,
        "trusted": [trusted(concept) for concept in ids], "layer": [one // CHANNELS for one in units],
        "depth": [round(one // CHANNELS / 2, 3) for one in units], "unit": units,
        "chance": [1 + concept % 6 for concept in ids], "replicates": [1] * CONCEPTS, "lift": [None] * CONCEPTS,
        "partial": [trusted(concept) for concept in ids],
        "best_held_out": [None if concept % 4 == 0 else round(concept / 200, 4) for concept in ids],
        "best_excess": [None] * CONCEPTS,
        "image": [concept % IMAGES for concept in ids],
        "name": [word(concept) for concept in ids], "name_score": [word(concept) and 3.2 for concept in ids],
        "label": [label(concept) for concept in ids], "iou": [label(concept) and 0.3 for concept in ids],
        "class": [HOSTILE] * CONCEPTS, "auroc": [round(0.5 + concept / 250, 4) for concept in ids],
        "effect": [round(concept % 7 / 10, 4) for concept in ids],
        "effect_q": [round(concept % 11 / 20, 4) for concept in ids],
    }  # fmt: skip


def members(concept: int) -> list[int]:
    """By model, −1 for the control."""
    return [unit(concept, model) if MODELS[model] != "untrained" else -1 for model in range(len(MODELS))]


def search() -> dict:
    return {
        "offset": list(range(CONCEPTS + 1)), "rosetta": [1000 + concept for concept in range(CONCEPTS)],
        "mean": [0.5] * CONCEPTS, "unit": [one for concept in range(CONCEPTS) for one in members(concept)],
    }  # fmt: skip


def concept(number: int) -> dict:
    neurons = [
        {
            "rosetta": 1000 + number, "mean": 0.5, "trusted": False,
            "failures": [["pixels", f"pixels explain it {HOSTILE}"], ["not judged", "some tests could not be made"]],
            "members": [
                {
                    "model": model, "unit": one, "pearson": None if model == 0 else 0.4 + model / 10,
                    "rank_ab": None if model == 0 else 1, "rank_ba": None if model == 0 else 2,
                    **(dict.fromkeys(MEASURED) if model == 0 else MEASURED),
                }
                for model, one in enumerate(members(number)) if one >= 0
            ],
        }
    ]  # fmt: skip
    rankings = {"activation": list(range(TOP)), "agreement": list(range(IMAGES - 1, IMAGES - 1 - TOP, -1))}
    maps: dict = {
        "grid": [[GRID, GRID]] * 4 + [None], "low": [0.0] * 4 + [None], "high": [1.0, 2.5, 3.0, 1234.5, None],
    }  # fmt: skip
    for image in {image for ranking in rankings.values() for image in ranking}:
        maps[str(image)] = [encode(spot(number, image).tobytes())] * 4 + [None]
    random = np.random.default_rng(number)
    return {
        "neurons": neurons, "buddies": [[4, 3, 0.2, 2, 3, unit(number, 0)], [1, 5, 0.19, 3, 1, unit(number, 0)]],
        "rankings": rankings, "maps": maps,
        "scatter": {str(model): random.normal(size=(40, 2)).round(3).tolist() for model in (1, 2, 3)},
        "near": [[(number + 1) % CONCEPTS, 0.44]], "found": found(number),
    }  # fmt: skip


def image(number: int) -> dict:
    order = sorted(range(CONCEPTS), key=lambda one: (-strength(one, number), one))
    return {
        "concept": order, "strength": [strength(one, number) for one in order], "grid": [[GRID, GRID]] * len(order),
        "maps": [encode(spot(one, number).tobytes()) for one in order], "source": SOURCE, "class": None,
    }  # fmt: skip


ROWS = [[0, 8], [2, 6], [18, 22], [33, 37]]
"""Places of the rows of a unit's images."""
PER_FILE = 1
"""Units that share a file; the last file of a layer has fewer."""


def unit_concept(model: int, one: int) -> int:
    """The first concept of a unit, −1 where there is none."""
    return next((concept for concept in range(CONCEPTS) if members(concept)[model] == one), -1)


def unit_index(model: int, layer: int) -> dict:
    """The units of a layer: deviations fall with the channel, and every third has no IoU."""
    first, channels = CHANNELS * layer, range(CHANNELS)
    return {
        "first": first, **{name: [0.5] * CHANNELS for name in ("mean", "maximum", "kurtosis", "half_share")},
        "std": [round(1 - channel / 100, 4) for channel in channels],
        "iou": [None if channel % 3 == 0 else round(0.001 * channel, 4) for channel in channels],
        "concept": [unit_concept(model, first + channel) for channel in channels],
        "name": [HOSTILE if channel == 7 else "" for channel in channels],
    }  # fmt: skip


EXPLAINED = 2
"""The image that models were asked about."""


def explained() -> list[dict]:
    """One model was asked twice: what concepts explain of one map, and a map that is 0 everywhere."""
    first = {
        "model": 1, "layer": HOSTILE, "class": 285, "label": f"cat {HOSTILE}", "probability": 0.25, "share": 0.75,
        "random_share": 0.5, "grid": [2, 3], "map": encode(bytes([0, 50, 100, 150, 200, 255])), "others": 3,
        "concepts": [
            {"id": 4, "unit": 1, "pearson": 0.5, "weight": 0.9, "grid": [2, 2], "map": encode(bytes([0, 255, 9, 9]))},
            {"id": 7, "unit": 0, "pearson": None, "weight": 0.0, "grid": [1, 1], "map": encode(bytes([3]))},
        ],
    }  # fmt: skip
    nothing = {"class": 3, "label": "", "share": None, "random_share": None, "map": encode(bytes(6)), "others": 0}
    return [first, {**first, **nothing, "concepts": []}]


def classes() -> dict:
    """One concept is selective for a class, and confuses another with it."""
    row = {
        "label": f"cat {HOSTILE}", "images": 12, "auroc": 0.93, "deviation": 7.5, "mean": 1.25, "confused": "dog",
        "confusion": 0.31, "map_pearson": 0.64,
    }  # fmt: skip
    alone = {**row, "label": "bird", "confused": "", "confusion": None, "map_pearson": None}
    maps = [encode(bytes([0, 255])), None, encode(bytes([9, 9]))]
    return {"1": {"rows": [row, alone], "grid": [1, 2], "maps": maps}}


def unit_images(channel: int) -> list[int]:
    """Those of its rows: the first TOP, and four for each of the others."""
    return [(channel + step) % IMAGES for start, end in ROWS for step in range(start, end)]


def one_unit(model: int, layer: int, channel: int) -> dict:
    """Everything of channel 7; only what every unit has of the others. Channel 3 is constant, 4 lacks maps."""
    others = range(1, len(MODELS)) if model == 0 else [0]
    kept = TOP if channel == 4 else len(unit_images(channel))
    near = {str(other): [[k, round(0.5 - k / 20, 3), int(k < 2)] for k in range(NEIGHBOURS)] for other in others}
    spots = [encode(spot(channel, image).tobytes()) for image in unit_images(channel)]
    value = {
        "mean": 0.5, "std": 0.25, "maximum": 2.0, "kurtosis": 9.5, "half_share": 0.2,
        "concept": unit_concept(model, CHANNELS * layer + channel),
        "images": unit_images(channel), "peaks": [round(2 - step / 20, 3) for step in range(len(spots))],
        "grid": [GRID, GRID], "maps": spots[:kept],
        "histogram": None
        if channel == 3 else {"low": -1.0, "high": 2.0, "counts": [0, 10, 1000, 5, 1, 0, 1], "images": IMAGES},
        "near": near,
        "near_maps": {} if channel == 4 else {
            other: {"grid": [GRID, GRID], "low": 0.0, "high": 3.0, "maps": spots[:TOP]} for other in near
        },
    }  # fmt: skip
    if channel == 7:
        value |= {
            "neurons": [[1055, 55, True], [1003, 3, False]],
            "words": [[HOSTILE, 0.31, 0.2, True], ["nose", 0.1, 0.2, False]],
            "masks": [["eye " + HOSTILE, 0.12, True]],
            "classes": [[HOSTILE, 12, 0.91, 5.2, 1.5], ["dog", 8, 0.7, 2.0, 1.1]],
            "causes": [[other, 9, 0.21, 0.4, 0.02, 0.001, 0.0244, 0.03] for other in others],
            "silenced": [[55, 4, 0.12, 0.04, 0.05, [[HOSTILE, 1.5]], [["cat", -2.5]]]],
        }  # fmt: skip
    return value


def unit_file(model: int, layer: int, number: int) -> dict:
    first = PER_FILE * number
    channels = range(first, min(first + PER_FILE, CHANNELS))
    return {"first": first, "rows": ROWS, "units": [one_unit(model, layer, channel) for channel in channels]}


def tables() -> dict:
    random = np.random.default_rng(5)
    count = 300
    return {
        "clusters": {"cluster": list(range(CONCEPTS)), "mean_pearson": columns()["mean"]},
        "labels": {"cluster": list(range(CONCEPTS)), "label": [word(concept) or "" for concept in range(CONCEPTS)]},
        "buddies": {
            "model_a": [MODELS[row % len(MODELS)] for row in range(count)],
            "layer_a": ["a,b" if row % 2 else 'say "yes"\nor no' for row in range(count)],
            "pearson": [None, *(float(f"{value:.7g}") for value in random.uniform(-1, 1, count - 1))],
            "q_value": [float(f"{value:.7g}") for value in 10.0 ** random.uniform(-300, 0, count)],
            "rank_ab": [row % 5 + 1 for row in range(count)], "trusted": [row % 2 == 0 for row in range(count)],
        },
    }  # fmt: skip


def shade(number: int) -> tuple[int, int, int]:
    """The colour of an image, dark and its own."""
    return number % 40, 20 + number // 2, 60 - number


def sheet(count: int) -> Image.Image:
    picture = Image.new("RGB", (8 * 128, 8 * 128))
    for number in range(count):
        left, top = number % 8 * 128, number // 8 * 128
        picture.paste(shade(number), (left, top, left + 128, top + 128))
    return picture


def plots() -> list[dict]:
    drawn = correlation_histogram({HOSTILE: np.array([0.5])}, {HOSTILE: np.array([0.5])}, frozenset())
    return [{"title": f"A plot {HOSTILE}", "caption": "Its caption", "svg": drawn}]


def write(folder: Path, **changes: object) -> Path:
    """The whole atlas; returns its page.

    Parameters
    ----------
    changes
        What its shell says otherwise than :func:`run`.
    """
    values = {"concepts": columns(), "search": search(), "plots": plots(), "classes": classes()}
    values |= {"explained": {"images": [EXPLAINED]}, f"explained/{EXPLAINED}": explained()}
    values |= {f"concept/{number}": concept(number) for number in range(CONCEPTS)}
    values |= {f"table/{name}": table for name, table in tables().items()}
    values |= {f"image/{number}": image(number) for number in range(IMAGES)}
    values |= {
        f"unit/{model}.{layer}": unit_index(model, layer)
        for model, name in enumerate(MODELS) for layer in range(len(LAYERS[name]))
    }  # fmt: skip
    values |= {
        f"unit/{model}.{layer}.{number}": unit_file(model, layer, number)
        for model, name in enumerate(MODELS)
        for layer in range(len(LAYERS[name]))
        for number in range(-(-CHANNELS // PER_FILE))
    }
    for key, value in values.items():
        path = folder / "data" / f"{key}.js"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(put(key, json.loads(json.dumps(value))))
    for name, counts in {"images": [IMAGES], "cards": [64, CONCEPTS - 64]}.items():
        (folder / name).mkdir()
        for number, count in enumerate(counts):
            sheet(count).save(folder / name / f"{number}.webp", lossless=True)
    for name, size in {"pictures": 300, "thumbs": 128}.items():
        (folder / name).mkdir()
        for number in range(IMAGES):
            Image.new("RGB", (size, size), shade(number)).save(folder / name / f"{number}.webp", lossless=True)
    page = folder / "index.html"
    page.write_text(render({**run(), **changes}), encoding="utf-8")
    return page
