"""The ledger survives what an interruption does to a file."""

import pytest

from subband.trials import LEDGER_NAME, TrialRecord, append_record, read_records


def record(number, **fields):
    return TrialRecord(trial_id=f"t{number}", number=number, params={"sigma": 2.0}, status="complete", **fields)


def test_records_are_read_back_as_written(tmp_path):
    written = [
        record(0, choose={"image_auroc": 0.5}),
        record(1, notes=("größe: 第一",)),
        record(2, error="a line\nand what Unicode calls lines: \u2028 \x85 \x0b end"),
    ]
    for each in written:
        append_record(tmp_path, each)
    assert read_records(tmp_path) == written


def test_an_undefined_metric_stays_undefined(tmp_path):
    append_record(tmp_path, record(0, choose={"image_auroc": float("nan")}))
    (read,) = read_records(tmp_path)
    assert read.choose["image_auroc"] != read.choose["image_auroc"]


@pytest.mark.parametrize("kept", range(1, 12))
def test_a_cut_anywhere_costs_the_cut_record_alone(tmp_path, kept):
    ledger = tmp_path / LEDGER_NAME
    append_record(tmp_path, record(0))
    whole = ledger.read_bytes()
    append_record(tmp_path, record(1, notes=("第" * 20,)))
    line = ledger.read_bytes()[len(whole) :]
    # Cuts spread over the line; some of them halve a character.
    ledger.write_bytes(whole + line[: len(line) * kept // 12 + kept % 3])
    assert read_records(tmp_path) == [record(0)]
    append_record(tmp_path, record(2))
    assert read_records(tmp_path) == [record(0), record(2)]


def test_a_record_whose_line_end_is_missing_counts(tmp_path):
    append_record(tmp_path, record(0))
    ledger = tmp_path / LEDGER_NAME
    ledger.write_bytes(ledger.read_bytes().rstrip(b"\n"))
    append_record(tmp_path, record(1))
    assert read_records(tmp_path) == [record(0), record(1)]
