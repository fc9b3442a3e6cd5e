"""Fine-tuning a converted checkpoint for reasoning, on dialogues, as the paper did before GSM8K.

For: `python -m recipes.sft CHECKPOINT --data FILE.jsonl --out DIR`; see docs/finetune.md.
Not for: pretraining, preference tuning or anything else that TRL has a trainer of its own for.
"""
