"""The probe as a callback of other people's trainers: one file per framework, each only translating to `attach`."""
