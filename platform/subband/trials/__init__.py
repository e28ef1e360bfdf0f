"""Trials of a sweep: the ledger that keeps them, which is preferred, and what decides the champion."""

from subband.trials.ledger import LEDGER_NAME, TrialRecord, append_record, preference, read_records

__all__ = ["LEDGER_NAME", "TrialRecord", "append_record", "preference", "read_records"]
