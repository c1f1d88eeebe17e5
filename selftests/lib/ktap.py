# SPDX-License-Identifier: GPL-2.0
"""KTAP output of one test file: plan, subtests, expectations and cleanup."""

import contextlib
import errno
import os
import random
import signal
import sys
import time
import traceback

PASS, FAIL, SKIP = 0, 1, 4

SEED = int(os.environ.get("XTUN_SEED", 1))

_LIBRARY = os.path.dirname(os.path.realpath(__file__)) + os.sep

_cases = []
_scopes = []


class Failed(AssertionError):
    """An expectation that was not met; its text is for the reader."""


class Skipped(Exception):
    """What cannot be tested here, and why."""


# ---- subtests ----

def case(description):
    """Decorator: the function is one subtest."""
    return table(description.replace("{", "{{").replace("}", "}}"), [()])


def table(description, rows):
    """Decorator: the function is one subtest for each row.

    A row is a tuple (positional arguments), a dict (keyword arguments) or
    one value; description is a format string for it.
    """
    def register(function):
        for row in rows:
            args, words = _split(row)
            text = description.format(*args, **words)
            _cases.append((text.replace("#", "no. "), function, args, words))
        return function
    return register


def _split(row):
    if isinstance(row, dict):
        return (), row
    return (row if isinstance(row, tuple) else (row,)), {}


# ---- chance ----

def chance(*words):
    """Random choices: the same for the same words and the same XTUN_SEED."""
    return random.Random(f"{SEED} {words}")


# ---- cleanup ----

def defer(function, *args, **words):
    """Calls the function when the subtest ends, or the file when in setup."""
    if _scopes:
        _scopes[-1].callback(function, *args, **words)


@contextlib.contextmanager
def scope():
    """What is deferred inside is done at the end of the block."""
    with contextlib.ExitStack() as stack:
        _scopes.append(stack)
        try:
            yield
        finally:
            _scopes.pop()


@contextlib.contextmanager
def for_file():
    """What is deferred inside is done at the end of the file only."""
    _scopes.append(_scopes[0])
    try:
        yield
    finally:
        _scopes.pop()


# ---- expectations ----

def fail(text):
    raise Failed(text)


def skip(why):
    raise Skipped(why)


def true(value, what):
    """The value is true; returns it."""
    if not value:
        fail(f"not so: {what}")
    return value


def eq(seen, expected, what):
    """Both are equal; of two dicts only what differs is told."""
    if seen != expected:
        fail(f"{what}: {_difference(seen, expected)}")


def holds(seen, expected, what):
    """The dict has at least what is expected of it."""
    eq({key: seen.get(key) for key in expected}, expected, what)


def one_of(seen, expected, what):
    if seen not in expected:
        fail(f"{what}: {_show(seen)} is none of {_show(expected)}")


def contains(text, part, what):
    if part not in text:
        fail(f"{what}: {_show(part)} is not in {_show(text)}")


def raises(number, function, *args, what=None):
    """The call fails with this errno; returns the exception."""
    what = what or getattr(function, "__name__", "call")
    try:
        function(*args)
    except OSError as error:
        if error.errno != number:
            fail(f"{what}: {_errno(error.errno)}, expected {_errno(number)}")
        return error
    return fail(f"{what}: no error, expected {_errno(number)}")


def wait_for(condition, what, limit=60):
    """Waits until the condition is true; returns what it returned.

    The limit only ends what would hang: it is no measure of anything.
    """
    end = time.monotonic() + limit
    pause = 0.001
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            fail(f"waited {limit} s in vain for {what}")
        time.sleep(pause)
        pause = min(2 * pause, 0.1)


def _errno(number):
    return errno.errorcode.get(number, str(number))


def _show(value):
    if isinstance(value, (bytes, bytearray)):
        return f"[{len(value)}] {bytes(value).hex()}"
    text = repr(value)
    return text if len(text) <= 1000 else text[:1000] + "..."


def _difference(seen, expected):
    if isinstance(seen, dict) and isinstance(expected, dict):
        keys = [key for key in {**expected, **seen}
                if seen.get(key) != expected.get(key)]
        return "; ".join(f"{key} {_show(seen.get(key))}, expected "
                         f"{_show(expected.get(key))}" for key in keys)
    if isinstance(seen, bytes) and isinstance(expected, bytes):
        return f"{_first_byte(seen, expected)}{_show(seen)}, expected {_show(expected)}"
    return f"{_show(seen)}, expected {_show(expected)}"


def _first_byte(seen, expected):
    for place, (one, other) in enumerate(zip(seen, expected)):
        if one != other:
            return f"byte {place} differs: "
    return "lengths differ: "


# ---- running ----

def diag(text):
    """A diagnostic, which the runner shows and does not judge."""
    for line in str(text).splitlines() or [""]:
        _say("# " + line)


def _say(line):
    print(line, flush=True)


def _place(error):
    """Where in the test file, not in this library, the error came up."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not os.path.realpath(frame.filename).startswith(_LIBRARY)]
    frame = (own or frames)[-1]
    return f"{os.path.basename(frame.filename)}:{frame.lineno} in {frame.name}"


def _explain(error):
    if isinstance(error, Failed):
        diag(error)
    else:
        diag(f"{type(error).__name__}: {error}")
        diag(f"raised at {_last(error)}")
    diag(f"at {_place(error)}")


def _last(error):
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{os.path.basename(frame.filename)}:{frame.lineno} in {frame.name}"


def _run_case(function, args, words):
    """Result and reason of one subtest, its cleanup included."""
    try:
        with scope():
            function(*args, **words)
    except Skipped as why:
        return SKIP, str(why)
    except Exception as error:
        _explain(error)
        return FAIL, None
    return PASS, None


def _run_cases(chosen, first):
    count = {PASS: 0, FAIL: 0, SKIP: 0}
    for number, (text, function, args, words) in enumerate(chosen, 1):
        start = time.monotonic()
        result, why = _run_case(function, first + args, words)
        count[result] += 1
        if "KTAP_TIMES" in os.environ:
            diag(f"{time.monotonic() - start:.1f} s")
        _say(f"{'not ' if result == FAIL else ''}ok {number} {text}"
             f"{' # SKIP ' + why if result == SKIP else ''}")
    diag(f"Totals: pass:{count[PASS]} fail:{count[FAIL]} skip:{count[SKIP]}")
    if count[FAIL]:
        return FAIL
    return SKIP if count[SKIP] and not count[PASS] else PASS


def _choose(words):
    return [entry for entry in _cases
            if not words or any(word in entry[0] for word in words)]


def _run(setup, words):
    chosen = _choose(words)
    planned = False
    _say("KTAP version 1")
    diag(f"seed {SEED}")
    try:
        with scope():
            first = (setup(),) if setup else ()
            planned = True
            _say(f"1..{len(chosen)}")
            return _run_cases(chosen, first)
    except Skipped as why:
        _say(f"1..0 # SKIP {why}")
        return SKIP
    except Exception as error:
        _explain(error)
        if not planned:
            _say("1..1\nnot ok 1 set up")
        return FAIL


def main(setup=None):
    """Runs the subtests and exits.

    What setup returns is the first argument of each of them.
    """
    words = sys.argv[1:]
    if words == ["-l"]:
        for entry in _cases:
            print(entry[0])
        sys.exit(PASS)
    # Ended from outside: by an exception, so that cleanup is done.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(FAIL))
    sys.exit(_run(setup, words))
