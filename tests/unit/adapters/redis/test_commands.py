"""What may be said to Redis, read from the source: no pattern, no command made of text."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import gateway

ROOT = Path(gateway.__file__).parent
MODULES = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text()) for path in ROOT.rglob("*.py")
}
SCRIPTS = sorted(ROOT.rglob("*.lua"))

# Commands that take a pattern, or look at everything, or take other commands as text.
FORBIDDEN = {
    *("keys", "scan", "psubscribe", "punsubscribe", "sort", "randomkey", "monitor", "dbsize"),
    *("flushall", "flushdb", "config", "debug", "shutdown", "migrate", "eval_ro", "fcall"),
}
METHODS = (FORBIDDEN - {"keys", "scan", "sort", "config"}) | {"scan_iter"}
# Those that send a command as it is given: their first word has to be ours, and one word.
SENDERS = {"execute_command", "send", "send_command", "pack_command", "send_topics"}
# What is no command in Python: the names of replies, of fields, and of metrics.
WORD = re.compile(r"[A-Z][A-Z_|]*")


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node.func.attr, node


def redis_modules() -> dict[str, ast.Module]:
    found = {name: tree for name, tree in MODULES.items() if name.startswith("adapters/redis/")}
    assert len(found) > 20
    return found


def test_no_method_takes_a_pattern() -> None:
    """S35"""
    wrong = [
        (name, node.lineno, method)
        for name, tree in redis_modules().items()
        for method, node in calls(tree)
        # `.keys()` and `.sort()` without anything are those of a dictionary and of a list.
        if method in METHODS or (method in ("keys", "scan") and node.args)
    ]
    assert wrong == []


def test_no_module_beside_the_adapter_says_anything_to_redis() -> None:
    """S35: what is read here would not be all of it otherwise."""
    allowed = re.compile(r"adapters/redis/|bench/")
    wrong = [
        name
        for name, tree in MODULES.items()
        if not allowed.match(name)
        for node in ast.walk(tree)
        if (
            isinstance(node, ast.Import)
            and any(a.name.split(".")[0] == "redis" for a in node.names)
        )
        or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "redis")
    ]
    assert wrong == []


def test_a_command_is_one_word_of_ours_and_its_arguments_stand_apart() -> None:
    """S35: redis-py takes the first argument apart at its spaces."""
    looked_at, wrong = 0, []
    for name, tree in redis_modules().items():
        for method, node in calls(tree):
            if method not in SENDERS or not node.args:
                continue
            first = node.args[0]
            looked_at += 1
            if isinstance(first, ast.Constant):
                is_sound = isinstance(first.value, str) and WORD.fullmatch(first.value) is not None
            else:
                # A name that holds a command, or a whole one: never text that is put together.
                is_sound = (
                    not isinstance(first, ast.JoinedStr | ast.BinOp) or method == "pack_command"
                )
                is_sound = is_sound and not (
                    isinstance(first, ast.Call)
                    and isinstance(first.func, ast.Attribute)
                    and first.func.attr in ("format", "join")
                )
            if not is_sound:
                wrong.append((name, node.lineno, ast.unparse(first)))
    assert looked_at > 5
    assert wrong == []


def test_no_command_that_looks_at_everything_stands_anywhere() -> None:
    """S35: neither in a call nor in a list of words that becomes one."""
    wrong = [
        (name, node.lineno, node.value)
        for name, tree in redis_modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        # In capitals, for those are commands; the words of a sentence are not.
        if node.value.isupper() and node.value.split()[0].lower() in FORBIDDEN
    ]
    assert wrong == []


def test_scripts_say_only_what_stands_in_them() -> None:
    """S35: names come as keys and values as arguments, and no command comes from outside."""
    assert SCRIPTS
    for path in SCRIPTS:
        text = re.sub(r"--[^\n]*", "", path.read_text())
        said = re.findall(r"redis\.p?call\(\s*([^,)]*)", text)
        assert said, path.name
        for first in said:
            assert re.fullmatch(r"'[A-Z]+'", first), f"{path.name} says {first}"
            assert first.strip("'").lower() not in FORBIDDEN
        assert not re.search(r"\b(loadstring|load|dofile|setfenv|pcall)\s*\(", text), path.name


def test_a_script_is_a_file_and_never_made_of_names() -> None:
    """S35: its name and the text that is replaced in it stand in the source, too."""
    made = (ast.JoinedStr, ast.BinOp, ast.Call, ast.Subscript, ast.Attribute)
    wrong = [
        (name, node.lineno)
        for name, tree in redis_modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Script"
        if any(isinstance(part, made) for argument in node.args for part in ast.walk(argument))
    ]
    assert wrong == []
