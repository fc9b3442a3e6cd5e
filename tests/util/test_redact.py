"""Secrets go, whatever they are written like; everything else stays."""

import json
from pathlib import Path

import pytest

from iha_eval.util.redact import is_secret, redact, redact_words, secret_values, without_secrets

SECRET = "geheim"
KEY = "hf_" + "aB3" * 12


@pytest.mark.parametrize(
    "name",
    [
        *("token", "hf_token", "auth_token", "access_token", "use_auth_token", "HF_TOKEN"),
        *("api_key", "OPENAI_API_KEY", "x-api-key", "apiKey", "openaiApiKey", "APIKEY"),
        *("password", "db_password", "passwd", "passphrase", "secret", "client_secret"),
        *("AWS_SECRET_ACCESS_KEY", "private_key", "ssh_key", "Authorization", "authToken"),
        *("credentials", "access_tokens", "X-Amz-Signature", "session_token", "Cookie"),
        *("DB_PASS", "GITHUB_PAT", "OPENAI_KEY", "HF_KEY", "WANDB_KEY", "MYTOKEN", "openai_key"),
        *("NEWMODEL_KEY", "FTP_PWD", "private_key_id"),
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret(name)
    assert redact(f"{name}={SECRET}") == f"{name}=***"


@pytest.mark.parametrize(
    "name",
    [
        *("max_tokens", "num_tokens", "max_gen_toks", "pad_token_id", "add_bos_token", "eos_token"),
        *("tokens", "tokenizer", "prompt_tokens", "unk_token", "next_token", "image_token"),
        *("token_ids", "cache_key", "key", "sort_keys", "multikey", "pass@1", "think_end_token"),
        *("author", "signature", "secretary", "", "_", "123"),
        *("cookie_policy", "PASSWORD_STORE_DIR", "SECRET_DIR", "credentials_path", "CACHE_KEY"),
        *("EOSTOKEN", "KEY", "PASS", "PUBLIC_KEY", "first_pass", "fim_token", "tool_call_token"),
    ],
)
def test_names_of_other_things(name: str) -> None:
    assert not is_secret(name)
    assert redact(f"{name}={SECRET}") == f"{name}={SECRET}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("token: geheim, dtype=a", "token: ***, dtype=a"),
        ('hf_token="ge heim, geheim" x', 'hf_token="***" x'),
        ("hf_token='ge\"heim' x", "hf_token='***' x"),
        (r'password: "ge\"heim" x', 'password: "***" x'),
        ('token="ge heim', 'token="***'),
        (r'"{\"token\": \"ge heim\", \"a\": 1}"', r'"{\"token\": \"***\", \"a\": 1}"'),
        ("{'token': 'geheim', 'x': [1]}", "{'token': '***', 'x': [1]}"),
        ('{"token": {"a": ["geheim", "geheim"]}, "x": 1', '{"token": ***, "x": 1'),
        ("password: [geheim, (geheim)\nx", "password: ***\nx"),
        ("f(token=geheim)", "f(token=***)"),
        ("token=b'geheim' x", "token=*** x"),
        ("api_key=SecretStr('geheim')", "api_key=***)"),
        ('os.environ["HF_TOKEN"] = "geheim"', 'os.environ["HF_TOKEN"] = "***"'),
        ("--api-key geheim --dtype a", "--api-key *** --dtype a"),
        ("--api-key=geheim --dtype a", "--api-key=*** --dtype a"),
        ("Authorization: Bearer geheim", "Authorization: ***"),
        ("curl -H 'Authorization: Basic geheim==' x", "curl -H 'Authorization: ***' x"),
        ("Authorization: AWS4 Credential=geheim, S=geheim\nx", "Authorization: ***\nx"),
        ("token: Bearer geheim x", "token: *** x"),
        ("sent Bearer geheim123 to", "sent Bearer *** to"),
        ("https://me:geheim@host/x?token=geheim", "https://***@host/x?token=***"),
        (f"with {KEY} and sk-{'a1' * 10}", "with *** and ***"),
        ("----- token=geheim", "----- token=***"),
        ("Set-Cookie: a=b; c=d\nx", "Set-Cookie: ***\nx"),
        ("curl -H 'Cookie: a=b; c=d' x", "curl -H 'Cookie: ***' x"),
        ("cookie=geheim x", "cookie=*** x"),
        ("passphrase = correct horse battery\nx", "passphrase = ***\nx"),
        ("passphrase=ge heim, dtype=a", "passphrase=***, dtype=a"),
        (f"glpat-{'a1' * 10}, xoxb-12-34-abcd and AIza{'a1B' * 12}", "***, *** and ***"),
        (f"wandb: api key {'01ab' * 10} x", "wandb: api key *** x"),
        (
            "a\n-----BEGIN RSA PRIVATE KEY-----\nge\nheim\n-----END RSA PRIVATE KEY-----\nb",
            "a\n***\nb",
        ),
        ("-----BEGIN PRIVATE KEY-----\ngeheim", "***"),
        ("user_token=geheim", "user_token=***"),
        ("hf_token=<geheim>", "hf_token=***"),
        ("Token: a1b2c3", "Token: ***"),
        ("my token: geheim", "my token: ***"),
        ("password: 0", "password: ***"),
        ("model_args={'a': 'token=geheim,b=c'}", "model_args={'a': 'token=***,b=c'}"),
    ],
)
def test_secrets_in_a_text(text: str, shown: str) -> None:
    assert redact(text) == shown
    # Twice does no more than once.
    assert redact(shown) == shown


