"""Images out of activation maps: heat maps, sprites, contact sheets."""
