"""Values as Meta hashes them, by its published rules and examples."""

from __future__ import annotations

import hashlib
import unicodedata

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connrunner.connectors.meta import normalization
from connrunner.connectors.meta.normalization import HASHED, KEYS, encode, normalize

# The first five are Meta's own, of the guide to custom audiences; the others follow from its rules.
GOLDEN = [
    ("EMAIL", "John_Smith@gmail.com", "us", "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f"),
    ("PHONE", "(650)555-1212", "us", "e323ec626319ca94ee8bff2e4c87cf613be6ea19919ed1364124e16807ab3176"),
    ("FN", "Mary", "us", "6915771be1c5aa0c886870b6951b03d7eafc121fea0e80a5ea83beb7c449f4ec"),
    ("FN", "정", "kr", "8fa8cd9c440be61d0151429310034083132b35975c4bea67fdd74158eb51db14"),
    ("FN", "Valéry", "fr", "08e1996b5dd49e62a4b4c010d44e4345592a863bb9f8e3976219bac29417149c"),
    ("PHONE", "+31 6 1234 5678", "nl", "e03d152bbe638d9fe7a04f9b88a67674bf15b73c0981755c16eb78d177721e03"),
    ("PHONE", "06-12345678", "nl", "e03d152bbe638d9fe7a04f9b88a67674bf15b73c0981755c16eb78d177721e03"),
    ("PHONE", "600 700 800", "pl", "4ba105d931176b49b8779f00dcb576dd0e80add48441bbf351bfb8d8de69e132"),
    ("FN", "ŁUKASZ", "pl", "974282d5169583fd089607c615244d5495c50f3be4e9e5274ad64a27dc8ee84e"),
    ("FN", "王", "cn", "3399a0e651ad104cd1f53cd0c44d08b70c6c2e8e1eba56f2d244368264322118"),
    ("LN", "O'Neil", "ie", "67a42a846e98e3c1a96cd6ba14883a5ea05990cd93964ce8b832aa9497ca785c"),
    ("CT", "São Paulo", "br", "3eda1428ae1aece064071f8d40f08fe2bc59ffa66c171a163caf15122ec4d7f0"),
    ("CT", "Łódź", "pl", "61b87354d033f18b308cac39fd5a3d957b3d8591155bbe953a1ef6a20a4c8503"),
    ("CT", "'s-Hertogenbosch", "nl", "9e00b47a3c7c1e92ea5c95ba82f853591bbf1200751372bfd3baac0926677055"),
    ("ST", "CA", "us", "6959097001d10501ac7d54c0bdb8db61420f658f2922cc26e46d536119a31126"),
    ("ZIP", "94035-1234", "us", "1794327a4d443904421f5ca1f3d72d0a62ba2f0770d80755ec2220fc0efb052e"),
    ("ZIP", "1234 AB", "nl", "a62f992ffb88280f1da22a9e49ada05ddc44c76ac3b7d54b1e7d5a3dcb6d4ffe"),
    ("COUNTRY", "NL", "nl", "1843653496800edfd0d30326c82f53b0338ed408468cca4a2f1b52f2f6395fc9"),
    ("DOBY", "1985-03-09", "", "78e370b587b145920213731b7c7c725e512b3b6577c51c800218a7c764c532ae"),
    ("DOBM", "1985-03-09", "", "0b8efa5a3bf104413a725c6ff0459a6be12b1fd33314cbb138745baf39504ae5"),
    ("DOBD", "1985-03-09", "", "3514acf61732f662da19625f7fe781c3e483f2dce8506012f3bb393f5003e105"),
    ("GEN", "Female", "", "252f10c83610ebca1a059c0bae8255eba2f95be4d1d7bcfa89d7248a82d9f111"),
]

