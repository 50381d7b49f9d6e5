"""The trackers that can be told of policies: one entry each.

To add one, write a module in `reporting/trackers/` with a function
`open_tracker(directory) -> Tracker` (`tracker.py` there has the protocol), and enter it here. The
module is imported when a run that uses the tracker begins, so what it needs is an extra of the
tracker's name.
"""

TRACKERS = {
    "mlflow": "stargate_assets.reporting.trackers.mlflow",
    "wandb": "stargate_assets.reporting.trackers.wandb",
    "trackio": "stargate_assets.reporting.trackers.trackio",
}
"""The module of each."""
