"""Images that people have: listing files, tars and tables of any place with their labels, decoding any format to
upright RGB, and recognising images that were read before.
"""
