"""The stages that say what units and concepts are about."""
