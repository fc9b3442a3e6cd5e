"""Documents that earlier results were made with: not a byte of them may change.

A failure here means that results made before and after cannot be compared: the change needs another
GENERATOR_VERSION, or, better, must leave these documents alone.
"""

from typing import Any

import pytest
from transformers import AutoTokenizer

from iha_eval.ruler.definition import GENERATOR_VERSION
from iha_eval.ruler.documents import RulerCell, load_documents, plain_prompt
from iha_eval.ruler.niah import VARIANTS
from model_adapters.default_checkpoint import IHA, folder

#: (variant, length, documents, SHA-256 over all of them), for the embedded checkpoint's tokenizer.
FROZEN = [
    *[
        (
            "multikey_1",
            1024,
            500,
            "210f3b9b5ba3ac85c3f29f36ba5384daa516b19fe046623f84aa8e91baf76271",
        ),
        (
            "multikey_2",
            1024,
            500,
            "4f63dbd992718a389295208f7e5affa72ec5a28751631fed23400bdba60b0ccb",
        ),
        (
            "multikey_3",
            1024,
            500,
            "a9b47a58025bcc721730825ea00180020e42298c05106dc5d76342cfcc9d2e90",
        ),
        (
            "multikey_1",
            4096,
            500,
            "1271b5403ebcb65d4d6ae8aa81ae40987a8552f21ccc472a83536edb9ee28058",
        ),
        (
            "multikey_2",
            4096,
            500,
            "0bdd151cc73dda5e7009b1374118df7bf0746350b4ec99f20a532a43f38dcbf5",
        ),
        (
            "multikey_3",
            4096,
            500,
            "ca18cab9af2f75a40f52e092a10be9bd8da986175e8282a0ef4a5de1bb950114",
        ),
    ],
    *[
        pytest.param(*case, marks=pytest.mark.slow)
        for case in [
            (
                "multikey_1",
                8192,
                500,
                "f8b879cbc324b6860d925dfb28b5fc4ca02371942e38f8ada8e36bb50a4aef65",
            ),
            (
                "multikey_2",
                8192,
                500,
                "c7d4dc2a74f5e18c6854db636945d36bbabe34b62cfd41ecd41c460971c743ce",
            ),
            (
                "multikey_3",
                8192,
                500,
                "08d8f285690d9ab7147443771d285d14920b519345913b16851921aef84dd272",
            ),
            (
                "multikey_1",
                16384,
                500,
                "26d4828cba720b3777da9c0aecd5aad1481765944fffc2ccd18ad1069887ae11",
            ),
            (
                "multikey_2",
                16384,
                500,
                "1168f825142531c1b9311fefafcaae01d79f73bedaafe0136d8b16bd6cd63c87",
            ),
            (
                "multikey_3",
                16384,
                500,
                "0d57270e73125b6c3d3468408a00b43840279b3b157ec6830a634869c6135872",
            ),
            (
                "multikey_1",
                131072,
                3,
                "e34fdc5571762a29200a574e9b35d0b300dac0d8b312378039f969ec1563d3a6",
            ),
            (
                "multikey_2",
                131072,
                3,
                "0febf46a48ed53d4f2a9285e1c2f67b4ea4f441e422cc525511c487099e88cc2",
            ),
            (
                "multikey_3",
                131072,
                3,
                "ce6d35a9581f7a3060c4386368ba92d5053a5bfe22500dd0429e91c08ffcc686",
            ),
        ]
    ],
]
#: The same with 4096 tokens, 20 documents, a chat template and 64 tokens to generate.
FROZEN_CHATS = {
    "multikey_1": "458cba43bf739943cf052804d67a2aaa25275c5a183e51cba65c7f274d0b8915",
    "multikey_2": "28b017c46d3f2dd3a519877135748bf3e873790986f9fb69cec97d3aad63b167",
    "multikey_3": "9fdc459a209a4760e726d66dc767088a14e8c0ce1cc059298edab56ed4694ad9",
}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(folder(IHA))


@pytest.mark.parametrize(("variant", "length", "count", "sha256"), FROZEN)
def test_documents_are_those_of_earlier_results(
    variant: str, length: int, count: int, sha256: str, tokenizer: Any
) -> None:
    cell = RulerCell(VARIANTS[variant], length, "kjv", count)
    documents = load_documents(cell, tokenizer, plain_prompt, 128)
    assert documents.provenance["documents_sha256"] == sha256
    assert documents.provenance["generator_version"] == GENERATOR_VERSION == 1


@pytest.mark.parametrize("variant", FROZEN_CHATS)
def test_chats_are_those_of_earlier_results(variant: str, tokenizer: Any) -> None:
    documents = load_documents(
        RulerCell(VARIANTS[variant], 4096, "kjv", 20),
        tokenizer,
        lambda doc: f"<|user|>\n{doc['input']}\n<|assistant|>\n{doc['gen_prefix']}",
        64,
    )
    assert documents.provenance["documents_sha256"] == FROZEN_CHATS[variant]
