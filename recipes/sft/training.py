"""The fine-tuning run: TRL's trainer, with learning rates of their own for alphas and collapse.

For: a checkpoint in, a checkpoint out, resumable. Every weight is trained, or with LoRA the
adapters; alphas and collapse always are, because an exact conversion starts them at the identity,
where they do nothing that plain attention does not.
Not for: reading data (dialogues.py) or the command line (`__main__.py`).

Source: section 5 of the paper fine-tunes on OpenThoughts; its learning rate is not given, so the
defaults here are choices.
"""

import copy
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainerCallback,
)
from transformers.trainer_utils import get_last_checkpoint
from trl import SFTConfig, SFTTrainer

import model_adapters  # noqa: F401
from iha_eval.errors import UserError
from model_adapters import checkpoint
from model_adapters.layout import is_iha_tensor
from recipes import leave_checkpoint
from recipes.sft.dialogues import Dialogue

logger = logging.getLogger(__name__)

# What PEFT's adapters leave out, beside each of the trainer's checkpoints.
_BESIDE = "iha_tensors.safetensors"


@dataclass(frozen=True)
class FineTuneSettings:
    """What a run does.

    Attributes:
        model: Folder of the checkpoint to start from.
        out: Folder for the result; its trainer's checkpoints stand in `out/training` meanwhile.
        steps: Optimizer steps.
        batch: Dialogues a step and device.
        accumulate: Batches a step.
        learning_rate: For Llama's weights, or for LoRA's adapters.
        iha_learning_rate: For alphas and collapse.
        max_length: Tokens of a dialogue; longer ones are left out.
        lora: Rank of the adapters; 0 trains every weight.
        seed: Of the order of the data and of LoRA's start.
        save_steps: Steps between checkpoints to go on from.
        save_every: Steps between checkpoints for use, which stay in `out/step-N`; 0 for none.
    """

    model: Path
    out: Path
    steps: int = 1000
    batch: int = 4
    accumulate: int = 4
    learning_rate: float = 1e-5
    iha_learning_rate: float = 1e-3
    max_length: int = 2048
    lora: int = 0
    seed: int = 0
    save_steps: int = 100
    save_every: int = 0


