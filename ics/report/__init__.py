"""One self-contained HTML page of what the CSV files say: answer, verdicts, figures, distances, and an explorer.

Needs the extra `report`. Nothing here imports torch.
"""
