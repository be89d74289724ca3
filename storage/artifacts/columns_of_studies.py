"""The columns of a study's tables, as :mod:`storage.artifacts.columns` has those of a run's."""

from storage.artifacts.columns import Column

_ANCHOR = Column("anchor", "category", "name of the model whose units are looked for in the others: the generator")
_FAMILY = Column("family", "category", "name of the family")
_MODEL = Column("model", "category", "name of the model")

# fmt: off
STUDY = (
    _ANCHOR, _FAMILY, _MODEL,
    Column("size", "float64", "size of the model, in what its family is measured in", "1"),
    Column("parameters", "int64", "parameters of the model, its head included", "1"),
    Column("units", "int32", "units of the model", "1"),
    Column("buddies", "int32", "mutual nearest neighbours of the anchor and the model", "1"),
    Column("buddies_trusted", "int32", "those that are trusted", "1"),
    Column("buddies_null", "float64", "mean of the same with images exchanged: what chance makes; NaN where that was "
           "left out", "1"),
    Column("neurons", "int32", "units of the anchor with a buddy in every model of the run, controls apart: Rosetta "
           "neurons", "1"),
    Column("neurons_trusted", "int32", "those that are trusted", "1"),
    Column("matched", "int32", "units of the model with a buddy in the anchor", "1"),
    Column("matched_trusted", "int32", "those with a trusted buddy", "1"),
    Column("share", "float64", "`matched` over `units`", "1"),
    Column("share_trusted", "float64", "`matched_trusted` over `units`", "1"),
    Column("rarefied_units", "int32", "units drawn of the anchor and of the model, the same for all models of the "
           "anchor; 0 where none were", "1"),
    Column("rarefied", "float64", "mean number of buddies among those; NaN where none were drawn", "1"),
    Column("rarefied_std", "float64", "standard deviation of the same over the draws", "1"),
    Column("pearson", "float64", "median correlation of the buddies", "1"),
    Column("excess", "float64", "mean over the anchor's units of how much better they match the model than units of "
           "their layer rotated at random; NaN where that was left out", "1"),
    Column("kurtosis_matched", "float64", "median kurtosis of the units with a buddy", "1"),
    Column("kurtosis_others", "float64", "median kurtosis of all other units", "1"),
    Column("half_share_matched", "float64", "median of the smallest share of images that carries half of the positive "
           "activation, of units with a buddy", "1"),
    Column("half_share_others", "float64", "the same of all other units", "1"),
)
DEPTHS = (
    _ANCHOR, _MODEL,
    Column("layer", "category", "layer of the model, by its path"),
    Column("depth", "float64", "its place among the layers of the model: 0 the first, 1 the last", "1"),
    Column("part", "category", "the third of the depth that it lies in: `early`, `middle` or `late`"),
    Column("units", "int32", "units of the layer", "1"),
    Column("buddies", "int32", "their buddies in the anchor", "1"),
    Column("buddies_trusted", "int32", "those that are trusted", "1"),
    Column("matched", "int32", "units with a buddy", "1"),
    Column("share", "float64", "`matched` over `units`", "1"),
    Column("kurtosis", "float64", "median kurtosis of all units of the layer", "1"),
    Column("half_share", "float64", "median of the smallest share of images that carries half of the positive "
           "activation, of all units of the layer", "1"),
)
EXPONENTS = (
    _ANCHOR, _FAMILY,
    Column("count", "category", "what grows, as the columns of `tables/study.parquet` call it"),
    Column("part", "category", "the third of the depth of which it is counted, or `all`"),
    Column("models", "int32", "models of the family", "1"),
    Column("exponent", "float64", "β of `count = prefactor · size^β`, by least squares of the logarithms; NaN where a "
           "model counts nothing", "1"),
    Column("low", "float64", "lower end of its 95 % bootstrap interval over units", "1"),
    Column("high", "float64", "upper end of that interval", "1"),
    Column("low_models", "float64", "lower end of the 95 % interval of the regression, which asks how far the models "
           "lie off the line; NaN with fewer than three", "1"),
    Column("high_models", "float64", "upper end of that interval", "1"),
    Column("prefactor", "float64", "the count at size 1", "1"),
)
# fmt: on
