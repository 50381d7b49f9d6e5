"""`stargate run --retry-failed`: what had no answer is asked again, and what is made from it is
made again.
"""

from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from stargate_assets.cli.driver import DriverError, run_data_set
from stargate_assets.cli.failures_table import usage_failures
from stargate_assets.cli.retry import forget_failed_slices, retry_failed
from stargate_assets.definitions.project import Project, assemble
from stargate_assets.method.language_model import Completion, Failure, FailureReason
from stargate_assets.storage.completions import Use
from stargate_assets_tests.conftest import mini_data_set, scripted_experiment
from stargate_assets_tests.servers.faulty_chat_endpoint import answer, reply, served

ORACLE = {"model": {"engine": "openai", "endpoint": "SHOP", "model": "judge-1"}}
UNFIT = Failure(FailureReason.CONTENT_FILTER, "Unfit.")


@pytest.mark.slow
def test_what_had_no_answer_is_asked_again_and_nothing_else(
    mini: Path, http: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    http.clear()
    server = served(http)
    http.expect_request("/tokenize", "POST").respond_with_data("", 404)  # it is no vLLM server
    monkeypatch.setenv("SHOP_BASE_URL", server.url)

    def refuse_some(request: Request) -> Response:
        if "Test1" in request.get_data(as_text=True):
            return reply({"error": {"message": "Unfit.", "code": "content_filter"}}, 400)
        return answer("Eat figs.")

    def project() -> Project:
        data_set = mini_data_set(mini, gold_responses=None, oracle=ORACLE)
        return assemble({"mini": data_set}, {}, Path("warehouse"))

    def exclusions() -> dict[tuple[str, str | None], int]:
        query = "SELECT split, exclusion, count(*) FROM mini.gold_responses GROUP BY ALL"
        rows = project().warehouse.query(query).rows()
        return {(split, exclusion): count for split, exclusion, count in rows}

    server.always = refuse_some
    first = project()
    run_data_set(first, "mini", print)
    asked, refused = len(server.asked), exclusions()["test", "refused"]
    assert refused > 0
    shown = [
        ("mini test", "oracle", "judge-1 at SHOP", "content_filter", "Unfit. [content_filter]")
    ]
    assert usage_failures(first.models.usage) == shown * refused

    run_data_set(project(), "mini", print)
    assert len(server.asked) == asked, "a finished split is finished"

    server.always = lambda request: answer("Eat figs.")
    again = project()
    retry_failed(again, "mini", print)
    assert len(server.asked) == asked + refused
    assert {exclusion for _, exclusion in exclusions()} == {None}
    assert not usage_failures(again.models.usage)
    with pytest.raises(DriverError, match="Every request of mini has an answer"):
        retry_failed(project(), "mini", print)


@pytest.mark.parametrize(
    ("where", "due"),
    [
        (("loop", "1|test"), {"loop": {"1|test", "all"}}),
        (("loop", "0|test"), {"loop": {"0|test", "1|test", "all"}}),
        (("loop", "0|train_a"), {"loop": {"0|train_a", "all"}}),
        (("mini", "test"), {"mini": {"test"}, "loop": {"0|test", "1|test", "all"}}),
        (("mini", "train_a"), {"mini": {"train_a"}, "loop": {"0|train_a", "all"}}),
        (("another", "1|test"), {}),
    ],
)
def test_what_is_made_from_an_answer_is_due_with_it(
    mini: Path, where: tuple[str, str], due: dict[str, set[str]]
) -> None:
    experiment = scripted_experiment(Path("any"))
    project = assemble({"mini": mini_data_set(mini)}, {"loop": experiment}, Path("warehouse"))
    there = {
        ("mini", "tasks", "test"),
        ("mini", "tasks", "train_a"),
        ("loop", "conversations", "0|test"),
        ("loop", "conversations", "1|test"),
        ("loop", "conversations", "0|train_a"),
        ("loop", "report", "all"),
    }
    project.warehouse.forget("loop", [])
    project.warehouse.path.parent.mkdir(exist_ok=True)
    with project.warehouse.connect(read_only=False) as connection:
        connection.execute("CREATE SCHEMA warehouse")
        connection.execute(
            "CREATE TABLE warehouse.materializations (schema_name VARCHAR, table_name VARCHAR, "
            "slice VARCHAR, version VARCHAR, rows BIGINT, written_at TIMESTAMP)"
        )
        for schema, table, key in there:
            values = [schema, table, key]
            insert = "INSERT INTO warehouse.materializations VALUES (?, ?, ?, 'v', 1, now())"
            connection.execute(insert, values)
    use = Use(*where, "anyone")
    with project.models.store().writer("model", use, "the model") as writer:
        writer.write("key", Completion("", "refused", 0, 0, failure=UNFIT), 0.5, None, UNFIT)

    assert forget_failed_slices(project, "loop") == due
    left = {
        (schema, table, key)
        for schema in ("mini", "loop")
        for table, key in project.warehouse.materializations(schema)
    }
    assert left == {one for one in there if one[2] not in due.get(one[0], set())}
    kept = project.models.failure_rows([where[0]])
    assert bool(kept) == (where[0] == "another")
