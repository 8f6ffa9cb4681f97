"""The tables of docs/compatibility.md against a running server: what they say is there is there,
what they say is missing is missing, and no command is left out."""

import os
import re

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGE = os.path.join(ROOT, "docs", "compatibility.md")
ROW = re.compile(r"^\| ([A-Z][A-Z0-9_ -]*) \| ([a-z ]+) \| ?(.*) ?\|$")


def table():
    """Command, in lower case, to what is said of it and the note."""
    rows = {}
    with open(PAGE, encoding="utf8") as page:
        for line in page:
            match = ROW.match(line.rstrip("\n"))
            if match is None:
                continue
            name = match[1].lower()
            assert name not in rows, f"{name} is there twice"
            rows[name] = (match[2], match[3].strip())
    return rows


def commands(resp):
    names = set()
    for row in resp("COMMAND"):
        names.add(row[0].decode())
        names.update(sub[0].decode().replace("|", " ") for sub in row[9])
    return names


def test_every_row_is_yes_partly_or_not_yet():
    rows = table()
    assert len(rows) > 390
    for name, (here, note) in rows.items():
        assert here in ("yes", "partly", "not yet"), name
        if here == "partly":
            assert note, f"what is missing of {name}?"


def test_what_is_there_is_there(resp):
    known = commands(resp)
    missing = [name for name, (here, _) in table().items()
               if here != "not yet" and name not in known]
    assert missing == []


def test_what_is_missing_is_missing(resp):
    known = commands(resp)
    there = [name for name, (here, _) in table().items() if here == "not yet" and name in known]
    assert there == []
    for name, (here, _) in table().items():
        if here != "not yet":
            continue
        # COMMAND INFO agrees with COMMAND.
        assert resp("COMMAND", "INFO", name.replace(" ", "|")) == [None], name


def test_no_command_is_left_out(resp):
    assert sorted(commands(resp) - table().keys()) == []


def test_fields_said_to_be_zero_are_zero(resp):
    resp("SET", "k", "v", "EX", 1000)
    resp("EVAL", "return redis.call('GET', KEYS[1])", 1, "k")
    with open(PAGE, encoding="utf8") as page:
        section = page.read().split("### Fields that are always zero")[1].split("Of `MEMORY")[0]
    said = re.findall(r"`([a-z_0-9*]+)`", section)
    info = dict(line.split(":", 1) for line in resp("INFO", "everything").decode().splitlines()
                if ":" in line)
    # Options and identities that look like counters.
    not_counters = {"repl_backlog_size", "second_repl_offset"}
    for name in said:
        pattern = re.compile(name.replace("*", ".*") + "$")
        fields = [field for field in info if pattern.match(field) and field not in not_counters]
        if name == "avg_ttl":
            assert "avg_ttl=0" in info["db0"]
            continue
        assert fields, f"INFO has no {name}"
        for field in fields:
            assert float(info[field].rstrip("BKMG")) == 0, field
