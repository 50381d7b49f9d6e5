"""External evaluations: data sets of others, with a truth that needs no judge.

A new one is a file here, with how its records are read and what is measured, and an entry in
EVALUATIONS.
"""

from stargate_assets.method.evaluations.in3 import KIND as IN3
from stargate_assets.method.evaluations.kind import Kind
from stargate_assets.method.evaluations.mediq import KIND as MEDIQ

EVALUATIONS: dict[str, Kind] = {"in3": IN3, "mediq": MEDIQ}
