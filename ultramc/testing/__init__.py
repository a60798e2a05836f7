"""For tests of one's own: a pytest plugin that compares engines on one's own workbook, see `ultramc.testing.plugin`."""
