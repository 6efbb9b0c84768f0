"""Texts on which two tokenizers that differ are likely to disagree."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_PLAIN = [
    "a",
    " a",
    "Hello, world!",
    "hello   world  ",
    "I'll say it's what they'd've done; we're DON'T Y'ALL'S",
    "1 12 123 1234 12345 3.14159 1e-10 0xDEADBEEF 1_000_000",
    "\n",
    "\n\n\n",
    "\t",
    "a\tb\t\tc",
    "line\r\nline\r\n\r\n  indented\r\n",
    "   leading and trailing   ",
    "\n  \n \n",
    "!!! ??? ... --- *** ((())) [[]] {{}} <<>> &&||",
    "snake_case camelCase PascalCase SCREAMING_CASE kebab-case",
    "e\u0301 é ñ Å Ångström ŒUVRE straße İstanbul ǅ",
    "你好，世界。今天天气很好！",
    "こんにちは世界 カタカナ ひらがな",
    "안녕하세요 세계",
    "Привет, мир! Как дела?",
    "مرحبا بالعالم",
    "שלום עולם",
    "नमस्ते दुनिया",
    "🙂 👩‍👩‍👧‍👦 🏳️‍🌈 1️⃣ 🇩🇪",
    "½ ² ③ Ⅷ ٣ ४",
    "\u00a0nbsp\u2003em space\u200bzero width\u3000ideographic",
    "https://example.org/a?b=c&d=%20#frag user@example.org",
    "the the the the the the the the",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    '<html><body class="x">&amp;</body></html>',
]
_CODE = [
    'def area(width: int, height: int = 2) -> int:\n    """Product."""\n'
    "    return width * height  # ok\n",
    "class A(B):\n\n    def __init__(self, *args, **kwargs):\n        super().__init__()\n\n",
    "for (int i = 0; i < n; ++i) {\n\tsum += a[i] * b[i];\n}\n",
    'func main() {\n\tfmt.Println("héllo", 42)\n}\n',
    "const f = async (x) => { await g(`${x}`); };\n\n\n",
    '{"key": [1, 2.5, null, true], "nested": {"a": "\\u00e9"}}',
    "SELECT * FROM t WHERE a <> 'b' -- comment\n",
    "#!/bin/bash\nset -euo pipefail\necho \"$@\" | awk '{print $1}'\n",
    "                                deep indentation\n        less\n",
]
_RANDOM_TEXTS = 60
_ALPHABETS = [
    "abcdefghijklmnopqrstuvwxyz",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "0123456789",
    " \t\n",
    "'\"`.,;:!?()[]{}<>/\\|@#$%^&*-_=+~",
    "àéîõüçñßøłđ",
    "яжщ你好日本語한글עברعرب",
    "🙂🚀✨",
]


def parity_texts(tokenizer: PreTrainedTokenizerFast) -> list[str]:
    """Plain texts, code, white space, many scripts, control tokens, conversations, random mixes."""
    return [
        *_PLAIN,
        *_CODE,
        *_with_control_tokens(tokenizer),
        *prompts(tokenizer),
        *_random_texts(),
    ]


def prompts(tokenizer: PreTrainedTokenizerFast) -> list[str]:
    """What the platform asks its models: conversations under their template, and code."""
    questions = [
        "What does `area` do?",
        f"{_CODE[0]}\n\nExplain the function above.",
    ]
    rendered = [
        str(
            tokenizer.apply_chat_template(
                [{"role": "user", "content": question}],
                tokenize=False,
                add_generation_prompt=True,
            )
        )
        for question in questions
    ]
    # The tokenizer adds the beginning by itself, where it adds one.
    begin = tokenizer.bos_token or ""
    if begin and tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id:
        rendered = [text.removeprefix(begin) for text in rendered]
    return [*rendered, _CODE[1], _CODE[2]]


def _with_control_tokens(tokenizer: PreTrainedTokenizerFast) -> list[str]:
    tokens = [str(token) for token in tokenizer.all_special_tokens]
    added = [token.content for token in tokenizer.added_tokens_decoder.values()]
    some = list(dict.fromkeys([*tokens, *added]))[:12]
    return [
        *(f"before{token}after" for token in some),
        *(f"{token}\nreturn x" for token in some),
        "".join(some),
    ]


def _random_texts() -> list[str]:
    generator = random.Random(20)
    texts = []
    for _ in range(_RANDOM_TEXTS):
        runs = [
            "".join(generator.choices(generator.choice(_ALPHABETS), k=generator.randint(1, 6)))
            for _ in range(generator.randint(3, 25))
        ]
        texts.append("".join(runs))
    return texts
