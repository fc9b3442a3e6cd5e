"""Secrets out of what is written down or shown: command lines, arguments, logs.

For: results, reports and logs. A secret is known by its name (`api_key=...`, `"hf_token": "..."`,
`--password ...`, `Authorization: Bearer ...`), by its form (`hf_...`, `sk-...`), or because the
caller knows it. Imports nothing slow.
Not for: deciding what is worth recording (see `models/provenance.py`), nor for secrets without a
telling name or form, which stay.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

STARS = "***"

# Anywhere in a name, these make its value a secret.
_ALWAYS = {
    *("secret", "secrets", "password", "passwords", "passwd", "passphrase", "passcode"),
    *("credential", "credentials", "authorization", "apikey", "apikeys", "jwt", "cookie"),
}
# As what a name in one word ends, such as `PGPASSWORD`.
_ENDINGS = ("password", "passwd", "secret")
# What a name's last word is a secret after.
_KEYS = {
    *("api", "access", "secret", "private", "auth", "encryption", "signing", "account", "license"),
    *("ssh", "service", "subscription", "openai", "hf", "huggingface", "wandb", "anthropic"),
}
# What a variable's last word makes a secret of it, if its name is in capitals.
_IN_CAPITALS = {"pass", "pwd", "pat", "key"}
_PLAIN_KEYS = {"cache", "public", "primary", "foreign", "sort", "partition", "shard", "group"}
# What a name's last word tells of a secret that is not the secret.
_ABOUT = {
    *("path", "file", "dir", "directory", "folder", "store", "policy", "prompt", "length"),
    *("type", "manager", "expiry", "count"),
}
_PLURALS = {"secrets", "passwords", "credentials", "tokens", "cookies"}
# Of models and their vocabularies: after these, a token is no secret.
_PLAIN_TOKENS = {
    *("bos", "eos", "pad", "unk", "mask", "sep", "cls", "stop", "end", "start", "begin", "eot"),
    *("eod", "eoi", "boi", "image", "audio", "video", "special", "new", "next", "first", "last"),
    *("per", "each", "every", "max", "min", "num", "any", "one", "the", "a", "this", "that"),
    *("prefix", "suffix", "think", "thinking", "newline", "prompt", "input", "output", "generated"),
    *("draft", "unknown", "word", "text", "sub", "target", "source", "decoder", "added"),
    *("eom", "eop", "fim", "call", "tool", "role", "header", "turn", "boundary", "classifier"),
    *("current", "previous", "context", "vision"),
}
_SECRET_TOKENS = {"auth", "access", "api", "refresh", "bearer", "hf"}
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

# A name with what parts it from its value: `name=`, `name: `, `"name": `, `\"name\":`, `--name `.
# Nothing in it is tried twice, for logs may have very long lines.
_NAMED = re.compile(
    r"""(?<![\w-])-*+(?P<name>[a-z_][\w-]*+)(?:\\*["'])?\]?[ \t]*+(?:=>|==?|:(?!:))[ \t]*+"""
    r"""|(?<![\w-])--(?P<flag>[a-z][\w-]*+)[ \t]++(?=[^-\s])""",
    re.ASCII | re.IGNORECASE,
)
_QUOTED = re.compile(
    r"""(?:[a-z_.]*\(|[bru]{1,2})?                   # bytes, SecretStr(...)
    (?: "(?:\\.|[^"\\\n])*+"? | '(?:\\.|[^'\\\n])*+'?
      | (?P<quote>\\+["']).*?(?:(?P=quote)|$) )      # in a text that is in quotes itself""",
    re.VERBOSE | re.IGNORECASE | re.MULTILINE,
)
_BARE = re.compile(r"""(?:(?:bearer|basic|token)[ \t]+)?(?:[^\s,"'\\]|\\(?!["']))++""", re.I)
_REST_OF_LINE = re.compile(r"""[^"'\\\n]++""")
_PHRASE = re.compile(r"""[^"'\\\n,]++""")
_FORMS = re.compile(
    r"""
      # Hubs of models and code, package registries.
      \bhf_[A-Za-z0-9]{30,} | \bapi_org_[A-Za-z0-9]{20,} | \br8_[A-Za-z0-9]{30,}
    | \bgh[opsur]_[A-Za-z0-9]{20,} | \bgithub_pat_\w{20,}
    | \bgl(?:pat|rt|dt|soat|cbt|ptt|ft|agent)-[\w-]{10,} | \blin_api_\w{20,}
    | \bnpm_[A-Za-z0-9]{30,} | \bpypi-[\w-]{16,}
      # Services that models are asked at.
    | \bsk-[\w-]{16,} | \bgsk_\w{20,} | \bnvapi-[\w-]{20,} | \bxai-[A-Za-z0-9]{20,}
    | \btgp_v1_[\w-]{20,} | (?<=\b[Aa][Pp][Ii]\ [Kk][Ee][Yy]\ )[\w-]{32,}
    | (?<=\bwandb\ login\ )[0-9a-f]{40}
      # Clouds and what keeps secrets.
    | \b(?:AKIA|ASIA)[A-Z0-9]{16}\b | \bAIza[\w-]{30,} | \bya29\.[\w-]{20,}
    | (?<=[?&]sig=)[^\s&"']{8,} | \bdo[opr]_v1_[0-9a-f]{40,} | \bhv[bs]\.[\w-]{20,}
    | \bops_eyJ[\w-]{8,} | \bAGE-SECRET-KEY-1[A-Z0-9]{20,} | \bglsa_\w{20,}
    | \bSG\.[\w-]{16,}\.[\w-]{16,} | \b[rs]k_(?:live|test)_\w{16,} | \bshp(?:at|ca|pa|ss)_\w{32}
      # Chats, and addresses that anybody may post to.
    | \bxox[abceoprs]-[\w-]{8,} | \bxapp-[\w-]{8,} | (?<=\bbot)\d{6,}:[\w-]{30,}
    | (?:(?<=hooks\.slack\.com/)|(?<=hooks\.slack-gov\.com/))
      (?:services|workflows|triggers)/[\w/-]{10,}
    | (?<=/api/webhooks/)[\w/-]{10,} | (?<=\.webhook\.office\.com/)[^\s"']{10,}
    | (?<=hooks\.zapier\.com/hooks/catch/)[\w/-]+
      # Of any service: keys, signed texts, names and passwords in addresses, headers.
    | -----BEGIN\ (?:[A-Z]+\ ){0,3}PRIVATE\ KEY-----(?s:.*?)(?:-----END[A-Z ]*-----|\Z)
    | (?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*
    | (?<=://)[^\s/@:"']*:[^\s/@"']+(?=@) | (?<=://)[\w-]{16,}(?=@)
    | (?<=\b[Bb]earer\ )(?=\S*\d)[^\s"',;]{8,}
    """,
    re.VERBOSE,
)
# `-u name:password` of curl; of other programs, `-u` is anything.
_USER = re.compile(
    r"""(\bcurl\b[^\n|;]{0,300}?\s(?:-u|(?:--user|--proxy-user)(?=[\s=]))[ =]?["']?)"""
    r"""[^\s:"']+:[^\s"']+"""
)
# Switches and the absence of a value tell nothing; nor does what was hidden before.
_OPEN = {"true", "false", "none", "null", "", "***"}
_AMOUNT = re.compile(r"[\d.]{1,8}[a-z%]{0,3}")
_COUNT = re.compile(r"\d{1,4}")
# A token of a vocabulary, such as `<fim>` or `[SEP]`.
_OF_VOCABULARY = re.compile(r"<[^<>\s]{1,40}>|\[[A-Za-z_]{1,20}\d*\]")
# In prose: `the current token: abc`, and `Token: hello` as a label.
_PROSE = re.compile(r"\b([a-z]+) $", re.IGNORECASE)
_LABELLED = re.compile(r"[a-z]{1,12}")
# A shorter value would turn up in words that have nothing to do with it.
_KNOWN_LEAST = 6


def is_secret(name: str) -> bool:
    """Whether a name is that of a secret; `add_bos_token`, `max_tokens` and `cache_key` are not."""
    words = _words(name)
    if not words:
        return False
    before = words[-2] if len(words) > 1 else ""
    if words[-1] in _ABOUT:
        return False
    if name.isupper() and before and words[-1] in _IN_CAPITALS:
        return before not in _PLAIN_KEYS
    return (
        bool(_ALWAYS & set(words))
        or words[-1].endswith(_ENDINGS)
        or (name.isupper() and _ends_in_token(words[-1]))
        or (words[-1] in ("key", "keys") and before in _KEYS)
        or (words[-1] == "token" and before not in _PLAIN_TOKENS)
        or (words[-1] == "tokens" and before in _SECRET_TOKENS)
        or words[-3:] == ["private", "key", "id"]
        or (words[-1] == "signature" and before in ("amz", "goog"))
    )


def secret_values(variables: Mapping[str, str]) -> set[str]:
    """The values of those environment variables whose names are those of secrets.

    The path of a file is none, whatever the file holds.
    """
    return {
        value
        for name, value in variables.items()
        if is_secret(name)
        and not _is_told(value, name)
        and not (value.startswith("/") and _exists(value))
    }


def redact(text: str, known: Iterable[str] = ()) -> str:
    """A text in which the values of secrets are stars.

    Args:
        text: A log, a command line, JSON, lm-eval's `name=value,...`.
        known: Secrets that are stars wherever they stand; very short ones are passed over.
    """
    for value in sorted(known, key=len, reverse=True):
        if len(value) >= _KNOWN_LEAST:
            text = text.replace(value, STARS)
    done, end = [], 0
    while match := _NAMED.search(text, end):
        done.append(text[end : match.end()])
        end = match.end()
        name = match["name"] or match["flag"]
        if not is_secret(name) or _is_prose(text, match):
            continue
        if value := _value(text, end, match[0]):
            done.append(_hidden(value, name))
            end += len(value)
    shown = _FORMS.sub(STARS, "".join(done) + text[end:])
    return _USER.sub(rf"\1{STARS}", shown)


def redact_words(words: Sequence[str]) -> list[str]:
    """A command line in which the values of secrets are stars.

    Unlike `redact` on the whole of it, this knows where an argument ends: JSON is read as such, a
    value in lm-eval's `name=value,...` goes on to the comma, and one may follow its option as a
    word of its own.
    """
    shown, hide, option = [], False, ""
    for word in words:
        is_value = hide and not word.startswith("--") and not _is_told(word, option)
        shown.append(STARS if is_value else _word(word))
        hide, option = word.startswith("-") and "=" not in word and is_secret(word), word
    return shown


def without_secrets(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as results may hold them: JSON's own types, no secrets at any depth."""
    return {
        str(name): STARS
        if is_secret(str(name)) and not _is_told(value, str(name))
        else _without(value)
        for name, value in arguments.items()
    }


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:
        # Longer than a path may be.
        return False


def _without(value: Any) -> Any:
    if isinstance(value, Mapping):
        return without_secrets(value)
    if isinstance(value, list | tuple):
        return _without_in_list(value)
    if isinstance(value, str):
        return _word(value)
    # Whatever has no type in JSON becomes text.
    return value if isinstance(value, int | float | bool) or value is None else redact(str(value))


def _without_in_list(values: Sequence[Any]) -> list[Any]:
    if all(isinstance(value, str) for value in values):
        return redact_words(values)
    return [_without(value) for value in values]


def _word(word: str) -> str:
    """One argument: JSON, `name=value,...`, or any other text."""
    if word.lstrip()[:1] in ("{", "["):
        try:
            value = json.loads(word)
            clean = _without(value)
        except (ValueError, RecursionError):
            return redact(word)
        # What holds no secret stays as it was written.
        return word if clean == value else json.dumps(clean, ensure_ascii=False)
    parts = [_pair(part) for part in word.split(",")]
    return redact(",".join(parts))


def _pair(part: str) -> str:
    name, equals, value = part.partition("=")
    if equals and is_secret(name) and name.strip(" -_").replace("-", "_").isidentifier():
        return f"{name}={_hidden(value, name)}"
    return part


def _ends_in_token(word: str) -> bool:
    """Whether a word is `mytoken` or the like, and not `eostoken`."""
    kind = word.removesuffix("token")
    return kind not in (word, "") and kind not in _PLAIN_TOKENS


def _is_prose(text: str, match: re.Match[str]) -> bool:
    """Whether `token: ` stands in a sentence on tokens, or is the label of a word."""
    if match[0].lower() != "token: ":
        return False
    word = _PROSE.search(text, max(0, match.start() - 20), match.start())
    value = _BARE.match(text, match.end())
    labelled = match[0][0] == "T" and value is not None and _LABELLED.fullmatch(value[0])
    return bool(labelled) or (word is not None and word[1].lower() in _PLAIN_TOKENS)


def _value(text: str, start: int, before: str) -> str:
    """What stands for the value of a secret at a place of a text; empty for nothing.

    Args:
        text: All of it.
        start: The place.
        before: The name, with what parts it from the value.
    """
    if text[start : start + 1] in ("{", "[", "("):
        return _bracketed(text, start)
    if match := _QUOTED.match(text, start):
        return match[0]
    match = _bare(before).match(text, start)
    # Brackets at its end are those of what it stands in.
    return match[0].rstrip(")]};") if match else ""


def _bare(before: str) -> re.Pattern[str]:
    """How far a value goes that has no quotes."""
    name = before.lower()
    if "authorization" in name or ("cookie" in name and ":" in name):
        return _REST_OF_LINE
    return _PHRASE if "passphrase" in name else _BARE


def _bracketed(text: str, start: int) -> str:
    """Up to the bracket that closes the first one, or else to the end of the line."""
    end = text.find("\n", start)
    line = text[start:] if end < 0 else text[start:end]
    depth = 0
    for place, letter in enumerate(line, 1):
        depth += (letter in "{[(") - (letter in "}])")
        if not depth:
            return line[:place]
    return line


def _hidden(value: str, name: str) -> str:
    """Stars, in the quotes that the value had."""
    opening = re.match(r"""\\*["']""", value)
    quote = opening[0] if opening else ""
    bare = value.strip("\\\"'")
    # An amount, such as that of `12 ms per token: 5`.
    named = (_ALWAYS | _KEYS | _SECRET_TOKENS).intersection(_words(name))
    if _is_told(bare, name) or not (quote or named or not _AMOUNT.fullmatch(bare)):
        return value
    return f"{quote}{STARS}{quote if value.endswith(quote) else ''}"


def _words(name: str) -> list[str]:
    """The words of `a_name`, `a-name` or `aName`, lower case."""
    return [word.lower() for word in _WORDS.findall(name)]


def _is_told(value: object, name: str) -> bool:
    """Whether a value under the name of a secret is none."""
    if _is_open(value):
        return True
    words, text = _words(name), str(value).strip()
    if words[-1] in _PLURALS and _COUNT.fullmatch(text):
        return True
    named = (_ALWAYS | _KEYS | _SECRET_TOKENS).intersection(words)
    return words[-1] == "token" and not named and bool(_OF_VOCABULARY.fullmatch(text))


def _is_open(value: object) -> bool:
    return isinstance(value, bool) or value is None or str(value).strip().lower() in _OPEN
