"""Profiles -> answers: sweep, gate, choose, findings, prediction. Judged from the raw windows."""
