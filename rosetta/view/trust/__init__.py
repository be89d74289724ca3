"""The page that explains how far matches can be trusted."""
