"""The page of a join: concepts of two generators, through the models that saw both."""
