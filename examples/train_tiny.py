"""Make a small IHA model of the embedded baseline, train it for some steps, and save it.

    python examples/train_tiny.py OUT [--text FILE] [--steps 20]

It shows the whole way on a CPU in seconds; what it learns from so few steps is nothing. The result
can be evaluated: lm_eval --model iha-hf --model_args pretrained=OUT ...
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import model_adapters  # noqa: F401 - registers IHA with Transformers
from model_adapters import default_checkpoint
from model_adapters.convert import Recipe, upcycle

TEXT = "One of the special magic numbers for quiet harbor is: 4831275.\n" * 20


def main() -> None:
    """Convert, train, save."""
    parser = argparse.ArgumentParser(description="train a small IHA model")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to make")
    parser.add_argument("--text", type=Path, help="what to learn; a few lines if not given")
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    text = TEXT if options.text is None else options.text.read_text(encoding="utf-8")
    torch.manual_seed(0)

    with TemporaryDirectory() as folder:
        start = Path(folder) / "start"
        base = default_checkpoint.folder(default_checkpoint.BASELINE)
        upcycle(base, start, Recipe(pseudo_heads=2, schedule="4:1", window=64, init="noisy"))
        tokenizer = AutoTokenizer.from_pretrained(start)
        model = AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32)

    # Alpha and collapse begin near the identity, which ordinary rates hardly leave.
    mixing = ("alpha_q", "alpha_k", "alpha_v", "collapse")
    groups = [
        {"params": [p for n, p in model.named_parameters() if n.endswith(mixing)], "lr": 1e-3},
        {"params": [p for n, p in model.named_parameters() if not n.endswith(mixing)], "lr": 1e-4},
    ]
    optimizer = torch.optim.AdamW(groups)
    ids = tokenizer(text, return_tensors="pt").input_ids[:, :512]
    for step in range(options.steps):
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if step in (0, options.steps - 1):
            print(f"step {step + 1}: loss {loss.item():.3f}")

    model.save_pretrained(options.out)
    tokenizer.save_pretrained(options.out)


if __name__ == "__main__":
    main()
