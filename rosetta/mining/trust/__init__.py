"""What chance, position, pixels and controls explain of a match."""
