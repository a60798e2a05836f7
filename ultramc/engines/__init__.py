"""Engines: one interface (`base.Engine`), one file each; `registry` knows their names."""
