"""The columns of a comparison's tables, as :mod:`storage.artifacts.columns` has those of a run's."""

from storage.artifacts.columns import Column

_LAYER = Column("layer", "category", "layer of the anchor, by its path in the model")

# fmt: off
OVERLAPS = (
    Column("of", "category", "which Rosetta neurons: `all`, or the `trusted` ones of each run"),
    Column("by", "category", "what makes two of them the same: the `anchor` unit, or the units of all `members`: the "
           "anchor and every model that both runs look for buddies in"),
    Column("layer", "category", "layer of the anchor, by its path; `all` for all of them together"),
    Column("first", "int32", "neurons of the first run", "1"),
    Column("second", "int32", "neurons of the second run", "1"),
    Column("both", "int32", "neurons that are in both runs", "1"),
    Column("both_chance", "float64", "mean of the same if each run had drawn as many in each layer at random", "1"),
    Column("jaccard", "float64", "neurons of both over neurons of either; NaN where there are none", "1"),
    Column("jaccard_chance", "float64", "mean of the same by chance", "1"),
    Column("p_value", "float64", "probability that chance shares as many, or more", "1"),
)
NEURONS = (
    _LAYER,
    Column("channel", "int32", "index of the unit in its layer"),
    Column("first", "bool", "whether it is a Rosetta neuron of the first run"),
    Column("second", "bool", "whether it is a Rosetta neuron of the second run"),
    Column("trusted_first", "bool", "whether that of the first run is trusted"),
    Column("trusted_second", "bool", "whether that of the second run is trusted"),
    Column("cluster_first", "int32", "number of its concept in the first run; -1 for none"),
    Column("cluster_second", "int32", "number of its concept in the second run; -1 for none"),
    Column("strength_first", "float64", "mean correlation with its units of the models that both runs look for buddies "
           "in, in the first run; NaN for none", "1"),
    Column("strength_second", "float64", "the same in the second run; NaN for none", "1"),
    Column("same", "int32", "of these models, those where both runs chose the same unit; 0 where a run lacks the "
           "neuron", "1"),
)
CONCEPTS = (
    Column("cluster_first", "int32", "number of the concept in the first run; -1 where the second's has no partner"),
    Column("name_first", "str", "what notes or labels of the first run call it; empty for none"),
    Column("size_first", "int32", "its neurons in the layers that both runs have", "1"),
    Column("cluster_second", "int32", "number of its partner in the second run; -1 where the first's has none"),
    Column("name_second", "str", "what notes or labels of the second run call it; empty for none"),
    Column("size_second", "int32", "its neurons in the layers that both runs have", "1"),
    Column("shared", "int32", "anchor units of both", "1"),
    Column("overlap", "float64", "the same over anchor units of either; 0 without a partner", "1"),
    Column("overlap_chance", "float64", "mean overlap with the partner that the concept gets when the units of the "
           "other run are exchanged within layers", "1"),
    Column("partner_chance", "float64", "share of the exchanges in which it gets a partner at all", "1"),
    Column("p_value", "float64", "probability of such an overlap by chance, from the exchanges; 1 without a partner",
           "1"),
)
STRENGTHS = (
    Column("of", "category", "what has a strength in both runs: `neurons` with the same anchor unit, or the `buddies` "
           "of the anchor in a model"),
    Column("model", "category", "name of the model; `all` for neurons, whose strength is a mean over models"),
    Column("count", "int32", "how many are in both runs", "1"),
    Column("mean_first", "float64", "their mean strength in the first run; NaN where there are none", "1"),
    Column("mean_second", "float64", "the same in the second run", "1"),
    Column("pearson", "float64", "correlation of their strengths in both runs; NaN with fewer than two, or where all "
           "strengths of a run are the same", "1"),
    Column("deviation_chance", "float64", "standard deviation of that correlation when the strengths of one run are "
           "permuted, whose mean is 0", "1"),
)
# fmt: on
