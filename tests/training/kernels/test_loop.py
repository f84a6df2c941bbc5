"""What the loop sets in the process, it sets back."""

import pytest
import torch

from unlearnkit.torch_settings import compute_threads, deterministic


def test_the_settings_of_the_process_are_left_alone():
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    with deterministic(torch.device("cpu")):
        pass
    assert before == (torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark)


def test_the_number_of_threads_is_restored_after_errors_too():
    before = torch.get_num_threads()
    with pytest.raises(KeyError), compute_threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise KeyError
    assert torch.get_num_threads() == before
