"""The training loop: steps, evaluations on the way, and states to go on from.

For: `train`, which starts a run or goes on with it, and ends with its last step. On the way it
counts right answers on texts that are held out: an answer counts if every token of it is the most
likely one, which is what greedy decoding would have given.
Not for: what is learned from (`curriculum.py`), the run's files (`run.py`), or the scores that are
reported, which are lm-eval's.
"""

from __future__ import annotations

import time
from functools import partial
from statistics import fmean
from typing import Any

import torch
from torch import nn
from tqdm import tqdm
from transformers import LlamaForCausalLM

from iha_eval.ruler import VARIANTS
from iha_eval.ruler.draw import Stream
from recipes import leave_checkpoint
from recipes.needle.curriculum import batch
from recipes.needle.documents import IGNORED, PURPOSE, Text, Writer
from recipes.needle.export import write_weights
from recipes.needle.models import build, set_window
from recipes.needle.run import TrainingRun
from recipes.needle.tokenizer import make_tokenizer

# In percent, the part of a text that answers may take: most of it is to be searched.
SHARE = 0.1


def exact_answers(trainer: Trainer) -> dict[str, float]:
    """Part of the answers that are right, for each (variant, length) of the preset."""
    preset, shares = trainer.preset, {}
    trainer.model.eval()
    for name, length in preset.held_out:
        right = asked = number = 0
        while asked < preset.questions:
            stream = Stream(PURPOSE, "held out", name, length, number)
            text = trainer.writer.write(VARIANTS[name], length, SHARE, stream)
            hits = _right(trainer, text)
            right, asked, number = right + sum(hits), asked + len(hits), number + 1
        shares[f"{name}@{length}"] = round(right / asked, 4)
    trainer.model.train()
    return shares


@torch.no_grad()
def _right(trainer: Trainer, text: Text) -> list[bool]:
    """For each answer of a text, whether all of it is most likely given what comes before."""
    ids = torch.tensor([text.ids], device=trainer.device)
    targets = torch.tensor([text.targets], device=trainer.device)
    logits, learned = answers(trainer.model, ids, targets)
    hits = (logits.argmax(-1) == learned).tolist()
    places = (targets[0, 1:] != IGNORED).nonzero().flatten().tolist()
    right: list[bool] = []
    for number, (place, hit) in enumerate(zip(places, hits, strict=True)):
        if number == 0 or place != places[number - 1] + 1:
            right.append(True)
        right[-1] &= hit
    return right


class Trainer:
    """A model, its optimizers, and how many steps they have made."""

    def __init__(self, run: TrainingRun, device: torch.device) -> None:
        """Build both, and go on from the run's state where it has one."""
        self.run, self.preset, self.device = run, run.preset, device
        self.tokenizer = make_tokenizer()
        self.writer = Writer(self.tokenizer)
        self.model = build(run.kind, run.preset, self.tokenizer, run.seed)
        self.model.to(device)  # type: ignore[arg-type]
        self.optimizers = _optimizers(self.model, run)
        self.step, self.seconds = 0, 0.0
        state = run.load(device)
        if state is not None:
            self.model.load_state_dict(state["model"])
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
            self.step, self.seconds = state["step"], state["seconds"]

    def state(self) -> dict[str, object]:
        """All that a run needs to go on as if it had never stopped."""
        return {
            "step": self.step,
            "seconds": self.seconds,
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }

    def make_step(self) -> dict[str, float]:
        """One batch; its figures."""
        started, stage = time.monotonic(), self.preset.stage(self.step)
        set_window(self.model, stage.length)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["rate"] * self.preset.rate(self.step)
        ids, targets = batch(
            self.writer,
            stage,
            self.preset.tokens,
            self.run.seed,
            self.step,
            self.tokenizer.pad_token_id,
        )
        logits, learned = answers(self.model, ids.to(self.device), targets.to(self.device))
        loss = nn.functional.cross_entropy(logits, learned)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        right = (logits.argmax(-1) == learned).float().mean()
        self.step += 1
        self.seconds += time.monotonic() - started
        return {"loss": loss.item(), "right": right.item(), "tokens": ids.numel()}


def answers(
    model: LlamaForCausalLM, ids: torch.Tensor, targets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [K, vocabulary] at the K places that have a target, and the targets [K].

    In bfloat16, as models are served, with sums and weights in float32.
    """
    places = targets[:, 1:] != IGNORED
    with torch.autocast(ids.device.type, torch.bfloat16):
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
        logits = model.lm_head(hidden[places])
    return logits.float(), targets[:, 1:][places]


def _optimizers(model: LlamaForCausalLM, run: TrainingRun) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for everything else."""
    matrices: list[nn.Parameter] = []
    words: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if name.endswith("_proj.weight"):
            matrices.append(parameter)
        else:
            (words if len(parameter) == model.config.vocab_size else others).append(parameter)
    preset = run.preset
    groups = [
        {"params": words, "rate": preset.word_rate},
        {"params": others, "rate": preset.other_rate},
    ]
    return [
        torch.optim.Muon(
            [{"params": matrices, "rate": preset.matrix_rate}], weight_decay=0.0, momentum=0.95
        ),
        torch.optim.AdamW(groups, weight_decay=0.0, betas=(0.9, 0.98)),
    ]


def train(run: TrainingRun, device: torch.device, until: int | None = None) -> Trainer:
    """Train to the end.

    Args:
        run: What, and where its files are.
        device: Where.
        until: Stop after so many steps, of the whole run; it can go on later.
    """
    trainer = Trainer(run, device)
    last = min(run.preset.steps, until or run.preset.steps)
    figures: list[dict[str, float]] = []
    with tqdm(total=run.preset.steps, initial=trainer.step, desc=run.kind, unit="step") as bar:
        while trainer.step < last:
            figures.append(trainer.make_step())
            bar.update()
            if run.save_every and trainer.step % run.save_every == 0:
                state = trainer.state()
                leave_checkpoint(run.folder, trainer.step, partial(write_weights, run, state))
            if trainer.step % run.every == 0 or trainer.step == last:
                entry = _entry(trainer, figures, trainer.step == last)
                bar.set_postfix({name: entry[name] for name in ("loss", "right", "length")})
                run.log(entry)
                run.save(trainer.state())
                figures.clear()
    return trainer


def _entry(trainer: Trainer, figures: list[dict[str, float]], is_last: bool) -> dict[str, Any]:
    """A line of the log: the means since the last one, now and then with an evaluation."""
    run, step = trainer.run, trainer.step
    entry: dict[str, Any] = {
        "step": step,
        "seconds": round(trainer.seconds, 1),
        "length": run.preset.stage(step - 1).length,
        "loss": round(fmean(figure["loss"] for figure in figures), 4),
        "right": round(fmean(figure["right"] for figure in figures), 4),
        "tokens": sum(int(figure["tokens"]) for figure in figures),
    }
    if is_last or step % (run.every * run.evaluate_every) == 0:
        entry["exact"] = exact_answers(trainer)
    return entry
