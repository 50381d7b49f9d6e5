from stargate_assets.method.simulation import Cell
from stargate_assets.pipeline.assets.rows import conversation_rows, conversations_from_rows
from stargate_assets_tests.method.people import pair, talk

ASK, TELL = "What do you like to eat?", "I like figs."


def test_conversations_come_back_as_they_were() -> None:
    said = talk((ASK, TELL), of=pair())
    conversations = [
        said,
        talk(sample=1).with_question("What do you", truncated=True).with_answer(TELL),
        talk((ASK, TELL), sample=2).with_question(ASK, truncated=False).with_answer(None),
        talk(sample=3).with_question("", truncated=False).with_answer(None),
    ]
    frame = conversation_rows(Cell(0, "test"), "base", conversations)
    assert conversations_from_rows(frame, [pair()]) == conversations
    assert frame["ineligibility"].to_list() == [None, "truncated", "refused", "refused"]
