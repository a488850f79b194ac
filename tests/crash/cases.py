"""The crashes of the matrix, and what their executions ask for."""

import re
from dataclasses import dataclass
from typing import Any

from tests.crash.faults.sitecustomize import ACTIONS, STEPS

PROMPTS = 3
CALLS_OF_A_PROMPT = 4
# The model's behaviour that leads to the step.
BEHAVIOUR = {
    "leave": "throttle",
    "release": "unavailable",
    "fail": "content_blocked",
    "stop": "invalid_key",
    "miss": "not_found",
    "fall_back": "not_found",
}
# Steps that follow one refusal or failure of each prompt.
REPEATED = ("leave", "release")


@dataclass(frozen=True)
class Case:
    """`shape` is what the caller asks for.

    plain   three prompts
    rich    two prompts with settings of their own, one with two images, and a canary that passes
    paused  a canary that the caller resumes
    edited  prompts that are blocked, and a retry with other ones
    cloned  a clone of three painted prompts
    reused  three prompts whose images an earlier execution has
    gone    three prompts, one after the other, of a model that is gone, with a fallback model
    """

    point: str
    moment: str
    kind: str
    times: int = 1
    shape: str = "plain"

    @property
    def prefix(self) -> str:
        return f"crash {self.point} {self.moment} {self.kind} {self.times} {self.shape}"

    @property
    def folder(self) -> str:
        """Of its crashes that are still to happen."""
        return self.prefix.removeprefix("crash ").replace(" ", "_")

    @property
    def prompts(self) -> list[str]:
        """The prompts that are painted, one for each image."""
        numbers = (0, 0, 1) if self.shape == "rich" else range(PROMPTS)
        return [f"{self.prefix} #{number}" for number in numbers]

    @property
    def by_jobs(self) -> bool:
        """True if a job of the provider paints the prompts."""
        return self.point.startswith("economy.") or self.step in ("claim_line", "collect")

    @property
    def step(self) -> str:
        return self.point.partition(".")[2]

    @property
    def calls(self) -> int:
        """How many calls of the model its prompts need without a crash."""
        if self.shape == "gone":
            return PROMPTS + 2
        # A clone paints them again.
        return 2 * PROMPTS if self.step in REPEATED or self.shape == "cloned" else PROMPTS

    @property
    def rule(self) -> dict[str, Any] | None:
        """What the stand-in model does."""
        if self.shape == "edited":
            return {"match": f"^{re.escape(self.prefix)} .* bad$", "behave": "prompt_blocked"}
        if self.step not in BEHAVIOUR:
            return None
        # These need one failure per prompt. The other steps need every call to fail.
        times = PROMPTS if self.step in REPEATED else None
        if self.shape == "gone":
            # The second 404 that is recorded lets the execution fall back.
            times = 3 if self.moment == "before" else 2
        match = f"^{re.escape(self.prefix)} "
        return {"match": match, "behave": BEHAVIOUR[self.step], "times": times}

    @property
    def members(self) -> dict[str, Any]:
        """Of the submission."""
        match self.shape:
            case "rich":
                own = {"images": 2, "seed": 7, "aspect_ratio": "16:9", "custom_id": "a"}
                first, _, second = self.prompts
                prompts = [{"prompt": first, **own}, second]
                return {"prompts": prompts, "canary": {"images": 1, "continue_at": 1}}
            case "paused":
                return {"prompts": self.prompts, "canary": {"images": 1}}
            case "edited":
                return {"prompts": [f"{prompt} bad" for prompt in self.prompts]}
            case _:
                tier = "economy" if self.by_jobs else "standard"
                return {"prompts": self.prompts, "tier": tier}


EVERY_CALL = Case("generate.paint", "after", "kill", 60)
EVERY_CLAIM = Case("generate.claim", "after", "kill", 60)
# The prompts of these get no image.
HOPELESS = (EVERY_CALL, EVERY_CLAIM)


def _crashes(point: str, shape: str = "plain") -> list[Case]:
    moments, kinds = ("before", "after"), ("kill", "raise")
    return [Case(point, moment, kind, 1, shape) for moment in moments for kind in kinds]


# Steps that need a shape.
_SHAPES = {
    "generate.reuse": "reused",
    "generate.miss": "gone",
    "generate.fall_back": "gone",
    "finalize.canary": "rich",
    "finalize.go_on": "rich",
}
_SHAPE_OF_ACTION = {"retry": "edited", "resume": "paused", "clone": "cloned"}

CASES = [
    # What takes the longest begins first: a crash after every call, at every claim, and three
    # crashes for each prompt, whose fourth call gets its image.
    *HOPELESS,
    Case("generate.paint", "after", "kill", 9),
    *(
        case
        for action, steps in ACTIONS.items()
        for step in steps
        for case in _crashes(f"{action}.{step}", _SHAPE_OF_ACTION[action])
    ),
    # After the retry, the pause, the copy.
    Case("generate.put", "after", "kill", 1, "edited"),
    Case("generate.complete", "before", "kill", 1, "edited"),
    Case("finalize.canary", "after", "kill", 1, "paused"),
    Case("finalize.canary", "before", "raise", 1, "paused"),
    Case("generate.complete", "before", "kill", 1, "reused"),
    *_crashes("fanout.fan_out", "reused"),
    *_crashes("fanout.fan_out", "rich"),
    Case("generate.complete", "before", "kill", 1, "rich"),
    *(
        case
        for function, steps in STEPS.items()
        for step in steps
        for case in _crashes(f"{function}.{step}", _SHAPES.get(f"{function}.{step}", "plain"))
    ),
    Case("fanout.mark", "after", "kill", 3),
    Case("finalize.finalize", "before", "kill", 5),
]
