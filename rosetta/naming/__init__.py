"""What a concept is called: vocabularies, scores of names, and what chance makes of them."""
