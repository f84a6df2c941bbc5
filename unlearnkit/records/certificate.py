"""The certificate: what was forgotten and how, of every artefact, as of one moment."""

import hashlib
import html
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from unlearnkit.records.history import requests_of
from unlearnkit.records.ledger import Record, keyed_digest
from unlearnkit.store import Checkpoint, Store
from unlearnkit.training.plan import Plan
from unlearnkit.unlearning.debt import debts_of

EXACT, APPROXIMATE, LEFT = "exact", "approximate", "left the vote"


@dataclass(frozen=True, eq=False)
class Certificate:
    """What :meth:`unlearnkit.Session.certificate` shows and exports.

    Attributes:
        content: all of it, ready for JSON.
    """

    content: dict[str, Any]

    def __repr__(self) -> str:
        states = [one["state"] for one in self.content["constituents"]]
        return (
            f"Certificate({self.content['revoked']} revoked examples, {states.count(EXACT)} "
            f"constituents exact, {states.count(APPROXIMATE)} with debt)"
        )

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """As JSON; written to a file if one is given."""
        text = json.dumps(self.content, indent=1)
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """As one page that loads nothing from anywhere; written to a file if one is given."""
        text = (
            '<!doctype html><html lang="en"><meta charset="utf-8"><title>Certificate</title>'
            "<style>body{font:14px sans-serif;max-width:80em;margin:2em auto}"
            "td,th{padding:.2em .6em;text-align:left;vertical-align:top}"
            "caption{font-weight:bold;text-align:left;margin-top:1.5em}"
            "code{overflow-wrap:anywhere}</style>"
            f"<h1>Certificate of unlearning</h1>{self._repr_html_()}</html>"
        )
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    def _repr_html_(self) -> str:
        content = self.content
        numbered = list(enumerate(content["requests"], start=1))
        requests = [
            [
                *(n, r["time"], f"{r['kind']} {r['examples'] or ''}"),
                f"{r['predicted_visits']:,} / {r['visits']:,}",
                f"{_cell(r['predicted_seconds'])} / {_cell(r['seconds'])}",
                f"{r['debt_before']} \N{RIGHTWARDS ARROW} {r['debt_after']}",
                *(r["boundary"], str(r["plan"])[:12], str(r["environment"])[:12]),
            ]
            for n, r in numbered
        ]
        routes = [
            [n, route["shard"], route["kind"], route["visits"], route["seconds"], route["reason"]]
            for n, r in numbered
            for route in r["routes"]
        ]
        ids = [[n, ", ".join(str(i)[:16] for i in r["ids"])] for n, r in numbered if r["ids"]]
        artefacts = [
            [a["shard"], a["stage"], a["state"], a["shaped_by"], a["lineage"][:16]]
            for a in content["artefacts"]
        ]
        states = [[c["shard"], c["state"], c["debt"]] for c in content["constituents"]]
        run = [[part, _said(said)] for part, said in content["run"].items()]
        head = content["head"] or "none: this session keeps its store in memory"
        return (
            "<ul>"
            + "".join(f"<li>{html.escape(sentence)}</li>" for sentence in content["says"])
            + f"</ul><p>Head of the ledger: <code>{html.escape(head)}</code></p>"
            + _table("Run", ["", ""], run)
            + _table("Constituents", ["shard", "state", "debt"], states)
            + _table(
                "Requests",
                [
                    *("", "when (UTC)", "request", "exact visits, predicted / done"),
                    *("seconds, predicted / measured", "debt", "boundary", "plan", "environment"),
                ],
                requests,
            )
            + _table(
                "Decisions",
                ["request", "shard", "route", "visits if exact", "predicted s", "why"],
                routes,
            )
            + _table(f"Examples, {content['ids are']}", ["request", "ids"], ids)
            + _table(
                "Artefacts", ["shard", "stage", "state", "shaped by", "lineage SHA-256"], artefacts
            )
        )


