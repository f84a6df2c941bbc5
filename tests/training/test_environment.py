"""The environment: whatever the bits depend on has a part in its digest."""

from dataclasses import fields, replace

import torch

from cases import CASES
from unlearnkit.training.environment import LOOP_KERNEL, STACKED_KERNEL, environment

CASE = CASES["mlp-dropout"]


def test_every_field_is_in_the_digest() -> None:
    found = environment(CASE.architecture(), CASE.spec)
    digests = {found.digest}
    for field in fields(found):
        value = getattr(found, field.name)
        other = value + 1 if isinstance(value, int) else value + "x"
        digests.add(replace(found, **{field.name: other}).digest)
    assert len(digests) == 1 + len(fields(found))
    assert found.digest == environment(CASE.architecture(), CASE.spec).digest


def test_threads_are_those_of_the_spec_and_the_kernel_that_of_the_model() -> None:
    architecture, spec = CASE.architecture(), CASE.spec
    for threads in (1, 2):
        assert environment(architecture, spec.with_(num_threads=threads)).num_threads == threads
    assert environment(architecture, spec).kernel == STACKED_KERNEL
    assert environment(architecture, spec.with_(kernel="loop")).kernel == LOOP_KERNEL
    other = CASES["cnn-batchnorm"]
    assert environment(other.architecture(), other.spec).kernel == LOOP_KERNEL


def test_the_precision_of_products_is_part_of_it() -> None:
    before = environment(CASE.architecture(), CASE.spec)
    precision = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium" if precision != "medium" else "highest")
        assert environment(CASE.architecture(), CASE.spec).digest != before.digest
    finally:
        torch.set_float32_matmul_precision(precision)
    assert environment(CASE.architecture(), CASE.spec) == before


def test_what_changed_is_told_with_the_statement_that_restores_it() -> None:
    before = environment(CASE.architecture(), CASE.spec)
    torch.backends.mkldnn.enabled = False
    try:
        now = environment(CASE.architecture(), CASE.spec)
    finally:
        torch.backends.mkldnn.enabled = True
    assert now.digest != before.digest == environment(CASE.architecture(), CASE.spec).digest
    text = before.changes(now)
    assert "settings was" in text and "torch.backends.mkldnn.enabled = True" in text
    assert "num_threads" not in text and "bits would differ" in text
