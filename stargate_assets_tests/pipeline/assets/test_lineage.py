from stargate_assets.pipeline.assets.lineage import LINEAGE, nearest_tables, tables_above


def test_a_table_is_made_after_all_that_it_reads() -> None:
    order = list(LINEAGE)
    for table, lineage in LINEAGE.items():
        assert all(order.index(read) < order.index(table) for read in lineage.cell)


def test_whatever_a_table_reads_is_above_it_by_the_edges_that_are_drawn() -> None:
    def reached(table: str) -> tuple[set[str], set[str]]:
        data, cell = map(set, nearest_tables(table))
        for parent in tuple(cell):
            data_above, cell_above = reached(parent)
            data, cell = data | data_above, cell | cell_above
        return data, cell

    for table, lineage in LINEAGE.items():
        data, cell = reached(table)
        assert set(lineage.data) <= data
        assert cell == tables_above(table)


def test_no_edge_is_drawn_that_follows_from_others() -> None:
    assert nearest_tables("checkpoints") == ([], ["regularization_responses"])
    assert nearest_tables("gold_log_probs") == (["gold_responses"], ["conversations"])
