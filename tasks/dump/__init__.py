"""The stages that fill stores with images, activation maps and pixel features."""
