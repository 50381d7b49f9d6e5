"""The completion store's tables, and what is written to them by more than one function."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS completions (
    key TEXT PRIMARY KEY,
    model TEXT NOT NULL,
    result TEXT NOT NULL,
    made_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS usage (
    schema_name TEXT NOT NULL,
    slice TEXT NOT NULL,
    role TEXT NOT NULL,
    model TEXT NOT NULL,
    kind TEXT NOT NULL,
    calls INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    seconds REAL NOT NULL,
    dollars REAL,
    estimated_calls INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (schema_name, slice, role, model, kind)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS failures (
    key TEXT NOT NULL,
    schema_name TEXT NOT NULL,
    slice TEXT NOT NULL,
    role TEXT NOT NULL,
    model TEXT NOT NULL,
    reason TEXT NOT NULL,
    said TEXT NOT NULL,
    runs INTEGER NOT NULL,
    PRIMARY KEY (key, schema_name, slice, role)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS store (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    id TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS copied_usage (
    store TEXT NOT NULL,
    schema_name TEXT NOT NULL,
    slice TEXT NOT NULL,
    role TEXT NOT NULL,
    model TEXT NOT NULL,
    kind TEXT NOT NULL,
    calls INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    seconds REAL NOT NULL,
    dollars REAL,
    estimated_calls INTEGER NOT NULL,
    PRIMARY KEY (store, schema_name, slice, role, model, kind)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS budget (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    dollars REAL NOT NULL,
    paid REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS reservations (
    holder TEXT PRIMARY KEY,
    dollars REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS batches (
    name TEXT PRIMARY KEY,
    file TEXT NOT NULL,
    id TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batch_requests (
    key TEXT NOT NULL,
    batch TEXT NOT NULL,
    dollars REAL NOT NULL,
    PRIMARY KEY (key, batch)
) WITHOUT ROWID;
"""
NEWEST_TABLE = "batch_requests"
"""Stores that have it have all of them."""
COUNT_CALL = """
INSERT INTO usage VALUES (?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?)
ON CONFLICT (schema_name, slice, role, model, kind) DO UPDATE SET calls = usage.calls + 1,
    prompt_tokens = usage.prompt_tokens + excluded.prompt_tokens,
    completion_tokens = usage.completion_tokens + excluded.completion_tokens,
    seconds = usage.seconds + excluded.seconds,
    dollars = usage.dollars + excluded.dollars,
    estimated_calls = usage.estimated_calls + excluded.estimated_calls
"""
COUNT_FAILURE = """
INSERT INTO failures VALUES (?, ?, ?, ?, ?, ?, ?, 1)
ON CONFLICT (key, schema_name, slice, role) DO UPDATE SET runs = failures.runs + 1,
    reason = excluded.reason, said = excluded.said
"""
STORE_RESULT = """
INSERT INTO completions (key, model, result) VALUES (?, ?, ?) ON CONFLICT (key) DO NOTHING
"""
COPY_RESULT = "INSERT INTO completions VALUES (?, ?, ?, ?) ON CONFLICT (key) DO NOTHING"
COPY_USAGE = """
INSERT INTO copied_usage VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (store, schema_name, slice, role, model, kind) DO UPDATE SET calls = excluded.calls,
    prompt_tokens = excluded.prompt_tokens,
    completion_tokens = excluded.completion_tokens,
    seconds = excluded.seconds,
    dollars = excluded.dollars,
    estimated_calls = excluded.estimated_calls
    WHERE excluded.calls > copied_usage.calls
"""
COPY_FAILURE = """
INSERT INTO failures VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key, schema_name, slice, role) DO UPDATE SET runs = excluded.runs,
    reason = excluded.reason, said = excluded.said
    WHERE excluded.runs > failures.runs
"""
