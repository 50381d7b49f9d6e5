"""STaR-GATE as a Dagster project: teach a language model to ask good clarifying questions."""
