"""The page over many runs, joins, comparisons and studies.

`index.html` lists them. `data/shelf.js` hands the search what it looks through: `entries` ([name, address of its
page]), `concepts` ([entry, number, name, labels, note, neurons, trusted neurons]) and `models` ([entry, name, what it
is, layers]).
"""
