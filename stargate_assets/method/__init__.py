"""STaR-GATE itself, as pure functions: no Dagster, torch, DuckDB, files, clocks or global
randomness.

Departures from Algorithm 1 of the paper, each on purpose:
- a conversation that is no conversation (`eligibility.py`) is never selected, however probable it
  makes the gold response;
- the regularisation answer is made and trained under one and the same prompt, without the
  elicitation instructions;
- a score covers the gold response's tokens alone, found by offset; its end-of-turn token is left
  out;
- every seed and every number of turns is derived from the row's key, so a row depends on nothing
  else;
- controls and Q-random name the same user as Q-experimental does, so that the name alone explains
  no difference.
"""
