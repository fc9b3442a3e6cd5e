"""Seeded sampling on vLLM's CPU build, where a prompt read in several parts would end the engine.

For: a step that reads only a part of a prompt draws a token all the same and throws it away. vLLM
then turns the request's random generator back, by a method that generators on a CPU lack: any
request with a seed and a prompt longer than the step's rest stops the engine. Here the generator is
taken out for such a step, so that nothing has to be turned back, and a seed gives the same answer
however its prompt was cut up.
Not for: GPUs, where vLLM's own way works.
"""

from collections.abc import Callable
from typing import Any


class SeededSampling:
    """Mixed into vLLM's worker."""

    model_runner: Any
    device: Any

    def iha_mend_seeded_sampling(self) -> bool:
        """Wrap the runner's sampling, on a CPU; call it once.

        Returns:
            Whether it was wrapped.
        """
        if getattr(self.device, "type", None) != "cpu":
            return False
        runner = self.model_runner
        runner.sample_tokens = without_discarded(runner, runner.sample_tokens)
        return True


def without_discarded(runner: Any, sample: Callable[..., Any]) -> Callable[..., Any]:
    """`sample`, with the generators of requests whose token is thrown away put aside meanwhile.

    Args:
        runner: vLLM's model runner; `discard_request_mask` says whose tokens are thrown away.
        sample: its `sample_tokens`.
    """

    def sample_tokens(*args: Any, **kwargs: Any) -> Any:
        batch = runner.input_batch
        thrown_away = runner.discard_request_mask.np[: batch.num_reqs].nonzero()[0]
        aside = {
            int(place): batch.generators.pop(int(place))
            for place in thrown_away
            if int(place) in batch.generators
        }
        try:
            return sample(*args, **kwargs)
        finally:
            batch.generators.update(aside)

    return sample_tokens
