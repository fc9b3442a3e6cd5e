"""What only a vLLM worker knows: the KV cache it allocated, the attention it runs, its device.

For: vLLM's `worker_extension_cls`, which mixes this into the worker class of every process, so that
`collective_rpc` reaches it whether the engine runs in this process or in others.
Not for: anything that changes what a worker does.
"""

from typing import Any


class WorkerReport:
    """Mixed into vLLM's worker; reads what the worker has."""

    model_runner: Any
    device: Any

    def iha_report(self) -> dict[str, Any]:
        """Facts of one worker.

        Returns:
            `kv_bytes`, allocated memory of the KV cache in bytes (layers may share it);
            `attention`, names of the attention backends; `device`, of the device.
        """
        import torch

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


def _tensors(caches: Any) -> list[Any]:
    """The tensors among what a model runner calls its KV caches: some layers keep several."""
    if isinstance(caches, list | tuple):
        return [tensor for cache in caches for tensor in _tensors(cache)]
    return [caches] if hasattr(caches, "untyped_storage") else []
