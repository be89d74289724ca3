"""What the stored correlations and profiles say of a run as a whole: no map is read again."""