TEXTS = [
    ("EMAIL", "  Ann.B+x@Example.COM ", "", "ann.b+x@example.com"),  # no dots, no tags removed
    ("EMAIL", "nobody", "", ""),
    ("PHONE", "0031 6 1234 5678", "", "31612345678"),
    ("PHONE", "+31 (0)6 1234 5678", "", "31612345678"),
    ("PHONE", "+31612345678", "de", "31612345678"),  # its own country goes before the profile's
    ("PHONE", "0612345678", "", ""),  # nobody knows where
    ("PHONE", "0612345678", "zz", ""),
    ("PHONE", "138 0013 8000", "cn", "8613800138000"),
    ("PHONE", "٠٦١٢٣٤٥٦٧٨", "nl", "31612345678"),
    ("PHONE", "12", "nl", ""),
    ("PHONE", "unknown", "nl", ""),
    ("FN", "Anne-Marie", "", "annemarie"),
    ("FN", "  Mary   Ann ", "", "mary ann"),
    ("FN", "-", "", ""),
    ("FN", "e\u0301", "", "é"),
    ("FN", "İpek", "", "i̇pek"),
    ("FN", "নাম", "", "নাম"),  # marks are part of the letters
    ("FI", "Łukasz", "", "ł"),
    ("LN", "de Vries, jr.", "", "de vries jr"),
    ("CT", "New York", "us", "newyork"),
    ("ST", "California", "us", "ca"),
    ("ST", "New Jersey", "us", "nj"),
    ("ST", "Unheardof", "us", ""),
    ("ST", "Noord-Holland", "nl", "noordholland"),
    ("ZIP", "SW1A 1AA", "gb", "sw1a1"),
    ("ZIP", "00-950", "pl", "00950"),
    ("ZIP", "02138", "us", "02138"),
    ("COUNTRY", "Netherlands", "", ""),
    ("DOBY", "1985", "", "1985"),
    ("DOBY", "1899-12-31", "", ""),
    ("DOBY", "1985-03-09T12:00:00Z", "", "1985"),
    ("DOBM", "3", "", "03"),
    ("DOBM", "13", "", ""),
    ("DOBD", "09", "", "09"),
    ("GEN", "M", "", "m"),
    ("GEN", "male", "", "m"),
    ("GEN", "unknown", "", ""),  # who is neither is not made a man
    ("GEN", "x", "", ""),
    ("EXTERN_ID", " Ab-1 ", "", " Ab-1 "),
    ("MADID", "38400000-8CF0-11BD-B23E-10B96E40000D", "", "38400000-8cf0-11bd-b23e-10b96e40000d"),
]


@pytest.mark.parametrize(("key", "value", "country", "expected"), GOLDEN)
def test_golden_hashes(key: str, value: str, country: str, expected: str) -> None:
    assert encode(key, value, country) == expected


@pytest.mark.parametrize(("key", "value", "country", "text"), TEXTS)
def test_what_is_hashed(key: str, value: str, country: str, text: str) -> None:
    assert normalize(key, value, country) == text
    assert encode(key, value, country) == (
        hashlib.sha256(text.encode()).hexdigest() if text and key in HASHED else text
    )


def test_a_hash_is_not_hashed_again_when_the_mapping_says_so() -> None:
    given = hashlib.sha256(b"ann@example.com").hexdigest()
    assert encode("EMAIL", f" {given.upper()} ", "", hashed=True) == given
    assert encode("EMAIL", "ann@example.com", "", hashed=True) == ""
    assert encode("FN", given, "") == hashlib.sha256(given.encode()).hexdigest(), "never by guess"


@given(st.sampled_from(KEYS), st.text(max_size=40), st.sampled_from(["", "nl", "us", "gb", "cn"]))
def test_nothing_is_never_hashed_and_forms_of_unicode_are_one(key: str, value: str, country: str) -> None:
    sent = encode(key, value, country)
    assert sent != hashlib.sha256(b"").hexdigest()
    if key in HASHED:
        assert sent == "" or len(sent) == 64
        decomposed = unicodedata.normalize("NFD", value)
        assert encode(key, decomposed, country) == encode(key, unicodedata.normalize("NFC", value), country)


@given(
    st.sampled_from(["nl", "pl", "de", "gb", "it", "fr", "us", "at", "be", "in", "jp", "zz"]),
    st.from_regex(r"0?[0-9 ().-]{4,13}", fullmatch=True),
)
def test_the_short_way_to_a_phone_number_is_the_long_one(country: str, value: str) -> None:
    try:
        found = phonenumbers.parse(
            value.strip().replace("00", "+", 1) if value.startswith("00") else value, country.upper()
        )
    except phonenumbers.NumberParseException:
        assert normalization._domestic(value, country) == ""
        return
    short = normalization._domestic(value, country)
    if short:
        assert phonenumbers.is_possible_number(found)
        assert f"+{short}" == phonenumbers.format_number(found, phonenumbers.PhoneNumberFormat.E164)
