"""Traces of revoked examples that remain: numbers in the ledger, and blocks on storage devices."""

# The numbers in the ledger that were computed from revoked examples, or from models that were
# trained on them, by the field of a line. Every other field holds names, dates, settings, digests,
# or (as lists of their own in the certificate) ids.
NUMBERS = {
    "looks": (
        *("share", "correction", "bound", "kl", "drift", "rise", "agreement", "motion"),
        *("sharpness", "error", "class_share", "doubt"),
    ),
    "drifts": (),
    "spot_check": (
        *("visits", "seconds", "forgotten", "probe_gap", "probe_left"),
        *("forget_gap", "forget_left"),
    ),
    "routes": ("visits", "share", "seconds", "reason"),
    "entry": (
        *("examples", "exact_shards", "approximate_shards", "predicted_visits", "visits"),
        *("predicted_seconds", "seconds", "cpu_seconds", "debt_before", "debt_after"),
    ),
    "groups": (),
    "predicted_visits": (),
    "predicted_seconds": (),
    "debt_before": (),
    "debt_after": (),
    "repeated": (),
}
# The fields with keyed digests of the files of checkpoints, which stay when a file is destroyed.
DIGESTS = ("clean", "approximate")


def on_the_numbers(requests: int) -> list[str]:
    """Say which numbers that were computed from revoked examples stay in the ledger."""
    if not requests:
        return []
    fields = ", ".join(
        f"{name} ({', '.join(parts)})" if parts else name for name, parts in NUMBERS.items()
    )
    return [
        "Some numbers in the ledger were computed from revoked examples, or from models that were "
        "trained on them, and stay there: the sizes of corrections, drifts, changes of loss and "
        "errors of approximated shards, costs, and counts. They are the fields "
        f"{fields}. The error model and the clock are fitted to these numbers. Keyed digests of "
        f"the files of destroyed checkpoints stay there too ({', '.join(DIGESTS)})."
    ]


def on_the_device(on_disk: bool) -> list[str]:
    """Say what it means that a checkpoint was destroyed."""
    if not on_disk:
        return [
            "Destroying a checkpoint in memory means to release it: its memory is freed, not "
            "overwritten."
        ]
    return [
        "Destroying a checkpoint means to unlink its file. The file system then reuses its blocks, "
        "but does not overwrite them: on file systems with a journal or copy-on-write, in "
        "snapshots and backups, and on SSDs, the old bytes can survive. Where that matters, keep "
        "the store on an encrypted volume, and destroy the volume's key at the end."
    ]
