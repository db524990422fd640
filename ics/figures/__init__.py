"""The figures, drawn from CSV files alone: what each needs and how it is drawn, one driver, one look.

Nothing here imports torch.
"""
