"""Images that people have: listing files of any place, decoding any format to upright RGB, and recognising files
that were read before.
"""
