"""What the option parser complains about, in one plain sentence."""

import ast
import re

_LONGEST_VALUE = 60  # characters of a faulty value that are worth repeating
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "dict": "settings by name",
    "list": "a list",
}
_KEY = re.compile(r'Parser key "([^"]+)": ')
_CLASS = re.compile(r"Expected an? <class '([\w.]+)'>")
_TUPLE = re.compile(r"Expected a tuple with (\d+) elements")
_CHOICE = re.compile(r"Expected an? typing\.Literal(\[[^\]]*\])")
_VALUE = re.compile(r"(?:Got|Given) value: ?(.*)$")
# Complaints that are about no value, and how to say them.
_PLAINER = (
    (
        r"the following arguments are required: (\w+)\.(\w+\.)?(\w+)$",
        r"expected \3 after the command, found nothing: see its --help",
    ),
    (r"argument (--\w+)\S*: expected one argument$", r"\1: expected a value, found none"),
    (
        r"argument (?:sub)?command: invalid choice: (\S+) \(choose from (.*)\)$",
        r"there is no command \1: choose from \2",
    ),
    (
        r'expected "(?:(\w+)\.)?(?:sub)?command" to be one of \{(.*)\}, but .*$',
        r"expected a command after meshreg \1: choose from \2",
    ),
)


def plain_message(text: str) -> str:
    """The parser's complaint for people who never saw its insides."""
    text = " ".join(text.split())
    names = [found[1] for found in _KEY.finditer(text)]
    if not names:
        for pattern, plainer in _PLAINER:
            text = re.sub(pattern, plainer, text)
        text = re.sub(r"(?<=\w),(?=\w)", ", ", text)
        return _finished(text.replace("meshreg :", "meshreg:"))
    option = "--" + ".".join(names)
    rest = text[list(_KEY.finditer(text))[-1].end() :]
    expected, value = _expected(rest), _VALUE.search(rest)
    if value is None or not expected:
        return _finished(f"{option}: {rest[:1].lower()}{rest[1:]}")
    found = value[1]
    if len(found) > _LONGEST_VALUE:
        found = found[:_LONGEST_VALUE] + "..."
    return f"{option}: expected {' or '.join(expected)}, found '{found}'."


def _expected(text: str) -> list[str]:
    """What would have been right: the choices, or kinds of values."""
    kinds = [found[1] for found in _CLASS.finditer(text)]
    choices = [
        ", ".join(str(choice) for choice in ast.literal_eval(found[1]))
        for found in _CHOICE.finditer(text)
    ]
    words = [_KINDS.get(kind, kind.rpartition(".")[2]) for kind in kinds if kind != "NoneType"]
    tuples = [f"{found[1]} values" for found in _TUPLE.finditer(text)]
    return [f"one of {names}" for names in choices] + tuples + words


def _finished(text: str) -> str:
    return text if text.endswith(".") else text + "."
