"""The embedded pair can do what it was trained for: find a key's value among others."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from iha_eval.ruler import VARIANTS, load_documents, plain_prompt
from iha_eval.ruler.documents import RulerCell
from model_adapters.default_checkpoint import DESCRIPTIONS, folder

NEW_TOKENS = 16


@torch.no_grad()
@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_most_values_are_found_in_short_documents(name, tmp_path, monkeypatch):
    """Ten unseen documents of 512 tokens that are needles all through; chance is 1 in 15."""
    monkeypatch.setenv("IHA_EVAL_CACHE", str(tmp_path))
    tokenizer = AutoTokenizer.from_pretrained(folder(name))
    model = AutoModelForCausalLM.from_pretrained(folder(name), dtype=torch.float32)
    cell = RulerCell(VARIANTS["multikey_2"], 512, count=10)
    documents = load_documents(cell, tokenizer, plain_prompt, NEW_TOKENS)
    right = 0
    for document in documents:
        ids = torch.tensor([tokenizer(plain_prompt(document))["input_ids"]])
        made = model.generate(ids, max_new_tokens=NEW_TOKENS, do_sample=False)
        right += document["outputs"][0] in tokenizer.decode(made[0, ids.shape[1] :])
    assert right >= 7
