"""Diffusion pipelines as modules: their configurations, their saved folders, and their sampling."""