def train(settings: FineTuneSettings, dialogues: Sequence[Dialogue]) -> list[float]:
    """Fine-tune, and write the result as a checkpoint like the one it came from.

    Args:
        settings: What to do.
        dialogues: What to learn; only their completions count in the loss.

    Returns:
        The loss of every step, those of an interrupted run's steps included.

    Raises:
        UserError: The tokenizer has no chat template, or no dialogue is short enough.
        CheckpointError: The folder to start from is no checkpoint.
    """
    if settings.lora and settings.save_every:
        raise UserError(
            "--save-every leaves whole checkpoints, and --lora trains adapters, which are merged "
            "at the end alone: leave one of them out."
        )
    about = checkpoint.read(settings.model)
    tokenizer = AutoTokenizer.from_pretrained(settings.model)
    if tokenizer.chat_template is None:
        raise UserError(
            f"the tokenizer of {settings.model} has no chat template: put a chat_template.jinja "
            "there, the one that the model is to be asked with."
        )
    data = _short_enough(dialogues, tokenizer, settings.max_length)
    # Small steps are lost in bf16; it is only computed in where the device is made for it.
    model = AutoModelForCausalLM.from_pretrained(settings.model, dtype=torch.float32)
    dtype = getattr(torch, about.weights_dtype)
    trainer = _trainer(settings, model, tokenizer, data)
    if settings.save_every:
        trainer.add_callback(_LeaveCheckpoints(settings, tokenizer, dtype))
    last = get_last_checkpoint(str(_scratch(settings))) if _scratch(settings).is_dir() else None
    if last is not None and settings.lora:
        _restore(trainer.model, Path(last))
    trainer.train(resume_from_checkpoint=last)
    _write(trainer, settings, dtype)
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def _short_enough(
    dialogues: Sequence[Dialogue], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> Dataset:
    """Cut off, a dialogue would teach the model never to come to an end."""
    if not dialogues:
        raise UserError("the data hold no dialogue: name a file with at least one with --data.")
    kept = [dialogue for dialogue in dialogues if _length(dialogue, tokenizer) <= max_length]
    if not kept:
        raise UserError(
            f"none of the {len(dialogues)} dialogues fits into {max_length} tokens: raise "
            "--max-length, or give shorter ones."
        )
    if len(kept) < len(dialogues):
        logger.warning(
            "%d of %d dialogues are longer than %d tokens and left out; --max-length changes that.",
            len(dialogues) - len(kept),
            len(dialogues),
            max_length,
        )
    return Dataset.from_list(kept)


def _length(dialogue: Dialogue, tokenizer: PreTrainedTokenizerBase) -> int:
    text = tokenizer.apply_chat_template(
        dialogue["prompt"] + dialogue["completion"], tokenize=False
    )
    return len(tokenizer(text, add_special_tokens=False).input_ids)


def _trainer(
    settings: FineTuneSettings,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    data: Dataset,
) -> SFTTrainer:
    on_gpu = torch.cuda.is_available()
    arguments = SFTConfig(
        output_dir=str(_scratch(settings)),
        max_steps=settings.steps,
        per_device_train_batch_size=settings.batch,
        gradient_accumulation_steps=settings.accumulate,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=min(100, settings.steps // 10),
        bf16=on_gpu,
        gradient_checkpointing=on_gpu,
        dataloader_pin_memory=on_gpu,
        max_length=None,
        logging_steps=1,
        save_steps=settings.save_steps,
        save_total_limit=2,
        seed=settings.seed,
    )
    adapters = None
    if settings.lora:
        adapters = LoraConfig(
            r=settings.lora, lora_alpha=2 * settings.lora, target_modules="all-linear"
        )
    trainer = SFTTrainer(
        model=model,
        args=arguments,
        train_dataset=data,
        processing_class=tokenizer,
        peft_config=adapters,
        callbacks=[_KeepIHATensors()] if adapters else [],
    )
    # PEFT has frozen them with the rest.
    for parameter in _iha_tensors(trainer.model).values():
        parameter.requires_grad_(True)
    trainer.optimizer = _optimizer(trainer.model, settings)
    return trainer


def _optimizer(model: nn.Module, settings: FineTuneSettings) -> torch.optim.Optimizer:
    mixing = list(_iha_tensors(model).values())
    of_mixing = {id(parameter) for parameter in mixing}
    rest = [p for p in model.parameters() if p.requires_grad and id(p) not in of_mixing]
    groups: list[dict[str, Any]] = [{"params": rest, "lr": settings.learning_rate}]
    if mixing:
        groups.append({"params": mixing, "lr": settings.iha_learning_rate})
    return torch.optim.AdamW(groups, betas=(0.9, 0.95), weight_decay=0.0)


def _iha_tensors(model: nn.Module) -> dict[str, nn.Parameter]:
    """Alphas and collapses by the names that they have inside this model."""
    return {name: tensor for name, tensor in model.named_parameters() if is_iha_tensor(name)}


class _KeepIHATensors(TrainerCallback):
    """With adapters the trainer saves those alone; alphas and collapses go beside them."""

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Called by the trainer, by position, when its checkpoint is written."""
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        tensors = {name: tensor.detach() for name, tensor in _iha_tensors(kwargs["model"]).items()}
        save_file(tensors, folder / _BESIDE)


class _LeaveCheckpoints(TrainerCallback):
    """Checkpoints along training as the result will be, for `iha-eval watch`."""

    def __init__(
        self, settings: FineTuneSettings, tokenizer: PreTrainedTokenizerBase, dtype: torch.dtype
    ) -> None:
        self._settings, self._tokenizer, self._dtype = settings, tokenizer, dtype

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Called by the trainer, by position, after each optimizer step."""
        if state.global_step % self._settings.save_every or not state.is_world_process_zero:
            return
        # A copy: training goes on with the weights as they are.
        model = copy.deepcopy(kwargs["model"]).to(self._dtype)
        model.config.use_cache = True

        def write(folder: Path) -> None:
            model.save_pretrained(folder)
            self._tokenizer.save_pretrained(folder)

        leave_checkpoint(self._settings.out, state.global_step, write)


def _restore(model: nn.Module, folder: Path) -> None:
    if not (folder / _BESIDE).is_file():
        raise UserError(
            f"{folder} has no {_BESIDE}, as the run was stopped there: remove that folder, and "
            "the same command goes on from the one before."
        )
    saved = load_file(folder / _BESIDE)
    with torch.no_grad():
        for name, parameter in _iha_tensors(model).items():
            parameter.copy_(saved[name])


def _write(trainer: SFTTrainer, settings: FineTuneSettings, dtype: torch.dtype) -> None:
    model = trainer.model
    if settings.lora:
        model = model.merge_and_unload()
    # Training with gradient checkpointing has turned it off.
    model.config.use_cache = True
    model.to(dtype).save_pretrained(settings.out)
    trainer.processing_class.save_pretrained(settings.out)
    checkpoint.read(settings.out)
    shutil.rmtree(_scratch(settings))


def _scratch(settings: FineTuneSettings) -> Path:
    return settings.out / "training"
