"""A shelf: the page over many runs, joins, comparisons and studies, and copies of their pages."""