@pytest.mark.parametrize(
    "secret",
    [
        *("AKIA" + "A1" * 8, "ASIA" + "A1" * 8, "xoxb-12-ab-cd34", "xapp-1-A02-12-ab12"),
        *("sk-proj-" + "a1" * 10, "sk-ant-api03-" + "a1" * 8, "sk_live_" + "a1" * 10),
        *("github_pat_" + "A1" * 15, "ghp_" + "a1" * 18, "glpat-" + "a1" * 10, "glrt-" + "a1" * 9),
        *("hf_" + "aB" * 17, "api_org_" + "aB" * 17, "npm_" + "a1" * 18, "pypi-AgEI" + "a1" * 9),
        *("ya29.a0" + "aB" * 12, "AIza" + "a1B" * 12, "SG." + "a1" * 11 + "." + "a1" * 20),
        *("dop_v1_" + "a1" * 32, "nvapi-" + "a1" * 16, "gsk_" + "a1" * 16, "xai-" + "a1" * 16),
        *("hvs.CAES" + "a1" * 10, "shpat_" + "a1" * 16, "glsa_" + "a1" * 16, "r8_" + "a1" * 18),
        "AGE-SECRET-KEY-1" + "Q2" * 20,
    ],
)
def test_secrets_that_are_known_by_their_form(secret: str) -> None:
    for text in ("{}", "x={}", "it is {}, they say", '{{"a": "{}"}}', "pretrained=x,a={}"):
        assert redact(text.format(secret)) == text.format("***")
        assert redact_words([text.format(secret)]) == [text.format("***")]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://hooks.slack.com/services/T0/B0/a1b2c3", "https://hooks.slack.com/***"),
        ("https://hooks.slack-gov.com/services/T0/B0/a1b2", "https://hooks.slack-gov.com/***"),
        ("https://discord.com/api/webhooks/12345/aB-c_d", "https://discord.com/api/webhooks/***"),
        ("https://x.webhook.office.com/webhookb2/a@b/c/1", "https://x.webhook.office.com/***"),
        ("https://hooks.zapier.com/hooks/catch/12/ab", "https://hooks.zapier.com/hooks/catch/***"),
        (f"https://api.telegram.org/bot1234567:{'aB' * 17}/s", "https://api.telegram.org/bot***/s"),
        ("redis://:geheim@host:1/0", "redis://***@host:1/0"),
        (f"https://{'a1' * 10}@host/x", "https://***@host/x"),
        ("https://b.net/c?sv=1&sig=a1b2c3d4%3D&x=1", "https://b.net/c?sv=1&sig=***&x=1"),
        (f"wandb login {'a1' * 20}", "wandb login ***"),
        ("PGPASSWORD=geheim psql", "PGPASSWORD=*** psql"),
        ("dbpassword: geheim", "dbpassword: ***"),
        ("git@github.com:a/b and https://me@host/x", "git@github.com:a/b and https://me@host/x"),
    ],
)
def test_addresses_that_are_secrets_themselves(text: str, shown: str) -> None:
    assert redact(text) == shown
    assert redact(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "12.3 ms per token: 5.1",
        "token: 12 ms",
        "time per output token: 4ms",
        "use_auth_token=True, token=None, password=",
        '{"hf_token": null, "token": "", "api_key": false}',
        "Token::new",
        "the token, the password",
        "bearer of news",
        "--token --model x",
        "task-abcdefghijklmnopqrstuvwxyz",
        "https://host/a:b@c",
        'fim_token=<fim>, user_token="<|u|>", odd_token=[ODD], odd_token: <odd>',
        "the current token: abc",
        "Token: hello",
        "secrets: 0, api_tokens: 12",
        "-----BEGIN CERTIFICATE-----",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("curl -u bob:geheim https://x", "curl -u *** https://x"),
        ("curl -s --user 'bob:geheim' https://x", "curl -s --user '***' https://x"),
        ("curl -ubob:geheim x; sort -u a:b", "curl -u*** x; sort -u a:b"),
        ("docker run -u 1000:1000 image", "docker run -u 1000:1000 image"),
        ("python -u run.py:12", "python -u run.py:12"),
        ("curl --user-agent a:b https://x", "curl --user-agent a:b https://x"),
        ("curl https://x | sort -u a:b", "curl https://x | sort -u a:b"),
    ],
)
def test_a_name_with_a_password_goes_where_curl_is_given_it(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_values_that_are_known_go_wherever_they_stand() -> None:
    variables = {"MY_TOKEN": "abcdefgh", "MY_SECRET": "abcdefghij", "PATH": "/usr/bin:x"}
    known = secret_values({**variables, "SHORT_TOKEN": "a", "USE_TOKEN": "true"})
    assert known == {"abcdefgh", "abcdefghij", "a"}
    assert redact("a abcdefghij, abcdefgh /usr/bin:x", known) == "a ***, *** /usr/bin:x"


def test_the_path_of_a_file_is_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    names = {"GOOGLE_APPLICATION_CREDENTIALS": str(path)}
    assert secret_values(names) == {str(path)}
    path.touch()
    assert secret_values(names) == set()
    # No path is as long as that.
    assert secret_values({"MY_TOKEN": "/" + "x" * 9999}) == {"/" + "x" * 9999}


def test_tokens_of_a_vocabulary_stay_in_arguments() -> None:
    given = {"user_token": "<u>", "secrets": 0}
    assert without_secrets(given) == given
    assert secret_values({"USER_TOKEN": "<u>"}) == set()
    words = ["--user_token", "<u>", "user_token=<u>,a=b"]
    assert redact_words(words) == words


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["--api-key", "geheim", "geheim"], ["--api-key", "***", "geheim"]),
        (["--api-key=geheim", "x"], ["--api-key=***", "x"]),
        (["--token", "--model", "x"], ["--token", "--model", "x"]),
        (["--token", "none"], ["--token", "none"]),
        (["pretrained=x,token=ge heim=,dtype=a"], ["pretrained=x,token=***,dtype=a"]),
        (['{"a": "b"}', "[1,2]", "{not json: token=geheim}"], None),
    ],
)
def test_secrets_in_a_command_line(words: list[str], shown: list[str] | None) -> None:
    expected = shown or ['{"a": "b"}', "[1,2]", "{not json: token=***}"]
    assert redact_words(words) == expected


