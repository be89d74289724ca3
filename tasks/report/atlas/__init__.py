"""The data, pictures and plots of the dictionary's page, written into `report/`."""
