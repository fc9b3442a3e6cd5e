"""The tokenizer of the demo pair: a word a token, digits and the characters of a UUID apart.

For: keys of two tokens (an adjective, a dash with a noun), so that a small model's work is matching
keys and not spelling them.
Not for: prose at large; a word it does not hold costs a token a byte.
"""

from collections import Counter
from functools import cache

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from iha_eval.ruler import VARIANTS, load_haystack
from iha_eval.ruler.draw import key_words

BEGIN, END, PAD = SPECIAL = ("<|begin|>", "<|end|>", "<|pad|>")
# Words of the offline haystack besides those of keys; they cover 92% of it.
HAYSTACK_WORDS = 1500
# A UUID is cut out whole and is no entry, so it falls into its characters.
_UUID = " ?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_PIECES = rf"{_UUID}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+|\s"
# The one template of the project: the role, a colon, what is said.
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ message['role'] + ': ' + message['content'] + '\n\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)


@cache
def make_tokenizer() -> PreTrainedTokenizerFast:
    """Build it; the same entries in the same order every time."""
    entries = dict.fromkeys([*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet()), *_words()])
    vocabulary = {entry: index for index, entry in enumerate(entries)}
    # Without merges a piece is an entry as a whole or else its bytes.
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    backend.pre_tokenizer = _pre_tokenizer()
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(list(SPECIAL))
    backend.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A", special_tokens=[(BEGIN, 0)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=PAD,
        clean_up_tokenization_spaces=False,
        model_max_length=32768,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def _pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


@cache
def key_entries() -> tuple[int, ...]:
    """Ids of the words of keys that no sentence of the prompts has."""
    tokenizer = make_tokenizer()
    keys, sentences = (
        {i for ids in tokenizer(texts, add_special_tokens=False)["input_ids"] for i in ids}
        for texts in (_keys(), _sentences())
    )
    return tuple(sorted(keys - sentences))


def _keys() -> list[str]:
    """All adjectives and nouns as they stand in a key."""
    words = key_words()
    return [f" {adjective}" for adjective in words.adjectives] + [
        f"-{noun}" for noun in words.nouns
    ]


def _sentences() -> list[str]:
    """What prompts and answers consist of besides keys and haystack."""
    return ["system: \n\nuser: \n\nassistant: "] + [
        f"{variant.question(variant.needle('', ' 0123456789.'), '')} {variant.answer_prefix('')}."
        for variant in VARIANTS.values()
    ]


def _words() -> list[str]:
    """Pieces of the prompts' sentences, of all keys, and the most frequent ones of the haystack."""
    cut = _pre_tokenizer().pre_tokenize_str
    pieces = [piece for text in _sentences() + _keys() for piece, _ in cut(text)]
    # No piece reaches across a space, so each word is cut once, however often it occurs.
    occurrences: Counter[str] = Counter()
    for line in load_haystack("kjv").text.split("\n"):
        first, *rest = line.split(" ")
        occurrences.update([first, *(f" {word}" for word in rest)])
    counts: Counter[str] = Counter()
    for word, count in occurrences.items():
        for piece, _ in cut(word):
            counts[piece] += count
    frequent = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:HAYSTACK_WORDS]
    return [*pieces, *(piece for piece, _ in frequent)]
