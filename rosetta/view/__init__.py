"""What a person looks at: heat maps, plots and the dictionary page.

Arrays and numbers in, bytes and text out. Nothing here opens a store or writes a file, and nothing here depends
on how a run was mined; :mod:`rosetta.view.contents` says what the page needs to be told.
"""
