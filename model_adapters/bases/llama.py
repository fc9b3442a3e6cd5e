"""Llama 2 and 3, SmolLM2, TinyLlama and whoever else calls itself Llama."""

from transformers import LlamaForCausalLM

from model_adapters.bases.plain import PlainBase

BASE = PlainBase("llama", LlamaForCausalLM)
