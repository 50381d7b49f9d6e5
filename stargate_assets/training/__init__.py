"""Fine-tuning as a program of its own: `python -m stargate_assets.training SPEC.json`.

A child process gives its memory back whatever happens in it, and its losses stream into Dagster
through Pipes. With several devices it starts itself once for each.
"""
