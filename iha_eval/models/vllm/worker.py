"""What is mixed into vLLM's worker, so that `collective_rpc` reaches it in whichever process it is.

For: vLLM's `worker_extension_cls`, which takes one class: facts that only a worker knows, a count
of logits that are not finite, and two repairs of vLLM's CPU build:

- Seeded sampling. A step that reads only a part of a prompt draws a token all the same and throws
  it away. vLLM then turns the request's random generator back, by a method that generators on a CPU
  lack: any request with a seed and a prompt longer than the step's rest stops the engine. Here the
  generator is taken out for such a step, so that nothing has to be turned back, and a seed gives
  the same answer however its prompt was cut up.
- Answers that do not depend on what else is in the batch, bit for bit. The CPU build's matrix
  products round differently for different numbers of rows, and its attention splits long contexts
  by how busy it is; a sampled answer then changes when an interrupted run goes on with fewer
  requests at once. Here every product is made of tiles of one size, and attention is kept from
  splitting (see `engine.set_environment`).

Not for: GPUs, where vLLM's own way of turning generators back works and its own
VLLM_BATCH_INVARIANT makes batches invariant.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from iha_eval.models.run_stats import non_finite_rows

# Rows a tile: enough to use the processor well, few enough not to waste work on a small batch.
TILE = 32

Linear = Callable[[Tensor, Tensor, Tensor | None], Tensor]


class WorkerExtension:
    """Mixed into the worker class of every process."""

    model_runner: Any
    device: Any

    def iha_report(self) -> dict[str, Any]:
        """Facts of one worker.

        Returns:
            `kv_bytes`, allocated memory of the KV cache in bytes (layers may share it);
            `attention`, names of the attention backends; `device`, of the device.
        """
        runner = self.model_runner
        storages = {}
        for tensor in _tensors(getattr(runner, "kv_caches", [])):
            storage = tensor.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        groups = [group for part in getattr(runner, "attn_groups", []) for group in part]
        device = torch.device(self.device)
        return {
            "kv_bytes": sum(storages.values()) or None,
            "attention": sorted({str(group.backend.get_name()) for group in groups}),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        }

    def iha_watch_logits(self) -> None:
        """Count the rows of logits that are not finite from now on; call it once."""
        model = self.model_runner.model
        compute = model.compute_logits
        self._iha_non_finite: Tensor | int = 0

        def compute_logits(*args: Any, **kwargs: Any) -> Any:
            logits = compute(*args, **kwargs)
            # Ranks that get none of the logits have None.
            if isinstance(logits, Tensor):
                # Stays on the device: reading it would wait for the step to end.
                self._iha_non_finite += non_finite_rows(logits).sum()
            return logits

        model.compute_logits = compute_logits

    def iha_non_finite(self) -> int:
        """Rows of logits that were not finite since the last call."""
        count, self._iha_non_finite = int(self._iha_non_finite), 0
        return count

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

    def iha_mend_reload(self) -> None:
        """Pack again what a reload in place leaves packed of the weights before, on a CPU.

        A head that is tied to the embedding has no weights of its own in a checkpoint, so that vLLM
        does not pack it anew: it would go on giving the logits of the former model.
        """
        for module in self.model_runner.model.modules():
            # Linear layers come with weights of their own, and packing leaves them none.
            if hasattr(module, "cpu_linear") and module.weight.numel():
                module.quant_method.process_weights_after_loading(module)

    def iha_make_batch_invariant(self) -> int:
        """Wrap the products of every linear layer, on a CPU, and mix one way.

        To be called again after a reload in place, which makes the products anew.

        Returns:
            Number of layers wrapped.
        """
        for module in self.model_runner.model.modules():
            if hasattr(module, "one_way"):
                module.one_way = True
        layers = [
            module
            for module in self.model_runner.model.modules()
            if hasattr(module, "cpu_linear") and not isinstance(module.cpu_linear, TiledLinear)
        ]
        for layer in layers:
            layer.cpu_linear = TiledLinear(layer.cpu_linear)
        return len(layers)


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


@dataclass(frozen=True)
class TiledLinear:
    """A linear function, a tile of rows at a time; the last one is filled up with zeros.

    Attributes:
        linear: takes rows [..., inputs], weight and bias, and gives rows [..., outputs].
    """

    linear: Linear

    def __call__(self, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Rows [..., outputs]."""
        flat = rows.reshape(-1, rows.shape[-1])
        count = len(flat)
        flat = pad(flat, (0, 0, 0, -count % TILE))
        tiles = [self.linear(tile, weight, bias) for tile in flat.split(TILE)]
        whole = tiles[0] if len(tiles) == 1 else torch.cat(tiles)
        return whole[:count].reshape(*rows.shape[:-1], -1)


def _tensors(caches: Any) -> list[Any]:
    """The tensors among what a model runner calls its KV caches: some layers keep several."""
    if isinstance(caches, list | tuple):
        return [tensor for cache in caches for tensor in _tensors(cache)]
    return [caches] if hasattr(caches, "untyped_storage") else []
