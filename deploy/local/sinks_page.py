"""The sinks' page for people: what arrived, newest first, without a script."""

import json
from html import escape
from typing import Any

_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="5">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Pointmill: mails and webhooks</title>
<style>
  :root { color-scheme: light dark; }
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
  article { border: 1px solid #8884; border-radius: 8px; padding: .75rem 1rem; margin: .75rem 0; }
  h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
  h3 { font-size: 1rem; margin: 0; } small { opacity: .7; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .85rem; margin: .5rem 0 0; }
</style></head><body>
<h1>What Pointmill told</h1>
<p>Nothing leaves this machine: mails and webhooks of the local stack end here.</p>
"""
_SHOWN = 100


def render(mails: list[dict[str, Any]], webhooks: list[dict[str, Any]]) -> str:
    """The whole page."""
    parts = [_HEAD, _heading("Mails", len(mails))]
    parts += [_mail(entry) for entry in reversed(mails[-_SHOWN:])]
    parts.append(_heading("Webhooks", len(webhooks)))
    parts += [_webhook(entry) for entry in reversed(webhooks[-_SHOWN:])]
    parts.append("</body></html>\n")
    return "".join(parts)


def _heading(title: str, count: int) -> str:
    return f"<h2>{title} ({count})</h2>"


def _mail(entry: dict[str, Any]) -> str:
    to = ", ".join(entry["recipients"])
    return _article(
        entry,
        str(entry["subject"]),
        f"to {to}, Message-ID {entry['message_id']}, answered {entry['answered']}",
        entry["text"],
    )


def _webhook(entry: dict[str, Any]) -> str:
    body = entry["body"]
    title = body.get("type", "webhook") if isinstance(body, dict) else "webhook"
    signature = {True: "signature verified", False: "SIGNATURE WRONG", None: "secret not known"}
    return _article(
        entry,
        str(title),
        f"hook {entry['hook']}, webhook-id {entry['id']}, {signature[entry['verified']]}, "
        f"answered {entry['answered']}",
        json.dumps(body, indent=2),
    )


def _article(entry: dict[str, Any], title: str, facts: str, text: str) -> str:
    return (
        f"<article><h3>{entry['number']}. {escape(title)}</h3>"
        f"<small>{escape(entry['received_at'])}: {escape(facts)}</small>"
        f"<pre>{escape(text)}</pre></article>"
    )
