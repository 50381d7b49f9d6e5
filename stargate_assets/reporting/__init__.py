"""Figures, and the report as one HTML file, made from the frames of experiments."""
