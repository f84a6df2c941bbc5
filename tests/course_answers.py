"""Submissions for the course: typical wrong ones.

A mistake is a line of the instructor's solution replaced by another: (cell, right, wrong). With it
stand the test cells that it has to cost, and it may cost no other.
"""

import audit_answers

Mistake = tuple[str, str, str]

WRONG: dict[str, tuple[Mistake, tuple[str, ...]]] = {
    # The survivors of a spared stage are charged, and the revoked examples are visited.
    "workload": (
        ("expected_visits", "(1 - num_revoked / total - untouched)", "(1 - untouched)"),
        ("test_expected", "test_expected_uneven", "test_expected_ends"),
    ),
    # A key that names its own slice and forgets what came before.
    "retraining": (
        ("stage_key", "slices[shard][:stage]", "slices[shard][stage - 1 : stage]"),
        ("test_key", "test_key_hidden", "test_together"),
    ),
    # The classic influence function: the curvature of all rows, the forgotten ones included.
    "influence": (
        (
            "influence_update",
            "hessian(w, X[keep], y[keep], lam, loss)",
            "hessian(w, X, y, lam, loss)",
        ),
        (
            *("test_influence", "test_influence_squared", "test_influence_logistic"),
            "test_influence_ends",
        ),
    ),
}

MISTAKES: dict[str, list[tuple[Mistake, tuple[str, ...]]]] = {
    "workload": [
        (
            ("scratch_visits", "np.cumsum(sizes, axis=1)", "sizes"),
            ("test_scratch", "test_scratch_hidden"),
        ),
        (  # draws with replacement
            (
                "untouched_probability",
                "comb(others, num_revoked) / comb(num_examples, num_revoked)",
                "(others / num_examples) ** num_revoked",
            ),
            ("test_untouched", "test_untouched_hidden"),
        ),
        (("simulated_visits", "replace=False", "replace=True"), ("test_simulated_hidden",)),
        (  # the mean instead of single requests
            ("simulated_visits", "return found", "return np.full(rounds, found.mean())"),
            ("test_simulated", "test_simulated_hidden"),
        ),
        (
            ("largest_request", "return within[-1]", "return len(within)"),
            ("test_largest", "test_largest_hidden"),
        ),
        (  # the stage of the person's own slice alone
            (
                "whole_person_visits",
                "np.dot(epochs[r:], members[r:] - size)",
                "epochs[r] * (members[r] - size)",
            ),
            ("test_whole", "test_whole_hidden"),
        ),
        (  # large persons count more
            (
                "whole_person_visits",
                "return np.mean(costs)",
                "sizes = [n for shard in persons for one in shard for n in one]\n"
                "    return np.average(costs, weights=sizes)",
            ),
            ("test_whole", "test_whole_hidden"),
        ),
        (  # a person of mean size
            (
                "scattered_person_visits",
                "return np.mean([expected_visits(sizes, epochs, size) for size in everybody])",
                "return expected_visits(sizes, epochs, round(np.mean(everybody) + 0.1))",
            ),
            ("test_scattered", "test_scattered_hidden"),
        ),
    ],
    "retraining": [
        (
            ("make_slices", "np.array_split(shard, num_slices)", "np.array_split(shard, 2)"),
            ("test_slices", "test_slices_hidden", "test_together"),
        ),
        (  # a checkpoint changed in place
            ("train_stage", "weights = weights - RATE * gradient", "weights -= RATE * gradient"),
            ("test_stage", "test_stage_hidden", "test_together"),
        ),
        (  # survivors move up: exact all the same, but not the order that was asked for
            (
                "train_stage",
                "batches(pool, shard",
                "batches(np.array([i for i in pool if int(i) not in revoked], int), shard",
            ),
            ("test_stage_hidden",),
        ),
        (  # how many are revoked, not who
            (
                "stage_key",
                "tuple(i for i in original if i not in revoked)",
                "sum(i not in revoked for i in original)",
            ),
            ("test_key_hidden",),
        ),
        (("train", "if key not in store:", "if True:"), ("test_train_work",)),
        (
            ("workload", "i not in revoked for", "True for"),
            ("test_workload", "test_workload_hidden"),
        ),
        (
            ("proof", "clean_features[rows], clean_labels[rows] = torch.nan, -1", "pass"),
            ("test_proof_leaks",),
        ),
        (("proof", "all(same_bytes(", "all(torch.equal("), ("test_proof_bytes",)),
        (("proof", "features.clone(), labels.clone()", "features, labels"), ("test_proof_leaks",)),
    ],
    "influence": [
        (
            ("influence_update", "w - torch.linalg.solve", "w + torch.linalg.solve"),
            (
                "test_influence",
                "test_influence_squared",
                "test_influence_logistic",
                "test_influence_ends",
            ),
        ),
        (
            ("decide", "key=lambda s: (visits[s], s)", "key=lambda s: (-visits[s], s)"),
            ("test_decide", "test_decide_hidden"),
        ),
    ],
}

# Assignment 4 has its own file.
WRONG["audit"], *MISTAKES["audit"] = audit_answers.MISTAKES
