"""What the documents say, against the server and the sources: fields of INFO, errors, links."""

import glob
import os
import re

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DOCS = sorted(glob.glob(os.path.join(ROOT, "docs", "*.md"))) + [os.path.join(ROOT, "README.md")]


def read(*parts):
    with open(os.path.join(ROOT, *parts), encoding="utf8") as file:
        return file.read()


def test_every_field_of_info_tiering_is_explained(resp):
    page = read("docs", "operations.md").split("### INFO tiering")[1]
    explained = set(re.findall(r"`([a-z0-9_]+)`", page))
    fields = {line.split(":")[0] for line in resp("INFO", "tiering").decode().splitlines()
              if ":" in line}
    assert sorted(fields - explained) == []
    rows = [line.split("|")[1] for line in page.split("Beside these")[0].splitlines()
            if line.startswith("| `")]
    table = {name for row in rows for name in re.findall(r"`([a-z0-9_]+)`", row)}
    assert sorted(table - fields) == []


def test_tier_stats_is_explained(resp):
    pages = read("docs", "operations.md") + read("docs", "tier.md")
    for name in resp("TIER", "STATS")[::2]:
        assert f"`{name.decode()}`" in pages, name


def test_fields_that_are_named_exist(resp):
    """In the tables of alerts and of the first look."""
    info = {line.split(":")[0] for line in resp("INFO", "everything").decode().splitlines()}
    page = read("docs", "operations.md").split("## Monitoring")[1].split("### INFO tiering")[0]
    for line in page.splitlines():
        if line.startswith("| `"):
            for name in re.findall(r"`([a-z0-9_]+)`", line.split("|")[1]):
                assert name in info, name


def test_every_text_of_an_error_is_in_the_sources():
    sources = ""
    for folder in ("engine", "tiering", "server", "tools"):
        for path in glob.glob(os.path.join(ROOT, folder, "**", "*.*"), recursive=True):
            if path.endswith((".cc", ".h")):
                with open(path, encoding="utf8") as file:
                    sources += file.read()
    # Literals beside each other are one.
    sources = re.sub(r'"\s*\n\s*"', "", sources)
    texts = []
    for line in read("docs", "errors.md").splitlines():
        if line.startswith("| `"):
            texts += re.findall(r"`((?:[^`]|`databases`|`ulimit -l`)+)`(?:,| and| \||$)",
                                line[2:].split(" | ")[0] + " |")
    assert len(texts) > 60
    for text in texts:
        for part in text.split("..."):
            part = part.removeprefix("ERR ").strip(" :'")
            if len(part) > 3:
                assert part in sources, text


def test_links_lead_somewhere():
    for path in DOCS:
        with open(path, encoding="utf8") as file:
            text = file.read()
        for target in re.findall(r"\]\(([^)]+)\)", text):
            if "://" in target:
                continue
            name, _, anchor = target.partition("#")
            page = os.path.normpath(os.path.join(os.path.dirname(path), name)) if name else path
            assert os.path.exists(page), f"{path}: {target}"
            if anchor:
                with open(page, encoding="utf8") as file:
                    headings = re.findall(r"^#+ (.*)$", file.read(), re.MULTILINE)
                anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
                           for heading in headings}
                assert anchor in anchors, f"{path}: {target}"
        for name in re.findall(r"`(docs/[\w./-]+\.md|docs/\w+/)`", text):
            assert os.path.exists(os.path.join(ROOT, name)), f"{path}: {name}"
