"""From snapshots to RAFT datasets: chunks, questions, distractors, examples (arXiv 2403.10131)."""
