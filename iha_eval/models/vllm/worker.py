"""What is mixed into vLLM's worker, put together: vLLM takes one class.

For: `worker_extension_cls`. Not for: code; see the modules it names.
"""

from iha_eval.models.vllm.batch_invariance import BatchInvariance
from iha_eval.models.vllm.seeded_sampling import SeededSampling
from iha_eval.models.vllm.worker_report import WorkerReport


class WorkerExtension(WorkerReport, SeededSampling, BatchInvariance):
    """Mixed into the worker class of every process."""
