"""From text to token ids and back, by lm-eval's conventions.

For: the tokenizer of a checkpoint, special tokens, chat templates, and what ends an answer.
Not for: deciding what is asked of the model (see `base.py`).
"""

import contextlib
import json
import resource
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
import tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from iha_eval.errors import UserError
from iha_eval.models.arguments import ModelArguments
from iha_eval.models.requests import Answer, GenerateRequest, up_to_stop
from iha_eval.models.source import Source, locate
from iha_eval.util.log import logger
from iha_eval.util.text import cut_short, one_line

# Prompts tokenized at a time, and characters of them: enough for the tokenizer's threads, little
# for memory, of which a token takes a hundred bytes meanwhile.
CHUNK = 64
CHUNK_CHARACTERS = 2**18
# What a chat template may take for one chat.
TEMPLATE_SECONDS = 10.0
TEMPLATE_BYTES = 2**31
# Words, numbers, signs, white space, other alphabets: what tokenizers cut differently.
PROBE = "The quick brown fox's x = 12345 + 6.789;\n\n  na\u00efve caf\u00e9 \u4f60\u597d"


class PromptTokenizer:
    """A checkpoint's tokenizer, used the way lm-eval's own model classes use theirs.

    Args:
        source: the checkpoint.
        arguments: the model's arguments; those about tokens matter here.

    Attributes:
        tokenizer: the Hugging Face tokenizer.
        folder: where it was read from.

    Raises:
        UserError: there is no tokenizer, or it cannot be read.
    """

    def __init__(self, source: Source, arguments: ModelArguments) -> None:
        """Reads the tokenizer."""
        self._config = source.checkpoint.config
        self._checkpoint = source.checkpoint.path
        self._arguments = arguments
        self.folder = (
            locate(arguments.tokenizer, arguments.revision, arguments.hf_token)
            if arguments.tokenizer
            else source.checkpoint.path
        )
        self.tokenizer = _load(self.folder, arguments)
        self._think_end = self._end_of_thoughts()

    @property
    def eos_id(self) -> int | None:
        """The tokenizer's end-of-sequence token."""
        number = self.tokenizer.eos_token_id
        return None if number is None else int(number)

    @property
    def prefix_id(self) -> int:
        """The token that an empty context stands for.

        Raises:
            UserError: none is set, and the tokenizer has neither BOS nor EOS.
        """
        choices = (
            self._arguments.prefix_token_id,
            self.tokenizer.bos_token_id,
            self.tokenizer.eos_token_id,
        )
        for choice in choices:
            if choice is not None:
                return int(choice)
        raise UserError(
            f"The tokenizer in {self.folder} has neither a BOS nor an EOS token to begin with: set "
            "prefix_token_id."
        )

    @property
    def pad_id(self) -> int:
        """A token to fill up rows with; which one makes no difference, it is masked."""
        ids = (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id, 0)
        return int(next(number for number in ids if number is not None))

    @cached_property
    def end_ids(self) -> tuple[int, ...]:
        """Every token that ends an answer: the tokenizer's EOS and those of the checkpoint."""
        ends: set[int] = set() if self.eos_id is None else {self.eos_id}
        file = self._checkpoint / "generation_config.json"
        places = {self._checkpoint / "config.json": getattr(self._config, "eos_token_id", None)}
        if file.is_file():
            try:
                places[file] = json.loads(file.read_text(encoding="utf-8")).get("eos_token_id")
            except (ValueError, RecursionError, AttributeError, OSError) as error:
                raise UserError(
                    f"{file} is no mapping in JSON: restore it or remove it."
                ) from error
        for place, ids in places.items():
            listed = ids if isinstance(ids, list | tuple) else [] if ids is None else [ids]
            if not all(type(number) is int for number in listed):
                raise UserError(
                    f"{place} has eos_token_id {str(ids)[:40]}: set it to a token id or a list of "
                    "them."
                )
            ends.update(listed)
        return tuple(sorted(ends))

    def encode(self, text: str, add_special_tokens: bool | None = None) -> list[int]:
        """Token ids of a text.

        Special tokens are added as `add_special_tokens` says, or else `add_bos_token`, or else as
        the tokenizer does by itself; never to a text that already begins with the prefix token,
        as what a chat template wrote does.
        """
        return self._encode([text], add_special_tokens)[0]

    def encode_all(self, texts: Sequence[str]) -> "Iterator[list[int]]":
        """Token ids of many texts, in order."""
        for chunk in _chunks(texts):
            yield from self._encode(chunk, None)

    def plain(self, ids: Sequence[int]) -> str:
        """Text of token ids, special tokens left out."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    def answer(self, request: GenerateRequest, ids: Sequence[int], *, cut: bool) -> Answer:
        """The answer in generated tokens: special tokens left out, cut at the first stop.

        A thought is no part of it, and one that was not ended states no answer at all.

        Args:
            request: what was asked.
            ids: tokens generated.
            cut: whether the generation budget ended them.
        """
        kept, sampling = list(ids), request.sampling
        if kept and kept[-1] in sampling.stop_ids:
            kept.pop()
        text = self.after_thought(kept, request)
        if text is None:
            return Answer("", len(ids), cut)
        shown = up_to_stop(text, sampling.stop)
        # An engine that was given no stops, because of thoughts, went on behind them.
        return Answer(shown, len(ids), cut and len(shown) == len(text))

    def after_thought(self, ids: Sequence[int], request: GenerateRequest) -> str | None:
        """Text of generated tokens without the thought before it; None while that goes on."""
        end = self._arguments.think_end_token
        if end is None:
            return self.plain(ids)
        text = self._think_end
        number = end if isinstance(end, int) else self._ids.get(end)
        places = [place for place, token in enumerate(ids) if token == number]
        if places:
            return self.plain(ids[places[-1] + 1 :]).lstrip()
        whole = self.plain(ids)
        if text is not None and text in whole:
            return whole.rpartition(text)[2].lstrip()
        # Without an end there is an answer only where no thought was begun.
        start = self._think_start
        if start is None:
            return None if whole else whole
        # A start that is a special token shows among the tokens alone.
        begun = request.in_thought or start in whole or self._ids.get(start) in ids
        return None if begun else whole

    def in_thought(self, prompt: str) -> bool:
        """Whether a prompt ends inside a thought, which chat templates may begin."""
        start, end = self._think_start, self._think_end
        if start is None or end is None:
            return False
        return prompt.rfind(start) > prompt.rfind(end)

    @property
    def _think_start(self) -> str | None:
        """What begins a thought, such as `<think>` for `</think>`; None where that is not known."""
        end = self._think_end
        return end.replace("/", "", 1) if end is not None and "/" in end else None

    def _end_of_thoughts(self) -> str | None:
        """Text of what ends a thought; None where no thoughts are expected.

        Raises:
            UserError: it was given as an id that no token has.
        """
        end = self._arguments.think_end_token
        if not isinstance(end, int):
            return end
        if not 0 <= end < len(self.tokenizer):
            raise UserError(
                f"think_end_token={end} is the id of no token of {self.folder}, which has "
                f"{len(self.tokenizer)}: give the token's text, such as </think>, or its id."
            )
        return str(self.tokenizer.convert_ids_to_tokens(end))

    def stops(self, words: Sequence[str]) -> tuple[tuple[str, ...], tuple[int, ...]]:
        """Stop strings, apart: those to look for in the text, and ids of those that are tokens.

        A stop that is a special token never shows in the text, from which special tokens are left
        out. The ids include those of `end_ids`.
        """
        ids = {*self.end_ids, *(self._special[word] for word in words if word in self._special)}
        return tuple(word for word in words if word not in self._special), tuple(sorted(ids))

    def chat(self, history: list[dict[str, str]], add_generation_prompt: bool) -> str:
        """A chat as the checkpoint's template writes it.

        Args:
            history: messages with "role" and "content".
            add_generation_prompt: whether the assistant's turn is opened; otherwise the last
                message is one to be continued.

        Raises:
            UserError: the tokenizer has no chat template, or the template refuses the chat.
        """
        if not self.tokenizer.chat_template:
            raise UserError(
                f"The tokenizer in {self.folder} has no chat template: leave out "
                "--apply_chat_template, or add chat_template.jinja to the folder."
            )
        try:
            return self._checked(history, self._template(history, add_generation_prompt))
        except jinja2.exceptions.TemplateError as error:
            without = [message for message in history if message["role"] != "system"]
            if without == history:
                raise self._refusal(error) from error
        try:
            written = self._template(without, add_generation_prompt)
        except jinja2.exceptions.TemplateError as error:
            raise self._refusal(error) from error
        logger.warning("The chat template takes no system message: it is left out.")
        return written

    def _checked(self, history: list[dict[str, str]], written: str) -> str:
        """A chat as a template wrote it, unless nothing that was said stands in it.

        Raises:
            UserError: it is no template, but a pointer of Git LFS or a web page.
        """
        contents = [message["content"].strip() for message in history]
        if any(content in written for content in contents):
            return written
        raise UserError(
            f"The chat template in {self.folder} leaves every message out, for it writes "
            f"{cut_short(one_line(written))!r}: restore the one that the model came with."
        )

    def _refusal(self, error: BaseException) -> UserError:
        # What a template raises of its own accord is its sentence; the rest is named.
        kind = "" if type(error) is jinja2.exceptions.TemplateError else f"{type(error).__name__}: "
        reason = " ".join(str(error).split())[:300]
        return UserError(f"The chat template in {self.folder} refuses this chat ({kind}{reason}).")

    def _template(self, history: list[dict[str, str]], add_generation_prompt: bool) -> str:
        """Render the template, which is anybody's program: with bounds on time and memory."""
        try:
            with bounded(TEMPLATE_SECONDS, TEMPLATE_BYTES):
                written = self.tokenizer.apply_chat_template(
                    history,
                    tokenize=False,
                    add_generation_prompt=add_generation_prompt,
                    continue_final_message=not add_generation_prompt,
                    **self._arguments.chat_template_args,
                )
        except jinja2.exceptions.TemplateError:
            raise
        except (MemoryError, TimeoutError) as error:
            raise UserError(
                f"The chat template in {self.folder} takes more than {TEMPLATE_SECONDS:g} s or "
                f"{TEMPLATE_BYTES >> 30} GiB for a chat: restore the one that the model came with."
            ) from error
        # It may divide by zero, include what is not there, add a list to a text.
        except Exception as error:
            raise self._refusal(error) from error
        return str(written)

    @cached_property
    def _ids(self) -> dict[str, int]:
        tokens = self.tokenizer.added_tokens_decoder.items()
        return {token.content: number for number, token in tokens}

    @cached_property
    def _special(self) -> dict[str, int]:
        tokens = self.tokenizer.added_tokens_decoder.items()
        return {token.content: number for number, token in tokens if token.special}

    @cached_property
    def _prefix(self) -> str:
        return str(self.tokenizer.decode([self.prefix_id]))

    def _begun(self, text: str) -> bool:
        return bool(self._prefix) and text.startswith(self._prefix)

    def _tokens(self, texts: list[str], options: Mapping[str, bool]) -> list[list[int]]:
        try:
            encoded = self.tokenizer(texts, return_attention_mask=False, **options)
        # Compiled code raises plain exceptions, such as for a vocabulary without an unknown token.
        except Exception as error:
            raise UserError(
                f"The tokenizer in {self.folder}, a {type(self.tokenizer).__name__}, fails on a "
                f"prompt ({one_line(str(error))[:200]}): tokenizer_class in tokenizer_config.json "
                "may be wrong; save the tokenizer there anew, or name one with tokenizer=."
            ) from error
        return list(encoded["input_ids"])

    def _encode(self, texts: Sequence[str], special: bool | None) -> list[list[int]]:
        if special is None:
            special = self._arguments.add_bos_token
        result: list[list[int]] = [[] for _ in texts]
        for begun in (False, True):
            places = [
                place for place, text in enumerate(texts) if text and self._begun(text) == begun
            ]
            if not places:
                continue
            add = False if begun else special
            options = {} if add is None else {"add_special_tokens": add}
            batch = [texts[place] for place in places]
            encoded = self._tokens(batch, options)
            for place, ids in zip(places, encoded, strict=True):
                result[place] = ids
        return result


