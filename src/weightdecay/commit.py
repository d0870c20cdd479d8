"""The commit of an unpacked archive, which `git archive` writes here (.gitattributes). In a checkout, ask git."""

COMMIT = "$Format:%H$"
