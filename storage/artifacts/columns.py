"""The columns of every table, declared once as data: name, type, meaning and units.

A table is checked against its columns when it is written, its Parquet schema carries them, and `docs/tables.md` is
generated from them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rosetta.mining.trust.tests import TESTS


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str
    dtype: str
    """As pandas names it: `category` and `str` are text, and a category is one of a few."""
    about: str
    """What it holds, for the schema and the documentation."""
    units: str = ""
    """What it is measured in, `1` for a pure number; empty for what is no quantity: names, indices, flags."""

    @property
    def kind(self) -> str:
        """What it holds apart from the side of a pair that it is of: `layer` of `layer_a`."""
        return self.name.removesuffix("_a").removesuffix("_b")


Columns = tuple[Column, ...]

EACH_TEST = Column("{test}", "", "the column by which each test of trust decides")
"""Stands for as many columns as there are tests, see :func:`of_each_test`."""
FEATURES = Column(
    "features:{model}", "float64",
    "distance of the result in the unit-length features of a discriminative model; NaN where that model guided", "1",
)  # fmt: skip
"""Stands for as many columns as there are models that judge results, see :func:`of_each_model`."""
_WEAKEST = "{}; on the anchor's own row the weakest value of the neuron's matches"


def _unit(side: str = "") -> Columns:
    suffix, of = (f"_{side}", f" of side {side.upper()}") if side else ("", "")
    return (
        Column(f"model{suffix}", "category", f"name of the model{of}"),
        Column(f"unit{suffix}", "int32", f"index of the unit{of} in its model: layers in forward order, then channels"),
        Column(f"layer{suffix}", "category", f"layer of the unit{of}, by its path in the model"),
        Column(f"channel{suffix}", "int32", f"index of the unit{of} in its layer"),
    )


# fmt: off
_MODEL, _UNIT, _LAYER, _CHANNEL = _unit()
_MATCH = (
    *_unit("a"), *_unit("b"),
    Column("pearson", "float32", "correlation of the maps of both units over all images and positions; "
           "of their ranks where the recipe asks for Spearman's", "1"),
)
UNITS = (
    _MODEL, _LAYER, _CHANNEL, _UNIT,
    Column("grid_y", "int32", "height of the unit's maps", "position"),
    Column("grid_x", "int32", "width of the unit's maps", "position"),
    Column("mean", "float64", "mean activation over all images and positions", "1"),
    Column("std", "float64", "standard deviation of the activation over all images and positions", "1"),
    Column("maximum", "float32", "highest activation on any image at any position", "1"),
    Column("kurtosis", "float64", "kurtosis of all values of the unit: 3 for a normal distribution, "
           "NaN for a constant unit", "1"),
    Column("half_share", "float64", "smallest share of the images that carries half of the unit's positive "
           "activation; NaN for a unit that is never active", "1"),
)
BUDDIES = (
    *_MATCH,
    Column("rank_ab", "int32", "rank of unit B among the neighbours of unit A; 1 is the nearest", "1"),
    Column("rank_ba", "int32", "rank of unit A among the neighbours of unit B; 1 is the nearest", "1"),
)
TRUST_OF_PAIR = (
    *_MATCH,
    Column("p_value", "float64", "probability of so high a correlation when images are exchanged at random", "1"),
    Column("q_value", "float64", "lowest false discovery rate at which the match still counts, among all pairs of "
           "units of both models", "1"),
    Column("pearson_half_1", "float64", "the correlation on the first half of the images", "1"),
    Column("pearson_half_2", "float64", "the correlation on the second half of the images", "1"),
    Column("replicates", "bool", "whether the two are buddies in both halves of the images"),
    Column("pearson_held_out", "float64", "the correlation in the half of the images that did not choose the match, "
           "the mean of both where both halves choose it; NaN where neither does", "1"),
    Column("pearson_centred", "float64", "the correlation once each unit's mean map is taken away", "1"),
    Column("positional", "float64", "share of the correlation that the mean maps explain", "1"),
    Column("pearson_partial", "float64", "partial correlation given the pixel features", "1"),
    Column("pixel_explained", "float64", "share of the correlation that the pixel features explain", "1"),
)
_EXCESS = (
    Column("pearson_rotated", "float64", "mean over random rotations of its layer of the best correlation of the "
           "rotated unit of the same rank", "1"),
    Column("excess", "float64", "best correlation of unit A with any unit of model B minus `pearson_rotated`", "1"),
    Column("alone", "float64", "1 minus the highest correlation of unit A's best partner with another unit of its "
           "layer, once unit A is taken away from that, over `pearson_best`: 1 where no other unit knows of the "
           "partner, 0 and below where one knows as much", "1"),
)
EXCESS = (
    *_unit("a"),
    Column("model_b", "category", "name of the model whose units it is compared with"),
    Column("pearson_best", "float32", "best correlation of unit A with any unit of model B", "1"),
    *_EXCESS,
)
_OF_MAPS = (
    Column("pearson_low", "float64", "lower end of the 95 % bootstrap interval of the correlation", "1"),
    Column("pearson_high", "float64", "upper end of the 95 % bootstrap interval of the correlation", "1"),
    Column("influence", "float64", "largest change of the correlation when a single image is taken away", "1"),
    Column("few_positions", "float64", "share of the correlation that rests on the 0.1 % largest products of all "
           "positions", "1"),
    Column("pearson_robust", "float64", "the correlation of the maps clipped at their 99.9th percentile", "1"),
    Column("pearson_within", "float64", "the correlation once the mean maps of each class are taken away; NaN where "
           "classes are not known", "1"),
)
EXAMINED = (*_MATCH, *_OF_MAPS)
_NOT_LOOKED_AT = "1 is the nearest, 0 where it is not among the 32 nearest"
ASSIGNED = (
    *_MATCH,
    Column("rank_ab", "int32", f"rank of unit B among the neighbours of unit A; {_NOT_LOOKED_AT}", "1"),
    Column("rank_ba", "int32", f"rank of unit A among the neighbours of unit B; {_NOT_LOOKED_AT}", "1"),
)


def _hubs(side: str, other: str) -> Columns:
    of, by = f"model {side.upper()}", f"model {other.upper()}"
    return (
        Column(f"hubness_{side}", "float64", f"skewness of how many units of {by} have each unit of {of} among their K "
               "nearest; 0 where all occur equally often", "1"),
        Column(f"hub_{side}", "int32", f"the unit of {of} that occurs most often, by its index in the model; −1 where "
               "none varies"),
        Column(f"hub_occurrences_{side}", "int32", f"how many units of {by} have that one among their K nearest", "1"),
    )


DISTANCES = (
    Column("model_a", "category", "name of the first model"),
    Column("model_b", "category", "name of the second model"),
    Column("distance", "float64", "soft-matching distance: 1 minus the sum of the correlations of the pairs that are "
           "matched one to one over the units of the smaller model, so that unmatched units count 0", "1"),
    Column("assigned", "int32", "pairs of units that are matched one to one", "1"),
    Column("unmatched_a", "int32", "units of model A that stay unmatched", "1"),
    Column("unmatched_b", "int32", "units of model B that stay unmatched", "1"),
    *_hubs("a", "b"), *_hubs("b", "a"),
)
NULL = (
    Column("exchange", "int32", "number of the exchange of images; 0 is the run itself, without one"),
    Column("of", "str", "what is counted: buddies of the anchor with a model, by its name, `Rosetta neurons` or "
           "`concepts`"),
    Column("count", "int32", "how many there are", "1"),
)
STABILITY = (
    Column("neighbours", "int32", "K of the mutual K-nearest neighbours: 1 to 20, and the recipe's", "1"),
    Column("neurons", "int32", "Rosetta neurons with this K", "1"),
    Column("trusted", "int32", "those whose strongest match with every model is a trusted match of the run; matches "
           "that only a K larger than the recipe's makes were not judged and count as not trusted", "1"),
    Column("concepts", "int32", "concepts that the neurons make", "1"),
    Column("largest", "int32", "neurons of the largest concept", "1"),
    Column("jaccard", "float64", "anchor units that are Rosetta neurons with this K and with the recipe's, over those "
           "that are with either; NaN where there are none", "1"),
)
_EXCHANGED = "mean of the same over 20 random exchanges of the images of one of them"
LAYERS = (
    Column("model_a", "category", "name of the first model, the anchor"),
    Column("layer_a", "category", "layer of the first model"),
    Column("model_b", "category", "name of the second model"),
    Column("layer_b", "category", "layer of the second model"),
    Column("cka", "float64", "linear centred kernel alignment of the two layers, unbiased, so that it may fall below "
           "0; NaN where a layer tells no images apart", "1"),
    Column("cka_null", "float64", _EXCHANGED, "1"),
    Column("rsa", "float64", "Spearman correlation of the two layers' dissimilarities of images, 1 minus the "
           "correlation of their patterns; NaN where an image has no pattern", "1"),
    Column("rsa_null", "float64", _EXCHANGED, "1"),
)
RAREFACTION = (
    Column("model_a", "category", "name of the first model, the anchor"),
    Column("model_b", "category", "name of the second model"),
    Column("units", "int32", "units that are drawn of each of the two", "1"),
    Column("draw", "int32", "number of the draw, from 0; its units are among those of the same draw of more"),
    Column("buddies", "int32", "mutual K-nearest neighbours among the units drawn", "1"),
)
_NOT_ABLATED = "NaN where `rosetta ablate` did not measure the match"
_CAUSAL = (
    Column("causal_effect", "float64", "how far unit B follows when unit A, of the generator, is ablated or raised; "
           f"{_NOT_ABLATED}", "standard deviation"),
    Column("causal_p", "float64", "share of unit A and random units like it that unit B follows at least as much; "
           f"{_NOT_ABLATED}", "1"),
    Column("causal_q", "float64", "lowest false discovery rate at which the effect still counts; "
           f"{_NOT_ABLATED}", "1"),
)
TRUST = (
    *TRUST_OF_PAIR,
    *_EXCESS,
    *_OF_MAPS,
    Column("assigned", "float64", "1 where the two are matched to each other one to one, 0 where they are not, NaN "
           "where that was not found out", "1"),
    Column("control_best", "float64", "best correlation of unit A with any unit of a control, for a match with a "
           "control of another one; NaN without such a control", "1"),
    Column("control_spread", "float64", "standard deviation of what the draws of that control's network reach, where "
           "several were drawn", "1"),
    Column("lift", "float64", "`pearson` minus `control_best`", "1"),
    *_CAUSAL,
    Column("trusted", "bool", "whether the match passes every test that the recipe asks for"),
)
ROSETTA = (
    Column("rosetta", "int32", "number of the Rosetta neuron, from 0 by falling mean correlation"),
    Column("cluster", "int32", "number of the concept that the neuron belongs to"),
    Column("anchor_unit", "int32", "the neuron's unit of the anchor, by its index in the model"),
    _MODEL, _UNIT, _LAYER, _CHANNEL,
    Column("pearson", "float32", "correlation of the unit with the neuron's anchor unit; NaN on the anchor's own row",
           "1"),
    Column("mean_pearson", "float64", "mean of the neuron's correlations over the models", "1"),
    Column("trusted", "bool", "whether every match of the neuron is trusted; the same on all of its rows"),
    EACH_TEST,
)
CLUSTERS = (
    Column("cluster", "int32", "number of the concept, from 0 by falling mean correlation of its best neuron"),
    Column("size", "int32", "how many Rosetta neurons belong to it", "1"),
    Column("anchor_unit", "int32", "the anchor's unit of its best neuron, by its index in the model"),
    Column("mean_pearson", "float64", "mean of its neurons' mean correlations", "1"),
    Column("min_pearson", "float64", "lowest correlation of any match of its neurons", "1"),
    Column("trusted_neurons", "int32", "how many of its neurons are trusted", "1"),
)
_OF_CLASS = (
    Column("rank", "int32", "1 for the class that it is most selective for", "1"),
    Column("label", "str", "the class"),
    Column("images", "int32", "images of the class in the run", "1"),
    Column("auroc", "float64", "probability that an image of the class peaks higher than any other image", "1"),
    Column("deviation", "float64", "how far `auroc` lies above one half, in standard deviations of what exchanging the "
           "images would make of it", "1"),
    Column("confused", "str", "the other class whose images peak above those of the class most often; empty where "
           "there is none"),
    Column("confusion", "float64", "probability that an image of `confused` peaks higher than one of the class", "1"),
)
CLASSES_OF_UNITS = (
    _MODEL, _UNIT, _LAYER, _CHANNEL, *_OF_CLASS,
    Column("mean", "float64", "mean peak over the images of the class", "1"),
)
CLASSES_OF_CONCEPTS = (
    Column("cluster", "int32", "number of the concept"), *_OF_CLASS,
    Column("mean", "float64", "mean over the images of the class and the units of the concept's strongest neuron of "
           "their standardised peaks", "standard deviation"),
    Column("map_pearson", "float64", "correlation of the mean map over the images of the class with that over those of "
           "`confused`: maps of the anchor's unit in the strongest neuron, of some images of each class", "1"),
)
_NAME = (
    Column("rank", "int32", "1 for the best", "1"),
    Column("label", "str", "the name"),
)
LABELS = (
    Column("subject", "category", "what is named: `concept`, or a `unit` of a Rosetta neuron"),
    Column("cluster", "int32", "number of the concept; of a unit, the concept of its strongest neuron"),
    _MODEL, _UNIT, _LAYER, _CHANNEL,
    Column("kind", "category", "where the name comes from: `text`"),
    *_NAME,
    Column("score", "float64", "soft WPMI of the word: by how much better it fits images where the subject is strong "
           "than those where it is silent, the mean of `score_whole` and `score_masked`", "1"),
    Column("score_whole", "float64", "the same by whole images alone", "1"),
    Column("score_masked", "float64", "the same by images masked but where the subject is", "1"),
    Column("score_null", "float64", "what the best of all words reaches by chance for this subject", "1"),
    Column("named", "bool", "whether `score` is above `score_null`; where not, the word is no name"),
    Column("images", "int32", "images that it was seen in where it is strong, and as many where it is silent", "1"),
)
MASKS = (
    _MODEL, _UNIT, _LAYER, _CHANNEL,
    Column("cluster", "int32", "concept of the unit's strongest neuron"),
    Column("strongest", "bool", "whether the unit's map stands for that concept: the anchor's in its strongest neuron"),
    *_NAME,
    Column("iou", "float64", "intersection over union of the unit's map above its threshold and the label, over all "
           "images", "1"),
    Column("threshold", "float32", "threshold of the unit, which at most the share `quantile` of its values exceeds",
           "1"),
    Column("named", "bool", "whether the label names the unit: the best one, with an `iou` above 0.04"),
)
NOTES = (
    Column("cluster", "int32", "number of the concept"),
    Column("author", "str", "who wrote the note; the name of its file where that names none"),
    Column("name", "str", "what the author calls the concept; may be empty"),
    Column("starred", "bool", "whether the author starred it"),
    Column("note", "str", "text of the note; may be empty"),
    Column("when", "str", "when it was written: UTC, ISO 8601"),
    Column("source", "str", "name of the file that it came in"),
)
_IMAGE = (
    Column("image", "int64", "index of the image in the search's own store"),
    Column("source", "str", "name of the image: its file, or which image of the run it is"),
)
_GUIDANCE = Column("guidance", "category", "which matches guide the search: `none`, a model's name, or `all`")
INVERSION_METRICS = (
    _GUIDANCE, *_IMAGE,
    Column("psnr", "float64", "peak signal-to-noise ratio of the result; NaN where no image is inverted", "dB"),
    Column("ssim", "float64", "structural similarity of the result; NaN where no image is inverted", "1"),
    Column("lpips", "float64", "perceptual distance of the result; NaN without the weights of its backbone", "1"),
    Column("rec", "float32", "reconstruction loss after the last step; NaN where it takes no part", "1"),
    Column("reg", "float32", "regularisation of the latents after the last step; NaN where it takes no part", "1"),
    Column("act", "float32", "agreement of the activation maps after the last step; NaN where it takes no part", "1"),
    FEATURES,
)
COEFFICIENTS = (
    _GUIDANCE,
    Column("rate", "float64", "learning rate of the trial", "1"),
    Column("alpha", "float64", "weight of the regularisation", "1"),
    Column("beta", "float64", "weight of the agreement of activation maps", "1"),
    Column("psnr", "float64", "mean peak signal-to-noise ratio over the tuning images", "dB"),
    Column("ssim", "float64", "mean structural similarity over the tuning images", "1"),
)
EDIT_METRICS = (
    Column("model", "category", "name of the model that judges the edit, or `all` for the mean of all models"),
    *_IMAGE,
    Column("asked_before", "float64", "mean correlation of the maps before the edit with the maps that are asked for",
           "1"),
    Column("asked_after", "float64", "mean correlation of the maps after the edit with the maps that are asked for",
           "1"),
    Column("level_before", "float64", "mean activation before the edit in the boxes of added and removed concepts, "
           "negative for removed ones; NaN without such a concept", "standard deviation"),
    Column("level_after", "float64", "the same after the edit", "standard deviation"),
    Column("outside", "float64", "mean correlation of the maps before and after, where no edit touches them", "1"),
    Column("unrelated", "float64", "the same between the image before the edit and an unrelated image", "1"),
    Column("worked", "bool", "whether the model sees what was asked for"),
    Column("forecast", "float64", "what was said before the edit, the same for all models: see `forecast.parquet`; NaN "
           "where an earlier version began the edit", "1"),
)
EDIT_FORECAST = (
    *_IMAGE,
    Column("nearest", "int64", "index of the mined image whose maps of the generator are nearest to those asked for"),
    Column("agreement", "float64", "its agreement with the maps that are asked for, over the units that change", "1"),
    Column("before", "float64", "agreement of the image before the edit with them", "1"),
    Column("existing", "float64", "agreement of mined images with the nearest other one, on the same units and "
           "positions; median", "1"),
    Column("share", "float64", "share of these mined images that are no nearer to any other: 0 where the asked maps "
           "lie farther from all that the generator made", "1"),
    Column("forecast", "float64", "`agreement` − `before`: below 0, no mined image is as near to what is asked for as "
           "the image already is", "1"),
)
CAUSES = (
    Column("rosetta", "int32", "number of the Rosetta neuron whose unit of the generator is ablated or raised"),
    Column("cluster", "int32", "number of the concept that the neuron belongs to"),
    Column("anchor_unit", "int32", "the neuron's unit of the generator, by its index in the model"),
    _MODEL, _UNIT, _LAYER, _CHANNEL,
    Column("causal_effect", "float64", "how far the buddy follows: the part of its covariance with the anchor's unit "
           "that is gone with that unit's variation, or how much higher it is in the box in which that is raised",
           "standard deviation"),
    Column("causal_change", "float64", "root mean square of the change of the buddy's map, wherever it is",
           "standard deviation"),
    Column("causal_rank", "float64", "share of the other units of the buddy's layer that follow at least as much", "1"),
    Column("random_units", "int32", "random units of the generator, of the same layer and about the same mean and "
           "spread, with which it is compared", "1"),
    Column("random_effect", "float64", "mean effect on the buddy of the same intervention on those", "standard "
           "deviation"),
    Column("causal_p", "float64", "share of the neuron's unit and the random units together that the buddy follows at "
           "least as much; NaN where there are none", "1"),
    Column("causal_q", "float64", "lowest false discovery rate at which the effect still counts, among the neurons of "
           "the table in this model", "1"),
)
SILENCED = (
    Column("cluster", "int32", "number of the concept whose units in the model are set to their mean"),
    _MODEL,
    Column("units", "int32", "how many these are", "1"),
    Column("rank", "int32", "0 for the model's output as a whole; 1 for the class whose score rises most, and on; -1 "
           "for the class whose score falls most, and on"),
    Column("class", "int32", "index of the class; -1 for the output as a whole"),
    Column("label", "str", "name of the class, empty where it is not known"),
    Column("change", "float64", "mean change of the class's score before the softmax; of the output as a whole the "
           "mean length of its change over its length before", "1"),
    Column("random", "float64", "mean of the same over random sets of as many units of the same layers, for a class "
           "that of the same rank in each", "1"),
    Column("p_value", "float64", "share of all sets, the concept's among them, with at least such a change", "1"),
    Column("cosine", "float64", "mean cosine of the output before and after; NaN of a class", "1"),
    Column("norm", "float64", "mean length of the output after over that before; NaN of a class", "1"),
)
_JOINED = (
    Column("model_a", "category", "name of the first generator, the anchor"),
    Column("unit_a", "int32", "index of its unit in the model: layers in forward order, then channels"),
    Column("layer_a", "category", "layer of that unit, by its path in the model"),
    Column("channel_a", "int32", "index of that unit in its layer"),
    Column("model_b", "category", "name of the other generator"),
    Column("unit_b", "int32", "index of its unit in the model"),
    Column("layer_b", "category", "layer of that unit, by its path in the model"),
    Column("channel_b", "int32", "index of that unit in its layer"),
)
JOIN_PAIRS = (
    *_JOINED,
    Column("strength", "float32", "mean over the pivots of how strongly the two are linked through each: the highest, "
           "over its units, of the lower of both correlations", "1"),
    Column("rank_ab", "int32", "rank of unit B among the neighbours of unit A; 1 is the nearest", "1"),
    Column("rank_ba", "int32", "rank of unit A among the neighbours of unit B; 1 is the nearest", "1"),
    Column("weakest", "float32", "lowest strength through any pivot", "1"),
    Column("agree", "int32", "pivots through which alone the two are buddies, too", "1"),
    Column("control", "float32", "highest strength through a control; NaN where there is none", "1"),
    Column("exact", "bool", "whether no correlation that a run did not keep can change the strength"),
    Column("excess", "float64", "mean over the pivots of strength over what exchanging their units within their layers "
           "reaches half of the time", "1"),
    Column("p_value", "float64", "probability of so strong links when units of the pivots are exchanged within their "
           "layers", "1"),
    Column("q_value", "float64", "lowest false discovery rate at which the pair still counts, by `excess` against the "
           "buddies that exchanging makes", "1"),
    Column("trusted", "bool", "whether p-value and false discovery rate are both low enough"),
)
JOIN_LINKS = (
    *_JOINED,
    Column("pivot", "category", "name of the discriminative model through which the two are linked"),
    Column("unit", "int32", "its unit that links them, by its index in the model; -1 where nothing does"),
    Column("layer", "category", "layer of that unit, by its path in the model"),
    Column("channel", "int32", "index of that unit in its layer; -1 where nothing links them"),
    Column("pearson_a", "float32", "correlation of the linking unit with unit A, in the first run", "1"),
    Column("pearson_b", "float32", "correlation of the linking unit with unit B, in the other run", "1"),
    Column("strength", "float32", "the lower of the two", "1"),
    Column("chance", "float64", "strength that exchanging the pivot's units within their layers reaches half of the "
           "time", "1"),
    Column("alone", "bool", "whether the two are buddies through this pivot alone"),
    Column("p_value", "float64", "probability of so strong a link when units of the pivot are exchanged within their "
           "layers", "1"),
    Column("control", "bool", "whether the pivot is a control"),
)
JOIN_AGREEMENT = (
    Column("model_b", "category", "name of the generator that is joined with the anchor"),
    Column("pivot_a", "category", "name of a pivot"),
    Column("pivot_b", "category", "name of another pivot"),
    Column("pairs_a", "int32", "buddies through the first pivot alone", "1"),
    Column("pairs_b", "int32", "buddies through the second pivot alone", "1"),
    Column("both", "int32", "those through either", "1"),
    Column("expected", "float64", "those that would be the same if the pairs of each pivot were drawn from all pairs "
           "of units", "1"),
    Column("control", "bool", "whether one of the pivots is a control"),
)
JOIN_NULL = (
    Column("model_b", "category", "name of the generator that is joined with the anchor"),
    Column("exchange", "int32", "number of the exchange of pivot units; 0 is the join itself, without one"),
    Column("buddies", "int32", "pairs of mutual nearest neighbours", "1"),
    Column("strong", "int32", "those that exceed chance by at least as much as some trusted pair; 0 where none is "
           "trusted", "1"),
)
JOIN_NEURONS = (
    Column("rosetta", "int32", "number of the Rosetta neuron, from 0 by falling mean strength"),
    Column("cluster", "int32", "number of the concept that the neuron belongs to"),
    Column("anchor_unit", "int32", "the neuron's unit of the first generator, by its index in the model"),
    _MODEL, _UNIT, _LAYER, _CHANNEL,
    Column("kind", "category", "what the model is: `anchor`, `generator` or `pivot`"),
    Column("strength", "float32", "of a generator's unit the strength of its pair with the anchor's, of a pivot's unit "
           "its correlation with that; NaN on the anchor's own row", "1"),
    Column("mean_strength", "float64", "mean of these over the models", "1"),
    Column("trusted", "bool", "whether the neuron's pair with every generator is trusted; the same on all its rows"),
)
JOIN_CONCEPTS = (
    Column("cluster", "int32", "number of the concept, from 0 by falling mean strength of its best neuron"),
    Column("size", "int32", "how many Rosetta neurons belong to it", "1"),
    Column("anchor_unit", "int32", "the first generator's unit of its best neuron, by its index in the model"),
    Column("mean_strength", "float64", "mean of its neurons' mean strengths", "1"),
    Column("min_strength", "float64", "lowest strength that any of its neurons has in any model", "1"),
    Column("trusted_neurons", "int32", "how many of its neurons are trusted", "1"),
)
JOIN_ITSELF = (
    Column("through", "category", "name of the pivot, or `all` for the mean over those that are no controls"),
    Column("control", "bool", "whether the pivot is a control"),
    Column("layer", "category", "layer of the generator, by its path; `all` for all of them together"),
    Column("of", "category", "`all` units, or those of a `trusted` pair of the join"),
    Column("units", "int32", "how many units these are", "1"),
    Column("first", "float64", "share of them whose nearest neighbour is the unit itself", "1"),
    Column("within_5", "float64", "share of them that have the unit itself among their five nearest", "1"),
)
# fmt: on


def of_each_model(columns: Columns, names: Sequence[str]) -> Columns:
    """Columns with :data:`FEATURES` taken apart into those of a table, whose columns have these names."""
    found: list[Column] = []
    for column in columns:
        prefix, template, _ = column.name.partition("{model}")
        mine = [name for name in names if name.startswith(prefix)] if template else [column.name]
        found += [replace(column, name=name) for name in mine]
    return tuple(found)


def of_each_test(columns: Columns) -> Columns:
    """The columns with the one by which each test of trust decides in place of :data:`EACH_TEST`."""
    of_match = {column.name: column for column in TRUST}
    deciding = tuple(
        replace(of_match[test.column], about=_WEAKEST.format(of_match[test.column].about)) for test in TESTS
    )
    return tuple(one for column in columns for one in (deciding if column is EACH_TEST else (column,)))
