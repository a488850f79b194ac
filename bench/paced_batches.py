"""Paced batches on our stack. A minute of its lanes is 30 s long, and every run has a lane of its
own, so it knows nothing of the limit."""

import random
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence

from bench import model_control
from bench.limited_peers import MODEL_SECONDS, texts_of
from bench.measure import CannotRun
from bench.model_control import Call, Limit
from bench.pace_figures import Run
from bench.stack import Stack

MINUTE_SECONDS = 30
CONCURRENCY = 20
# A 429 of the stand-in that names neither a limit nor a time.
REFUSAL = "throttle"


class PacedBatches:
    """Runs batches on a stack whose lanes have a short minute."""

    def __init__(self, scene: Stack) -> None:
        self._scene = scene
        self._model_url: str = scene.access["model_url"]

    def paint(
        self,
        batches: Mapping[str, int],
        limit: Limit | None = None,
        *,
        refused_once: Iterable[str] = (),
        outages: Sequence[Mapping[str, float]] = (),
    ) -> Run:
        """Submits batches one directly after another and waits for their ends. `refused_once` are
        prompts whose first call is refused without a limit behind it."""
        self._warm()
        self._control(limit, refused_once=refused_once, outages=outages)
        prompts = texts_of(batches)
        api_key = _new_key()
        began = time.time()
        executions = [self._scene.submit(texts, api_key) for texts in prompts.values()]
        submitted = time.time()
        reported = sum(self._scene.wait(one).get("successful", 0) for one in executions)
        run = Run(prompts, began, submitted, self._calls(began))
        if reported != run.prompts - run.lost:
            raise CannotRun(
                f"the api reports {reported} images, the model painted {run.prompts - run.lost}"
            )
        return run

    def follow(self, ahead: int, few: int, limit: Limit) -> float:
        """Seconds from the submission of a small batch until the api reports its end, behind a
        large batch on a lane that is already paced. Raises CannotRun if an image is missing."""
        self._warm()
        self._control(limit)
        prompts = texts_of({"large": ahead, "small": few})
        api_key = _new_key()
        began = time.time()
        large = self._scene.submit(prompts["large"], api_key)
        while not any(call.behave == "limited" for call in self._calls(began)):
            time.sleep(1)
        # The opening burst is over, and the lane admits calls at its pace.
        time.sleep(limit.seconds)
        submitted = time.perf_counter()
        output = self._scene.wait(self._scene.submit(prompts["small"], api_key))
        seconds = time.perf_counter() - submitted
        self._scene.cancel(large)
        if output.get("successful") != few:
            raise CannotRun(f"the small batch ended with {output}")
        return seconds

    def _warm(self) -> None:
        model_control.reset(self._model_url)
        self._scene.warm(CONCURRENCY)

    def _control(
        self,
        limit: Limit | None,
        *,
        refused_once: Iterable[str] = (),
        outages: Sequence[Mapping[str, float]] = (),
    ) -> None:
        noise = [
            {"match": f"^{text}$", "behave": REFUSAL, "times": 1} for text in sorted(refused_once)
        ]
        usual = {"match": "", "behave": "ok", "delay_ms": MODEL_SECONDS * 1000}
        model_control.control(
            self._model_url,
            rules=[*noise, usual],
            limits=[limit.as_member()] if limit else [],
            outages=list(outages),
        )

    def _calls(self, began: float) -> list[Call]:
        return model_control.calls_since(self._model_url, began)


def some_of(prompts: Sequence[str], number: int) -> list[str]:
    """So many of the prompts at random, the same ones in each run of the benchmark."""
    return random.Random(1).sample(prompts, number)


def _new_key() -> str:
    """An API key, and with it a lane, that no run has used."""
    return f"key-of-{uuid.uuid4()}"
