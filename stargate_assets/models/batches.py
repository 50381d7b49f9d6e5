"""Requests that go out in batches: written down, created, waited for, and read, by a run that may
be killed between any two of these.
"""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from stargate_assets.config.machine import Price
from stargate_assets.engines.engine import BatchEngine, BatchState
from stargate_assets.method.language_model import (
    ChatRequest,
    Completion,
    EngineError,
    OnProgress,
    most_tokens,
)
from stargate_assets.storage.batches import Batch
from stargate_assets.storage.writer import Writer

SENDINGS = 2
"""How often a request goes out in a batch whose answer makes no sense or does not come."""
FIRST_PAUSE, GROWTH, LAST_PAUSE = 5.0, 1.5, 60.0
"""Seconds between two looks at a batch, unless its server states them: they grow to the last."""
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Batches:
    """Those of one call of a model, `name`; `price` is None where nobody has stated it."""

    engine: BatchEngine
    store: Writer
    name: str
    price: Price | None
    on_progress: OnProgress
    _waiting: dict[str, Batch] = field(default_factory=dict[str, Batch])
    """By the provider's id."""

    def chat(self, requests: Mapping[str, ChatRequest]) -> Iterator[tuple[str, Completion]]:
        """Completions by key, as they are read. Requests that were taken over are waited for, and
        the others sent. Raises EngineError for what is wrong with the endpoint, after everything
        that has come was yielded; batches that have not ended stay, for the next run.
        """
        there = {key for batch in self._waiting.values() for key in batch.keys}
        unsent = {key: request for key, request in requests.items() if key not in there}
        while unsent or self._waiting:
            self._send(unsent)
            unsent = {}
            for key, completion in self._read_as_they_end(requests):
                if completion is None:
                    unsent[key] = requests[key]
                else:
                    yield key, completion

    def take_over(self, keys: Sequence[str]) -> list[str]:
        """Which of these requests are under way already, sent by a run that was killed or by one
        that is still waiting. Whether a batch was created whose run was killed just then, the
        provider knows.
        """
        for batch in self.store.batches_of(keys):
            batch_id = batch.id or self.engine.find(batch.file)
            if batch_id is None:
                self.store.drop_from_batch(batch.keys)
                continue
            self._waiting[batch_id] = self.store.note_batch(batch, batch_id)
            _log.info("%s: %d requests are in batch %s", self.name, len(batch.keys), batch_id)
        return [key for batch in self._waiting.values() for key in batch.keys]

    def _send(self, requests: Mapping[str, ChatRequest]) -> None:
        if not requests:
            return
        for file in self.engine.files(requests):
            file_id = self.engine.upload(file)
            most = {key: self._most(requests[key]) for key in file.keys}
            batch = self.store.begin_batch(file_id, most)
            batch_id = self.engine.create(file_id)
            self._waiting[batch_id] = self.store.note_batch(batch, batch_id)
            _log.info("%s: %d requests go out in batch %s", self.name, len(file.keys), batch_id)

    def _most(self, request: ChatRequest) -> float:
        return self.price.dollars(*most_tokens(request)) if self.price else 0.0

    def _read_as_they_end(
        self, requests: Mapping[str, ChatRequest]
    ) -> Iterator[tuple[str, Completion | None]]:
        """What came of requests, by key, until no batch is waited for; None: it must be sent again
        as it is written now.
        """
        doing = f"waiting for batches of {self.name}"
        total, read = sum(len(batch.keys) for batch in self._waiting.values()), 0
        pause, errors, before = FIRST_PAUSE, list[EngineError](), 0
        while self._waiting:
            states = self.engine.look(list(self._waiting))
            done = sum(state.done for state in states if not state.has_ended)
            self.on_progress(doing, min(read + done, total - 1), total)
            if done != before:
                _log.info("%s: %d requests in batches are done, of %d", self.name, done, total)
                before = done
            ended = [state for state in states if state.has_ended]
            for state in ended:
                for key, result in self._read(state, requests):
                    read += 1
                    if isinstance(result, EngineError):
                        errors.append(result)
                    else:
                        yield key, result
                del self._waiting[state.id]
            if self._waiting and not ended:
                time.sleep(_stated_pause(states, pause))
                pause = min(LAST_PAUSE, pause * GROWTH)
        self.on_progress(doing, total, total)
        if errors:
            raise errors[0]

    def _read(
        self, state: BatchState, requests: Mapping[str, ChatRequest]
    ) -> Iterator[tuple[str, Completion | EngineError | None]]:
        """What came of the requests of one batch; what is the endpoint's fault is under way no
        more.
        """
        asked = {key: requests[key] for key in self._waiting[state.id].keys}
        for key, result in self.engine.results(state, asked):
            if isinstance(result, EngineError):
                self.store.drop_from_batch([key])
            yield key, result


def _stated_pause(states: Sequence[BatchState], pause: float) -> float:
    """The shortest that the server states, or this one."""
    stated = [state.seconds for state in states if state.seconds is not None]
    return min(stated, default=pause)
