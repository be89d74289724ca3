"""What a person looks at: heat maps, plots, figures, cells of a notebook, and the pages.

Arrays and numbers in, bytes and text out. Nothing here opens a store or writes a file, and nothing here depends
on how a run was mined; :mod:`rosetta.view.atlas` says what the dictionary's page is made of.
"""
