"""What is said of what cleaning was worth."""

import pytest

from cleaner.training.comparison import measured, table, verdict, verdicts


def summaries(**versions):
    return [
        {"network": "net", "version": version, "seed": seed, "accuracy": accuracy, "learnt_from": 1000}
        for version, accuracies in versions.items()
        for seed, accuracy in enumerate(accuracies)
    ]


@pytest.mark.parametrize(
    ("clean", "begins"),
    [
        ([0.63, 0.64, 0.65], "cleaning paid: +7.0 points (57.0 % on raw, 64.0 % on clean; seeds differ by 1.0 points)"),
        ([0.57, 0.58, 0.59], "cleaning did not pay: +1.0 points are no more than chance"),
        ([0.50, 0.51, 0.52], "cleaning did not pay, it cost 6.0 points"),
    ],
)
def test_it_says_plainly_whether_cleaning_paid(clean, begins):
    raw, after = measured(summaries(raw=[0.56, 0.57, 0.58], clean=clean))
    assert verdict(raw, after).startswith(begins)


def test_one_seed_tells_nothing():
    raw, after = measured(summaries(raw=[0.5], clean=[0.9]))
    assert "--seeds 3 tells whether" in verdict(raw, after)


def test_what_has_no_noise_is_a_row_and_no_verdict():
    found = measured(summaries(raw=[0.5, 0.6], coarse=[0.5, 0.6], clean=[0.7, 0.8], true=[0.8, 0.9]))
    assert [each.version for each in found] == ["raw", "coarse", "clean", "true"]
    assert len(verdicts(found)) == 2
    assert "| net | true (no noise at all) | 1,000 | **85.0** ± 7.1 % | 80.0, 90.0 |" in table(found)
