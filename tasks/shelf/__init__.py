"""A shelf: the page over many runs, joins and studies, and copies of their pages."""