def _chunks(texts: Sequence[str]) -> "Iterator[Sequence[str]]":
    """The texts in order, few enough at a time; at least one."""
    start = characters = 0
    for place, text in enumerate(texts):
        full = place - start == CHUNK or characters + len(text) > CHUNK_CHARACTERS
        if full and place > start:
            yield texts[start:place]
            start, characters = place, 0
        characters += len(text)
    if texts:
        yield texts[start:]


def _load(folder: Path, arguments: ModelArguments) -> PreTrainedTokenizerBase:
    bos = arguments.add_bos_token
    options: dict[str, Any] = {} if bos is None else {"add_bos_token": bos}
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=arguments.trust_remote_code, **options
        )
    # Python code and compiled code of many classes read these files, each with errors of its own.
    except Exception as error:
        first = (str(error).strip() or repr(error)).splitlines()[0]
        raise UserError(
            f"{folder} holds no tokenizer that can be read ({first}): save the tokenizer there, or "
            "name one with tokenizer=."
        ) from error
    # Tokenizers warn about lengths of their own, which say nothing about the model's.
    tokenizer.model_max_length = int(1e30)
    _compare_with_file(folder, tokenizer)
    return tokenizer


def _compare_with_file(folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """Warn where a tokenizer makes other tokens than the tokenizer.json it was read from says.

    A wrong `tokenizer_class` beside that file changes how texts are cut, and nothing complains.
    """
    file = folder / "tokenizer.json"
    if not file.is_file():
        return
    try:
        plain = (
            tokenizers.Tokenizer.from_file(str(file)).encode(PROBE, add_special_tokens=False).ids
        )
        loaded = tokenizer(PROBE, add_special_tokens=False)["input_ids"]
    except Exception as error:
        logger.debug("%s was not compared with what was read from it: %s", file, error)
        return
    if list(loaded) != list(plain):
        logger.warning(
            "%s as %s makes %d tokens of a text of which %s alone makes %d: tokenizer_class in "
            "tokenizer_config.json may be wrong, and prompts are not cut as in training.",
            folder,
            type(tokenizer).__name__,
            len(loaded),
            file.name,
            len(plain),
        )


@contextlib.contextmanager
def bounded(seconds: float, memory: int) -> Iterator[None]:
    """Bound what the code inside may take of time and of further memory.

    Time is bounded in the main thread only, where signals arrive.

    Args:
        seconds: wall time.
        memory: bytes of address space beyond what the process has.

    Raises:
        TimeoutError: it took longer.
        MemoryError: it asked for more.
    """

    def over(*_: object) -> None:
        raise TimeoutError

    timed = threading.current_thread() is threading.main_thread()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + memory
    before = signal.signal(signal.SIGALRM, over) if timed else None
    try:
        if soft == resource.RLIM_INFINITY or limit < soft:
            resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
        if timed:
            signal.setitimer(signal.ITIMER_REAL, seconds)
        yield
    finally:
        if timed:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
