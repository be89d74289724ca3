"""The mathematics of mining: grids, correlation, buddies, the dictionary.

Nothing here reads a store or knows an engine; arrays in, arrays out.
"""