@pytest.mark.parametrize(
    "value",
    [
        {"token": SECRET},
        {"a": {"b": [{"hf_token": SECRET}]}, "s": "token=" + SECRET},
        {"headers": ["Authorization: Bearer " + SECRET]},
        {"command": ["--api-key", SECRET]},
        {"json": json.dumps({"a": [{"password": SECRET + " "}]})},
        {"json": json.dumps(json.dumps({"password": SECRET}))},
        {"token": [SECRET, {"a": SECRET}]},
        {"token": 1234567},
    ],
    ids=["plain", "deep", "header", "words", "JSON", "JSON in JSON", "mapping", "number"],
)
def test_secrets_at_any_depth_of_arguments(value: dict[str, object]) -> None:
    [shown] = redact_words([json.dumps(value)])
    for told in (json.dumps(without_secrets(value)), shown):
        assert "***" in told
        assert SECRET not in told
        assert "1234567" not in told
        assert json.loads(told).keys() == value.keys()


def test_arguments_without_secrets_stay_as_they_are() -> None:
    given = {"max_tokens": 3, "hf_token": None, "use_auth_token": True, "list": [1, ["a", "b=c"]]}
    assert without_secrets(given) == given
    odd = '{"a":1,   "max_tokens": 3}'
    assert redact_words([odd]) == [odd]


@pytest.mark.parametrize(
    "secret",
    [
        "services/T012ABCDE/B034FGHIJ/abcdefghijklmnopqrstuvwx",
        "workflows/T012ABCDE/A034FGHIJ/123456789/abcdefgh",
        "ya29.a0AfH6SMBx-1234567890abcdefghij",
        "api_org_AbCdEfGhIjKlMnOpQrStUvWxYz",
    ],
)
def test_webhooks_and_tokens_of_further_services(secret: str) -> None:
    text = f"posts to https://hooks.slack.com/{secret} at night"
    assert secret not in redact(text)
    assert "posts to https://hooks.slack.com/" in redact(text)
    assert redact(text).endswith(" at night")
