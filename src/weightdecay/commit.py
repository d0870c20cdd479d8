"""The commit of an archive: `git archive` puts it here, as .gitattributes asks. In a checkout git itself is asked."""

COMMIT = "$Format:%H$"
