"""The tables of the DuckDB schema `warehouse`, which say what was written and what it cost."""

import dataframely as dy


def _schema_name() -> dy.String:
    return dy.String(description="DuckDB schema: the name of an experiment or data set")


def _slice() -> dy.String:
    return dy.String(
        description="Dagster's partition: 1|train_b or train_b, all for a table without partitions"
    )


def _role() -> dy.String:
    return dy.String(description="Role that the model had, such as questioner, scorer or judge")


def _model() -> dy.String:
    return dy.String(description="Name of the model that was asked")


class Materializations(dy.Schema):
    """Every slice of a table that is complete and valid."""

    schema_name = _schema_name()
    table_name = dy.String(description="Table that the slice belongs to")
    slice = _slice()
    version = dy.String(
        description="Hash of what the slice was made from: code, configuration, policy and data"
    )
    rows = dy.Int64(description="Number of rows of the slice")
    written_at = dy.Datetime(description="When the slice was last written")


class Usage(dy.Schema):
    """Model calls of all time, by what they were for; stored results count once."""

    schema_name = _schema_name()
    slice = _slice()
    role = _role()
    model = _model()
    kind = dy.String(description="chat for generated texts, score for log-probabilities")
    calls = dy.Int64(description="Number of calls")
    prompt_tokens = dy.Int64(description="Tokens that the model read")
    completion_tokens = dy.Int64(description="Tokens that it wrote, or for kind score, scored")
    seconds = dy.Float64(description="Time that the calls took, in seconds")
    dollars = dy.Float64(
        nullable=True, description="Price of the calls in US dollars, null if any is unknown"
    )
    estimated_calls = dy.Int64(
        nullable=True,
        description="Calls of which the server did not report all tokens: no less than they can "
        "have been are counted for them, null in rows that are older than this column",
    )


class Failures(dy.Schema):
    """Requests that had no answer when they were last asked, and have none yet."""

    key = dy.String(description="Hash of the model and the request")
    schema_name = _schema_name()
    slice = _slice()
    role = _role()
    model = _model()
    reason = dy.String(description="What kind of failure it was, such as content_filter or lost")
    said = dy.String(description="What the server said of it, or who asked")
    runs = dy.Int64(description="Runs that have asked it; after three it is given up")
