"""External evaluations: data sets of others, with a truth that needs no judge.

A new one is a file here, with how its records are read and what is measured, and an entry in
EVALUATIONS.
"""

from stargate_assets.method.evaluations import in3, mediq
from stargate_assets.method.evaluations.kind import Kind

EVALUATIONS: dict[str, Kind] = {"in3": in3.KIND, "mediq": mediq.KIND}
