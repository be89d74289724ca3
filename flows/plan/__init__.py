"""From a recipe to a plan: what is found out about the things that a recipe names, the stages that follow, and what
they will take. Nothing here writes.
"""