def certify(
    plan: Plan,
    store: Store,
    records: Sequence[Record],
    run: dict[str, Any],
    *,
    head: str | None,
    secret: bytes | None,
    original_in_memory: bool,
) -> Certificate:
    """Certify what a store holds.

    Args:
        plan: of the retain set.
        store: only read.
        records: of the ledger.
        run: whose it is: dataset, model, spec, partition, environment.
        head: of the ledger's chain; None in memory.
        secret: for keyed digests of ids; None lists ids as they are.
        original_in_memory: whether the session still has the models from before.
    """
    debts = debts_of(plan, store)
    revoked = np.unique(np.concatenate([np.empty(0, np.int64), *requests_of(records)]))
    requests = [line for line, _ in records if line.get("kind") == "unlearn"]
    constituents, artefacts = [], []
    for shard in range(plan.num_shards):
        debt = len(debts.get(shard, ()))
        state = LEFT if not plan.alive(shard) else APPROXIMATE if debt else EXACT
        constituents.append({"shard": shard, "state": state, "debt": debt})
        clean = [stage.key for stage in plan.chains[shard] if stage.key in store]
        artefacts += [_artefact(store.get(key), EXACT) for key in clean]
        approximation = store.approximation(plan.final_key(shard)) if debt else None
        if approximation is not None:
            kept = sorted(approximation.checkpoints.items())
            artefacts += [_artefact(checkpoint, APPROXIMATE) for _, checkpoint in kept]
    owed = sum(len(debt) for debt in debts.values())
    says = [
        f"{len(revoked)} examples are revoked. The ensemble of now and everything that its store "
        "holds was trained without them"
        + (
            f", but for {owed} examples that were removed approximately only: their shards are "
            "marked, and carry the debt until they are retrained exactly."
            if owed
            else "."
        ),
        "Exact means: the bytes that training from scratch without these examples gives in the "
        "same environment. That an id existed, and its place, still shapes the order of training.",
        "The models from before the last request are still in this session's memory, for "
        "comparison; session.discard_original() lets go of them."
        if original_in_memory
        else "No model from before the last request is kept.",
        (
            "The store's ledger names revoked ids by keyed digests; its folder as a whole still "
            "tells which they are"
            if all(line.get("named") is False for line in requests)
            else ("The store's ledger" if head else "The session, in memory,")
            + " holds the revoked ids as they are"
        )
        + ", for as long as it is kept: without them a request could be neither resumed nor "
        "audited. "
        + (
            "This certificate lists them as they are, as was asked for."
            if secret is None
            else "This certificate carries keyed digests of them only; the key does not leave the "
            + ("store (secret.key)." if head else "session.")
        ),
        "The ledger's head fixes every line before it; it proves that nothing was changed since "
        "this certificate was made, and no more.",
    ]
    content = {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "says": says,
        "run": run,
        "head": head,
        "revoked": len(revoked),
        "ids": _named(revoked.tolist(), secret),
        "ids are": "as they are" if secret is None else "HMAC-SHA-256, by the store's secret.key",
        "requests": [_request(record, secret) for record in records],
        "constituents": constituents,
        "artefacts": artefacts,
    }
    return Certificate(content)


def _request(record: Record, secret: bytes | None) -> dict[str, Any]:
    """All that the ledger says of one request or repayment."""
    line, entry = record
    return {
        **asdict(entry),
        "seconds": _number(entry.seconds),
        "ids": _named(line.get("ids", []), secret),
        "plan": line.get("plan"),
        "routes": line.get("routes", []),
        "looks": line.get("looks", []),
        "environment": line.get("environment"),
    }


def _named(ids: list[int], secret: bytes | None) -> list[int] | list[str]:
    return ids if secret is None else [keyed_digest(one, secret) for one in ids]


def _artefact(checkpoint: Checkpoint, state: str) -> dict[str, Any]:
    bits = np.unpackbits(np.frombuffer(checkpoint.lineage, np.uint8))
    return {
        "shard": checkpoint.shard,
        "stage": checkpoint.stage,
        "key": checkpoint.key,
        "state": state,
        "shaped_by": int(bits.sum()),
        "lineage": hashlib.sha256(checkpoint.lineage).hexdigest(),
    }


def _number(value: float) -> float | None:
    return value if value == value else None  # NaN alone is not itself


def _table(caption: str, heads: list[str], rows: list[list[Any]]) -> str:
    body = "".join(
        f"<tr>{''.join(f'<td>{html.escape(_cell(v))}</td>' for v in row)}</tr>" for row in rows
    )
    top = "".join(f"<th>{html.escape(head)}</th>" for head in heads)
    return f"<table><caption>{caption}</caption><tr>{top}</tr>{body}</table>"


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _said(value: object) -> str:
    """A part of the run in words; what has parts itself, one after the other."""
    if not isinstance(value, dict):
        return _cell(value)
    return "; ".join(f"{name.replace('_', ' ')} {_cell(part)}" for name, part in value.items())
