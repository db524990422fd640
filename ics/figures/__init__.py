"""The paper's figures, drawn from CSV files alone: one file per figure, one shared style, one catalogue.

Nothing here imports torch.
"""
