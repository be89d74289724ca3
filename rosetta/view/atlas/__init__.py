"""The atlas: the dictionary as a static folder that opens from disk and from any host, and fetches nothing.

    report/index.html            the shell: markup, style, script, and `run`; less than 200 kB
    report/data/concepts.js      one row for each concept, as columns: what cards, sorting and filters need
    report/data/search.js        the units of every concept, as columns: what the search needs
    report/data/concept/<c>.js   one concept: neurons, buddies, rankings, maps, scatter, neighbours
    report/data/image/<i>.js     one image: where each concept is strong in it
    report/data/classes.js       the classes that each concept is selective for, with mean maps
    report/data/explained.js     the images of which is known where models look; rewritten by `rosetta explain`
    report/data/explained/<i>.js one of them: Grad-CAM maps, and the concepts that lie there; by `rosetta explain` too
    report/data/unit/<m>.<l>.js  the units of one layer, as columns: what sorts them
    report/data/unit/<m>.<l>.<n>.js  a few units of it, `per_file` at most: images, maps, values, neighbours, causes
    report/data/table/<t>.js     a table as columns, for its CSV
    report/data/plots.js         the plots of the overview
    report/data/words.js         a vocabulary, and how well each word fits each concept, where that was measured
    report/data/notes.js         the notes that were merged into the run, where there are some
    report/images/<b>.webp       thumbnails, PER_SHEET to a sheet
    report/cards/<b>.webp        pictures of concepts, PER_SHEET to a sheet
    report/pictures/<i>.webp     an image alone, of those that have a file of their own
    report/thumbs/<i>.webp       its thumbnail alone, of those that units show: they are spread over all sheets

From disk a browser may load scripts but not read files, so data are scripts: each is one call
`atlas.put("<key>", <JSON>)`, its key the path below `data/` without `.js`; what is needed is loaded when it is. Pixels
of an image cannot be read back there either, so maps come as numbers: rows of base64, one byte a position, 0 the least
of the unit's scale and 255 the most. Sheets are 8 × 8 squares of `thumb` pixels without gaps, row by row; the last one
too, its left-over places black.

Models, layers, images and concepts are known by their places (integers) in all data; in the page's address models and
layers go by their names, which stay when the recipe gets another model, and images by their index in the run. Names may
hold any character: they are JSON strings, all beyond ASCII escaped and `<`, `>` and `&` too, and the page puts them in
as text only. An object's keys that are models or images are their places as text.

`run` (in the shell, `<script type="application/json" id="run">`)
    name, anchor (model), images (that are kept), seen (images that numbers are over), thumb (pixels of a side),
    per_sheet, neighbours (K), concepts, rosetta, judged, trusted (neurons), trusted_concepts (with at least one of
    them), judgement, fingerprint, command, root, trust_page: the address of the page that explains trust, or null
    dictionary: fingerprint of the dictionary, for notes
    words: how many there are in `words`, 0 without; notes: whether there are some
    guided: [{kind, name, address}]   the pages of inversions and edits that lie beside the report
    version: of the page
    indices: [index…]   of each image among all of the run where only some are kept, else null
    heat: [[red, green, blue]…]   the heat colours from weak to strong, evenly spaced (:mod:`rosetta.view.atlas.page`)
    tests: [{name, word, passed, asked}]   the tests of trust (:mod:`rosetta.mining.trust.tests`), and whether what is
                                        trusted must pass it
    null: how much of the dictionary chance would make, in a phrase (:mod:`rosetta.view.null_words`), or empty
    tables: [name…]   each has a file
    about: {table → what it holds, in a phrase}
    added: {path → fingerprint} of the tables that commands added after mining; what makes the page be written again
    outdated: [{table: its path, command: what makes it}]   those of an earlier dictionary, which are not shown
    found: {called, name, label, class, effect}   how many concepts have each; called: a name or a label
    shown: [image…]   the images that have a file of their own, rising: all, or the SHOWN that concepts are strongest in
    strongest: the concepts that the overview shows, with the columns of `concepts`: those with a trusted neuron first,
              and by falling mean
    models: [{name, model, kind, control, units, matched, buddies, rosetta, median,
              survives: {test → count, trusted: count} or null: how many buddies pass each test and all, null for a
                        test that none could be put to: lift without another control,
              layers: [{name, channels, first, grid_y, grid_x, per_file}]}]
`concepts`
    id, size, mean, min, layer (of the anchor's best unit), depth (0..1 in the anchor), unit, image (shown on the card),
    best_held_out and best_excess (of its neurons the highest, each with every model; null where not measured),
    name and name_score (the best word above chance, and its score), label and iou (of masks, where the intersection
    over union exceeds 0.04), class and auroc (that it is most selective for), effect and effect_q (what ablating its
    strongest neuron does in the model that follows it most, and the q of that): null where not known
    trusted, and each test by its name (how many of its neurons pass it; null as in `survives`): arrays, one entry a
    concept, by id
`search`
    offset (concept → first neuron, one more at the end), rosetta, mean, unit: arrays; unit has one entry a neuron and
    model (row-major, models as in run, -1 where a model is not asked)
`concept/<c>`
    neurons: [{rosetta, mean, trusted, failures: [[word, sentence]…], members: [{model, unit, pearson, rank_ab,
              rank_ba, low, high, held_out, excess, robust, within, one_to_one}]}]
              best first; failures has an entry for each test that the neuron fails and must pass, and the first member
              is the anchor's unit. From low on: what was measured of its match beside the correlation, null where not
    buddies: [[model, unit, pearson, rank_ab, rank_ba, anchor_unit]…]    all of them beyond the strongest, with controls
             and with the anchor itself as well
    rankings: {activation: [image…], agreement: [image…]}
              of the first neuron: by the peak of the anchor's unit, and by the mean over its members of the share of
              the images whose peak is lower
    maps: {grid: [y, x] by model, low: [], high: [] by model, image → [base64 or null by model]}
              of the first neuron's members, null where a model has none; of a map with finer positions, the highest
              value of each part (:mod:`rosetta.view.pictures.pooling`)
    scatter: {model → [[g, d]…]}   values at sampled positions of at most 64 images, on the pair's common grid
    near: [[concept, similarity]…]
    found: {names, labels, classes, causes, silenced}   null where that was not measured; else rows, which are columns
              of the tables labels (label, score, score_null, named), masks (label, iou, named), concept_classes (label,
              images, auroc, deviation, mean), causes (rosetta, model, unit, effect, of random units, rank, p, q) and
              silenced (model, units, rank, class, label, change, of random units, p, cosine); best first
`image/<i>`
    concept: [], strength: [], grid: [[y, x]…], maps: [base64…], source, class
              strongest first, of each concept's best unit, low and high as in its scale; strength is 0 at low and 1
              at high; grid and maps have an entry for each of the strongest MAPPED only, and no two grids need be the
              same. source is the name of the file that the image came from, class what a generator was told, or null
`classes`
    {concept → {rows: [{label, images, auroc, deviation, mean, confused, confusion, map_pearson}…], grid: [y, x],
                maps: [base64 or null: of the first class, of the one confused with it, of all others]}}
              empty where no class is known; rows as in the table concept_classes, best first. Maps are mean maps of the
              anchor's unit, all three from the lowest of their values to the highest
`explained`
    images: [image…] that have a file `explained/<i>`, rising
`explained/<i>`
    [{model, layer (its name), class, label, probability, share, random_share, grid: [y, x], map: base64, others,
      concepts: [{id, unit (of the model), pearson, weight, grid, map}…]}…]
              an entry for each model, layer and class; the Grad-CAM map from 0 to its maximum. share is what the sum of
              all concepts explains of its variance, random_share what as many random units of the same layers do; null
              of a map that is 0 everywhere; concepts has the few that count
              most in that sum, and others how many more have a part in it
`unit/<m>.<l>`
    first; mean, std, maximum, kurtosis, half_share, concept: arrays by channel, concept −1 where there is none;
    and where there is any: match (correlation of the strongest match with a model that is no control), held_out (of
    that match), auroc (of the class that it is most selective for), iou (of its best mask), effect (the highest of its
    causes): arrays, null where not measured; name: array of words, empty where it has none
`unit/<m>.<l>.<n>`
    first (channel), rows: [[place, place]…] of the images by falling peak, first and one after last: the strongest, and
              those around the percentiles of :mod:`rosetta.view.atlas.unit_rows`
    units: [{mean, std, maximum, kurtosis, half_share, concept,
             images: [image…], peaks: [number…]   of all rows, one after the other
             grid, maps: [base64…]   of the first of these images, or of all; grid is null where there is none
             histogram: {low, high, counts, images: that are counted} or null (:mod:`rosetta.view.atlas.histogram`)
             near: {model → [[unit, pearson, mutual]…]}
              mutual is 0 or 1; a model is there if the unit's model was correlated with it
             near_maps: {model → {grid, low, high, maps: [base64…]}}   of the nearest unit, over the unit's first images
             and of those that have some:
             neurons: [[rosetta, concept, trusted]…], words: [[label, score, score it must exceed, named]…],
             masks: [[label, iou, named]…], classes: [[label, images, auroc, deviation, mean]…],
             causes: [[model, unit, effect, change, rank, effect of random units, p, q]…]   of the generator's unit: its
              buddies that were looked at; of a buddy: the generator's units that were changed
             silenced: [[concept, units, change, change of random units, p, rising, falling]…]   the concepts of the
              unit that were silenced in its model; rising and falling: [[class, change]…]}…]
`table/<t>`
    {column → [value…]} of a table that the run has one of; null for what is not a number
`words`
    words: [word…], concept: [number…], null: by concept, what the best word reaches by chance, or null
    low, high: by concept; kept: words that each concept has a score of
    score: base64, (concept, kept) one byte each, see :func:`rosetta.view.atlas.words.quantised`
    word: base64, (concept, kept) which words these are, 16 bits with the low byte first; null where all are kept
`notes`
    [{concept, author, name, starred, note, when, source}…]   by concept and author
`plots`
    [{title, caption, svg}…]
"""
